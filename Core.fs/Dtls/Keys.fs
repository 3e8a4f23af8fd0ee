namespace Hybrid.WebRtc.Core

/// The master keys and salts of SRTP, RFC 5764 §4.2: what the client writes with, and what the server writes with.
[<NoComparison>]
type SrtpKeys =
    { ClientKey: byte[]
      ServerKey: byte[]
      ClientSalt: byte[]
      ServerSalt: byte[] }

namespace Hybrid.WebRtc.Core.Tls

open System
open System.Text
open Hybrid.WebRtc.Core

/// What a cipher suite stands for.
[<NoComparison; NoEquality>]
type internal Suite =
    {
        Id: CipherSuite
        /// As IANA registers it.
        Name: string
        /// Whether the server signs with RSA, else with ECDSA.
        Rsa: bool
        Aead: AeadAlgorithm
        KeySize: int
        /// Octets of write_IV, RFC 5288 §3 and RFC 7905 §2.
        IvSize: int
        /// Of the PRF and the transcript.
        Hash: HashAlgorithm
    }

[<RequireQualifiedAccess>]
module internal Suite =
    let private create id name rsa aead hash =
        let gcm = aead <> AeadAlgorithm.ChaCha20Poly1305

        { Id = id
          Name = name
          Rsa = rsa
          Aead = aead
          KeySize = (if aead = AeadAlgorithm.Aes128Gcm then 16 else 32)
          IvSize = (if gcm then 4 else 12)
          Hash = hash }

    let private all =
        [| create
               CipherSuite.EcdheEcdsaAes128GcmSha256
               "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
               false
               AeadAlgorithm.Aes128Gcm
               HashAlgorithm.Sha256
           create
               CipherSuite.EcdheEcdsaAes256GcmSha384
               "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
               false
               AeadAlgorithm.Aes256Gcm
               HashAlgorithm.Sha384
           create
               CipherSuite.EcdheEcdsaChaCha20Poly1305Sha256
               "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
               false
               AeadAlgorithm.ChaCha20Poly1305
               HashAlgorithm.Sha256
           create
               CipherSuite.EcdheRsaAes128GcmSha256
               "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
               true
               AeadAlgorithm.Aes128Gcm
               HashAlgorithm.Sha256
           create
               CipherSuite.EcdheRsaAes256GcmSha384
               "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
               true
               AeadAlgorithm.Aes256Gcm
               HashAlgorithm.Sha384
           create
               CipherSuite.EcdheRsaChaCha20Poly1305Sha256
               "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
               true
               AeadAlgorithm.ChaCha20Poly1305
               HashAlgorithm.Sha256 |]

    /// ValueNone for a suite that is not ours.
    let ofId (id: CipherSuite) : Suite voption =
        match Array.tryFind (fun suite -> suite.Id = id) all with
        | Some suite -> ValueSome suite
        | None -> ValueNone

/// A connection's secret and what is derived from it with it.
[<NoComparison; NoEquality>]
type internal Secrets =
    { Suite: Suite
      Master: byte[]
      ClientRandom: byte[]
      ServerRandom: byte[] }

[<RequireQualifiedAccess>]
module internal Keys =
    /// Octets of the master secret, RFC 5246 §8.1.
    [<Literal>]
    let private MasterSize = 48

    /// verify_data, RFC 5246 §7.4.9.
    [<Literal>]
    let private FinishedSize = 12

    /// PRF(secret, label, seed), RFC 5246 §5.
    let prf (ciphers: ICiphers) hash (secret: byte[]) (label: string) (seed: byte[]) (length: int) : byte[] =
        let seed = Array.append (Encoding.ASCII.GetBytes label) seed

        let hmac (data: byte[]) =
            Ciphers.hmac ciphers hash (ReadOnlySpan secret) (ReadOnlySpan data)

        let into = Array.zeroCreate length
        let mutable a = hmac seed
        let mutable filled = 0

        while filled < length do
            let block = hmac (Array.append a seed)
            let n = min block.Length (length - filled)
            Array.blit block 0 into filled n
            filled <- filled + n
            a <- hmac a

        into

    /// The extended master secret, RFC 7627 §4. `transcript` reaches up to and including ClientKeyExchange.
    let master (ciphers: ICiphers) (suite: Suite) (premaster: byte[]) (transcript: byte[]) : byte[] =
        let session = Ciphers.hash ciphers suite.Hash (ReadOnlySpan transcript)
        prf ciphers suite.Hash premaster "extended master secret" session MasterSize

    let private derive ciphers (secrets: Secrets) label seed length =
        prf ciphers secrets.Suite.Hash secrets.Master label seed length

    /// What the client and what the server writes with, RFC 5246 §6.3. AEAD has no MAC keys.
    let protections (ciphers: ICiphers) (secrets: Secrets) : struct (Protection * Protection) =
        let suite = secrets.Suite
        let seed = Array.append secrets.ServerRandom secrets.ClientRandom

        let block =
            derive ciphers secrets "key expansion" seed (2 * (suite.KeySize + suite.IvSize))

        let protection side =
            let iv = Array.zeroCreate 12
            Array.blit block (2 * suite.KeySize + side * suite.IvSize) iv 0 suite.IvSize

            { Key = ciphers.Aead(suite.Aead, ReadOnlySpan(block, side * suite.KeySize, suite.KeySize))
              Iv = iv
              ExplicitNonce = 12 - suite.IvSize }

        struct (protection 0, protection 1)

    /// The verify_data of a Finished, RFC 5246 §7.4.9. `transcript` is all before it.
    let verifyData (ciphers: ICiphers) (secrets: Secrets) (ofClient: bool) (transcript: byte[]) : byte[] =
        let label = if ofClient then "client finished" else "server finished"
        let hash = Ciphers.hash ciphers secrets.Suite.Hash (ReadOnlySpan transcript)
        derive ciphers secrets label hash FinishedSize

    /// Keying material without a context, RFC 5705 §4.
    let export (ciphers: ICiphers) (secrets: Secrets) (label: string) (length: int) : byte[] =
        derive ciphers secrets label (Array.append secrets.ClientRandom secrets.ServerRandom) length

    /// Octets of a profile's master key and master salt, RFC 5764 §4.1.2 and RFC 7714 §12.
    let private srtpSizes (profile: SrtpProfile) =
        match profile with
        | SrtpProfile.AeadAes256Gcm -> struct (32, 12)
        | SrtpProfile.AeadAes128Gcm -> struct (16, 12)
        | _ -> struct (16, 14)

    /// RFC 5764 §4.2.
    let srtp (ciphers: ICiphers) (secrets: Secrets) (profile: SrtpProfile) : SrtpKeys =
        let struct (key, salt) = srtpSizes profile
        let exported = export ciphers secrets "EXTRACTOR-dtls_srtp" (2 * (key + salt))

        { ClientKey = Array.sub exported 0 key
          ServerKey = Array.sub exported key key
          ClientSalt = Array.sub exported (2 * key) salt
          ServerSalt = Array.sub exported (2 * key + salt) salt }
