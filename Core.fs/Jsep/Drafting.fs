namespace Hybrid.WebRtc.Core

open JsepSession

/// createOffer and createAnswer, RFC 8829 §4.1.8 and §4.1.9.
module internal Drafting =
    let private takenMids (held: Held) =
        [| held.CurrentLocal
           held.PendingLocal
           held.CurrentRemote
           held.PendingRemote |]
        |> Array.collect (fun applied ->
            match applied with
            | ValueSome a -> Section.mids a.Sdp
            | ValueNone -> [||])

    /// Our side of the next generation, the same until it is used.
    let private proposed (session: JsepSession) : struct (LocalSide * JsepSession) =
        match session.Proposed with
        | ValueSome side -> struct (side, session)
        | ValueNone ->
            let struct (side, entropy) = Drafts.side session.Entropy

            struct (side,
                    { session with
                        Entropy = entropy
                        Proposed = ValueSome side })

    /// Numbers a description, RFC 8829 §5.2.2: with the former number if it says the same, else with the next.
    let private number (sdp: Sdp) (session: JsepSession) : struct (Draft * JsepSession) =
        let content = SdpPrinter.print sdp
        let drafted = session.Drafted

        let version =
            if content = drafted.Content then
                drafted.Version
            else
                drafted.Version + 1UL

        let sdp =
            { sdp with
                Origin =
                    { sdp.Origin with
                        SessionVersion = string version } }

        struct ({ Text = SdpPrinter.print sdp
                  Sdp = sdp
                  Stamp = session.Stamp },
                { session with
                    Drafted =
                        { drafted with
                            Version = version
                            Content = content } })

    let createOffer (restart: bool) (session: JsepSession) : Result<struct (Draft * JsepSession), Mistake> =
        match session.Signaling with
        | SignalingState.Stable
        | SignalingState.HaveLocalOffer ->
            let struct (fresh, session) = proposed session
            let held = session.Held

            let present =
                sdpOf held.PendingLocal
                |> ValueOption.bind JsepTransport.localSide
                |> ValueOption.orElse session.Settled.Local

            let isOutworn credentials =
                restart
                || Array.contains credentials session.Wishes.Replace
                || Array.contains credentials session.Wishes.Outdated

            let side =
                match present with
                | ValueSome present when isOutworn present.Credentials ->
                    { present with
                        Credentials = fresh.Credentials }
                | ValueSome present -> present
                | ValueNone -> fresh

            let taken = takenMids held

            let slots =
                if session.Wishes.Data then
                    Drafts.withData taken (slots held)
                else
                    slots held

            let sdp =
                Drafts.offer session.Facts side taken slots
                |> Drafts.withGathered (sdpOf (local held))

            let struct (draft, session) = number sdp session

            Ok(
                struct (draft,
                        { session with
                            Drafted =
                                { session.Drafted with
                                    Offer = ValueSome draft } })
            )
        | _ -> wrongState "createOffer" session

    let createAnswer (session: JsepSession) : Result<struct (Draft * JsepSession), Mistake> =
        match session.Signaling, session.Held.PendingRemote with
        | (SignalingState.HaveRemoteOffer | SignalingState.HaveLocalPranswer), ValueSome { Sdp = offer } ->
            let struct (fresh, session) = proposed session

            let goesOn (at: int) =
                match session.Settled.Dtls with
                | ValueSome dtls ->
                    JsepTransport.continues (Section.fingerprints at offer) (Section.tlsId at offer) dtls
                | ValueNone -> false

            let side =
                match
                    sdpOf session.Held.PendingLocal |> ValueOption.bind JsepTransport.localSide,
                    session.Settled.Local,
                    JsepTransport.remoteSide offer
                with
                | ValueSome provisional, _, _ -> provisional
                | ValueNone, ValueSome settled, ValueSome remote when
                    not (JsepTransport.isRestart session.Settled remote)
                    ->
                    settled
                | ValueNone, ValueSome settled, ValueSome _ when
                    (match Section.tryData offer with
                     | ValueSome at -> goesOn at
                     | ValueNone -> false)
                    ->
                    { settled with
                        Credentials = fresh.Credentials }
                | _ -> fresh

            let setup =
                match Section.tryData offer with
                | ValueSome at -> JsepTransport.answerSetup session.Ordered at offer
                | ValueNone -> Ok SdpSetup.Active

            setup
            |> Result.map (fun setup ->
                let sdp =
                    Drafts.answer session.Facts side setup offer
                    |> Drafts.withGathered (sdpOf (local session.Held))

                let struct (draft, session) = number sdp session

                struct (draft,
                        { session with
                            Drafted =
                                { session.Drafted with
                                    Answer = ValueSome draft } }))
        | _ -> wrongState "createAnswer" session
