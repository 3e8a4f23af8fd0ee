/// What goes around relayed packets, and long-term credentials: RFC 8656 §11, §12, RFC 8489 §9.2.
module Hybrid.WebRtc.PropertyTests.TurnCodecTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

let private ciphers = SystemCiphers.Shared
let private gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

let private genEndpoint: Gen<Endpoint> =
    Gen.map3
        (fun (v4: bool) (n: uint64) (port: uint16) ->
            { Address =
                if v4 then
                    Address.v4 (byte n) (byte (n >>> 8)) (byte (n >>> 16)) (byte (n >>> 24))
                else
                    { High = 0x20010db800000000UL; Low = n }
              Port = port })
        gen<bool>
        gen<uint64>
        gen<uint16>

let private genHeader: Gen<RelayHeader> =
    Gen.oneof
        [ Gen.map (fun n -> RelayHeader.Channel(uint16 n)) (Gen.choose (0x4000, 0x4fff))
          Gen.map3
              (fun e high low -> RelayHeader.Indication(e, { High = high; Low = low }))
              genEndpoint
              gen<uint32>
              gen<uint64> ]

/// A packet written in place behind its header.
let private wrapped (header: RelayHeader) (packet: byte[]) : byte[] =
    // Whatever the memory held before is overwritten.
    let bytes = Array.create (header.Size packet.Length) 0xdduy
    packet.CopyTo(bytes, header.Offset)
    let written = header.Write(Span bytes, packet.Length)
    Expect.equal written bytes.Length "write fills exactly size"
    bytes

/// The same as a Data indication, which is what the server makes of a Send indication's like.
let private asData (bytes: byte[]) : byte[] =
    let copy = Array.copy bytes
    // Send is 0x006, Data 0x007.
    copy[1] <- copy[1] + 1uy
    copy

let private challenge (attributes: Attribute list) : Message =
    Message.error (Message.request Method.Allocate { High = 1u; Low = 2UL } [||]) 401 "" (Array.ofList attributes)

let tests =
    testList
        "TURN codecs"
        [ testPropertyWithConfig Laws.config "a packet behind a header is read as it was written"
          <| Prop.forAll (Arb.fromGen (Gen.zip genHeader gen<byte[]>)) (fun (header, packet) ->
              let bytes = wrapped header packet

              match header with
              | RelayHeader.Channel number ->
                  match ChannelData.read (ReadOnlySpan bytes) with
                  | ValueSome(struct (n, length)) ->
                      n = number
                      && bytes[ChannelData.HeaderSize .. ChannelData.HeaderSize + length - 1] = packet
                  | ValueNone -> false
              // Of `DtlsTunnelTests`.
              | RelayHeader.Sealed _ -> false
              | RelayHeader.Indication(peer, id) ->
                  let sent = Message.read (ReadOnlySpan bytes)
                  let data = asData bytes

                  let whole =
                      match sent with
                      | ValueSome message ->
                          message.Class.IsIndication
                          && message.Method = Method.Send
                          && message.Transaction.Equals id
                          && (match message.Attributes with
                              | [| XorPeerAddress e; Data d |] -> e.Equals peer && d = packet
                              | _ -> false)
                      | ValueNone -> false

                  match DataIndication.read (ReadOnlySpan data) with
                  | ValueSome(struct (e, offset, length)) ->
                      whole && e.Equals peer && data[offset .. offset + length - 1] = packet
                  | ValueNone -> false)

          testCase "headers take 4, 36 and 48 octets" (fun () ->
              let id = { High = 0u; Low = 0UL }

              let v4 =
                  { Address = Address.v4 192uy 0uy 2uy 1uy
                    Port = 1us }

              let v6 =
                  { Address =
                      { High = 0x20010db800000000UL
                        Low = 1UL }
                    Port = 1us }

              Expect.equal (RelayHeader.Channel 0x4000us).Offset 4 "ChannelData"
              Expect.equal (RelayHeader.Indication(v4, id)).Offset 36 "IPv4"
              Expect.equal (RelayHeader.Indication(v6, id)).Offset 48 "IPv6"
              Expect.equal ((RelayHeader.Indication(v4, id)).Size 5) 44 "padded")

          Laws.anyBytes "any bytes are read as an indication without throwing" (fun bytes ->
              DataIndication.read (ReadOnlySpan bytes) |> ignore
              true)

          Laws.mutated
              "indications with a few octets changed are read without throwing, and never past their end"
              [ for v4 in [ true; false ] do
                    let peer =
                        { Address =
                            if v4 then
                                Address.v4 192uy 0uy 2uy 1uy
                            else
                                { High = 0x20010db800000000UL
                                  Low = 1UL }
                          Port = 9us }

                    asData (wrapped (RelayHeader.Indication(peer, { High = 1u; Low = 2UL })) [| 1uy .. 21uy |]) ]
              (fun bytes ->
                  match DataIndication.read (ReadOnlySpan bytes) with
                  | ValueSome(struct (_, offset, length)) ->
                      Expect.isLessThanOrEqual (offset + length) bytes.Length "within"
                  | ValueNone -> ())

          testCase "an indication without DATA, as an ICMP error is, carries no packet (RFC 8656 §11.5)" (fun () ->
              let icmp =
                  { Message =
                      { Class = Class.Indication
                        Method = Method.Data
                        Transaction = { High = 1u; Low = 2UL }
                        Attributes =
                          [| XorPeerAddress
                                 { Address = Address.v4 192uy 0uy 2uy 1uy
                                   Port = 9us }
                             Icmp(3uy, 1uy, 0u) |] }
                    Integrity = Unprotected
                    Fingerprint = false }

              let bytes = Array.zeroCreate (Outgoing.size icmp)
              Outgoing.write ciphers (Span bytes) icmp |> ignore
              Expect.isTrue (DataIndication.isOne (ReadOnlySpan bytes)) "a Data indication"
              Expect.isTrue (DataIndication.read (ReadOnlySpan bytes)).IsNone "nothing in it")

          testCase "a challenge of old is answered with MD5, SHA-1 and USERNAME" (fun () ->
              match LongTerm.answer ciphers "user" "pass" (challenge [ Realm "realm"; Nonce "n" ]) with
              | Ok login ->
                  // RFC 8489 §9.2.2.
                  Expect.equal
                      (Convert.ToHexString login.Key)
                      "8493FBC53BA582FB4C044C456BDC40EB"
                      "the key of RFC 8489's example"

                  let outgoing =
                      LongTerm.sign login (Message.request Method.Refresh { High = 1u; Low = 2UL } [||])

                  Expect.isTrue outgoing.Integrity.IsHmacSha1 "MESSAGE-INTEGRITY"

                  Expect.equal
                      (outgoing.Message.Attributes |> Array.map Attribute.typeOf |> List.ofArray)
                      [ 0x0006us; 0x0014us; 0x0015us ]
                      "USERNAME, REALM, NONCE"
              | Error reason -> failtest reason)

          testCase "a realm's quotes are no part of the key" (fun () ->
              match LongTerm.answer ciphers "user" "pass" (challenge [ Realm "\"realm\""; Nonce "n" ]) with
              | Ok login ->
                  Expect.equal (Convert.ToHexString login.Key) "8493FBC53BA582FB4C044C456BDC40EB" "the same key"
                  Expect.equal login.Realm "\"realm\"" "and echoed as it came"
              | Error reason -> failtest reason)

          testCase
              "a challenge with algorithms is answered with the first that is known, MESSAGE-INTEGRITY-SHA256 and, asked for, USERHASH"
              (fun () ->
                  let nonce =
                      NonceFeatures.cookie
                          { PasswordAlgorithms = true
                            UsernameAnonymity = true }
                      + "x"

                  let algorithms =
                      [| struct (0x7777us, [| 1uy |])
                         struct (PasswordAlgorithm.Sha256, [||])
                         struct (PasswordAlgorithm.Md5, [||]) |]

                  match
                      LongTerm.answer
                          ciphers
                          "user"
                          "pass"
                          (challenge [ Realm "realm"; Nonce nonce; PasswordAlgorithms algorithms ])
                  with
                  | Ok login ->
                      Expect.equal login.Key (Key.longTermSha256 ciphers "user" "realm" "pass") "SHA-256"

                      let outgoing =
                          LongTerm.sign login (Message.request Method.Refresh { High = 1u; Low = 2UL } [||])

                      Expect.isTrue outgoing.Integrity.IsHmacSha256 "MESSAGE-INTEGRITY-SHA256"

                      Expect.equal
                          (outgoing.Message.Attributes |> Array.map Attribute.typeOf |> List.ofArray)
                          [ 0x001eus; 0x0014us; 0x0015us; 0x8002us; 0x001dus ]
                          "USERHASH, REALM, NONCE, PASSWORD-ALGORITHMS, PASSWORD-ALGORITHM"
                  | Error reason -> failtest reason)

          testCase "a challenge whose algorithms were taken out on the way is not answered (RFC 8489 §9.2.1)" (fun () ->
              let nonce =
                  NonceFeatures.cookie
                      { PasswordAlgorithms = true
                        UsernameAnonymity = false }

              Expect.isError
                  (LongTerm.answer ciphers "user" "pass" (challenge [ Realm "realm"; Nonce nonce ]))
                  "refused")

          testCase "a challenge of algorithms nobody knows, or without a realm or a nonce, is not answered" (fun () ->
              Expect.isError
                  (LongTerm.answer
                      ciphers
                      "user"
                      "pass"
                      (challenge [ Realm "realm"; Nonce "n"; PasswordAlgorithms [| struct (0x7777us, [||]) |] ]))
                  "unknown"

              Expect.isError (LongTerm.answer ciphers "user" "pass" (challenge [ Realm "realm" ])) "no nonce"
              Expect.isError (LongTerm.answer ciphers "user" "pass" (challenge [ Nonce "n" ])) "no realm") ]
