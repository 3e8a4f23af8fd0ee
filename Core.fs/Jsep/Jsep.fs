namespace Hybrid.WebRtc.Core

open JsepSession

[<RequireQualifiedAccess>]
module Jsep =
    [<NoComparison; NoEquality>]
    type Config =
        { Configuration: Configuration
          Fingerprints: Fingerprint[]
          MaxMessageSize: int64
          SctpPort: uint16
          Renomination: bool
          IceLite: bool
          Capabilities: MediaCapabilities }

    [<NoComparison; NoEquality>]
    type State = Session of JsepSession

    [<NoComparison>]
    type Input =
        | CreateOffer of Command: int64 * IceRestart: bool
        | CreateAnswer of Command: int64
        | SetLocalDescription of Command: int64 * Description: Description voption
        | SetRemoteDescription of Command: int64 * Description: Description
        | AddIceCandidate of Command: int64 * Candidate: CandidateInit
        | RestartIce of Command: int64
        | SetConfiguration of Command: int64 * Configuration: Configuration
        | NeedDataSection
        | AddTransceiver of Command: int64 * Init: TransceiverInit
        | AddTrack of Command: int64 * Kind: MediaKind * Track: string * Streams: string[]
        | RemoveTrack of Command: int64 * Transceiver: TransceiverId
        | ReplaceTrack of Command: int64 * Transceiver: TransceiverId * Track: string voption
        | SetDirection of Command: int64 * Transceiver: TransceiverId * Direction: Direction
        | StopTransceiver of Command: int64 * Transceiver: TransceiverId
        | SetCodecPreferences of Command: int64 * Transceiver: TransceiverId * Codecs: RtpCodec[]
        | SetStreams of Command: int64 * Transceiver: TransceiverId * Streams: string[]
        | SetParameters of Command: int64 * Transceiver: TransceiverId * Encodings: EncodingParameters[]
        | SetHeaderExtensions of Command: int64 * Transceiver: TransceiverId * Extensions: ExtensionCapability[]
        | NeedIceRestart
        | LocalCandidate of Candidate: string * UsernameFragment: string
        | CandidateWithdrawn of Candidate: string * UsernameFragment: string
        | GatheringComplete of UsernameFragment: string
        | Close

    [<NoComparison>]
    type Answer =
        | Done
        | Created of Description
        | Transceiver of TransceiverInfo

    [<NoComparison; NoEquality>]
    type Output =
        | Reply of Command: int64 * Result: Result<Answer, Mistake>
        | DescriptionsChanged of Descriptions
        | TransceiversChanged of TransceiverInfo[]
        | TracksChanged of TrackChange[]
        | SignalingStateChanged of SignalingState
        | NegotiationNeeded
        | Order of JsepOrder
        | Ignored of Drop

    [<CompiledName "Create">]
    let create (config: Config) (entropy: Entropy) : State =
        JsepSession.create
            config.Configuration
            config.Fingerprints
            config.MaxMessageSize
            config.SctpPort
            config.Renomination
            config.IceLite
            config.Capabilities
            entropy
        |> Session

    [<CompiledName "SignalingState">]
    let signalingState (Session session) : SignalingState = session.Signaling

    [<CompiledName "Descriptions">]
    let descriptions (Session session) : Descriptions = JsepSession.descriptions session

    [<CompiledName "Configuration">]
    let configuration (Session session) : Configuration = session.Configuration

    [<CompiledName "DtlsRole">]
    let dtlsRole (Session session) : JsepDtlsRole voption =
        session.Ordered.Dtls |> ValueOption.map _.Role

    [<CompiledName "SectionOf">]
    let sectionOf (usernameFragment: string) (Session session) : struct (string voption * int) voption =
        let within (applied: Applied voption) =
            sdpOf applied
            |> ValueOption.bind (fun sdp ->
                Drafts.ofFragment usernameFragment sdp
                |> ValueOption.map (fun at -> struct (Section.mid sdp.Media[at], at)))

        within session.Held.PendingLocal
        |> ValueOption.orElseWith (fun () -> within session.Held.CurrentLocal)

    // ---- what an operation tells ----

    /// Updates the negotiation-needed flag, W3C §4.7.3. Raised when the flag rises, and again when a return to stable
    /// leaves it up.
    let private refresh (returned: bool) (session: JsepSession) : Step<JsepSession, Output> =
        if session.Signaling <> SignalingState.Stable then
            Step.only session
        else
            let needed = Needs.isNegotiationNeeded session

            let next =
                { session with
                    Wishes = { session.Wishes with Told = needed } }

            if needed && (returned || not session.Wishes.Told) then
                Step.one NegotiationNeeded next
            else
                Step.only next

    let private infos (session: JsepSession) : TransceiverInfo[] =
        session.Media.Set.Items |> Array.map (Transceivers.info session.Media.Set.Cname)

    /// The events of a change from `before` to `after`.
    let private events (before: JsepSession) (after: JsepSession) : Output list =
        let former, present = before.Media.Set.Items, after.Media.Set.Items

        let isSameSet =
            former.Length = present.Length
            && Array.forall2 (fun a b -> obj.ReferenceEquals(a, b)) former present

        [ if not (obj.ReferenceEquals(before.Held, after.Held)) then
              DescriptionsChanged(JsepSession.descriptions after)
          if not isSameSet then
              TransceiversChanged(infos after)
          if before.Signaling <> after.Signaling then
              SignalingStateChanged after.Signaling
          if not isSameSet then
              match Agreements.changes before.Media.Set after.Media.Set with
              | [||] -> ()
              | changes -> TracksChanged changes ]

    /// The orders of a change, with what media flow from now on: behind those of the transport that carries them, or before its
    /// end.
    let private ordered (before: JsepSession) (after: JsepSession) (orders: JsepOrder list) : Output list =
        let media =
            if Plans.differ before.Media.Set after.Media.Set then
                [ JsepOrder.SetMedia(Plans.ofSet after.Media.Set) ]
            else
                []

        let isEnd =
            orders
            |> List.exists (fun order ->
                match order with
                | JsepOrder.Close -> true
                | _ -> false)

        List.map Order (if isEnd then media @ orders else orders @ media)

    /// Ends an operation: its events, its reply, its orders, and what negotiation is needed now.
    let private finishWith
        (answer: JsepSession -> Answer)
        (command: int64)
        (before: JsepSession)
        (outcome: Setting.Outcome)
        : Step<JsepSession, Output> =
        match outcome with
        | Error mistake -> struct (before, [ Reply(command, Error mistake) ])
        | Ok(struct (after, orders)) ->
            let returned =
                before.Signaling <> SignalingState.Stable
                && after.Signaling = SignalingState.Stable

            let struct (after, needed) = refresh returned after

            struct (after,
                    events before after
                    @ Reply(command, Ok(answer after)) :: ordered before after orders
                    @ needed)

    let private finish command before outcome =
        finishWith (fun _ -> Done) command before outcome

    // ---- transceivers ----

    /// A request of the application's, which touches transceivers alone.
    let private request
        (command: int64)
        (answersInfo: bool)
        (operation: TransceiverSet -> Requests.Outcome)
        (session: JsepSession)
        : Step<JsepSession, Output> =
        match operation session.Media.Set with
        | Error mistake -> finish command session (Error mistake)
        | Ok(struct (id, set)) ->
            let next =
                if obj.ReferenceEquals(set, session.Media.Set) then
                    session
                else
                    changed (withSet set session)

            let answer (after: JsepSession) =
                match Transceivers.tryFind id after.Media.Set with
                | ValueSome t when answersInfo -> Transceiver(Transceivers.info after.Media.Set.Cname t)
                | _ -> Done

            finishWith answer command session (Ok(struct (next, [])))

    let private replyDraft
        (command: int64)
        (kind: SdpType)
        (before: JsepSession)
        (result: Result<struct (Draft * JsepSession), _>)
        =
        match result with
        | Error mistake -> Step.one (Reply(command, Error mistake)) before
        | Ok(struct (draft, session)) ->
            Step.one (Reply(command, Ok(Created { Type = kind; Sdp = draft.Text }))) session

    // ---- setLocalDescription, setRemoteDescription ----

    let private sameText (a: string) (b: string) =
        a = b
        || a.ReplaceLineEndings("\n").TrimEnd('\n') = b.ReplaceLineEndings("\n").TrimEnd('\n')

    /// The draft that a local description means, W3C §4.4.2, setLocalDescription steps 4.2 to 4.5.
    let private meant
        (kind: SdpType)
        (text: string)
        (session: JsepSession)
        : Result<struct (Draft * JsepSession), Mistake> =
        let last =
            if kind = SdpType.Offer then
                session.Drafted.Offer
            else
                session.Drafted.Answer

        match last with
        | ValueSome draft when text <> "" && sameText text draft.Text -> Ok(struct (draft, session))
        | _ when text <> "" ->
            refuse
                ErrorName.InvalidModificationError
                "the SDP is not what createOffer or createAnswer answered last; set that, or an empty SDP"
        | ValueSome draft when draft.Stamp = session.Stamp -> Ok(struct (draft, session))
        | _ when kind = SdpType.Offer -> Drafting.createOffer false session
        | _ -> Drafting.createAnswer session

    let private setLocal (description: Description voption) (session: JsepSession) : Setting.Outcome =
        let implied =
            match session.Signaling with
            | SignalingState.Stable
            | SignalingState.HaveLocalOffer
            | SignalingState.HaveRemotePranswer -> SdpType.Offer
            | _ -> SdpType.Answer

        let struct (kind, text) =
            match description with
            | ValueSome description -> struct (description.Type, description.Sdp)
            | ValueNone -> struct (implied, "")

        match kind with
        | SdpType.Rollback -> Setting.rollback session
        | SdpType.Offer ->
            meant kind text session
            |> Result.bind (fun (struct (draft, session)) -> Setting.setLocalOffer draft session)
        | _ ->
            meant kind text session
            |> Result.bind (fun (struct (draft, session)) -> Setting.setLocalAnswer kind draft.Sdp session)

    let private parse (text: string) : Result<Sdp, Mistake> =
        SdpParser.parse text |> Result.mapError (fun e -> Mistake.sdp e.Line e.Message)

    /// Whether a description of the peer's may come now, the session being looked at before its text, W3C §4.4.1.5.
    let private remoteFits (kind: SdpType) (session: JsepSession) : Result<unit, Mistake> =
        match kind, session.Signaling with
        | SdpType.Offer, (SignalingState.Stable | SignalingState.HaveRemoteOffer | SignalingState.HaveLocalOffer) ->
            Ok()
        | SdpType.Offer, _ -> wrongState "setRemoteDescription(offer)" session
        | _, (SignalingState.HaveLocalOffer | SignalingState.HaveRemotePranswer) -> Ok()
        | _ -> wrongState "setRemoteDescription(answer)" session

    let private setRemote
        (command: int64)
        (description: Description)
        (session: JsepSession)
        : Step<JsepSession, Output> =
        let prepared =
            remoteFits description.Type session
            |> Result.bind (fun () -> parse description.Sdp)

        match description.Type, session.Signaling with
        | SdpType.Rollback, _ -> finish command session (Setting.rollback session)
        | SdpType.Offer, SignalingState.HaveLocalOffer ->
            // Glare: our offer is rolled back, and theirs set, or neither. RFC 8829 §4.1.10.2.
            let outcome =
                prepared
                |> Result.bind (fun sdp ->
                    Setting.rollback session
                    |> Result.bind (fun (struct (rolled, undone)) ->
                        Setting.setRemoteOffer sdp rolled
                        |> Result.map (fun (struct (next, orders)) -> struct (rolled, undone, next, orders))))

            match outcome with
            | Error mistake -> finish command session (Error mistake)
            | Ok(struct (rolled, undone, next, orders)) ->
                let struct (next, told) = finish command rolled (Ok(struct (next, orders)))
                struct (next, events session rolled @ ordered session rolled undone @ told)
        | SdpType.Offer, _ ->
            finish command session (Result.bind (fun sdp -> Setting.setRemoteOffer sdp session) prepared)
        | kind, _ -> finish command session (Result.bind (fun sdp -> Setting.setRemoteAnswer kind sdp session) prepared)

    // ---- the rest ----

    /// All credentials of ours in the current and the pending description.
    let private inUse (session: JsepSession) : IceParameters[] =
        [| session.Held.CurrentLocal; session.Held.PendingLocal |]
        |> Array.choose (fun applied ->
            match sdpOf applied |> ValueOption.bind JsepTransport.localSide with
            | ValueSome side -> Some side.Credentials
            | ValueNone -> None)

    let private setConfiguration (configuration: Configuration) (session: JsepSession) : Setting.Outcome =
        let former = session.Configuration

        // No certificates named: those of the connection.
        let configuration =
            if configuration.Certificates.Length = 0 then
                { configuration with
                    Certificates = former.Certificates }
            else
                configuration

        let unchangeable what =
            refuse ErrorName.InvalidModificationError ("setConfiguration cannot change " + what)

        if configuration.Certificates <> former.Certificates then
            unchangeable "certificates"
        elif configuration.BundlePolicy <> former.BundlePolicy then
            unchangeable "bundlePolicy"
        elif
            configuration.IceCandidatePoolSize <> former.IceCandidatePoolSize
            && (local session.Held).IsSome
        then
            unchangeable "iceCandidatePoolSize once a local description is set"
        else
            let isNew =
                configuration.IceServers <> former.IceServers
                || configuration.IceTransportPolicy <> former.IceTransportPolicy

            let next =
                { session with
                    Configuration = configuration }

            if isNew then
                Ok(
                    struct (changed
                                { next with
                                    Wishes =
                                        { next.Wishes with
                                            Outdated = inUse session } },
                            [])
                )
            else
                Ok(struct (next, []))

    let private addCandidate
        (command: int64)
        (candidate: CandidateInit)
        (session: JsepSession)
        : Step<JsepSession, Output> =
        match Candidates.add candidate session with
        | Error mistake -> finish command session (Error mistake)
        | Ok(struct (next, Ok orders)) -> finish command session (Ok(struct (next, orders)))
        | Ok(struct (next, Error drop)) ->
            let struct (next, told) = finish command session (Ok(struct (next, [])))
            struct (next, told @ [ Ignored drop ])

    /// Notes in our descriptions what ICE gathered.
    let private note (edit: Sdp -> Sdp voption) (session: JsepSession) : Step<JsepSession, Output> =
        match Candidates.gathered edit session with
        | ValueSome next -> Step.one (DescriptionsChanged(JsepSession.descriptions next)) next
        | ValueNone -> Step.one (Ignored Drop.Stale) session

    let private closed (input: Input) (session: JsepSession) : Step<JsepSession, Output> =
        match input with
        | CreateOffer(command, _)
        | CreateAnswer command
        | SetLocalDescription(command, _)
        | SetRemoteDescription(command, _)
        | SetConfiguration(command, _) -> Step.one (Reply(command, wrongState "the operation" session)) session
        | AddIceCandidate(command, candidate) -> addCandidate command candidate session
        | AddTransceiver(command, _)
        | AddTrack(command, _, _, _)
        | RemoveTrack(command, _)
        | ReplaceTrack(command, _, _)
        | SetDirection(command, _, _)
        | StopTransceiver(command, _)
        | SetCodecPreferences(command, _, _)
        | SetStreams(command, _, _)
        | SetParameters(command, _, _)
        | SetHeaderExtensions(command, _, _) -> Step.one (Reply(command, wrongState "the operation" session)) session
        // W3C's restartIce() does nothing on a closed connection.
        | RestartIce command -> Step.one (Reply(command, Ok Done)) session
        | NeedDataSection
        | NeedIceRestart
        | LocalCandidate _
        | CandidateWithdrawn _
        | GatheringComplete _
        | Close -> Step.one (Ignored Drop.Stale) session

    // W3C WebRTC 1.0 §4.4.2, restartIce.
    let private replacing (session: JsepSession) : JsepSession =
        changed
            { session with
                Wishes =
                    { session.Wishes with
                        Replace = inUse session } }

    let private operate (input: Input) (session: JsepSession) : Step<JsepSession, Output> =
        match input with
        | input when session.Signaling = SignalingState.Closed -> closed input session
        | CreateOffer(command, restart) ->
            replyDraft command SdpType.Offer session (Drafting.createOffer restart session)
        | CreateAnswer command -> replyDraft command SdpType.Answer session (Drafting.createAnswer session)
        | SetLocalDescription(command, description) -> finish command session (setLocal description session)
        | SetRemoteDescription(command, description) -> setRemote command description session
        | AddIceCandidate(command, candidate) -> addCandidate command candidate session
        | RestartIce command -> finish command session (Ok(struct (replacing session, [])))
        | NeedIceRestart -> refresh false (replacing session)
        | SetConfiguration(command, configuration) -> finish command session (setConfiguration configuration session)
        | NeedDataSection when session.Wishes.Data -> refresh false session
        | NeedDataSection ->
            refresh
                false
                (changed
                    { session with
                        Wishes = { session.Wishes with Data = true } })
        | AddTransceiver(command, init) ->
            request command true (Requests.addTransceiver session.Media.Capabilities init) session
        | AddTrack(command, kind, track, streams) -> request command true (Requests.addTrack kind track streams) session
        | RemoveTrack(command, id) -> request command false (Requests.removeTrack id) session
        | ReplaceTrack(command, id, track) -> request command false (Requests.replaceTrack id track) session
        | SetDirection(command, id, direction) -> request command false (Requests.setDirection id direction) session
        | StopTransceiver(command, id) -> request command false (Requests.stop id) session
        | SetCodecPreferences(command, id, codecs) ->
            request command false (Requests.setCodecPreferences session.Media.Capabilities id codecs) session
        | SetStreams(command, id, streams) -> request command false (Requests.setStreams id streams) session
        | SetParameters(command, id, encodings) ->
            request command false (Requests.setParameters session.Media.Capabilities id encodings) session
        | SetHeaderExtensions(command, id, extensions) ->
            request command false (Requests.setHeaderExtensions session.Media.Capabilities id extensions) session
        | LocalCandidate(line, fragment) ->
            match Candidates.value line with
            | Ok value -> note (Drafts.withIce fragment (SdpAttribute.create "candidate" value)) session
            | Error _ -> Step.one (Ignored Drop.Malformed) session
        | CandidateWithdrawn(line, fragment) ->
            match Candidates.value line with
            | Ok value -> note (Drafts.withoutCandidate fragment value) session
            | Error _ -> Step.one (Ignored Drop.Malformed) session
        | GatheringComplete fragment -> note (Drafts.withIce fragment (SdpAttribute.flag "end-of-candidates")) session
        | Close ->
            Step.only
                { session with
                    Signaling = SignalingState.Closed }

    [<CompiledName "Step">]
    let step (input: Input) (Session session) : Step<State, Output> =
        let struct (next, outputs) = operate input session
        struct (Session next, outputs)
