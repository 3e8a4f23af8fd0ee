/// The key schedule of TLS 1.3 by RFC 8448's traces, and of DTLS 1.3 by browsers' own secrets.
module Hybrid.WebRtc.PropertyTests.Dtls13.KeyScheduleTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.Dtls13.Captures

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let private toHex (bytes: byte[]) = Convert.ToHexStringLower bytes

/// As in RFC 8448: TLS, hence another prefix.
let private tls: KeySchedule =
    { Ciphers = SystemCiphers.Shared
      Suite = CipherSuite.Aes128GcmSha256
      Prefix = "tls13 " }

let private equals (expected: string) (name: string) (actual: byte[]) =
    Expect.equal (toHex actual) (expected.Replace(" ", "")) name

/// RFC 8448 §3: the transcript up to ServerHello, and up to the server's Finished.
let private untilHello =
    hex "860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8"

let private untilFinished =
    hex "9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13"

let tests =
    testList
        "DTLS 1.3 key schedule"
        [ testCase "RFC 8448 §3: secrets, traffic keys and Finished" (fun () ->
              let handshake =
                  KeySchedule.handshake tls (hex "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")

              handshake
              |> equals "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac" "handshake"

              let client = KeySchedule.derive tls handshake "c hs traffic" untilHello
              let server = KeySchedule.derive tls handshake "s hs traffic" untilHello

              client
              |> equals "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21" "c hs traffic"

              server
              |> equals "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38" "s hs traffic"

              let struct (key, iv, _) = KeySchedule.traffic tls server
              key |> equals "3fce516009c21727d0f2e4e86ee403bc" "the server's key"
              iv |> equals "5d313eb2671276ee13000b30" "and IV"
              let struct (key, iv, _) = KeySchedule.traffic tls client
              key |> equals "dbfaa693d1762c5b666af5d950258d01" "the client's key"
              iv |> equals "5bd3c71b836e0b76bb73265f" "and IV"

              KeySchedule.finished tls client untilFinished
              |> equals "a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61" "the client's Finished"

              let master = KeySchedule.master tls handshake

              master
              |> equals "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919" "master"

              KeySchedule.derive tls master "c ap traffic" untilFinished
              |> equals "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5" "c ap traffic"

              let server = KeySchedule.derive tls master "s ap traffic" untilFinished

              server
              |> equals "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643" "s ap traffic"

              let struct (key, iv, _) = KeySchedule.traffic tls server
              key |> equals "9f02283b6c9c07efc26bb9f2ac92e356" "the server's key for data"
              iv |> equals "cf782b88dd83549aadf1e984" "and IV"

              KeySchedule.derive tls master "exp master" untilFinished
              |> equals "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50" "exp master")

          testCase "RFC 5869 §A.1 and §A.2: HKDF" (fun () ->
              let expand ikm salt info length =
                  let secret = Hkdf.extract SystemCiphers.Shared HashAlgorithm.Sha256 salt ikm
                  Hkdf.expand SystemCiphers.Shared HashAlgorithm.Sha256 secret info length

              expand (Array.create 22 0x0buy) (Array.init 13 byte) (Array.init 10 (fun i -> byte (0xf0 + i))) 42
              |> equals "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" "A.1"

              expand
                  (Array.init 80 byte)
                  (Array.init 80 (fun i -> byte (0x60 + i)))
                  (Array.init 80 (fun i -> byte (0xb0 + i)))
                  82
              |> equals
                  "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
                  "A.2")

          for capture in captures do
              testCase
                  $"{capture.Name}: the Finished of both, by their traffic secrets and the messages before"
                  (fun () ->
                      let k = schedule capture
                      let messages = messages capture

                      for kind, secret in
                          [ 'S', "SERVER_HANDSHAKE_TRAFFIC_SECRET"
                            'C', "CLIENT_HANDSHAKE_TRAFFIC_SECRET" ] do
                          // The server's comes first.
                          let at =
                              messages
                              |> List.indexed
                              |> List.filter (fun (_, m) -> m.Type = 20uy)
                              |> List.map fst
                              |> List.item (if kind = 'S' then 0 else 1)

                          let before = messages |> List.take at |> List.map _.AsTls |> Array.concat

                          let verify =
                              KeySchedule.finished
                                  k
                                  (Convert.FromHexString capture.Secrets[secret])
                                  (KeySchedule.transcript k before)

                          Expect.equal verify messages[at].Body $"the Finished of {kind}") ]
