namespace Hybrid.WebRtc.PropertyTests.Sctp

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

/// One end of a simulated association, and what it told.
type End(state: Sctp.State) =
    member val State = state with get, set
    /// Delivered: stream, PPID, payload.
    member val Messages = ResizeArray<struct (uint16 * uint32 * byte[])>() with get
    member val Events = ResizeArray<SctpOutput>() with get
    /// Ignored inputs, by reason.
    member val Drops: int[] = Array.zeroCreate 16 with get
    member val PacketsSent = 0 with get, set
    member val PacketsReceived = 0 with get, set
    /// Octets told by `Transmitted`, by stream.
    member val Left: int64[] = Array.zeroCreate 65536 with get
    /// Whether delivered messages are consumed at once.
    member val Consumes = true with get, set

/// Two associations over a wire, in virtual time. Every lent buffer is poisoned after its step, and the laws that need a
/// running machine are checked all along. `changeB` changes the configuration of the second end alone.
type SctpPair(weather: Weather, seed: int64, change: SctpConfig -> SctpConfig, ?changeB: SctpConfig -> SctpConfig) =
    let config = change (SctpConfig.create SystemCiphers.Shared)
    let configB = defaultArg changeB id config
    let entropy = Entropy.ofNumber seed

    let ends =
        [| End(Sctp.create (Entropy.split "a" entropy) config)
           End(Sctp.create (Entropy.split "b" entropy) configB) |]

    // Of the record and the rest that a datagram has around the packet.
    let overhead = 37

    let mutable wire: Wire<int> = Wire.create weather (Entropy.split "wire" entropy)
    let mutable now: Instant = Duration.seconds 1L
    // Ticks without an input in between and without time going on: a busy loop.
    let mutable idleTicks = 0

    member _.A = ends[0]
    member _.B = ends[1]
    member _.Ends = ends
    member _.Now = now
    member _.Config = config
    /// Sees each packet before it is lost or not: the end that sent it, its bytes. False swallows it.
    member val Filter: int -> byte[] -> bool = (fun _ _ -> true) with get, set

    member _.Weather
        with set weather = wire <- Wire.under weather wire

    member this.Step(who: int, input: SctpInput) : unit =
        let e = ends[who]
        let before = Sctp.mtu e.State
        let struct (next, outputs) = Sctp.step now input e.State
        e.State <- next
        let mtu = max before (Sctp.mtu next)
        let mutable consumed = 0

        for output in outputs do
            match output with
            | SctpOutput.Transmit packet ->
                let bytes = Array.zeroCreate (SctpPacket.size packet)
                let written = SctpPacket.write (Span bytes) packet

                if written <> bytes.Length then
                    failtest "a packet is not the size it said"

                // A probe is a HEARTBEAT of more than the path is known to carry.
                let limit = if bytes[12] = Kind.Heartbeat then config.MaxMtu else mtu

                if bytes.Length > limit && not packet.MayFragment then
                    failtestf "a packet of %d octets where %d may be sent" bytes.Length limit

                e.PacketsSent <- e.PacketsSent + 1

                if this.Filter who bytes then
                    let size = if packet.MayFragment then 0 else bytes.Length + overhead
                    wire <- Wire.sendAs size now (1 - who) bytes wire
            | SctpOutput.Message(stream, ppid, payload) ->
                e.Messages.Add(struct (stream, ppid, payload.ToArray()))

                if e.Consumes then
                    consumed <- consumed + payload.Length
            | SctpOutput.Transmitted(stream, bytes) -> e.Left[int stream] <- e.Left[int stream] + int64 bytes
            | SctpOutput.Ignored drop -> e.Drops[int drop] <- e.Drops[int drop] + 1
            | other -> e.Events.Add other

        if consumed > 0 then
            this.Step(who, SctpInput.Consumed consumed)

    /// A packet from nowhere.
    member this.Inject(who: int, bytes: byte[]) : unit =
        let copy = Array.copy bytes
        this.Step(who, SctpInput.Received(ReadOnlyMemory copy))
        Array.fill copy 0 copy.Length 0xdduy

    /// When something happens next.
    member _.Next: Instant =
        Instant.min (Wire.next wire) (Instant.min (Sctp.deadline ends[0].State) (Sctp.deadline ends[1].State))

    /// Goes on to the next instant at which something happens, at most to `until`: takes in what arrives, then ticks whoever is due. False where
    /// nothing is left to happen before.
    member this.Advance(until: Instant) : bool =
        let next = this.Next

        if next = Instant.never || next > until then
            now <- max now until
            false
        else
            if next > now then
                idleTicks <- 0
            else
                idleTicks <- idleTicks + 1

                if idleTicks > 1000 then
                    failtest "a busy loop"

            now <- max now next
            let mutable arriving = true

            while arriving do
                match Wire.receive now wire with
                | struct (ValueSome(struct (who, bytes)), rest) ->
                    wire <- rest
                    ends[who].PacketsReceived <- ends[who].PacketsReceived + 1
                    this.Step(who, SctpInput.Received(ReadOnlyMemory bytes))
                    // It was only lent.
                    Array.fill bytes 0 bytes.Length 0xdduy
                | struct (ValueNone, _) -> arriving <- false

            for who in 0..1 do
                let due = Sctp.deadline ends[who].State

                if due <= now then
                    this.Step(who, SctpInput.Tick)

                    if Sctp.deadline ends[who].State <= now then
                        failtestf "a tick at the deadline left the deadline: %A" (Sctp.state ends[who].State)
                elif due <> Instant.never then
                    let struct (same, outputs) = Sctp.step now SctpInput.Tick ends[who].State

                    if not outputs.IsEmpty || Sctp.deadline same <> due then
                        failtest "an early tick did something"

            true

    /// Goes on until `holds` or for `limit` of virtual time; answers whether it held.
    member this.Until(limit: Duration, holds: unit -> bool) : bool =
        let until = now + limit
        let mutable going = true

        while going && not (holds ()) do
            going <- this.Advance until

        holds ()

    member this.Run(limit: Duration) : unit =
        this.Until(limit, (fun () -> false)) |> ignore

    /// Both connect, as WebRTC has it.
    member this.Connect() : unit =
        this.Step(0, SctpInput.Connect)
        this.Step(1, SctpInput.Connect)

    member _.IsUp =
        Sctp.state ends[0].State = SctpState.Established
        && Sctp.state ends[1].State = SctpState.Established

    /// Connects, and fails the test unless both are up within a minute.
    member this.Establish() : unit =
        this.Connect()

        if not (this.Until(Duration.seconds 60L, (fun () -> this.IsUp))) then
            failtestf "not up within a minute: %A %A" (Sctp.state ends[0].State) (Sctp.state ends[1].State)

    member this.Send
        (
            who: int,
            stream: int,
            payload: byte[],
            ?ordered: bool,
            ?reliability: Reliability,
            ?ppid: uint32,
            ?priority: uint16
        ) =
        this.Step(
            who,
            SctpInput.Send
                { Stream = uint16 stream
                  Ppid = defaultArg ppid 53u
                  Ordered = defaultArg ordered true
                  Reliability = defaultArg reliability Reliable
                  Priority = defaultArg priority 256us
                  Payload = ReadOnlyMemory payload }
        )

/// Messages that tell their number and whether they are intact.
[<RequireQualifiedAccess>]
module Numbered =
    /// `size` octets, at least 4.
    let make (number: int) (size: int) : byte[] =
        let bytes = Array.init size (fun i -> byte (number * 31 + i * 7 + (i >>> 8)))
        Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(Span bytes, number)
        bytes

    /// The number; fails where an octet is not what it was.
    let read (bytes: byte[]) : int =
        let number = Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(ReadOnlySpan bytes)

        if not (Array.forall2 (=) bytes (make number bytes.Length)) then
            failtestf "message %d of %d octets was damaged" number bytes.Length

        number

/// What the tests of associations share.
[<AutoOpen>]
module Story =
    /// A check for each of `count` seeds, more where `Laws.config` asks for more; a failure names its seed.
    let seeds count name check =
        testCase name (fun () ->
            for seed in 1L .. int64 (max count (count * Laws.config.maxTest / 200)) do
                try
                    check seed
                with e ->
                    failtestf "seed %d: %s" seed e.Message)

    let pair weather seed = SctpPair(weather, seed, id)

    let numbers (e: End) =
        [ for struct (_, _, payload) in e.Messages -> Numbered.read payload ]

    let numbersOf (stream: int) (e: End) =
        [ for struct (s, _, payload) in e.Messages do
              if int s = stream then
                  Numbered.read payload ]

    let arrived (count: int) (e: End) () = e.Messages.Count >= count

    let minutes (n: int64) = Duration.seconds (60L * n)
