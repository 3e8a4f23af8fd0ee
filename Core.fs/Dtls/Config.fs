namespace Hybrid.WebRtc.Core

/// Which end of the handshake; `a=setup` decides (RFC 8842): `active` is the client.
[<RequireQualifiedAccess>]
type DtlsRole =
    | Client
    | Server

/// When a flight is said again, and when the handshake is given up.
[<NoComparison>]
type DtlsTiming =
    {
        /// Until the first retransmission of a flight. Default 100 ms: RFC 6347 §4.2.4.1 has 1 s for a path that nobody
        /// knows, but ICE has just exchanged packets over this one. Browsers take 50 to 80 ms.
        First: Duration
        /// It doubles up to this. Default 1 s, not the RFC's 60: three packets a second are less than ICE's own checks.
        Most: Duration
        /// From `Start` on. Default 60 s.
        GiveUp: Duration
    }

/// What a DTLS end is set up with.
[<NoComparison; NoEquality>]
type DtlsConfig =
    {
        Ciphers: ICiphers
        /// Our certificate, X.509 DER.
        Certificate: byte[]
        /// Those that lead from it to an authority, DER, where anyone verifies the chain. Default none.
        Intermediates: byte[][]
        /// Its private key.
        Key: ISigningKey
        /// The oldest version that is spoken.
        MinVersion: DtlsVersion
        /// The newest, which is preferred.
        MaxVersion: DtlsVersion
        /// Of both versions, best first. As a server of 1.2, those that fit the kind of `Key` count.
        Suites: CipherSuite[]
        /// Best first.
        Groups: NamedGroup[]
        /// Best first; empty where there is no media.
        SrtpProfiles: SrtpProfile[]
        /// The largest datagram of the handshake, UDP payload.
        Mtu: int
        Timing: DtlsTiming
        /// Whether a server of 1.3 has the client prove that it hears us, by a cookie, before it answers, RFC 9147 §5.1. It costs a
        /// round trip. Default no: ICE has proved it.
        Cookie: bool
        /// Records after which the keys that we write with are renewed in 1.3, RFC 9147 §8. Default 2²³, a third of what AES-GCM
        /// may seal with one key (§4.5.3).
        RekeyAfter: uint64
        /// Whether the master secret is put out for a key log. Never in production.
        KeyLog: bool
    }

/// Set-ups.
[<RequireQualifiedAccess>]
module DtlsConfig =
    /// A key that signs nothing.
    let private noKey =
        { new ISigningKey with
            member _.Schemes = [||]
            member _.Sign(_, _) = [||] }

    /// AES-GCM, then what every peer has.
    let internal srtpProfiles: SrtpProfile[] =
        [| SrtpProfile.AeadAes256Gcm
           SrtpProfile.AeadAes128Gcm
           SrtpProfile.Aes128CmHmacSha1_80
           // Firefox offers it; nobody has to choose it.
           SrtpProfile.Aes128CmHmacSha1_32 |]

    /// The defaults, for a certificate and its key.
    [<CompiledName("Create")>]
    let create (ciphers: ICiphers) (certificate: byte[]) (key: ISigningKey) : DtlsConfig =
        { Ciphers = ciphers
          Certificate = certificate
          Intermediates = [||]
          Key = key
          MinVersion = DtlsVersion.Dtls12
          MaxVersion = DtlsVersion.Dtls13
          Suites =
            [| CipherSuite.Aes128GcmSha256
               CipherSuite.Aes256GcmSha384
               CipherSuite.ChaCha20Poly1305Sha256
               CipherSuite.EcdheEcdsaAes128GcmSha256
               CipherSuite.EcdheRsaAes128GcmSha256
               CipherSuite.EcdheEcdsaChaCha20Poly1305Sha256
               CipherSuite.EcdheRsaChaCha20Poly1305Sha256
               CipherSuite.EcdheEcdsaAes256GcmSha384
               CipherSuite.EcdheRsaAes256GcmSha384 |]
          Groups =
            [| NamedGroup.X25519MLKEM768
               NamedGroup.X25519
               NamedGroup.Secp256r1
               NamedGroup.Secp384r1 |]
          SrtpProfiles = srtpProfiles
          Mtu = 1200
          Timing =
            { First = Duration.milliseconds 100L
              Most = Duration.seconds 1L
              GiveUp = Duration.seconds 60L }
          Cookie = false
          RekeyAfter = 1UL <<< 23
          KeyLog = false }

    /// A client's that shows no certificate.
    let internal anonymous (ciphers: ICiphers) : DtlsConfig =
        { create ciphers [||] noKey with
            SrtpProfiles = [||] }

/// What a finished handshake has agreed on. It holds no secret but SRTP's keys.
[<NoComparison>]
type DtlsConnected =
    {
        Role: DtlsRole
        /// `DTLS 1.2` or `DTLS 1.3`.
        Version: string
        Suite: CipherSuite
        /// As IANA registers it.
        SuiteName: string
        Group: NamedGroup
        /// ValueNone where the ends have none in common, or none was offered.
        SrtpProfile: SrtpProfile voption
        /// Present where `SrtpProfile` is.
        SrtpKeys: SrtpKeys voption
        /// The peer's, DER, the leaf first; it fits a fingerprint, or is still to be verified. Empty of a client that was not asked.
        RemoteCertificates: byte[][]
    }
