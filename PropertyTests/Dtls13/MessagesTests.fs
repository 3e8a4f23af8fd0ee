/// Messages of DTLS 1.3: those of real browsers are read, and written again to the same octets; their signatures fit.
module Hybrid.WebRtc.PropertyTests.Dtls13.MessagesTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Dtls13.Captures

let private found name (value: 'a voption) : 'a =
    match value with
    | ValueSome value -> value
    | ValueNone -> failtest $"{name} does not read"

let private ofType (kind: MessageType) (capture: Capture) =
    messages capture |> List.filter (fun m -> m.Type = byte kind)

/// Read, and written again.
let private again (kind: MessageType) (body: byte[]) : byte[] voption =
    match kind with
    | MessageType.ClientHello -> Message.readClientHello body |> ValueOption.map Message.writeClientHello
    | MessageType.ServerHello -> Message.readServerHello body |> ValueOption.map Message.writeServerHello
    | MessageType.EncryptedExtensions ->
        Messages13.readEncryptedExtensions body
        |> ValueOption.map Messages13.writeEncryptedExtensions
    | MessageType.CertificateRequest ->
        Messages13.readCertificateRequest body
        |> ValueOption.map Messages13.writeCertificateRequest
    | MessageType.Certificate -> Messages13.readCertificate body |> ValueOption.map Messages13.writeCertificate
    | MessageType.CertificateVerify ->
        Message.readCertificateVerify body
        |> ValueOption.map Message.writeCertificateVerify
    | MessageType.KeyUpdate -> Messages13.readKeyUpdate body |> ValueOption.map Messages13.writeKeyUpdate
    | _ -> ValueSome body

let private written (numbers: RecordNumber[]) : byte[] =
    let bytes = Array.zeroCreate (Messages13.ackSize numbers)
    Messages13.writeAck (Span bytes) numbers
    bytes

let private extension kind name (extensions: Extension[]) =
    Extensions.find kind extensions |> found name

let private samples =
    [ for capture in captures do
          for message in messages capture -> LanguagePrimitives.EnumOfValue message.Type, message.Body ]

let tests =
    testList
        "DTLS 1.3 messages"
        [ for capture in captures do
              testCase $"{capture.Name}: each message reads, and is written to the same octets" (fun () ->
                  let kinds = messages capture |> List.map _.Type |> List.distinct

                  for kind in [ 1uy; 2uy; 8uy; 11uy; 13uy; 15uy; 20uy ] do
                      Expect.contains kinds kind "a whole handshake"

                  for message in messages capture do
                      Expect.equal
                          (again (LanguagePrimitives.EnumOfValue message.Type) message.Body)
                          (ValueSome message.Body)
                          $"message {message.Type}")

              testCase $"{capture.Name}: the hellos agree on 1.3 and on a group" (fun () ->
                  let group =
                      if capture.Name.Contains "nomlkem" then
                          0x001dus
                      else
                          0x11ecus

                  let client =
                      (ofType MessageType.ClientHello capture).Head.Body
                      |> Message.readClientHello
                      |> found "hello"

                  let shares =
                      extension Extensions13.KeyShare "key_share" client.Extensions
                      |> Extensions13.readKeyShares
                      |> found "shares"

                  let sizes = dict [ 0x11ecus, (1216, 1120); 0x001dus, (32, 32); 0x0017us, (65, 65) ]

                  for share in shares do
                      Expect.equal share.Exchange.Length (fst sizes[share.Group]) "a client's share"

                  Expect.equal
                      (Extensions13.keyShares shares).Data
                      (extension Extensions13.KeyShare "key_share" client.Extensions)
                      "written again"

                  let server =
                      (ofType MessageType.ServerHello capture).Head.Body
                      |> Message.readServerHello
                      |> found "hello"

                  let share =
                      extension Extensions13.KeyShare "key_share" server.Extensions
                      |> Extensions13.readKeyShare
                      |> found "share"

                  Expect.equal share.Group group "the group"
                  Expect.equal share.Exchange.Length (snd sizes[group]) "its size"

                  Expect.equal
                      (extension Extensions.SupportedVersions "supported_versions" server.Extensions
                       |> Extensions13.readVersion)
                      (ValueSome Extensions13.Version)
                      "the version"

                  Expect.notEqual server.Random Messages13.retryRandom "no HelloRetryRequest")

              testCase $"{capture.Name}: both CertificateVerify fit certificate and transcript" (fun () ->
                  let k = schedule capture
                  let all = messages capture |> List.indexed

                  let verifies =
                      all |> List.filter (fun (_, m) -> m.Type = byte MessageType.CertificateVerify)

                  Expect.hasLength verifies 2 "one each"

                  for at, message in verifies do
                      let isClient = at = fst (List.last verifies)

                      let before =
                          all
                          |> List.take at
                          |> List.map (fun (_, m) -> m.AsTls)
                          |> Array.concat
                          |> KeySchedule.transcript k

                      let chain =
                          (snd all[at - 1]).Body |> Messages13.readCertificate |> found "certificate"

                      let verify = Message.readCertificateVerify message.Body |> found "verify"

                      let fits ofClient =
                          SystemCiphers.Shared.Verify(
                              ReadOnlySpan chain.Entries[0].Data,
                              LanguagePrimitives.EnumOfValue(int verify.Scheme),
                              ReadOnlySpan(Messages13.signed ofClient before),
                              ReadOnlySpan verify.Signature
                          )

                      Expect.isTrue (fits isClient) "it was signed so"
                      Expect.isFalse (fits (not isClient)) "and not for the other side")

              testCase $"{capture.Name}: ACKs name records, and are written to the same octets" (fun () ->
                  for record in capture.Records do
                      if record.Type = byte ContentType.Ack then
                          let acked = Messages13.readAck (ReadOnlySpan record.Plain) |> found "ACK"
                          Expect.isNonEmpty acked "records"
                          Expect.equal (written acked) record.Plain "written again"

                          for number in acked do
                              Expect.equal number.Epoch 2UL "of the handshake")

          testCase "an ACK that names too many records, or half of one, does not read" (fun () ->
              let many = written (Array.create 257 { Epoch = 2UL; Sequence = 0UL })

              Expect.equal (Messages13.readAck (ReadOnlySpan many)) ValueNone "257"
              let one = written [| { Epoch = 2UL; Sequence = 0UL } |]
              Expect.equal (Messages13.readAck (ReadOnlySpan one[..16])) ValueNone "half of one"
              Expect.equal (Messages13.readAck (ReadOnlySpan [| 0uy; 0uy |])) (ValueSome [||]) "none at all")

          testCase "cookies, groups that are wanted and key updates read as they were written" (fun () ->
              for size in [ 1; 32; 600 ] do
                  let bytes = Array.init size byte
                  Expect.equal (Extensions13.readCookie (Extensions13.cookie bytes).Data) (ValueSome bytes) "cookie"

              Expect.equal
                  (Extensions13.readWantedGroup (Extensions13.wantedGroup 0x0017us).Data)
                  (ValueSome 0x0017us)
                  "the group"

              for wanted in [ true; false ] do
                  Expect.equal
                      (Messages13.readKeyUpdate (Messages13.writeKeyUpdate wanted))
                      (ValueSome wanted)
                      "update"

              Expect.equal (Messages13.readKeyUpdate [| 2uy |]) ValueNone "RFC 8446 §4.6.3: no other")

          testCase "a group that comes twice does not read, RFC 8446 §4.2.8" (fun () ->
              let share: KeyShare =
                  { Group = 29us
                    Exchange = Array.zeroCreate 32 }

              Expect.equal
                  (Extensions13.readKeyShares (Extensions13.keyShares [| share; share |]).Data)
                  ValueNone
                  "twice")

          Laws.mutated
              "messages of browsers, changed: what still reads is written to what was read"
              (samples |> List.map snd)
              (fun bytes ->
                  for kind, _ in samples |> List.distinctBy fst do
                      match again kind bytes with
                      | ValueSome written when kind <> MessageType.ServerHello && kind <> MessageType.ClientHello ->
                          Expect.equal written bytes "the same"
                      | _ -> ()) ]
