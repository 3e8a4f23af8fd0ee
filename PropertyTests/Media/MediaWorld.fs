/// Frames of every payload format, made from a seed, and ways to carry them.
module Hybrid.WebRtc.PropertyTests.Media.MediaWorld

open System
open System.Collections.Generic
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.Rtp

/// Numbers from a seed.
type Dice(seed: int) =
    let random = Random seed

    /// From 0 to below `n`.
    member _.Below(n: int) : int = random.Next n

    member _.Bytes(n: int) : byte[] =
        let octets = Array.zeroCreate n
        random.NextBytes octets
        octets

    /// The same items in another order, each moved by at most `most` places.
    member this.Shuffled(most: int, items: 'a[]) : 'a[] =
        items
        |> Array.indexed
        |> Array.sortBy (fun (i, _) -> float i + float (this.Below(1000 * (most + 1))) / 1000.0)
        |> Array.map snd

/// No start code within, no zero at the end: what an encoder's emulation prevention sees to.
let private escaped (body: byte[]) =
    let body =
        body |> Array.map (fun octet -> if octet < 4uy then octet + 4uy else octet)

    body

let private unit (header: byte list) (body: byte[]) =
    Array.concat [ [| 0uy; 0uy; 0uy; 1uy |]; Array.ofList header; escaped body ]

/// Frames of a format, of about `size` octets, the first a key frame.
let private h264 (dice: Dice) size isKey =
    let slice header =
        unit [ header ] (Array.append [| 0x88uy |] (dice.Bytes(1 + size)))

    Array.concat
        [ if isKey then
              unit [ 0x67uy ] (dice.Bytes 12)
              unit [ 0x68uy ] (dice.Bytes 4)
          if dice.Below 3 = 0 then
              unit [ 0x06uy ] (dice.Bytes(1 + dice.Below 40))
          for _ in 0 .. dice.Below 3 do
              slice (if isKey then 0x65uy else 0x41uy) ]

let private h265 (dice: Dice) size isKey =
    let slice (kind: int) =
        unit [ byte (kind <<< 1); 1uy ] (Array.append [| 0x88uy |] (dice.Bytes(1 + size)))

    Array.concat
        [ if isKey then
              for kind in [ 32; 33; 34 ] do
                  unit [ byte (kind <<< 1); 1uy ] (dice.Bytes 20)
          for _ in 0 .. dice.Below 3 do
              slice (if isKey then 19 else 1) ]

let private h266 (dice: Dice) size isKey =
    let slice (kind: int) =
        unit [ 0uy; byte (kind <<< 3 ||| 1) ] (Array.append [| 0x88uy |] (dice.Bytes(1 + size)))

    Array.concat
        [ if isKey then
              for kind in [ 14; 15; 16 ] do
                  unit [ 0uy; byte (kind <<< 3 ||| 1) ] (dice.Bytes 20)
          for _ in 0 .. dice.Below 3 do
              slice (if isKey then 7 else 0) ]

let private vp8 (dice: Dice) size isKey =
    if isKey then
        Array.append [| 0x10uy; 0uy; 0uy; 0x9Duy; 1uy; 0x2Auy; 0x40uy; 1uy; 0xF0uy; 0uy |] (dice.Bytes size)
    else
        Array.append [| 0x11uy |] (dice.Bytes size)

let private vp9 (dice: Dice) size isKey =
    // 320 × 240: frame marker, profile 0, key, shown; sync code; BT.601, 4:2:0; sizes less one.
    if isKey then
        Array.append [| 0x82uy; 0x49uy; 0x83uy; 0x42uy; 0x20uy; 0x13uy; 0xF0uy; 0x0Euy; 0xF0uy |] (dice.Bytes(1 + size))
    else
        Array.append [| 0x86uy |] (Array.append (dice.Bytes size) [| 1uy |])

let private leb128 (value: int) =
    [| let mutable rest = value

       while rest > 127 do
           byte (rest &&& 127 ||| 128)
           rest <- rest >>> 7

       byte rest |]

let private obu (kind: int) (body: byte[]) =
    Array.concat [ [| byte (kind <<< 3 ||| 2) |]; leb128 body.Length; body ]

let private av1 (dice: Dice) size isKey =
    Array.concat
        [ obu 2 [||]
          if isKey then
              // A reduced still picture's header: 320 × 240 in nine and eight bits.
              obu 1 [| 0x18uy; 0x21uy; 0xE7uy; 0xFDuy; 0xE0uy |]
          if dice.Below 2 = 0 then
              obu 5 (dice.Bytes(1 + dice.Below 30))
          for _ in 0 .. dice.Below 6 do
              obu 6 (Array.append [| (if isKey then 0x10uy else 0x30uy) |] (dice.Bytes size)) ]

/// Config 31, one frame: 20 ms.
let private opus (dice: Dice) size _ =
    Array.append [| 0xF8uy |] (dice.Bytes(min 50 size))

let private plain (dice: Dice) size _ = dice.Bytes(1 + min 50 size)

/// A payload format with frames of it.
[<NoComparison; NoEquality>]
type Kind =
    { Mime: string
      Fmtp: string
      Frame: Dice -> int -> bool -> byte[] }

let kinds =
    [ { Mime = "video/VP8"
        Fmtp = ""
        Frame = vp8 }
      { Mime = "video/VP9"
        Fmtp = ""
        Frame = vp9 }
      { Mime = "video/H264"
        Fmtp = "packetization-mode=1"
        Frame = h264 }
      { Mime = "video/H265"
        Fmtp = ""
        Frame = h265 }
      { Mime = "video/H266"
        Fmtp = ""
        Frame = h266 }
      { Mime = "video/AV1"
        Fmtp = ""
        Frame = av1 }
      { Mime = "audio/opus"
        Fmtp = ""
        Frame = opus }
      { Mime = "audio/PCMU"
        Fmtp = ""
        Frame = plain }
      { Mime = "audio/G722"
        Fmtp = ""
        Frame = plain }
      { Mime = "audio/red"
        Fmtp = "111/111"
        Frame = plain }
      { Mime = "audio/telephone-event"
        Fmtp = "0-15"
        Frame = fun dice _ _ -> dice.Bytes 4 } ]

let formatOf (kind: Kind) =
    PayloadFormats.For(kind.Mime, kind.Fmtp)

let isVideo (kind: Kind) = kind.Mime.StartsWith "video/"

/// `count` frames, 3,000 ticks apart from a timestamp that soon wraps; every tenth is a key frame. `size` is the most octets of a
/// slice of one.
let frames (kind: Kind) (dice: Dice) (size: int) (count: int) : EncodedFrame[] =
    Array.init count (fun i ->
        EncodedFrame(
            Data = ReadOnlyMemory(kind.Frame dice (dice.Below(1 + size)) (i % 10 = 0)),
            Timestamp = 0xFFFF_F000u + uint32 (3000 * i)
        ))

/// The packets of frames, from a sequence number that soon wraps.
let packets (format: PayloadFormat) (size: int) (frames: EncodedFrame seq) : RtpPacket[] =
    let packetizer = Packetizer(format.CreatePacketizer(), size, Nullable 65_500us)

    let into = List<RtpPacket>()

    for frame in frames do
        packetizer.Packetize(frame, into) |> ignore

    into.ToArray()

/// All frames that are ready.
let popAll (builder: SampleBuilder) : EncodedFrame list =
    [ let mutable more = true

      while more do
          match builder.TryPop() with
          | true, frame -> nonNull frame
          | _ -> more <- false ]

let push (builder: SampleBuilder) (packet: RtpPacket) : unit = builder.Push(&packet)

/// What a builder makes of packets, one at a time, and of their end.
let rebuilt (builder: SampleBuilder) (packets: RtpPacket seq) : EncodedFrame[] =
    [| for packet in packets do
           push builder packet
           yield! popAll builder

       builder.Flush()
       yield! popAll builder |]

let octets (frame: EncodedFrame) = frame.Data.ToArray()
