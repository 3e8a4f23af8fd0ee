namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic

/// What a section says of its SSRCs and of its track: `a=ssrc` and `a=ssrc-group` (RFC 5576), `a=msid` (RFC 8830).
[<NoComparison>]
type internal SourceFacts =
    {
        /// Primary sources with their RTX and FEC; those of a `SIM` group in its order, which is from the lowest layer up.
        Sources: RemoteSource[]
        /// Ids of the streams that the track belongs to.
        Streams: string[]
        /// The track's id; ValueNone where nothing names it.
        Track: string voption
        Cname: string voption
    }

/// Sources and tracks of media sections.
module internal Sources =
    /// SSRCs of a section beyond these are passed over: a browser names six.
    [<Literal>]
    let MaxSources = 64

    /// Streams of a track beyond these are passed over.
    [<Literal>]
    let MaxStreams = 64

    let private ssrc (text: string) : uint32 voption =
        SdpGrammar.number 0xFFFFFFFFL text |> ValueOption.map uint32

    /// SSRCs of a group, its semantics first, RFC 5576 §4.2. Empty: an SSRC is no number.
    let private group (value: string) : struct (string * uint32[]) =
        let words = value.Split(' ', MaxSources + 1, StringSplitOptions.RemoveEmptyEntries)

        if words.Length < 2 then
            struct ("", [||])
        else
            let sources = words[1..] |> Array.map ssrc

            if Array.forall (fun (s: uint32 voption) -> s.IsSome) sources then
                struct (words[0], sources |> Array.map _.Value)
            else
                struct ("", [||])

    /// Stream and track of a value of `a=msid` or of `a=ssrc:… msid:`.
    let private msid (value: string) : struct (string * string) =
        let words = value.Split(' ', 3)
        struct (words[0], (if words.Length > 1 then words[1] else ""))

    /// `a=ssrc:id attribute[:value]`, RFC 5576 §4.1.
    let private line (value: string) : struct (uint32 * string * string) voption =
        match value.IndexOf ' ' with
        | -1 -> ssrc value |> ValueOption.map (fun id -> struct (id, "", ""))
        | at ->
            ssrc (value.Substring(0, at))
            |> ValueOption.map (fun id ->
                let rest = value.Substring(at + 1)

                match rest.IndexOf ':' with
                | -1 -> struct (id, rest, "")
                | colon -> struct (id, rest.Substring(0, colon), rest.Substring(colon + 1)))

    /// Streams and track of msids: those `-` names none, and the track's id is the first's, RFC 9429 §5.10.
    let private tracks (msids: seq<struct (string * string)>) : struct (string[] * string voption) =
        let streams = ResizeArray<string>()
        let mutable track = ValueNone

        for struct (stream, id) in msids do
            if id <> "" && track.IsNone then
                track <- ValueSome id

            if
                stream <> ""
                && stream <> "-"
                && streams.Count < MaxStreams
                && not (streams.Contains stream)
            then
                streams.Add stream

        struct (streams.ToArray(), track)

    /// What a section says. Groups: `FID` is RTX (RFC 4588 §7), `FEC-FR` FlexFEC (RFC 5956), `SIM` the layers of older peers'
    /// simulcast; others are passed over. Linear in the section's length.
    let ofMedia (media: SdpMedia) : SourceFacts =
        let attributes = media.Level.Attributes
        let order = ResizeArray<uint32>()
        let seen = HashSet<uint32>()
        let old = ResizeArray<struct (string * string)>()
        let mutable cname = ValueNone

        let declare (id: uint32) =
            // Zero is how `RemoteSource` says that there is none.
            if id <> 0u && order.Count < MaxSources && seen.Add id then
                order.Add id

        let rtx = Dictionary<uint32, uint32>()
        let fec = Dictionary<uint32, uint32>()
        let repairs = HashSet<uint32>()
        let simulcast = ResizeArray<uint32>()

        for a in attributes do
            match a.Value with
            | ValueNone -> ()
            | ValueSome value ->
                match a.Name with
                | "ssrc-group" ->
                    let struct (semantics, ids) = group value

                    match semantics with
                    | "FID"
                    | "FEC-FR" when ids.Length = 2 && ids[0] <> ids[1] && ids[1] <> 0u && seen.Count < MaxSources ->
                        declare ids[0]
                        repairs.Add ids[1] |> ignore
                        (if semantics = "FID" then rtx else fec).TryAdd(ids[0], ids[1]) |> ignore
                    | "SIM" when simulcast.Count = 0 ->
                        for id in ids do
                            declare id

                            if seen.Contains id && not (simulcast.Contains id) then
                                simulcast.Add id
                    | _ -> ()
                | "ssrc" ->
                    match line value with
                    | ValueSome(struct (id, name, text)) ->
                        declare id

                        match name with
                        | "cname" when cname.IsNone -> cname <- ValueSome text
                        | "msid" when old.Count < MaxStreams -> old.Add(msid text)
                        | _ -> ()
                    | ValueNone -> ()
                | _ -> ()

        let primaries =
            Array.append (simulcast.ToArray()) (order.ToArray() |> Array.filter (fun id -> not (simulcast.Contains id)))
            |> Array.filter (fun id -> not (repairs.Contains id))

        let repairOf (pairs: Dictionary<uint32, uint32>) id =
            match pairs.TryGetValue id with
            | true, repair -> repair
            | _ -> 0u

        let struct (streams, track) =
            match SdpAttributes.msids attributes with
            // What Plan B left behind, for peers without a=msid.
            | [||] -> tracks old
            | msids -> tracks (msids |> Seq.map msid)

        { Sources =
            primaries
            |> Array.map (fun id ->
                { Ssrc = id
                  RtxSsrc = repairOf rtx id
                  FecSsrc = repairOf fec id })
          Streams = streams
          Track = track
          Cname = cname }

    /// `a=msid` lines of ours, one a stream; `-` where the track is in none, RFC 8830 §2 and RFC 9429 §5.2.1.
    let msids (streams: string[]) (track: string) : SdpAttribute[] =
        (if streams.Length = 0 then [| "-" |] else streams)
        |> Array.map (fun stream -> SdpAttribute.create "msid" (stream + " " + track))

    /// `a=ssrc-group` and `a=ssrc` lines of what we send. With rids there are none: packets say whose they are, RFC 9429
    /// §5.2.1. `msid` repeats the section's, for peers that look for it here.
    let attributes (cname: string) (msid: string) (encodings: SendEncoding[]) : SdpAttribute[] =
        if encodings.Length <> 1 || encodings[0].Parameters.Rid <> "" then
            [||]
        else
            let e = encodings[0]

            [| if e.RtxSsrc <> 0u then
                   SdpAttribute.create "ssrc-group" ("FID " + string e.Ssrc + " " + string e.RtxSsrc)
               if e.FecSsrc <> 0u then
                   SdpAttribute.create "ssrc-group" ("FEC-FR " + string e.Ssrc + " " + string e.FecSsrc)

               for id in [| e.Ssrc; e.RtxSsrc; e.FecSsrc |] do
                   if id <> 0u then
                       SdpAttribute.create "ssrc" (string id + " cname:" + cname)
                       SdpAttribute.create "ssrc" (string id + " msid:" + msid) |]
