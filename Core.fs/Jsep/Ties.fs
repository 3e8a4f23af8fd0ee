namespace Hybrid.WebRtc.Core

/// Ties transceivers to the sections of descriptions, RFC 8829 §5.9 and §5.10, and unties them, W3C WebRTC 1.0 §4.4.1.5.
module internal Ties =
    /// After an offer of ours: each transceiver has the section that was written for it.
    let ofLocalOffer (transceivers: TransceiverId[]) (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        let place (t: Transceiver) =
            match t.Place, System.Array.IndexOf(transceivers, t.Id) with
            | ValueNone, at when at >= 0 && t.Life <> Stopped ->
                match Section.mid sdp.Media[at] with
                | ValueSome mid ->
                    { t with
                        Place = ValueSome { Index = at; Mid = mid } }
                | ValueNone -> t
            | _ -> t

        // A section that was recycled leaves its former transceiver without one.
        let isOverlaid (t: Transceiver) =
            match t.Place with
            | ValueSome place when place.Index < transceivers.Length ->
                let owner = transceivers[place.Index]
                owner >= 0 && owner <> t.Id
            | _ -> false

        let untied (t: Transceiver) =
            if isOverlaid t then { t with Place = ValueNone } else t

        { set with
            Items = set.Items |> Array.map (untied >> place) }

    /// Whether `addTrack` made it, and no section is its own yet: an offered section may have it.
    let private isWaiting (kind: MediaKind) (t: Transceiver) =
        t.Kind = kind && Transceivers.isLive t && t.Place.IsNone && t.Maker = ByAddTrack

    /// The rids that the section asks us to send; empty: no simulcast.
    let private asked (m: SdpMedia) : string[] =
        (Simulcast.ofMedia m).Receive
        |> Array.filter (fun alternatives -> alternatives.Length > 0)
        |> Array.map (fun alternatives -> alternatives[0].Rid)
        |> Array.filter Encodings.isRid
        |> Array.distinct

    /// An offer to receive simulcast says how many encodings a sender without rids has, W3C WebRTC 1.0 §4.4.1.5.
    let private withAsked (m: SdpMedia) (t: Transceiver) (set: TransceiverSet) : TransceiverSet =
        let rids = asked m

        if rids.Length > 1 && t.Sender.Encodings.Length = 1 && t.Kind = MediaKind.Video then
            Transceivers.withEncodings (Encodings.ofRids t.Kind rids t.Sender.Encodings) t set
        else
            set

    /// Unties those whose section the offer does not have, or has under another mid; what the offer before it made goes.
    let private pruned (stable: Transceiver[]) (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        let fits (place: Place) =
            place.Index < sdp.Media.Length
            && (match Section.mid sdp.Media[place.Index] with
                | ValueSome mid -> mid = place.Mid
                | ValueNone -> true)

        let wasTied (t: Transceiver) =
            stable |> Array.exists (fun s -> s.Id = t.Id && s.Place.IsSome)

        let kept (t: Transceiver) =
            match t.Place, t.Maker with
            | ValueSome place, _ when fits place -> [| t |]
            | ValueNone, _ -> [| t |]
            | ValueSome _, ByRemote false when not (wasTied t) -> [||]
            | ValueSome _, _ -> [| { t with Place = ValueNone } |]

        { set with
            Items = Array.collect kept set.Items }

    /// A mid for a section without one, that neither a section nor a transceiver has.
    let private freshMid (sdp: Sdp) (set: TransceiverSet) : string =
        let taken = System.Collections.Generic.HashSet(Section.mids sdp)

        for t in set.Items do
            match t.Place with
            | ValueSome place -> taken.Add place.Mid |> ignore
            | ValueNone -> ()

        let rec from n =
            if taken.Contains(string n) then from (n + 1) else string n

        from 0

    /// After an offer of the peer's: each section of media that lives has a transceiver, one that waits or a new one. `stable`:
    /// the transceivers as they were before it.
    let ofRemoteOffer (stable: Transceiver[]) (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        let set = pruned stable sdp set
        let places = Transceivers.places sdp.Media.Length set

        let tie (set: TransceiverSet) (at: int) =
            let m = sdp.Media[at]

            match Section.mediaKind m with
            | ValueSome _ when places[at] >= 0 -> withAsked m set.Items[places[at]] set
            | ValueSome kind when not (Section.isRejected m) ->
                let place =
                    ValueSome
                        { Index = at
                          Mid = Section.mid m |> ValueOption.defaultWith (fun () -> freshMid sdp set) }

                let waiting =
                    if Directions.receives (Directions.ofSection m) then
                        set.Items |> Array.tryFind (isWaiting kind)
                    else
                        None

                match waiting with
                | Some t ->
                    let t = { t with Place = place }
                    withAsked m t (Transceivers.replace t set)
                | None ->
                    let encodings =
                        Encodings.ofInit kind [||] |> Result.defaultValue [| Encodings.plain |]

                    let struct (made, set) =
                        Transceivers.add (ByRemote false) kind Direction.RecvOnly ValueNone [||] encodings set

                    let made = { made with Place = place }
                    withAsked m made (Transceivers.replace made set)
            | _ -> set

        Seq.fold tie set (seq { 0 .. sdp.Media.Length - 1 })

    /// After a rollback, W3C WebRTC 1.0 §4.4.1.5: sections, agreements and what the peer said are as they were in `stable`;
    /// what the application has done since stays. Transceivers that the peer's offer made are gone, unless `addTrack` has
    /// taken them.
    let rolledBack (stable: Transceiver[]) (set: TransceiverSet) : TransceiverSet =
        let former = System.Collections.Generic.Dictionary()

        for t in stable do
            former[t.Id] <- t

        let back (t: Transceiver) =
            match former.TryGetValue t.Id, t.Maker with
            | (true, was), _ ->
                let isAsked = was.Sender.Encodings.Length = 1 && t.Sender.Encodings.Length > 1

                [| { t with
                       Place = was.Place
                       Agreed = if t.Life = Stopped then ValueNone else was.Agreed
                       Receiver = if t.Life = Stopped then t.Receiver else was.Receiver
                       Sender =
                           if isAsked then
                               { t.Sender with
                                   Encodings = was.Sender.Encodings
                                   Sources = was.Sender.Sources }
                           else
                               t.Sender } |]
            | _, ByRemote false -> [||]
            | _, ByRemote true ->
                [| { t with
                       Maker = ByAddTrack
                       Place = ValueNone
                       Agreed = ValueNone
                       Receiver =
                           { t.Receiver with
                               Streams = [||]
                               Fired = false } } |]
            | _ ->
                [| { t with
                       Place = ValueNone
                       Agreed = ValueNone } |]

        // One that was stopped and that no description speaks of any more is over.
        let isOver (t: Transceiver) = t.Life <> Live && t.Place.IsNone

        { set with
            Items = set.Items |> Array.collect back |> Array.filter (isOver >> not) }

    /// Once stable: without those that are stopped and whose section a current description has dead.
    let settled (isDead: int -> bool) (set: TransceiverSet) : TransceiverSet =
        let isGone (t: Transceiver) =
            t.Life = Stopped
            && (match t.Place with
                | ValueSome place -> isDead place.Index
                | ValueNone -> true)

        if Array.exists isGone set.Items then
            { set with
                Items = Array.filter (isGone >> not) set.Items }
        else
            set
