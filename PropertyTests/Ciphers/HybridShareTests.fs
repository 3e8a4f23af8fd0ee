/// X25519MLKEM768 and what it is made of.
module Hybrid.WebRtc.PropertyTests.HybridShareTests

open System
open Expecto
open Org.BouncyCastle.Crypto.Digests
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack

let private ciphers: ICiphers = SystemCiphers.Shared

let private seed (n: int) =
    Array.init 64 (fun i -> byte (i * 7 + n))

let private answer (seed: byte[]) (peer: byte[]) =
    ciphers.Answer(NamedGroup.X25519MLKEM768, ReadOnlySpan seed, ReadOnlySpan peer)

let tests =
    testList
        "X25519MLKEM768"
        [ testCase
              "ML-KEM-768: keys, ciphertexts, secrets and rejections of a hundred seeds are those of other implementations"
              (fun () ->
                  // The procedure of C2SP's accumulated vectors as Go's crypto/mlkem has it: a SHAKE-128 stream of nothing gives the
                  // seeds, and what is made of them goes into another.
                  let stream, all = ShakeDigest 128, ShakeDigest 128

                  let draw (size: int) =
                      let into = Array.zeroCreate size
                      stream.Output(into, 0, size) |> ignore
                      into

                  let take (bytes: byte[]) = all.BlockUpdate(bytes, 0, bytes.Length)

                  for _ in 1..100 do
                      let key = MlKem768.Generate(ReadOnlySpan(draw MlKem768.SeedSize))
                      let encapsulation = key.GetPublicKeyEncoded()
                      take encapsulation
                      let m = draw MlKem768.SecretSize

                      let struct (ciphertext, secret) =
                          MlKem768.Encapsulate(ReadOnlySpan encapsulation, ReadOnlySpan m).Value

                      take ciphertext
                      take secret
                      Expect.equal (MlKem768.Decapsulate(key, ReadOnlySpan ciphertext)) secret "both have the same"
                      take (MlKem768.Decapsulate(key, ReadOnlySpan(draw MlKem768.CiphertextSize)))

                  let into = Array.zeroCreate 32
                  all.OutputFinal(into, 0, 32) |> ignore

                  Expect.equal
                      (Convert.ToHexStringLower into)
                      "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415"
                      "accumulated")

          testCase "both sides have the same secret, of 64 octets, and the sizes are those of the wire" (fun () ->
              use ours = ciphers.Agree(NamedGroup.X25519MLKEM768, ReadOnlySpan(seed 1))
              Expect.hasLength ours.Public 1216 "the client's share"

              match answer (seed 2) ours.Public with
              | ValueSome(struct (share, secret)) ->
                  Expect.hasLength share 1120 "the server's share"
                  Expect.hasLength secret 64 "the secret"
                  Expect.equal (ours.Secret(ReadOnlySpan share)) (ValueSome secret) "the same"
              | ValueNone -> failtest "an answer")

          testCase "the same seeds make the same shares, others others" (fun () ->
              let share n =
                  use made = ciphers.Agree(NamedGroup.X25519MLKEM768, ReadOnlySpan(seed n))
                  made.Public

              Expect.equal (share 1) (share 1) "the same"
              Expect.notEqual (Array.take 1184 (share 1)) (Array.take 1184 (share 2)) "another key of ML-KEM"
              Expect.notEqual (Array.skip 1184 (share 1)) (Array.skip 1184 (share 2)) "another of X25519"
              Expect.equal (answer (seed 3) (share 1)) (answer (seed 3) (share 1)) "the same answer")

          testCase "the secret is ML-KEM's and then X25519's: half a share of another peer changes that half" (fun () ->
              use ours = ciphers.Agree(NamedGroup.X25519MLKEM768, ReadOnlySpan(seed 1))

              match answer (seed 2) ours.Public, answer (seed 3) ours.Public with
              | ValueSome(struct (a, secretA)), ValueSome(struct (b, secretB)) ->
                  let mixed = Array.append a[..1087] b[1088..]

                  Expect.equal
                      (ours.Secret(ReadOnlySpan mixed))
                      (ValueSome(Array.append secretA[..31] secretB[32..]))
                      "a half of each"
              | _ -> failtest "answers")

          testCase
              "shares that cannot be are refused: sizes, numbers beyond the modulus, points of small order"
              (fun () ->
                  use ours = ciphers.Agree(NamedGroup.X25519MLKEM768, ReadOnlySpan(seed 1))
                  let share = ours.Public

                  for size in [ 0; 32; 1184; 1215 ] do
                      Expect.equal (answer (seed 2) share[.. size - 1]) ValueNone $"{size} octets"

                  Expect.equal (answer (seed 2) (Array.append share [| 0uy |])) ValueNone "1,217 octets"

                  // FIPS 203 §7.2: 3,329 and more is no number of a key.
                  for at in [ 0; 1149 ] do
                      let changed = Array.copy share
                      changed[at] <- 0x01uy
                      changed[at + 1] <- changed[at + 1] &&& 0xf0uy ||| 0x0duy
                      Expect.equal (answer (seed 2) changed) ValueNone $"3,329 at {at}"

                  let small = Array.append share[..1183] (Array.zeroCreate 32)
                  Expect.equal (answer (seed 2) small) ValueNone "a point of small order"
                  Expect.equal (ours.Secret(ReadOnlySpan(Array.zeroCreate<byte> 1119))) ValueNone "a short answer"

                  Expect.equal
                      (ours.Secret(ReadOnlySpan(Array.zeroCreate<byte> 1120)))
                      ValueNone
                      "an answer of small order")

          testCase "Answer does with the other groups what both sides do" (fun () ->
              for group in [ NamedGroup.X25519; NamedGroup.Secp256r1; NamedGroup.Secp384r1 ] do
                  use ours = ciphers.Agree(group, ReadOnlySpan(seed 1))

                  match ciphers.Answer(group, ReadOnlySpan(seed 2), ReadOnlySpan ours.Public) with
                  | ValueSome(struct (share, secret)) ->
                      Expect.equal (ours.Secret(ReadOnlySpan share)) (ValueSome secret) $"{group}"
                  | ValueNone -> failtest $"{group}") ]
