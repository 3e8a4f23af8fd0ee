namespace Hybrid.WebRtc.Core

/// From transceivers to the plan that the media session follows.
module internal Plans =
    let private hasType (mime: string) (codecs: RtpCodecParameters[]) =
        codecs
        |> Array.exists (fun c -> c.Codec.MimeType.EndsWith(mime, System.StringComparison.OrdinalIgnoreCase))

    /// Whether an RTX payload type is among them.
    let hasRtx (codecs: RtpCodecParameters[]) = hasType "/rtx" codecs

    /// Whether FlexFEC is among them, which has sources of its own.
    let hasFec (codecs: RtpCodecParameters[]) =
        codecs |> Array.exists (fun c -> Fmtp.isFlexFec c.Codec)

    /// Whether the application has asked for FlexFEC by name: every capability can be received, but FEC costs whoever sends it.
    let wantsFec (t: Transceiver) =
        Array.exists Fmtp.isFlexFec t.Options.Codecs

    /// What a sender sends with these codecs, and with FEC where that is declared; `paused` are rids that the peer does not want
    /// now.
    let encodings
        (codecs: RtpCodecParameters[])
        (declaresFec: bool)
        (paused: string[])
        (sender: SenderSide)
        : SendEncoding[] =
        let rtx, fec = hasRtx codecs, declaresFec && hasFec codecs

        Array.map2
            (fun (parameters: EncodingParameters) (sources: EncodingSources) ->
                { Parameters =
                    { parameters with
                        Active = parameters.Active && not (Array.contains parameters.Rid paused) }
                  Ssrc = sources.Ssrc
                  RtxSsrc = if rtx then sources.RtxSsrc else 0u
                  FecSsrc = if fec then sources.FecSsrc else 0u })
            sender.Encodings
            sender.Sources

    /// The first one, as if there were no other.
    let alone (encodings: SendEncoding[]) : SendEncoding[] =
        encodings
        |> Array.truncate 1
        |> Array.map (fun e ->
            { e with
                Parameters = { e.Parameters with Rid = "" } })

    /// The encodings of a plan. One alone, without its rid, goes to a peer that takes no simulcast; while nothing is sent
    /// they stay as they were.
    let private sent (agreed: Agreement) (sender: SenderSide) : SendEncoding[] =
        let all = encodings agreed.SendCodecs agreed.DeclaresFec agreed.Remote.Paused sender

        if all.Length = 1 || not (Directions.sends agreed.Flow) then
            all
        else
            match
                all
                |> Array.filter (fun e -> Array.contains e.Parameters.Rid agreed.Remote.Taken)
            with
            | [||] -> alone all
            | taken -> taken

    let private section (place: Place) (agreed: Agreement) (t: Transceiver) : SectionPlan =
        let live = Transceivers.isLive t

        { Transceiver = t.Id
          Mid = place.Mid
          Kind = t.Kind
          Sending = live && Directions.sends agreed.Flow && agreed.SendCodecs.Length > 0
          Receiving = live && Directions.receives agreed.Flow && agreed.ReceiveCodecs.Length > 0
          Encodings = sent agreed t.Sender
          SendCodecs = agreed.SendCodecs
          ReceiveCodecs = agreed.ReceiveCodecs
          Extensions = Extmaps.toMap agreed.Extensions
          ReducedSize = agreed.ReducedSize
          ReceiverRoundTrip = agreed.ReceiverRoundTrip
          HeaderEncryption = agreed.HeaderEncryption
          RemoteSources = agreed.Remote.Sources
          RemoteRids = agreed.Remote.Rids }

    let private planned (set: TransceiverSet) : Transceiver[] =
        set.Items
        |> Array.filter (fun t -> t.Life <> Stopped && t.Place.IsSome && t.Agreed.IsSome)
        |> Array.sortBy (fun t -> t.Place.Value.Index)

    /// All that may flow.
    let ofSet (set: TransceiverSet) : MediaPlan =
        { Sections = planned set |> Array.map (fun t -> section t.Place.Value t.Agreed.Value t)
          Cname = set.Cname }

    /// Whether the plan of one set may be another than that of the other.
    let differ (before: TransceiverSet) (after: TransceiverSet) : bool =
        let same (a: Transceiver) (b: Transceiver) =
            obj.ReferenceEquals(a, b)
            || a.Id = b.Id
               && a.Life = b.Life
               && a.Place = b.Place
               && obj.ReferenceEquals(a.Agreed.Value, b.Agreed.Value)
               && obj.ReferenceEquals(a.Sender.Encodings, b.Sender.Encodings)

        let a, b = planned before, planned after
        not (a.Length = b.Length && Array.forall2 same a b)
