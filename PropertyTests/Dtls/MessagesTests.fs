/// The parts of the DTLS machine: messages, extensions, reassembly, the replay window, keys; and hellos that are out of the ordinary.
module Hybrid.WebRtc.PropertyTests.DtlsMessagesTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private ciphers: ICiphers = SystemCiphers.Shared

let private upTo (n: int) (bytes: byte[]) = Array.truncate n bytes

let private random = Array.init 32 byte

let private extensions (data: byte[][]) : Extension[] =
    data
    |> Array.truncate 64
    |> Array.mapi (fun i data -> { Type = uint16 (i * 7); Data = data })

let private prfs =
    testList
        "PRF"
        [ testCase "SHA-256: the vector of the TLS working group" (fun () ->
              let output =
                  Keys.prf
                      ciphers
                      HashAlgorithm.Sha256
                      (Convert.FromHexString "9bbe436ba940f017b17652849a71db35")
                      "test label"
                      (Convert.FromHexString "a0ba9f936cda311827a6f796ffd5198c")
                      100

              Expect.equal
                  (Convert.ToHexStringLower output)
                  ("e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af"
                   + "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
                   + "87347b66")
                  "100 octets")

          testCase "SHA-384: the vector of the TLS working group" (fun () ->
              let output =
                  Keys.prf
                      ciphers
                      HashAlgorithm.Sha384
                      (Convert.FromHexString "b80b733d6ceefcdc71566ea48e5567df")
                      "test label"
                      (Convert.FromHexString "cd665cf6a8447dd6ff8b27555edb7465")
                      148

              Expect.equal
                  (Convert.ToHexStringLower output)
                  ("7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"
                   + "e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
                   + "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070"
                   + "3d73e56f")
                  "148 octets") ]

/// A ClientHello as a browser of 1.2 has it, to be changed.
let private plainHello: ClientHello =
    { Version = Record.Version
      Random = random
      SessionId = [||]
      Cookie = [||]
      Suites = [| 0xc02bus; 0xc02fus |]
      Extensions =
        Array.append (Extensions.offer "" [| 0x001dus; 0x0017us |] Scheme.ids [| 0x0007us |]) Extensions.offer12 }

let private plainServerHello: ServerHello =
    { Version = Record.Version
      Random = random
      SessionId = [||]
      Suite = 0xc02bus
      Extensions =
        [| { Type = Extensions.ExtendedMasterSecret
             Data = [||] } |] }

let private samples =
    [ Message.writeClientHello plainHello
      Message.writeServerHello plainServerHello
      Message.writeCertificate [| (certificate P256).Der; [| 1uy |] |]
      Message.writeServerKeyExchange
          { Group = 0x1dus
            Public = random
            Scheme = 0x0403us
            Signature = random }
      Message.writeCertificateRequest
          { Types = [| 64uy; 1uy |]
            Schemes = Scheme.ids }
      Message.writeCertificateVerify
          { Scheme = 0x0403us
            Signature = random }
      Message.writeClientKeyExchange random
      Message.writeHelloVerifyRequest random ]

let private readEverything (body: byte[]) =
    match Message.readClientHello body with
    | ValueSome hello -> Extensions.readOffer hello.Extensions |> ignore
    | ValueNone -> ()

    match Message.readServerHello body with
    | ValueSome hello -> Extensions.readGrant [||] hello.Extensions |> ignore
    | ValueNone -> ()

    Message.readCertificate body |> ignore
    Message.readServerKeyExchange body |> ignore
    Message.readCertificateRequest body |> ignore
    Message.readCertificateVerify body |> ignore
    Message.readClientKeyExchange body |> ignore
    Message.readHelloVerifyRequest body |> ignore

let private codecs =
    testList
        "codecs"
        [ testPropertyWithConfig Laws.config "read (write ClientHello) = ClientHello"
          <| fun (session: byte[]) (cookie: byte[]) (suites: uint16[]) (data: byte[][]) ->
              let hello =
                  { plainHello with
                      SessionId = upTo 32 session
                      Cookie = upTo 255 cookie
                      Suites = suites
                      Extensions = extensions data }

              Message.readClientHello (Message.writeClientHello hello) = ValueSome hello

          testPropertyWithConfig Laws.config "read (write ServerHello) = ServerHello"
          <| fun (session: byte[]) (suite: uint16) (data: byte[][]) ->
              let hello =
                  { plainServerHello with
                      SessionId = upTo 32 session
                      Suite = suite
                      Extensions = extensions data }

              Message.readServerHello (Message.writeServerHello hello) = ValueSome hello

          testPropertyWithConfig Laws.config "read (write x) = x, of the other messages"
          <| fun (a: byte[]) (b: byte[]) (n: uint16) (ns: uint16[]) (chain: NonEmptyArray<byte>[]) ->
              let a = upTo 255 a
              let chain = chain |> Array.map (fun c -> c.Get)

              let exchange: ServerKeyExchange =
                  { Group = n
                    Public = a
                    Scheme = n
                    Signature = b }

              let request: CertificateRequest = { Types = a; Schemes = ns }
              let verify: CertificateVerify = { Scheme = n; Signature = b }

              Message.readServerKeyExchange (Message.writeServerKeyExchange exchange) = ValueSome exchange
              && Message.readCertificateRequest (Message.writeCertificateRequest request) = ValueSome request
              && Message.readCertificateVerify (Message.writeCertificateVerify verify) = ValueSome verify
              && Message.readClientKeyExchange (Message.writeClientKeyExchange a) = ValueSome a
              && Message.readHelloVerifyRequest (Message.writeHelloVerifyRequest a) = ValueSome a
              && Message.readCertificate (Message.writeCertificate chain) = ValueSome chain

          Laws.anyBytes "any bytes are read or refused" (fun bytes ->
              readEverything bytes
              true)

          Laws.mutated "messages that were changed a little are read or refused" samples readEverything

          testCase "a hello with the same extension twice is refused, RFC 5246 §7.4.1.4" (fun () ->
              let doubled =
                  { plainHello with
                      Extensions = Array.append plainHello.Extensions plainHello.Extensions[..0] }

              Expect.isTrue (Message.readClientHello (Message.writeClientHello doubled)).IsNone "refused") ]

/// Adds octets from `offset` on of a message.
let private addPart (message: Message) (offset: int) (length: int) (reassembly: Reassembly) =
    let fragment: Fragment =
        { Type = message.Type
          Length = message.Body.Length
          Sequence = message.Sequence
          Offset = offset
          Bytes = ReadOnlySpan(message.Body, offset, length) }

    Reassembly.add fragment reassembly

let private message (sequence: int) (body: byte[]) : Message =
    { Type = MessageType.Certificate
      Sequence = sequence
      Body = body }

let private reassembly =
    testList
        "reassembly"
        [ testPropertyWithConfig Laws.config "any parts, in any order, overlapping and repeated, make the message"
          <| fun (seed: int64) (NonNegativeInt size) ->
              let size = size % 3000
              let mutable entropy = Entropy.ofNumber seed

              let draw bound =
                  let struct (n, e) = Entropy.below bound entropy
                  entropy <- e
                  n

              let sent = message 0 (Array.init size (fun i -> byte (i * 31)))
              let mutable state = Reassembly.empty
              let mutable steps = 0

              // Parts at random, and now and then the whole, until it is there.
              while (Reassembly.take state).IsNone && steps < 200 do
                  let offset, length =
                      if size = 0 || steps > 150 then
                          0, size
                      else
                          let offset = draw size
                          offset, 1 + draw (min 400 (size - offset))

                  match addPart sent offset length state with
                  | Ok next -> state <- next
                  | Error _ -> ()

                  steps <- steps + 1

              match Reassembly.take state with
              | ValueSome(struct (read, rest)) -> read.Body = sent.Body && read.Type = sent.Type && rest.Next = 1
              | ValueNone -> false

          testCase "messages come out in order, however they came in" (fun () ->
              let mutable state = Reassembly.empty

              for i in [ 2; 1; 0 ] do
                  match addPart (message i [| byte i |]) 0 1 state with
                  | Ok next -> state <- next
                  | Error drop -> failtest (string drop)

              for i in 0..2 do
                  match Reassembly.take state with
                  | ValueSome(struct (read, rest)) ->
                      Expect.equal read.Body [| byte i |] "in order"
                      state <- rest
                  | ValueNone -> failtest "a message"

              Expect.isTrue (Reassembly.take state).IsNone "no more")

          testCase "memory is bounded: messages ahead, parts of one, octets of one" (fun () ->
              let drop result =
                  match result with
                  | Ok _ -> ValueNone
                  | Error drop -> ValueSome drop

              let big = Array.zeroCreate 16384

              Expect.equal
                  (drop (addPart (message 8 big) 0 1 Reassembly.empty))
                  (ValueSome Drop.TooMany)
                  "too far ahead"

              let mutable state = Reassembly.empty
              let mutable taken = 0

              for i in 0..8191 do
                  match addPart (message 0 big) (2 * i) 1 state with
                  | Ok next ->
                      state <- next
                      taken <- taken + 1
                  | Error drop -> Expect.equal drop Drop.TooMany "bounded"

              Expect.equal taken Reassembly.MaxGaps "holes"

              // What would fill the holes is still taken.
              Expect.isTrue (addPart (message 0 big) 0 16384 state).IsOk "the whole"

              let mutable state = Reassembly.empty

              // Each reaches one octet further, and repeats all before it.
              for i in 1..99 do
                  match addPart (message 0 (Array.zeroCreate 100)) 0 i state with
                  | Ok next -> state <- next
                  | Error drop -> failtest (string drop)

                  Expect.isLessThanOrEqual state.Partial[0].Octets 200 "twice the message")

          testCase "parts that contradict each other are refused" (fun () ->
              match addPart (message 0 (Array.zeroCreate 10)) 0 5 Reassembly.empty with
              | Ok state ->
                  match addPart (message 0 (Array.zeroCreate 11)) 5 6 state with
                  | Error drop -> Expect.equal drop Drop.Malformed "another length"
                  | Ok _ -> failtest "refused"
              | Error drop -> failtest (string drop)) ]

let private window =
    testList
        "replay window"
        [ testPropertyWithConfig Laws.config "it takes what a set would, as far back as 64"
          <| fun (start: uint32) (steps: byte list) ->
              let mutable window = ReplayWindow.empty
              let mutable seen = Set.empty
              let mutable highest = -1L
              let mutable at = int64 start

              steps
              |> List.forall (fun step ->
                  // From 100 back to 155 on, at most.
                  at <- max 0L (at + int64 step - 100L)
                  let expected = not (seen.Contains at) && highest - at < 64L
                  let answered = ReplayWindow.isNew (uint64 at) window

                  if answered then
                      window <- ReplayWindow.mark (uint64 at) window
                      seen <- seen.Add at
                      highest <- max highest at

                  answered = expected) ]

/// A handshake message of epoch 0 in one record.
let private recordOf (kind: MessageType) (sequence: int) (body: byte[]) : byte[] =
    let record: Outgoing =
        { Payload =
            MessagePart(
                { Type = kind
                  Sequence = sequence
                  Body = body },
                0,
                body.Length
            )
          Epoch = 0UL
          Sequence = uint64 sequence
          Sealing = Sealing.Clear }

    let bytes: byte[] = Array.zeroCreate (Outgoing.size record)
    Outgoing.write record (Span bytes) |> ignore
    bytes

let private startOf role =
    let state = Dtls.create (config P256) (Entropy.ofNumber 1L)

    let struct (state, _) =
        Dtls.step 0L<us> (Dtls.Start(role, [| fingerprint "sha-256" (certificate P256) |])) state

    state

let private tell (records: byte[] list) state =
    ((struct (state, [])), records)
    ||> List.fold (fun (struct (state, outputs)) record ->
        let struct (state, more) =
            Dtls.step 1L<us> (Dtls.Received(Memory(Array.copy record))) state

        struct (state, outputs @ more))

let private sentAlert outputs =
    outputs
    |> List.tryPick (fun output ->
        match output with
        | Dtls.Failed fault -> fault.SentAlert |> ValueOption.toOption
        | _ -> None)

/// What a server answers a hello with: its ServerHello, or the alert.
let private serverAnswers (records: byte[] list) : Result<ServerHello, byte> =
    let struct (_, outputs) = startOf DtlsRole.Server |> tell records

    match sentAlert outputs with
    | Some alert -> Error alert
    | None ->
        let first =
            outputs
            |> List.pick (fun output ->
                match output with
                | Dtls.Transmit datagram -> Some(encode datagram)
                | _ -> None)

        match Record.first (Memory first) with
        | ValueSome record ->
            match Message.readServerHello ((Record.fragment record).Slice(Fragment.HeaderSize).ToArray()) with
            | ValueSome hello -> Ok hello
            | ValueNone -> failtest "a ServerHello"
        | ValueNone -> failtest "a record"

let private hello change =
    [ recordOf MessageType.ClientHello 0 (Message.writeClientHello (change plainHello)) ]

let private without kind (hello: ClientHello) =
    { hello with
        Extensions = hello.Extensions |> Array.filter (fun e -> e.Type <> kind) }

let private withExtension kind data (hello: ClientHello) =
    { without kind hello with
        Extensions = Array.append (without kind hello).Extensions [| { Type = kind; Data = data } |] }

let private hellos =
    testList
        "hellos"
        [ for browser in [ "chromium-156"; "firefox-153"; "firefox-153-without-mlkem" ] do
              testCase
                  ("the ClientHello of "
                   + browser
                   + " is answered with DTLS 1.2, in any order of its parts")
                  (fun () ->
                      let records =
                          (Fixtures.read ("dtls/" + browser + ".clienthello.hex"))
                              .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                          |> Array.map Convert.FromHexString
                          |> Array.toList

                      for records in [ records; List.rev records; records @ records ] do
                          match serverAnswers records with
                          | Ok answer ->
                              Expect.equal answer.Version Record.Version "1.2"
                              Expect.equal answer.Suite 0xc02bus "ECDHE-ECDSA with AES-128-GCM"

                              match Extensions.find Extensions.UseSrtp answer.Extensions with
                              | ValueSome data ->
                                  // Firefox 153 offers 7, 8, 1, 2; Chromium 1, 8, 7. We like 8 best.
                                  Expect.equal data [| 0uy; 2uy; 0uy; 8uy; 0uy |] "AEAD-256"
                              | ValueNone -> failtest "use_srtp"

                              Expect.isTrue
                                  (Extensions.find Extensions.ExtendedMasterSecret answer.Extensions).IsSome
                                  "extended master secret"
                          | Error alert -> failtest (Alert.name alert))

          testCase "unknown suites, groups, schemes, extensions and profiles are passed over" (fun () ->
              let strange (h: ClientHello) =
                  { h with
                      Suites = Array.append [| 0x1301us; 0x0a0aus |] h.Suites }
                  |> withExtension
                      Extensions.SupportedGroups
                      [| 0uy; 6uy; 0x11uy; 0xecuy; 0x5auy; 0x5auy; 0uy; 0x1duy |]
                  |> withExtension Extensions.UseSrtp [| 0uy; 4uy; 0x77uy; 0x77uy; 0uy; 7uy; 2uy; 1uy; 2uy |]
                  |> withExtension 16us (Array.append [| 0uy; 7uy; 6uy |] (Encoding.ASCII.GetBytes "webrtc"))
                  |> withExtension 0us [| 0uy; 4uy; 0uy; 0uy; 1uy; 97uy |]
                  |> withExtension 28us [| 0x40uy; 1uy |]
                  |> withExtension 0x5a5aus [||]

              match serverAnswers (hello strange) with
              | Ok answer ->
                  Expect.equal answer.Suite 0xc02bus "suite"

                  Expect.equal
                      (Extensions.find Extensions.UseSrtp answer.Extensions)
                      (ValueSome [| 0uy; 2uy; 0uy; 7uy; 0uy |])
                      "profile, no identifier"
              | Error alert -> failtest (Alert.name alert))

          for name, change, alert in
              [ "without extended master secret", without Extensions.ExtendedMasterSecret, Alert.HandshakeFailure
                "without signature algorithms", without Extensions.SignatureAlgorithms, Alert.HandshakeFailure
                "with a renegotiation under way",
                withExtension Extensions.RenegotiationInfo [| 1uy; 7uy |],
                Alert.HandshakeFailure
                "of DTLS 1.3 alone",
                withExtension Extensions.SupportedVersions [| 2uy; 0xfeuy; 0xfcuy |],
                Alert.ProtocolVersion
                "of DTLS 1.0",
                (fun h ->
                    { h with
                        Version = Record.OldestVersion }),
                Alert.ProtocolVersion
                "with an extension that is cut",
                withExtension Extensions.SupportedGroups [| 0uy; 4uy; 0uy; 29uy |],
                Alert.DecodeError
                "with no suite of ours", (fun h -> { h with Suites = [| 0xc013us |] }), Alert.HandshakeFailure ] do
              testCase ("a ClientHello " + name + " is refused") (fun () ->
                  match serverAnswers (hello change) with
                  | Error sent -> Expect.equal (Alert.name sent) (Alert.name alert) "the alert"
                  | Ok _ -> failtest "refused")

          testCase "a ClientHello with 1.3 and 1.2 is answered with 1.2" (fun () ->
              let versions = [| 4uy; 0xfeuy; 0xfcuy; 0xfeuy; 0xfduy |]

              match serverAnswers (hello (withExtension Extensions.SupportedVersions versions)) with
              | Ok answer ->
                  Expect.equal answer.Version Record.Version "1.2"

                  Expect.isTrue
                      (Extensions.find Extensions.SupportedVersions answer.Extensions).IsNone
                      "said in the version itself"
              | Error alert -> failtest (Alert.name alert))

          for name, change, alert in
              [ "without extended master secret",
                (fun (h: ServerHello) -> { h with Extensions = [||] }),
                Alert.HandshakeFailure
                "with a suite that was not offered", (fun h -> { h with Suite = 0xc013us }), Alert.IllegalParameter
                "of DTLS 1.0",
                (fun h ->
                    { h with
                        Version = Record.OldestVersion }),
                Alert.ProtocolVersion
                "with an extension that was not asked for",
                (fun h ->
                    { h with
                        Extensions = Array.append h.Extensions [| { Type = 16us; Data = [||] } |] }),
                Alert.UnsupportedExtension
                "with an SRTP profile that was not offered",
                (fun h ->
                    { h with
                        Extensions =
                            Array.append
                                h.Extensions
                                [| { Type = Extensions.UseSrtp
                                     Data = [| 0uy; 2uy; 0uy; 5uy; 0uy |] } |] }),
                Alert.IllegalParameter
                "with two SRTP profiles",
                (fun h ->
                    { h with
                        Extensions =
                            Array.append
                                h.Extensions
                                [| { Type = Extensions.UseSrtp
                                     Data = [| 0uy; 4uy; 0uy; 7uy; 0uy; 1uy; 0uy |] } |] }),
                Alert.IllegalParameter ] do
              testCase ("a ServerHello " + name + " is refused") (fun () ->
                  let body = Message.writeServerHello (change plainServerHello)

                  let struct (_, outputs) =
                      startOf DtlsRole.Client |> tell [ recordOf MessageType.ServerHello 0 body ]

                  Expect.equal (sentAlert outputs) (Some alert) "the alert")

          testCase "a HelloVerifyRequest is answered with its cookie, and its number taken as read" (fun () ->
              let cookie = [| 1uy; 2uy; 3uy |]

              let struct (state, outputs) =
                  startOf DtlsRole.Client
                  |> tell [ recordOf MessageType.HelloVerifyRequest 0 (Message.writeHelloVerifyRequest cookie) ]

              match outputs with
              | [ Dtls.Transmit datagram ] ->
                  let bytes = encode datagram
                  Expect.equal bytes[18] 1uy "message_seq 1"

                  match Message.readClientHello bytes[Record.HeaderSize + Fragment.HeaderSize ..] with
                  | ValueSome hello -> Expect.equal hello.Cookie cookie "the cookie"
                  | ValueNone -> failtest "a ClientHello"

                  // The same again is a duplicate.
                  let struct (_, again) =
                      state
                      |> tell [ recordOf MessageType.HelloVerifyRequest 0 (Message.writeHelloVerifyRequest cookie) ]

                  Expect.isTrue
                      (match again with
                       | [ Dtls.Ignored Drop.Replayed ] -> true
                       | _ -> false)
                      "ignored"
              | _ -> failtest "one hello")

          testCase "a message out of turn ends the handshake" (fun () ->
              let struct (_, outputs) =
                  startOf DtlsRole.Client |> tell [ recordOf MessageType.ServerHelloDone 0 [||] ]

              Expect.equal (sentAlert outputs) (Some Alert.UnexpectedMessage) "unexpected_message")

          testCase "a Finished in the clear is not looked at" (fun () ->
              let struct (_, outputs) =
                  startOf DtlsRole.Client
                  |> tell [ recordOf MessageType.Finished 0 (Array.zeroCreate 12) ]

              Expect.isTrue
                  (match outputs with
                   | [ Dtls.Ignored Drop.Unexpected ] -> true
                   | _ -> false)
                  "ignored") ]

let tests = testList "DtlsMessages" [ prfs; codecs; reassembly; window; hellos ]
