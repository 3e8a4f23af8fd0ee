/// Records of DTLS 1.3: what browsers sealed is opened, and sealed again to the same octets.
module Hybrid.WebRtc.PropertyTests.Dtls13.CiphertextTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Dtls13.Captures

let private ciphers: ICiphers = SystemCiphers.Shared

let private protectionOf (capture: Capture) (from: char) (epoch: int) =
    let secret =
        match from, epoch with
        | 'C', 2 -> "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
        | 'S', 2 -> "SERVER_HANDSHAKE_TRAFFIC_SECRET"
        | 'C', _ -> "CLIENT_TRAFFIC_SECRET_0"
        | _ -> "SERVER_TRAFFIC_SECRET_0"

    Protection13.create (schedule capture) (Convert.FromHexString capture.Secrets[secret])

/// What `openInPlace` says of a copy.
let private opened protection due (bytes: byte[]) =
    match Ciphertext.first 0 (Memory(Array.copy bytes)) with
    | ValueNone -> Error Drop.Malformed
    | ValueSome record ->
        Ciphertext.openInPlace protection due record
        |> Result.map (fun (struct (kind, sequence, plain)) -> struct (byte kind, sequence, plain.ToArray()))

/// Keys are for one thread at a time, and tests run side by side: each makes its own.
let private keysOf (suite: CipherSuite) =
    Protection13.create (KeySchedule.create ciphers suite) (Array.init (Ciphers.hashSize (Suite13.hash suite)) byte)

let private sealed' protection kind epoch sequence (plain: byte[]) =
    let into = Array.zeroCreate (plain.Length + Ciphertext.Overhead)
    Array.blit plain 0 into Ciphertext.HeaderSize plain.Length

    let written =
        Ciphertext.seal protection kind epoch sequence (Span into) plain.Length

    Expect.equal written into.Length "seal fills exactly its size"
    into

/// A record with another header than ours have, made by hand from the keys.
let private withHeader (suite: CipherSuite) flags (sequence: uint64) (plain: byte[]) (padding: int) =
    let k = KeySchedule.create ciphers suite
    let secret = Array.init (Ciphers.hashSize (Suite13.hash suite)) byte
    let struct (key, iv, _) = KeySchedule.traffic k secret
    let text = Array.concat [| plain; [| 23uy |]; Array.zeroCreate padding |]
    let tag = Array.zeroCreate 16

    let number =
        if flags &&& 8uy <> 0uy then
            [| byte (sequence >>> 8); byte sequence |]
        else
            [| byte sequence |]

    let length =
        if flags &&& 4uy <> 0uy then
            [| byte ((text.Length + 16) >>> 8); byte (text.Length + 16) |]
        else
            [||]

    let header = Array.concat [| [| flags |]; number; length |]
    let nonce = Array.copy iv

    for i in 0..7 do
        nonce[4 + i] <- nonce[4 + i] ^^^ byte (sequence >>> (56 - 8 * i))

    use aead = ciphers.Aead(Suite13.aead suite, ReadOnlySpan key)
    aead.Seal(ReadOnlySpan nonce, ReadOnlySpan header, Span text, Span tag)
    let struct (_, _, maskKey) = KeySchedule.traffic k secret
    let pad = Array.zeroCreate 16

    match suite with
    | CipherSuite.ChaCha20Poly1305Sha256 ->
        let block = Array.zeroCreate 64
        Entropy.block maskKey [| for i in 0..3 -> BitConverter.ToUInt32(Array.append text tag, 4 * i) |] block
        Array.blit block 0 pad 0 16
    | _ ->
        use aes = Security.Cryptography.Aes.Create()
        aes.Key <- maskKey

        aes.EncryptEcb(ReadOnlySpan(Array.append text tag, 0, 16), Span pad, Security.Cryptography.PaddingMode.None)
        |> ignore

    for i in 0 .. number.Length - 1 do
        header[1 + i] <- header[1 + i] ^^^ pad[i]

    Array.concat [| header; text; tag |]

let tests =
    testList
        "DTLS 1.3 records"
        [ for capture in captures do
              testCase
                  $"{capture.Name}: every record of the browsers opens, and is sealed again to the same octets"
                  (fun () ->
                      let mutable next = Map.empty
                      let mutable count = 0

                      for record in capture.Records do
                          if record.Epoch > 0 then
                              let protection = protectionOf capture record.From record.Epoch
                              let due = Map.tryFind (record.From, record.Epoch) next |> Option.defaultValue 0UL

                              match opened protection due record.Bytes with
                              | Ok(struct (kind, sequence, plain)) ->
                                  Expect.equal kind record.Type "its type"
                                  Expect.equal sequence record.Sequence "its number"
                                  // Padding is the sender's own affair.
                                  Expect.equal plain record.Plain "what it carries"
                                  next <- Map.add (record.From, record.Epoch) (max due (sequence + 1UL)) next
                                  count <- count + 1

                                  let again =
                                      sealed'
                                          protection
                                          (LanguagePrimitives.EnumOfValue kind)
                                          (uint64 record.Epoch)
                                          sequence
                                          plain

                                  if record.Bytes.Length = again.Length then
                                      Expect.equal again record.Bytes "the same octets"
                              | Error drop -> failtest $"record {record.Sequence} of {record.From}: {drop}"

                      Expect.isGreaterThan count 20 "records were opened")

          for suite in Suite13.all do
              testPropertyWithConfig
                  Laws.config
                  $"{Suite13.name suite}: what is sealed opens, near the number that is due"
                  (fun (plain: byte[]) (PositiveInt number) (PositiveInt epoch) ->
                      let protection = keysOf suite
                      let sequence = uint64 number * 1_000UL

                      for due in
                          [ sequence
                            sequence + 1UL
                            sequence + 30_000UL
                            (if sequence > 30_000UL then sequence - 30_000UL else 0UL) ] do
                          if due + 32_000UL > sequence then
                              match
                                  opened
                                      protection
                                      due
                                      (sealed' protection ContentType.ApplicationData (uint64 epoch) sequence plain)
                              with
                              | Ok(struct (kind, found, text)) ->
                                  Expect.equal (kind, found) (23uy, sequence) "type and number"
                                  Expect.equal text plain "text"
                              | Error drop -> failtest $"{drop}")

              testCase $"{Suite13.name suite}: every form of the header, and padding" (fun () ->
                  let protection = keysOf suite

                  for flags in [ 0x20uy; 0x24uy; 0x28uy; 0x2cuy ] do
                      for padding in [ 0; 1; 40 ] do
                          let plain = [| 1uy; 2uy; 3uy |]
                          let sequence = 70_001UL

                          match opened protection 70_000UL (withHeader suite flags sequence plain padding) with
                          | Ok(struct (kind, found, text)) ->
                              Expect.equal (kind, found, text) (23uy, sequence, plain) $"flags {flags:x2}"
                          | Error drop -> failtest $"flags {flags:x2}: {drop}")

              testCase $"{Suite13.name suite}: one octet changed, and it does not open" (fun () ->
                  let protection = keysOf suite
                  let bytes = sealed' protection ContentType.Handshake 2UL 5UL (Array.init 40 byte)

                  for i in 0 .. bytes.Length - 1 do
                      let changed = Array.copy bytes
                      changed[i] <- changed[i] ^^^ 0x10uy
                      Expect.isError (opened protection 5UL changed) $"octet {i}")

          testCase "a record that is all padding carries nothing, RFC 8446 §5.4" (fun () ->
              let protection = keysOf CipherSuite.Aes128GcmSha256
              let bytes = Array.zeroCreate (9 + Ciphertext.Overhead)

              let written =
                  Ciphertext.seal protection (LanguagePrimitives.EnumOfValue 0uy) 3UL 1UL (Span bytes) 9

              Expect.equal (opened protection 1UL bytes[.. written - 1]) (Error Drop.Malformed) "malformed")

          testCase "a connection id is read where it was negotiated, and refused where not" (fun () ->
              let bytes =
                  Array.concat [| [| 0x3cuy; 7uy; 7uy; 7uy; 1uy; 2uy; 0uy; 20uy |]; Array.zeroCreate 20 |]

              Expect.isTrue (Ciphertext.first 0 (Memory bytes)).IsNone "none was negotiated"

              match Ciphertext.first 3 (Memory bytes) with
              | ValueSome record -> Expect.equal (record.SequenceAt, record.HeaderSize) (4, 8) "where things are"
              | ValueNone -> failtest "it is one")

          testPropertyWithConfig
              Laws.config
              "the number that is closest to the one that is due, RFC 9147 §4.2.2"
              (fun (PositiveInt due) (offset: int8) ->
                  let due = uint64 due

                  let sequence =
                      if int64 due + int64 offset < 0L then
                          due
                      else
                          uint64 (int64 due + int64 offset)

                  for size in [ 1; 2 ] do
                      let window = 1UL <<< (8 * size)
                      let found = Ciphertext.reconstruct due (sequence &&& (window - 1UL)) size

                      if abs (int64 sequence - int64 due) < int64 (window / 2UL) then
                          Expect.equal found sequence $"{size} octets, due {due}")

          Laws.anyBytes "any octets: nothing is thrown, and a record is not longer than its datagram" (fun bytes ->
              let bytes =
                  if bytes.Length > 0 then
                      Array.append [| bytes[0] ||| 0x20uy &&& 0x3fuy |] bytes
                  else
                      bytes

              match Ciphertext.first 0 (Memory bytes) with
              | ValueSome record ->
                  record.Bytes.Length <= bytes.Length
                  && (Ciphertext.openInPlace (keysOf CipherSuite.Aes128GcmSha256) 0UL record
                      |> Result.isError)
              | ValueNone -> true) ]
