namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// The server's half of the handshake of 1.3, RFC 8446 §2 and RFC 9147 §5: message by message, without records or timers.
///
///     AwaitClientHello ──ClientHello without what we need──▶ (HelloRetryRequest) AwaitClientHello
///            │ ClientHello, (our flight)
///     AwaitCertificate ──Certificate──▶ AwaitVerify ──CertificateVerify──▶ AwaitFinished ──Finished──▶ Done
///
/// Where the client is not asked for a certificate, its Finished is all that is awaited.
[<RequireQualifiedAccess>]
module internal Server13 =
    /// What our flight has settled.
    [<NoComparison; NoEquality>]
    type Agreed =
        { Stage: Stage
          Secrets: TrafficSecrets
          Profile: SrtpProfile voption }

    /// What a HelloRetryRequest has asked for.
    [<NoComparison; NoEquality>]
    type Retried = { Suite: CipherSuite; Retry: Retry }

    [<NoComparison; NoEquality>]
    type State =
        | AwaitClientHello of Retried voption * Transcript13
        | AwaitCertificate of Agreed * Transcript13
        | AwaitVerify of Agreed * chain: byte[][] * Transcript13
        | AwaitFinished of Agreed * chain: byte[][] * Transcript13

    let start: State = AwaitClientHello(ValueNone, Transcript13.empty)

    let private writeHello (party: Party) (random: byte[]) (suite: CipherSuite) (extensions: Extension[]) : byte[] =
        Message.writeServerHello
            { Version = Record.Version
              Random = random
              // The client's is not echoed, RFC 9147 §5.
              SessionId = [||]
              Suite = uint16 suite
              Extensions =
                Handshake.shuffled party (Array.append [| Extensions13.version Extensions13.Version |] extensions) }

    /// Asks for another hello, RFC 8446 §4.1.4.
    let private askAgain (party: Party) (message: Message) suite (retry: Retry) =
        let extensions =
            [| match retry.Group with
               | ValueSome group -> Extensions13.wantedGroup (uint16 group)
               | ValueNone -> ()
               match retry.Cookie with
               | ValueSome cookie -> Extensions13.cookie cookie
               | ValueNone -> () |]

        let struct (request, transcript) =
            Transcript13.empty
            |> Transcript13.hear message
            |> Transcript13.retried (KeySchedule.create party.Config.Ciphers suite)
            |> Transcript13.say MessageType.ServerHello (writeHello party Messages13.retryRandom suite extensions)

        struct (AwaitClientHello(ValueSome { Suite = suite; Retry = retry }, transcript), [ Demand13.Say [ request ] ])

    /// ServerHello, EncryptedExtensions, CertificateRequest*, Certificate, CertificateVerify, Finished; * where the client shows one.
    let private flight (party: Party) (hello: ClientHello) suite (group: NamedGroup) profile scheme share transcript =
        match Handshake.answer party group share with
        | ValueNone -> Handshake13.refuse Alert.IllegalParameter "the client's share of the key agreement"
        | ValueSome(struct (ours, shared)) ->
            let extensions =
                [| Extensions13.keyShare
                       { Group = uint16 group
                         Exchange = ours } |]

            let struct (serverHello, transcript) =
                Transcript13.say MessageType.ServerHello (writeHello party party.Random suite extensions) transcript

            let stage = Handshake13.stage party suite group shared hello.Random transcript

            let granted =
                match profile with
                | ValueSome profile -> [| Extensions.srtp profile |]
                | ValueNone -> [||]

            let struct (encrypted, transcript) =
                Transcript13.say
                    MessageType.EncryptedExtensions
                    (Messages13.writeEncryptedExtensions granted)
                    transcript

            let struct (request, transcript) =
                if Handshake.asksForCertificate party then
                    let struct (request, transcript) =
                        Transcript13.say
                            MessageType.CertificateRequest
                            (Messages13.writeCertificateRequest
                                { Context = [||]
                                  Extensions = [| Extensions.signatureAlgorithms Scheme.ids13 |] })
                            transcript

                    struct ([ request ], transcript)
                else
                    struct ([], transcript)

            let struct (certified, transcript) =
                Handshake13.certify party stage (ValueSome scheme) transcript

            let struct (finished, transcript) = Handshake13.finished party stage transcript

            let agreed =
                { Stage = stage
                  Secrets = Handshake13.traffic stage transcript
                  Profile = profile }

            let next =
                if Handshake.asksForCertificate party then
                    AwaitCertificate(agreed, transcript)
                else
                    AwaitFinished(agreed, [||], transcript)

            Ok(
                struct (next,
                        Handshake13.handshakeKeys party stage
                        @ [ Demand13.Say([ serverHello; encrypted ] @ request @ certified @ [ finished ]) ])
            )

    /// The shares of a hello, each of a group that it offers, RFC 8446 §4.2.8. An error is the alert.
    let private readShares (hello: ClientHello) (groups: uint16[]) : Result<KeyShare[], byte> =
        match Extensions.find Extensions13.KeyShare hello.Extensions with
        | ValueNone -> Error Alert.MissingExtension
        | ValueSome data ->
            match Extensions13.readKeyShares data with
            | ValueNone -> Error Alert.DecodeError
            | ValueSome shares when shares |> Array.exists (fun s -> not (Array.contains s.Group groups)) ->
                Error Alert.IllegalParameter
            | ValueSome shares -> Ok shares

    /// Whether a hello has the cookie that a HelloRetryRequest gave, and none where it gave none.
    let private hasCookie (hello: ClientHello) (retried: Retried voption) =
        let due = retried |> ValueOption.bind (fun r -> r.Retry.Cookie)

        match due, Extensions.find Extensions13.Cookie hello.Extensions with
        | ValueNone, ValueNone -> true
        | ValueSome due, ValueSome data ->
            match Extensions13.readCookie data with
            | ValueSome cookie -> Ciphers.equal (ReadOnlySpan cookie) (ReadOnlySpan due)
            | ValueNone -> false
        | _ -> false

    let private answerHello
        (party: Party)
        (message: Message)
        (hello: ClientHello)
        (offer: Offer)
        groups
        retried
        transcript
        =
        let config = party.Config
        let suites = config.Suites |> Array.filter Suite13.isOne

        match
            Handshake.firstCommon suites hello.Suites uint16,
            Scheme.choose13 config.Key offer.Schemes,
            readShares hello groups
        with
        | ValueNone, _, _ -> Handshake13.refuse Alert.HandshakeFailure "no cipher suite in common"
        | _, ValueNone, _ ->
            Handshake13.refuse Alert.HandshakeFailure "the client takes no signature that our key makes"
        | _, _, Error alert -> Handshake13.refuse alert "key_share of ClientHello"
        | ValueSome suite, ValueSome scheme, Ok shares ->
            let wanted = Handshake.firstCommon config.Groups groups uint16

            let shared =
                Handshake.firstCommon config.Groups (shares |> Array.map (fun s -> s.Group)) uint16

            let cookie =
                if config.Cookie then
                    ValueSome(Handshake.cookie party message.Body)
                else
                    ValueNone

            match retried, shared with
            | ValueSome retried, _ when retried.Suite <> suite ->
                Handshake13.refuse Alert.IllegalParameter "another ClientHello than the first"
            | ValueNone, ValueNone when wanted.IsSome ->
                Ok(askAgain party message suite { Group = wanted; Cookie = cookie })
            | ValueNone, ValueSome _ when config.Cookie ->
                Ok(askAgain party message suite { Group = ValueNone; Cookie = cookie })
            | ValueSome { Retry = { Group = ValueSome due } }, _ when shared <> ValueSome due ->
                Handshake13.refuse Alert.IllegalParameter "a ClientHello without the share that was asked for"
            | _, ValueNone -> Handshake13.refuse Alert.HandshakeFailure "no group in common"
            | _, ValueSome group ->
                let share = shares |> Array.find (fun s -> s.Group = uint16 group)
                let profile = Handshake.firstCommon config.SrtpProfiles offer.Profiles uint16

                Transcript13.hear message transcript
                |> flight party hello suite group profile scheme share.Exchange

    let private answerClientHello (party: Party) (message: Message) (retried: Retried voption) transcript =
        match Message.readClientHello message.Body with
        | ValueNone -> Handshake13.malformed "ClientHello"
        | ValueSome hello ->
            match Extensions.readOffer hello.Extensions with
            | ValueNone -> Handshake13.malformed "extensions of ClientHello"
            | ValueSome offer when
                retried.IsNone
                && Hello.choose party.Config hello offer = ValueSome DtlsVersion.Dtls12
                ->
                Ok(struct (AwaitClientHello(retried, transcript), [ Demand13.Older ]))
            | ValueSome offer when Hello.choose party.Config hello offer <> ValueSome DtlsVersion.Dtls13 ->
                Handshake13.refuse Alert.ProtocolVersion "the client does not speak DTLS 1.3"
            | ValueSome _ when hello.Cookie.Length > 0 ->
                Handshake13.refuse Alert.IllegalParameter "legacy_cookie is not empty"
            | ValueSome _ when not (hasCookie hello retried) -> Handshake13.refuse Alert.IllegalParameter "the cookie"
            | ValueSome offer when offer.Schemes.Length = 0 ->
                Handshake13.refuse Alert.MissingExtension "a ClientHello without signature_algorithms"
            | ValueSome offer ->
                match offer.Groups with
                | ValueNone -> Handshake13.refuse Alert.MissingExtension "a ClientHello without supported_groups"
                | ValueSome groups -> answerHello party message hello offer groups retried transcript

    let receive (party: Party) (message: Message) (state: State) : Result<struct (State * Demand13 list), Refusal> =
        match state, message.Type with
        | AwaitClientHello(retried, transcript), MessageType.ClientHello ->
            answerClientHello party message retried transcript
        | AwaitCertificate(agreed, transcript), MessageType.Certificate ->
            Handshake13.authenticate party message
            |> Result.map (fun chain -> struct (AwaitVerify(agreed, chain, Transcript13.hear message transcript), []))
        | AwaitVerify(agreed, chain, transcript), MessageType.CertificateVerify ->
            Handshake13.checkVerify party agreed.Stage chain message transcript
            |> Result.map (fun () -> struct (AwaitFinished(agreed, chain, Transcript13.hear message transcript), []))
        | AwaitFinished(agreed, chain, transcript), MessageType.Finished ->
            Handshake13.checkFinished party agreed.Stage message transcript
            |> Result.map (fun () ->
                struct (state,
                        Handshake13.trafficKeys party agreed.Stage agreed.Secrets
                        @ [ Demand13.Done(Handshake13.connected party agreed.Stage agreed.Secrets agreed.Profile chain) ]))
        | _ -> Refusal.unexpected message
