namespace Hybrid.WebRtc.Rtp

open System
open System.Buffers.Binary
open System.Runtime.InteropServices
open System.Text
open Hybrid.WebRtc.Core

/// Text elements: MID (RFC 9143 §15.1), RID and repaired RID (RFC 8852 §3), as SDES items in header extensions, RFC 7941.
[<RequireQualifiedAccess>]
module ExtensionText =
    /// The text; ValueNone: empty, or not UTF-8.
    [<CompiledName "Read">]
    let read (data: ReadOnlySpan<byte>) : string voption =
        if data.IsEmpty then
            ValueNone
        else
            let text = Encoding.UTF8.GetString data
            if text.Contains '\uFFFD' then ValueNone else ValueSome text

    /// Whether data is a text, byte for byte, without decoding it: nothing is allocated. `text`: ASCII.
    [<CompiledName "Is">]
    let is (text: string) (data: ReadOnlySpan<byte>) : bool =
        let mutable same = data.Length = text.Length
        let mutable i = 0

        while same && i < data.Length do
            same <- char data[i] = text[i]
            i <- i + 1

        same

    /// An element of a text. Left out by `WithExtensions` where the map does not have the extension.
    [<CompiledName "Element">]
    let element (map: ExtensionMap) (extension: HeaderExtension) (text: string) : ExtensionElement =
        ExtensionElement.Of(map, extension, ReadOnlyMemory(Encoding.UTF8.GetBytes text))

/// How loud the audio of a packet is, RFC 6464 §3.
///
///     |V|   Level     |
[<Struct; NoComparison>]
type AudioLevel =
    {
        /// Whether the encoder believes that it is speech; means nothing unless `vad=on` was negotiated or defaulted to.
        Voice: bool
        /// In −dBov: 0 is the loudest, 127 silence.
        Level: byte
    }

    /// <summary>False: no data.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<AudioLevel>) : bool =
        if data.IsEmpty then
            value <- { Voice = false; Level = 127uy }
            false
        else
            value <-
                { Voice = data[0] &&& 0x80uy <> 0uy
                  Level = data[0] &&& 0x7Fuy }

            true

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.AudioLevel
        member _.Size = 1

        member level.Write(into) =
            into[0] <- (if level.Voice then 0x80uy else 0uy) ||| min 127uy level.Level
            1

/// How loud each contributing source is, RFC 6465 §3: one octet a source, in the order of the packet's CSRCs.
[<Struct; NoComparison; NoEquality>]
type CsrcAudioLevels =
    {
        /// In −dBov, 0 to 127 each.
        Levels: ReadOnlyMemory<byte>
    }

    /// <summary>The level of a source by its index among the packet's CSRCs; 127, silence, where there is none.</summary>
    static member At(data: ReadOnlySpan<byte>, index: int) : byte =
        if uint32 index < uint32 data.Length then
            data[index] &&& 0x7Fuy
        else
            127uy

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.CsrcAudioLevel
        member levels.Size = min 15 levels.Levels.Length

        member levels.Write(into) =
            let count = min 15 levels.Levels.Length
            let from = levels.Levels.Span

            for i in 0 .. count - 1 do
                into[i] <- min 127uy from[i]

            count

/// When a packet was sent, in the sender's clock: 24 bits, seconds in 6.18 fixed point, so every 64 seconds anew.
[<Struct; NoComparison>]
type AbsSendTime =
    {
        /// 24 bits, in units of 2⁻¹⁸ s, about 3.8 µs.
        Value: int
    }

    /// The value of an instant, as `RtpRewrite.AbsSendTime` wants it.
    static member OfInstant(instant: Instant) : int =
        let microseconds = int64 instant
        // In two parts, that years of microseconds do not overflow.
        let seconds = microseconds / 1_000_000L
        let fraction = microseconds % 1_000_000L
        int (((seconds &&& 63L) <<< 18) + (fraction <<< 18) / 1_000_000L) &&& 0xFF_FFFF

    /// The value of an NTP time, 64 bits.
    static member OfNtp(time: uint64) : int = int (time >>> 14) &&& 0xFF_FFFF

    /// From the earlier to the later of two values, in µs: at most 32 s either way.
    static member Between(earlier: int, later: int) : Duration =
        let ahead = ((later - earlier) <<< 8) >>> 8
        int64 ahead * 1_000_000L / 0x4_0000L * 1L<us>

    /// <summary>False: not three octets.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<AbsSendTime>) : bool =
        let mutable reader = Reader data
        value <- { Value = reader.UInt24() }
        reader.Ok && data.Length = 3

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.AbsSendTime
        member _.Size = 3

        member time.Write(into) =
            let mutable writer = Writer into
            writer.UInt24 time.Value
            3

/// When a packet's first frame was captured, in NTP time of the capturer's clock.
[<Struct; NoComparison>]
type AbsCaptureTime =
    {
        /// NTP, seconds since 1900 in the upper 32 bits.
        CaptureTime: uint64
        /// What to add to have the time in the sender's clock, in 2⁻³² s; none: not said.
        ClockOffset: int64 voption
    }

    /// <summary>False: neither 8 nor 16 octets.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<AbsCaptureTime>) : bool =
        let mutable reader = Reader data
        let time = reader.UInt64()

        value <-
            { CaptureTime = time
              ClockOffset =
                (if data.Length = 16 then
                     ValueSome(int64 (reader.UInt64()))
                 else
                     ValueNone) }

        data.Length = 8 || data.Length = 16

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.AbsCaptureTime
        member time.Size = if time.ClockOffset.IsSome then 16 else 8

        member time.Write(into) =
            let mutable writer = Writer into
            writer.UInt64 time.CaptureTime

            match time.ClockOffset with
            | ValueSome offset -> writer.UInt64(uint64 offset)
            | ValueNone -> ()

            writer.Written

/// How much later than its timestamp says a packet was sent, RFC 5450 §2.
[<Struct; NoComparison>]
type TransmissionOffset =
    {
        /// 24 bits, signed, in units of the timestamp.
        Offset: int
    }

    /// <summary>False: not three octets.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<TransmissionOffset>) : bool =
        let mutable reader = Reader data
        value <- { Offset = (reader.UInt24() <<< 8) >>> 8 }
        reader.Ok && data.Length = 3

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.TransmissionOffset
        member _.Size = 3

        member offset.Write(into) =
            let mutable writer = Writer into
            writer.UInt24(max -0x80_0000 (min 0x7F_FFFF offset.Offset))
            3

/// The number of a packet among all that a transport sends, draft-holmer-rmcat-transport-wide-cc-extensions-01 §2.
[<Struct; NoComparison>]
type TransportSequence =
    {
        /// One more for each packet, whatever its source.
        Sequence: uint16
    }

    /// <summary>False: not two octets.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<TransportSequence>) : bool =
        let mutable reader = Reader data
        value <- { Sequence = reader.UInt16() }
        reader.Ok && data.Length = 2

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.TransportCc
        member _.Size = 2

        member number.Write(into) =
            BinaryPrimitives.WriteUInt16BigEndian(into, number.Sequence)
            2

/// How a picture is to be turned before it is shown, 3GPP TS 26.114 §7.4.5.
///
///     |0 0 0 0|C|F| R |
[<Struct; NoComparison>]
type VideoOrientation =
    {
        /// The camera that faces away from the user.
        BackFacing: bool
        /// To be flipped horizontally, before it is turned.
        Flipped: bool
        /// By how much the picture was turned clockwise on its way from upright: 0, 90, 180 or 270 degrees.
        Rotation: int
    }

    /// <summary>False: no data.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<VideoOrientation>) : bool =
        let bits = if data.IsEmpty then 0uy else data[0]

        value <-
            { BackFacing = bits &&& 8uy <> 0uy
              Flipped = bits &&& 4uy <> 0uy
              Rotation = 90 * int (bits &&& 3uy) }

        not data.IsEmpty

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.VideoOrientation
        member _.Size = 1

        member orientation.Write(into) =
            into[0] <-
                (if orientation.BackFacing then 8uy else 0uy)
                ||| (if orientation.Flipped then 4uy else 0uy)
                ||| (byte (orientation.Rotation / 90) &&& 3uy)

            1

/// Between which bounds a receiver is to delay playing out.
///
///      0                       12                      23
///     |          Min          |          Max          |
[<Struct; NoComparison>]
type PlayoutDelay =
    {
        /// In units of 10 ms, 0 to 4,095.
        Min: int
        /// In units of 10 ms, 0 to 4,095; not less than `Min`.
        Max: int
    }

    /// <summary>False: not three octets, or bounds the wrong way round.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<PlayoutDelay>) : bool =
        let mutable reader = Reader data
        let bits = reader.UInt24()

        value <-
            { Min = bits >>> 12
              Max = bits &&& 0xFFF }

        reader.Ok && data.Length = 3 && value.Min <= value.Max

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.PlayoutDelay
        member _.Size = 3

        member delay.Write(into) =
            let bounded value = max 0 (min 0xFFF value)
            let mutable writer = Writer into
            writer.UInt24((bounded delay.Min <<< 12) ||| bounded delay.Max)
            3

/// What kind of video it is.
[<Struct; NoComparison>]
type VideoContentType =
    {
        /// 0: unspecified, 1: a screen.
        ContentType: byte
    }

    /// Whether it is a screen: the lowest bit, whatever older senders put above it.
    member content.IsScreen = content.ContentType &&& 1uy = 1uy

    /// <summary>False: not one octet.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<VideoContentType>) : bool =
        value <- { ContentType = (if data.IsEmpty then 0uy else data[0]) }

        data.Length = 1

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.VideoContentType
        member _.Size = 1

        member content.Write(into) =
            into[0] <- content.ContentType
            1

/// When a frame passed each stage on its way out, in ms after its capture.
[<Struct; NoComparison>]
type VideoTiming =
    {
        /// Why it is said: 1: by the clock, 2: the frame is large; 0xFF: invalid, not to be reported on.
        Flags: byte
        EncodeStart: uint16
        EncodeFinish: uint16
        PacketizationFinish: uint16
        PacerExit: uint16
        /// Left for those on the way.
        Network1: uint16
        /// Left for those on the way.
        Network2: uint16
    }

    /// <summary>False: neither 13 octets, nor 12, as older senders have it, without flags.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<VideoTiming>) : bool =
        let mutable reader = Reader data

        value <-
            { Flags = (if data.Length = 12 then 0uy else reader.Byte())
              EncodeStart = reader.UInt16()
              EncodeFinish = reader.UInt16()
              PacketizationFinish = reader.UInt16()
              PacerExit = reader.UInt16()
              Network1 = reader.UInt16()
              Network2 = reader.UInt16() }

        data.Length = 12 || data.Length = 13

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.VideoTiming
        member _.Size = 13

        member timing.Write(into) =
            let mutable writer = Writer into
            writer.Byte timing.Flags
            writer.UInt16 timing.EncodeStart
            writer.UInt16 timing.EncodeFinish
            writer.UInt16 timing.PacketizationFinish
            writer.UInt16 timing.PacerExit
            writer.UInt16 timing.Network1
            writer.UInt16 timing.Network2
            13

/// A colour's place in CIE 1931, in units of 1/50,000.
[<Struct; NoComparison>]
type Chromaticity = { X: uint16; Y: uint16 }

/// What the content was mastered on, SMPTE ST 2086, and its light levels, CTA-861.3.
[<Struct; NoComparison>]
type HdrMetadata =
    {
        /// In candela a square metre.
        LuminanceMax: uint16
        /// In 1/10,000 candela a square metre.
        LuminanceMin: uint16
        Red: Chromaticity
        Green: Chromaticity
        Blue: Chromaticity
        White: Chromaticity
        /// In candela a square metre.
        MaxContentLightLevel: uint16
        /// In candela a square metre.
        MaxFrameAverageLightLevel: uint16
    }

/// The colour space of a frame, ISO/IEC 23001-8 (CICP), on the last packet of key frames.
[<Struct; NoComparison>]
type ColorSpace =
    {
        Primaries: byte
        Transfer: byte
        Matrix: byte
        /// 0: unspecified, 1: limited, 2: full, 3: by `Matrix` and `Transfer`.
        Range: byte
        /// 0: unspecified, 1: collocated, 2: half.
        HorizontalSiting: byte
        /// 0: unspecified, 1: collocated, 2: half.
        VerticalSiting: byte
        Hdr: HdrMetadata voption
    }

    /// <summary>False: neither 4 octets nor, with HDR metadata, 28.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<ColorSpace>) : bool =
        let mutable reader = Reader data
        let primaries = reader.Byte()
        let transfer = reader.Byte()
        let matrix = reader.Byte()
        let rest = reader.Byte()

        value <-
            { Primaries = primaries
              Transfer = transfer
              Matrix = matrix
              Range = (rest >>> 4) &&& 3uy
              HorizontalSiting = (rest >>> 2) &&& 3uy
              VerticalSiting = rest &&& 3uy
              Hdr =
                (if data.Length = 28 then
                     ValueSome
                         { LuminanceMax = reader.UInt16()
                           LuminanceMin = reader.UInt16()
                           Red =
                             { X = reader.UInt16()
                               Y = reader.UInt16() }
                           Green =
                             { X = reader.UInt16()
                               Y = reader.UInt16() }
                           Blue =
                             { X = reader.UInt16()
                               Y = reader.UInt16() }
                           White =
                             { X = reader.UInt16()
                               Y = reader.UInt16() }
                           MaxContentLightLevel = reader.UInt16()
                           MaxFrameAverageLightLevel = reader.UInt16() }
                 else
                     ValueNone) }

        data.Length = 4 || data.Length = 28

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.ColorSpace
        member space.Size = if space.Hdr.IsSome then 28 else 4

        member space.Write(into) =
            let mutable writer = Writer into
            writer.Byte space.Primaries
            writer.Byte space.Transfer
            writer.Byte space.Matrix

            writer.Byte(
                ((space.Range &&& 3uy) <<< 4)
                ||| ((space.HorizontalSiting &&& 3uy) <<< 2)
                ||| (space.VerticalSiting &&& 3uy)
            )

            match space.Hdr with
            | ValueSome hdr ->
                writer.UInt16 hdr.LuminanceMax
                writer.UInt16 hdr.LuminanceMin
                writer.UInt16 hdr.Red.X
                writer.UInt16 hdr.Red.Y
                writer.UInt16 hdr.Green.X
                writer.UInt16 hdr.Green.Y
                writer.UInt16 hdr.Blue.X
                writer.UInt16 hdr.Blue.Y
                writer.UInt16 hdr.White.X
                writer.UInt16 hdr.White.Y
                writer.UInt16 hdr.MaxContentLightLevel
                writer.UInt16 hdr.MaxFrameAverageLightLevel
            | ValueNone -> ()

            writer.Written
