/// Whole peers in the simulated internet with encoders that follow the estimate, through one link.
module Hybrid.WebRtc.PropertyTests.Media.Callers

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

/// How receivers tell what came.
type Telling =
    | TransportWide
    | Rfc8888

let capabilities (telling: Telling) : MediaCapabilities =
    match telling with
    | TransportWide -> Capabilities.defaults
    | Rfc8888 -> Capabilities.withFeedback "ack ccfb" Capabilities.defaults

let config (telling: Telling) : PeerConfig =
    { World.config with
        Capabilities = capabilities telling }

let private init: TransceiverInit =
    { Kind = MediaKind.Video
      Direction = Direction.SendOnly
      Streams = [| "stream" |]
      Encodings = [||]
      Track = ValueSome "track" }

/// Times in seconds.
let seconds (s: float) : Instant = int64 (s * 1e6) * 1L<us>

/// A camera at 30 frames a second. Its encoder keeps to the estimate on average, through a bucket of its own.
type Camera =
    {
        /// Whose it is.
        Who: char
        Transceiver: TransceiverId
        PayloadType: byte
        Entropy: Entropy
        /// No frame before it.
        NextAt: Instant
        Frames: int
        Sequence: uint16
        /// A key frame, ten times a delta frame, each so many frames.
        KeyInterval: int
        /// Octets that the encoder has made too much.
        Ahead: float
        /// The application sends no more than that, bits a second.
        Cap: float
        /// What the application was told last, bits a second.
        Estimate: float
        /// The same by time, newest first.
        Estimates: struct (Instant * float) list
    }

/// The estimate that an end was told last.
let estimate (who: char) (world: World) : float =
    world.Ends[who].Events
    |> List.tryPick (function
        | BitrateEstimated bits -> Some(float bits)
        | _ -> None)
    |> Option.defaultValue 300_000.0

let private packet (camera: Camera) (sequence: uint16) (isLast: bool) (payload: byte[]) : RtpPacket =
    { Marker = isLast
      PayloadType = camera.PayloadType
      SequenceNumber = sequence
      Timestamp = uint32 (3_000 * camera.Frames)
      Ssrc = 0u
      Csrcs = ReadOnlyMemory()
      ExtensionProfile = 0us
      Extensions = ReadOnlyMemory()
      Map = ExtensionMap.Empty
      Payload = ReadOnlyMemory payload
      Padding = 0uy }

/// Frames of a hundredth more or less of the mean, half to twice as large at most.
let private frame (camera: Camera) (world: World) : struct (Camera * World) =
    let told = estimate camera.Who world
    let rate = min told camera.Cap
    let mean = rate / 30.0 / 8.0
    let struct (x, entropy) = Entropy.unit camera.Entropy
    let isKey = camera.Frames % camera.KeyInterval = 0
    // The encoder pays back what it has made too much within a second or so.
    let wanted =
        if isKey then
            10.0 * mean
        else
            mean * (0.7 + 0.6 * x)
            - max (-0.25 * mean) (min (0.4 * mean) (camera.Ahead / 30.0))

    let octets = max 100 (int wanted)
    let count = (octets + 1_099) / 1_100

    let packets =
        Array.init count (fun i ->
            packet
                camera
                (camera.Sequence + uint16 i)
                (i = count - 1)
                (Array.create (if i = count - 1 then octets - 1_100 * i else 1_100) (byte i)))

    struct ({ camera with
                Entropy = entropy
                NextAt = camera.NextAt + 33_333L<us>
                Frames = camera.Frames + 1
                Sequence = camera.Sequence + uint16 count
                Ahead = camera.Ahead + float octets - mean
                Estimate = told
                Estimates = struct (world.Now, told) :: camera.Estimates },
            World.tell camera.Who (SendRtp(camera.Transceiver, 0, RtpMappings.identity, ReadOnlyMemory packets)) world)

/// What happens in a test beside cameras.
[<NoComparison; NoEquality>]
type Story = { World: World; Cameras: Camera list }

/// Lets time pass up to a time in seconds, cameras and all.
let rec until (time: float) (story: Story) : Story =
    let due =
        story.Cameras
        |> List.map (fun c -> World.awake (max story.World.Now c.NextAt) story.World.Ends[c.Who])
        |> List.fold min Instant.never

    let last = seconds time

    if due > last then
        { story with
            World = World.pass (last - story.World.Now) story.World }
    else
        let world = World.pass (due - story.World.Now) story.World

        let struct (cameras, world) =
            (struct ([], world), story.Cameras)
            ||> List.fold (fun (struct (done', world)) camera ->
                if
                    World.awake (max world.Now camera.NextAt) world.Ends[camera.Who] = world.Now
                    && camera.NextAt <= world.Now
                then
                    let struct (camera, world) = frame camera world
                    struct (camera :: done', world)
                else
                    struct (camera :: done', world))

        until
            time
            { World = world
              Cameras = List.rev cameras }

/// A call from `'a'` or `'c'` to the other, connected, whose camera has not begun. The weather is to be fair.
let call (who: char) (seed: int64) (keyInterval: int) (world: World) : struct (Camera * World) =
    match World.demand who (fun c -> AddTransceiver(c, init)) world with
    | world, Transceiver info ->
        let world = World.negotiate who world

        let isReady world =
            World.connection who world = PeerConnectionState.Connected

        let world, ready = World.run (Duration.seconds 30L) isReady world
        Expect.isTrue ready "connected"

        let codec: RtpCodecParameters =
            world.Ends[who].Events
            |> List.pick (function
                | TransceiversChanged infos -> Some infos[0].SendCodecs[0]
                | _ -> None)

        struct ({ Who = who
                  Transceiver = info.Id
                  PayloadType = byte codec.PayloadType
                  Entropy = Entropy.ofNumber seed
                  NextAt = world.Now
                  Frames = 0
                  Sequence = 1_000us
                  KeyInterval = keyInterval
                  Ahead = 0.0
                  Cap = infinity
                  Estimate = 300_000.0
                  Estimates = [] },
                world)
    | _ -> failtest "no transceiver"

/// The estimate at a time in seconds.
let estimateAt (time: float) (camera: Camera) : float =
    camera.Estimates
    |> List.tryPick (fun (struct (at, e)) -> if at <= seconds time then Some e else None)
    |> Option.defaultValue 300_000.0

/// Bits a second of media that came to an end between two times in seconds.
let received (who: char) (from: float) (upTo: float) (world: World) : float =
    let mutable octets = 0

    for struct (at, _, _, packet) in world.Ends[who].Rtp do
        if at >= seconds from && at < seconds upTo then
            octets <- octets + packet.Payload.Length + 12

    8.0 * float octets / (upTo - from)

/// Of sorted values, that which the share `p` is not above.
let percentile (p: float) (sorted: float[]) : float =
    if sorted.Length = 0 then
        0.0
    else
        sorted[min (sorted.Length - 1) (int (p * float sorted.Length))]
