module Hybrid.WebRtc.PropertyTests.StunTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Stack

let private ciphers: ICiphers = SystemCiphers.Shared

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", "").Replace("\n", ""))

/// RFC 5769 §2.1.
let private sampleRequest =
    hex (
        "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff"
        + "80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
        + "80280004 e57a3bcf"
    )

/// RFC 5769 §2.2.
let private sampleV4 =
    hex (
        "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200008 0001a147e112a643"
        + "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96"
    )

/// RFC 5769 §2.3.
let private sampleV6 =
    hex (
        "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200014"
        + "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c"
    )

/// RFC 5769 §2.4.
let private sampleLongTerm =
    hex (
        "00010060 2112a442 78ad3433c6ad72c029da412e 00060012 e3839ee38388e383aae38383e382afe382b90000 0015001c"
        + "662f2f3439396b3935346436 4f4c33346f4c39465354767936347341 0014000b 6578616d706c652e6f726700"
        + "00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666"
    )

let private readOk (bytes: byte[]) : Message =
    match Message.read (ReadOnlySpan bytes) with
    | ValueSome message -> message
    | ValueNone -> failtest "reads"

let private written (outgoing: Outgoing) : byte[] =
    let bytes = Array.zeroCreate (Outgoing.size outgoing)
    let n = Outgoing.write ciphers (Span bytes) outgoing
    Expect.equal n bytes.Length "write fills exactly size"
    bytes

let private verify (key: byte[]) (bytes: byte[]) =
    Message.verify ciphers (ReadOnlySpan key) (ReadOnlySpan bytes)

let private password = Key.shortTerm "VOkJxbRl1RmTxUk/WvJxBt"

let private isRight verification =
    match verification with
    | Verification.Right -> true
    | Verification.Absent
    | Verification.Wrong -> false

let private isWrong verification =
    match verification with
    | Verification.Wrong -> true
    | Verification.Absent
    | Verification.Right -> false

// Generators.

let private genText: Gen<string> =
    Gen.elements [ ""; "a"; "evtj:h6vY"; "example.org"; "マトリックス"; "four"; "12345" ]

let private genBytes (size: int) : Gen<byte[]> =
    Gen.arrayOfLength size (ArbMap.defaults |> ArbMap.generate<byte>)

let private any<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

let private genEndpoint: Gen<Endpoint> =
    gen {
        let! high = any<uint64>
        let! low = any<uint64>
        let! v4 = any<bool>
        let! port = any<uint16>

        let address =
            if v4 then
                Address.v4 (byte low) (byte (low >>> 8)) (byte (low >>> 16)) (byte (low >>> 24))
            else
                { High = high ||| 1UL; Low = low }

        return { Address = address; Port = port }
    }

let private genAttribute: Gen<Attribute> =
    Gen.oneof
        [ Gen.map MappedAddress genEndpoint
          Gen.map XorMappedAddress genEndpoint
          Gen.map XorPeerAddress genEndpoint
          Gen.map XorRelayedAddress genEndpoint
          Gen.map AlternateServer genEndpoint
          Gen.map AlternateDomain genText
          Gen.map Username genText
          Gen.map UserHash (genBytes 32)
          Gen.map Realm genText
          Gen.map Nonce genText
          Gen.map Software genText
          Gen.map2 (fun code reason -> ErrorCode(code, reason)) (Gen.choose (300, 699)) genText
          Gen.map (Array.truncate 64 >> UnknownAttributes) any<uint16[]>
          Gen.map
              (fun (all: (uint16 * byte[])[]) ->
                  PasswordAlgorithms [| for a, p in Array.truncate 5 all -> struct (a, Array.truncate 40 p) |])
              any<(uint16 * byte[])[]>
          Gen.map2 (fun a p -> PasswordAlgorithm(a, Array.truncate 40 p)) any<uint16> any<byte[]>
          Gen.map Priority any<uint32>
          Gen.constant UseCandidate
          Gen.map Nomination any<uint32>
          Gen.map IceControlled any<uint64>
          Gen.map IceControlling any<uint64>
          Gen.map ChannelNumber any<uint16>
          Gen.map Lifetime any<uint32>
          Gen.map Data any<byte[]>
          Gen.map RequestedAddressFamily any<byte>
          Gen.map AdditionalAddressFamily any<byte>
          Gen.map3 (fun f c r -> AddressErrorCode(f, c, r)) any<byte> (Gen.choose (300, 699)) genText
          Gen.map3 (fun k c d -> Icmp(k, c, d)) any<byte> any<byte> any<uint32>
          Gen.map EvenPort any<bool>
          Gen.map RequestedTransport any<byte>
          Gen.constant DontFragment
          Gen.map ReservationToken any<uint64>
          Gen.map ConnectionId any<uint32>
          Gen.map2 (fun address port -> ChangeRequest(address, port)) any<bool> any<bool>
          Gen.map ResponseOrigin genEndpoint
          Gen.map OtherAddress genEndpoint
          Gen.map (fun bytes -> Unknown(0xc057us, bytes)) any<byte[]>
          Gen.map (fun bytes -> Unknown(0x7f01us, bytes)) any<byte[]> ]

let private genMessage: Gen<Message> =
    gen {
        let! kind =
            Gen.elements [ Class.Request; Class.Indication; Class.Success; Class.Error ]
        // RFC 7983 §7 leaves STUN the first octets 0 to 3 on a shared port.
        let! method = Gen.choose (0, 0xff)
        let! high = any<uint32>
        let! low = any<uint64>
        let! attributes = Gen.arrayOf genAttribute

        return
            { Class = kind
              Method = LanguagePrimitives.EnumOfValue(uint16 method)
              Transaction = { High = high; Low = low }
              Attributes = Array.truncate 20 attributes }
    }

let private genOutgoing: Gen<Outgoing> =
    gen {
        let! message = genMessage
        let! key = genBytes 16
        let! integrity = Gen.elements [ Unprotected; HmacSha1 key; HmacSha256 key ]
        let! fingerprint = any<bool>

        return
            { Message = message
              Integrity = integrity
              Fingerprint = fingerprint }
    }

let private outgoing = Arb.fromGen genOutgoing

let private same (a: Message) (b: Message) =
    a.Class.Equals b.Class
    && a.Method = b.Method
    && a.Transaction.Equals b.Transaction
    && a.Attributes = b.Attributes

let private keyOf (outgoing: Outgoing) =
    match outgoing.Integrity with
    | Unprotected -> [||]
    | HmacSha1 key
    | HmacSha256 key -> key

let tests =
    testList
        "Stun"
        [ testCase "the sample request of RFC 5769 §2.1 reads, verifies, and has its username fragment" (fun () ->
              let message = readOk sampleRequest

              let expected =
                  [| Software "STUN test client"
                     Priority 0x6e0001ffu
                     IceControlled 0x932ff9b151263b36UL
                     Username "evtj:h6vY" |]

              Expect.equal message.Attributes expected "attributes"
              Expect.equal message.Method Method.Binding "method"
              Expect.isTrue (isRight (verify password sampleRequest)) "integrity"
              Expect.isTrue (isWrong (verify (Key.shortTerm "another") sampleRequest)) "another key"
              Expect.equal (Message.usernameFragment (ReadOnlySpan sampleRequest)) (ValueSome "evtj") "fragment"
              Expect.equal (Message.usernameFragment (ReadOnlySpan sampleV4)) ValueNone "no fragment")

          testCase "the sample responses of RFC 5769 §2.2 and §2.3 read and verify" (fun () ->
              for sample, text in
                  [ sampleV4, "192.0.2.1:32853"
                    sampleV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853" ] do
                  let message = readOk sample

                  Expect.equal
                      (Message.mappedAddress message |> ValueOption.map Endpoint.toText)
                      (ValueSome text)
                      "mapped address"

                  Expect.isTrue (isRight (verify password sample)) "integrity")

          testCase
              "the long-term sample of RFC 5769 §2.4 verifies with the key of its user, realm and password"
              (fun () ->
                  let message = readOk sampleLongTerm
                  let user = "\u30DE\u30C8\u30EA\u30C3\u30AF\u30B9"
                  Expect.equal (Message.username message) (ValueSome user) "user"
                  let key = Key.longTerm ciphers user "example.org" "TheMatrIX"
                  Expect.isTrue (isRight (verify key sampleLongTerm)) "integrity")

          // The message of that appendix contradicts its own length (an erratum); its USERHASH stands.
          testCase "USERHASH is that of RFC 8489 Appendix B.1" (fun () ->
              Expect.sequenceEqual
                  (Key.userHash ciphers "\u30DE\u30C8\u30EA\u30C3\u30AF\u30B9" "example.org")
                  (hex "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704")
                  "the hash")

          testCase "what RFC 5769 §2.2 says, written by us, is its bytes but for the padding" (fun () ->
              let message = readOk sampleV4

              let bytes =
                  written
                      { Message = message
                        Integrity = HmacSha1 password
                        Fingerprint = true }

              // The sample pads SOFTWARE with a space, which the HMAC covers: only what stands before the HMAC compares.
              let upTo = 20 + 4 + 11
              Expect.sequenceEqual bytes[.. upTo - 1] sampleV4[.. upTo - 1] "before the padding"
              Expect.sequenceEqual bytes[upTo + 1 .. 51] sampleV4[upTo + 1 .. 51] "between padding and integrity")

          testPropertyWithConfig Laws.config "read (write x) = x, and write fills exactly size"
          <| Prop.forAll outgoing (fun o -> same (readOk (written o)) o.Message)

          testPropertyWithConfig Laws.config "what was written with a key verifies with it, and with no other"
          <| Prop.forAll outgoing (fun o ->
              let bytes = written o
              let key = keyOf o

              match o.Integrity with
              | Unprotected ->
                  match verify key bytes with
                  | Verification.Absent -> true
                  | Verification.Right
                  | Verification.Wrong -> false
              | HmacSha1 _
              | HmacSha256 _ ->
                  isRight (verify key bytes)
                  && isWrong (verify (Array.append key [| 1uy |]) bytes))

          testPropertyWithConfig Laws.config "one bit changed before the integrity is found out"
          <| Prop.forAll outgoing (fun o ->
              let o =
                  { o with
                      Integrity = HmacSha1 [| 1uy; 2uy |]
                      Fingerprint = false }

              let bytes = written o
              // Transaction id: the header's rest decides whether it is STUN at all.
              bytes[8 + bytes.Length % 12] <- bytes[8 + bytes.Length % 12] ^^^ 1uy
              isWrong (verify [| 1uy; 2uy |] bytes))

          testPropertyWithConfig Laws.config "a message whose fingerprint does not fit is not read"
          <| Prop.forAll outgoing (fun o ->
              let bytes = written { o with Fingerprint = true }
              bytes[bytes.Length - 1] <- bytes[bytes.Length - 1] ^^^ 0x10uy
              (Message.read (ReadOnlySpan bytes)).IsNone)

          Laws.anyBytes "any bytes end without throwing" (fun bytes ->
              Message.read (ReadOnlySpan bytes) |> ignore
              Message.usernameFragment (ReadOnlySpan bytes) |> ignore
              true)

          Laws.mutated
              "mutated messages end without throwing"
              [ sampleRequest; sampleV4; sampleV6; sampleLongTerm ]
              (fun bytes ->
                  // The length made right again, so that the mutation gets past the header.
                  if bytes.Length >= 20 then
                      let length = bytes.Length - 20
                      bytes[2] <- byte (length >>> 8)
                      bytes[3] <- byte length

                  Message.read (ReadOnlySpan bytes) |> ignore
                  Message.usernameFragment (ReadOnlySpan bytes) |> ignore

                  if Message.isStun (ReadOnlySpan bytes) then
                      verify password bytes |> ignore)

          testCase "unknown comprehension-required attributes are reported, optional ones are not" (fun () ->
              let message =
                  Message.request
                      Method.Binding
                      { High = 1u; Low = 2UL }
                      [| Unknown(0x7f01us, [| 1uy |]); Unknown(0xc057us, [| 2uy |]); UseCandidate |]

              Expect.equal (Message.unknownRequired message) [| 0x7f01us |] "one")

          testCase "what stands behind the integrity is passed over" (fun () ->
              let inner =
                  written
                      { Message = Message.request Method.Binding { High = 1u; Low = 2UL } [| Username "a:b" |]
                        Integrity = HmacSha1 [| 1uy |]
                        Fingerprint = false }

              let bytes = Array.append inner (hex "00250000")
              bytes[3] <- byte (bytes.Length - 20)
              Expect.isFalse (Message.usesCandidate (readOk bytes)) "USE-CANDIDATE was not covered"
              Expect.isTrue (isRight (verify [| 1uy |] bytes)) "the integrity still is right")

          testCase "a request is repeated as RFC 8489 §6.2.1 has it, and given up after 39.5 s" (fun () ->
              let mutable transaction =
                  Transaction.start Transaction.standard { High = 0u; Low = 0UL } 0L<us>

              let sent = ResizeArray [ 0L ]

              while not (Transaction.isSpent transaction) do
                  let due = transaction.DueAt
                  sent.Add(Duration.toMilliseconds due)
                  transaction <- Transaction.resend due transaction

              Expect.sequenceEqual sent [ 0L; 500L; 1500L; 3500L; 7500L; 15500L; 31500L ] "sendings"
              Expect.equal (Duration.toMilliseconds transaction.DueAt) 39500L "given up") ]
