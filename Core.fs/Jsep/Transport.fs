namespace Hybrid.WebRtc.Core

/// Which end of the DTLS handshake we are.
type JsepDtlsRole =
    | Client = 0
    | Server = 1

/// What the transport is told, in the order that its layers take it.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type JsepOrder =
    /// Once per session, unless a rollback undid it or the peer is lite. RFC 8445 §6.1.1.
    | SetIceRole of Controlling: bool
    /// Our credentials. Others than before begin a generation; the former one serves until it has connected.
    | SetIceLocal of IceParameters
    /// Back from the generation that a rolled-back offer began to the one before; ValueNone: there was none.
    | RollbackIceLocal of Former: IceParameters voption
    /// The peer's credentials. Others than before: it restarted ICE.
    | SetIceRemote of Credentials: IceParameters * Lite: bool
    /// Behind the former, of the same generation: whether the peer follows nominations after the first.
    | SetIceRenomination of bool
    /// Gather candidates for the credentials that were set last.
    | Gather
    /// A candidate of the peer's, the part from `candidate:` on, and its generation.
    | AddRemoteCandidate of Candidate: string * UsernameFragment: string
    /// That generation of the peer's has no more candidates, RFC 8840 §8.
    | EndOfRemoteCandidates of UsernameFragment: string
    /// A DTLS association with a peer whose certificate has any one of these fingerprints. A second one replaces the
    /// first.
    | StartDtls of Role: JsepDtlsRole * Fingerprints: Fingerprint[]
    /// The section that the association belonged to is over, and the peer says nothing of associations (`a=tls-id`, RFC 8842 §5.1).
    /// It goes on, RFC 9143 §7.5.2, unless the peer comes by another path from now on: then, as Chromium, it has made a new
    /// transport, and a new association begins.
    | RenewDtls of Role: JsepDtlsRole * Fingerprints: Fingerprint[]
    /// An SCTP association over the DTLS one; `MaxMessageSize` in octets is the peer's, `Int64.MaxValue` without limit.
    /// Comes again when only that size changed.
    | StartSctp of RemotePort: uint16 * MaxMessageSize: int64
    /// What media flow, all of it: in place of the plan before. Behind the other orders of a description, and before `Close`.
    | SetMedia of MediaPlan
    /// The data section was turned down: the association and its channels are over.
    | CloseSctp
    /// No section is left that needs a transport: it is over with all that it carries.
    | Close

/// Our side of the transport: ICE credentials and the identity of the DTLS association, RFC 8842 §4.
[<NoComparison>]
type internal LocalSide =
    { Credentials: IceParameters
      TlsId: string }

/// The peer's side of ICE.
[<NoComparison>]
type internal RemoteSide =
    { Credentials: IceParameters
      Lite: bool
      Renominates: bool }

/// The DTLS association as two descriptions have agreed on it.
[<NoComparison; NoEquality>]
type internal DtlsSide =
    {
        Role: JsepDtlsRole
        /// Any one of them may match.
        Fingerprints: Fingerprint[]
        RemoteTlsId: string voption
        /// How often the section that the association belonged to was over, and it went on with another.
        Moves: int
    }

/// The SCTP association as two descriptions have agreed on it.
[<Struct; NoComparison>]
type internal SctpSide =
    { RemotePort: uint16
      MaxMessageSize: int64 }

/// The one transport: all that descriptions have ordered of ICE, DTLS and SCTP. What has to be done when descriptions
/// change is the difference between two of these.
[<NoComparison; NoEquality>]
type internal JsepTransport =
    {
        /// The index of the section that it belongs to; ValueNone before an answer.
        Owner: int voption
        Controlling: bool voption
        Local: LocalSide voption
        Remote: RemoteSide voption
        Dtls: DtlsSide voption
        Sctp: SctpSide voption
    }

module internal JsepTransport =
    /// Nothing ordered.
    let none: JsepTransport =
        { Owner = ValueNone
          Controlling = ValueNone
          Local = ValueNone
          Remote = ValueNone
          Dtls = ValueNone
          Sctp = ValueNone }

    let private refused message =
        Error(Mistake.create ErrorName.InvalidAccessError message)

    /// Our side as the section at `at` of a local description has it.
    let private localSideAt (at: int) (local: Sdp) : LocalSide voption =
        match Section.credentials at local, Section.tlsId at local with
        | ValueSome credentials, ValueSome tlsId ->
            ValueSome
                { Credentials = credentials
                  TlsId = tlsId }
        | _ -> ValueNone

    /// Our side as a local description of ours has it; ValueNone when nothing in it needs a transport.
    let localSide (local: Sdp) : LocalSide voption =
        Section.tryOwner local |> ValueOption.bind (fun at -> localSideAt at local)

    /// The peer's ICE credentials for the section at `at` of a description of its.
    let remoteSide (at: int) (remote: Sdp) : RemoteSide voption =
        Section.credentials at remote
        |> ValueOption.map (fun credentials ->
            { Credentials = credentials
              Lite = SdpAttributes.iceLite remote.Level.Attributes
              Renominates = Section.iceOptions remote |> Array.contains "renomination" })

    let private sameFingerprints (a: Fingerprint[]) (b: Fingerprint[]) =
        let within (xs: Fingerprint[]) x = Array.exists (SdpFingerprint.same x) xs
        Array.forall (within b) a && Array.forall (within a) b

    /// Whether the association goes on: same certificate, and same tls-id where both descriptions have one.
    let continues (fingerprints: Fingerprint[]) (tlsId: string voption) (dtls: DtlsSide) : bool =
        sameFingerprints fingerprints dtls.Fingerprints
        && (tlsId.IsNone || dtls.RemoteTlsId.IsNone || tlsId = dtls.RemoteTlsId)

    /// Whether the peer's credentials are others than the former ones: an ICE restart, RFC 8839 §4.4.1.1.1.
    let isRestart (former: JsepTransport) (remote: RemoteSide) : bool =
        match former.Remote with
        | ValueSome side -> side.Credentials <> remote.Credentials
        | ValueNone -> false

    /// The setup that an answer of ours writes, RFC 8842 §5.3, RFC 5763 §5: the present role where the association goes
    /// on, else active where the offer lets us choose.
    let answerSetup (former: JsepTransport) (at: int) (offer: Sdp) : Result<SdpSetup, Mistake> =
        let present =
            match former.Dtls with
            | ValueSome dtls when continues (Section.fingerprints at offer) (Section.tlsId at offer) dtls ->
                match dtls.Role with
                | JsepDtlsRole.Client -> ValueSome SdpSetup.Active
                | _ -> ValueSome SdpSetup.Passive
            | _ -> ValueNone

        // RFC 4145's default of `active` is not assumed: a peer that says nothing takes either answer.
        match ValueOption.defaultValue SdpSetup.ActPass (Section.setup at offer), present with
        | SdpSetup.ActPass, ValueSome present -> Ok present
        | SdpSetup.ActPass, ValueNone -> Ok SdpSetup.Active
        | SdpSetup.Active, (ValueNone | ValueSome SdpSetup.Passive) -> Ok SdpSetup.Passive
        | SdpSetup.Passive, (ValueNone | ValueSome SdpSetup.Active) -> Ok SdpSetup.Active
        | (SdpSetup.Active | SdpSetup.Passive), _ ->
            refused "a=setup turns the role of the present DTLS association round; offer actpass, RFC 8842 §5.2"
        | _ -> refused "a=setup:holdconn opens no DTLS association; offer actpass, RFC 8842 §5.2"

    /// What an offer of the peer's may not do to the present transport; `at` is the section that owns what it offers.
    let checkOffer (present: JsepTransport) (at: int) (offer: Sdp) : Result<unit, Mistake> =
        match remoteSide at offer with
        | ValueSome remote ->
            let goesOn =
                match present.Dtls with
                | ValueSome dtls -> continues (Section.fingerprints at offer) (Section.tlsId at offer) dtls
                | ValueNone -> true

            if not goesOn && not (isRestart present remote) then
                refused "a new DTLS association (fingerprint or tls-id changed) needs an ICE restart, RFC 8829 §5.8.3"
            else
                answerSetup present at offer |> Result.map ignore
        | ValueNone -> Ok()

    let private roleOf (weOffered: bool) (at: int) (local: Sdp) (remote: Sdp) : Result<JsepDtlsRole, Mistake> =
        if weOffered then
            // RFC 4145 §4.1: an answer without setup is passive.
            match ValueOption.defaultValue SdpSetup.Passive (Section.setup at remote) with
            | SdpSetup.Active -> Ok JsepDtlsRole.Server
            | SdpSetup.Passive -> Ok JsepDtlsRole.Client
            | _ -> refused "an answer's a=setup is active or passive, RFC 8842 §5.3"
        else
            match Section.setup at local with
            | ValueSome SdpSetup.Passive -> Ok JsepDtlsRole.Server
            | _ -> Ok JsepDtlsRole.Client

    /// Restarts come in pairs: both descriptions of an exchange restart ICE, or neither. RFC 8829 §5.10.
    let private checkRestart (settled: JsepTransport) (local: LocalSide) (remote: RemoteSide) : Result<unit, Mistake> =
        match settled.Local with
        | ValueSome former ->
            match former.Credentials <> local.Credentials, isRestart settled remote with
            | true, false when settled.Remote.IsSome ->
                refused "the offer restarted ICE, and the answer has the former ice-ufrag and ice-pwd"
            | false, true -> refused "the answer has another ice-ufrag or ice-pwd, and the offer did not restart ICE"
            | _ -> Ok()
        | ValueNone -> Ok()

    /// Whether the section that owned the transport is turned down in either description.
    let private isOwnerOver (settled: JsepTransport) (local: Sdp) (remote: Sdp) : bool =
        match settled.Owner with
        | ValueSome at ->
            let isOver (sdp: Sdp) =
                at < sdp.Media.Length && Section.isRejected sdp.Media[at]

            isOver local || isOver remote
        | ValueNone -> false

    /// SCTP as an answer and its offer have it: ValueNone without a data section that goes over the transport of `owner`.
    let private sctpSide (weOffered: bool) (owner: int) (local: Sdp) (remote: Sdp) : SctpSide voption =
        let answer, offer = if weOffered then remote, local else local, remote

        match Section.tryData answer with
        | ValueSome at when (Section.bundledWith owner answer)[at] && Section.isData offer.Media[at] ->
            ValueSome
                { RemotePort = Section.sctpPort remote.Media[at]
                  MaxMessageSize = Section.maxMessageSize remote.Media[at] }
        | _ -> ValueNone

    /// The transport of an offer and its answer. `settled` is that of the last finished exchange, `present` what has been
    /// ordered since, by a provisional answer say.
    let ofExchange
        (weOffered: bool)
        (settled: JsepTransport)
        (present: JsepTransport)
        (local: Sdp)
        (remote: Sdp)
        : Result<JsepTransport, Mistake> =
        let sides =
            Section.tryOwner (if weOffered then remote else local)
            |> ValueOption.bind (fun at ->
                match localSideAt at local, remoteSide at remote with
                | ValueSome localSide, ValueSome remoteSide -> ValueSome(struct (at, localSide, remoteSide))
                | _ -> ValueNone)

        match sides with
        | ValueNone -> Ok none
        | ValueSome(struct (at, localSide, remoteSide)) ->
            let fingerprints = Section.fingerprints at remote
            let tlsId = Section.tlsId at remote
            let isMoved = isOwnerOver settled local remote

            // Whoever makes a new association may turn its roles round.
            let isRenewable (dtls: DtlsSide) =
                isMoved && tlsId.IsNone && dtls.RemoteTlsId.IsNone

            let roleKept role =
                match present.Dtls with
                | ValueSome dtls when continues fingerprints tlsId dtls ->
                    if dtls.Role = role || isRenewable dtls then
                        Ok()
                    else
                        refused "a=setup turns the role of the present DTLS association round, RFC 8829 §5.8.3"
                | ValueSome _ when not (isRestart present remoteSide) ->
                    refused
                        "a new DTLS association (fingerprint or tls-id changed) needs an ICE restart, RFC 8829 §5.11"
                | _ -> Ok()

            checkRestart settled localSide remoteSide
            |> Result.bind (fun () -> roleOf weOffered at local remote)
            |> Result.bind (fun role -> roleKept role |> Result.map (fun () -> role))
            |> Result.map (fun role ->
                { Owner = ValueSome at
                  // The first offerer controls, and whoever faces a lite peer, RFC 8445 §6.1.1.
                  Controlling =
                    if remoteSide.Lite then
                        ValueSome true
                    else
                        ValueSome(ValueOption.defaultValue weOffered present.Controlling)
                  Local = ValueSome localSide
                  Remote = ValueSome remoteSide
                  Dtls =
                    ValueSome
                        { Role = role
                          Fingerprints = fingerprints
                          RemoteTlsId = tlsId
                          Moves =
                            (match settled.Dtls with
                             | ValueSome dtls when isRenewable dtls -> dtls.Moves + 1
                             | ValueSome dtls -> dtls.Moves
                             | ValueNone -> 0) }
                  Sctp = sctpSide weOffered at local remote })

    /// The transport once an offer of ours is set: new credentials gather, all else stays as it is.
    let withOffer (present: JsepTransport) (offer: Sdp) : JsepTransport =
        match localSide offer with
        | ValueNone -> present
        | local ->
            { present with
                Local = local
                Controlling = ValueSome(ValueOption.defaultValue true present.Controlling) }
