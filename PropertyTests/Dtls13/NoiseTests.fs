/// DTLS 1.3 under noise: floods, spoilt datagrams, records of epochs that are not there, and the hellos of real browsers.
module Hybrid.WebRtc.PropertyTests.Dtls13.NoiseTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld
open Hybrid.WebRtc.PropertyTests.Dtls13.Impostor

let tests =
    /// A handshake's datagrams, of both ends.
    let sent seed =
        let world = handshake Weather.fair seed (both P256, P256) (both P256, P256)
        let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B
        world.Client.Sent @ world.Server.Sent

    testList
        "DTLS 1.3 under noise"
        [ testCase "first fragments without end are bounded, and a true hello is still answered" (fun () ->
              let party = partyOf (both P256) DtlsRole.Server ofServer
              let struct (state, _) = Connection13.start 0L<us> party

              let first i : byte[] =
                  let length = 2000 + i % 14000
                  let body = 1000

                  Array.concat
                      [ [| 22uy; 0xfeuy; 0xffuy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy; byte (i >>> 8); byte i |]
                        Octets.u16 (12 + body)
                        [| 1uy; 0uy; byte (length >>> 8); byte length |]
                        // message_seq from 1 on: the one that is due is left to the true client.
                        Octets.u16 (1 + i % 300)
                        [| 0uy; 0uy; 0uy; 0uy; byte (body >>> 8); byte body |]
                        Array.create body (byte i) ]

              let state =
                  (state, [ 0..5000 ])
                  ||> List.fold (fun state i ->
                      let struct (state, outputs) = Connection13.receive now (Memory(first i)) state
                      Expect.isFalse (outputs |> List.exists _.IsTransmit) "nothing is answered"
                      state)

              match state with
              | Connection13.Handshaking h ->
                  let held =
                      h.Inbox.Partial |> Map.toList |> List.sumBy (fun (_, part) -> part.Octets)

                  Expect.isLessThan held (Reassembly.Ahead * 2 * Message.MaxSize) "octets held"
                  Expect.isLessThanOrEqual h.Heard.Length 64 "records remembered"

                  let struct (_, hello) =
                      Client13.hello (partyOf (both P256) DtlsRole.Client ofClient)

                  let struct (_, events) =
                      (struct (state, []), datagrams [ clear ] (said hello))
                      ||> List.fold (fun (struct (state, events)) bytes ->
                          let struct (state, more) = Connection13.receive now (Memory bytes) state
                          struct (state, events @ more))

                  Expect.isTrue (events |> List.exists _.IsTransmit) "a true hello is answered"
              | _ -> failtest "still listening")

          testCase "records of an epoch that is not there yet are counted" (fun () ->
              let world = handshake Weather.fair 1L (both P256, P256) (both P256, P256)
              let world = say Side.Client "ping"B world
              let record = Array.copy (List.head world.Client.Sent)

              // Epoch 3 has the bits 11; 00 is epoch 4, 01 epoch 5.
              for bits in [ 0uy; 1uy ] do
                  record[0] <- (record[0] &&& ~~~3uy) ||| bits

                  let struct (_, outputs) =
                      Dtls.step world.Now (Dtls.Received(Memory(Array.copy record))) world.Server.State

                  match outputs with
                  | [ Dtls.Ignored Drop.Unexpected ] -> ()
                  | other -> failtest $"{other}")

          testPropertyWithConfig
              { Laws.config with
                  maxTest = min 100 Laws.config.maxTest }
              "datagrams of a handshake, spoilt and in any order, throw nothing and end nothing that is open"
          <| fun (seed: int64) ->
              let random = Random(int seed)
              let all = sent 5L |> List.toArray
              let world = handshake Weather.fair 6L (both P256, P256) (both P256, P256)

              let spoil (bytes: byte[]) =
                  let bytes = Array.copy bytes

                  for _ in 0 .. random.Next 4 do
                      bytes[random.Next bytes.Length] <- byte (random.Next 256)

                  if random.Next 4 = 0 then
                      bytes[.. random.Next bytes.Length]
                  else
                      bytes

              let fresh role =
                  let struct (state, _) = begin' (both P256) role (Entropy.ofNumber seed) in state

              for state in
                  [ fresh DtlsRole.Client
                    fresh DtlsRole.Server
                    world.Client.State
                    world.Server.State ] do
                  feed [ for _ in 0..20 -> spoil all[random.Next all.Length] ] state |> ignore

              let spoilt = [ for _ in 0..20 -> spoil all[random.Next all.Length] ]
              let struct (server, _) = feed spoilt world.Server.State
              let struct (_, outputs) = Dtls.step world.Now (Dtls.Seal 1) server
              outputs |> List.exists _.IsSealed

          for capture in Captures.captures do
              testCase
                  $"the real hello of {capture.Name} is answered with 1.3 and what the browser likes best"
                  (fun () ->
                      let hello = Captures.messages capture |> List.find (fun m -> m.Type = 1uy)

                      let message: Message =
                          { Type = MessageType.ClientHello
                            Sequence = 0
                            Body = hello.Body }

                      let party = partyOf (both P256) DtlsRole.Server ofServer

                      let struct (_, demands) =
                          Server13.receive party message Server13.start |> ok "the hello"

                      match Message.readServerHello (said demands).Head.Body with
                      | ValueSome answer ->
                          Expect.isTrue (Hello.is13 answer) "1.3"
                          Expect.equal answer.Suite 0x1301us "suite"

                          let group =
                              Extensions.find Extensions13.KeyShare answer.Extensions
                              |> ValueOption.bind Extensions13.readKeyShare
                              |> ValueOption.map _.Group

                          let expected =
                              if capture.Name.Contains "nomlkem" then
                                  0x001dus
                              else
                                  0x11ecus

                          Expect.equal group (ValueSome expected) "group"
                      | ValueNone -> failtest "a ServerHello") ]
