/// Whole handshakes and connections of DTLS 1.3 in virtual time, RFC 9147.
module Hybrid.WebRtc.PropertyTests.Dtls13.SessionTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private exported (fin: End) =
    match fin.Connected with
    | ValueSome { SrtpKeys = ValueSome keys } ->
        Convert.ToHexString(Array.concat [ keys.ClientKey; keys.ServerKey; keys.ClientSalt; keys.ServerSalt ])
    | ValueSome _ -> "none"
    | ValueNone -> "not connected"

let private told (world: World) =
    String.Join(
        "; ",
        [ for side in [ Side.Client; Side.Server ] do
              let fin = get side world
              string side
              string fin.Fault
              String.Join(",", fin.Drops |> List.map string) ]
    )

let private expectConnected (world: World) =
    Expect.isTrue (bothConnected world) ("both connected: " + told world)
    Expect.equal (exported world.Client) (exported world.Server) "equal exported keys"
    Expect.notEqual (exported world.Client) "none" "keys"

/// Both say something, and hear it.
let private talk (world: World) : World =
    let before side = (get side world).Data.Length
    let client, server = before Side.Client, before Side.Server
    let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B

    let world =
        runUntil (world.Now + minute) (fun w -> w.Client.Data.Length > client && w.Server.Data.Length > server) world

    Expect.equal (List.head world.Server.Data) "ping"B "the server hears"
    Expect.equal (List.head world.Client.Data) "pong"B "the client hears"
    world

let private fair (client: DtlsConfig) (server: DtlsConfig) =
    handshake Weather.fair 1L (client, P256) (server, P256)

let private octets (fin: End) = fin.Sent |> List.sumBy Array.length

let private agreement =
    testList
        "agreement"
        [ testCase "fair weather: one round trip and a half, the hybrid group, and keys that are alike" (fun () ->
              let world = fair (both P256) (both P256)
              expectConnected world
              Expect.equal world.Client.ConnectedAt (Duration.milliseconds 20L) "the client after two flights"
              Expect.equal world.Server.ConnectedAt (Duration.milliseconds 30L) "the server after three"
              Expect.isEmpty world.Client.Drops "nothing ignored"
              Expect.isEmpty world.Server.Drops "nothing ignored"

              for fin in [ world.Client; world.Server ] do
                  let c = fin.Connected.Value
                  Expect.equal c.Version "DTLS 1.3" "version"
                  Expect.equal c.SuiteName "TLS_AES_128_GCM_SHA256" "suite"
                  Expect.equal c.Group NamedGroup.X25519MLKEM768 "group"
                  Expect.equal c.SrtpProfile (ValueSome SrtpProfile.AeadAes256Gcm) "profile"
                  Expect.equal c.RemoteCertificates [| (certificate P256).Der |] "certificate"

              // A hello of two datagrams, a flight of two, a flight of one, and its ACK.
              let world = talk world
              Expect.hasLength world.Client.Sent 4 "the client's datagrams"
              Expect.hasLength world.Server.Sent 4 "the server's datagrams"
              Expect.isTrue (world.Client.Sent |> List.forall (fun d -> d.Length <= 1200)) "that fit the path")

          for suite in Tls13.Suite13.all do
              for group in Enum.GetValues<NamedGroup>() do
                  for clientKind in [ P256; Rsa; P384 ] do
                      for serverKind in [ P256; Rsa; P384 ] do
                          testCase $"{suite}, {group}, {clientKind} to {serverKind}" (fun () ->
                              let only kind =
                                  { both kind with
                                      Suites = [| suite; CipherSuite.EcdheEcdsaAes128GcmSha256 |]
                                      Groups = [| group |] }

                              let world =
                                  handshake Weather.fair 7L (only clientKind, clientKind) (only serverKind, serverKind)

                              expectConnected world
                              let c = (talk world).Server.Connected.Value
                              Expect.equal (c.Version, c.Suite, c.Group) ("DTLS 1.3", suite, group) "agreed")

          testCase "the client is not asked for a certificate where a chain is what counts" (fun () ->
              let start side role =
                  step side (Dtls.StartWithChain(role, if role = DtlsRole.Client then "example.org" else ""))

              let world =
                  create Weather.fair 3L (DtlsConfig.anonymous (both P256).Ciphers) (both P256)
                  |> start Side.Server DtlsRole.Server
                  |> start Side.Client DtlsRole.Client
                  |> runUntil minute bothConnected

              Expect.isTrue (bothConnected world) (told world)
              Expect.equal world.Client.Connected.Value.RemoteCertificates [| (certificate P256).Der |] "the server's"
              Expect.isEmpty world.Server.Connected.Value.RemoteCertificates "none of the client's"
              talk world |> ignore)

          testCase "SRTP profiles: the server's preference among what the client offers, or none" (fun () ->
              let agreed clients servers =
                  let world =
                      fair
                          { both P256 with
                              SrtpProfiles = clients }
                          { both P256 with
                              SrtpProfiles = servers }

                  Expect.isTrue (bothConnected world) (told world)
                  Expect.equal (exported world.Client) (exported world.Server) "keys"
                  world.Client.Connected.Value.SrtpProfile, (exported world.Client).Length / 2

              let sha, gcm = SrtpProfile.Aes128CmHmacSha1_80, SrtpProfile.AeadAes128Gcm
              Expect.equal (agreed [| sha; gcm |] [| gcm; sha |]) (ValueSome gcm, 56) "AEAD-128"
              Expect.equal (agreed [| sha |] [| gcm; sha |]) (ValueSome sha, 60) "CM-80"
              Expect.equal (fst (agreed [| sha |] [| gcm |])) ValueNone "none in common"
              Expect.equal (fst (agreed [||] [| gcm |])) ValueNone "none offered")

          testCase "a key log has the five secrets, where it is asked for, and both ends' are alike" (fun () ->
              let logged = { both P256 with KeyLog = true }
              let world = fair logged logged

              let labels =
                  [ "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
                    "SERVER_HANDSHAKE_TRAFFIC_SECRET"
                    "CLIENT_TRAFFIC_SECRET_0"
                    "SERVER_TRAFFIC_SECRET_0"
                    "EXPORTER_SECRET" ]

              Expect.equal (List.sort world.Client.KeyLog) (List.sort world.Server.KeyLog) "alike"
              let words = world.Client.KeyLog |> List.rev |> List.map _.Split(' ')
              Expect.equal (words |> List.map Array.head) labels "NSS"
              Expect.isTrue (words |> List.forall (fun w -> w[1].Length = 64 && w[2].Length = 64)) "sizes"
              Expect.isEmpty (fair (both P256) (both P256)).Client.KeyLog "not asked for") ]

/// Which version is spoken.
let private versions =
    let older = config P256
    let newer = config13 P256

    let speaks name client server (expected: string) =
        testCase name (fun () ->
            let world = fair client server
            expectConnected world

            for fin in [ world.Client; world.Server ] do
                Expect.equal fin.Connected.Value.Version expected "version"

            talk world |> ignore)

    let refuses name client server =
        testCase name (fun () ->
            let world = fair client server |> runUntil (2L * minute) (fun _ -> false)
            let sent, received = ValueSome 70uy, ValueSome 70uy

            match world.Client.Fault, world.Server.Fault with
            | ValueSome client, ValueSome server ->
                Expect.isTrue (client.SentAlert = sent || server.SentAlert = sent) "protocol_version is said"
                Expect.isTrue (client.ReceivedAlert = received || server.ReceivedAlert = received) "and heard"
            | _ -> failtest (told world))

    testList
        "versions"
        [ speaks "both speak both: 1.3" (both P256) (both P256) "DTLS 1.3"
          speaks "a client of both, a server of 1.2: 1.2" (both P256) older "DTLS 1.2"
          speaks "a client of 1.2, a server of both: 1.2" older (both P256) "DTLS 1.2"
          speaks "a client of 1.3, a server of both: 1.3" newer (both P256) "DTLS 1.3"
          speaks "a client of both, a server of 1.3: 1.3" (both P256) newer "DTLS 1.3"
          refuses "a client of 1.3 and a server of 1.2 part with protocol_version" newer older
          refuses "a client of 1.2 and a server of 1.3 part with protocol_version" older newer

          testCase "1.2 after an offer of 1.3 survives loss and reordering" (fun () ->
              for seed in 1L .. 20L do
                  for client, server in [ both P256, older; older, both P256 ] do
                      let world = handshake Weather.foul seed (client, P256) (server, P256)
                      expectConnected world
                      Expect.equal world.Client.Connected.Value.Version "DTLS 1.2" "version")

          testCase "extensions come in another order with each connection" (fun () ->
              let order seed =
                  let world = handshake Weather.fair seed (both P256, P256) (both P256, P256)

                  let hello =
                      world.Client.Sent
                      |> List.rev
                      |> List.take 2
                      |> List.collect (fun d -> List.ofArray d[25..])
                      |> Array.ofList

                  match Tls.Message.readClientHello hello with
                  | ValueSome hello -> hello.Extensions |> Array.map _.Type |> Array.toList
                  | ValueNone -> failtest "a hello"

              let orders = [ 1L .. 20L ] |> List.map order
              Expect.hasLength (orders |> List.map List.sort |> List.distinct) 1 "the same ones"
              Expect.isGreaterThan (List.distinct orders).Length 15 "shuffled") ]

let private retries =
    let groups list (config: DtlsConfig) =
        { config with
            Groups = List.toArray list }

    let withCookie config = { config with Cookie = true }

    let hybrid, x25519, p256 =
        NamedGroup.X25519MLKEM768, NamedGroup.X25519, NamedGroup.Secp256r1

    let retried name client server group =
        testCase name (fun () ->
            let world = fair client server
            expectConnected world
            Expect.equal world.Client.Connected.Value.Group group "group"
            Expect.equal world.Client.ConnectedAt (Duration.milliseconds 40L) "a round trip more"
            talk world |> ignore

            for seed in 1L .. 15L do
                handshake Weather.foul seed (client, P256) (server, P256) |> expectConnected)

    testList
        "HelloRetryRequest"
        [ retried
              "a group without a share is asked for"
              (groups [ hybrid; x25519; p256 ] (both P256))
              (groups [ p256 ] (both P256))
              p256
          retried
              "one share is taken where it is there, and the hybrid one is asked for where it is the only one in common"
              (groups [ x25519; hybrid ] (both P256))
              (groups [ hybrid ] (both P256))
              hybrid
          retried "a cookie proves that the client hears" (both P256) (withCookie (both P256)) hybrid
          retried
              "a cookie and a group at once"
              (groups [ x25519; p256 ] (both P256))
              (withCookie (groups [ p256 ] (both P256)))
              p256
          testCase "no group in common" (fun () ->
              let world =
                  fair (groups [ x25519 ] (config13 P256)) (groups [ p256 ] (config13 P256))

              Expect.equal world.Server.Fault.Value.SentAlert (ValueSome 40uy) "handshake_failure"

              Expect.equal
                  (runUntil minute (fun w -> w.Client.Fault.IsSome) world).Client.Fault.Value.ReceivedAlert
                  (ValueSome 40uy)
                  "heard") ]

let private weather =
    let pairs =
        [ "1.2", config P256, config P256
          "1.3", config13 P256, config13 P256
          "both", both P256, both P256
          "1.3 with a cookie", config13 P256, { config13 P256 with Cookie = true } ]

    let sized mtu (c: DtlsConfig) = { c with Mtu = mtu }

    testList
        "weather"
        [ for name, client, server in pairs do
              testPropertyWithConfig
                  { Laws.config with
                      maxTest = min 40 Laws.config.maxTest }
                  (name
                   + ": any seed, loss to 30 %, duplication, jitter, any MTU from 200: connected with equal keys, and both hear")
              <| fun (seed: int64) (loss: byte) (mtu: uint16) ->
                  let mtu = 200 + int mtu % 1000

                  let weather =
                      { Weather.foul with
                          Loss = float loss / 255.0 * 0.3
                          Mtu = mtu }

                  let world = handshake weather seed (sized mtu client, P256) (sized mtu server, P256)

                  // Until the server has the client's last flight it does not hear data, which nobody says again here.
                  bothConnected world && exported world.Client = exported world.Server

          for name, client, server in pairs do
              testCase (name + ": nobody answers, so it is given up after a minute") (fun () ->
                  let silent = { Weather.fair with Loss = 1.0 }

                  let world =
                      handshake silent 1L (client, P256) (server, P256)
                      |> runUntil (2L * minute) (fun _ -> false)

                  Expect.equal world.Client.Fault.Value.Detail ErrorDetail.DtlsFailure "the client"
                  Expect.equal world.Server.Fault.Value.Detail ErrorDetail.DtlsFailure "the server")

          // What is sent beyond fair weather is what was lost, and ACKs.
          for mtu in [ 200; 600; 1200 ] do
              testCase $"any one datagram lost costs what was in it once more, and ACKs: MTU {mtu}" (fun () ->
                  let run lost =
                      let world =
                          { create
                                { Weather.fair with Mtu = mtu }
                                5L
                                (sized mtu (config13 P256))
                                (sized mtu (config13 P256)) with
                              Lost = lost }

                      let world = world |> start P256 P256 |> runUntil minute bothConnected
                      expectConnected world
                      // The last ACK may be what is lost.
                      runUntil (world.Now + Duration.seconds 5L) (fun _ -> false) world

                  let none = run Set.empty
                  let total (w: World) = octets w.Client + octets w.Server

                  let hello =
                      none.Client.Sent
                      |> List.filter (fun d -> d[0] = byte Tls.ContentType.Handshake)
                      |> List.length

                  // In the order of sending, which loss does not change before it happens.
                  for index in 0 .. none.Count - 1 do
                      let world = run (Set.singleton index)
                      let again = total world - total none

                      let bound =
                          // The hello's parts are not acknowledged, since the server may speak 1.2: it is said again as a whole.
                          if index < hello then 1700
                          // Without its ACK the client's last flight is said again as a whole.
                          elif index = none.Count - 1 then 800
                          else mtu

                      Expect.isLessThanOrEqual again (bound + 600) $"datagram {index} of {none.Count}"

                      Expect.isLessThan
                          world.Client.ConnectedAt
                          (Duration.milliseconds 300L)
                          "the client is soon there"

                      Expect.isLessThan
                          world.Server.ConnectedAt
                          (Duration.milliseconds 300L)
                          "the server is soon there")

          testCase "flights in any order of datagrams still connect" (fun () ->
              for seed in 1L .. 40L do
                  let weather =
                      { Weather.fair with
                          Jitter = Duration.milliseconds 30L
                          Mtu = 200 }

                  handshake weather seed (sized 200 (both P256), P256) (sized 200 (both P256), P256)
                  |> expectConnected)

          testCase "the same seed tells the same story, byte for byte" (fun () ->
              let story () =
                  let world = handshake Weather.foul 99L (both P256, P256) (both P384, P384)
                  world.Client.Sent, world.Server.Sent, world.Client.ConnectedAt

              Expect.equal (story ()) (story ()) "the same") ]

let private connections =
    let connected () = fair (both P256) (both P256)

    let deliver side (bytes: byte[]) world =
        step side (Dtls.Received(Memory(Array.copy bytes))) world

    let sealedBy side (plaintext: byte[]) world =
        let after = say side plaintext world
        struct (List.head (get side after).Sent, after)

    let drops side world = (get side world).Drops

    testList
        "connections"
        [ testCase "replayed: counted, and delivered once" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "once"B (connected ())
              let world = world |> deliver Side.Server bytes |> deliver Side.Server bytes
              Expect.equal world.Server.Data [ "once"B ] "once"
              Expect.equal (drops Side.Server world) [ Drop.Replayed ] "replayed")

          testCase "tampered, anywhere: counted, and the connection lives on" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "hello"B (connected ())
              let mutable world = world

              for at in 0 .. bytes.Length - 1 do
                  let forged = Array.copy bytes
                  forged[at] <- forged[at] ^^^ 0x04uy
                  world <- deliver Side.Server forged world

              Expect.isEmpty world.Server.Data "nothing taken"
              Expect.isGreaterThanOrEqual world.Server.Drops.Length bytes.Length "each counted"
              let world = deliver Side.Server bytes world
              Expect.equal world.Server.Data [ "hello"B ] "the true one is")

          testCase "truncated, everywhere: nothing is taken" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "hello"B (connected ())
              let mutable world = world

              for length in 0 .. bytes.Length - 1 do
                  world <- deliver Side.Server bytes[.. length - 1] world

              Expect.isEmpty world.Server.Data "nothing taken"
              Expect.hasLength world.Server.Drops bytes.Length "each counted")

          testCase "several in a datagram: all are read, up to the first that is malformed" (fun () ->
              let struct (one, world) = sealedBy Side.Client "one"B (connected ())
              let struct (two, world) = sealedBy Side.Client "two"B world
              let world = deliver Side.Server (Array.concat [ one; two; [| 0uy; 1uy |] ]) world
              Expect.equal world.Server.Data [ "two"B; "one"B ] "both"
              Expect.equal world.Server.Drops [ Drop.Malformed ] "the rest")

          testCase "alerts in the clear are not believed" (fun () ->
              let alert =
                  [| 21uy
                     0xfeuy
                     0xfduy
                     0uy
                     0uy
                     0uy
                     0uy
                     0uy
                     0uy
                     0uy
                     9uy
                     0uy
                     2uy
                     2uy
                     40uy |]

              let world = connected () |> deliver Side.Client alert |> deliver Side.Server alert
              Expect.isTrue (world.Client.Fault.IsNone && world.Server.Fault.IsNone) "no fault"
              talk world |> ignore)

          for side in [ Side.Client; Side.Server ] do
              testCase $"{side} says goodbye, and is answered" (fun () ->
                  let world =
                      connected () |> step side Dtls.Close |> runUntil (2L * minute) (fun _ -> false)

                  Expect.isTrue (world.Client.Closed && world.Server.Closed) "closed"
                  Expect.isTrue (world.Client.Fault.IsNone && world.Server.Fault.IsNone) "no fault")

          testCase "data that overtakes the client's last flight waits for it" (fun () ->
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
                  fair (both P256) (both P256) |> runUntil (Duration.seconds 3L) (fun _ -> false)

              let request: Tls.Message =
                  { Type = Tls.MessageType.KeyUpdate
                    Sequence = 4
                    Body = [| 1uy |] }

              // What the client would send: its next record, with a message instead of data.
              let struct (state, outputs) = Dtls.step world.Now (Dtls.Seal 1) world.Client.State

              match outputs with
              | [ Dtls.Sealed leave ] ->
                  let record: Tls.Outgoing =
                      { Payload = Tls.MessagePart(request, 0, 1)
                        Epoch = leave.Epoch
                        Sequence = leave.Sequence
                        Sealing = leave.Sealing }

                  let bytes: byte[] = Array.zeroCreate (Tls.Outgoing.size record)
                  Tls.Outgoing.write record (Span bytes) |> ignore
                  let before = world.Server.Sent.Length

                  let world =
                      { world with
                          Client = { world.Client with State = state } }
                      |> step Side.Server (Dtls.Received(Memory bytes))

                  Expect.equal (world.Server.Sent.Length - before) 2 "its ACK and its own KeyUpdate"
                  // The client takes it for what it is, and acknowledges.
                  let world = runUntil (world.Now + Duration.seconds 3L) (fun _ -> false) world

                  let world =
                      say Side.Server "new"B world
                      |> runUntil (world.Now + Duration.seconds 6L) (fun _ -> false)

                  Expect.equal (List.head world.Client.Data) "new"B "heard under the new keys"
                  Expect.equal ((List.head world.Server.Sent)[0] &&& 3uy) 0uy "epoch 4"
              | _ -> failtest "leave")

          testCase "without an ACK the old keys are used up to their limit, and no further" (fun () ->
              let world =
                  fair (after 10 (both P256)) (both P256)
                  |> runUntil (Duration.seconds 3L) (fun _ -> false)

              let limit = Tls13.Suite13.sealLimit CipherSuite.Aes128GcmSha256
              let world = step Side.Client (Dtls.Seal(int limit - 100)) world
              Expect.isTrue world.Client.Fault.IsNone "allowed"
              let world = step Side.Client (Dtls.Seal 200) world
              Expect.isTrue world.Client.Fault.IsSome "worn out") ]

let tests =
    testList "DTLS 1.3 sessions" [ agreement; versions; retries; weather; connections; updates ]
