/// What DTLS 1.3 does about peers that lie, each in one message: the alert, and nothing thrown.
module Hybrid.WebRtc.PropertyTests.Dtls13.HostileTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld
open Hybrid.WebRtc.PropertyTests.Dtls13.Impostor

/// A server that lies to our client.
let private lyingServer =
    let configOf = both P256

    /// Our client, its hello, and what an honest server says to it.
    let honest (client: DtlsConfig) (server: DtlsConfig) =
        let struct (state, _) = begin' client DtlsRole.Client ofClient

        let struct (_, demands) = Client13.hello (partyOf client DtlsRole.Client ofClient)

        let answer =
            Server13.receive (partyOf server DtlsRole.Server ofServer) (said demands).Head Server13.start
            |> ok "the hello"

        struct (state, answer)

    let answers (client: DtlsConfig) (change: Message list -> Message list) =
        let struct (state, struct (_, demands)) = honest client configOf
        state |> feed (datagrams (clear :: keysOf demands) (change (said demands)))

    let lie name (change: Message list -> Message list) (expected: byte) =
        testCase name (fun () ->
            Expect.equal (Alert.name (alertOf (answers (config13 P256) change))) (Alert.name expected) "the alert")

    let hello name change expected =
        lie name (of' MessageType.ServerHello (serverHello change)) expected

    let encrypted name (extensions: Extension[]) expected =
        lie name (of' MessageType.EncryptedExtensions (fun _ -> Message.writeExtensions extensions)) expected

    let retry (extensions: Extension[]) : byte[] =
        Message.writeServerHello
            { Version = Record.Version
              Random = Messages13.retryRandom
              SessionId = [||]
              Suite = 0x1301us
              Extensions = Array.append [| Extensions13.version Extensions13.Version |] extensions }

    let request sequence extensions : Message =
        { Type = MessageType.ServerHello
          Sequence = sequence
          Body = retry extensions }

    testList
        "a server that lies"
        [ testCase "one that does not is believed" (fun () ->
              Expect.equal (alertOf (answers (config13 P256) id)) 255uy "no alert")

          lie "Finished is wrong" (of' MessageType.Finished flip) Alert.DecryptError
          lie "Finished is cut" (of' MessageType.Finished cut) Alert.DecryptError
          lie "the signature is wrong" (of' MessageType.CertificateVerify flip) Alert.DecryptError
          lie
              "the signature is of another scheme"
              (of' MessageType.CertificateVerify (fun b -> Array.append [| 4uy; 1uy |] b[2..]))
              Alert.IllegalParameter
          lie "CertificateVerify is cut" (of' MessageType.CertificateVerify cut) Alert.DecodeError
          lie "Certificate is cut" (of' MessageType.Certificate cut) Alert.DecodeError
          lie "Certificate is too long" (of' MessageType.Certificate longer) Alert.DecodeError
          lie
              "there is no certificate"
              (of' MessageType.Certificate (fun _ -> Messages13.writeCertificate { Context = [||]; Entries = [||] }))
              Alert.BadCertificate
          lie
              "it is somebody else's"
              (of' MessageType.Certificate (fun _ ->
                  Messages13.writeCertificate
                      { Context = [||]
                        Entries =
                          [| { Data = (certificate Rsa).Der
                               Extensions = [||] } |] }))
              Alert.BadCertificate
          lie
              "Certificate has a context"
              (of' MessageType.Certificate (fun _ ->
                  Messages13.writeCertificate { Context = [| 1uy |]; Entries = [||] }))
              Alert.IllegalParameter
          lie "Certificate is missing" (without MessageType.Certificate) Alert.UnexpectedMessage
          lie "CertificateVerify is missing" (without MessageType.CertificateVerify) Alert.UnexpectedMessage
          lie "EncryptedExtensions are missing" (without MessageType.EncryptedExtensions) Alert.UnexpectedMessage
          lie
              "CertificateRequest has no schemes"
              (of' MessageType.CertificateRequest (fun _ ->
                  Messages13.writeCertificateRequest { Context = [||]; Extensions = [||] }))
              Alert.MissingExtension
          lie "EncryptedExtensions are cut" (of' MessageType.EncryptedExtensions cut) Alert.DecodeError
          encrypted "an extension that was not asked for" [| extension 0x5a5aus [||] |] Alert.UnsupportedExtension
          encrypted
              "an extension of another message"
              [| Extensions13.version Extensions13.Version |]
              Alert.IllegalParameter
          encrypted
              "an SRTP profile that was not offered"
              [| extension Extensions.UseSrtp [| 0uy; 2uy; 0x77uy; 0x77uy; 0uy |] |]
              Alert.IllegalParameter

          lie "ServerHello is cut" (of' MessageType.ServerHello cut) Alert.DecodeError
          hello "a suite that was not offered" (fun h -> { h with Suite = 0x1304us }) Alert.IllegalParameter
          hello "a suite of 1.2" (fun h -> { h with Suite = 0xc02bus }) Alert.IllegalParameter
          hello "the session id is echoed" (fun h -> { h with SessionId = [| 1uy |] }) Alert.IllegalParameter
          hello "another legacy version" (fun h -> { h with Version = 0xfefcus }) Alert.IllegalParameter
          hello
              "an extension that is not of ServerHello"
              (fun h ->
                  { h with
                      Extensions =
                          Array.append h.Extensions [| extension Extensions.UseSrtp [| 0uy; 2uy; 0uy; 7uy; 0uy |] |] })
              Alert.UnsupportedExtension
          hello
              "no share"
              (fun h ->
                  { h with
                      Extensions = removing Extensions13.KeyShare h.Extensions })
              Alert.MissingExtension
          hello
              "a share of a group of which we gave none"
              (fun h ->
                  { h with
                      Extensions = replacing Extensions13.KeyShare [| 0uy; 0x17uy; 0uy; 1uy; 4uy |] h.Extensions })
              Alert.IllegalParameter
          hello
              "a share that is too short"
              (fun h ->
                  { h with
                      Extensions = replacing Extensions13.KeyShare [| 0x11uy; 0xecuy; 0uy; 1uy; 4uy |] h.Extensions })
              Alert.IllegalParameter
          hello
              "a share of small order"
              (fun h ->
                  { h with
                      Extensions =
                          replacing
                              Extensions13.KeyShare
                              (Array.append [| 0uy; 0x1duy; 0uy; 32uy |] (Array.zeroCreate 32))
                              h.Extensions })
              Alert.IllegalParameter
          hello
              "no supported_versions: 1.2 is not spoken here"
              (fun h ->
                  { h with
                      Extensions = removing Extensions.SupportedVersions h.Extensions })
              Alert.IllegalParameter

          testCase "somebody stripped 1.3 from our offer: a server of both says so in its random" (fun () ->
              let struct (client, sent) = begin' configOf DtlsRole.Client ofClient

              let hello =
                  match sent with
                  | [ Dtls.Transmit _; Dtls.Transmit _ ] ->
                      (said (let struct (_, d) = Client13.hello (partyOf configOf DtlsRole.Client ofClient) in d)).Head
                  | _ -> failtest "a hello in two datagrams"

              // As the man in the middle lets it through.
              let stripped =
                  { hello with
                      Body =
                          clientHello
                              (fun h ->
                                  { h with
                                      Extensions = removing Extensions.SupportedVersions h.Extensions })
                              hello.Body }

              let struct (server, _) = begin' configOf DtlsRole.Server ofServer
              let struct (_, answer) = feed (datagrams [ clear ] [ stripped ]) server

              let answer =
                  answer
                  |> List.choose (fun output ->
                      match output with
                      | Dtls.Transmit datagram -> Some(encode datagram)
                      | _ -> None)

              Expect.isNonEmpty answer "the server speaks 1.2"
              Expect.equal (Alert.name (alertOf (feed answer client))) "illegal_parameter" "the client sees it")

          testCase "a HelloRetryRequest that wants nothing, or what it has, or what we have not" (fun () ->
              for extensions in
                  [ [||]
                    [| Extensions13.wantedGroup 0x11ecus |]
                    [| Extensions13.wantedGroup 0x001dus |]
                    [| Extensions13.wantedGroup 0x0019us |] ] do
                  let struct (client, _) = begin' configOf DtlsRole.Client ofClient
                  let answered = feed (datagrams [ clear ] [ request 0 extensions ]) client
                  Expect.equal (Alert.name (alertOf answered)) "illegal_parameter" "the alert")

          testCase "a second HelloRetryRequest" (fun () ->
              let struct (client, _) = begin' configOf DtlsRole.Client ofClient
              let cookie = [| Extensions13.cookie [| 1uy |] |]

              let struct (client, outputs) =
                  feed (datagrams [ clear ] [ request 0 cookie ]) client

              Expect.isTrue (outputs |> List.exists _.IsTransmit) "the first is answered"

              let again =
                  feed (datagrams [ { clear with Next = 1UL } ] [ request 1 cookie ]) client

              Expect.equal (Alert.name (alertOf again)) "unexpected_message" "the alert")

          testCase "what is to be sealed is not taken in the clear" (fun () ->
              let struct (state, struct (_, demands)) = honest (config13 P256) configOf
              let messages = said demands
              // All in epoch 0.
              let struct (_, _, sent) =
                  messages
                  |> List.map (fun m -> struct (m, 0UL))
                  |> Flight13.create -1
                  |> Flight13.say 1200 now (Duration.seconds 1L) [ clear ]

              let struct (_, outputs) = feed (sent |> List.map encode) state
              Expect.isFalse (outputs |> List.exists _.IsConnected) "not connected"

              Expect.isGreaterThanOrEqual
                  (outputs |> List.filter (fun o -> o.IsIgnored)).Length
                  (messages.Length - 1)
                  "each is ignored") ]

/// A client that lies to our server.
let private lyingClient =
    let helloOf (config: DtlsConfig) =
        let struct (state, demands) =
            Client13.hello (partyOf config DtlsRole.Client ofClient)

        struct (state, (said demands).Head)

    let greets (server: DtlsConfig) (change: byte[] -> byte[]) =
        let struct (_, hello) = helloOf (both P256)
        let struct (state, _) = begin' server DtlsRole.Server ofServer
        feed (datagrams [ clear ] [ { hello with Body = change hello.Body } ]) state

    let hello name (change: ClientHello -> ClientHello) expected =
        testCase name (fun () ->
            let answered = greets (config13 P256) (clientHello change)
            Expect.equal (Alert.name (alertOf answered)) (Alert.name expected) "the alert")

    let replaced kind data (h: ClientHello) =
        { h with
            Extensions = replacing kind data h.Extensions }

    let removed kind (h: ClientHello) =
        { h with
            Extensions = removing kind h.Extensions }

    /// Our server once the client has said its last flight, as `change` makes it.
    let finishes (change: Message list -> Message list) =
        let config = config13 P256
        let party = partyOf config DtlsRole.Client ofClient
        let struct (client, hello) = helloOf config
        let struct (server, _) = begin' config DtlsRole.Server ofServer
        let struct (server, _) = feed (datagrams [ clear ] [ hello ]) server

        // The server's messages follow from its entropy.
        let struct (_, answer) =
            Server13.receive (partyOf config DtlsRole.Server ofServer) hello Server13.start
            |> ok "the hello"

        let struct (_, demands) =
            (struct (client, []), said answer)
            ||> List.fold (fun (struct (client, demands)) message ->
                let struct (client, more) = Client13.receive party message client |> ok "the flight"
                struct (client, demands @ more))

        feed (datagrams (keysOf demands) (change (said demands))) server

    let last name change expected =
        testCase name (fun () ->
            Expect.equal (Alert.name (alertOf (finishes change))) (Alert.name expected) "the alert")

    let withCookie = { config13 P256 with Cookie = true }

    /// A second hello with the cookie that `change` makes of the right one.
    let cookie (change: byte[] -> byte[]) =
        let party = partyOf (both P256) DtlsRole.Client ofClient
        let struct (client, hello) = helloOf (both P256)
        let struct (server, _) = begin' withCookie DtlsRole.Server ofServer
        let struct (server, _) = feed (datagrams [ clear ] [ hello ]) server

        let struct (_, answer) =
            Server13.receive (partyOf withCookie DtlsRole.Server ofServer) hello Server13.start
            |> ok "the hello"

        let struct (_, demands) =
            Client13.receive party (said answer).Head client |> ok "HelloRetryRequest"

        let again =
            said demands
            |> of'
                MessageType.ClientHello
                (clientHello (fun h ->
                    match Extensions.find Extensions13.Cookie h.Extensions with
                    | ValueSome data ->
                        { h with
                            Extensions = replacing Extensions13.Cookie (change data) h.Extensions }
                    | ValueNone -> failtest "a cookie"))

        feed (datagrams [ { clear with Next = 9UL } ] again) server

    testList
        "a client that lies"
        [ testCase "one that does not is believed" (fun () ->
              let struct (_, outputs) = finishes id
              Expect.isTrue (outputs |> List.exists _.IsConnected) "connected")

          last "Finished is wrong" (of' MessageType.Finished flip) Alert.DecryptError
          last "the signature is wrong" (of' MessageType.CertificateVerify flip) Alert.DecryptError
          last "Certificate is cut" (of' MessageType.Certificate cut) Alert.DecodeError
          last
              "there is no certificate"
              (of' MessageType.Certificate (fun _ -> Messages13.writeCertificate { Context = [||]; Entries = [||] }))
              Alert.BadCertificate
          last
              "Finished comes at once"
              (fun messages ->
                  [ { List.last messages with
                        Sequence = messages.Head.Sequence } ])
              Alert.UnexpectedMessage

          hello "legacy_cookie" (fun h -> { h with Cookie = [| 1uy |] }) Alert.IllegalParameter
          hello
              "no version in common"
              (replaced Extensions.SupportedVersions [| 2uy; 0xfeuy; 0xfduy |])
              Alert.ProtocolVersion
          hello "versions are cut" (replaced Extensions.SupportedVersions [| 2uy; 0xfeuy |]) Alert.DecodeError
          hello "no suite in common" (fun h -> { h with Suites = [| 0x1399us |] }) Alert.HandshakeFailure
          hello "no groups" (removed Extensions.SupportedGroups) Alert.MissingExtension
          hello "no shares" (removed Extensions13.KeyShare) Alert.MissingExtension
          hello "no signature schemes" (removed Extensions.SignatureAlgorithms) Alert.MissingExtension
          hello "shares are cut" (replaced Extensions13.KeyShare [| 0uy; 9uy; 0uy; 0x1duy; 0uy |]) Alert.DecodeError
          hello
              "a share of a group that was not offered"
              (replaced Extensions13.KeyShare [| 0uy; 5uy; 0x77uy; 0x77uy; 0uy; 1uy; 1uy |])
              Alert.IllegalParameter
          hello
              "a share twice"
              (replaced Extensions13.KeyShare [| 0uy; 10uy; 0uy; 0x1duy; 0uy; 1uy; 1uy; 0uy; 0x1duy; 0uy; 1uy; 1uy |])
              Alert.DecodeError
          hello
              "a share of small order"
              (replaced
                  Extensions13.KeyShare
                  (Array.append [| 0uy; 36uy; 0uy; 0x1duy; 0uy; 32uy |] (Array.zeroCreate 32)))
              Alert.IllegalParameter
          hello "a cookie that nobody gave" (replaced Extensions13.Cookie [| 0uy; 1uy; 1uy |]) Alert.IllegalParameter

          testCase "a cookie: the right one, a wrong one, none, and one of another connection" (fun () ->
              Expect.equal (alertOf (cookie id)) 255uy "no alert"
              Expect.equal (Alert.name (alertOf (cookie flip))) "illegal_parameter" "wrong"
              Expect.equal (Alert.name (alertOf (cookie (fun _ -> [| 0uy; 0uy |])))) "illegal_parameter" "empty"

              // Replayed: it was given to the same hello, by a server with another secret.
              let other =
                  Server13.receive
                      (partyOf withCookie DtlsRole.Server (Entropy.ofNumber 77L))
                      (let struct (_, hello) = helloOf (both P256) in hello)
                      Server13.start
                  |> ok "the hello"

              let struct (_, demands) = other

              match Message.readServerHello (said demands).Head.Body with
              | ValueSome request ->
                  match Extensions.find Extensions13.Cookie request.Extensions with
                  | ValueSome theirs ->
                      Expect.equal (Alert.name (alertOf (cookie (fun _ -> theirs)))) "illegal_parameter" "replayed"
                  | ValueNone -> failtest "a cookie"
              | ValueNone -> failtest "a HelloRetryRequest") ]

let tests = testList "DTLS 1.3 under lies" [ lyingServer; lyingClient ]
