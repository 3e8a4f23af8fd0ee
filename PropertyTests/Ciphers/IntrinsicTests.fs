/// The ciphers of the processor's instructions: vectors, and the platform's as their oracle.
module Hybrid.WebRtc.PropertyTests.IntrinsicTests

#nowarn "9" // What a key's memory holds is read through its address.

open System
open System.Runtime.Intrinsics
open System.Security.Cryptography
open FSharp.NativeInterop
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

/// A test that needs the instructions; where there are none there is nothing to test, and the platform's ciphers are used.
let private intrinsic name test =
    testCase name (fun () ->
        if AesNiGcm.IsSupported then
            test ()
        else
            skiptest "this processor has no AES-NI and PCLMULQDQ")

let private gcm (key: byte[]) : IAeadKey = new AesNiGcm(ReadOnlySpan key)

let private seal (key: IAeadKey) (nonce: byte[]) (associated: byte[]) (text: byte[]) (tag: byte[]) =
    key.Seal(nonce, associated, text, tag)

let private opens (key: IAeadKey) (nonce: byte[]) (associated: byte[]) (text: byte[]) (tag: byte[]) =
    key.Open(nonce, associated, text, tag)

// ---------------------------------------------------------------------------------------------------------------------
// AES-GCM
// ---------------------------------------------------------------------------------------------------------------------

/// McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: key, nonce, associated, plain, cipher text, tag.
let private gcmVectors =
    let plain =
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"

    let associated = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
    let nonce = "cafebabefacedbaddecaf888"
    let key = "feffe9928665731c6d6a8f9467308308"
    let zeros n = String('0', 2 * n)

    let text128 =
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
        + "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"

    let text256 =
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"

    [ "case 1", zeros 16, zeros 12, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"
      "case 2", zeros 16, zeros 12, "", zeros 16, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"
      "case 3", key, nonce, "", plain, text128, "4d5c2af327cd64a62cf35abd2ba6fab4"
      "case 4", key, nonce, associated, plain[..119], text128[..119], "5bc94fbc3221a5db94fae95ae7121a47"
      "case 13", zeros 32, zeros 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"
      "case 14",
      zeros 32,
      zeros 12,
      "",
      zeros 16,
      "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919"
      "case 15", key + key, nonce, "", plain, text256, "b094dac5d93471bdec1a502270e3cc6c"
      "case 16", key + key, nonce, associated, plain[..119], text256[..119], "76fc6ece0f4e1768cddf8853bb2d551b" ]

/// Seals with both and compares, then opens. `text` lies in a larger array, of which the rest may not change.
let private differs (ours: IAeadKey) (platform: AesGcm) (nonce: byte[]) (associated: byte[]) (text: byte[]) at size =
    let expected = Array.zeroCreate<byte> size
    let expectedTag = Array.zeroCreate<byte> 16
    let tag = Array.zeroCreate<byte> 16
    platform.Encrypt(nonce, ReadOnlySpan(text, at, size), Span expected, Span expectedTag, associated)
    let sealedWhole = Array.copy text
    ours.Seal(nonce, associated, Span(sealedWhole, at, size), Span tag)
    let opened = Array.copy sealedWhole
    let fits = ours.Open(nonce, associated, Span(opened, at, size), tag)

    let isRight =
        fits
        && opened.AsSpan().SequenceEqual(ReadOnlySpan text)
        && tag.AsSpan().SequenceEqual(ReadOnlySpan expectedTag)
        && sealedWhole.AsSpan(at, size).SequenceEqual(ReadOnlySpan expected)
        && sealedWhole.AsSpan(0, at).SequenceEqual(ReadOnlySpan(text, 0, at))
        && sealedWhole.AsSpan(at + size).SequenceEqual(ReadOnlySpan(text, at + size, text.Length - at - size))

    struct (not isRight, sealedWhole, tag)

/// Whether what was sealed opens although a bit of it was turned; then `text` must have been wiped.
let private isForged (ours: IAeadKey) (nonce: byte[]) (associated: byte[]) (text: byte[]) at size (tag: byte[]) =
    let text = Array.copy text
    let opened = ours.Open(nonce, associated, Span(text, at, size), tag)
    opened || text.AsSpan(at, size).ContainsAnyExcept 0uy

let private turned (random: Random) (bytes: byte[]) from count =
    let copy = Array.copy bytes
    let at = from + random.Next count
    copy[at] <- copy[at] ^^^ (1uy <<< random.Next 8)
    copy

/// Runs `cases` a length of text, 0 to 1,500 octets, with random keys, nonces, associated data and alignments.
let private differential seed cases =
    let random = Random(seed: int)
    let mutable run = 0

    let bytes size =
        let made = Array.zeroCreate<byte> size
        random.NextBytes made
        made

    for size in 0..1500 do
        let key = bytes (if random.Next 2 = 0 then 16 else 32)
        use ours = gcm key
        use platform = new AesGcm(ReadOnlySpan key, 16)

        for _ in 1..cases do
            let nonce = bytes 12
            let associated = bytes (random.Next 65)
            let at = random.Next 20
            let text = bytes (at + size + random.Next 20)

            let struct (differs, made, tag) =
                differs ours platform nonce associated text at size

            let said =
                $"case {run}: key {key.Length}, text {size} at {at}, associated {associated.Length}"

            if differs then
                failtest said

            // One class of bit a case; each comes some 25,000 times.
            let forged =
                match run % 4 with
                | 0 -> isForged ours nonce associated made at size (turned random tag 0 16)
                | 1 -> isForged ours (turned random nonce 0 12) associated made at size tag
                | 2 when size > 0 -> isForged ours nonce associated (turned random made at size) at size tag
                | 3 when associated.Length > 0 ->
                    isForged ours nonce (turned random associated 0 associated.Length) made at size tag
                | _ -> isForged ours nonce (Array.append associated [| 0uy |]) made at size tag

            if forged then
                failtest $"{said}: a forgery of class {run % 4} was opened, or left in the clear"

            run <- run + 1

    run

let private gcmTests =
    [ for name, key, nonce, associated, plain, text, tag in gcmVectors do
          for who, make in [ "AES-NI", gcm; "the platform", (fun key -> new AesGcmKey(ReadOnlySpan key)) ] do
              let test () =
                  use key: IAeadKey = make (hex key)
                  let nonce, associated = hex nonce, hex associated
                  let made, madeTag = hex plain, Array.zeroCreate<byte> 16
                  seal key nonce associated made madeTag
                  Expect.equal (Convert.ToHexStringLower made) text "cipher text"
                  Expect.equal (Convert.ToHexStringLower madeTag) tag "tag"
                  Expect.isTrue (opens key nonce associated made madeTag) "opens"
                  Expect.equal (Convert.ToHexStringLower made) plain "plain text"

              if who = "AES-NI" then
                  intrinsic $"AES-GCM of {who} is {name}" test
              else
                  testCase $"AES-GCM of {who} is {name}" test

      intrinsic
          "AES-GCM is the platform's: 100,567 random cases of every length from 0 to 1,500, forgeries refused and wiped"
          (fun () -> Expect.equal (differential 20260703 67) 100_567 "cases")

      intrinsic
          "AES-GCM is the platform's at the edges: keys, nonces and texts of zeros and ones, every end of a batch"
          (fun () ->
              let fills = [ 0uy; 0xffuy; 0x80uy; 1uy ]

              let sizes =
                  [ for edge in [ 0; 16; 112; 128; 240; 256; 1024; 16384 ] do
                        for size in edge - 1 .. edge + 1 do
                            if size >= 0 then
                                size ]

              for keySize in [ 16; 32 ] do
                  for fill in fills do
                      let key = Array.create keySize fill
                      use ours = gcm key
                      use platform = new AesGcm(ReadOnlySpan key, 16)

                      for nonceFill in fills do
                          for size in sizes do
                              for associated in [ 0; 1; 13; 16; 17; 64; 300 ] do
                                  let struct (differs, _, _) =
                                      differs
                                          ours
                                          platform
                                          (Array.create 12 nonceFill)
                                          (Array.create associated fill)
                                          (Array.create size nonceFill)
                                          0
                                          size

                                  Expect.isFalse
                                      differs
                                      $"key {fill}, nonce {nonceFill}, text {size}, associated {associated}")

      intrinsic "AES-GCM counts on past 2⁸ and 2¹⁶ blocks" (fun () ->
          let key = Array.init 16 byte
          use ours = gcm key
          use platform = new AesGcm(ReadOnlySpan key, 16)

          for size in [ 256 * 16 + 5; 65536 * 16 + 77 ] do
              let text = Array.init size (fun i -> byte (i * 7))

              let struct (differs, _, _) =
                  differs ours platform (Array.create 12 0xffuy) [||] text 0 size

              Expect.isFalse differs $"{size} octets")

      intrinsic "AES-GCM refuses a tag with any of its 128 bits turned, and wipes the text" (fun () ->
          use ours = gcm (Array.init 16 byte)
          let nonce, text, tag = Array.zeroCreate 12, Array.init 100 byte, Array.zeroCreate 16
          seal ours nonce [||] text tag

          for bit in 0..127 do
              let forged = Array.copy tag
              forged[bit / 8] <- forged[bit / 8] ^^^ (1uy <<< bit % 8)
              Expect.isFalse (isForged ours nonce [||] text 0 text.Length forged) $"bit {bit}"

          Expect.isTrue (opens ours nonce [||] text tag) "the right one opens"
          Expect.sequenceEqual text (Array.init 100 byte) "and is not wiped")

      intrinsic "AES-GCM with a nonce, a tag or a key of another size is the caller's mistake" (fun () ->
          let text, tag = Array.zeroCreate<byte> 20, Array.zeroCreate<byte> 16
          use ours = gcm (Array.zeroCreate 16)

          for nonce, tag in [ 11, 16; 13, 16; 12, 15; 12, 17; 0, 0 ] do
              let nonce, tag = Array.zeroCreate<byte> nonce, Array.zeroCreate<byte> tag
              Expect.throwsT<ArgumentException> (fun () -> seal ours nonce [||] text tag) "seal"
              Expect.throwsT<ArgumentException> (fun () -> opens ours nonce [||] text tag |> ignore) "open"

          for size in [ 0; 15; 17; 24; 33 ] do
              Expect.throwsT<ArgumentException> (fun () -> gcm (Array.zeroCreate size) |> ignore) "key"

          ignore tag)

      intrinsic "AES-GCM is not to be used once disposed of, and its key is wiped" (fun () ->
          let key = new AesNiGcm(ReadOnlySpan(Array.init 16 byte))
          let nonce, tag = Array.zeroCreate<byte> 12, Array.zeroCreate<byte> 16
          key.Dispose()
          key.Dispose()
          Expect.throwsT<ObjectDisposedException> (fun () -> seal key nonce [||] [||] tag) "seal"

          let memory = new KeyMemory 4
          let start = memory.Start
          Expect.equal (NativePtr.toNativeInt start % 64n) 0n "aligned"

          for i in 0..3 do
              NativePtr.set start i (Vector128.Create 0xa5uy)

          memory.Dispose()

          for i in 0..3 do
              Expect.equal (NativePtr.get start i) Vector128<byte>.Zero "wiped"

          GC.KeepAlive memory)

      intrinsic "AES-GCM seals and opens without an octet allocated" (fun () ->
          let nonce, text, tag =
              Array.zeroCreate<byte> 12, Array.zeroCreate<byte> 1160, Array.zeroCreate<byte> 16

          for size in [ 16; 32 ] do
              use key = gcm (Array.zeroCreate size)

              let run () =
                  let mutable opened = 0

                  for _ in 1..1000 do
                      key.Seal(ReadOnlySpan nonce, ReadOnlySpan nonce, Span text, Span tag)

                      if key.Open(ReadOnlySpan nonce, ReadOnlySpan nonce, Span text, ReadOnlySpan tag) then
                          opened <- opened + 1

                  opened

              let warm = run ()
              let before = GC.GetAllocatedBytesForCurrentThread()
              let opened = run ()
              let allocated = GC.GetAllocatedBytesForCurrentThread() - before
              Expect.equal opened warm "opened"
              Expect.equal allocated 0L "octets") ]

// ---------------------------------------------------------------------------------------------------------------------
// AES-CTR
// ---------------------------------------------------------------------------------------------------------------------

/// Source, key, first counter block, plain text, cipher text.
let private ctrVectors =
    let block =
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        + "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"

    let upTo n =
        Convert.ToHexStringLower(Array.init n byte)

    let message = "53696e676c6520626c6f636b206d7367"
    let srtp = "2b7e151628aed2a6abf7158809cf4f3c"
    let zeros = String('0', 96)

    [ "SP 800-38A F.5.1",
      srtp,
      "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      block,
      "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
      + "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"
      "SP 800-38A F.5.5",
      "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
      "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      block,
      "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
      + "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
      "RFC 3686 §6, 1",
      "ae6852f8121067cc4bf7a5765577f39e",
      "00000030000000000000000000000001",
      message,
      "e4095d4fb7a7b3792d6175a3261311b8"
      "RFC 3686 §6, 2",
      "7e24067817fae0d743d6ce1f32539163",
      "006cb6dbc0543b59da48d90b00000001",
      upTo 32,
      "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28"
      "RFC 3686 §6, 3",
      "7691be035e5020a8ac6e618529f9a0dc",
      "00e0017b27777f3f4a1786f000000001",
      upTo 36,
      "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"
      "RFC 3686 §6, 7",
      "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
      "00000060db5672c97aa8f0b200000001",
      message,
      "145ad01dbf824ec7560863dc71e3e0c0"
      "RFC 3686 §6, 8",
      "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884",
      "00faac24c1585ef15a43d87500000001",
      upTo 32,
      "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c"
      "RFC 3686 §6, 9",
      "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
      "001cc5b751a51d70a1c1114800000001",
      upTo 36,
      "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8"
      "RFC 3711 §B.2, the first blocks",
      srtp,
      "f0f1f2f3f4f5f6f7f8f9fafbfcfd0000",
      zeros,
      "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0"
      "RFC 3711 §B.2, the last blocks",
      srtp,
      "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      zeros,
      "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae6a2cc3787889374fbeb4c81b17ba6c44" ]

/// One block at a time with the platform's AES, its counter counted up octet by octet.
let private slowly (key: byte[]) (counter: byte[]) (text: byte[]) =
    use aes = Aes.Create()
    aes.Key <- key
    let counter = Array.copy counter

    let next () =
        let stream = aes.EncryptEcb(counter, PaddingMode.None)
        let mutable at = 15
        counter[at] <- counter[at] + 1uy

        while counter[at] = 0uy && at > 0 do
            at <- at - 1
            counter[at] <- counter[at] + 1uy

        stream

    text
    |> Array.chunkBySize 16
    |> Array.collect (fun block -> Array.map2 (^^^) block (Array.truncate block.Length (next ())))

let private ctrTests =
    [ for name, key, counter, plain, text in ctrVectors do
          intrinsic $"AES-CTR is {name}" (fun () ->
              use key = new AesNiCtr(ReadOnlySpan(hex key))
              let made = hex plain
              key.Apply(hex counter, made)
              Expect.equal (Convert.ToHexStringLower made) text "cipher text"
              key.Apply(hex counter, made)
              Expect.equal (Convert.ToHexStringLower made) plain "and back")

      intrinsic "AES-CTR is one block at a time, with carries over 32, 64 and all 128 bits, at any length" (fun () ->
          let random = Random 7

          let bytes size =
              let made = Array.zeroCreate<byte> size
              random.NextBytes made
              made

          for size in 0..400 do
              for ones in [ 0; 1; 4; 8; 12; 16 ] do
                  let key = bytes (if random.Next 2 = 0 then 16 else 32)
                  let counter = bytes 16

                  // The octets that carry are all ones but for a few counts yet to come.
                  if ones > 0 then
                      Array.fill counter (16 - ones) ones 0xffuy
                      counter[15] <- byte (255 - random.Next 26)

                  let at = random.Next 17
                  let text = bytes (at + size + 3)
                  let made = Array.copy text
                  use ours = new AesNiCtr(ReadOnlySpan key)
                  ours.Apply(ReadOnlySpan counter, Span(made, at, size))

                  let expected =
                      Array.concat
                          [ text[.. at - 1]
                            slowly key counter text[at .. at + size - 1]
                            text[at + size ..] ]

                  if made <> expected then
                      failtest $"{size} octets, {ones} octets that carry, counter {Convert.ToHexString counter}")

      intrinsic
          "AES-CTR with a counter or a key of another size is the caller's mistake; disposed of, it is over"
          (fun () ->
              let key = new AesNiCtr(ReadOnlySpan(Array.zeroCreate<byte> 16))

              let apply (size: int) =
                  key.Apply(Array.zeroCreate<byte> size, Array.zeroCreate<byte> 8)

              Expect.throwsT<ArgumentException> (fun () -> apply 15) "counter"

              Expect.throwsT<ArgumentException>
                  (fun () -> new AesNiCtr(ReadOnlySpan(Array.zeroCreate<byte> 24)) |> ignore)
                  "key"

              key.Dispose()
              Expect.throwsT<ObjectDisposedException> (fun () -> apply 16) "disposed of")

      intrinsic "AES-CTR allocates nothing" (fun () ->
          let counter, text = Array.zeroCreate<byte> 16, Array.zeroCreate<byte> 1160
          use key = new AesNiCtr(ReadOnlySpan counter)

          let run () =
              for _ in 1..1000 do
                  key.Apply(ReadOnlySpan counter, Span text)

          run ()
          let before = GC.GetAllocatedBytesForCurrentThread()
          run ()
          Expect.equal (GC.GetAllocatedBytesForCurrentThread() - before) 0L "octets") ]

// ---------------------------------------------------------------------------------------------------------------------
// The choice
// ---------------------------------------------------------------------------------------------------------------------

let private choiceTests =
    let made (ciphers: SystemCiphers) size algorithm =
        use key = ciphers.Aead(algorithm, ReadOnlySpan(Array.zeroCreate<byte> size))
        key.GetType()

    let isGcmOf (expected: Type) (ciphers: SystemCiphers) =
        Expect.equal (made ciphers 16 AeadAlgorithm.Aes128Gcm) expected "AES-128"
        Expect.equal (made ciphers 32 AeadAlgorithm.Aes256Gcm) expected "AES-256"

    [ testCase "without the instructions Automatic is the platform's, and Intrinsic says what is missing" (fun () ->
          isGcmOf typeof<AesGcmKey> (SystemCiphers.Of(CipherChoice.Automatic, false))
          isGcmOf typeof<AesGcmKey> (SystemCiphers.Of(CipherChoice.Platform, false))

          let said =
              try
                  SystemCiphers.Of(CipherChoice.Intrinsic, false) |> ignore
                  ""
              with :? PlatformNotSupportedException as e ->
                  e.Message

          Expect.stringContains said "AES-NI" "the message"
          Expect.stringContains said "Platform" "and what to choose instead")

      intrinsic "with them Automatic and Intrinsic are ours, and Platform is the platform's" (fun () ->
          isGcmOf typeof<AesNiGcm> SystemCiphers.Shared
          isGcmOf typeof<AesNiGcm> (SystemCiphers.Of CipherChoice.Automatic)
          isGcmOf typeof<AesNiGcm> (SystemCiphers.Of CipherChoice.Intrinsic)
          isGcmOf typeof<AesGcmKey> (SystemCiphers.Of CipherChoice.Platform))

      testCase "the facade's option chooses, and defaults to Automatic" (fun () ->
          Expect.equal (WebRtcOptions()).Ciphers WebRtcCiphers.Automatic "default"

          for option, choice in
              [ WebRtcCiphers.Automatic, CipherChoice.Automatic
                WebRtcCiphers.Platform, CipherChoice.Platform
                if AesNiGcm.IsSupported then
                    WebRtcCiphers.Intrinsic, CipherChoice.Intrinsic ] do
              let chosen = WebRtcOptions(Ciphers = option).ToCiphers()
              Expect.isTrue (obj.ReferenceEquals(chosen, SystemCiphers.Of choice)) (string option)

          Expect.throwsT<ArgumentOutOfRangeException>
              (fun () -> WebRtcOptions(Ciphers = enum 9).ToCiphers() |> ignore)
              "unknown") ]

let tests =
    testList
        "Ciphers"
        [ testList "intrinsic AES-GCM" gcmTests
          testList "intrinsic AES-CTR" ctrTests
          testList "the choice of ciphers" choiceTests ]
