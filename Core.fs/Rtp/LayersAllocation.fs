namespace Hybrid.WebRtc.Rtp

open System
open System.Runtime.InteropServices
open Hybrid.WebRtc.Core

/// A spatial layer that is being sent, and what each of its temporal layers takes.
[<NoComparison>]
type LayerAllocation =
    {
        /// Which of the RTP streams carries it, 0 to 3.
        Stream: int
        /// 0 to 3.
        SpatialId: int
        /// In kbit/s, one for each temporal layer, 1 to 4 of them: all that is needed to receive it, lower layers included.
        Bitrates: int[]
    }

/// How large and how fast a spatial layer is.
[<Struct; NoComparison>]
type LayerResolution =
    {
        /// In pixels, 1 to 65,536.
        Width: int
        /// In pixels, 1 to 65,536.
        Height: int
        /// In frames a second.
        MaxFrameRate: byte
    }

/// Which layers a sender sends, video-layers-allocation00.
///
///     |RID| NS| sl_bm |     sl_bm 0: a mask of four bits for each stream follows
///     |#tl|#tl|#tl|#tl|     of each layer, less one
///     |  kbit/s, LEB128, of each temporal layer…  |
///     |  width − 1  |  height − 1  |  frame rate  |  of each layer, all or none
[<NoComparison>]
type VideoLayersAllocation =
    {
        /// Which of the streams this packet belongs to, 0 to 3.
        StreamIndex: int
        /// 1 to 4.
        StreamCount: int
        /// By stream, then by spatial id. None: nothing is sent.
        Layers: LayerAllocation[]
        /// One for each of `Layers`, or none at all.
        Resolutions: LayerResolution[]
    }

    static member private Nothing =
        { StreamIndex = 0
          StreamCount = 1
          Layers = Array.Empty()
          Resolutions = Array.Empty() }

    static member private ReadLeb128(reader: byref<Reader>) : int =
        let mutable value = 0L
        let mutable shift = 0
        let mutable more = true

        // Five octets say 32 bits.
        while more && reader.Ok && shift < 35 do
            let octet = reader.Byte()
            value <- value ||| (int64 (octet &&& 0x7Fuy) <<< shift)
            shift <- shift + 7
            more <- octet &&& 0x80uy <> 0uy

        if more || value > int64 Int32.MaxValue then
            // Nothing more will be right.
            reader.Skip Int32.MaxValue
            0
        else
            int value

    /// <summary>False: shorter than it says, or with neither all resolutions nor none.</summary>
    static member TryRead(data: ReadOnlySpan<byte>, [<Out>] value: byref<VideoLayersAllocation>) : bool =
        let mutable reader = Reader data
        let head = int (reader.Byte())
        let streams = 1 + ((head >>> 4) &&& 3)
        let shared = head &&& 0x0F
        value <- VideoLayersAllocation.Nothing

        if data.Length = 1 && head = 0 then
            true
        else
            let layers = ResizeArray<struct (int * int)>()
            let mutable masks = 0

            for stream in 0 .. streams - 1 do
                let mask =
                    if shared <> 0 then
                        shared
                    elif stream &&& 1 = 0 then
                        masks <- int (reader.Byte())
                        masks >>> 4
                    else
                        masks &&& 0x0F

                for spatial in 0..3 do
                    if mask &&& (1 <<< spatial) <> 0 then
                        layers.Add(struct (stream, spatial))

            let temporal = Array.zeroCreate<int> layers.Count
            let mutable bits = 0

            for i in 0 .. temporal.Length - 1 do
                if i &&& 3 = 0 then
                    bits <- int (reader.Byte())

                temporal[i] <- 1 + ((bits >>> (6 - 2 * (i &&& 3))) &&& 3)

            let read = Array.zeroCreate<LayerAllocation> layers.Count

            for i in 0 .. read.Length - 1 do
                let struct (stream, spatial) = layers[i]
                let bitrates = Array.zeroCreate<int> temporal[i]

                for t in 0 .. bitrates.Length - 1 do
                    bitrates[t] <- VideoLayersAllocation.ReadLeb128 &reader

                read[i] <-
                    { Stream = stream
                      SpatialId = spatial
                      Bitrates = bitrates }

            let withResolutions = reader.Ok && reader.Remaining > 0

            let resolutions =
                Array.zeroCreate<LayerResolution>(if withResolutions then read.Length else 0)

            for i in 0 .. resolutions.Length - 1 do
                resolutions[i] <-
                    { Width = 1 + int (reader.UInt16())
                      Height = 1 + int (reader.UInt16())
                      MaxFrameRate = reader.Byte() }

            if reader.Ok && reader.Remaining = 0 then
                value <-
                    { StreamIndex = head >>> 6
                      StreamCount = streams
                      Layers = read
                      Resolutions = resolutions }

                true
            else
                false

    static member private Leb128Size(value: int) : int =
        let mutable size = 1
        let mutable rest = max 0 value >>> 7

        while rest > 0 do
            size <- size + 1
            rest <- rest >>> 7

        size

    static member private WriteLeb128(writer: byref<Writer>, value: int) : unit =
        let mutable rest = max 0 value

        while rest >= 0x80 do
            writer.Byte(byte (rest &&& 0x7F) ||| 0x80uy)
            rest <- rest >>> 7

        writer.Byte(byte rest)

    /// The active spatial layers of a stream; bit 0 is layer 0.
    member private allocation.Mask(stream: int) : int =
        let mutable mask = 0

        for layer in allocation.Layers do
            if layer.Stream = stream then
                mask <- mask ||| (1 <<< (layer.SpatialId &&& 3))

        mask

    /// The mask that all streams have; 0: they differ.
    member private allocation.SharedMask: int =
        let first = allocation.Mask 0
        let mutable shared = first

        for stream in 1 .. allocation.StreamCount - 1 do
            if allocation.Mask stream <> first then
                shared <- 0

        shared

    /// Whether the wire can say it: layers within bounds and in order, and resolutions of all or of none.
    member allocation.IsValid: bool =
        let layers = allocation.Layers

        let mutable valid =
            allocation.StreamCount >= 1
            && allocation.StreamCount <= 4
            && allocation.StreamIndex >= 0
            && allocation.StreamIndex <= 3
            && (allocation.Resolutions.Length = 0
                || allocation.Resolutions.Length = layers.Length)

        for i in 0 .. layers.Length - 1 do
            let layer = layers[i]

            valid <-
                valid
                && layer.Stream >= 0
                && layer.Stream < allocation.StreamCount
                && layer.SpatialId >= 0
                && layer.SpatialId <= 3
                && layer.Bitrates.Length >= 1
                && layer.Bitrates.Length <= 4
                && (i = 0
                    || 4 * layers[i - 1].Stream + layers[i - 1].SpatialId < 4 * layer.Stream + layer.SpatialId)

        valid

    interface IHeaderExtension with
        member _.Extension = HeaderExtension.VideoLayersAllocation

        member allocation.Size =
            if allocation.Layers.Length = 0 || not allocation.IsValid then
                1
            else
                let mutable size =
                    if allocation.SharedMask <> 0 then
                        1
                    else
                        1 + (allocation.StreamCount + 1) / 2

                size <- size + (allocation.Layers.Length + 3) / 4

                for layer in allocation.Layers do
                    for bitrate in layer.Bitrates do
                        size <- size + VideoLayersAllocation.Leb128Size bitrate

                size + 5 * allocation.Resolutions.Length

        // One that is not valid is written as nothing sent.
        member allocation.Write(into) =
            let mutable writer = Writer into

            if allocation.Layers.Length = 0 || not allocation.IsValid then
                writer.Byte 0uy
            else
                let shared = allocation.SharedMask

                writer.Byte(
                    byte (
                        (allocation.StreamIndex <<< 6)
                        ||| ((allocation.StreamCount - 1) <<< 4)
                        ||| shared
                    )
                )

                if shared = 0 then
                    for pair in 0 .. (allocation.StreamCount - 1) / 2 do
                        writer.Byte(byte ((allocation.Mask(2 * pair) <<< 4) ||| allocation.Mask(2 * pair + 1)))

                let layers = allocation.Layers

                for four in 0 .. (layers.Length - 1) / 4 do
                    let mutable bits = 0

                    for i in 4 * four .. min layers.Length (4 * four + 4) - 1 do
                        bits <- bits ||| ((layers[i].Bitrates.Length - 1) <<< (6 - 2 * (i &&& 3)))

                    writer.Byte(byte bits)

                for layer in layers do
                    for bitrate in layer.Bitrates do
                        VideoLayersAllocation.WriteLeb128(&writer, bitrate)

                for resolution in allocation.Resolutions do
                    writer.UInt16(uint16 (max 1 (min 65_536 resolution.Width) - 1))
                    writer.UInt16(uint16 (max 1 (min 65_536 resolution.Height) - 1))
                    writer.Byte resolution.MaxFrameRate

            writer.Written
