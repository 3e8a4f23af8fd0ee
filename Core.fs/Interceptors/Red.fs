namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A block of a RED payload, RFC 2198 §3.
[<Struct; NoComparison; NoEquality>]
type internal RedBlock =
    {
        PayloadType: byte
        /// How much older than the packet it is, in units of the clock; 14 bits. The primary block is as old as the packet.
        TimestampOffset: int
        Payload: ReadOnlyMemory<byte>
    }

/// Redundant payloads, RFC 2198. Each block but the last has a head of four octets, the last, which is the primary one, of one:
///
///      0               8              16                              31
///     |1|  Block PT   |     Timestamp Offset      |   Block Length    |
///     |0|  Block PT   |
///
/// Audio repeats what the packets before it held. Video carries one block, and ULPFEC packets (RFC 5109) beside the media.
[<RequireQualifiedAccess>]
module internal Red =
    /// Blocks read of one packet: what goes beyond them is malformed.
    [<Literal>]
    let MaxBlocks = 32

    /// What a head has room for, RFC 2198 §3.
    [<Literal>]
    let MaxOffset = 16_383

    /// What a head has room for, RFC 2198 §3.
    [<Literal>]
    let MaxLength = 1023

    /// The blocks of a payload, oldest first, the primary one last; they stay where they are. ValueNone: shorter than it says.
    let read (payload: ReadOnlyMemory<byte>) : RedBlock[] voption =
        let bytes = payload.Span
        let mutable at = 0
        let mutable count = 0
        let mutable redundant = 0
        let mutable ok = true

        while ok && at < bytes.Length && bytes[at] >= 0x80uy do
            if at + 4 > bytes.Length || count = MaxBlocks - 1 then
                ok <- false
            else
                redundant <- redundant + ((int (bytes[at + 2] &&& 3uy) <<< 8) ||| int bytes[at + 3])
                count <- count + 1
                at <- at + 4

        if not ok || at >= bytes.Length || at + 1 + redundant > bytes.Length then
            ValueNone
        else
            let blocks: RedBlock[] = Array.zeroCreate (count + 1)
            let mutable data = at + 1

            for i in 0 .. count - 1 do
                let head = 4 * i
                let length = (int (bytes[head + 2] &&& 3uy) <<< 8) ||| int bytes[head + 3]

                blocks[i] <-
                    { PayloadType = bytes[head] &&& 0x7Fuy
                      TimestampOffset = (int bytes[head + 1] <<< 6) ||| (int bytes[head + 2] >>> 2)
                      Payload = payload.Slice(data, length) }

                data <- data + length

            blocks[count] <-
                { PayloadType = bytes[at] &&& 0x7Fuy
                  TimestampOffset = 0
                  Payload = payload.Slice data }

            ValueSome blocks

    /// Octets of a payload of these blocks.
    let size (blocks: RedBlock[]) : int =
        let mutable octets = 4 * blocks.Length - 3

        for block in blocks do
            octets <- octets + block.Payload.Length

        octets

    /// A payload of blocks, the primary one last. The others' offsets and lengths fit their heads.
    let write (blocks: RedBlock[]) : byte[] =
        let payload: byte[] = Array.zeroCreate (size blocks)
        let mutable writer = Writer(Span payload)
        let last = blocks.Length - 1

        for i in 0 .. last - 1 do
            writer.Byte(0x80uy ||| blocks[i].PayloadType)
            writer.UInt24((blocks[i].TimestampOffset <<< 10) ||| blocks[i].Payload.Length)

        writer.Byte(blocks[last].PayloadType &&& 0x7Fuy)

        for block in blocks do
            writer.Bytes block.Payload.Span

        payload

    /// A packet as the only block of a RED packet.
    let wrap (red: byte) (packet: inref<RtpPacket>) : RtpPacket =
        let payload: byte[] = Array.zeroCreate (1 + packet.Payload.Length)
        payload[0] <- packet.PayloadType &&& 0x7Fuy
        packet.Payload.Span.CopyTo(Span(payload, 1, packet.Payload.Length))

        { packet with
            PayloadType = red
            Payload = ReadOnlyMemory payload }

    /// The primary packet of a RED packet. Where its payload type is ULPFEC's, it is no media. ValueNone: malformed.
    let primary (packet: inref<RtpPacket>) : RtpPacket voption =
        match read packet.Payload with
        | ValueNone -> ValueNone
        | ValueSome blocks ->
            let block = blocks[blocks.Length - 1]

            ValueSome
                { packet with
                    PayloadType = block.PayloadType
                    Payload = block.Payload }

/// A payload that later packets repeat.
[<Struct; NoComparison; NoEquality>]
type internal Repeatable =
    { SequenceNumber: uint16
      Timestamp: uint32
      PayloadType: byte
      Payload: ReadOnlyMemory<byte> }

/// Sends audio as RED with the payloads before it, RFC 2198: the nearest packets first to fall away where there is no room.
[<RequireQualifiedAccess>]
module internal RedSender =
    [<NoComparison; NoEquality>]
    type State =
        {
            /// Of RED, as negotiated.
            PayloadType: byte
            /// How many packets before it each repeats; 0 to 9.
            Distance: int
            /// Oldest first.
            Past: Repeatable[]
        }

    /// Octets that repetitions may add to a packet.
    [<Literal>]
    let MaxRepeated = 800

    let create (payloadType: byte) (distance: int) : State =
        { PayloadType = payloadType
          Distance = max 0 (min 9 distance)
          Past = Array.Empty() }

    /// A packet with what it repeats, oldest first, RFC 2198 §4. The receiver counts back by blocks, so that a number that is not there
    /// ends the row, as does a block that its head has no room for: what is older has none either.
    let wrap (packet: inref<RtpPacket>) (state: State) : struct (State * RtpPacket) =
        let mutable first = state.Past.Length
        let mutable octets = 0
        let mutable going = true

        while going && first > 0 do
            let past = state.Past[first - 1]
            let offset = packet.Timestamp - past.Timestamp
            let behind = uint16 (state.Past.Length - first + 1)

            if
                packet.SequenceNumber - past.SequenceNumber <> behind
                || offset > uint32 Red.MaxOffset
                || past.Payload.Length > Red.MaxLength
                || octets + past.Payload.Length > MaxRepeated
            then
                going <- false
            else
                octets <- octets + past.Payload.Length
                first <- first - 1

        let count = state.Past.Length - first
        let blocks: RedBlock[] = Array.zeroCreate (count + 1)

        for i in 0 .. count - 1 do
            let past = state.Past[first + i]

            blocks[i] <-
                { PayloadType = past.PayloadType
                  TimestampOffset = int (packet.Timestamp - past.Timestamp)
                  Payload = past.Payload }

        blocks[count] <-
            { PayloadType = packet.PayloadType
              TimestampOffset = 0
              Payload = packet.Payload }

        let now =
            { SequenceNumber = packet.SequenceNumber
              Timestamp = packet.Timestamp
              PayloadType = packet.PayloadType
              Payload = packet.Payload }

        let past =
            if state.Distance = 0 then
                state.Past
            elif state.Past.Length < state.Distance then
                Array.append state.Past [| now |]
            else
                Array.append (Array.sub state.Past 1 (state.Distance - 1)) [| now |]

        struct ({ state with Past = past },
                { packet with
                    PayloadType = state.PayloadType
                    Payload = ReadOnlyMemory(Red.write blocks) })

/// Receives RED audio: each packet once, whether it came itself or in one behind it.
[<RequireQualifiedAccess>]
module internal RedReceiver =
    [<Struct; NoComparison>]
    type State =
        {
            /// The highest unwrapped number that came, itself or repeated; 0: none.
            Highest: int64
            /// Which of the 64 numbers up to it came; bit 0 is the highest.
            Seen: uint64
            /// Repetitions that came, and their octets.
            Repeated: int64
            RepeatedOctets: int64
            /// Packets that only their repetition brought.
            Recovered: int64
            Malformed: int64
        }

    let create () : State =
        { Highest = 0L
          Seen = 0UL
          Repeated = 0L
          RepeatedOctets = 0L
          Recovered = 0L
          Malformed = 0L }

    /// Notes a number; true where it is new.
    let private note (number: int64) (state: State) : struct (State * bool) =
        if state.Highest = 0L || number - state.Highest >= 64L then
            struct ({ state with
                        Highest = number
                        Seen = 1UL },
                    true)
        elif number > state.Highest then
            struct ({ state with
                        Highest = number
                        Seen = (state.Seen <<< int (number - state.Highest)) ||| 1UL },
                    true)
        else
            let back = state.Highest - number

            if back >= 64L then
                struct (state, false)
            else
                let bit = 1UL <<< int back

                struct ({ state with Seen = state.Seen ||| bit }, state.Seen &&& bit = 0UL)

    /// Notes a packet of the stream that is not RED, by its unwrapped number; false: a repetition has brought it.
    let plain (number: int64) (state: State) : struct (State * bool) = note number state

    /// The packets that a RED packet brings and that did not come before, oldest first. `number`: its unwrapped sequence number; the k-th
    /// block before the primary one is packet `number - k`, since each packet before is repeated once (RFC 2198 §4).
    /// A packet that only comes by repetition has no header extension of its own.
    let received (number: int64) (packet: inref<RtpPacket>) (state: State) : struct (State * RtpPacket[]) =
        match Red.read packet.Payload with
        | ValueNone ->
            struct ({ state with
                        Malformed = state.Malformed + 1L },
                    Array.Empty())
        | ValueSome blocks ->
            let found = Collections.Generic.List<RtpPacket>(blocks.Length)
            let last = blocks.Length - 1
            let mutable state = state
            // Before anything came, what is older belongs to nothing.
            let first = if state.Highest = 0L then last else 0

            for i in first..last do
                let block = blocks[i]
                let numbered = number - int64 (last - i)

                // An empty block stands for nothing: it only keeps the count.
                if i = last || block.Payload.Length > 0 then
                    if i < last then
                        state <-
                            { state with
                                Repeated = state.Repeated + 1L
                                RepeatedOctets = state.RepeatedOctets + int64 block.Payload.Length }

                    let struct (next, isNew) = note numbered state
                    state <- next

                    if isNew then
                        if i < last then
                            state <-
                                { state with
                                    Recovered = state.Recovered + 1L }

                        found.Add
                            { packet with
                                PayloadType = block.PayloadType
                                SequenceNumber = uint16 numbered
                                Timestamp = packet.Timestamp - uint32 block.TimestampOffset
                                Payload = block.Payload
                                Marker = (i = last && packet.Marker)
                                Padding = 0uy
                                ExtensionProfile = (if i = last then packet.ExtensionProfile else 0us)
                                Extensions = (if i = last then packet.Extensions else ReadOnlyMemory.Empty) }

            struct (state, found.ToArray())
