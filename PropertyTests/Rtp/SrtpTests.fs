/// SRTP and SRTCP: what is sealed opens, once, and nothing else does.
module Hybrid.WebRtc.PropertyTests.Rtp.SrtpTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Rtp.SrtpReference

let private best: ICiphers = SystemCiphers.Shared
let private platform: ICiphers = SystemCiphers.Of CipherChoice.Platform

/// Name, transform, octets of the master salt.
let private transforms =
    [ "AES-CM 128, tag of 80 bits", SrtpTransform.CounterMode(16, 10), 14
      "AES-CM 128, tag of 32 bits", SrtpTransform.CounterMode(16, 4), 14
      "AES-CM 256, tag of 80 bits", SrtpTransform.CounterMode(32, 10), 14
      "AES-GCM 128", SrtpTransform.Gcm 16, 12
      "AES-GCM 256", SrtpTransform.Gcm 32, 12 ]

let private keySize transform =
    match transform with
    | SrtpTransform.CounterMode(size, _)
    | SrtpTransform.Gcm size -> size

let private bytes (random: Random) (size: int) =
    let made = Array.zeroCreate<byte> size
    random.NextBytes made
    made

/// A packet of any shape; `sequence` in its place.
let private anyParts (random: Random) (sequence: uint16) : Parts =
    let csrcs = if random.Next 2 = 0 then 0 else random.Next 16
    let words = random.Next 6

    let profile =
        match random.Next 5 with
        | 0
        | 1 -> ""
        | 2 -> "bede"
        | 3 -> "1000"
        | _ -> "1005"

    let extension =
        if profile = "" then
            [||]
        else
            Array.append (hex profile) [| 0uy; byte words |]

    let fixedHeader = bytes random 12

    fixedHeader[0] <-
        0x80uy
        ||| (fixedHeader[0] &&& 0x20uy)
        ||| byte csrcs
        ||| (if profile = "" then 0uy else 0x10uy)

    fixedHeader[2] <- byte (sequence >>> 8)
    fixedHeader[3] <- byte sequence

    { Fixed = fixedHeader
      Csrcs = bytes random (4 * csrcs)
      Extension = extension
      Elements = bytes random (if profile = "" then 0 else 4 * words)
      Payload = bytes random (random.Next 1300) }

/// A sealer, an opener, and the master key and salt of both.
let private pair (random: Random) (ciphers: ICiphers) transform saltSize =
    let key = bytes random (keySize transform)
    let salt = bytes random saltSize
    struct (SrtpSeal.Create(ciphers, transform, key, salt), SrtpOpen.Create(ciphers, transform, key, salt), key, salt)

/// Seals a packet in a buffer that has 30 octets of room, and answers exactly the sealed octets.
let private sealParts (sealing: SrtpSeal) (parts: Parts) (index: uint64) (cryptex: bool) : byte[] =
    let plain = packet parts
    let buffer = Array.append plain (Array.create 30 0xeeuy)

    let made =
        sealing.SealRtp(Span buffer, plain.Length, headerLength parts, index, cryptex)

    Expect.allEqual buffer[made..] 0xeeuy "nothing is written behind the packet"
    buffer[.. made - 1]

/// A small packet of one SSRC.
let private small (index: uint64) : Parts =
    { Fixed = Array.concat [ hex "8060"; [| byte (index >>> 8); byte index |]; hex "0102030411223344" ]
      Csrcs = [||]
      Extension = [||]
      Elements = [||]
      Payload = hex "cafe0123456789" }

let private opened (opening: SrtpOpen) (wire: byte[]) (headerLength: int) (stream: SrtpStream) =
    match opening.OpenRtp(Span wire, headerLength, stream) with
    | Ok opened -> opened
    | Error drop -> failtest $"{drop}"

let private refusal (opening: SrtpOpen) (wire: byte[]) (headerLength: int) (stream: SrtpStream) : Drop =
    match opening.OpenRtp(Span(Array.copy wire), headerLength, stream) with
    | Ok _ -> failtest "it was opened"
    | Error drop -> drop

let private refusalOfRtcp (opening: SrtpOpen) (wire: byte[]) (stream: SrtpStream) : Drop =
    match opening.OpenRtcp(Span(Array.copy wire), stream) with
    | Ok _ -> failtest "it was opened"
    | Error drop -> drop

// ---------------------------------------------------------------------------------------------------------------------
// What is sealed
// ---------------------------------------------------------------------------------------------------------------------

let private sealingTests =
    [ for name, transform, saltSize in transforms do
          testCase
              $"{name}: any RTP packet is sealed as the RFCs say, with and without Cryptex, and opens again"
              (fun () ->
                  let random = Random 1

                  for n in 1 .. Laws.config.maxTest do
                      let ciphers = if n % 2 = 0 then best else platform
                      let struct (sealing, opening, key, salt) = pair random ciphers transform saltSize
                      use sealing = sealing
                      use opening = opening

                      let rollover =
                          if n % 3 = 0 then
                              0UL
                          else
                              uint64 (random.NextInt64(1L <<< 32))

                      let sequence = uint16 (random.Next 65536)
                      let index = (rollover <<< 16) ||| uint64 sequence
                      let cryptex = random.Next 2 = 0
                      let parts = anyParts random sequence
                      let wire = sealParts sealing parts index cryptex

                      Expect.equal
                          (text wire)
                          (text (sealRtp transform key salt cryptex index parts))
                          "as the reference"

                      // Cryptex gives a packet with CSRCs an extension block where it had none; it stays.
                      let grown = cryptex && parts.Csrcs.Length > 0 && parts.Extension.Length = 0

                      let expected =
                          if grown then
                              { parts with
                                  Fixed = Array.append [| parts.Fixed[0] ||| 0x10uy |] parts.Fixed[1..]
                                  Extension = hex "bede0000" }
                          else
                              parts

                      // Someone who has followed the stream to a packet before.
                      let stream =
                          if rollover = 0UL then
                              SrtpStream.fresh
                          else
                              SrtpStream.mark (index - 1UL) SrtpStream.fresh

                      let outcome = opened opening wire (headerLength expected) stream
                      Expect.equal (text wire[.. outcome.Length - 1]) (text (packet expected)) "opened"
                      Expect.equal outcome.Index index "index"

                      let expectsCryptex =
                          cryptex && (grown || parts.Extension.Length > 0 && parts.Extension[1] <> 0x05uy)

                      Expect.equal outcome.Cryptex expectsCryptex "Cryptex")

          testCase $"{name}: any RTCP packet is sealed as the RFCs say, and opens again" (fun () ->
              let random = Random 2

              for n in 1 .. Laws.config.maxTest do
                  let ciphers = if n % 2 = 0 then best else platform
                  let struct (sealing, opening, key, salt) = pair random ciphers transform saltSize
                  use sealing = sealing
                  use opening = opening
                  let plain = bytes random (8 + 4 * random.Next 300)
                  let index = uint32 (random.NextInt64(1L <<< 31))
                  let buffer = Array.append plain (Array.zeroCreate sealing.RtcpOverhead)
                  let made = sealing.SealRtcp(Span buffer, plain.Length, index)
                  Expect.equal made buffer.Length "length"
                  Expect.equal (text buffer) (text (sealRtcp transform key salt index plain)) "as the reference"

                  match opening.OpenRtcp(Span buffer, SrtpStream.fresh) with
                  | Error drop -> failtest $"{drop}"
                  | Ok outcome ->
                      Expect.equal (text buffer[.. outcome.Length - 1]) (text plain) "opened"
                      Expect.equal outcome.Index (uint64 index) "index")

          testCase $"{name}: at the end of the indices nothing is sealed" (fun () ->
              let struct (sealing, _, _, _) = pair (Random 3) best transform saltSize
              use sealing = sealing
              let plain = Array.append (packet (small 0UL)) (Array.zeroCreate 30)
              let before = Array.copy plain
              Expect.equal (sealing.SealRtp(Span plain, 19, 12, 1UL <<< 48, false)) 0 "RTP"
              Expect.equal (sealing.SealRtcp(Span plain, 16, 0x80000000u)) 0 "RTCP"
              Expect.equal plain before "the packet is as it was"

              Expect.equal
                  (sealing.SealRtp(Span plain, 19, 12, (1UL <<< 48) - 1UL, false))
                  (19 + sealing.RtpOverhead)
                  "last"

              Expect.equal (sealing.SealRtcp(Span plain, 16, 0x7fffffffu)) (16 + sealing.RtcpOverhead) "last") ]

// ---------------------------------------------------------------------------------------------------------------------
// What is refused
// ---------------------------------------------------------------------------------------------------------------------

let private refusalTests =
    [ for name, transform, saltSize in transforms do
          testCase $"{name}: a packet with any one bit changed is refused" (fun () ->
              let random = Random 4
              let struct (sealing, opening, _, _) = pair random best transform saltSize
              use sealing = sealing
              use opening = opening

              for cryptex in [ false; true ] do
                  let parts =
                      { small 7UL with
                          Fixed = hex "92600007" |> Array.append <| hex "0102030411223344"
                          Csrcs = hex "aabbccdd01020304"
                          Extension = hex "bede0001"
                          Elements = hex "10ff0000" }

                  let wire = sealParts sealing parts 7UL cryptex

                  for bit in 0 .. 8 * wire.Length - 1 do
                      let changed = Array.copy wire
                      changed[bit / 8] <- changed[bit / 8] ^^^ (1uy <<< (bit % 8))
                      let drop = refusal opening changed (headerLength parts) SrtpStream.fresh
                      Expect.equal drop Drop.Unauthentic $"bit {bit}"

              let plain = bytes random 28
              let buffer = Array.append plain (Array.zeroCreate sealing.RtcpOverhead)
              sealing.SealRtcp(Span buffer, 28, 9u) |> ignore

              for bit in 0 .. 8 * buffer.Length - 1 do
                  let changed = Array.copy buffer
                  changed[bit / 8] <- changed[bit / 8] ^^^ (1uy <<< (bit % 8))
                  let drop = refusalOfRtcp opening changed SrtpStream.fresh
                  Expect.isTrue (drop = Drop.Unauthentic || drop = Drop.Unsupported) $"bit {bit}: {drop}")

          testCase
              $"{name}: cut short, lengthened, with any header length, or of any octets: refused without a throw"
              (fun () ->
                  let random = Random 5
                  let struct (sealing, opening, _, _) = pair random best transform saltSize
                  use sealing = sealing
                  use opening = opening
                  let tag = sealing.RtpOverhead

                  for cryptex in [ false; true ] do
                      let parts = anyParts random 3us
                      let wire = sealParts sealing parts 3UL cryptex

                      for length in 0 .. wire.Length - 1 do
                          let header = headerLength parts
                          let drop = refusal opening wire[.. length - 1] header SrtpStream.fresh

                          let expected =
                              if length < header + tag then
                                  Drop.Malformed
                              else
                                  Drop.Unauthentic

                          Expect.equal drop expected $"{length} octets"

                      let longer = Array.append wire [| 0uy |]
                      Expect.equal (refusal opening longer 12 SrtpStream.fresh) Drop.Unauthentic "longer"

                  for _ in 1 .. 20 * Laws.config.maxTest do
                      let wire = bytes random (random.Next 120)

                      // Cryptex's profiles where its code looks for them, and a header that reaches anywhere.
                      if wire.Length > 80 then
                          wire[0] <- wire[0] ||| 0x10uy
                          let at = 12 + 4 * int (wire[0] &&& 15uy)
                          wire[at] <- 0xc0uy
                          wire[at + 1] <- 0xdeuy

                      refusal opening wire (random.Next(-5, 130)) SrtpStream.fresh |> ignore
                      refusalOfRtcp opening wire SrtpStream.fresh |> ignore

                  let rtcp = Array.append (bytes random 28) (Array.zeroCreate sealing.RtcpOverhead)
                  sealing.SealRtcp(Span rtcp, 28, 9u) |> ignore

                  for length in 0 .. rtcp.Length - 1 do
                      refusalOfRtcp opening rtcp[.. length - 1] SrtpStream.fresh |> ignore)

          testCase $"{name}: a packet opens once; the value before it still opens it" (fun () ->
              let struct (sealing, opening, _, _) = pair (Random 6) best transform saltSize
              use sealing = sealing
              use opening = opening
              let wire = sealParts sealing (small 5UL) 5UL false
              let first = opened opening (Array.copy wire) 12 SrtpStream.fresh
              Expect.equal (refusal opening wire 12 first.Stream) Drop.Replayed "again"
              let other = opened opening (Array.copy wire) 12 SrtpStream.fresh
              Expect.equal other.Length first.Length "the old value is as it was"

              let rtcp =
                  Array.append (Array.zeroCreate 12) (Array.zeroCreate sealing.RtcpOverhead)

              sealing.SealRtcp(Span rtcp, 12, 0u) |> ignore

              match opening.OpenRtcp(Span(Array.copy rtcp), SrtpStream.fresh) with
              | Error drop -> failtest $"{drop}"
              | Ok outcome -> Expect.equal (refusalOfRtcp opening rtcp outcome.Stream) Drop.Replayed "RTCP again") ]

// ---------------------------------------------------------------------------------------------------------------------
// Streams
// ---------------------------------------------------------------------------------------------------------------------

/// Opens a stream's packets, each of `arrivals`, and expects `fate` of each.
let private follow transform saltSize (arrivals: uint64 seq) (fate: uint64 -> Drop voption) =
    let struct (sealing, opening, _, _) = pair (Random 7) best transform saltSize
    use sealing = sealing
    use opening = opening
    let mutable stream = SrtpStream.fresh

    for index in arrivals do
        let wire = sealParts sealing (small index) index false

        match struct (opening.OpenRtp(Span wire, 12, stream), fate index) with
        | struct (Ok outcome, ValueNone) ->
            if outcome.Index <> index then
                failtest $"{index} was taken for {outcome.Index}"

            stream <- outcome.Stream
        | struct (Error drop, ValueSome expected) -> Expect.equal drop expected $"index {index}"
        | struct (Ok _, ValueSome expected) -> failtest $"index {index} was opened; expected {expected}"
        | struct (Error drop, ValueNone) -> failtest $"index {index}: {drop}"

let private streamTests =
    [ for name, transform, saltSize in [ transforms[0]; transforms[3] ] do
          testCase
              $"{name}: three turns of the sequence number, with loss and reordering by up to 60 packets"
              (fun () ->
                  let random = Random 8

                  let arrivals =
                      [| for index in 65000UL .. 65000UL + 3UL * 65536UL do
                             if random.Next 10 > 0 then
                                 struct (index + uint64 (random.Next 60), index) |]

                  Array.sortInPlaceBy (fun (struct (at, _)) -> at) arrivals
                  let arrivals = arrivals |> Array.map (fun (struct (_, index)) -> index)
                  // Who begins beyond the first turn's end is not understood, RFC 3711 §3.3.1: begin before it.
                  follow transform saltSize (Seq.append [ 64990UL ] arrivals) (fun _ -> ValueNone))

          testCase $"{name}: up to 32,766 packets may be lost at once, across the turn, too" (fun () ->
              follow transform saltSize [ 60000UL; 92767UL; 125534UL; 125533UL ] (fun _ -> ValueNone)

              follow transform saltSize [ 60000UL; 92769UL ] (fun index ->
                  if index = 92769UL then
                      ValueSome Drop.Replayed
                  else
                      ValueNone))

          testCase $"{name}: both ways over the turn, and 1,023 packets back but no further" (fun () ->
              follow transform saltSize [ 65530UL; 65540UL; 65535UL; 65536UL; 65534UL; 64517UL ] (fun _ -> ValueNone)

              follow transform saltSize [ 65530UL; 65540UL; 64516UL; 65535UL ] (fun index ->
                  if index = 64516UL then
                      ValueSome Drop.Replayed
                  else
                      ValueNone))

      testCase "the window is a set of the newest 1,024 indices: any walk" (fun () ->
          let random = Random 9

          for _ in 1 .. Laws.config.maxTest do
              let seen = Collections.Generic.HashSet<uint64>()
              let mutable stream = SrtpStream.fresh
              let mutable highest = uint64 (random.Next 3000)

              for _ in 1..300 do
                  let index =
                      match random.Next 8 with
                      | 0 -> highest + uint64 (random.Next 3000)
                      | 1
                      | 2 -> highest + uint64 (random.Next 100)
                      | 3 -> highest - min highest (uint64 (random.Next 3000))
                      | 4 -> highest - min highest (1020UL + uint64 (random.Next 8))
                      | _ -> highest + 1UL - min highest (uint64 (random.Next 70))

                  let expected =
                      seen.Count = 0
                      || index > highest
                      || (highest - index < 1024UL && not (seen.Contains index))

                  if SrtpStream.isNew index stream <> expected then
                      failtest $"{index} after {highest}: new is not {expected}"

                  if expected then
                      let before = stream
                      stream <- SrtpStream.mark index stream
                      seen.Add index |> ignore
                      highest <- if seen.Count = 1 then index else max highest index
                      Expect.equal stream.Highest highest "highest"
                      Expect.isTrue (SrtpStream.isNew index before) "the value before is as it was")

      testCase "an index within 32,767 of the highest is guessed from its low 16 bits" (fun () ->
          let random = Random 10

          for _ in 1 .. 50 * Laws.config.maxTest do
              let highest =
                  (uint64 (random.NextInt64(1L <<< 31)) <<< 16)
                  + 65536UL
                  + uint64 (random.Next 65536)

              let stream = SrtpStream.mark highest SrtpStream.fresh
              let index = highest + 32767UL - uint64 (random.Next 65535)
              Expect.equal (SrtpStream.guess (uint16 index) stream) index $"after {highest}")

      testCase "before the first turn there is nothing to fall back to" (fun () ->
          let stream = SrtpStream.mark 5UL SrtpStream.fresh
          Expect.equal (SrtpStream.guess 65535us stream) 65535UL "guess")

      testCase "beyond 2⁴⁸ packets nothing is opened" (fun () ->
          let _, transform, saltSize = transforms[3]
          let struct (sealing, opening, _, _) = pair (Random 11) best transform saltSize
          use sealing = sealing
          use opening = opening
          let last = (1UL <<< 48) - 1UL
          let stream = SrtpStream.mark (last - 1UL) SrtpStream.fresh
          let outcome = opened opening (sealParts sealing (small last) last false) 12 stream
          Expect.equal outcome.Index last "the last"
          let wire = sealParts sealing (small 0UL) 0UL false
          Expect.equal (refusal opening wire 12 outcome.Stream) Drop.Unexpected "one more") ]

// ---------------------------------------------------------------------------------------------------------------------
// Keys and costs
// ---------------------------------------------------------------------------------------------------------------------

let private profiles =
    [ SrtpProfile.Aes128CmHmacSha1_80, 16, 14, 10, 14
      SrtpProfile.Aes128CmHmacSha1_32, 16, 14, 4, 14
      SrtpProfile.AeadAes128Gcm, 16, 12, 16, 20
      SrtpProfile.AeadAes256Gcm, 32, 12, 16, 20 ]

/// The runtime itself allocates a few hundred octets now and then (seen: 480); the smallest object has 24. So this much of an
/// average is nobody's.
let private slack = 1.0

/// Octets allocated by each of `count` calls, after as many to warm up.
let private allocated (count: int) (act: int -> unit) : float =
    for n in 0 .. count - 1 do
        act n

    let before = GC.GetAllocatedBytesForCurrentThread()

    for n in count .. 2 * count - 1 do
        act n

    float (GC.GetAllocatedBytesForCurrentThread() - before) / float count

let private keyTests =
    [ for profile, keySize, saltSize, rtp, rtcp in profiles do
          testCase $"{profile}: what the client seals the server opens, and the other way, and nobody else" (fun () ->
              let random = Random 12

              let keys () =
                  { ClientKey = bytes random keySize
                    ServerKey = bytes random keySize
                    ClientSalt = bytes random saltSize
                    ServerSalt = bytes random saltSize }

              let ours, others = keys (), keys ()

              for role, other in [ DtlsRole.Client, DtlsRole.Server; DtlsRole.Server, DtlsRole.Client ] do
                  use sealing = Srtp.sealing best profile ours role
                  Expect.equal sealing.RtpOverhead rtp "octets that RTP gains"
                  Expect.equal sealing.RtcpOverhead rtcp "octets that RTCP gains"
                  let wire = sealParts sealing (small 1UL) 1UL false
                  use right = Srtp.opening best profile ours other
                  opened right (Array.copy wire) 12 SrtpStream.fresh |> ignore
                  use self = Srtp.opening best profile ours role
                  Expect.equal (refusal self wire 12 SrtpStream.fresh) Drop.Unauthentic "our own"
                  use wrong = Srtp.opening best profile others other
                  Expect.equal (refusal wrong wire 12 SrtpStream.fresh) Drop.Unauthentic "another session"
                  Expect.isError (right.OpenRtcp(Span wire, SrtpStream.fresh)) "RTP is not RTCP")

          testCase $"{profile}: sealing allocates nothing, opening two octets a packet and 152 a late one" (fun () ->
              for ciphers in [ best; platform ] do
                  let random = Random 13
                  let key, salt = bytes random keySize, bytes random saltSize
                  let transform = SrtpTransform.ofProfile profile
                  use sealing = SrtpSeal.Create(ciphers, transform, key, salt)
                  use opening = SrtpOpen.Create(ciphers, transform, key, salt)

                  let plain =
                      packet
                          { small 0UL with
                              Payload = Array.zeroCreate 1160 }

                  let buffer = Array.append plain (Array.zeroCreate 32)

                  let put (index: int) =
                      buffer[2] <- byte (index >>> 8)
                      buffer[3] <- byte index

                  let seal index =
                      put index
                      sealing.SealRtp(Span buffer, plain.Length, 12, uint64 index, false) |> ignore
                      sealing.SealRtcp(Span buffer, plain.Length, uint32 index) |> ignore

                  Expect.isLessThan (allocated 640 seal) slack "sealing"
                  let mutable stream = SrtpStream.fresh
                  let mutable failures = 0
                  let mutable rtcpStream = SrtpStream.fresh

                  let both (index: int) =
                      put index
                      let made = sealing.SealRtp(Span buffer, plain.Length, 12, uint64 index, false)

                      match opening.OpenRtp(Span(buffer, 0, made), 12, stream) with
                      | Ok outcome -> stream <- outcome.Stream
                      | Error _ -> failures <- failures + 1

                      let made = sealing.SealRtcp(Span buffer, plain.Length, uint32 index)

                      match opening.OpenRtcp(Span(buffer, 0, made), rtcpStream) with
                      | Ok outcome -> rtcpStream <- outcome.Stream
                      | Error _ -> failures <- failures + 1

                  let octets = allocated 6400 both
                  Expect.equal failures 0 "all were opened"
                  Expect.isLessThan octets (2.0 * 152.0 / 64.0 + slack) "opening, RTP and RTCP, in order"
                  // Every second packet first, then those between, from a block or more behind.
                  let far = 20000

                  for index in far..2 .. far + 1000 do
                      both index

                  let late (n: int) = both (far + 1 + 2 * n)
                  Expect.isLessThan (allocated 200 late) (304.0 + 4.0 * slack) "opening, RTP and RTCP, late"
                  Expect.equal failures 0 "all were opened"
                  // The platform tells of a wrong tag by an exception.
                  if Object.ReferenceEquals(ciphers, best) || rtp <> 16 then
                      let forged = Array.create 1200 0x90uy
                      forged[0] <- 0x80uy
                      let mutable drops = 0

                      let refuse _ =
                          match opening.OpenRtp(Span forged, 12, stream) with
                          | Error Drop.Unauthentic -> drops <- drops + 1
                          | _ -> ()

                      Expect.isLessThan (allocated 500 refuse) slack "refusing"
                      Expect.equal drops 1000 "all were refused")

      testCase "disposed of, keys are over" (fun () ->
          for profile, keySize, saltSize, _, _ in profiles do
              for ciphers in [ best; platform ] do
                  let transform = SrtpTransform.ofProfile profile
                  let key, salt = Array.zeroCreate keySize, Array.zeroCreate saltSize
                  let sealing = SrtpSeal.Create(ciphers, transform, key, salt)
                  (sealing :> IDisposable).Dispose()

                  Expect.throwsT<ObjectDisposedException>
                      (fun () -> sealParts sealing (small 1UL) 1UL false |> ignore)
                      $"{profile}")

      testCase "a profile has its IANA name" (fun () ->
          Expect.equal (Srtp.profileName SrtpProfile.AeadAes128Gcm) "SRTP_AEAD_AES_128_GCM" "GCM"
          Expect.equal (Srtp.profileName SrtpProfile.Aes128CmHmacSha1_80) "SRTP_AES128_CM_HMAC_SHA1_80" "AES-CM") ]

let tests = testList "SRTP" (sealingTests @ refusalTests @ streamTests @ keyTests)
