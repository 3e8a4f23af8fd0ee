namespace Hybrid.WebRtc.Core

open System

/// Format parameters of codecs, `a=fmtp`, RFC 8866 §6.15: which of them say that two codecs are one, and what an answer
/// says of its own. By RFC 6184 (H.264), 7798 (H.265), 9628 (VP9), 7587 (Opus) and AV1's RTP payload format.
module internal Fmtp =
    /// Parameters in order, names in lower case; a word without `=` is a name with an empty value.
    let parse (text: string) : struct (string * string)[] = Unchecked.defaultof<_>

    /// A parameter's value; names do not heed case.
    let tryGet (name: string) (text: string) : string voption = Unchecked.defaultof<_>

    /// Whether both can be the same codec of an offer and its answer: type, clock, channels, and what must be the same of
    /// their parameters. Payload types within parameters (RTX, RED) are `Codecs`' to compare.
    let matches (a: RtpCodec) (b: RtpCodec) : bool = Unchecked.defaultof<_>

    /// W3C's codec match, WebRTC 1.0 §5.2.10: as `matches`, but with all parameters equal, in any order.
    let same (a: RtpCodec) (b: RtpCodec) : bool = Unchecked.defaultof<_>

    /// The parameters that an answer gives for `ours` where it matches what was offered.
    let answer (ours: RtpCodec) (offered: RtpCodec) : string = Unchecked.defaultof<_>
