namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic

/// Codecs of a media section, RFC 9429 §5.2.1 and §5.3.1, RFC 3264 §6.1.
module internal Codecs =
    /// Payload types are 7 bits, RFC 3550 §5.1: no section has more formats.
    [<Literal>]
    let MaxPayloadTypes = Fmtp.MaxPayloadTypes

    /// Kinds of feedback a codec may name: some ten exist.
    [<Literal>]
    let MaxFeedback = 32

    /// Whether it carries media itself: not RTX, RED, FEC, comfort noise or DTMF.
    let isPrimary (codec: RtpCodec) : bool = Fmtp.isPrimary codec

    /// The payload type that an RTX one repairs, RFC 4588 §8.6.
    let apt (codec: RtpCodec) : int voption = Fmtp.apt codec

    let private isRtx = Fmtp.isRtx
    let private isRed = Fmtp.isRed

    // ---- Reading

    /// What a static payload type means without `a=rtpmap`, RFC 3551 §6. G.722's clock is 8,000 there, its §4.5.2.
    let private ofStatic (payloadType: int) : RtpCodec voption =
        let audio name clockRate channels =
            ValueSome
                { MimeType = "audio/" + name
                  ClockRate = clockRate
                  Channels = ValueSome channels
                  Fmtp = "" }

        let video name =
            ValueSome
                { MimeType = "video/" + name
                  ClockRate = 90_000
                  Channels = ValueNone
                  Fmtp = "" }

        match payloadType with
        | 0 -> audio "PCMU" 8_000 1
        | 3 -> audio "GSM" 8_000 1
        | 4 -> audio "G723" 8_000 1
        | 5 -> audio "DVI4" 8_000 1
        | 6 -> audio "DVI4" 16_000 1
        | 7 -> audio "LPC" 8_000 1
        | 8 -> audio "PCMA" 8_000 1
        | 9 -> audio "G722" 8_000 1
        | 10 -> audio "L16" 44_100 2
        | 11 -> audio "L16" 44_100 1
        | 12 -> audio "QCELP" 8_000 1
        | 13 -> audio "CN" 8_000 1
        | 14 -> audio "MPA" 90_000 1
        | 15 -> audio "G728" 8_000 1
        | 16 -> audio "DVI4" 11_025 1
        | 17 -> audio "DVI4" 22_050 1
        | 18 -> audio "G729" 8_000 1
        | 25 -> video "CelB"
        | 26 -> video "JPEG"
        | 28 -> video "nv"
        | 31 -> video "H261"
        | 32 -> video "MPV"
        | 34 -> video "H263"
        | _ -> ValueNone

    let private payloadType (text: string) : int voption =
        SdpGrammar.number 127L text |> ValueOption.map int

    /// A value's first word, a payload type, and the rest.
    let private split (value: string) : struct (string * string) =
        match value.IndexOf ' ' with
        | -1 -> struct (value, "")
        | at -> struct (value.Substring(0, at), value.Substring(at + 1).Trim())

    /// `encoding/clock[/channels]`, RFC 8866 §6.6.
    let private rtpmap (kind: string) (text: string) : RtpCodec voption =
        match text.Split('/', 4) with
        | [| name; clock |]
        | [| name; clock; _ |] as parts when SdpGrammar.isToken name ->
            match SdpGrammar.number 0x7FFFFFFFL (clock.Trim()) with
            | ValueSome clock when clock > 0L ->
                let channels =
                    if parts.Length = 3 then
                        SdpGrammar.number 255L (parts[2].Trim()) |> ValueOption.map int
                    elif kind = "audio" then
                        ValueSome 1
                    else
                        ValueNone

                ValueSome
                    { MimeType = kind + "/" + name
                      ClockRate = int clock
                      Channels = channels
                      Fmtp = "" }
            | _ -> ValueNone
        | _ -> ValueNone

    /// What the attributes of a section say of its payload types. Each attribute is looked at once.
    [<Sealed>]
    type private Said() =
        let maps = Array.create MaxPayloadTypes ValueNone
        let fmtps = Array.create MaxPayloadTypes ""
        let feedback = Array.init MaxPayloadTypes (fun _ -> ResizeArray<string>(0))
        let wild = ResizeArray<string>(0)

        let addTo (list: ResizeArray<string>) (kind: string) =
            if kind <> "" && list.Count < MaxFeedback && not (list.Contains kind) then
                list.Add kind

        member _.Add(kind: string, a: SdpAttribute) =
            match a.Value with
            | ValueNone -> ()
            | ValueSome value ->
                match a.Name with
                | "rtpmap"
                | "fmtp"
                | "rtcp-fb" ->
                    let struct (first, rest) = split value

                    if a.Name = "rtcp-fb" && first = "*" then
                        addTo wild rest
                    else
                        match payloadType first with
                        | ValueNone -> ()
                        | ValueSome pt ->
                            match a.Name with
                            | "rtpmap" ->
                                if maps[pt].IsNone then
                                    maps[pt] <- rtpmap kind rest
                            | "fmtp" ->
                                // Parameters over several lines belong together.
                                fmtps[pt] <-
                                    if fmtps[pt] = "" then rest
                                    elif fmtps[pt].Length < 4_096 then fmtps[pt] + ";" + rest
                                    else fmtps[pt]
                            | _ -> addTo feedback[pt] rest
                | _ -> ()

        member _.Codec(pt: int) : RtpCodecParameters voption =
            maps[pt]
            |> ValueOption.orElseWith (fun () -> ofStatic pt)
            |> ValueOption.map (fun codec ->
                let kinds = ResizeArray(feedback[pt])

                // RTX has no feedback of its own.
                if not (isRtx codec) then
                    for kind in wild do
                        addTo kinds kind

                { Codec = { codec with Fmtp = fmtps[pt] }
                  PayloadType = pt
                  Feedback = kinds.ToArray() })

    /// Those of a section's `m=` line, in its order: by `a=rtpmap`, else RFC 3551's for static types; with `a=fmtp` and
    /// `a=rtcp-fb`, those of `*` among them. Payload types that say nothing are passed over; of two equal ones the first
    /// counts. Linear in the section's length.
    let ofMedia (media: SdpMedia) : RtpCodecParameters[] =
        let said = Said()

        for a in media.Level.Attributes do
            said.Add(media.Kind, a)

        let seen = Array.zeroCreate<bool> MaxPayloadTypes
        let found = ResizeArray()

        for format in media.Formats do
            match payloadType format with
            | ValueSome pt when not seen[pt] ->
                seen[pt] <- true

                match said.Codec pt with
                | ValueSome codec when codec.Codec.MimeType.StartsWith(media.Kind + "/", StringComparison.Ordinal) ->
                    found.Add codec
                | _ -> ()
            | _ -> ()

        found.ToArray()

    /// What is wrong with the formats of an RTP section, for a person to read; ValueNone: nothing is.
    let mistake (media: SdpMedia) : string voption =
        if media.Formats.Length > MaxPayloadTypes then
            ValueSome(
                "an RTP section has at most "
                + string MaxPayloadTypes
                + " formats, but this one names "
                + string media.Formats.Length
            )
        else
            match Array.FindIndex(media.Formats, (fun f -> (payloadType f).IsNone)) with
            | -1 -> ValueNone
            | at ->
                let format = media.Formats[at]

                ValueSome(
                    "an RTP section's formats are payload types from 0 to 127, RFC 3551 §6, but one is `"
                    + format.Substring(0, min format.Length 40)
                    + "`"
                )

    /// With the payload types of a section (of a local description): those given first stay.
    let remember (codecs: RtpCodecParameters[]) (taken: PayloadTypes) : PayloadTypes = taken.With codecs

    // ---- Preferences, W3C WebRTC 1.0 §5.4

    /// The place of a codec among preferences; ValueNone: it is not among them.
    let private rank (preferences: RtpCodec[]) (codec: RtpCodec) : int voption =
        match Array.FindIndex(preferences, (fun p -> Fmtp.same p codec)) with
        | -1 -> ValueNone
        | at -> ValueSome at

    /// Capabilities in the order of preferences, without what is not among them.
    let private preferred (capabilities: CodecCapability[]) (preferences: RtpCodec[]) : CodecCapability[] =
        if preferences.Length = 0 then
            capabilities
        else
            let wantsRtx = Array.exists isRtx preferences

            capabilities
            |> Array.map (fun c -> struct (rank preferences c.Codec, c))
            |> Array.filter (fun (struct (rank, _)) -> rank.IsSome)
            |> Array.sortBy (fun (struct (rank, _)) -> rank.Value)
            |> Array.map (fun (struct (_, c)) ->
                { c with
                    Retransmission = c.Retransmission && wantsRtx })

    /// Preferences without what stands there twice; InvalidModificationError as W3C WebRTC 1.0 §5.4 has it.
    let checkPreferences (capabilities: CodecCapability[]) (preferences: RtpCodec[]) : Result<RtpCodec[], Mistake> =
        let refused message =
            Error(Mistake.create ErrorName.InvalidModificationError message)

        let isCapability (codec: RtpCodec) =
            if isRtx codec then
                Array.exists
                    (fun (c: CodecCapability) -> c.Retransmission && Fmtp.same (Capabilities.rtxOf c.Codec) codec)
                    capabilities
            else
                Array.exists (fun (c: CodecCapability) -> Fmtp.same c.Codec codec) capabilities

        let stranger = Array.FindIndex(preferences, (fun codec -> not (isCapability codec)))

        if stranger >= 0 then
            let codec = preferences[stranger]

            refused (
                "setCodecPreferences() takes codecs as getCapabilities() shows them; "
                + codec.MimeType
                + " at "
                + string codec.ClockRate
                + " Hz with `"
                + codec.Fmtp
                + "` is not among them"
            )
        elif preferences.Length > 0 && not (Array.exists isPrimary preferences) then
            refused "setCodecPreferences() needs a codec besides RTX, RED, FEC, comfort noise and telephone-event"
        else
            let kept = ResizeArray<RtpCodec>()

            for codec in preferences do
                if not (kept.Exists(fun k -> Fmtp.same k codec)) then
                    kept.Add codec

            Ok(kept.ToArray())

    // ---- Offers

    let private withFmtp fmtp (codec: RtpCodec) : RtpCodec = { codec with Fmtp = fmtp }

    /// The codec that RED of these capabilities carries: the first of its clock and channels.
    let private carriedBy (red: RtpCodec) (given: seq<RtpCodecParameters>) : RtpCodecParameters voption =
        given
        |> Seq.tryFind (fun c ->
            isPrimary c.Codec
            && c.Codec.ClockRate = red.ClockRate
            && c.Codec.Channels = red.Channels)
        |> ValueOption.ofOption

    /// The codecs of an offer's section, and the payload types with them. Those that were given a type keep it; what finds
    /// no free type is left out.
    let offer
        (capabilities: CodecCapability[])
        (preferences: RtpCodec[])
        (taken: PayloadTypes)
        : struct (RtpCodecParameters[] * PayloadTypes) =
        let wanted = preferred capabilities preferences
        let wished = Array.zeroCreate<bool> MaxPayloadTypes

        for c in capabilities do
            match c.PreferredPayloadType with
            | ValueSome pt ->
                wished[pt] <- true

                if c.Retransmission then
                    PayloadTypes.next pt |> ValueOption.iter (fun rtx -> wished[rtx] <- true)
            | ValueNone -> ()

        let allotment = PayloadTypeAllotment(taken, wished)
        let given = Array.create wanted.Length ValueNone

        let give i (codec: RtpCodec) =
            given[i] <-
                allotment.Give(codec, wanted[i].PreferredPayloadType)
                |> ValueOption.map (fun pt ->
                    { Codec = codec
                      PayloadType = pt
                      Feedback = wanted[i].Feedback })

        for i in 0 .. wanted.Length - 1 do
            if not (isRed wanted[i].Codec) then
                give i wanted[i].Codec

        // RED names the payload types of what it carries, so that comes first.
        let primaries = given |> Array.filter _.IsSome |> Array.map _.Value

        for i in 0 .. wanted.Length - 1 do
            let codec = wanted[i].Codec

            if isRed codec then
                if codec.MimeType.StartsWith("audio/", StringComparison.OrdinalIgnoreCase) then
                    match carriedBy codec primaries with
                    | ValueSome c -> give i (withFmtp (string c.PayloadType + "/" + string c.PayloadType) codec)
                    | ValueNone -> ()
                else
                    give i codec

        let codecs = ResizeArray()

        for i in 0 .. wanted.Length - 1 do
            match given[i] with
            | ValueNone -> ()
            | ValueSome c ->
                codecs.Add c

                if wanted[i].Retransmission then
                    let rtx = Capabilities.rtxOf c.Codec |> withFmtp ("apt=" + string c.PayloadType)

                    match allotment.Give(rtx, wanted[i].PreferredPayloadType |> ValueOption.bind PayloadTypes.next) with
                    | ValueSome pt ->
                        codecs.Add
                            { Codec = rtx
                              PayloadType = pt
                              Feedback = [||] }
                    | ValueNone -> ()

        let codecs = codecs.ToArray()
        struct (codecs, taken.With codecs)

    // ---- Answers

    let private common (a: string[]) (b: string[]) : string[] =
        a |> Array.filter (fun kind -> Array.contains kind b)

    /// The payload types of codecs.
    let private typesOf (codecs: seq<RtpCodecParameters>) : bool[] =
        let types = Array.zeroCreate<bool> MaxPayloadTypes

        for c in codecs do
            types[c.PayloadType] <- true

        types

    /// Without what stands on nothing: RTX without its codec, audio's RED without all that it carries, telephone-event without
    /// a codec of its clock (RFC 4733 §2.1), video's RED and all FEC without any codec.
    let private supported (codecs: RtpCodecParameters[]) : RtpCodecParameters[] =
        let primaries = codecs |> Array.filter (fun c -> isPrimary c.Codec)
        let carried = typesOf primaries

        let stands (c: RtpCodecParameters) =
            if isRtx c.Codec || isPrimary c.Codec then
                true
            elif isRed c.Codec then
                primaries.Length > 0
                && Fmtp.redundant c.Codec |> Array.forall (fun pt -> carried[pt])
            elif Fmtp.isTelephoneEvent c.Codec then
                Array.exists (fun (p: RtpCodecParameters) -> p.Codec.ClockRate = c.Codec.ClockRate) primaries
            else
                primaries.Length > 0

        let standing = codecs |> Array.filter stands
        let repaired = typesOf (standing |> Array.filter (fun c -> not (isRtx c.Codec)))

        standing
        |> Array.filter (fun c ->
            not (isRtx c.Codec)
            || (match apt c.Codec with
                | ValueSome pt -> repaired[pt]
                | ValueNone -> false))

    /// The codecs of an answer's section, with the offer's payload types: in the offer's order, or by `preferences` where there
    /// are any. Empty, or without a primary codec: the section is to be rejected.
    let answer
        (capabilities: CodecCapability[])
        (preferences: RtpCodec[])
        (offered: RtpCodecParameters[])
        : RtpCodecParameters[] =
        let wanted = preferred capabilities preferences

        /// Our capability that an offered codec, no RTX, is answered with.
        let ours (o: RtpCodecParameters) =
            Array.FindIndex(wanted, (fun c -> Fmtp.matches c.Codec o.Codec))

        let taken = Array.create MaxPayloadTypes -1

        for o in offered do
            if not (isRtx o.Codec) then
                taken[o.PayloadType] <- ours o

        let answered (o: RtpCodecParameters) : struct (int * RtpCodecParameters) voption =
            if isRtx o.Codec then
                match apt o.Codec with
                | ValueSome pt when taken[pt] >= 0 && wanted[taken[pt]].Retransmission ->
                    ValueSome(struct (taken[pt], { o with Feedback = [||] }))
                | _ -> ValueNone
            else
                match taken[o.PayloadType] with
                | -1 -> ValueNone
                | at ->
                    let c = wanted[at]

                    ValueSome(
                        struct (at,
                                { Codec =
                                    { c.Codec with
                                        Fmtp =
                                            // RED's are payload types, the offer's.
                                            if isRed o.Codec then
                                                o.Codec.Fmtp
                                            else
                                                Fmtp.answer c.Codec o.Codec }
                                  PayloadType = o.PayloadType
                                  Feedback = common o.Feedback c.Feedback })
                    )

        let found =
            offered |> Array.map answered |> Array.filter _.IsSome |> Array.map _.Value

        (if preferences.Length = 0 then
             found
         else
             Array.sortBy (fun (struct (at, _)) -> at) found)
        |> Array.map (fun (struct (_, c)) -> c)
        |> supported

    // ---- What both descriptions say

    /// For each remote codec the local one that it is, by index; -1: none. RTX goes by the codecs that it repairs.
    let private pairs (local: RtpCodecParameters[]) (remote: RtpCodecParameters[]) : int[] =
        let found =
            remote
            |> Array.map (fun r ->
                if isRtx r.Codec then
                    -1
                else
                    // The same payload type where several would do: it is what the answerer meant.
                    match
                        Array.FindIndex(
                            local,
                            (fun l -> l.PayloadType = r.PayloadType && Fmtp.matches l.Codec r.Codec)
                        )
                    with
                    | -1 -> Array.FindIndex(local, (fun l -> not (isRtx l.Codec) && Fmtp.matches l.Codec r.Codec))
                    | at -> at)

        let localOf = Array.create MaxPayloadTypes -1

        for i in 0 .. remote.Length - 1 do
            if found[i] >= 0 then
                localOf[remote[i].PayloadType] <- local[found[i]].PayloadType

        let rtxOf = Array.create MaxPayloadTypes -1

        for i in 0 .. local.Length - 1 do
            if isRtx local[i].Codec then
                match apt local[i].Codec with
                | ValueSome pt when rtxOf[pt] < 0 -> rtxOf[pt] <- i
                | _ -> ()

        remote
        |> Array.mapi (fun i r ->
            if isRtx r.Codec then
                match apt r.Codec with
                | ValueSome pt when localOf[pt] >= 0 -> rtxOf[localOf[pt]]
                | _ -> -1
            else
                found[i])

    /// What a local and a remote description of one section have in common: `Send` as the remote has it (its order, payload
    /// types and parameters), `Receive` as the local has it. Feedback is what both name.
    let agreed
        (local: RtpCodecParameters[])
        (remote: RtpCodecParameters[])
        : struct (RtpCodecParameters[] * RtpCodecParameters[]) =
        let pairs = pairs local remote
        let remoteOf = Array.create local.Length -1

        for i in 0 .. remote.Length - 1 do
            if pairs[i] >= 0 && remoteOf[pairs[i]] < 0 then
                remoteOf[pairs[i]] <- i

        let send =
            [| for i in 0 .. remote.Length - 1 do
                   if pairs[i] >= 0 then
                       { remote[i] with
                           Feedback = common remote[i].Feedback local[pairs[i]].Feedback } |]

        let receive =
            [| for i in 0 .. local.Length - 1 do
                   if remoteOf[i] >= 0 then
                       { local[i] with
                           Feedback = common local[i].Feedback remote[remoteOf[i]].Feedback } |]

        struct (supported send, supported receive)

    // ---- Writing

    /// The formats of an `m=` line.
    let formats (codecs: RtpCodecParameters[]) : string[] =
        codecs |> Array.map (fun c -> string c.PayloadType)

    let private encodingOf (codec: RtpCodec) =
        codec.MimeType.Substring(codec.MimeType.IndexOf '/' + 1)

    /// `a=rtpmap`, `a=rtcp-fb` and `a=fmtp` of each.
    let attributes (codecs: RtpCodecParameters[]) : SdpAttribute[] =
        [| for c in codecs do
               let pt = string c.PayloadType + " "

               // One channel is what a missing number means, RFC 8866 §6.6.
               let channels =
                   match c.Codec.Channels with
                   | ValueSome n when n > 1 -> "/" + string n
                   | _ -> ""

               SdpAttribute.create "rtpmap" (pt + encodingOf c.Codec + "/" + string c.Codec.ClockRate + channels)

               for kind in c.Feedback do
                   SdpAttribute.create "rtcp-fb" (pt + kind)

               if c.Codec.Fmtp <> "" then
                   SdpAttribute.create "fmtp" (pt + c.Codec.Fmtp) |]
