namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic

/// `a=rid`, RFC 8851 §10.
[<NoComparison>]
type internal Rid =
    {
        Id: string
        /// The describer sends it; else it receives.
        Send: bool
        /// Payload types it is limited to; empty: any of the section.
        Formats: int[]
        /// `max-width=1280`… in order, as they stand.
        Restrictions: string[]
    }

/// An alternative of a simulcast stream.
[<Struct; NoComparison>]
type internal SimulcastRid = { Rid: string; Paused: bool }

/// What a section says of simulcast: `a=simulcast`, RFC 8853 §5.1, and the `a=rid` lines behind it.
[<NoComparison>]
type internal SimulcastStreams =
    {
        Rids: Rid[]
        /// What the describer sends: streams, each with its alternatives, the preferred one first.
        Send: SimulcastRid[][]
        Receive: SimulcastRid[][]
    }

/// Simulcast, RFC 8853, and rids, RFC 8851.
module internal Simulcast =
    /// Streams of a direction beyond these are not taken: a browser sends three.
    [<Literal>]
    let MaxStreams = 16

    /// `a=rid` lines beyond these are passed over.
    [<Literal>]
    let MaxRids = 64

    /// W3C WebRTC 1.0 §5.2 asks for no less.
    [<Literal>]
    let MaxRidLength = 255

    /// No simulcast.
    let none: SimulcastStreams =
        { Rids = [||]
          Send = [||]
          Receive = [||] }

    /// `rid-id` of RFC 8851 §10.
    let isRid (text: string) =
        text.Length > 0
        && text.Length <= MaxRidLength
        && text
           |> String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-' || c = '_')

    // ---- Reading

    /// The parts of a text; beyond `MaxRids` they are passed over.
    let private parts (separator: char) (text: string) : string[] =
        text.Split(separator, MaxRids + 1) |> Array.truncate MaxRids

    /// Restrictions that RFC 8851 §5 names. A receiver's others turn its rid down, §6.3.
    let private known =
        [| "max-width"
           "max-height"
           "max-fps"
           "max-fs"
           "max-br"
           "max-pps"
           "max-bpp"
           "depend" |]

    let private nameOf (restriction: string) =
        match restriction.IndexOf '=' with
        | -1 -> restriction
        | at -> restriction.Substring(0, at)

    /// `id send|recv [pt=…;…]`. ValueNone: another shape.
    let private parse (value: string) : Rid voption =
        let words = value.Split(' ', 3)

        if
            words.Length < 2
            || not (isRid words[0])
            || (words[1] <> "send" && words[1] <> "recv")
        then
            ValueNone
        else
            let parameters =
                if words.Length = 3 then
                    parts ';' words[2] |> Array.map _.Trim() |> Array.filter ((<>) "")
                else
                    [||]

            let lists =
                parameters
                |> Array.filter (fun p -> p.StartsWith("pt=", StringComparison.Ordinal))

            let formats =
                lists
                |> Array.collect (fun p -> parts ',' (p.Substring 3))
                |> Array.map (SdpGrammar.number 127L)

            if lists.Length > 1 || Array.exists (fun (f: int64 voption) -> f.IsNone) formats then
                ValueNone
            else
                ValueSome
                    { Id = words[0]
                      Send = words[1] = "send"
                      Formats = formats |> Array.map (fun f -> int f.Value)
                      Restrictions = parameters |> Array.filter (fun p -> not (Array.contains p lists)) }

    /// The `a=rid` lines of a section that RFC 8851 §6.2.2 keeps: well-formed, their id not doubled, their payload types
    /// among those of the section, what they depend on there.
    let rids (formats: string[]) (attributes: SdpAttribute[]) : Rid[] =
        let all =
            attributes
            |> Seq.filter (fun a -> a.Name = "rid" && a.Value.IsSome)
            |> Seq.truncate MaxRids
            |> Seq.map (fun a -> parse a.Value.Value)
            |> Seq.filter _.IsSome
            |> Seq.map _.Value
            |> Seq.toArray

        let counts = Dictionary<string, int>()

        for rid in all do
            counts[rid.Id] <-
                1
                + (match counts.TryGetValue rid.Id with
                   | true, n -> n
                   | _ -> 0)

        let ofSection = HashSet formats

        let dependsOnKnown (rid: Rid) =
            rid.Restrictions
            |> Array.forall (fun r ->
                not (r.StartsWith("depend=", StringComparison.Ordinal))
                || parts ',' (r.Substring 7) |> Array.forall counts.ContainsKey)

        all
        |> Array.filter (fun rid -> counts[rid.Id] = 1 && dependsOnKnown rid)
        |> Array.map (fun rid ->
            struct (rid,
                    { rid with
                        Formats = rid.Formats |> Array.filter (fun f -> ofSection.Contains(string f)) }))
        |> Array.filter (fun (struct (was, is)) -> was.Formats.Length = 0 || is.Formats.Length > 0)
        |> Array.map (fun (struct (_, is)) -> is)

    /// `send` or `recv` and its streams. ValueNone: another shape, that of the drafts among them.
    let private streams (text: string) : SimulcastRid[][] voption =
        let read =
            parts ';' text
            |> Array.map (fun stream ->
                parts ',' stream
                |> Array.map (fun id ->
                    if id.StartsWith '~' then
                        { Rid = id.Substring 1; Paused = true }
                    else
                        { Rid = id; Paused = false }))

        if Array.forall (Array.forall (fun r -> isRid r.Rid)) read then
            ValueSome read
        else
            ValueNone

    /// Both directions of an `a=simulcast` line; each stands there at most once.
    let private line (value: string) : struct (SimulcastRid[][] * SimulcastRid[][]) voption =
        let words = value.Trim().Split(' ', 5)

        match words with
        | [| "send"; send |] -> streams send |> ValueOption.map (fun s -> struct (s, [||]))
        | [| "recv"; receive |] -> streams receive |> ValueOption.map (fun r -> struct ([||], r))
        | [| "send"; send; "recv"; receive |]
        | [| "recv"; receive; "send"; send |] ->
            match streams send, streams receive with
            | ValueSome send, ValueSome receive -> ValueSome(struct (send, receive))
            | _ -> ValueNone
        | _ -> ValueNone

    /// Without what no rid of the direction backs, and what stands there twice, RFC 8853 §5.2.
    let private backed (rids: Rid[]) (send: bool) (streams: SimulcastRid[][]) : SimulcastRid[][] =
        let left =
            rids |> Array.filter (fun r -> r.Send = send) |> Array.map _.Id |> HashSet

        streams
        |> Array.map (Array.filter (fun r -> left.Remove r.Rid))
        |> Array.filter (fun stream -> stream.Length > 0)
        |> Array.truncate MaxStreams

    /// With the rids that its streams name, in the order of the streams.
    let private withRids (rids: Rid[]) (streams: SimulcastStreams) : SimulcastStreams =
        let named = Dictionary<struct (bool * string), Rid>()

        for rid in rids do
            named.TryAdd(struct (rid.Send, rid.Id), rid) |> ignore

        let ofDirection send (streams: SimulcastRid[][]) =
            streams
            |> Array.concat
            |> Array.map (fun r ->
                match named.TryGetValue(struct (send, r.Rid)) with
                | true, rid -> rid
                | _ ->
                    { Id = r.Rid
                      Send = send
                      Formats = [||]
                      Restrictions = [||] })

        { streams with
            Rids = Array.append (ofDirection true streams.Send) (ofDirection false streams.Receive) }

    /// What a section says. `none` without `a=simulcast`, with two of them (RFC 8853 §5.3.2), or with one of another shape.
    let ofMedia (media: SdpMedia) : SimulcastStreams =
        let attributes = media.Level.Attributes

        match SdpAttributes.values "simulcast" attributes with
        | [| value |] ->
            match line value with
            | ValueSome(struct (send, receive)) ->
                let rids = rids media.Formats attributes

                withRids
                    rids
                    { Rids = [||]
                      Send = backed rids true send
                      Receive = backed rids false receive }
            | ValueNone -> none
        | _ -> none

    // ---- Answers and offers

    let private reverse (codecs: RtpCodecParameters[]) (rid: Rid) : Rid voption =
        let formats =
            rid.Formats
            |> Array.filter (fun f -> Array.exists (fun (c: RtpCodecParameters) -> c.PayloadType = f) codecs)

        if rid.Formats.Length > 0 && formats.Length = 0 then
            ValueNone
        elif
            not rid.Send
            && not (Array.forall (fun r -> Array.contains (nameOf r) known) rid.Restrictions)
        then
            ValueNone
        else
            ValueSome
                { rid with
                    Send = not rid.Send
                    Formats = formats }

    /// Our answer: we receive what they send, `most` streams of it; we send what they receive of our encodings, whose rids
    /// are `sending`. Pauses of theirs are kept. `codecs`: those of the answer.
    let answer
        (codecs: RtpCodecParameters[])
        (most: int)
        (sending: string[])
        (offered: SimulcastStreams)
        : SimulcastStreams =
        let rids =
            offered.Rids
            |> Array.map (reverse codecs)
            |> Array.filter _.IsSome
            |> Array.map _.Value

        let ours = HashSet sending

        withRids
            rids
            { Rids = [||]
              Send =
                offered.Receive
                |> Array.map (Array.filter (fun r -> ours.Contains r.Rid))
                |> backed rids true
              Receive = offered.Send |> backed rids false |> Array.truncate most }

    /// Our offer: to send these encodings, those not active being paused. `none` where they have no rids, or there is one.
    let offer (encodings: EncodingParameters[]) : SimulcastStreams =
        if
            encodings.Length < 2
            || Array.exists (fun (e: EncodingParameters) -> e.Rid = "") encodings
        then
            none
        else
            withRids
                [||]
                { none with
                    Send =
                        encodings
                        |> Array.map (fun (e: EncodingParameters) -> [| { Rid = e.Rid; Paused = not e.Active } |]) }

    /// Which of the rids that our offer sends an answer takes, in the offer's order, RFC 8853 §5.3.3; empty: no simulcast.
    /// An answer may add neither rids nor restrictions, RFC 8851 §6.4.
    let accepted (offered: SimulcastStreams) (answered: SimulcastStreams) : SimulcastRid[] =
        let taken = Dictionary<string, SimulcastRid>()

        for stream in answered.Receive do
            for r in stream do
                taken.TryAdd(r.Rid, r) |> ignore

        let restricted =
            answered.Rids
            |> Array.filter (fun rid -> not rid.Send && (rid.Restrictions.Length > 0 || rid.Formats.Length > 0))

        let addsNothing (id: string) =
            match
                Array.tryFind (fun (r: Rid) -> r.Id = id) restricted,
                Array.tryFind (fun (r: Rid) -> r.Send && r.Id = id) offered.Rids
            with
            | None, _ -> true
            | Some _, None -> false
            | Some theirs, Some ours ->
                (theirs.Formats.Length = 0 || ours.Formats.Length > 0)
                && Array.forall
                    (fun r -> Array.exists (fun o -> nameOf o = nameOf r) ours.Restrictions)
                    theirs.Restrictions

        offered.Send
        |> Array.concat
        |> Array.filter (fun r -> taken.ContainsKey r.Rid && addsNothing r.Rid)
        |> Array.map (fun r -> taken[r.Rid])

    /// The rids that the peer of a description of theirs sends, those paused too.
    let sent (streams: SimulcastStreams) : string[] =
        streams.Send |> Array.concat |> Array.map _.Rid

    // ---- Writing

    let private print (streams: SimulcastRid[][]) : string =
        String.Join(
            ";",
            streams
            |> Array.map (fun stream ->
                String.Join(",", stream |> Array.map (fun r -> (if r.Paused then "~" else "") + r.Rid)))
        )

    /// `a=rid` and `a=simulcast`; nothing for `none`.
    let attributes (streams: SimulcastStreams) : SdpAttribute[] =
        let parameters (rid: Rid) =
            let formats =
                if rid.Formats.Length = 0 then
                    [||]
                else
                    [| "pt=" + String.Join(",", rid.Formats) |]

            match String.Join(";", Array.append formats rid.Restrictions) with
            | "" -> ""
            | text -> " " + text

        let directions =
            [| if streams.Send.Length > 0 then
                   "send " + print streams.Send
               if streams.Receive.Length > 0 then
                   "recv " + print streams.Receive |]

        [| for rid in streams.Rids do
               SdpAttribute.create "rid" (rid.Id + (if rid.Send then " send" else " recv") + parameters rid)

           if directions.Length > 0 then
               SdpAttribute.create "simulcast" (String.Join(" ", directions)) |]
