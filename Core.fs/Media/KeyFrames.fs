namespace Hybrid.WebRtc.Core

open System

/// Which payload format tells where key frames begin.
type internal KeyFrameFormat =
    /// None that is known.
    | None = 0
    /// RFC 7741.
    | Vp8 = 1
    /// RFC 9628.
    | Vp9 = 2
    /// RFC 6184.
    | H264 = 3
    /// RFC 7798.
    | H265 = 4
    /// The RTP payload format of AV1, §4.4.
    | Av1 = 5

/// Where a picture begins that needs none before it, as far as repair has to know: payloads are not read otherwise.
[<RequireQualifiedAccess>]
module internal KeyFrames =
    let ofMimeType (mimeType: string) : KeyFrameFormat =
        match mimeType.ToUpperInvariant() with
        | "VIDEO/VP8" -> KeyFrameFormat.Vp8
        | "VIDEO/VP9" -> KeyFrameFormat.Vp9
        | "VIDEO/H264" -> KeyFrameFormat.H264
        | "VIDEO/H265" -> KeyFrameFormat.H265
        | "VIDEO/AV1" -> KeyFrameFormat.Av1
        | _ -> KeyFrameFormat.None

    /// The octets of a picture ID, by its first one: 7 bits or 15.
    let private pictureId (first: byte) =
        if first &&& 0x80uy <> 0uy then 2 else 1

    let private vp8 (payload: ReadOnlySpan<byte>) : bool =
        let isExtended = payload[0] &&& 0x80uy <> 0uy
        // S is set, and PID is 0: the first partition begins.
        let isStart = payload[0] &&& 0x17uy = 0x10uy

        if not isStart || (isExtended && payload.Length < 3) then
            false
        else
            let extension = if isExtended then payload[1] else 0uy

            let behind =
                1
                + (if isExtended then 1 else 0)
                + (if extension &&& 0x80uy <> 0uy then
                       pictureId payload[2]
                   else
                       0)
                + (if extension &&& 0x40uy <> 0uy then 1 else 0)
                + (if extension &&& 0x30uy <> 0uy then 1 else 0)

            behind < payload.Length && payload[behind] &&& 1uy = 0uy

    let private vp9 (payload: ReadOnlySpan<byte>) : bool =
        let head = payload[0]

        // B is set, P is not.
        if head &&& 0x48uy <> 0x08uy || payload.Length < 3 then
            false
        elif head &&& 0x20uy = 0uy then
            true
        else
            // The lowest spatial layer begins the picture.
            let layers = 1 + (if head &&& 0x80uy <> 0uy then pictureId payload[1] else 0)

            layers < payload.Length && payload[layers] &&& 0x0Euy = 0uy

    // Of H.264 and H.265 only what cannot be the second packet of its picture: a slice may be, its parameters' first set is not.

    let private h264 (payload: ReadOnlySpan<byte>) : bool =
        let isSequence (header: byte) = header &&& 0x1Fuy = 7uy

        // STAP-A has its first unit behind that one's size.
        isSequence payload[0]
        || (payload[0] &&& 0x1Fuy = 24uy && payload.Length > 3 && isSequence payload[3])

    let private h265 (payload: ReadOnlySpan<byte>) : bool =
        let kind (header: byte) = (header >>> 1) &&& 0x3Fuy

        kind payload[0] = 32uy
        || (kind payload[0] = 48uy && payload.Length > 4 && kind payload[4] = 32uy)

    /// Whether a packet is the first of a picture that needs none before it. False where it cannot be told.
    let begins (format: KeyFrameFormat) (payload: ReadOnlySpan<byte>) : bool =
        if payload.IsEmpty then
            false
        else
            match format with
            | KeyFrameFormat.Vp8 -> vp8 payload
            | KeyFrameFormat.Vp9 -> vp9 payload
            | KeyFrameFormat.H264 -> h264 payload
            | KeyFrameFormat.H265 -> h265 payload
            // N: a coded video sequence begins.
            | KeyFrameFormat.Av1 -> payload[0] &&& 0x88uy = 0x08uy
            | _ -> false
