/// What a packet costs in managed memory that is received and forwarded to many: octets, which are the same on every machine.
module Hybrid.WebRtc.PropertyTests.Media.ForwardingCostTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.PeersTests

/// Without transport-wide feedback, as `bench forward` has it: nothing is paced.
let private unpaced: MediaCapabilities =
    { Capabilities.defaults with
        Video =
            Capabilities.defaults.Video
            |> Array.map (fun codec ->
                { codec with
                    Feedback =
                        codec.Feedback
                        |> Array.filter (fun f -> f <> "transport-cc" && f <> "goog-remb") }) }

/// A burst of packets of 1,200 octets, as it is forwarded.
let private burst (payloadType: byte) (first: int) (count: int) : RtpPacket[] =
    Array.init count (fun i ->
        { (frame payloadType 0)[0] with
            SequenceNumber = uint16 (first + i)
            Timestamp = uint32 (3_000 * (first / count))
            Marker = (i = count - 1)
            Payload = ReadOnlyMemory(Array.zeroCreate 1_160) })

let private rounds = 400

/// Octets a packet, of rounds that are prepared before; the first are not counted, for what is made once.
let private octetsEach (packets: int) (inputs: Input[]) (write: bool) (peer: Peer.State) : float * Peer.State =
    let into: byte[] = Array.zeroCreate 2_000
    let mutable peer = peer
    let mutable before = 0L
    let warm = inputs.Length / 4

    for i in 0 .. inputs.Length - 1 do
        if i = warm then
            before <- GC.GetAllocatedBytesForCurrentThread()

        let struct (next, outputs) = Peer.step (Duration.seconds 100L) inputs[i] peer
        peer <- next

        if write then
            for output in outputs do
                match output with
                | TransmitRun(_, run) ->
                    for k in 0 .. run.Count - 1 do
                        run.Write(k, Span into) |> ignore
                | _ -> ()

    let spent = GC.GetAllocatedBytesForCurrentThread() - before
    float spent / float ((inputs.Length - warm) * packets), peer

/// The publisher's packets as they leave.
let private datagrams (path: Path) (inputs: Input[]) (peer: Peer.State) : Input[] =
    let mutable peer = peer
    let made = ResizeArray<Input>()

    for input in inputs do
        let struct (next, outputs) = Peer.step (Duration.seconds 100L) input peer
        peer <- next

        for output in outputs do
            match output with
            | TransmitRun(_, run) ->
                for k in 0 .. run.Count - 1 do
                    let bytes: byte[] = Array.zeroCreate (run.Size k)
                    let written = run.Write(k, Span bytes)
                    made.Add(Datagram(path, Memory(bytes, 0, written)))
            | _ -> ()

    made.ToArray()

let private measured (capabilities: MediaCapabilities) (count: int) =
    let struct (world, id, payloadType) = opened capabilities Weather.fair 41L
    let world = world |> World.pass (Duration.seconds 2L)

    let inputs =
        Array.init rounds (fun i ->
            SendRtp(id, 0, RtpMappings.identity, ReadOnlyMemory(burst payloadType (1_000 + count * i) count)))

    let a, b = world.Ends['a'].Peer, world.Ends['b'].Peer

    let path =
        match Routes.path 'b' world with
        | ValueSome path -> path
        | ValueNone -> failtest "no path"

    let came = datagrams path inputs a
    Expect.equal came.Length (rounds * count) "all leave"
    let received, _ = octetsEach 1 came false b
    let sent, _ = octetsEach count inputs true a
    received, sent

let tests =
    testSequenced
    <| testList
        "The cost of forwarding"
        [ testCase
              "a packet that is received, and one that is sent on in a burst, allocate a bounded number of octets"
              (fun () ->
                  let received, alone = measured unpaced 1
                  let _, ten = measured unpaced 10
                  Expect.isLessThanOrEqual received 1_400.0 "received"
                  Expect.isLessThanOrEqual alone 1_800.0 "sent alone"
                  Expect.isLessThanOrEqual ten 240.0 "sent in a burst of ten") ]
