/// The crypto capability against the vectors of its standards, and the platform against BouncyCastle.
module Hybrid.WebRtc.PropertyTests.CiphersTests

open System
open System.Security.Cryptography
open System.Text
open Expecto
open Org.BouncyCastle.Crypto.Signers
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", "").Replace(":", "").Replace("\n", ""))

let private ciphers: ICiphers = SystemCiphers.Shared

/// Seals and compares with the vector, then opens what was sealed, then a tampered copy of it.
let private aeadVector name (key: IAeadKey) (nonce: string) (associated: string) (plain: string) (text: string) tag =
    testCase name (fun () ->
        use key = key
        let nonce, associated, plain = hex nonce, hex associated, hex plain
        let made = Array.copy plain
        let madeTag: byte[] = Array.zeroCreate 16
        key.Seal(nonce, associated, made, madeTag)
        Expect.sequenceEqual made (hex text) "ciphertext"
        Expect.sequenceEqual madeTag (hex tag) "tag"

        Expect.isTrue (key.Open(nonce, associated, made, madeTag)) "opens"
        Expect.sequenceEqual made plain "plaintext"

        for at in [ 0; 15 ] do
            let forged = Array.copy madeTag
            forged[at] <- forged[at] ^^^ 1uy
            Expect.isFalse (key.Open(nonce, associated, hex text, forged)) "a forged tag"

        let forged = hex text
        forged[0] <- forged[0] ^^^ 1uy
        Expect.isFalse (key.Open(nonce, associated, forged, madeTag)) "a forged text")

let private gcmPlain =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"

let private chaCha make =
    aeadVector
        ("ChaCha20-Poly1305 is RFC 8439 §2.8.2's, " + fst make)
        (snd make)
        "070000004041424344454647"
        "50515253c0c1c2c3c4c5c6c7"
        ("4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a2049662049"
         + "20636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c20"
         + "73756e73637265656e20776f756c642062652069742e")
        ("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
         + "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
         + "3ff4def08e4b7a9de576d26586cec64b6116")
        "1ae10b594f09e26a7e902ecbd0600691"

let private chaChaKey = Array.init 32 (fun i -> byte (0x80 + i))

let private keyed algorithm (key: string) = ciphers.Aead(algorithm, hex key)

/// A signing key of the private scalar.
let private ecdsa (scalar: string) =
    use key =
        ECDsa.Create(ECParameters(Curve = ECCurve.NamedCurves.nistP256, D = hex scalar))

    EcdsaSigningKey key :> ISigningKey

let private seed n =
    let struct (drawn, _) = Entropy.bytes 64 (Entropy.ofNumber n)
    drawn

let private groups =
    [ NamedGroup.X25519; NamedGroup.Secp256r1; NamedGroup.Secp384r1 ]

let private secret (share: IKeyShare) (peer: byte[]) = share.Secret(ReadOnlySpan peer)

let private agreement =
    testList
        "key agreement"
        [ testCase "X25519 is RFC 7748 §6.1's" (fun () ->
              let padded (key: string) =
                  Array.append (hex key) (Array.zeroCreate 32)

              use alice =
                  ciphers.Agree(
                      NamedGroup.X25519,
                      padded "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
                  )

              use bob =
                  ciphers.Agree(
                      NamedGroup.X25519,
                      padded "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
                  )

              Expect.sequenceEqual
                  alice.Public
                  (hex "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
                  "Alice's public key"

              let expected =
                  ValueSome(hex "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

              Expect.equal (secret alice bob.Public) expected "K"
              Expect.equal (secret bob alice.Public) expected "K")

          for group in groups do
              testCase (string group + ": two shares agree, and a seed makes one key") (fun () ->
                  for n in 1L .. 8L do
                      use mine = ciphers.Agree(group, seed n)
                      use again = ciphers.Agree(group, seed n)
                      use other = ciphers.Agree(group, seed (n + 100L))
                      Expect.equal mine.Public again.Public "the same seed, the same key"
                      Expect.notEqual mine.Public other.Public "another seed, another key"
                      let shared = secret mine other.Public
                      Expect.isTrue shared.IsSome "agreed"
                      Expect.equal shared (secret other mine.Public) "both ways")

              testCase (string group + ": malformed shares are refused") (fun () ->
                  use mine = ciphers.Agree(group, seed 1L)
                  let good = mine.Public

                  for bad in
                      [ [||]
                        good[1..]
                        Array.append good [| 0uy |]
                        Array.zeroCreate good.Length
                        // The compressed form, and a point at infinity.
                        Array.append [| 2uy |] good[1 .. good.Length / 2]
                        [| 0uy |] ] do
                      Expect.equal (secret mine bad) ValueNone "refused")

          testCase "a point off the curve is refused, RFC 8422 §5.11" (fun () ->
              for group in [ NamedGroup.Secp256r1; NamedGroup.Secp384r1 ] do
                  use mine = ciphers.Agree(group, seed 1L)
                  let bad = Array.copy mine.Public
                  bad[bad.Length - 1] <- bad[bad.Length - 1] ^^^ 1uy
                  Expect.equal (secret mine bad) ValueNone "off the curve"

                  Expect.equal
                      (secret mine (Array.append [| 4uy |] (Array.create (bad.Length - 1) 0xffuy)))
                      ValueNone
                      "≥ p")

          testCase "ECDH is the platform's" (fun () ->
              for group, curve in
                  [ NamedGroup.Secp256r1, ECCurve.NamedCurves.nistP256
                    NamedGroup.Secp384r1, ECCurve.NamedCurves.nistP384 ] do
                  use mine = ciphers.Agree(group, seed 5L)
                  use theirs = ECDiffieHellman.Create curve
                  let size = (mine.Public.Length - 1) / 2
                  let point = ECPoint(X = mine.Public[1..size], Y = mine.Public[size + 1 ..])
                  use imported = ECDiffieHellman.Create(ECParameters(Curve = curve, Q = point))
                  let q = theirs.ExportParameters(false).Q
                  let peer = Array.concat [ [| 4uy |]; nonNull q.X; nonNull q.Y ]

                  Expect.equal
                      (secret mine peer)
                      (ValueSome(theirs.DeriveRawSecretAgreement imported.PublicKey))
                      "the same secret") ]

let private signatures =
    testList
        "signatures"
        [ testCase "ECDSA P-256 with SHA-256 is RFC 6979 §A.2.5's" (fun () ->
              let key = ecdsa "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"

              for message, r, s in
                  [ "sample",
                    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
                    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
                    "test",
                    "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
                    "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083" ] do
                  let signature =
                      key.Sign(SignatureScheme.EcdsaSecp256r1Sha256, ReadOnlySpan(Encoding.ASCII.GetBytes message))

                  let order =
                      Org.BouncyCastle.Math.BigInteger(
                          1,
                          hex "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"
                      )

                  let decoded = StandardDsaEncoding.Instance.Decode(order, signature)
                  Expect.equal (decoded[0].ToString(16).PadLeft(64, '0').ToUpperInvariant()) r "r"
                  Expect.equal (decoded[1].ToString(16).PadLeft(64, '0').ToUpperInvariant()) s "s")

          for kind in [ CertificateKind.EcdsaP256; CertificateKind.Rsa2048 ] do
              testCase
                  (string kind
                   + ": what is signed verifies, deterministically; what is changed does not")
                  (fun () ->
                      let certificate = Certificate.Create kind
                      let data = Encoding.ASCII.GetBytes "a handshake"

                      for scheme in certificate.Key.Schemes do
                          let signature = certificate.Key.Sign(scheme, ReadOnlySpan data)

                          // RSA-PSS draws a salt.
                          if not ((string scheme).Contains "Pss") then
                              Expect.equal (certificate.Key.Sign(scheme, ReadOnlySpan data)) signature "deterministic"

                          let verify (der: byte[]) scheme (data: byte[]) (signature: byte[]) =
                              ciphers.Verify(ReadOnlySpan der, scheme, ReadOnlySpan data, ReadOnlySpan signature)

                          Expect.isTrue (verify certificate.Der scheme data signature) "verifies"
                          Expect.isFalse (verify certificate.Der scheme (Array.append data [| 0uy |]) signature) "data"
                          Expect.isFalse (verify certificate.Der scheme data (Array.rev signature)) "signature"
                          Expect.isFalse (verify certificate.Der scheme data [||]) "no signature"

                          Expect.isFalse
                              (verify (Certificate.Create kind).Der scheme data signature)
                              "another certificate"

                          Expect.isFalse (verify [||] scheme data signature) "no certificate"

                          for other in Enum.GetValues<SignatureScheme>() do
                              if other <> scheme then
                                  Expect.isFalse (verify certificate.Der other data signature) "another scheme")

          testCase "RSA-PSS of the platform verifies" (fun () ->
              use rsa = RSA.Create 2048

              let request =
                  X509Certificates.CertificateRequest("CN=x", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pss)

              use x509 =
                  request.CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays 1.0)

              let signature =
                  rsa.SignData([| 1uy |], HashAlgorithmName.SHA384, RSASignaturePadding.Pss)

              Expect.isTrue
                  (ciphers.Verify(x509.RawData, SignatureScheme.RsaPssRsaeSha384, [| 1uy |], signature))
                  "verifies")

          testCase "an RSA key below 2048 bits is refused, RFC 9325 §4.5" (fun () ->
              use rsa = RSA.Create 1024

              let request =
                  X509Certificates.CertificateRequest("CN=x", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)

              use x509 =
                  request.CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays 1.0)

              let signature =
                  rsa.SignData([| 1uy |], HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)

              Expect.isFalse
                  (ciphers.Verify(x509.RawData, SignatureScheme.RsaPkcs1Sha256, [| 1uy |], signature))
                  "refused")

          testCase "what is no certificate to the last octet verifies nothing" (fun () ->
              let certificate = Certificate.Create()
              let scheme = SignatureScheme.EcdsaSecp256r1Sha256
              let signature = certificate.Key.Sign(scheme, [| 1uy |])

              let verifies (der: byte[]) =
                  ciphers.Verify(ReadOnlySpan der, scheme, ReadOnlySpan [| 1uy |], ReadOnlySpan signature)

              Expect.isTrue (verifies certificate.Der) "the certificate"
              Expect.isFalse (verifies (Array.append certificate.Der [| 0uy |])) "one octet more"
              Expect.isFalse (verifies certificate.Der[.. certificate.Der.Length - 2]) "one octet less")

          Laws.mutated "verify never throws, whatever the certificate" [ (Certificate.Create()).Der ] (fun der ->
              ciphers.Verify(
                  ReadOnlySpan der,
                  SignatureScheme.EcdsaSecp256r1Sha256,
                  ReadOnlySpan [| 1uy |],
                  ReadOnlySpan [| 0x30uy; 0uy |]
              )
              |> ignore) ]

let private certificates =
    testList
        "certificates"
        [ for kind in [ CertificateKind.EcdsaP256; CertificateKind.Rsa2048 ] do
              testCase (string kind + ": PEM out and in is the same certificate and key") (fun () ->
                  let made = Certificate.Create kind
                  let read = Certificate.FromPem(made.ToPem())
                  Expect.equal read.Der made.Der "DER"
                  Expect.equal read.NotAfter made.NotAfter "expiry"
                  let scheme = made.Key.Schemes[0]
                  Expect.equal (read.Key.Sign(scheme, [| 1uy |])) (made.Key.Sign(scheme, [| 1uy |])) "the same key")

          testCase "it lives for 30 days, has a serial of its own, and an X.509 v3 that anyone can read" (fun () ->
              let a, b = Certificate.Create(), Certificate.Create()
              use x509 = X509Certificates.X509CertificateLoader.LoadCertificate a.Der
              use other = X509Certificates.X509CertificateLoader.LoadCertificate b.Der
              Expect.equal x509.Version 3 "v3"
              Expect.equal x509.Subject "CN=WebRTC" "subject"
              Expect.notEqual x509.SerialNumber other.SerialNumber "serial"
              let days = (a.NotAfter - DateTimeOffset.UtcNow).TotalDays
              Expect.isTrue (days > 29.9 && days <= 30.0) "30 days"
              Expect.isLessThan a.Der.Length 400 "the curve is named, not spelt out")

          testCase "fingerprints print as SDP has them" (fun () ->
              let certificate = Certificate.Create()
              let print = certificate.Fingerprint()
              Expect.equal print.Length 95 "32 pairs and 31 colons"
              Expect.equal (hex print) (SHA256.HashData certificate.Der) "the hash"
              Expect.equal print (print.ToUpperInvariant()) "upper case"
              Expect.equal (certificate.Fingerprint("sha-512").Length) 191 "sha-512")

          testCase "the process has one default" (fun () ->
              Expect.isTrue (obj.ReferenceEquals(Certificate.Default, Certificate.Default)) "the same") ]

let tests =
    testList
        "Ciphers"
        [ aeadVector
              "AES-128-GCM is NIST's (McGrew and Viega, case 4)"
              (keyed AeadAlgorithm.Aes128Gcm "feffe9928665731c6d6a8f9467308308")
              "cafebabefacedbaddecaf888"
              "feedfacedeadbeeffeedfacedeadbeefabaddad2"
              gcmPlain
              ("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
               + "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091")
              "5bc94fbc3221a5db94fae95ae7121a47"
          aeadVector
              "AES-256-GCM is NIST's (McGrew and Viega, case 16)"
              (keyed AeadAlgorithm.Aes256Gcm "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
              "cafebabefacedbaddecaf888"
              "feedfacedeadbeeffeedfacedeadbeefabaddad2"
              gcmPlain
              ("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
               + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662")
              "76fc6ece0f4e1768cddf8853bb2d551b"
          chaCha ("of the platform", ciphers.Aead(AeadAlgorithm.ChaCha20Poly1305, ReadOnlySpan chaChaKey))
          chaCha ("managed", new ManagedChaCha20Poly1305Key(ReadOnlySpan chaChaKey))

          testCase "HMAC is RFC 4231's and RFC 2202's" (fun () ->
              let key = Encoding.ASCII.GetBytes "Jefe"
              let data = Encoding.ASCII.GetBytes "what do ya want for nothing?"

              for algorithm, expected in
                  [ HashAlgorithm.Md5, "750c783e6ab0b503eaa86e310a5db738"
                    HashAlgorithm.Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
                    HashAlgorithm.Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
                    HashAlgorithm.Sha384,
                    "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
                    HashAlgorithm.Sha512,
                    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                    + "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" ] do
                  Expect.sequenceEqual
                      (Ciphers.hmac ciphers algorithm (ReadOnlySpan key) (ReadOnlySpan data))
                      (hex expected)
                      (string algorithm))

          testCase "hashes are FIPS 180-4's of abc" (fun () ->
              for algorithm, expected in
                  [ HashAlgorithm.Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"
                    HashAlgorithm.Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
                    HashAlgorithm.Md5, "900150983cd24fb0d6963f7d28e17f72" ] do
                  Expect.sequenceEqual
                      (Ciphers.hash ciphers algorithm (ReadOnlySpan(Encoding.ASCII.GetBytes "abc")))
                      (hex expected)
                      (string algorithm))

          testCase "a packet sealed and opened allocates nothing" (fun () ->
              let nonce: byte[] = Array.zeroCreate 12
              let text: byte[] = Array.zeroCreate 1200
              let tag: byte[] = Array.zeroCreate 16

              for algorithm, size in
                  [ AeadAlgorithm.Aes128Gcm, 16
                    AeadAlgorithm.Aes256Gcm, 32
                    AeadAlgorithm.ChaCha20Poly1305, 32 ] do
                  use key = ciphers.Aead(algorithm, ReadOnlySpan(Array.zeroCreate<byte> size))

                  let run () =
                      let mutable opened = 0

                      for _ in 1..100 do
                          key.Seal(nonce, nonce, text, tag)

                          if key.Open(nonce, nonce, text, tag) then
                              opened <- opened + 1

                      opened

                  let warm = run ()
                  let before = GC.GetAllocatedBytesForCurrentThread()
                  let opened = run ()
                  let allocated = GC.GetAllocatedBytesForCurrentThread() - before
                  Expect.equal opened warm "opened"
                  Expect.isLessThan allocated 100L (string algorithm))

          agreement
          signatures
          certificates ]
