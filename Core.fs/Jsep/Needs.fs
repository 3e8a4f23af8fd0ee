namespace Hybrid.WebRtc.Core

open JsepSession

/// W3C WebRTC 1.0 §4.7.3, "check if negotiation is needed".
module internal Needs =
    /// The streams that a section says its track belongs to, in some order.
    let private streamsOf (m: SdpMedia) : string[] =
        SdpAttributes.msids m.Level.Attributes
        |> Array.map (fun value -> value.Split(' ')[0])
        |> Array.distinct
        |> Array.sort

    /// Step 5 for one transceiver, against the settled descriptions.
    let private ofTransceiver (local: Applied) (remote: Applied) (t: Transceiver) : bool =
        let section (applied: Applied) : SdpMedia voption =
            match t.Place with
            | ValueSome place when place.Index < applied.Sdp.Media.Length ->
                let m = applied.Sdp.Media[place.Index]

                match Section.mid m with
                | ValueSome mid when mid <> place.Mid -> ValueNone
                | _ -> ValueSome m
            | _ -> ValueNone

        match t.Life, section local, section remote with
        | Stopping, _, _ -> true
        | Stopped, ValueSome ours, ValueSome theirs -> not (Section.isRejected ours || Section.isRejected theirs)
        | Stopped, _, _ -> false
        | Live, ValueSome ours, ValueSome theirs ->
            let present = Directions.ofSection ours
            let offered = Directions.reversed (Directions.ofSection theirs)

            let streams =
                if t.Sender.Streams.Length = 0 then
                    [| "-" |]
                else
                    Array.sort t.Sender.Streams

            (Directions.sends t.Direction && streamsOf ours <> streams)
            || (if local.Type = SdpType.Offer then
                    present <> t.Direction && offered <> t.Direction
                else
                    present <> Directions.intersect offered t.Direction)
        | Live, _, _ -> true

    let isNegotiationNeeded (session: JsepSession) : bool =
        let wantsMedia =
            match session.Held.CurrentLocal, session.Held.CurrentRemote with
            | ValueSome local, ValueSome remote -> Array.exists (ofTransceiver local remote) session.Media.Set.Items
            | _ -> session.Media.Set.Items.Length > 0

        session.Wishes.Replace <> [||]
        || (session.Wishes.Data && not (Array.exists Drafts.isLiveData (slots session.Held)))
        || wantsMedia
