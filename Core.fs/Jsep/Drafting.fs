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
    let private number
        (sdp: Sdp)
        (transceivers: TransceiverId[])
        (session: JsepSession)
        : struct (Draft * JsepSession) =
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
                  Transceivers = transceivers
                  Stamp = session.Stamp },
                { session with
                    Drafted =
                        { drafted with
                            Version = version
                            Content = content } })

    /// The payload types and the ids of extensions that are in use: those that we gave, then those of the peer.
    let private inUse (held: Held) : struct (PayloadTypes * ExtensionIds) =
        let mutable types = PayloadTypes.None
        let mutable ids = ExtensionIds.None

        for applied in [| held.CurrentLocal; held.PendingLocal; held.CurrentRemote |] do
            match applied with
            | ValueSome { Sdp = sdp } ->
                for i in 0 .. sdp.Media.Length - 1 do
                    if (Section.mediaKind sdp.Media[i]).IsSome && not (Section.isRejected sdp.Media[i]) then
                        types <- Codecs.remember (Codecs.ofMedia sdp.Media[i]) types
                        ids <- Extmaps.remember (Extmaps.ofMedia sdp.Media[i] sdp.Level) ids
            | ValueNone -> ()

        struct (types, ids)

    /// The sections of an offer, and whose each is.
    let private offerLines (session: JsepSession) : struct (Line[] * TransceiverId[]) =
        let held = session.Held
        let media = session.Media

        let laid =
            Seats.offer session.Wishes.Data (slots held) (isDead held) (takenMids held) media.Set

        let answer = lastAnswer held

        /// The section as the last exchange left it, where that was about the present one.
        let former (at: int) (slot: Slot) : MediaSections.Former voption =
            match answer, held.CurrentLocal with
            | ValueSome answer, ValueSome { Sdp = ours } when at < answer.Media.Length && not (isDead held at) ->
                let m = answer.Media[at]

                if m.Kind = slot.Kind && (Section.mid m = slot.Mid || (Section.mid m).IsNone) then
                    ValueSome
                        { Answer = m
                          AnswerLevel = answer.Level
                          Ours = ours.Media[at] }
                else
                    ValueNone
            | _ -> ValueNone

        let isNew at =
            let struct (slot, _) = laid[at]
            (former at slot).IsNone

        let bundleOnly = Seats.bundleOnly session.Configuration.BundlePolicy isNew laid

        let struct (types, ids) = inUse held
        let mutable types = types
        let mutable ids = ids

        let line at (struct (slot: Slot, seat)) =
            match seat with
            | Vacant -> DeadLine slot
            | ForData -> DataLine(slot, bundleOnly[at])
            | ForMedia t ->
                let former = former at slot

                let struct (content, nextTypes, nextIds) =
                    MediaSections.offer media.Capabilities session.Configuration.HeaderEncryption former types ids t

                types <- nextTypes
                ids <- nextIds

                let slot =
                    { slot with
                        Formats = MediaSections.formats content }

                MediaLine(slot, bundleOnly[at], former.IsNone, MediaSections.attributes media.Set.Cname t content)

        struct (Array.mapi line laid,
                laid
                |> Array.map (fun (struct (_, seat)) ->
                    match seat with
                    | ForMedia t -> t.Id
                    | ForData
                    | Vacant -> -1))

    /// The sections of an answer.
    let private answerLines (offer: Sdp) (accepted: bool[]) (session: JsepSession) : Line[] =
        let media = session.Media
        let places = Transceivers.places offer.Media.Length media.Set

        Drafts.slots offer ValueNone
        |> Array.mapi (fun i slot ->
            if not accepted[i] then
                DeadLine slot
            elif slot.Kind = "application" then
                DataLine(slot, false)
            else
                let t = media.Set.Items[places[i]]

                let content =
                    MediaSections.answer media.Capabilities session.Configuration.HeaderEncryption i offer t

                let slot =
                    { slot with
                        Formats = MediaSections.formats content }

                MediaLine(slot, false, false, MediaSections.attributes media.Set.Cname t content))

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

            let struct (lines, transceivers) = offerLines session

            let sdp =
                Drafts.offer session.Facts side lines
                |> Drafts.withGathered (sdpOf (local held))

            let struct (draft, session) = number sdp transceivers session

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

            let struct (accepted, owner) = accepted offer session

            let goesOn (at: int) =
                match session.Settled.Dtls with
                | ValueSome dtls ->
                    JsepTransport.continues (Section.fingerprints at offer) (Section.tlsId at offer) dtls
                | ValueNone -> false

            let side =
                match
                    sdpOf session.Held.PendingLocal |> ValueOption.bind JsepTransport.localSide,
                    session.Settled.Local,
                    owner,
                    owner |> ValueOption.bind (fun at -> JsepTransport.remoteSide at offer)
                with
                | ValueSome provisional, _, _, _ -> provisional
                | ValueNone, ValueSome settled, _, ValueSome remote when
                    not (JsepTransport.isRestart session.Settled remote)
                    ->
                    settled
                | ValueNone, ValueSome settled, ValueSome at, ValueSome _ when goesOn at ->
                    { settled with
                        Credentials = fresh.Credentials }
                | _ -> fresh

            let setup =
                match owner with
                | ValueSome at -> JsepTransport.answerSetup session.Ordered at offer
                | ValueNone -> Ok SdpSetup.Active

            setup
            |> Result.map (fun setup ->
                let sdp =
                    answerLines offer accepted session
                    |> Drafts.answer session.Facts side setup offer
                    |> Drafts.withGathered (sdpOf (local session.Held))

                let struct (draft, session) = number sdp [||] session

                struct (draft,
                        { session with
                            Drafted =
                                { session.Drafted with
                                    Answer = ValueSome draft } }))
        | _ -> wrongState "createAnswer" session
