namespace Hybrid.WebRtc.Core

open System
open System.Globalization

/// Format parameters of codecs, `a=fmtp`, RFC 8866 §6.15: which of them say that two codecs are one, and what an answer
/// says of its own. By RFC 6184 (H.264), 7798 (H.265), 9628 (VP9), 7587 (Opus) and AV1's RTP payload format.
module internal Fmtp =
    /// Payload types are 7 bits, RFC 3550 §5.1: no section has more formats.
    [<Literal>]
    let MaxPayloadTypes = 128

    /// Parameters beyond these are passed over: H.265 has some forty.
    [<Literal>]
    let MaxParameters = 64

    /// Parameters in order, names in lower case; a word without `=` is a name with an empty value.
    let parse (text: string) : struct (string * string)[] =
        let parts = text.Split(';', MaxParameters + 1)

        [| for i in 0 .. min parts.Length MaxParameters - 1 do
               let part = parts[i].Trim()

               if part <> "" then
                   match part.IndexOf '=' with
                   | -1 -> struct (part.ToLowerInvariant(), "")
                   | at ->
                       struct (part.Substring(0, at).TrimEnd().ToLowerInvariant(), part.Substring(at + 1).TrimStart()) |]

    let private valueOf (name: string) (parameters: struct (string * string)[]) : string voption =
        let at = Array.FindIndex(parameters, (fun (struct (n, _)) -> n = name))

        if at < 0 then
            ValueNone
        else
            let struct (_, value) = parameters[at]
            ValueSome value

    /// A parameter's value; names do not heed case.
    let tryGet (name: string) (text: string) : string voption = valueOf name (parse text)

    let private valueOr (otherwise: string) (name: string) (parameters: struct (string * string)[]) : string =
        valueOf name parameters |> ValueOption.defaultValue otherwise

    let private ignoringCase (a: string) (b: string) =
        String.Equals(a, b, StringComparison.OrdinalIgnoreCase)

    // ---- H.264, RFC 6184 §8.1 and §8.2.2

    /// What three octets of `profile-level-id` say.
    [<Struct; NoComparison>]
    type private H264Profile =
        {
            /// profile_idc.
            Idc: int
            /// profile-iop: constraint_set0_flag is its highest bit.
            Iop: int
            /// level_idc: ten times the level.
            Level: int
        }

    /// Profile and level of a peer that names none. RFC 6184 §8.1 has Baseline level 1, which would be pictures of 128×96;
    /// such peers mean what browsers take them to mean.
    let private h264Default = { Idc = 0x42; Iop = 0xE0; Level = 0x1F }

    let private hex (text: string) : int voption =
        match Int32.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) with
        | true, value -> ValueSome value
        | _ -> ValueNone

    /// ValueNone: not six hexadecimal digits.
    let private h264Profile (parameters: struct (string * string)[]) : H264Profile voption =
        match valueOf "profile-level-id" parameters with
        | ValueNone -> ValueSome h264Default
        | ValueSome text when text.Length = 6 ->
            hex text
            |> ValueOption.map (fun value ->
                { Idc = value >>> 16
                  Iop = value >>> 8 &&& 0xFF
                  Level = value &&& 0xFF })
        | ValueSome _ -> ValueNone

    /// The sub-profile that profile_idc and profile-iop stand for, RFC 6184 table 5: several pairs mean the same one. Zero:
    /// a pair that the table does not have.
    let private h264Class (p: H264Profile) : int =
        let iop mask value = p.Iop &&& mask = value

        match p.Idc with
        // Constrained Baseline: all of Baseline, Main and Extended keep to it.
        | 0x42 when iop 0x4F 0x40 -> 1
        | 0x4D when iop 0x8F 0x80 -> 1
        | 0x58 when iop 0xCF 0xC0 -> 1
        // Baseline.
        | 0x42 when iop 0x4F 0x00 -> 2
        | 0x58 when iop 0xCF 0x80 -> 2
        // Main.
        | 0x4D when iop 0xAF 0x00 -> 3
        // Extended.
        | 0x58 when iop 0xCF 0x00 -> 4
        // High, and Constrained High of its later editions.
        | 0x64 when iop 0xFF 0x00 -> 5
        | 0x64 when iop 0xFF 0x0C -> 6
        // High 10, High 4:2:2, High 4:4:4 Predictive.
        | 0x6E when iop 0xFF 0x00 -> 7
        | 0x7A when iop 0xFF 0x00 -> 8
        | 0xF4 when iop 0xFF 0x00 -> 9
        // Their intra profiles.
        | 0x6E when iop 0xFF 0x10 -> 10
        | 0x7A when iop 0xFF 0x10 -> 11
        | 0xF4 when iop 0xFF 0x10 -> 12
        | 0x2C when iop 0xFF 0x10 -> 13
        | _ -> 0

    let private sameH264Profile (a: H264Profile) (b: H264Profile) =
        match h264Class a with
        | 0 -> a.Idc = b.Idc && a.Iop = b.Iop
        | known -> known = h264Class b

    /// Levels in their order. Level 1b, between 1 and 1.1, is 9, or for the older profiles 11 with constraint_set3_flag,
    /// RFC 6184 §8.1.
    let private h264Rank (p: H264Profile) : int =
        let isOlder = p.Idc = 0x42 || p.Idc = 0x4D || p.Idc = 0x58

        if p.Level = 9 || (isOlder && p.Level = 11 && p.Iop &&& 0x10 <> 0) then
            10 * 10 + 5
        else
            p.Level * 10

    let private matchesH264 a b =
        valueOr "0" "packetization-mode" a = valueOr "0" "packetization-mode" b
        && match h264Profile a, h264Profile b with
           | ValueSome a, ValueSome b -> sameH264Profile a b
           | _ -> false

    /// The offer's profile with the answerer's own level where both sides allow levels to differ, else with the lower one, RFC 6184
    /// §8.2.2.
    let private answerH264 (ours: struct (string * string)[]) (offered: struct (string * string)[]) : string =
        let allows p =
            valueOr "0" "level-asymmetry-allowed" p = "1"

        let asymmetric = allows ours && allows offered

        let profile =
            match h264Profile ours, h264Profile offered with
            | ValueSome ours, ValueSome offered ->
                if not asymmetric && h264Rank offered < h264Rank ours then
                    offered
                elif h264Rank ours % 10 <> 0 || h264Rank offered % 10 <> 0 then
                    // Level 1b is in profile-iop too.
                    ours
                else
                    { offered with Level = ours.Level }
            | ValueSome ours, ValueNone -> ours
            | ValueNone, _ -> h264Default

        (if asymmetric then "level-asymmetry-allowed=1;" else "")
        + "packetization-mode="
        + valueOr "0" "packetization-mode" offered
        + ";profile-level-id="
        + (profile.Idc <<< 16 ||| (profile.Iop <<< 8) ||| profile.Level).ToString("x6")
        + (match valueOf "sprop-parameter-sets" ours with
           | ValueSome sets -> ";sprop-parameter-sets=" + sets
           | ValueNone -> "")

    // ---- H.265, RFC 7798 §7.1 and §7.2.2

    /// Level 3.1 where none is named, RFC 7798 §7.1.
    let private h265Level parameters =
        valueOf "level-id" parameters
        |> ValueOption.bind (SdpGrammar.number 255L)
        |> ValueOption.defaultValue 93L

    let private h265Symmetric =
        [| struct ("profile-space", "0")
           struct ("profile-id", "1")
           struct ("tier-flag", "0")
           struct ("tx-mode", "SRST") |]

    let private agreesOn (defaults: struct (string * string)[]) a b =
        Array.forall
            (fun (struct (name, otherwise)) -> ignoringCase (valueOr otherwise name a) (valueOr otherwise name b))
            defaults

    let private rejoin (parameters: struct (string * string)[]) : string =
        String.Join(
            ";",
            parameters
            |> Array.map (fun (struct (name, value)) -> if value = "" then name else name + "=" + value)
        )

    /// Ours, with the lower level of both.
    let private answerH265 (ours: struct (string * string)[]) (offered: struct (string * string)[]) : string =
        let level = string (min (h265Level ours) (h265Level offered))
        let others = Array.filter (fun (struct (name, _)) -> name <> "level-id") ours
        rejoin (Array.append [| struct ("level-id", level) |] others)

    // ---- All codecs

    /// The encoding's name: `VP8` of `video/VP8`.
    let private encoding (codec: RtpCodec) : string =
        codec.MimeType.Substring(codec.MimeType.IndexOf '/' + 1).ToUpperInvariant()

    let private isAudio (codec: RtpCodec) =
        codec.MimeType.StartsWith("audio/", StringComparison.OrdinalIgnoreCase)

    /// One channel where none are named, RFC 8866 §6.6.
    let private channels (codec: RtpCodec) =
        if isAudio codec then
            ValueOption.defaultValue 1 codec.Channels
        else
            1

    let private sameFormat (a: RtpCodec) (b: RtpCodec) =
        a.ClockRate = b.ClockRate
        && ignoringCase a.MimeType b.MimeType
        && channels a = channels b

    /// Whether both can be the same codec of an offer and its answer: type, clock, channels, and what must be the same of
    /// their parameters. Payload types within parameters (RTX, RED) are `Codecs`' to compare.
    let matches (a: RtpCodec) (b: RtpCodec) : bool =
        sameFormat a b
        && (let agreesOn defaults =
                agreesOn defaults (parse a.Fmtp) (parse b.Fmtp)

            match encoding a with
            | "H264" -> matchesH264 (parse a.Fmtp) (parse b.Fmtp)
            | "H265" -> agreesOn h265Symmetric
            // RFC 9628 §6.1.
            | "VP9" -> agreesOn [| struct ("profile-id", "0") |]
            // AV1's RTP payload format §7.2.
            | "AV1" -> agreesOn [| struct ("profile", "0") |]
            | _ -> true)

    /// W3C's codec match, WebRTC 1.0 §5.2.10: as `matches`, but with all parameters equal, in any order.
    let same (a: RtpCodec) (b: RtpCodec) : bool =
        sameFormat a b
        && (a.Fmtp = b.Fmtp
            || (let sorted (codec: RtpCodec) =
                    parse codec.Fmtp
                    |> Array.map (fun (struct (name, value)) -> name + "=" + value.ToLowerInvariant())
                    |> Array.sortWith (fun a b -> String.CompareOrdinal(a, b))

                ReadOnlySpan<string>(sorted a).SequenceEqual(ReadOnlySpan(sorted b))))

    /// The parameters that an answer gives for `ours` where it matches what was offered: ours, as a receiver's, but those that
    /// both sides must have alike.
    let answer (ours: RtpCodec) (offered: RtpCodec) : string =
        match encoding ours with
        | "H264" -> answerH264 (parse ours.Fmtp) (parse offered.Fmtp)
        | "H265" -> answerH265 (parse ours.Fmtp) (parse offered.Fmtp)
        | _ -> ours.Fmtp

    // ---- What a codec is for

    let private isEncoding (name: string) (codec: RtpCodec) =
        let slash = codec.MimeType.IndexOf '/'
        MemoryExtensions.Equals(codec.MimeType.AsSpan(slash + 1), name.AsSpan(), StringComparison.OrdinalIgnoreCase)

    /// RTX, RFC 4588.
    let isRtx = isEncoding "rtx"

    /// RED, RFC 2198.
    let isRed = isEncoding "red"

    /// ULPFEC, RFC 5109.
    let isUlpfec = isEncoding "ulpfec"

    /// FlexFEC, RFC 8627 and its draft 03, which browsers speak.
    let isFlexFec (codec: RtpCodec) =
        isEncoding "flexfec-03" codec || isEncoding "flexfec" codec

    let isFec (codec: RtpCodec) = isFlexFec codec || isUlpfec codec

    /// DTMF, RFC 4733.
    let isTelephoneEvent = isEncoding "telephone-event"

    /// Whether it carries media itself: not RTX, RED, FEC, comfort noise or DTMF.
    let isPrimary (codec: RtpCodec) : bool =
        not (
            isRtx codec
            || isRed codec
            || isFec codec
            || isTelephoneEvent codec
            || isEncoding "CN" codec
        )

    /// The payload type that an RTX one repairs, RFC 4588 §8.6.
    let apt (codec: RtpCodec) : int voption =
        tryGet "apt" codec.Fmtp
        |> ValueOption.bind (SdpGrammar.number 127L)
        |> ValueOption.map int

    /// The payload types that RED carries, RFC 2198 §5; empty where it does not say, or says something else.
    let redundant (codec: RtpCodec) : int[] =
        let words = codec.Fmtp.Split('/', 33)
        let types = words |> Array.map (fun w -> SdpGrammar.number 127L (w.Trim()))

        if Array.forall (fun (t: int64 voption) -> t.IsSome) types && types.Length <= 32 then
            types |> Array.map (fun t -> int t.Value)
        else
            [||]

/// Codecs compared, for who has them from elsewhere than a description.
[<RequireQualifiedAccess>]
module RtpCodecs =
    /// Whether both can be the same codec of an offer and its answer: type, clock, channels, and what must be the same of
    /// their parameters.
    [<CompiledName "Matches">]
    let matches (a: RtpCodec) (b: RtpCodec) : bool = Fmtp.matches a b

    /// W3C's codec match, WebRTC 1.0 §5.2.10: with all parameters equal, in any order.
    [<CompiledName "AreSame">]
    let areSame (a: RtpCodec) (b: RtpCodec) : bool = Fmtp.same a b
