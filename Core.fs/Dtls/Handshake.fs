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

namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core

/// Whom the peer's certificate must prove to be.
[<RequireQualifiedAccess; NoComparison>]
type internal Trust =
    /// Each end shows one, and the peer's fits one of these, RFC 5763 §5.
    | Fingerprints of Fingerprint[]
    /// As on the web: only the server shows one, and whoever began looks at its chain afterwards. `ServerName` is whom a client
    /// asks for, RFC 6066 §3; empty where it has no name, and of a server.
    | Chain of ServerName: string

/// What one end brings into a handshake. All randomness is drawn before it starts, so that no stream is threaded through it.
[<NoComparison; NoEquality>]
type internal Party =
    {
        Config: DtlsConfig
        Role: DtlsRole
        Trust: Trust
        /// 32 octets for our hello.
        Random: byte[]
        /// 64 octets of which our ephemeral key is made.
        Seed: byte[]
    }

/// Shares of ours in key agreements, with their groups.
type internal Shares = (struct (NamedGroup * IKeyShare))[]

/// Why a handshake ends, and the alert that says so.
[<NoComparison; NoEquality>]
type internal Refusal =
    { Alert: byte
      Detail: ErrorDetail
      Reason: string }

[<RequireQualifiedAccess>]
module internal Refusal =
    let create alert reason : Refusal =
        { Alert = alert
          Detail = ErrorDetail.DtlsFailure
          Reason = reason }

    let unexpected (message: Message) : Result<'a, Refusal> =
        Error(create Alert.UnexpectedMessage ("handshake message " + string (byte message.Type) + " out of turn"))

    let malformed (name: string) : Refusal =
        create Alert.DecodeError ("malformed " + name)

/// What a handshake asks of the record layer, in order: changes of keys and messages are in one list.
[<NoComparison; NoEquality>]
type internal Demand =
    /// The keys of the peer's epoch 1.
    | ReadWith of Protection
    /// The keys of our epoch 1; `Say` uses them from ChangeCipherSpec on.
    | WriteWith of Protection
    /// The next flight: it answers the message in hand.
    | Say of Item list
    | LogKey of clientRandom: byte[] * master: byte[]
    | Done of DtlsConnected

/// The messages of a handshake so far, RFC 5246 §7.4.9, and the numbers of ours.
[<NoComparison; NoEquality>]
type internal Transcript =
    private
        {
            /// message_seq of our next message.
            Next: int
            /// Newest first.
            Messages: byte[] list
        }

[<RequireQualifiedAccess>]
module internal Transcript =
    /// None said, none heard. `next` is the number of our first message.
    let start (next: int) : Transcript = { Next = next; Messages = [] }

    let bytes (transcript: Transcript) : byte[] =
        Array.concat (List.rev transcript.Messages)

    /// The peer's message.
    let hear (message: Message) (transcript: Transcript) : Transcript =
        { transcript with
            Messages = Message.encode message :: transcript.Messages }

    /// Our next message, numbered.
    let say (kind: MessageType) (body: byte[]) (transcript: Transcript) : struct (Message * Transcript) =
        let message: Message =
            { Type = kind
              Sequence = transcript.Next
              Body = body }

        struct (message,
                { Next = transcript.Next + 1
                  Messages = Message.encode message :: transcript.Messages })

    /// Several, in order.
    let sayAll (messages: (MessageType * byte[]) list) (transcript: Transcript) : struct (Item list * Transcript) =
        let mutable transcript = transcript

        let items =
            messages
            |> List.map (fun (kind, body) ->
                let struct (message, next) = say kind body transcript
                transcript <- next
                Whole message)

        struct (items, transcript)

/// What the hellos have settled.
[<NoComparison; NoEquality>]
type internal Terms =
    { Suite: Suite
      PeerRandom: byte[]
      Profile: SrtpProfile voption }

/// Signature schemes.
[<RequireQualifiedAccess>]
module internal Scheme =
    /// Those whose signatures we take, best first. SHA-1 is not among them, RFC 9155.
    let accepted: SignatureScheme[] =
        [| SignatureScheme.EcdsaSecp256r1Sha256
           SignatureScheme.RsaPssRsaeSha256
           SignatureScheme.RsaPkcs1Sha256
           SignatureScheme.EcdsaSecp384r1Sha384
           SignatureScheme.RsaPssRsaeSha384
           SignatureScheme.RsaPkcs1Sha384
           SignatureScheme.RsaPssRsaeSha512
           SignatureScheme.RsaPkcs1Sha512 |]

    let ids: uint16[] = accepted |> Array.map uint16

    /// Whether messages of 1.3 may be signed with it: PKCS #1's are not, RFC 8446 §4.2.3.
    let private isOf13 (scheme: SignatureScheme) =
        match scheme with
        | SignatureScheme.RsaPkcs1Sha256
        | SignatureScheme.RsaPkcs1Sha384
        | SignatureScheme.RsaPkcs1Sha512 -> false
        | _ -> true

    /// Those of 1.3.
    let ids13: uint16[] = accepted |> Array.filter isOf13 |> Array.map uint16

    /// Whether it signs with RSA, else with ECDSA.
    let isRsa (scheme: SignatureScheme) : bool =
        match scheme with
        | SignatureScheme.EcdsaSecp256r1Sha256
        | SignatureScheme.EcdsaSecp384r1Sha384 -> false
        | _ -> true

    let private first (ours: SignatureScheme[]) (offered: uint16[]) : SignatureScheme voption =
        match ours |> Array.tryFind (fun scheme -> Array.contains (uint16 scheme) offered) with
        | Some scheme -> ValueSome scheme
        | None -> ValueNone

    /// The first of our key's that the peer takes.
    let choose (key: ISigningKey) (offered: uint16[]) : SignatureScheme voption = first key.Schemes offered

    /// The same in 1.3, where ECDSA's scheme is that of its curve (RFC 8446 §4.2.3), which is the key's best.
    let choose13 (key: ISigningKey) (offered: uint16[]) : SignatureScheme voption =
        match Array.tryHead key.Schemes with
        | Some best when not (isRsa best) -> first [| best |] offered
        | _ -> first (Array.filter isOf13 key.Schemes) offered

/// What both ends of a handshake check and derive in the same way.
[<RequireQualifiedAccess>]
module internal Handshake =
    /// The first of ours that is among theirs.
    let firstCommon (ours: 'a[]) (theirs: uint16[]) (code: 'a -> uint16) : 'a voption =
        match ours |> Array.tryFind (fun one -> Array.contains (code one) theirs) with
        | Some one -> ValueSome one
        | None -> ValueNone

    /// Whether a server has the client show a certificate.
    let asksForCertificate (party: Party) : bool =
        match party.Trust with
        | Trust.Fingerprints _ -> true
        | Trust.Chain _ -> false

    /// Certificates in a chain; only the leaf is looked at, RFC 8122 §6.
    [<Literal>]
    let private MaxChain = 10

    /// The hashes that a fingerprint may have. SHA-1 and MD5 are broken for this, RFC 8122 §5.
    let private hashOf (algorithm: string) : HashAlgorithm voption =
        match algorithm.ToLowerInvariant() with
        | "sha-256" -> ValueSome HashAlgorithm.Sha256
        | "sha-384" -> ValueSome HashAlgorithm.Sha384
        | "sha-512" -> ValueSome HashAlgorithm.Sha512
        | _ -> ValueNone

    let private fits (ciphers: ICiphers) (der: byte[]) (fingerprint: Fingerprint) =
        match hashOf fingerprint.Algorithm with
        | ValueSome algorithm ->
            Ciphers.equal
                (ReadOnlySpan(Ciphers.hash ciphers algorithm (ReadOnlySpan der)))
                (ReadOnlySpan fingerprint.Value)
        | ValueNone -> false

    let private isTrusted (party: Party) (leaf: byte[]) =
        match party.Trust with
        | Trust.Fingerprints fingerprints -> Array.exists (fits party.Config.Ciphers leaf) fingerprints
        // That its key is the server's is proved here; whose it is, is for others to say.
        | Trust.Chain _ -> true

    /// The peer's chain, whose leaf fits a fingerprint of signalling, RFC 5763 §5, RFC 8122 §6. ValueNone is one that cannot be read.
    let authenticate (party: Party) (chain: byte[][] voption) : Result<byte[][], Refusal> =
        let refuse reason : Result<byte[][], Refusal> =
            Error
                { Alert = Alert.BadCertificate
                  Detail = ErrorDetail.FingerprintFailure
                  Reason = reason }

        match chain with
        | ValueNone -> Error(Refusal.malformed "Certificate")
        | ValueSome [||] -> refuse "the peer has shown no certificate"
        | ValueSome chain when chain.Length > MaxChain -> refuse "too many certificates"
        | ValueSome chain when isTrusted party chain[0] -> Ok chain
        | ValueSome _ -> refuse "the peer's certificate fits none of its fingerprints"

    /// Whether the leaf's key has signed `data` in a scheme that we take.
    let verifies (party: Party) (leaf: byte[]) (scheme: uint16) (data: byte[]) (signature: byte[]) : bool =
        Array.contains scheme Scheme.ids
        && party.Config.Ciphers.Verify(
            ReadOnlySpan leaf,
            LanguagePrimitives.EnumOfValue(int scheme),
            ReadOnlySpan data,
            ReadOnlySpan signature
        )

    /// What is signed in ServerKeyExchange, RFC 8422 §5.4.
    let signedExchange (clientRandom: byte[]) (serverRandom: byte[]) (group: uint16) (share: byte[]) : byte[] =
        Array.concat [ clientRandom; serverRandom; Message.keyExchangeParameters group share ]

    /// 64 octets of ours for one purpose, so that no two keys are made of the same.
    let private seed (party: Party) (purpose: byte[]) : byte[] =
        Ciphers.hmac party.Config.Ciphers HashAlgorithm.Sha512 (ReadOnlySpan party.Seed) (ReadOnlySpan purpose)

    let private groupSeed party (group: NamedGroup) =
        seed party (Octets.u16 (int (uint16 group)))

    /// Our share of the group; made again, it is the same.
    let share (party: Party) (group: NamedGroup) : IKeyShare =
        party.Config.Ciphers.Agree(group, ReadOnlySpan(groupSeed party group))

    /// Our share in answer to the client's, and the secret; ValueNone for a bad one.
    let answer (party: Party) (group: NamedGroup) (peerShare: byte[]) : struct (byte[] * byte[]) voption =
        party.Config.Ciphers.Answer(group, ReadOnlySpan(groupSeed party group), ReadOnlySpan peerShare)

    /// What a cookie of ours says to this hello, RFC 9147 §5.1: nobody else's fits.
    let cookie (party: Party) (clientHello: byte[]) : byte[] =
        seed party (Array.append "cookie"B clientHello)

    /// An order that no two connections share, lest somebody's expectations harden around one.
    let shuffled (party: Party) (items: 'a[]) : 'a[] =
        let order = seed party "order"B
        let items = Array.copy items

        for i in items.Length - 1 .. -1 .. 1 do
            let j = int order[i % order.Length] % (i + 1)
            let item = items[i]
            items[i] <- items[j]
            items[j] <- item

        items

    /// The connection's secrets, with a transcript up to and including ClientKeyExchange. ValueNone for a bad share.
    let agree (party: Party) (terms: Terms) (group: NamedGroup) (peerShare: byte[]) (transcript: Transcript) =
        use ours = share party group

        match ours.Secret(ReadOnlySpan peerShare) with
        | ValueNone -> ValueNone
        | ValueSome premaster ->
            let struct (client, server) =
                match party.Role with
                | DtlsRole.Client -> struct (party.Random, terms.PeerRandom)
                | DtlsRole.Server -> struct (terms.PeerRandom, party.Random)

            ValueSome
                { Suite = terms.Suite
                  Master = Keys.master party.Config.Ciphers terms.Suite premaster (Transcript.bytes transcript)
                  ClientRandom = client
                  ServerRandom = server }

    /// The peer's Finished, RFC 5246 §7.4.9, with a transcript that ends before it.
    let checkFinished (party: Party) (secrets: Secrets) (message: Message) (transcript: Transcript) =
        let ofClient = (party.Role = DtlsRole.Server)

        let due =
            Keys.verifyData party.Config.Ciphers secrets ofClient (Transcript.bytes transcript)

        if Ciphers.equal (ReadOnlySpan due) (ReadOnlySpan message.Body) then
            Ok()
        else
            Error(Refusal.create Alert.DecryptError "the peer's Finished does not fit the handshake")

    /// Our Finished.
    let finished (party: Party) (secrets: Secrets) (transcript: Transcript) : struct (Message * Transcript) =
        let ofClient = (party.Role = DtlsRole.Client)

        let data =
            Keys.verifyData party.Config.Ciphers secrets ofClient (Transcript.bytes transcript)

        Transcript.say MessageType.Finished data transcript

    /// For the key log, where one is kept.
    let logKey (party: Party) (secrets: Secrets) : Demand list =
        if party.Config.KeyLog then
            [ LogKey(secrets.ClientRandom, secrets.Master) ]
        else
            []

    let connected (party: Party) (terms: Terms) (secrets: Secrets) group (chain: byte[][]) : DtlsConnected =
        { Role = party.Role
          Version = DtlsVersion.name DtlsVersion.Dtls12
          Suite = terms.Suite.Id
          SuiteName = terms.Suite.Name
          Group = group
          SrtpProfile = terms.Profile
          SrtpKeys =
            terms.Profile
            |> ValueOption.map (Keys.srtp (Keys.export party.Config.Ciphers secrets))
          RemoteCertificates = chain }
