namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core

/// The server's half of the handshake, RFC 5246 §7.3 and RFC 6347 §4.2.4: message by message, without records or timers.
///
///     AwaitClientHello ──ClientHello──▶ (our flight 4) AwaitCertificate ──Certificate──▶ AwaitKeyExchange
///                                                                                             │ ClientKeyExchange
///                Done ◀──Finished, (our flight 6)── AwaitFinished ◀──CertificateVerify── AwaitVerify
///
/// Where the client is not asked for a certificate, the states of it are left out.
///
/// No HelloVerifyRequest: its cookie proves that the client can be reached at its address (RFC 6347 §4.2.1), and ICE has
/// proved that already, with a password; so a handshake costs no round trip more. A server that anyone may speak to sends it
/// before there is a state, see `DtlsClients`.
[<RequireQualifiedAccess>]
module internal Server =
    /// What the key exchange has made.
    [<NoComparison; NoEquality>]
    type Keyed =
        {
            Chain: byte[][]
            Group: NamedGroup
            Secrets: Secrets
            /// What we shall write with, from our Finished on.
            Ours: Protection
        }

    [<NoComparison; NoEquality>]
    type State =
        | AwaitClientHello
        | AwaitCertificate of Terms * NamedGroup * Transcript
        | AwaitKeyExchange of Terms * NamedGroup * chain: byte[][] * Transcript
        | AwaitVerify of Terms * Keyed * Transcript
        | AwaitFinished of Terms * Keyed * Transcript

    /// TLS_EMPTY_RENEGOTIATION_INFO_SCSV, RFC 5746 §3.3.
    [<Literal>]
    let private EmptyRenegotiation = 0x00ffus

    /// ecdsa_sign and rsa_sign, RFC 5246 §7.4.4 and RFC 8422 §5.5.
    let private certificateTypes = [| 64uy; 1uy |]

    let private chooseSuite (config: DtlsConfig) (hello: ClientHello) (scheme: SignatureScheme) =
        let ours =
            config.Suites
            |> Array.choose (fun id ->
                match Suite.ofId id with
                | ValueSome suite when suite.Rsa = Scheme.isRsa scheme -> Some suite
                | _ -> None)

        Handshake.firstCommon ours hello.Suites (fun suite -> uint16 suite.Id)

    let private chooseGroup (config: DtlsConfig) (offer: Offer) =
        // The hybrid one is of 1.3 alone: its shares are longer than what 1.2's messages hold.
        let ours = config.Groups |> Array.except [| NamedGroup.X25519MLKEM768 |]

        match offer.Groups with
        | ValueSome groups -> Handshake.firstCommon ours groups uint16
        // A client without the extension takes any, RFC 8422 §4; P-256 is what it surely knows.
        | ValueNone -> Handshake.firstCommon ours [| uint16 NamedGroup.Secp256r1 |] uint16

    /// Flight 4: ServerHello, Certificate, ServerKeyExchange, CertificateRequest*, ServerHelloDone; * where the client shows one.
    let private flight (party: Party) (hello: ClientHello) (offer: Offer) (terms: Terms) group scheme transcript =
        let config = party.Config
        use share = Handshake.share party group

        let signature =
            config.Key.Sign(
                scheme,
                ReadOnlySpan(Handshake.signedExchange hello.Random party.Random (uint16 group) share.Public)
            )

        let secureRenegotiation =
            offer.Renegotiated.IsSome || Array.contains EmptyRenegotiation hello.Suites

        Transcript.sayAll
            [ MessageType.ServerHello,
              Message.writeServerHello
                  { Version = Record.Version
                    Random = party.Random
                    // Sessions are not resumed.
                    SessionId = [||]
                    Suite = uint16 terms.Suite.Id
                    Extensions = Extensions.grant terms.Profile offer secureRenegotiation }
              MessageType.Certificate,
              Message.writeCertificate (Array.append [| config.Certificate |] config.Intermediates)
              MessageType.ServerKeyExchange,
              Message.writeServerKeyExchange
                  { Group = uint16 group
                    Public = share.Public
                    Scheme = uint16 scheme
                    Signature = signature }
              if Handshake.asksForCertificate party then
                  MessageType.CertificateRequest,
                  Message.writeCertificateRequest
                      { Types = certificateTypes
                        Schemes = Scheme.ids }
              MessageType.ServerHelloDone, [||] ]
            transcript

    let private answerClientHello (party: Party) (message: Message) : Result<struct (State * Demand list), Refusal> =
        let refuse alert reason = Error(Refusal.create alert reason)

        match Message.readClientHello message.Body with
        | ValueNone -> Error(Refusal.malformed "ClientHello")
        | ValueSome hello ->
            match Extensions.readOffer hello.Extensions with
            | ValueNone -> Error(Refusal.malformed "extensions of ClientHello")
            | ValueSome offer when Hello.choose party.Config hello offer <> ValueSome DtlsVersion.Dtls12 ->
                refuse Alert.ProtocolVersion "the client does not speak DTLS 1.2"
            | ValueSome offer when not offer.ExtendedMasterSecret ->
                // RFC 7627 §5.3 lets us go on; without it a man in the middle can make two sessions alike.
                refuse Alert.HandshakeFailure "the client does not know extended master secrets"
            | ValueSome offer when offer.Renegotiated |> ValueOption.exists (fun c -> c.Length > 0) ->
                refuse Alert.HandshakeFailure "renegotiation_info is not empty"
            | ValueSome offer ->
                match Scheme.choose party.Config.Key offer.Schemes with
                | ValueNone -> refuse Alert.HandshakeFailure "the client takes no signature that our key makes"
                | ValueSome scheme ->
                    match chooseSuite party.Config hello scheme, chooseGroup party.Config offer with
                    | ValueSome suite, ValueSome group ->
                        let terms =
                            { Suite = suite
                              PeerRandom = hello.Random
                              Profile = Handshake.firstCommon party.Config.SrtpProfiles offer.Profiles uint16 }

                        // What a HelloVerifyRequest was numbered is left out, RFC 6347 §4.2.2.
                        let transcript = Transcript.start message.Sequence |> Transcript.hear message

                        let struct (items, transcript) =
                            flight party hello offer terms group scheme transcript

                        let next =
                            if Handshake.asksForCertificate party then
                                AwaitCertificate(terms, group, transcript)
                            else
                                AwaitKeyExchange(terms, group, [||], transcript)

                        Ok(struct (next, [ Say items ]))
                    | ValueNone, _ -> refuse Alert.HandshakeFailure "no cipher suite in common"
                    | _, ValueNone -> refuse Alert.HandshakeFailure "no group in common"

    let private answerKeyExchange (party: Party) (terms: Terms) group chain (message: Message) transcript =
        match Message.readClientKeyExchange message.Body with
        | ValueNone -> Error(Refusal.malformed "ClientKeyExchange")
        | ValueSome share ->
            let transcript = Transcript.hear message transcript

            match Handshake.agree party terms group share transcript with
            | ValueNone -> Error(Refusal.create Alert.IllegalParameter "the client's share of the key agreement")
            | ValueSome secrets ->
                let struct (theirs, ours) = Keys.protections party.Config.Ciphers secrets

                let keyed =
                    { Chain = chain
                      Group = group
                      Secrets = secrets
                      Ours = ours }

                let next =
                    if Handshake.asksForCertificate party then
                        AwaitVerify(terms, keyed, transcript)
                    else
                        AwaitFinished(terms, keyed, transcript)

                Ok(struct (next, Handshake.logKey party secrets @ [ ReadWith theirs ]))

    let receive (party: Party) (message: Message) (state: State) : Result<struct (State * Demand list), Refusal> =
        match state, message.Type with
        | AwaitClientHello, MessageType.ClientHello -> answerClientHello party message
        | AwaitCertificate(terms, group, transcript), MessageType.Certificate ->
            Handshake.authenticate party (Message.readCertificate message.Body)
            |> Result.map (fun chain ->
                struct (AwaitKeyExchange(terms, group, chain, Transcript.hear message transcript), []))
        | AwaitKeyExchange(terms, group, chain, transcript), MessageType.ClientKeyExchange ->
            answerKeyExchange party terms group chain message transcript
        | AwaitVerify(terms, keyed, transcript), MessageType.CertificateVerify ->
            match Message.readCertificateVerify message.Body with
            | ValueNone -> Error(Refusal.malformed "CertificateVerify")
            | ValueSome verify when
                Handshake.verifies party keyed.Chain[0] verify.Scheme (Transcript.bytes transcript) verify.Signature
                ->
                Ok(struct (AwaitFinished(terms, keyed, Transcript.hear message transcript), []))
            | ValueSome _ -> Error(Refusal.create Alert.DecryptError "the signature of CertificateVerify")
        | AwaitFinished(terms, keyed, transcript), MessageType.Finished ->
            Handshake.checkFinished party keyed.Secrets message transcript
            |> Result.map (fun () ->
                let struct (finished, _) =
                    Handshake.finished party keyed.Secrets (Transcript.hear message transcript)

                // Flight 6. It is said again whenever the client repeats its Finished.
                struct (state,
                        [ WriteWith keyed.Ours
                          Say [ ChangeCipherSpec; Whole finished ]
                          Done(Handshake.connected party terms keyed.Secrets keyed.Group keyed.Chain) ]))
        | _ -> Refusal.unexpected message
