/// SRTP against the vectors of its RFCs, and the reference packets of libsrtp's driver.
module Hybrid.WebRtc.PropertyTests.Rtp.SrtpVectorTests

open System
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.Rtp.SrtpReference

/// Each implementation that this machine has.
let private choices: (string * ICiphers) list =
    [ "platform", SystemCiphers.Of CipherChoice.Platform
      "best", SystemCiphers.Of CipherChoice.Automatic ]

let private cm128 = SrtpTransform.CounterMode(16, 10)
let private cm256 = SrtpTransform.CounterMode(32, 10)

// ---------------------------------------------------------------------------------------------------------------------
// Key derivation and key stream
// ---------------------------------------------------------------------------------------------------------------------

/// Master key and salt; label and session key.
let private derivations =
    [ "RFC 3711 B.3",
      "e1f97a0d3e018be0d64fa32c06de4139",
      "0ec675ad498afeebb6960b3aabe6",
      [ 0, "c61e7a93744f39ee10734afe3ff7a087"
        2, "30cbbc08863d8c85d49db34a9ae1"
        1,
        "cebe321f6ff7716b6fd4ab49af256a15"
        + "6d38baa48f0a0acf3c34e2359e6cdbce"
        + "e049646c43d9327ad175578ef7227098"
        + "6371c10c9a369ac2f94a8c5fbcdddc25"
        + "6d6e919a48b610ef17c2041e47403576"
        + "6b68642c59bbfc2f34db60dbdfb2" ]
      "RFC 6188 §7.2",
      "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
      "3b04803de51ee7c96423ab5b78d2",
      [ 0, "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"
        2, "fa31791685ca444a9e07c6c64e93"
        1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05" ] ]

/// Session key, the first three blocks, and the blocks of which the counters end in feff, ff00 and ff01.
let private streams =
    [ "RFC 3711 B.2",
      "2b7e151628aed2a6abf7158809cf4f3c",
      "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0",
      "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae6a2cc3787889374fbeb4c81b17ba6c44"
      "RFC 6188 §7.1",
      "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
      "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31",
      "cea518c90fd91ced9cbb18c078a547113dbc4814f4da5f00a08772b63c6a046d6eb246913062a16891433e97dd01a57f" ]

let private keyTests (which: string) (ciphers: ICiphers) =
    [ for name, key, salt, derived in derivations do
          testCase $"{name}, {which}: session keys are derived" (fun () ->
              use prf = ciphers.CounterMode(ReadOnlySpan(hex key))

              for label, expected in derived do
                  let made = SrtpTransform.derive prf (hex salt) (byte label) (expected.Length / 2)
                  Expect.equal (text made) expected $"label {label}")

      for name, key, first, last in streams do
          testCase $"{name}, {which}: the key stream of 65,282 blocks" (fun () ->
              use key = ciphers.CounterMode(ReadOnlySpan(hex key))
              let stream = Array.zeroCreate<byte> 1044512
              key.Apply(ReadOnlySpan(hex "f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"), Span stream)
              Expect.equal (text stream[..47]) first "its first"
              Expect.equal (text stream[0xfeff * 16 ..]) last "its last") ]

// ---------------------------------------------------------------------------------------------------------------------
// Packets
// ---------------------------------------------------------------------------------------------------------------------

/// Profile, master key, master salt, whether RTCP, index, whether Cryptex, plain packet, sealed packet.
let private packets =
    let rtp = "800f1234decafbadcafebabeabababababababababababababababab"
    let rtcp = "81c8000bcafebabeabababababababababababababababab"
    let key = "e1f97a0d3e018be0d64fa32c06de4139"
    let salt = "0ec675ad498afeebb6960b3aabe6"
    let gcmKey = "000102030405060708090a0b0c0d0e0f"
    let gcmSalt = "a0a1a2a3a4a5a6a7a8a9aaab"
    let gcm = SrtpTransform.Gcm 16

    let cryptex =
        [ "a one-byte extension",
          "900f1235decafbadcafebabebede000151000200abababababababababababababababab",
          "900f1235decafbadcafebabec0de0001eb92365251c3e036f8de27e9c27ee3e0b4651d9fbc4218a70244522f34a5",
          "900f1235decafbadcafebabec0de000139972dc9572c4d99e8fc355de743fb2e94f9d8ff54e72f4193bbc5c74ffab0fa9fa0fbeb"
          "a two-byte extension",
          "900f1236decafbadcafebabe1000000105020002abababababababababababababababab",
          "900f1236decafbadcafebabec2de00014ed9cc4e6a712b3096c5ca77339d4204ce0d77396cab69585fbce38194a5",
          "900f1236decafbadcafebabec2de0001bb75a4c545cd1f413bdb7daa2b1e3263de313667c963249081b35a65f5cb6c88b394235f"
          "a one-byte extension and CSRCs",
          "920f1238decafbadcafebabe0001e2400000b26ebede000151000200abababababababababababababababab",
          "920f1238decafbadcafebabe8bb6e12b5cff16ddc0de000192838c8c09e58393e1de3a9a74734d67"
          + "45671338c3acf11da2df8423bee0",
          "920f1238decafbadcafebabe63bbccc4a7f695c4c0de00018ad7c71fac70a80c92866b4c6ba98546"
          + "ef913586e95ffaaffe956885bb0647a8bc094ac8"
          "a two-byte extension and CSRCs",
          "920f1239decafbadcafebabe0001e2400000b26e1000000105020002abababababababababababababababab",
          "920f1239decafbadcafebabef70e513eb90b9b25c2de0001bbed4848faa644665f3d7f34125914e9"
          + "f4d0ae923c6f479b95a0f7b53133",
          "920f1239decafbadcafebabe3680524f8d312b00c2de0001c78d120038422bc111a7187a18246f98"
          + "0c059cc6bc9df8b626394eca344e4b05d80fea83"
          "an empty one-byte extension and CSRCs",
          "920f123adecafbadcafebabe0001e2400000b26ebede0000abababababababababababababababab",
          "920f123adecafbadcafebabe7130b6abfe2ab0e3c0de0000e3d9f64b25c9e74cb4cf8e43fb92e3781c2c0ceab6b3a499a14c",
          "920f123adecafbadcafebabe15b6bb4337906fffc0de0000b7b964537a2b03ab7ba5389ce9331712"
          + "6b5d974df30c6884dcb651c5e120c1da"
          "an empty two-byte extension and CSRCs",
          "920f123bdecafbadcafebabe0001e2400000b26e10000000abababababababababababababababab",
          "920f123bdecafbadcafebabecbf24c124330e1c8c2de0000599dd45bc9d687b603e8b59d771fd38e88b170e0cd31e125eabe",
          "920f123bdecafbadcafebabedcb38c9e48bf95f4c2de000061ee432cf920317076613258d3ce4236"
          + "c06ac429681ad08413512dc98b5207d8" ]

    [ "libsrtp, AES-CM 128",
      cm128,
      key,
      salt,
      false,
      false,
      rtp,
      rtp[..23] + "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
      "libsrtp, AES-CM 128, RTCP",
      cm128,
      key,
      salt,
      true,
      false,
      rtcp,
      rtcp[..15] + "7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"
      "libsrtp, AES-CM 256",
      cm256,
      "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
      "3b04803de51ee7c96423ab5b78d2",
      false,
      false,
      rtp,
      rtp[..23] + "f1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b"
      "libsrtp, AES-GCM 128",
      gcm,
      gcmKey,
      gcmSalt,
      false,
      false,
      rtp,
      rtp[..23] + "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392"
      "libsrtp, AES-GCM 128, RTCP",
      gcm,
      gcmKey,
      gcmSalt,
      true,
      false,
      rtcp,
      rtcp[..15]
      + "c98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001"
      for name, plain, counterMode, aead in cryptex do
          $"RFC 9335 A.1, AES-CM, {name}", cm128, key, salt, false, true, plain, counterMode
          $"RFC 9335 A.2, AES-GCM, {name}", gcm, gcmKey, gcmSalt, false, true, plain, aead ]

/// Octets before the payload.
let private headerOf (packet: byte[]) =
    let csrcs = 12 + 4 * int (packet[0] &&& 15uy)

    if packet[0] &&& 16uy = 0uy then
        csrcs
    else
        csrcs + 4 + 4 * (256 * int packet[csrcs + 2] + int packet[csrcs + 3])

/// Seals and opens a packet and expects what is written.
let private checkPacket
    (sealing: SrtpSeal)
    (opening: SrtpOpen)
    isRtcp
    cryptex
    index
    (plain: string)
    (expected: string)
    =
    let buffer = Array.append (hex plain) (Array.zeroCreate 20)
    let length = plain.Length / 2

    let made =
        if isRtcp then
            sealing.SealRtcp(Span buffer, length, uint32 index)
        else
            sealing.SealRtp(Span buffer, length, headerOf buffer, index, cryptex)

    Expect.equal (text buffer[.. made - 1]) expected "sealed"
    let wire = hex expected

    let opened =
        if isRtcp then
            opening.OpenRtcp(Span wire, SrtpStream.fresh)
        else
            opening.OpenRtp(Span wire, headerOf wire, SrtpStream.fresh)

    match opened with
    | Error drop -> failtest $"{drop}"
    | Ok opened ->
        Expect.equal (text wire[.. opened.Length - 1]) plain "opened"
        Expect.equal opened.Index index "index"
        Expect.equal opened.Cryptex cryptex "Cryptex"
        Expect.equal opened.Stream.Highest index "highest"

let private packetTests (which: string) (ciphers: ICiphers) =
    [ for name, transform, key, salt, isRtcp, cryptex, plain, sealed' in packets do
          testCase $"{name}, {which}" (fun () ->
              use sealing = SrtpSeal.Create(ciphers, transform, hex key, hex salt)
              use opening = SrtpOpen.Create(ciphers, transform, hex key, hex salt)

              let index =
                  if isRtcp then
                      1UL
                  else
                      uint64 (Convert.ToUInt16(plain[4..7], 16))

              checkPacket sealing opening isRtcp cryptex index plain sealed') ]

/// RFC 7714 §16 and §17 give session keys, not master keys.
let private aeadVectors =
    let rtp =
        "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976697361"
        + "20696e207061727465732074726573"

    let rtcp =
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"

    [ "§16.1.1, AES-GCM 128",
      16,
      false,
      0xf17bUL,
      rtp,
      "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5"
      + "0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce"
      "§16.2.1, AES-GCM 256",
      32,
      false,
      0xf17bUL,
      rtp,
      "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238"
      + "9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13"
      "§17.1, AES-GCM 128, RTCP",
      16,
      true,
      0x5d4UL,
      rtcp,
      "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d"
      + "c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
      "§17.2, AES-GCM 256, RTCP",
      32,
      true,
      0x5d4UL,
      rtcp,
      "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50"
      + "a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4" ]

let private aeadTests (which: string) (ciphers: ICiphers) =
    [ for name, size, isRtcp, index, plain, expected in aeadVectors do
          testCase $"RFC 7714 {name}, {which}" (fun () ->
              let transform = SrtpTransform.Gcm size
              let key = Array.init size byte
              let salt = hex "517569642070726f2071756f"

              let cipher () =
                  SrtpTransform.cipher ciphers transform key [||] 16 salt

              use sealing = new SrtpSeal(transform, cipher (), cipher ())
              use opening = new SrtpOpen(transform, cipher (), cipher ())
              checkPacket sealing opening isRtcp false index plain expected) ]

let tests =
    testList
        "SRTP vectors"
        [ for which, ciphers in choices do
              yield! keyTests which ciphers
              yield! packetTests which ciphers
              yield! aeadTests which ciphers ]
