namespace Hybrid.WebRtc.Core.Tls

open Hybrid.WebRtc.Core

/// The client's half of the handshake, RFC 5246 §7.3 and RFC 6347 §4.2.4: message by message, without records or timers.
///
///     hello ──▶ AwaitServerHello ──HelloVerifyRequest──▶ (hello again, with the cookie)
///                     │ ServerHello
///               AwaitCertificate ──Certificate──▶ AwaitKeyExchange ──ServerKeyExchange──▶ AwaitServerHelloDone
///                                                                       CertificateRequest ↺    │ ServerHelloDone
///                                        Done ◀──Finished── AwaitFinished ◀── (our flight 5) ───┘
[<RequireQualifiedAccess>]
module internal Client =
    /// What the server has said of itself.
    [<NoComparison; NoEquality>]
    type Server =
        { Chain: byte[][]
          Group: NamedGroup
          Share: byte[] }

    [<NoComparison; NoEquality>]
    type State =
        | AwaitServerHello of Transcript
        | AwaitCertificate of Terms * Transcript
        | AwaitKeyExchange of Terms * chain: byte[][] * Transcript
        /// The schemes are those of a CertificateRequest, once it has come.
        | AwaitServerHelloDone of Terms * Server * schemes: uint16[] voption * Transcript
        | AwaitFinished of Terms * Secrets * Server * Transcript

    /// Once our hello is said, which has `transcript`'s last word.
    let said (transcript: Transcript) : State = AwaitServerHello transcript

    /// Our ClientHello, the flight of it.
    let hello (party: Party) (cookie: byte[]) (transcript: Transcript) : struct (State * Demand list) =
        let shares = Hello.share party (Hello.shared party.Config)

        let struct (message, transcript) =
            Transcript.say MessageType.ClientHello (Hello.write party cookie ValueNone shares) transcript

        struct (said transcript, [ Say [ Whole message ] ])

    let private answerServerHello (party: Party) (message: Message) transcript : Result<State, Refusal> =
        let refuse alert reason = Error(Refusal.create alert reason)

        match Message.readServerHello message.Body with
        | ValueNone -> Error(Refusal.malformed "ServerHello")
        | ValueSome hello when
            hello.Version <> Record.Version
            || (Extensions.find Extensions.SupportedVersions hello.Extensions).IsSome
            ->
            refuse Alert.ProtocolVersion "the server does not speak DTLS 1.2"
        | ValueSome hello when Hello.isDowngraded party.Config hello ->
            refuse Alert.IllegalParameter "the server speaks DTLS 1.3, and somebody kept that from it"
        | ValueSome hello ->
            let id: CipherSuite = LanguagePrimitives.EnumOfValue(int hello.Suite)

            match Suite.ofId id, Extensions.readGrant (Hello.asked party ValueNone) hello.Extensions with
            | ValueSome suite, Ok grant when Array.contains id party.Config.Suites ->
                let profile: SrtpProfile voption =
                    grant.Profile
                    |> ValueOption.map (fun p -> LanguagePrimitives.EnumOfValue(int p))

                if not grant.ExtendedMasterSecret then
                    // RFC 7627 §5.3 lets us go on; without it a man in the middle can make two sessions alike.
                    refuse Alert.HandshakeFailure "the server does not know extended master secrets"
                elif
                    grant.Renegotiated
                    |> ValueOption.exists (fun connection -> connection.Length > 0)
                then
                    refuse Alert.HandshakeFailure "renegotiation_info is not empty"
                elif
                    profile
                    |> ValueOption.exists (fun p -> not (Array.contains p party.Config.SrtpProfiles))
                then
                    refuse Alert.IllegalParameter "an SRTP profile that was not offered"
                else
                    let terms =
                        { Suite = suite
                          PeerRandom = hello.Random
                          Profile = profile }

                    Ok(AwaitCertificate(terms, Transcript.hear message transcript))
            | _, Error alert -> refuse alert "the extensions of ServerHello"
            | _ -> refuse Alert.IllegalParameter "a cipher suite that was not offered"

    let private answerKeyExchange (party: Party) (terms: Terms) (chain: byte[][]) (message: Message) transcript =
        match Message.readServerKeyExchange message.Body with
        | ValueNone -> Error(Refusal.malformed "ServerKeyExchange")
        | ValueSome exchange ->
            let group: NamedGroup = LanguagePrimitives.EnumOfValue(int exchange.Group)
            let scheme: SignatureScheme = LanguagePrimitives.EnumOfValue(int exchange.Scheme)

            let signed =
                Handshake.signedExchange party.Random terms.PeerRandom exchange.Group exchange.Public

            if not (Array.contains group party.Config.Groups) then
                Error(Refusal.create Alert.IllegalParameter "a group that was not offered")
            elif
                Scheme.isRsa scheme <> terms.Suite.Rsa
                || not (Handshake.verifies party chain[0] exchange.Scheme signed exchange.Signature)
            then
                Error(Refusal.create Alert.DecryptError "the signature of ServerKeyExchange")
            else
                let server =
                    { Chain = chain
                      Group = group
                      Share = exchange.Public }

                Ok(AwaitServerHelloDone(terms, server, ValueNone, Transcript.hear message transcript))

    /// Flight 5: Certificate*, ClientKeyExchange, CertificateVerify*, ChangeCipherSpec, Finished; * where asked for.
    let private answerDone (party: Party) (terms: Terms) (server: Server) (schemes: uint16[] voption) transcript =
        // Who has none to show says so, RFC 5246 §7.4.6, and has nothing to sign.
        let isAnonymous =
            match party.Trust with
            | Trust.Chain _ -> true
            | Trust.Fingerprints _ -> false

        let scheme =
            if isAnonymous then
                ValueNone
            else
                schemes |> ValueOption.map (Scheme.choose party.Config.Key)

        match scheme with
        | ValueSome ValueNone ->
            Error(Refusal.create Alert.HandshakeFailure "the server takes no signature that our key makes")
        | ValueNone
        | ValueSome(ValueSome _) ->
            use share = Handshake.share party server.Group

            let struct (before, transcript) =
                Transcript.sayAll
                    [ if schemes.IsSome then
                          MessageType.Certificate,
                          Message.writeCertificate (if isAnonymous then [||] else [| party.Config.Certificate |])
                      MessageType.ClientKeyExchange, Message.writeClientKeyExchange share.Public ]
                    transcript

            match Handshake.agree party terms server.Group server.Share transcript with
            | ValueNone -> Error(Refusal.create Alert.IllegalParameter "the server's share of the key agreement")
            | ValueSome secrets ->
                let verify =
                    match scheme with
                    | ValueSome(ValueSome scheme) ->
                        let signature =
                            party.Config.Key.Sign(scheme, System.ReadOnlySpan(Transcript.bytes transcript))

                        [ MessageType.CertificateVerify,
                          Message.writeCertificateVerify
                              { Scheme = uint16 scheme
                                Signature = signature } ]
                    | _ -> []

                let struct (verify, transcript) = Transcript.sayAll verify transcript
                let struct (finished, transcript) = Handshake.finished party secrets transcript
                let struct (ours, theirs) = Keys.protections party.Config.Ciphers secrets

                Ok(
                    struct (AwaitFinished(terms, secrets, server, transcript),
                            Handshake.logKey party secrets
                            @ [ WriteWith ours
                                Say(before @ verify @ [ ChangeCipherSpec; Whole finished ])
                                ReadWith theirs ])
                )

    let receive (party: Party) (message: Message) (state: State) : Result<struct (State * Demand list), Refusal> =
        let silently = Result.map (fun next -> struct (next, []))

        match state, message.Type with
        // It is no part of a handshake under way, RFC 5246 §7.4.1.1.
        | _, MessageType.HelloRequest -> Ok(struct (state, []))
        | AwaitServerHello _, MessageType.HelloVerifyRequest ->
            match Message.readHelloVerifyRequest message.Body with
            // Neither the first hello nor this is in the transcript, RFC 6347 §4.2.1.
            | ValueSome cookie -> Ok(hello party cookie (Transcript.start (message.Sequence + 1)))
            | ValueNone -> Error(Refusal.malformed "HelloVerifyRequest")
        | AwaitServerHello transcript, MessageType.ServerHello -> silently (answerServerHello party message transcript)
        | AwaitCertificate(terms, transcript), MessageType.Certificate ->
            Handshake.authenticate party (Message.readCertificate message.Body)
            |> Result.map (fun chain -> AwaitKeyExchange(terms, chain, Transcript.hear message transcript))
            |> silently
        | AwaitKeyExchange(terms, chain, transcript), MessageType.ServerKeyExchange ->
            silently (answerKeyExchange party terms chain message transcript)
        | AwaitServerHelloDone(terms, server, ValueNone, transcript), MessageType.CertificateRequest ->
            match Message.readCertificateRequest message.Body with
            | ValueSome request ->
                let transcript = Transcript.hear message transcript
                Ok(struct (AwaitServerHelloDone(terms, server, ValueSome request.Schemes, transcript), []))
            | ValueNone -> Error(Refusal.malformed "CertificateRequest")
        | AwaitServerHelloDone(terms, server, schemes, transcript), MessageType.ServerHelloDone ->
            if message.Body.Length = 0 then
                answerDone party terms server schemes (Transcript.hear message transcript)
            else
                Error(Refusal.malformed "ServerHelloDone")
        | AwaitFinished(terms, secrets, server, transcript), MessageType.Finished ->
            Handshake.checkFinished party secrets message transcript
            |> Result.map (fun () ->
                struct (state, [ Done(Handshake.connected party terms secrets server.Group server.Chain) ]))
        | _ -> Refusal.unexpected message
