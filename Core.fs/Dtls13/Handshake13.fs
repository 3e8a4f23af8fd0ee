namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// The messages of a handshake so far as TLS has them, without the fields of DTLS (RFC 9147 §5.2), and the numbers of ours.
[<NoComparison; NoEquality>]
type internal Transcript13 =
    private
        {
            /// message_seq of our next message.
            Next: int
            /// Newest first.
            Messages: byte[] list
        }

[<RequireQualifiedAccess>]
module internal Transcript13 =
    let empty: Transcript13 = { Next = 0; Messages = [] }

    /// msg_type message_hash, RFC 8446 §4.4.1.
    [<Literal>]
    let private MessageHash = 254uy

    let private encode (kind: byte) (body: byte[]) : byte[] =
        Array.append [| kind |] (Octets.vector24 body)

    let bytes (transcript: Transcript13) : byte[] =
        Array.concat (List.rev transcript.Messages)

    let hash (k: KeySchedule) (transcript: Transcript13) : byte[] =
        KeySchedule.transcript k (bytes transcript)

    /// The peer's message.
    let hear (message: Message) (transcript: Transcript13) : Transcript13 =
        { transcript with
            Messages = encode (byte message.Type) message.Body :: transcript.Messages }

    /// Our next message, numbered.
    let say (kind: MessageType) (body: byte[]) (transcript: Transcript13) : struct (Message * Transcript13) =
        struct ({ Type = kind
                  Sequence = transcript.Next
                  Body = body },
                { Next = transcript.Next + 1
                  Messages = encode (byte kind) body :: transcript.Messages })

    /// The first hello as what is left of it once there is a second: its hash, RFC 8446 §4.4.1.
    let retried (k: KeySchedule) (transcript: Transcript13) : Transcript13 =
        { transcript with
            Messages = [ encode MessageHash (hash k transcript) ] }

/// What the hellos have settled, and the secrets that they made.
[<NoComparison; NoEquality>]
type internal Stage =
    {
        Schedule: KeySchedule
        Group: NamedGroup
        ClientRandom: byte[]
        /// client_handshake_traffic_secret.
        Client: byte[]
        /// server_handshake_traffic_secret.
        Server: byte[]
        /// The handshake secret.
        Secret: byte[]
    }

/// The secrets of the connection.
[<NoComparison; NoEquality>]
type internal TrafficSecrets =
    {
        /// client_application_traffic_secret_0.
        Client: byte[]
        /// server_application_traffic_secret_0.
        Server: byte[]
        Exporter: byte[]
    }

/// What a handshake asks of the record layer, in order.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Demand13 =
    /// The secrets of epoch 2: the peer's and ours.
    | HandshakeKeys of KeySchedule * read: byte[] * write: byte[]
    /// Those of epoch 3.
    | TrafficKeys of KeySchedule * read: byte[] * write: byte[]
    /// The next flight: it answers the message in hand.
    | Say of Message list
    /// A line of the key log, where one is kept.
    | LogSecret of label: string * clientRandom: byte[] * secret: byte[]
    | Done of DtlsConnected
    /// Comes alone: the message in hand is of 1.2, whose machine shall have it.
    | Older

/// What both ends of a handshake of 1.3 check and derive in the same way.
[<RequireQualifiedAccess>]
module internal Handshake13 =
    let refuse alert reason : Result<'a, Refusal> = Error(Refusal.create alert reason)

    let malformed name : Result<'a, Refusal> = Error(Refusal.malformed name)

    let private isClient (party: Party) = party.Role = DtlsRole.Client

    /// The stage after ServerHello, with which the transcript ends.
    let stage (party: Party) suite group (shared: byte[]) (clientRandom: byte[]) (transcript: Transcript13) : Stage =
        let k = KeySchedule.create party.Config.Ciphers suite
        let secret = KeySchedule.handshake k shared
        let hash = Transcript13.hash k transcript

        { Schedule = k
          Group = group
          ClientRandom = clientRandom
          Client = KeySchedule.derive k secret "c hs traffic" hash
          Server = KeySchedule.derive k secret "s hs traffic" hash
          Secret = secret }

    let private log (party: Party) (stage: Stage) (secrets: (string * byte[]) list) : Demand13 list =
        if party.Config.KeyLog then
            secrets
            |> List.map (fun (label, secret) -> Demand13.LogSecret(label, stage.ClientRandom, secret))
        else
            []

    /// Peer's and ours.
    let private sides party client server =
        if isClient party then
            struct (server, client)
        else
            struct (client, server)

    /// The keys of the handshake.
    let handshakeKeys (party: Party) (stage: Stage) : Demand13 list =
        let struct (read, write) = sides party stage.Client stage.Server

        Demand13.HandshakeKeys(stage.Schedule, read, write)
        :: log
            party
            stage
            [ "CLIENT_HANDSHAKE_TRAFFIC_SECRET", stage.Client
              "SERVER_HANDSHAKE_TRAFFIC_SECRET", stage.Server ]

    /// The connection's secrets. The transcript ends with the server's Finished.
    let traffic (stage: Stage) (transcript: Transcript13) : TrafficSecrets =
        let hash = Transcript13.hash stage.Schedule transcript

        let master = KeySchedule.master stage.Schedule stage.Secret

        let derive name =
            KeySchedule.derive stage.Schedule master name hash

        { Client = derive "c ap traffic"
          Server = derive "s ap traffic"
          Exporter = derive "exp master" }

    let trafficKeys (party: Party) (stage: Stage) (secrets: TrafficSecrets) : Demand13 list =
        let struct (read, write) = sides party secrets.Client secrets.Server

        Demand13.TrafficKeys(stage.Schedule, read, write)
        :: log
            party
            stage
            [ "CLIENT_TRAFFIC_SECRET_0", secrets.Client
              "SERVER_TRAFFIC_SECRET_0", secrets.Server
              "EXPORTER_SECRET", secrets.Exporter ]

    /// What vouches for a handshake: `ofClient` says whose it is. The transcript ends before it.
    let private verifyData (stage: Stage) ofClient transcript =
        KeySchedule.finished
            stage.Schedule
            (if ofClient then stage.Client else stage.Server)
            (Transcript13.hash stage.Schedule transcript)

    /// Our Finished.
    let finished (party: Party) (stage: Stage) (transcript: Transcript13) : struct (Message * Transcript13) =
        Transcript13.say MessageType.Finished (verifyData stage (isClient party) transcript) transcript

    /// The peer's Finished, RFC 8446 §4.4.4.
    let checkFinished
        (party: Party)
        (stage: Stage)
        (message: Message)
        (transcript: Transcript13)
        : Result<unit, Refusal> =
        let due = verifyData stage (not (isClient party)) transcript

        if Ciphers.equal (ReadOnlySpan due) (ReadOnlySpan message.Body) then
            Ok()
        else
            refuse Alert.DecryptError "the peer's Finished does not fit the handshake"

    let private noExtensions (entry: CertificateEntry) = Array.isEmpty entry.Extensions

    /// The peer's chain.
    let authenticate (party: Party) (message: Message) : Result<byte[][], Refusal> =
        match Messages13.readCertificate message.Body with
        | ValueSome certificate when certificate.Context.Length > 0 ->
            refuse Alert.IllegalParameter "the context of Certificate is not empty"
        | ValueSome certificate when not (Array.forall noExtensions certificate.Entries) ->
            refuse Alert.UnsupportedExtension "an extension of Certificate that was not asked for"
        | certificate ->
            certificate
            |> ValueOption.map (fun c -> c.Entries |> Array.map (fun e -> e.Data))
            |> Handshake.authenticate party

    /// The peer's CertificateVerify, RFC 8446 §4.4.3. The transcript ends before it.
    let checkVerify
        (party: Party)
        (stage: Stage)
        (chain: byte[][])
        (message: Message)
        transcript
        : Result<unit, Refusal> =
        match Message.readCertificateVerify message.Body with
        | ValueNone -> malformed "CertificateVerify"
        | ValueSome verify when not (Array.contains verify.Scheme Scheme.ids13) ->
            refuse Alert.IllegalParameter "a signature scheme that was not offered"
        | ValueSome verify ->
            let signed =
                Messages13.signed (not (isClient party)) (Transcript13.hash stage.Schedule transcript)

            if Handshake.verifies party chain[0] verify.Scheme signed verify.Signature then
                Ok()
            else
                refuse Alert.DecryptError "the signature of CertificateVerify"

    /// Our Certificate and CertificateVerify; an empty Certificate alone, where there is none or no scheme that the peer takes.
    let certify
        (party: Party)
        (stage: Stage)
        (scheme: SignatureScheme voption)
        transcript
        : struct (Message list * Transcript13) =
        let config = party.Config

        let chain =
            if scheme.IsSome && config.Certificate.Length > 0 then
                Array.append [| config.Certificate |] config.Intermediates
            else
                [||]

        let entries = chain |> Array.map (fun der -> { Data = der; Extensions = [||] })

        let struct (certificate, transcript) =
            Transcript13.say
                MessageType.Certificate
                (Messages13.writeCertificate { Context = [||]; Entries = entries })
                transcript

        match scheme with
        | ValueSome scheme when chain.Length > 0 ->
            let signed =
                Messages13.signed (isClient party) (Transcript13.hash stage.Schedule transcript)

            let struct (verify, transcript) =
                Transcript13.say
                    MessageType.CertificateVerify
                    (Message.writeCertificateVerify
                        { Scheme = uint16 scheme
                          Signature = config.Key.Sign(scheme, ReadOnlySpan signed) })
                    transcript

            struct ([ certificate; verify ], transcript)
        | _ -> struct ([ certificate ], transcript)

    let connected (party: Party) (stage: Stage) (secrets: TrafficSecrets) profile (chain: byte[][]) : DtlsConnected =
        let export label length =
            KeySchedule.export stage.Schedule secrets.Exporter label [||] length

        { Role = party.Role
          Version = DtlsVersion.name DtlsVersion.Dtls13
          Suite = stage.Schedule.Suite
          SuiteName = Suite13.name stage.Schedule.Suite
          Group = stage.Group
          SrtpProfile = profile
          SrtpKeys = profile |> ValueOption.map (Keys.srtp export)
          RemoteCertificates = chain }
