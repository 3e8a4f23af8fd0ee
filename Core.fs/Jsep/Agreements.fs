namespace Hybrid.WebRtc.Core

/// What descriptions do to transceivers, W3C WebRTC 1.0 §4.4.1.5 and RFC 8829 §5.9 to §5.11: agreements on codecs and
/// directions, tracks of receivers, stopping.
module internal Agreements =
    let private nothing: RemoteFacts =
        { Sources = [||]
          Rids = [||]
          Taken = [||]
          Paused = [||] }

    /// With what `more` has beyond it, told apart by a number.
    let private union (number: 'a -> int) (first: 'a[]) (more: 'a[]) : 'a[] =
        Array.append
            first
            (more
             |> Array.filter (fun m -> not (Array.exists (fun f -> number f = number m) first)))

    /// Each transceiver that has a section in the description, through `change`.
    let private map (sdp: Sdp) (change: Transceiver -> int -> Transceiver) (set: TransceiverSet) : TransceiverSet =
        { set with
            Items =
                set.Items
                |> Array.map (fun t ->
                    match t.Place with
                    | ValueSome place when place.Index < sdp.Media.Length && t.Life <> Stopped -> change t place.Index
                    | _ -> t) }

    /// After an offer of ours: what it says may arrive at once (early media); what was agreed before goes on.
    let ofLocalOffer (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        set
        |> map sdp (fun t at ->
            let m = sdp.Media[at]

            if Section.isRejected m || not (Transceivers.isLive t) then
                t
            else
                let was =
                    t.Agreed
                    |> ValueOption.defaultValue
                        { Flow = Direction.Inactive
                          SendCodecs = [||]
                          ReceiveCodecs = [||]
                          Extensions = [||]
                          ReducedSize = false
                          ReceiverRoundTrip = false
                          HeaderEncryption = false
                          DeclaresFec = false
                          Remote = nothing }

                let receives =
                    Directions.receives was.Flow || Directions.receives (Directions.ofSection m)

                { t with
                    Agreed =
                        ValueSome
                            { was with
                                Flow = Directions.create (Directions.sends was.Flow) receives
                                ReceiveCodecs = union _.PayloadType (Codecs.ofMedia m) was.ReceiveCodecs
                                Extensions = union _.Id (Extmaps.ofMedia m sdp.Level) was.Extensions } })

    /// What the sections of one transceiver agree on.
    let private agreed (weOffered: bool) (flow: Direction) (at: int) (local: Sdp) (remote: Sdp) : Agreement =
        let ours, theirs = local.Media[at], remote.Media[at]

        let struct (send, receive) =
            Codecs.agreed (Codecs.ofMedia ours) (Codecs.ofMedia theirs)

        let simulcast = Simulcast.ofMedia theirs

        let offered, answered =
            if weOffered then
                Simulcast.ofMedia ours, simulcast
            else
                simulcast, Simulcast.ofMedia ours

        // Of our offer what their answer takes, of their offer what our answer sends.
        let taken =
            if weOffered then
                Simulcast.accepted offered answered
            else
                Array.concat answered.Send

        let both (holds: SdpMedia -> bool) = holds ours && holds theirs

        { Flow = flow
          SendCodecs = send
          ReceiveCodecs = receive
          Extensions = Extmaps.agreed (Extmaps.ofMedia ours local.Level) (Extmaps.ofMedia theirs remote.Level)
          ReducedSize = both (fun m -> SdpAttributes.rtcpRsize m.Level.Attributes)
          ReceiverRoundTrip = both (fun m -> SdpAttributes.receiverRoundTrip m.Level.Attributes)
          HeaderEncryption = MediaSections.isCryptex at local && MediaSections.isCryptex at remote
          DeclaresFec =
            (Sources.ofMedia ours).Sources
            |> Array.exists (fun source -> source.FecSsrc <> 0u)
          Remote =
            { Sources = (Sources.ofMedia theirs).Sources
              Rids =
                // Of their answer what our offer lets them send, of their offer what our answer takes.
                if weOffered then
                    Simulcast.sent simulcast
                else
                    (Simulcast.ofMedia ours).Receive |> Array.concat |> Array.map _.Rid
              Taken = taken |> Array.map _.Rid
              Paused = taken |> Array.filter _.Paused |> Array.map _.Rid } }

    /// With the encodings that an answer takes of those that we offered; the first one alone, and without its rid, where it
    /// takes none. W3C WebRTC 1.0 §4.4.1.5.
    let private withAccepted (offer: SdpMedia) (answer: SdpMedia) (t: Transceiver) : Transceiver =
        let offered = Simulcast.ofMedia offer

        if t.Sender.Encodings.Length < 2 || offered.Send.Length = 0 then
            t
        else
            let taken = Simulcast.accepted offered (Simulcast.ofMedia answer) |> Array.map _.Rid

            let kept =
                match
                    [| 0 .. t.Sender.Encodings.Length - 1 |]
                    |> Array.filter (fun i -> Array.contains t.Sender.Encodings[i].Rid taken)
                with
                | [||] -> [| 0 |]
                | some -> some

            if kept.Length = t.Sender.Encodings.Length then
                t
            else
                let encodings = kept |> Array.map (fun i -> t.Sender.Encodings[i])

                { t with
                    Sender =
                        { t.Sender with
                            Encodings =
                                match encodings with
                                | [| single |] -> [| { single with Rid = "" } |]
                                | several -> several
                            Sources = kept |> Array.map (fun i -> t.Sender.Sources[i]) } }

    /// What an answer is read by.
    [<NoComparison; NoEquality>]
    type Exchange =
        {
            WeOffered: bool
            /// An answer, not a provisional one.
            Final: bool
            /// Of the section whose transport all media go over; ValueNone: there is none.
            Owner: int voption
            Encryption: HeaderEncryptionPolicy
            Local: Sdp
            Remote: Sdp
        }

    /// After an answer of either side.
    let ofExchange (x: Exchange) (set: TransceiverSet) : TransceiverSet =
        let offer, answer = if x.WeOffered then x.Local, x.Remote else x.Remote, x.Local

        let carried =
            match x.Owner with
            | ValueSome owner -> Section.bundledWith owner answer
            | ValueNone -> Array.create answer.Media.Length false

        set
        |> map answer (fun t at ->
            let ours, theirs = x.Local.Media[at], x.Remote.Media[at]

            if
                Section.isRejected ours
                || Section.isRejected theirs
                || (x.Encryption = HeaderEncryptionPolicy.Require
                    && not (MediaSections.isCryptex at x.Remote))
            then
                Transceivers.stopped t
            else
                let direction =
                    Directions.intersect
                        (Directions.ofSection ours)
                        (Directions.reversed (Directions.ofSection theirs))

                // A peer that does not bundle has a transport of its own for this section, and we have one.
                let flow = if carried[at] then direction else Direction.Inactive
                let agreed = agreed x.WeOffered flow at x.Local x.Remote

                let t =
                    if x.WeOffered && x.Final then
                        withAccepted offer.Media[at] answer.Media[at] t
                    else
                        t

                { t with
                    CurrentDirection = ValueSome flow
                    Agreed = ValueSome agreed
                    Sender =
                        if Directions.sends flow && not t.Sender.EverSent then
                            { t.Sender with EverSent = true }
                        else
                            t.Sender })

    /// What a remote description says of the peer's tracks; a section of an offer that is turned down is over.
    let ofRemoteTracks (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        set
        |> map sdp (fun t at ->
            let m = sdp.Media[at]
            let receives = Directions.sends (Directions.ofSection m)

            if Section.isRejected m then
                Transceivers.stopped t
            elif not (Transceivers.isLive t) then
                t
            else
                { t with
                    Receiver =
                        { t.Receiver with
                            Streams = if receives then (Sources.ofMedia m).Streams else [||]
                            Fired = receives } })

    /// What an answer of ours says of the peer's tracks: those that it does not receive are gone.
    let ofLocalAnswer (sdp: Sdp) (set: TransceiverSet) : TransceiverSet =
        set
        |> map sdp (fun t at ->
            if Directions.receives (Directions.ofSection sdp.Media[at]) then
                t
            else
                { t with
                    Receiver =
                        { t.Receiver with
                            Streams = [||]
                            Fired = false } })

    /// What happened to receivers' tracks from one set to the next: first those that went, then those that came, W3C WebRTC
    /// 1.0 §4.4.1.5.
    let changes (before: TransceiverSet) (after: TransceiverSet) : TrackChange[] =
        if obj.ReferenceEquals(before.Items, after.Items) then
            [||]
        else
            let now = System.Collections.Generic.Dictionary()
            let was = System.Collections.Generic.Dictionary()

            for t in after.Items do
                now[t.Id] <- t

            for t in before.Items do
                was[t.Id] <- t

            let gone = ResizeArray()

            for t in before.Items do
                let next =
                    match now.TryGetValue t.Id with
                    | true, next -> ValueSome next
                    | _ -> ValueNone

                let goesOn (holds: Transceiver -> bool) =
                    match next with
                    | ValueSome next -> holds next
                    | ValueNone -> false

                if t.Receiver.Fired && not (goesOn _.Receiver.Fired) then
                    gone.Add(TrackRemoved(t.Id, t.Receiver.Streams))

                if Transceivers.isLive t && not (goesOn Transceivers.isLive) then
                    gone.Add(TrackEnded t.Id)

            let come = ResizeArray()

            for t in after.Items do
                let had =
                    match was.TryGetValue t.Id with
                    | true, was when was.Receiver.Fired -> ValueSome was.Receiver.Streams
                    | _ -> ValueNone

                match had with
                | ValueNone when t.Receiver.Fired -> come.Add(TrackAdded(t.Id, t.Receiver.Streams))
                | ValueSome streams when
                    t.Receiver.Fired
                    && not (Array.isEmpty (Array.except streams t.Receiver.Streams))
                    ->
                    come.Add(TrackAdded(t.Id, t.Receiver.Streams))
                | _ -> ()

            Array.append (gone.ToArray()) (come.ToArray())
