namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// The client's half of the handshake of 1.3, RFC 8446 §2 and RFC 9147 §5: message by message, without records or timers.
///
///     hello ──▶ AwaitServerHello ──HelloRetryRequest──▶ (hello again, with what it wants)
///                     │ ServerHello
///               AwaitExtensions ──EncryptedExtensions──▶ AwaitCertificate ──Certificate──▶ AwaitVerify
///                                                     CertificateRequest ↺                     │ CertificateVerify
///                                               Done, (our last flight) ◀──Finished── AwaitFinished
[<RequireQualifiedAccess>]
module internal Client13 =
    /// What the server has agreed to.
    [<NoComparison; NoEquality>]
    type Agreed =
        {
            Stage: Stage
            Profile: SrtpProfile voption
            /// The schemes of a CertificateRequest, once it has come.
            Requested: uint16[] voption
        }

    /// The request for another hello, and the suite that it has chosen.
    [<NoComparison; NoEquality>]
    type Retried = { Suite: uint16; Retry: Retry }

    /// Our shares are kept: a key of ML-KEM takes longer to make than to use.
    [<NoComparison; NoEquality>]
    type State =
        | AwaitServerHello of Shares * Retried voption * Transcript13
        | AwaitExtensions of Stage * Retry voption * Transcript13
        | AwaitCertificate of Agreed * Transcript13
        | AwaitVerify of Agreed * chain: byte[][] * Transcript13
        | AwaitFinished of Agreed * chain: byte[][] * Transcript13

    /// Our first hello.
    let hello (party: Party) : struct (State * Demand13 list) =
        let shares = Hello.share party (Hello.shared party.Config)

        let struct (message, transcript) =
            Transcript13.say MessageType.ClientHello (Hello.write party [||] ValueNone shares) Transcript13.empty

        struct (AwaitServerHello(shares, ValueNone, transcript), [ Demand13.Say [ message ] ])

    /// Extensions that a ServerHello may have, RFC 8446 §4.1.3.
    let private ofServerHello =
        [| Extensions.SupportedVersions; Extensions13.KeyShare |]

    /// Those that a HelloRetryRequest may have, RFC 8446 §4.1.4.
    let private ofRetry = Array.append ofServerHello [| Extensions13.Cookie |]

    /// Those that belong to other messages than EncryptedExtensions, RFC 8446 §4.2.
    let private notEncrypted =
        [| Extensions.SupportedVersions
           Extensions13.KeyShare
           Extensions13.Cookie
           Extensions.SignatureAlgorithms
           Extensions.ExtendedMasterSecret
           Extensions.EcPointFormats
           Extensions.RenegotiationInfo |]

    let private hasOnly (allowed: uint16[]) (extensions: Extension[]) =
        extensions |> Array.forall (fun e -> Array.contains e.Type allowed)

    let private suiteOf (party: Party) (hello: ServerHello) : CipherSuite voption =
        let id: CipherSuite = LanguagePrimitives.EnumOfValue(int hello.Suite)

        if Suite13.isOne id && Array.contains id party.Config.Suites then
            ValueSome id
        else
            ValueNone

    /// The hello again, as a HelloRetryRequest wants it, RFC 8446 §4.1.4.
    let private answerRetry (party: Party) (message: Message) (hello: ServerHello) suite shares transcript =
        let find kind read =
            Extensions.find kind hello.Extensions |> ValueOption.map read

        match
            find Extensions13.KeyShare Extensions13.readWantedGroup, find Extensions13.Cookie Extensions13.readCookie
        with
        | ValueSome ValueNone, _
        | _, ValueSome ValueNone -> Handshake13.malformed "extensions of HelloRetryRequest"
        | ValueNone, ValueNone -> Handshake13.refuse Alert.IllegalParameter "a HelloRetryRequest that wants nothing"
        | group, cookie ->
            let group: NamedGroup voption =
                group
                |> ValueOption.flatten
                |> ValueOption.map (fun g -> LanguagePrimitives.EnumOfValue(int g))

            let isUnfit group =
                not (Array.contains group party.Config.Groups)
                || Array.contains group (Hello.shared party.Config)

            if ValueOption.exists isUnfit group then
                Handshake13.refuse
                    Alert.IllegalParameter
                    "a HelloRetryRequest for a group that it has, or that is not ours"
            else
                let retry =
                    { Group = group
                      Cookie = ValueOption.flatten cookie }

                let k = KeySchedule.create party.Config.Ciphers suite

                let shares =
                    match group with
                    | ValueSome group -> Hello.share party [| group |]
                    | ValueNone -> shares

                let struct (message, transcript) =
                    Transcript13.retried k transcript
                    |> Transcript13.hear message
                    |> Transcript13.say MessageType.ClientHello (Hello.write party [||] (ValueSome retry) shares)

                let retried = { Suite = hello.Suite; Retry = retry }
                Ok(struct (AwaitServerHello(shares, ValueSome retried, transcript), [ Demand13.Say [ message ] ]))

    let private agree (party: Party) (message: Message) (hello: ServerHello) suite shares retried transcript =
        match
            Extensions.find Extensions13.KeyShare hello.Extensions
            |> ValueOption.map Extensions13.readKeyShare
        with
        | ValueNone -> Handshake13.refuse Alert.MissingExtension "a ServerHello without a share of the key agreement"
        | ValueSome ValueNone -> Handshake13.malformed "key_share of ServerHello"
        | ValueSome(ValueSome share) ->
            match shares |> Array.tryFind (fun (struct (group, _)) -> uint16 group = share.Group) with
            | None -> Handshake13.refuse Alert.IllegalParameter "a group of which no share was offered"
            | Some(struct (group, ours: IKeyShare)) ->
                match ours.Secret(ReadOnlySpan share.Exchange) with
                | ValueNone -> Handshake13.refuse Alert.IllegalParameter "the server's share of the key agreement"
                | ValueSome shared ->
                    let transcript = Transcript13.hear message transcript
                    let stage = Handshake13.stage party suite group shared party.Random transcript
                    let retry = retried |> ValueOption.map (fun r -> r.Retry)

                    Ok(struct (AwaitExtensions(stage, retry, transcript), Handshake13.handshakeKeys party stage))

    let private answerServerHello (party: Party) (message: Message) shares (retried: Retried voption) transcript =
        match Message.readServerHello message.Body with
        | ValueNone -> Handshake13.malformed "ServerHello"
        | ValueSome hello when not (Hello.is13 hello) ->
            if retried.IsNone && Hello.speaks DtlsVersion.Dtls12 party.Config then
                Ok(struct (AwaitServerHello(shares, retried, transcript), [ Demand13.Older ]))
            else
                Handshake13.refuse Alert.IllegalParameter "another version than that of our hello"
        | ValueSome hello ->
            let isRetry =
                ReadOnlySpan(hello.Random).SequenceEqual(ReadOnlySpan Messages13.retryRandom)

            let allowed = if isRetry then ofRetry else ofServerHello

            match suiteOf party hello with
            | _ when hello.Version <> Record.Version || hello.SessionId.Length > 0 ->
                Handshake13.refuse Alert.IllegalParameter "the legacy fields of ServerHello"
            | _ when isRetry && retried.IsSome ->
                Handshake13.refuse Alert.UnexpectedMessage "a second HelloRetryRequest"
            | _ when not (hasOnly allowed hello.Extensions) ->
                Handshake13.refuse Alert.UnsupportedExtension "the extensions of ServerHello"
            | ValueNone -> Handshake13.refuse Alert.IllegalParameter "a cipher suite that was not offered"
            | ValueSome _ when retried |> ValueOption.exists (fun r -> r.Suite <> hello.Suite) ->
                Handshake13.refuse Alert.IllegalParameter "another cipher suite than that of HelloRetryRequest"
            | ValueSome suite when isRetry -> answerRetry party message hello suite shares transcript
            | ValueSome suite -> agree party message hello suite shares retried transcript

    let private answerExtensions (party: Party) (message: Message) stage retry transcript =
        let asked = Hello.asked party retry

        match Messages13.readEncryptedExtensions message.Body with
        | ValueNone -> Handshake13.malformed "EncryptedExtensions"
        | ValueSome extensions when not (hasOnly asked extensions) ->
            Handshake13.refuse Alert.UnsupportedExtension "an extension that was not asked for"
        | ValueSome extensions when extensions |> Array.exists (fun e -> Array.contains e.Type notEncrypted) ->
            Handshake13.refuse Alert.IllegalParameter "an extension that is not of EncryptedExtensions"
        | ValueSome extensions ->
            match Extensions.readSrtpGrant extensions with
            | Error alert -> Handshake13.refuse alert "use_srtp of EncryptedExtensions"
            | Ok granted ->
                let profile: SrtpProfile voption =
                    granted |> ValueOption.map (fun p -> LanguagePrimitives.EnumOfValue(int p))

                if
                    profile
                    |> ValueOption.exists (fun p -> not (Array.contains p party.Config.SrtpProfiles))
                then
                    Handshake13.refuse Alert.IllegalParameter "an SRTP profile that was not offered"
                else
                    let agreed =
                        { Stage = stage
                          Profile = profile
                          Requested = ValueNone }

                    Ok(struct (AwaitCertificate(agreed, Transcript13.hear message transcript), []))

    let private answerRequest (message: Message) (agreed: Agreed) transcript =
        match Messages13.readCertificateRequest message.Body with
        | ValueNone -> Handshake13.malformed "CertificateRequest"
        | ValueSome request when request.Context.Length > 0 ->
            Handshake13.refuse Alert.IllegalParameter "the context of CertificateRequest is not empty"
        | ValueSome request ->
            match Extensions.readSchemes request.Extensions with
            | ValueNone -> Handshake13.refuse Alert.MissingExtension "a CertificateRequest without signature_algorithms"
            | schemes ->
                let agreed = { agreed with Requested = schemes }
                Ok(struct (AwaitCertificate(agreed, Transcript13.hear message transcript), []))

    /// The server has proved itself: our last flight, and the connection.
    let private finish (party: Party) (message: Message) (agreed: Agreed) chain transcript =
        let stage = agreed.Stage
        let transcript = Transcript13.hear message transcript
        let secrets = Handshake13.traffic stage transcript

        let struct (certified, transcript) =
            match agreed.Requested with
            | ValueSome schemes -> Handshake13.certify party stage (Scheme.choose13 party.Config.Key schemes) transcript
            | ValueNone -> struct ([], transcript)

        let struct (finished, _) = Handshake13.finished party stage transcript

        [ Demand13.Say(certified @ [ finished ])
          yield! Handshake13.trafficKeys party stage secrets
          Demand13.Done(Handshake13.connected party stage secrets agreed.Profile chain) ]

    let receive (party: Party) (message: Message) (state: State) : Result<struct (State * Demand13 list), Refusal> =
        match state, message.Type with
        | AwaitServerHello(shares, retried, transcript), MessageType.ServerHello ->
            answerServerHello party message shares retried transcript
        // 1.3 has none, RFC 9147 §5.1.
        | AwaitServerHello(_, ValueNone, _), MessageType.HelloVerifyRequest when
            Hello.speaks DtlsVersion.Dtls12 party.Config
            ->
            Ok(struct (state, [ Demand13.Older ]))
        | AwaitExtensions(stage, retry, transcript), MessageType.EncryptedExtensions ->
            answerExtensions party message stage retry transcript
        | AwaitCertificate(agreed, transcript), MessageType.CertificateRequest when agreed.Requested.IsNone ->
            answerRequest message agreed transcript
        | AwaitCertificate(agreed, transcript), MessageType.Certificate ->
            Handshake13.authenticate party message
            |> Result.map (fun chain -> struct (AwaitVerify(agreed, chain, Transcript13.hear message transcript), []))
        | AwaitVerify(agreed, chain, transcript), MessageType.CertificateVerify ->
            Handshake13.checkVerify party agreed.Stage chain message transcript
            |> Result.map (fun () -> struct (AwaitFinished(agreed, chain, Transcript13.hear message transcript), []))
        | AwaitFinished(agreed, chain, transcript), MessageType.Finished ->
            Handshake13.checkFinished party agreed.Stage message transcript
            |> Result.map (fun () -> struct (state, finish party message agreed chain transcript))
        | _ -> Refusal.unexpected message
