namespace Hybrid.WebRtc.Core

open JsepSession

/// Sets descriptions: the session machine itself. W3C WebRTC 1.0 §4.4.1.5, RFC 8829 §5.5 to §5.11.
module internal Setting =
    /// The next session and the orders that follow from it; or nothing has changed.
    type Outcome = Result<struct (JsepSession * JsepOrder list), Mistake>

    /// Forgets the proposal that a description of ours has used up.
    let private used (sdp: Sdp) (session: JsepSession) =
        match session.Proposed, JsepTransport.localSide sdp with
        | ValueSome proposed, ValueSome side when proposed.Credentials = side.Credentials || proposed.TlsId = side.TlsId ->
            { session with Proposed = ValueNone }
        | _ -> session

    /// The exchange is over: both descriptions are current, and wishes that they fulfil are forgotten. W3C §4.4.1.5.
    let private settle (local: Applied) (remote: Applied) (offer: Sdp) (session: JsepSession) : JsepSession =
        let inUse (credentials: IceParameters[]) =
            match session.Ordered.Local with
            | ValueSome side when Array.contains side.Credentials credentials -> credentials
            | _ -> [||]

        let turnedDown = (Section.tryData offer).IsSome && session.Ordered.Sctp.IsNone

        let held =
            { CurrentLocal = ValueSome local
              PendingLocal = ValueNone
              CurrentRemote = ValueSome remote
              PendingRemote = ValueNone }

        { session with
            Signaling = SignalingState.Stable
            Held = held
            Media =
                { session.Media with
                    Set = Ties.settled (isDead held) session.Media.Set
                    Stable = [||] }
            Drafted =
                { session.Drafted with
                    Offer = ValueNone
                    Answer = ValueNone }
            Wishes =
                { session.Wishes with
                    Data = session.Wishes.Data && not turnedDown
                    Replace = inUse session.Wishes.Replace
                    Outdated = inUse session.Wishes.Outdated }
            Settled = session.Ordered }

    /// The transceivers that a rollback will return to: those of `stable`.
    let private remembered (session: JsepSession) : JsepSession =
        if session.Signaling = SignalingState.Stable then
            { session with
                Media =
                    { session.Media with
                        Stable = session.Media.Set.Items } }
        else
            session

    /// The transceivers after an answer of either side.
    let private exchanged (weOffered: bool) (kind: SdpType) (local: Sdp) (remote: Sdp) (session: JsepSession) =
        let set =
            session.Media.Set
            |> Agreements.ofExchange
                { WeOffered = weOffered
                  Final = (kind = SdpType.Answer)
                  Owner = session.Ordered.Owner
                  Encryption = session.Configuration.HeaderEncryption
                  Local = local
                  Remote = remote }

        let set =
            if weOffered then
                Agreements.ofRemoteTracks remote set
            else
                Agreements.ofLocalAnswer local set

        withSet set session

    let setLocalOffer (draft: Draft) (session: JsepSession) : Outcome =
        match session.Signaling with
        | SignalingState.Stable
        | SignalingState.HaveLocalOffer ->
            let sdp = draft.Sdp
            let ordered = JsepTransport.withOffer session.Ordered sdp
            let session = remembered session

            let set =
                session.Media.Set
                |> Ties.ofLocalOffer draft.Transceivers sdp
                |> Agreements.ofLocalOffer sdp

            Ok(
                struct ({ session with
                            Signaling = SignalingState.HaveLocalOffer
                            Held =
                                { session.Held with
                                    PendingLocal = ValueSome { Type = SdpType.Offer; Sdp = sdp } }
                            Ordered = ordered }
                        |> withSet set
                        |> used sdp
                        |> changed,
                        Orders.between ValueNone ValueNone session.Ordered ordered)
            )
        | _ -> wrongState "setLocalDescription(offer)" session

    let setLocalAnswer (kind: SdpType) (sdp: Sdp) (session: JsepSession) : Outcome =
        match session.Signaling, session.Held.PendingRemote with
        | (SignalingState.HaveRemoteOffer | SignalingState.HaveLocalPranswer), ValueSome offer ->
            JsepTransport.ofExchange false session.Settled session.Ordered sdp offer.Sdp
            |> Result.map (fun ordered ->
                let applied = { Type = kind; Sdp = sdp }

                let next =
                    { session with Ordered = ordered }
                    |> used sdp
                    |> exchanged false kind sdp offer.Sdp
                    |> changed

                let next =
                    if kind = SdpType.Answer then
                        settle applied offer offer.Sdp next
                    else
                        { next with
                            Signaling = SignalingState.HaveLocalPranswer
                            Held =
                                { next.Held with
                                    PendingLocal = ValueSome applied } }

                let former =
                    // A provisional answer has already passed the offer's candidates on.
                    if session.Signaling = SignalingState.HaveLocalPranswer then
                        ValueSome offer.Sdp
                    else
                        sdpOf session.Held.CurrentRemote

                struct (next, Orders.between former (ValueSome offer.Sdp) session.Ordered ordered))
        | _ -> wrongState "setLocalDescription(answer)" session

    let setRemoteOffer (sdp: Sdp) (session: JsepSession) : Outcome =
        match session.Signaling with
        | SignalingState.Stable
        | SignalingState.HaveRemoteOffer ->
            Checks.description sdp
            |> Result.bind (fun () -> Checks.offer (slots session.Held) sdp)
            |> Result.bind (fun () ->
                let session = remembered session

                let next =
                    session
                    |> withSet (Ties.ofRemoteOffer session.Media.Stable sdp session.Media.Set)

                match accepted sdp next with
                | struct (_, ValueSome owner) ->
                    JsepTransport.checkOffer session.Settled owner sdp
                    |> Result.map (fun () -> next)
                | struct (_, ValueNone) -> Ok next)
            |> Result.map (fun session ->
                struct ({ session with
                            Signaling = SignalingState.HaveRemoteOffer
                            Held =
                                { session.Held with
                                    PendingRemote = ValueSome { Type = SdpType.Offer; Sdp = sdp } } }
                        |> withSet (Agreements.ofRemoteTracks sdp session.Media.Set)
                        |> changed,
                        []))
        | _ -> wrongState "setRemoteDescription(offer)" session

    let setRemoteAnswer (kind: SdpType) (sdp: Sdp) (session: JsepSession) : Outcome =
        match session.Signaling, session.Held.PendingLocal with
        | (SignalingState.HaveLocalOffer | SignalingState.HaveRemotePranswer), ValueSome offer ->
            Checks.description sdp
            |> Result.bind (fun () -> Checks.answer offer.Sdp sdp)
            |> Result.bind (fun () -> JsepTransport.ofExchange true session.Settled session.Ordered offer.Sdp sdp)
            |> Result.map (fun ordered ->
                let applied = { Type = kind; Sdp = sdp }

                let next =
                    { session with Ordered = ordered }
                    |> exchanged true kind offer.Sdp sdp
                    |> changed

                let next =
                    if kind = SdpType.Answer then
                        settle offer applied offer.Sdp next
                    else
                        { next with
                            Signaling = SignalingState.HaveRemotePranswer
                            Held =
                                { next.Held with
                                    PendingRemote = ValueSome applied } }

                struct (next, Orders.between (sdpOf (remote session.Held)) (ValueSome sdp) session.Ordered ordered))
        | _ -> wrongState "setRemoteDescription(answer)" session

    /// Back to what was settled. W3C §4.4.1.5: only offers roll back.
    let rollback (session: JsepSession) : Outcome =
        match session.Signaling with
        | SignalingState.HaveLocalOffer
        | SignalingState.HaveRemoteOffer ->
            let former = session.Settled.Local |> ValueOption.map _.Credentials
            let present = session.Ordered.Local |> ValueOption.map _.Credentials

            Ok(
                struct ({ session with
                            Signaling = SignalingState.Stable
                            Held =
                                { session.Held with
                                    PendingLocal = ValueNone
                                    PendingRemote = ValueNone }
                            Ordered = session.Settled }
                        |> withSet (Ties.rolledBack session.Media.Stable session.Media.Set)
                        |> changed,
                        (if present <> former then
                             [ JsepOrder.RollbackIceLocal former ]
                         else
                             []))
            )
        | _ -> wrongState "a rollback" session
