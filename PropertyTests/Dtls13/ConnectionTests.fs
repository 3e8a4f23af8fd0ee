/// Connections of DTLS 1.3 after the handshake: data, what the peer may not say, KeyUpdate (RFC 9147 §8), the end.
module Hybrid.WebRtc.PropertyTests.Dtls13.ConnectionTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld
open Hybrid.WebRtc.PropertyTests.Dtls13.SessionTests

let private connections =
    let connected () = fair (both P256) (both P256)

    testList
        "connections"
        [ testCase "data that overtakes the client's last flight waits for it" (fun () ->
              let world =
                  create Weather.fair 1L (both P256) (both P256)
                  |> start P256 P256
                  |> runUntil minute (fun w -> w.Client.Connected.IsSome)

              // The last flight is on the wire; the data is put before it.
              let struct (early, world) = sealedBy Side.Client "early"B world
              let world = deliver Side.Server early world
              Expect.isEmpty world.Server.Data "not yet vouched for"
              let world = runUntil minute bothConnected world
              Expect.equal (world.Server.Data |> List.distinct) [ "early"B ] "then it is read")

          testCase "after the ACK nothing is left to be done" (fun () ->
              let world = connected () |> runUntil minute (fun _ -> false)
              Expect.equal (Dtls.deadline world.Client.State) Instant.never "the client"
              Expect.equal (Dtls.deadline world.Server.State) Instant.never "the server") ]

/// What an end would send after the handshake: its next record, with a message instead of data. The other takes it at once.
let private post (side: Side) (kind: Tls.MessageType) (sequence: int) (body: byte[]) (world: World) : World =
    let struct (state, outputs) =
        Dtls.step world.Now (Dtls.Seal 1) (get side world).State

    let message: Tls.Message =
        { Type = kind
          Sequence = sequence
          Body = body }

    match outputs with
    | [ Dtls.Sealed leave ] ->
        let record: Tls.Outgoing =
            { Payload = Tls.MessagePart(message, 0, body.Length)
              Epoch = leave.Epoch
              Sequence = leave.Sequence
              Sealing = leave.Sealing }

        let bytes: byte[] = Array.zeroCreate (Tls.Outgoing.size record)
        Tls.Outgoing.write record (Span bytes) |> ignore

        match side with
        | Side.Client ->
            { world with
                Client = { world.Client with State = state } }
            |> step Side.Server (Dtls.Received(Memory bytes))
        | _ ->
            { world with
                Server = { world.Server with State = state } }
            |> step Side.Client (Dtls.Received(Memory bytes))
    | _ -> failtest "leave"

let private updates =
    let after n (config: DtlsConfig) = { config with RekeyAfter = uint64 n }

    let chatter weather seed client server rounds =
        let mutable world = handshake weather seed (client, P256) (server, P256)
        expectConnected world
        // The last flight is acknowledged first.
        world <- runUntil (world.Now + Duration.seconds 3L) (fun _ -> false) world

        for i in 1..rounds do
            world <- say Side.Client [| byte i; 1uy |] world
            world <- say Side.Server [| byte i; 2uy |] world
            world <- runUntil (world.Now + Duration.milliseconds 40L) (fun _ -> false) world

        runUntil (world.Now + Duration.seconds 5L) (fun _ -> false) world

    testList
        "KeyUpdate"
        [ testCase "each side renews its keys, several times, and nothing is lost" (fun () ->
              let world = chatter Weather.fair 1L (after 10 (both P256)) (after 7 (both P256)) 100
              Expect.equal (List.rev world.Server.Data) [ for i in 1..100 -> [| byte i; 1uy |] ] "the server heard"
              Expect.equal (List.rev world.Client.Data) [ for i in 1..100 -> [| byte i; 2uy |] ] "the client heard"
              Expect.equal (world.Client.Drops @ world.Server.Drops) [] "nothing dropped"

              // The epoch's low bits of what was said last: 3, and then one more with each renewal.
              let epochs side =
                  (get side world).Sent
                  |> List.filter (fun d -> Tls13.Ciphertext.isOne d[0])
                  |> List.map (fun d -> d[0] &&& 3uy)
                  |> List.pairwise
                  |> List.filter (fun (a, b) -> a <> b)
                  |> List.length

              Expect.isGreaterThan (epochs Side.Client) 8 "renewals of the client"
              Expect.isGreaterThan (epochs Side.Server) 10 "renewals of the server")

          testCase "whoever asks for records gets them and nothing else, a renewal being due at once" (fun () ->
              let world = fair (after 3 (both P256)) (both P256)
              let world = runUntil (world.Now + Duration.seconds 3L) (fun _ -> false) world
              let now = world.Now

              let seal state =
                  match Dtls.step now (Dtls.Seal 2) state with
                  | struct (state, [ Dtls.Sealed _ ]) -> state
                  | struct (_, outputs) -> failtest $"{outputs.Length} outputs"

              let worn = world.Client.State |> seal |> seal |> seal
              Expect.equal (Dtls.deadline worn) now "at once"
              let struct (renewing, outputs) = Dtls.step now Dtls.Tick worn
              Expect.hasLength outputs 1 "its KeyUpdate"
              Expect.isGreaterThan (Dtls.deadline renewing) now "said again later"
              seal renewing |> ignore)

          testCase "in foul weather what arrives is right, and keys go on being renewed" (fun () ->
              for seed in 1L .. 10L do
                  let world =
                      chatter Weather.foul seed (after 10 (both P256)) (after 7 (both P256)) 100

                  let heard = world.Server.Data |> List.map Array.head |> List.distinct
                  Expect.isGreaterThan heard.Length 50 "most of it"

                  let bad =
                      world.Server.Drops
                      |> List.filter (fun d -> d <> Drop.Replayed && d <> Drop.Stale)

                  Expect.isLessThan bad.Length 40 $"what is reordered over a renewal may be lost: {bad.Length}"
                  Expect.isTrue (world.Client.Fault.IsNone && world.Server.Fault.IsNone) (told world))

          testCase "no record's number is used twice, whatever is said again: a nonce would be" (fun () ->
              for seed in 1L .. 10L do
                  let world =
                      chatter Weather.foul seed (after 10 (both P256)) (after 7 (both P256)) 100

                  for fin in [ world.Client; world.Server ] do
                      Expect.isGreaterThan fin.Numbers.Length 100 "many"
                      Expect.hasLength (List.distinct fin.Numbers) fin.Numbers.Length "each once")

          testCase "who asks for it is answered with new keys" (fun () ->
              let world =
                  fair (both P256) (both P256)
                  |> runUntil (Duration.seconds 3L) (fun _ -> false)
                  |> post Side.Client Tls.MessageType.KeyUpdate 4 [| 1uy |]

              Expect.hasLength world.Server.Sent 5 "its ACK and its own KeyUpdate"
              // The client takes it for what it is, and acknowledges.
              let world = runUntil (world.Now + Duration.seconds 3L) (fun _ -> false) world

              let world =
                  say Side.Server "new"B world
                  |> runUntil (world.Now + Duration.seconds 6L) (fun _ -> false)

              Expect.equal (List.head world.Client.Data) "new"B "heard under the new keys"
              Expect.equal ((List.head world.Server.Sent)[0] &&& 3uy) 0uy "epoch 4")

          testCase "a ticket of the server's is acknowledged, and nothing else" (fun () ->
              let world =
                  fair (both P256) (both P256) |> runUntil (Duration.seconds 3L) (fun _ -> false)

              let before = world.Client.Sent.Length

              let world =
                  post Side.Server Tls.MessageType.NewSessionTicket 6 (Array.create 100 1uy) world

              Expect.hasLength world.Client.Sent (before + 1) "its ACK"
              Expect.isTrue world.Client.Fault.IsNone "no fault"
              talk world |> ignore)

          for side, kind, sequence in
              [ Side.Client, Tls.MessageType.NewSessionTicket, 4
                Side.Server, Tls.MessageType.CertificateRequest, 6
                Side.Server, LanguagePrimitives.EnumOfValue 10uy, 6 ] do
              testCase $"what nobody asked for ends the connection: {side} says {byte kind}" (fun () ->
                  let world =
                      fair (both P256) (both P256)
                      |> runUntil (Duration.seconds 3L) (fun _ -> false)
                      |> post side kind sequence (Array.create 20 1uy)

                  let victim = if side = Side.Client then world.Server else world.Client

                  Expect.equal victim.Fault.Value.SentAlert (ValueSome 10uy) "unexpected_message")

          testCase "without an ACK the old keys are used up to their limit, and no further" (fun () ->
              let world =
                  fair (after 10 (both P256)) (both P256)
                  |> runUntil (Duration.seconds 3L) (fun _ -> false)

              let limit = Tls13.Suite13.sealLimit CipherSuite.Aes128GcmSha256
              let world = step Side.Client (Dtls.Seal(int limit - 100)) world
              Expect.isTrue world.Client.Fault.IsNone "allowed"
              let world = step Side.Client (Dtls.Seal 200) world
              Expect.isTrue world.Client.Fault.IsSome "worn out") ]

let tests = testList "DTLS 1.3 connections" [ connections; updates ]
