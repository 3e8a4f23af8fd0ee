/// The laws of the DTLS machine, and whole handshakes.
module Hybrid.WebRtc.PropertyTests.DtlsTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private pair clientKind serverKind =
    (config clientKind, clientKind), (config serverKind, serverKind)

let private fair seed =
    let client, server = pair P256 P256
    handshake Weather.fair seed client server

/// Connected ends, to be tried with this and that.
/// Made anew for each test: its keys serve one thread at a time, and tests run side by side.
let private connected () = fair 1L

let private handshakes =
    testList
        "handshakes"
        [ testCase "fair weather: two round trips, and keys that are alike" (fun () ->
              let world = connected ()
              expectConnected world
              Expect.equal world.Server.ConnectedAt (Duration.milliseconds 30L) "the server after three flights"
              Expect.equal world.Client.ConnectedAt (Duration.milliseconds 40L) "the client after four"
              Expect.isEmpty world.Client.Drops "nothing ignored"
              Expect.isEmpty world.Server.Drops "nothing ignored"

              match world.Client.Connected with
              | ValueSome c ->
                  Expect.equal c.SuiteName "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" "suite"
                  Expect.equal c.Group NamedGroup.X25519 "group"
                  Expect.equal c.SrtpProfile (ValueSome SrtpProfile.AeadAes256Gcm) "profile"
                  Expect.equal c.RemoteCertificates [| (certificate P256).Der |] "certificate"
              | ValueNone -> failtest "connected")

          for suite in
              Enum.GetValues<CipherSuite>()
              |> Array.filter (fun suite -> (Tls.Suite.ofId suite).IsSome) do
              // The hybrid one is of 1.3 alone: its shares are longer than what 1.2's messages hold.
              for group in Enum.GetValues<NamedGroup>() |> Array.except [ NamedGroup.X25519MLKEM768 ] do
                  for clientKind in [ P256; Rsa; P384 ] do
                      let serverKinds =
                          if (string suite).Contains "Rsa" then
                              [ Rsa ]
                          else
                              [ P256; P384 ]

                      for serverKind in serverKinds do
                          let name =
                              String.Join(
                                  ", ",
                                  string suite,
                                  string group,
                                  string clientKind + " to " + string serverKind
                              )

                          testCase name (fun () ->
                              let only kind =
                                  { config kind with
                                      Suites = [| suite |]
                                      Groups = [| group |] }

                              let world =
                                  handshake Weather.fair 7L (only clientKind, clientKind) (only serverKind, serverKind)

                              expectConnected world
                              let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B
                              let world = runUntil (world.Now + minute) (fun _ -> false) world
                              Expect.equal world.Server.Data [ "ping"B ] "data"
                              Expect.equal world.Client.Data [ "pong"B ] "data"
                              Expect.equal world.Server.Connected.Value.Suite suite "suite"
                              Expect.equal world.Server.Connected.Value.Group group "group")

          testPropertyWithConfig
              { Laws.config with
                  maxTest = min 60 (Laws.config.maxTest) }
              "any seed, 30% loss, duplication and jitter, any MTU from 600: connected within 60 s with equal keys"
          <| fun (seed: int64) (mtu: uint16) (kind: bool) ->
              let mtu = 600 + int mtu % 600
              let sized (c: DtlsConfig) = { c with Mtu = mtu }
              let kind = if kind then Rsa else P256
              let (client, ck), (server, sk) = pair P256 kind

              let world =
                  handshake { Weather.foul with Mtu = mtu } seed (sized client, ck) (sized server, sk)

              bothConnected world && exported world.Client = exported world.Server

          testCase
              "flights in any order of datagrams still connect, without waiting for a retransmission to mend it"
              (fun () ->
                  // No loss, jitter only: reordering alone costs at most a retransmission, never the handshake.
                  for seed in 1L .. 40L do
                      let client, server = pair P256 Rsa
                      let sized (c: DtlsConfig, k) = { c with Mtu = 600 }, k

                      let weather =
                          { Weather.fair with
                              Jitter = Duration.milliseconds 30L
                              Mtu = 600 }

                      let world = handshake weather seed (sized client) (sized server)
                      expectConnected world)

          testCase "the same seed tells the same story, byte for byte" (fun () ->
              let story () =
                  let client, server = pair P256 Rsa
                  let world = handshake Weather.foul 99L client server
                  world.Client.Sent, world.Server.Sent, world.Client.ConnectedAt

              Expect.equal (story ()) (story ()) "the same")

          testCase "a ClientHello from before Start is kept, and answered after it" (fun () ->
              let client, server = pair P256 P256
              let world = create Weather.fair 3L (fst client) (fst server)

              let world =
                  world
                  |> step Side.Client (Dtls.Start(DtlsRole.Client, [| fingerprint "sha-256" (certificate P256) |]))
                  |> runUntil (Duration.milliseconds 50L) (fun _ -> false)
                  |> step Side.Server (Dtls.Start(DtlsRole.Server, [| fingerprint "sha-256" (certificate P256) |]))
                  |> runUntil minute bothConnected

              expectConnected world
              Expect.isLessThan world.Client.ConnectedAt (Duration.milliseconds 100L) "no retransmission was needed")

          testCase "fingerprints: sha-384, sha-512, any case, any of several" (fun () ->
              let fits =
                  [| { fingerprint "sha-256" (certificate Rsa) with
                         Algorithm = "SHA-256" }
                     { fingerprint "sha-512" (certificate P256) with
                         Algorithm = "SHA-512" } |]

              let client, server = pair P256 P256

              create Weather.fair 3L (fst client) (fst server)
              |> step Side.Server (Dtls.Start(DtlsRole.Server, fits))
              |> step Side.Client (Dtls.Start(DtlsRole.Client, [| fingerprint "sha-384" (certificate P256) |]))
              |> runUntil minute bothConnected
              |> expectConnected)

          testCase "SRTP profiles: the server's preference among what the client offers, or none" (fun () ->
              let agreed clients servers =
                  let with' profiles (c: DtlsConfig, k) = { c with SrtpProfiles = profiles }, k
                  let client, server = pair P256 P256
                  let world = handshake Weather.fair 5L (with' clients client) (with' servers server)
                  Expect.isTrue (bothConnected world) "connected"
                  let ours, theirs = world.Client.Connected.Value, world.Server.Connected.Value
                  Expect.equal ours.SrtpProfile theirs.SrtpProfile "both know"
                  Expect.equal (exported world.Client) (exported world.Server) "keys"
                  ours.SrtpProfile, (exported world.Client).Length / 2

              let sha, gcm, gcm256 =
                  SrtpProfile.Aes128CmHmacSha1_80, SrtpProfile.AeadAes128Gcm, SrtpProfile.AeadAes256Gcm

              Expect.equal (agreed [| sha; gcm |] [| gcm; sha |]) (ValueSome gcm, 56) "AEAD-128"
              Expect.equal (agreed [| sha; gcm256; gcm |] [| gcm256 |]) (ValueSome gcm256, 88) "AEAD-256"
              Expect.equal (agreed [| sha |] [| gcm; sha |]) (ValueSome sha, 60) "CM-80"
              Expect.equal (fst (agreed [| sha |] [| gcm |])) ValueNone "none in common"
              Expect.equal (fst (agreed [||] [| gcm |])) ValueNone "none offered")

          testCase "a key log has the master secret, where it is asked for and only there" (fun () ->
              let client, server = pair P256 P256
              let logged = { fst client with KeyLog = true }, snd client
              let world = handshake Weather.fair 5L logged server
              Expect.hasLength world.Client.KeyLog 1 "one line"
              Expect.isEmpty world.Server.KeyLog "not asked for"
              let words = world.Client.KeyLog[0].Split ' '
              Expect.equal words[0] "CLIENT_RANDOM" "NSS"
              Expect.equal (words[1].Length, words[2].Length) (64, 96) "sizes") ]

let private refusals =
    let ends clientConfig serverConfig =
        handshake Weather.fair 11L (clientConfig, P256) (serverConfig, P256)

    let fault side world =
        match (get side world).Fault with
        | ValueSome fault -> fault
        | ValueNone -> failtest "no fault"

    testList
        "refusals"
        [ for victim in [ Side.Client; Side.Server ] do
              for name, wrong in
                  [ "another certificate's", [| fingerprint "sha-256" (certificate Rsa) |]
                    "sha-1, though it fits",
                    [| { Algorithm = "sha-1"
                         Value = Security.Cryptography.SHA1.HashData (certificate P256).Der } |]
                    "none", [||]
                    "cut short",
                    [| { Algorithm = "sha-256"
                         Value = (fingerprint "sha-256" (certificate P256)).Value[..15] } |] ] do
                  testCase (string victim + " has a fingerprint that is wrong: " + name) (fun () ->
                      let right = [| fingerprint "sha-256" (certificate P256) |]
                      let client, server = pair P256 P256
                      let prints side = if side = victim then wrong else right

                      let world =
                          create Weather.fair 11L (fst client) (fst server)
                          |> step Side.Server (Dtls.Start(DtlsRole.Server, prints Side.Server))
                          |> step Side.Client (Dtls.Start(DtlsRole.Client, prints Side.Client))
                          |> runUntil minute (fun _ -> false)

                      let mine = fault victim world
                      let theirs = fault (if victim = Side.Client then Side.Server else Side.Client) world
                      Expect.equal mine.Detail ErrorDetail.FingerprintFailure "fingerprint-failure"
                      Expect.equal mine.SentAlert (ValueSome 42uy) "bad_certificate"
                      Expect.equal theirs.ReceivedAlert (ValueSome 42uy) "bad_certificate"
                      Expect.equal (Dtls.deadline (get victim world).State) Instant.never "over"
                      Expect.isTrue ((get victim world).Connected.IsNone) "never connected")

          testCase "no suite in common" (fun () ->
              let world =
                  ends
                      { config P256 with
                          Suites = [| CipherSuite.EcdheRsaAes128GcmSha256 |] }
                      (config P256)

              Expect.equal (fault Side.Server world).SentAlert (ValueSome 40uy) "handshake_failure"
              Expect.equal (fault Side.Client world).ReceivedAlert (ValueSome 40uy) "handshake_failure")

          testCase "no group in common" (fun () ->
              let world =
                  ends
                      { config P256 with
                          Groups = [| NamedGroup.X25519 |] }
                      { config P256 with
                          Groups = [| NamedGroup.Secp256r1 |] }

              Expect.equal (fault Side.Server world).SentAlert (ValueSome 40uy) "handshake_failure")

          testCase "nobody answers: given up after a minute" (fun () ->
              let client, server = pair P256 P256
              let silent = { Weather.fair with Loss = 1.0 }
              let world = handshake silent 1L client server
              let world = runUntil (2L * minute) (fun _ -> false) world
              Expect.equal (fault Side.Client world).Detail ErrorDetail.DtlsFailure "dtls-failure"
              Expect.equal (fault Side.Server world).Detail ErrorDetail.DtlsFailure "dtls-failure"
              // 0.1, 0.3, 0.7, 1.5, then once a second.
              Expect.isLessThan world.Client.Sent.Length 65 "backs off"
              Expect.isGreaterThan world.Client.Sent.Length 55 "keeps trying") ]

let private after =
    testList
        "after the handshake"
        [ testCase "renegotiation is refused with a warning, and the connection lives on" (fun () ->
              let hello (record: DtlsSeal) =
                  // A HelloRequest or ClientHello of epoch 1, sealed as the peer would.
                  let message = [| 0uy; 0uy; 0uy; 0uy; 0uy; 9uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy |]
                  let buffer: byte[] = Array.zeroCreate (record.Overhead + message.Length)
                  message.CopyTo(buffer, record.PlaintextOffset)

                  Tls.Sealing.write
                      record.Sealing
                      Tls.ContentType.Handshake
                      Tls.Record.Version
                      1UL
                      record.Sequence
                      (Span buffer)
                      message.Length
                  |> ignore

                  buffer

              let before = connected ()

              let struct (state, outputs) = Dtls.step before.Now (Dtls.Seal 1) before.Server.State

              match outputs with
              | [ Dtls.Sealed record ] ->
                  let world =
                      { before with
                          Server = { before.Server with State = state } }

                  let world = deliver Side.Client (hello record) world
                  let answer = List.head world.Client.Sent
                  Expect.equal answer[0] 21uy "an alert"
                  let world = runUntil (2L * minute) (fun _ -> false) world
                  Expect.contains world.Server.Drops Drop.Unexpected "the server takes note"

                  let world =
                      say Side.Client "still here"B world |> runUntil (3L * minute) (fun _ -> false)

                  Expect.equal world.Server.Data [ "still here"B ] "alive"
              | _ -> failtest "a seal")

          testCase "the last flight is said again when the client repeats its own" (fun () ->
              // The server's last flight is lost: it is connected, the client is not, and asks again.
              let client, server = pair P256 P256
              let world = create Weather.fair 21L (fst client) (fst server) |> start P256 P256
              let world = runUntil minute (fun w -> w.Server.Connected.IsSome) world

              let world =
                  { world with
                      Wire = Wire.create Weather.fair (Entropy.ofNumber 1L) }

              let world = runUntil minute bothConnected world
              expectConnected world
              Expect.isLessThan world.Client.ConnectedAt (Duration.milliseconds 200L) "after one retransmission")

          testCase "data that overtakes the server's Finished is delivered after it" (fun () ->
              let client, server = pair P256 P256
              let world = create Weather.fair 22L (fst client) (fst server) |> start P256 P256
              let world = runUntil minute (fun w -> w.Server.Connected.IsSome) world
              let struct (early, world) = sealedBy Side.Server "early"B world
              let world = deliver Side.Client early world
              Expect.isEmpty world.Client.Data "not before it is known who speaks"
              let world = runUntil minute bothConnected world
              expectConnected world
              Expect.contains world.Client.Data "early"B "delivered") ]

/// Inputs by number, to both ends.
let private script (world: World) (numbers: int list) =
    (world, numbers)
    ||> List.fold (fun world n ->
        let side = if n % 2 = 0 then Side.Client else Side.Server
        let sent = (get (if n % 2 = 0 then Side.Server else Side.Client) world).Sent

        let world =
            { world with
                Now = world.Now + Duration.milliseconds (int64 (abs n % 97)) }

        match abs n % 9 with
        | 0 -> step side Dtls.Tick world
        | 1 -> say side "data"B world
        | 2 when abs n % 7 = 0 -> step side Dtls.Close world
        | 3 ->
            step
                side
                (Dtls.Start(
                    (if n % 4 < 2 then DtlsRole.Client else DtlsRole.Server),
                    [| fingerprint "sha-256" (certificate P256) |]
                ))
                world
        | 4 -> deliver side (Array.init (abs n % 50) byte) world
        | _ when sent.IsEmpty -> step side Dtls.Tick world
        | k ->
            let bytes = Array.copy sent[abs n % sent.Length]

            if k = 5 && bytes.Length > 0 then
                bytes[abs n % bytes.Length] <- byte n

            deliver side bytes world)

let private laws =
    let machine: Laws.Machine<_, _, _> =
        { Step = Dtls.step
          Deadline = Dtls.deadline
          Tick = Dtls.Tick }

    testList
        "laws"
        [ testPropertyWithConfig Laws.config "never throws, whatever the script; and over is over"
          <| fun (seed: int64) (numbers: int list) ->
              let world = create Weather.fair seed (config P256) (config P256)
              let world = script (start P256 P256 world) numbers
              let fin = world.Client

              if fin.Closed || fin.Fault.IsSome then
                  let struct (_, outputs) =
                      Dtls.step world.Now (Dtls.Received(Memory [| 1uy |])) fin.State

                  match outputs with
                  | [ Dtls.Ignored Drop.Stale ] -> Dtls.deadline fin.State = Instant.never
                  | _ -> false
              else
                  true

          testPropertyWithConfig Laws.config "an early tick does nothing, a tick when due moves the deadline on"
          <| fun (seed: int64) (numbers: int list) ->
              let world = create Weather.fair seed (config P256) (config P256)
              let world = script (start P256 P256 world) numbers

              for fin in [ world.Client; world.Server ] do
                  Laws.earlyTick machine world.Now fin.State
                  Laws.tickMovesOn machine fin.State

          Laws.anyBytes "any bytes, in any state, do no harm" (fun bytes ->
              let client, server = pair P256 P256
              let waiting = create Weather.fair 1L (fst client) (fst server) |> start P256 P256

              for world in [ waiting; connected () ] do
                  for side in [ Side.Client; Side.Server ] do
                      let after = deliver side bytes world
                      Expect.isTrue (get side after).Fault.IsNone "alive"

              true)

          testCase
              "a handshake whose every datagram may be changed ends in a fault or in a connection, never in a throw"
              (fun () ->
                  for seed in 1L .. 60L do
                      let client, server = pair P256 P256
                      let world = create Weather.fair seed (fst client) (fst server) |> start P256 P256
                      let mutable world = world
                      let mutable entropy = Entropy.ofNumber seed

                      for _ in 1..12 do
                          let due = runUntil minute (fun w -> w.Now > world.Now) world
                          // Every step, each end also gets a changed copy of something that the other has sent.
                          let mutable next = due

                          for side in [ Side.Client; Side.Server ] do
                              let sent = (get (if side = Side.Client then Side.Server else Side.Client) next).Sent

                              if not sent.IsEmpty then
                                  let struct (which, e) = Entropy.below sent.Length entropy
                                  let bytes = Array.copy sent[which]
                                  let struct (at, e) = Entropy.below bytes.Length e
                                  let struct (value, e) = Entropy.below 256 e
                                  entropy <- e
                                  bytes[at] <- byte value
                                  next <- deliver side bytes next

                          world <- next) ]

let tests = testList "Dtls" [ handshakes; refusals; after; laws ]
