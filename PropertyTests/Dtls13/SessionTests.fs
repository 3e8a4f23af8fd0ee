/// Whole handshakes and connections of DTLS 1.3 in virtual time, RFC 9147.
module Hybrid.WebRtc.PropertyTests.Dtls13.SessionTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let internal fair (client: DtlsConfig) (server: DtlsConfig) =
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

let tests = testList "DTLS 1.3 sessions" [ agreement; versions; retries; weather ]
