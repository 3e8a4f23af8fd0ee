/// What DTLS 1.3 does about peers that lie, each lie a message that is otherwise right: the alert, and nothing thrown.
module Hybrid.WebRtc.PropertyTests.Dtls13.HostileTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private now = Duration.milliseconds 1L
let private fits = [| fingerprint "sha-256" (certificate P256) |]

/// The party that a machine with this entropy is.
let private partyOf (config: DtlsConfig) role (entropy: Entropy) : Party =
    let struct (random, entropy) = Entropy.bytes Message.RandomSize entropy
    let struct (seed, _) = Entropy.bytes 64 entropy

    { Config = config
      Role = role
      Trust = Trust.Fingerprints fits
      Random = random
      Seed = seed }

let private ofServer = Entropy.ofNumber 1L
let private ofClient = Entropy.ofNumber 2L

let private begin' (config: DtlsConfig) role entropy =
    Dtls.step 0L<us> (Dtls.Start(role, fits)) (Dtls.create config entropy)

let private feed (datagrams: byte[] list) (state: Dtls.State) =
    (struct (state, []), datagrams)
    ||> List.fold (fun (struct (state, outputs)) bytes ->
        let struct (state, more) =
            Dtls.step now (Dtls.Received(Memory(Array.copy bytes))) state

        struct (state, outputs @ more))

/// The alert that a step has sent; 255 where it has sent none.
let private alertOf (struct (_, outputs: Dtls.Output list)) : byte =
    outputs
    |> List.tryPick (fun output ->
        match output with
        | Dtls.Failed fault -> fault.SentAlert |> ValueOption.toOption
        | _ -> None)
    |> Option.defaultValue 255uy

let private clear: WriteEpoch =
    { Epoch = 0UL
      Sealing = Sealing.Clear
      Next = 0UL }

/// Epoch 2 of whoever writes with this secret.
let private sealedWith k (secret: byte[]) : WriteEpoch =
    { Epoch = 2UL
      Sealing = Sealing.Dtls13(Protection13.create k secret)
      Next = 0UL }

let private datagrams (writes: WriteEpoch list) (messages: Message list) : byte[] list =
    let placed =
        messages
        |> List.map (fun m -> struct (m, Flight13.epochOf m.Type |> ValueOption.defaultValue 0UL))

    let struct (_, _, sent) =
        Flight13.create -1 placed |> Flight13.say 1200 now (Duration.seconds 1L) writes

    sent |> List.map encode

let private ok name (result: Result<'a, Refusal>) : 'a =
    match result with
    | Ok value -> value
    | Error refusal -> failtest $"{name}: {refusal.Reason}"

let private said (demands: Demand13 list) : Message list =
    demands
    |> List.collect (fun demand ->
        match demand with
        | Demand13.Say messages -> messages
        | _ -> [])

let private keysOf (demands: Demand13 list) =
    demands
    |> List.tryPick (fun demand ->
        match demand with
        | Demand13.HandshakeKeys(k, _, write) -> Some(sealedWith k write)
        | _ -> None)
    |> Option.toList

let private of' kind (change: byte[] -> byte[]) (messages: Message list) : Message list =
    messages
    |> List.map (fun m -> if m.Type = kind then { m with Body = change m.Body } else m)

let private without kind (messages: Message list) : Message list =
    messages
    |> List.filter (fun m -> m.Type <> kind)
    |> List.mapi (fun i m -> { m with Sequence = i })

let private flip (body: byte[]) =
    let body = Array.copy body
    body[body.Length - 1] <- body[body.Length - 1] ^^^ 1uy
    body

let private cut (body: byte[]) = body[.. body.Length - 2]
let private longer (body: byte[]) = Array.append body [| 0uy |]

let private serverHello (change: ServerHello -> ServerHello) (body: byte[]) =
    match Message.readServerHello body with
    | ValueSome hello -> Message.writeServerHello (change hello)
    | ValueNone -> failtest "a ServerHello"

let private clientHello (change: ClientHello -> ClientHello) (body: byte[]) =
    match Message.readClientHello body with
    | ValueSome hello -> Message.writeClientHello (change hello)
    | ValueNone -> failtest "a ClientHello"

let private extension kind data : Extension = { Type = kind; Data = data }

let private replacing kind (data: byte[]) (extensions: Extension[]) =
    extensions
    |> Array.filter (fun e -> e.Type <> kind)
    |> Array.append [| extension kind data |]

let private removing kind (extensions: Extension[]) =
    extensions |> Array.filter (fun e -> e.Type <> kind)

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
                      Extensions = removing Extensions13.SupportedVersions h.Extensions })
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
                                      Extensions = removing Extensions13.SupportedVersions h.Extensions })
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
              (replaced Extensions13.SupportedVersions [| 2uy; 0xfeuy; 0xfduy |])
              Alert.ProtocolVersion
          hello "versions are cut" (replaced Extensions13.SupportedVersions [| 2uy; 0xfeuy |]) Alert.DecodeError
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

let private noise =
    /// A handshake's datagrams, of both ends.
    let sent seed =
        let world = handshake Weather.fair seed (both P256, P256) (both P256, P256)
        let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B
        world.Client.Sent @ world.Server.Sent

    testList
        "noise"
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

let tests =
    testList "DTLS 1.3 under lies and noise" [ lyingServer; lyingClient; noise ]
