namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Numerics
open System.Runtime.InteropServices
open Hybrid.WebRtc.Rtp

/// Which of 109 packets a FEC packet protects, counted from its base.
[<Struct; NoComparison>]
type internal FecMask =
    {
        /// Bit i: packet i, from 0 to 63.
        Low: uint64
        /// Bit i: packet 64 + i, to 108.
        High: uint64
    }

/// Masks of FEC packets.
[<RequireQualifiedAccess>]
module internal FecMask =
    /// Packets that the longest mask covers: 15 + 31 + 63, draft-ietf-payload-flexible-fec-scheme-03 §4.2.
    [<Literal>]
    let Width = 109

    let none: FecMask = { Low = 0UL; High = 0UL }

    let inline contains (i: int) (mask: FecMask) : bool =
        if i < 64 then
            (mask.Low >>> i) &&& 1UL = 1UL
        else
            (mask.High >>> (i - 64)) &&& 1UL = 1UL

    let inline add (i: int) (mask: FecMask) : FecMask =
        if i < 64 then
            { mask with
                Low = mask.Low ||| (1UL <<< i) }
        else
            { mask with
                High = mask.High ||| (1UL <<< (i - 64)) }

    let inline remove (i: int) (mask: FecMask) : FecMask =
        if i < 64 then
            { mask with
                Low = mask.Low &&& ~~~(1UL <<< i) }
        else
            { mask with
                High = mask.High &&& ~~~(1UL <<< (i - 64)) }

    let inline count (mask: FecMask) : int =
        BitOperations.PopCount mask.Low + BitOperations.PopCount mask.High

    /// The lowest packet; 128 of none.
    let inline lowest (mask: FecMask) : int =
        if mask.Low <> 0UL then
            BitOperations.TrailingZeroCount mask.Low
        else
            64 + BitOperations.TrailingZeroCount mask.High

/// What a FEC packet says of itself.
[<Struct; NoComparison>]
type internal FecHeader =
    {
        /// Of the stream it protects.
        Ssrc: uint32
        BaseSequence: uint16
        Mask: FecMask
        /// Octets before the repair payload.
        Size: int
    }

/// FlexFEC as browsers speak it, draft-ietf-payload-flexible-fec-scheme-03 §4.2 with a flexible mask (F = 0), of one stream:
///
///      0               8              16                              31
///     |0|0|P|X|  CC   |M| PT Recovery |        Length Recovery        |
///     |                          TS Recovery                          |
///     | SSRCCount = 1 |                   Reserved                    |
///     |                             SSRC                              |
///     |            SN Base            |k|          Mask [0-14]        |
///     |k|                   Mask [15-45] (optional)                   |
///     |k|                                                             |
///     |                     Mask [46-108] (optional)                  |
///
/// A set k ends the mask. All is the XOR of the protected packets as they are on the wire before SRTP, but with zeros where the
/// pacer, or a forwarder, writes late: libwebrtc protects and recovers them so.
[<RequireQualifiedAccess>]
module internal FlexFec =
    /// Octets of the header with the shortest mask.
    [<Literal>]
    let MinHeader = 20

    /// The header of a FEC packet's payload. ValueNone: too short, a retransmission (R), a fixed mask (F), or of more than one
    /// stream, none of which browsers send.
    let read (payload: ReadOnlySpan<byte>) : FecHeader voption =
        if payload.Length < MinHeader || payload[0] >= 0x40uy || payload[8] <> 1uy then
            ValueNone
        else
            let first = BinaryPrimitives.ReadUInt16BigEndian(payload.Slice 18)
            let mutable mask = FecMask.none
            let mutable size = MinHeader
            let mutable ok = true

            for i in 0..14 do
                if (first >>> (14 - i)) &&& 1us = 1us then
                    mask <- FecMask.add i mask

            if first &&& 0x8000us = 0us then
                if payload.Length < 24 then
                    ok <- false
                else
                    let second = BinaryPrimitives.ReadUInt32BigEndian(payload.Slice 20)
                    size <- 24

                    for i in 0..30 do
                        if (second >>> (30 - i)) &&& 1u = 1u then
                            mask <- FecMask.add (15 + i) mask

                    if second &&& 0x8000_0000u = 0u then
                        if payload.Length < 32 then
                            ok <- false
                        else
                            let third = BinaryPrimitives.ReadUInt64BigEndian(payload.Slice 24)
                            size <- 32
                            ok <- third >>> 63 = 1UL

                            for i in 0..62 do
                                if (third >>> (62 - i)) &&& 1UL = 1UL then
                                    mask <- FecMask.add (46 + i) mask

            if ok && FecMask.count mask > 0 then
                ValueSome
                    { Ssrc = BinaryPrimitives.ReadUInt32BigEndian(payload.Slice 12)
                      BaseSequence = BinaryPrimitives.ReadUInt16BigEndian(payload.Slice 16)
                      Mask = mask
                      Size = size }
            else
                ValueNone

    /// Octets of a header with this mask.
    let headerSize (mask: FecMask) : int =
        if mask.High <> 0UL || mask.Low >>> 46 <> 0UL then 32
        elif mask.Low >>> 15 <> 0UL then 24
        else MinHeader

    /// Writes what is not recovery: the stream, the base and the mask.
    let writeHeader (into: Span<byte>) (ssrc: uint32) (baseSequence: uint16) (mask: FecMask) : unit =
        let size = headerSize mask
        into[8] <- 1uy
        BinaryPrimitives.WriteUInt32BigEndian(into.Slice 12, ssrc)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 16, baseSequence)
        let mutable first = if size = 20 then 0x8000us else 0us

        for i in 0..14 do
            if FecMask.contains i mask then
                first <- first ||| (1us <<< (14 - i))

        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 18, first)

        if size >= 24 then
            let mutable second = if size = 24 then 0x8000_0000u else 0u

            for i in 0..30 do
                if FecMask.contains (15 + i) mask then
                    second <- second ||| (1u <<< (30 - i))

            BinaryPrimitives.WriteUInt32BigEndian(into.Slice 20, second)

        if size = 32 then
            let mutable third = 1UL <<< 63

            for i in 0..62 do
                if FecMask.contains (46 + i) mask then
                    third <- third ||| (1UL <<< (62 - i))

            BinaryPrimitives.WriteUInt64BigEndian(into.Slice 24, third)

    /// `into ^= from`, as long as `from` is.
    let xor (from: ReadOnlySpan<byte>) (into: Span<byte>) : unit =
        let words = MemoryMarshal.Cast<byte, uint64> from
        let target = MemoryMarshal.Cast<byte, uint64>(into.Slice(0, from.Length))

        for i in 0 .. words.Length - 1 do
            target[i] <- target[i] ^^^ words[i]

        for i in 8 * words.Length .. from.Length - 1 do
            into[i] <- into[i] ^^^ from[i]

    /// XORs a packet of the wire into the ten octets of recovery and the repair payload behind the header.
    let protect (packet: ReadOnlySpan<byte>) (header: Span<byte>) (repair: Span<byte>) : unit =
        // P, X, CC, M and PT; the version's two bits stand for R and F.
        header[0] <- (header[0] ^^^ packet[0]) &&& 0x3Fuy
        header[1] <- header[1] ^^^ packet[1]
        let length = packet.Length - RtpHeader.FixedSize
        header[2] <- header[2] ^^^ byte (length >>> 8)
        header[3] <- header[3] ^^^ byte length
        xor (packet.Slice(4, 4)) (header.Slice(4, 4))
        xor (packet.Slice RtpHeader.FixedSize) repair

    /// Of `video-timing`, from where the pacer and forwarders write.
    [<Literal>]
    let private PacerDelta = 7

    /// A packet of the wire as it is protected: a copy, with zeros for what is written late. ValueNone: no RTP packet.
    let protectable (map: ExtensionMap) (packet: ReadOnlySpan<byte>) : byte[] voption =
        match RtpHeader.readSealed packet with
        | ValueNone -> ValueNone
        | ValueSome header ->
            let copy = packet.ToArray()

            if header.ExtensionLength > 0 then
                let block = Span(copy, header.ExtensionOffset, header.ExtensionLength)

                let mutable elements =
                    ExtensionReader(
                        header.ExtensionProfile,
                        packet.Slice(header.ExtensionOffset, header.ExtensionLength)
                    )

                while elements.MoveNext() do
                    match map.At elements.Id with
                    | HeaderExtension.AbsSendTime
                    | HeaderExtension.TransmissionOffset
                    | HeaderExtension.TransportCc -> block.Slice(elements.Offset, elements.Length).Clear()
                    | HeaderExtension.VideoTiming when elements.Length > PacerDelta ->
                        block.Slice(elements.Offset + PacerDelta, elements.Length - PacerDelta).Clear()
                    | _ -> ()

            ValueSome copy

/// A packet that waits for its FEC packets.
[<Struct; NoComparison; NoEquality>]
type internal Protected = { Number: int64; Bytes: byte[] }

/// Makes the FEC packets of one send stream: a group of packets, of one frame or several, gets as many as the protection asks
/// for, each the XOR of some of them.
///
///     Empty ──sent──▶ Gathering ──frame's end, or full, or `tick`──▶ Empty, FEC packets
[<RequireQualifiedAccess>]
module internal FlexFecSender =
    [<NoComparison; NoEquality>]
    type State =
        {
            PayloadType: byte
            /// Of the FEC stream.
            Ssrc: uint32
            /// Of the next FEC packet.
            Next: uint16
            /// FEC packets for each packet; 0: none.
            Protection: float
            /// FEC packets that are due, a fraction included.
            Credit: float
            Group: Log<Protected>
            GroupAt: Instant
        }

    /// Packets in a group: what two masks cover, and within libwebrtc's 48.
    [<Literal>]
    let MaxGroup = 46

    /// Packets in a group that a frame's end ends: fewer share their FEC packets badly.
    [<Literal>]
    let Plenty = 20

    /// How long a group waits: a packet that FEC brings has to come in time.
    let span: Duration = Duration.milliseconds 100L

    /// FEC packets for each packet that a loss (0 to 1) asks for, within a budget (0 to 1): four times what is lost, because XOR
    /// brings back one packet of each mask only.
    let protection (loss: float) (budget: float) : float =
        if loss < 0.002 then
            0.0
        else
            max 0.0 (min budget (max 0.05 (4.0 * loss)))

    /// `sequence`: of the first FEC packet.
    let create (payloadType: byte) (ssrc: uint32) (sequence: uint16) : State =
        { PayloadType = payloadType
          Ssrc = ssrc
          Next = sequence
          Protection = 0.0
          Credit = 0.0
          Group = Log.startingAt 0L
          GroupAt = Instant.never }

    /// FEC packets for each packet, 0 to 1; 0: none from now on.
    let protecting (protection: float) (state: State) : State =
        { state with
            Protection = max 0.0 (min 1.0 protection) }

    /// When a group that is not full is closed; `Instant.never` where it would get no FEC packet.
    let deadline (state: State) : Instant =
        if state.Group.Count > 0 && state.Credit >= 0.5 then
            Instant.add span state.GroupAt
        else
            Instant.never

    /// The packets of a group of `count` that FEC packet `j` of `n` protects. Each packet is in one mask, by turns, so that a burst
    /// falls on different ones; from three masks on in a second one too, another one in each round: what one cannot bring back
    /// for a second loss, the other may.
    let covers (count: int) (n: int) (j: int) (i: int) : bool =
        if n = 1 then
            true
        elif n < 3 || count < 2 * n then
            i % n = j
        else
            let first = i % n
            first = j || (first + 1 + (i / n) % (n - 1)) % n = j

    let private closed (n: int) (state: State) : struct (State * RtpPacket[]) =
        let group = state.Group
        let count = group.Count
        let first = group[group.First]
        let last = group[group.Next - 1L]
        let n = min n count

        let packets =
            Array.init n (fun j ->
                let mutable mask = FecMask.none
                let mutable longest = 0

                for i in 0 .. count - 1 do
                    if covers count n j i then
                        let packet = group[group.First + int64 i]
                        mask <- FecMask.add (int (packet.Number - first.Number)) mask
                        longest <- max longest packet.Bytes.Length

                let size = FlexFec.headerSize mask
                let payload: byte[] = Array.zeroCreate (size + longest - RtpHeader.FixedSize)

                for i in 0 .. count - 1 do
                    if covers count n j i then
                        FlexFec.protect
                            (ReadOnlySpan group[group.First + int64 i].Bytes)
                            (Span(payload, 0, size))
                            (Span(payload, size, payload.Length - size))

                FlexFec.writeHeader
                    (Span payload)
                    (BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(first.Bytes, 8, 4)))
                    (Sequence.wrap first.Number)
                    mask

                { Marker = false
                  PayloadType = state.PayloadType
                  SequenceNumber = state.Next + uint16 j
                  Timestamp = BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(last.Bytes, 4, 4))
                  Ssrc = state.Ssrc
                  Csrcs = ReadOnlyMemory.Empty
                  ExtensionProfile = 0us
                  Extensions = ReadOnlyMemory.Empty
                  Map = ExtensionMap.Empty
                  Payload = ReadOnlyMemory payload
                  Padding = 0uy })

        struct ({ state with
                    Next = state.Next + uint16 n
                    Credit = state.Credit - float n
                    Group = Log.startingAt 0L },
                packets)

    /// Notes a packet that is sent for the first time, as it is on the wire before SRTP, with its unwrapped sequence number. The bytes
    /// are lent. Answers the FEC packets that follow it, with header extensions still to be set.
    let sent
        (now: Instant)
        (number: int64)
        (map: ExtensionMap)
        (packet: ReadOnlySpan<byte>)
        (state: State)
        : struct (State * RtpPacket[]) =
        if state.Protection <= 0.0 then
            struct ((if state.Group.IsEmpty then
                         state
                     else
                         { state with
                             Group = Log.startingAt 0L
                             Credit = 0.0 }),
                    Array.Empty())
        else
            match FlexFec.protectable map packet with
            | ValueNone -> struct (state, Array.Empty())
            | ValueSome bytes ->
                // One that goes back, or is too far from the others, begins a group.
                let fits =
                    state.Group.IsEmpty
                    || number > state.Group[state.Group.Next - 1L].Number
                       && number - state.Group[state.Group.First].Number < int64 MaxGroup

                let struct (state, before) =
                    if fits then
                        struct (state, Array.Empty())
                    else
                        match int state.Credit with
                        | 0 -> struct ({ state with Group = Log.startingAt 0L }, Array.Empty())
                        | n -> closed n state

                let state =
                    { state with
                        GroupAt = (if state.Group.IsEmpty then now else state.GroupAt)
                        Group = Log.append { Number = number; Bytes = bytes } state.Group
                        Credit = min (float MaxGroup) (state.Credit + state.Protection) }

                let count = state.Group.Count
                let endsFrame = packet[1] >= 0x80uy

                if state.Credit >= 1.0 && (count = MaxGroup || (endsFrame && count >= Plenty)) then
                    let struct (state, packets) = closed (int state.Credit) state

                    struct (state,
                            (if before.Length = 0 then
                                 packets
                             else
                                 Array.append before packets))
                else
                    struct (state, before)

    /// Closes a group that nothing was added to for long.
    let tick (now: Instant) (state: State) : struct (State * RtpPacket[]) =
        if now < deadline state then
            struct (state, Array.Empty())
        else
            closed (max 1 (int state.Credit)) state

/// A FEC packet that may still bring something back.
[<NoComparison; NoEquality>]
type internal FecHeld =
    {
        /// Unwrapped.
        Base: int64
        Mask: FecMask
        /// Of those in the mask, which have not come.
        Missing: FecMask
        Header: FecHeader
        Payload: byte[]
    }

/// What W3C webrtc-stats asks of FEC.
[<Struct; NoComparison>]
type internal FecCounters =
    {
        Received: int64
        Octets: int64
        /// Malformed, late, or of packets that had all come.
        Discarded: int64
        Recovered: int64
    }

/// Brings back lost packets of one received stream from its FEC packets. What comes back may let another come back.
[<RequireQualifiedAccess>]
module internal FlexFecReceiver =
    [<NoComparison; NoEquality>]
    type State =
        {
            /// The SSRC of the stream that is protected.
            Media: uint32
            /// Packets as they are protected.
            Packets: Window<byte[]>
            /// In order of arrival.
            Held: FecHeld[]
            Counters: FecCounters
        }

    /// Numbers below the highest whose packets are kept.
    [<Literal>]
    let MaxPackets = 256

    /// FEC packets kept.
    [<Literal>]
    let MaxHeld = 48

    /// A packet that comes back with more octets would not have fitted a path.
    [<Literal>]
    let MaxLength = 2048

    let create (media: uint32) : State =
        { Media = media
          Packets = Window.startingAt 0L
          Held = Array.Empty()
          Counters =
            { Received = 0L
              Octets = 0L
              Discarded = 0L
              Recovered = 0L } }

    /// The one packet that is missing of a FEC packet's, XORed from the others. ValueNone: some are not held any more, or the
    /// length cannot be.
    let private recover (state: State) (fec: FecHeld) : struct (int64 * byte[]) voption =
        let size = fec.Header.Size
        let missing = FecMask.lowest fec.Missing
        let header: byte[] = Array.zeroCreate 8
        ReadOnlySpan(fec.Payload, 0, 8).CopyTo(Span header)
        let repair = Array.sub fec.Payload size (fec.Payload.Length - size)
        let mutable ok = true
        let mutable rest = FecMask.remove missing fec.Mask

        while ok && FecMask.count rest > 0 do
            let i = FecMask.lowest rest
            rest <- FecMask.remove i rest

            match Window.tryFind (fec.Base + int64 i) state.Packets with
            | ValueSome packet when packet.Length - RtpHeader.FixedSize <= repair.Length ->
                FlexFec.protect (ReadOnlySpan packet) (Span header) (Span repair)
            | _ -> ok <- false

        let length = (int header[2] <<< 8) ||| int header[3]

        if not ok || length > repair.Length then
            ValueNone
        else
            let number = fec.Base + int64 missing
            let packet: byte[] = Array.zeroCreate (RtpHeader.FixedSize + length)
            packet[0] <- 0x80uy ||| (header[0] &&& 0x3Fuy)
            packet[1] <- header[1]
            BinaryPrimitives.WriteUInt16BigEndian(Span(packet, 2, 2), Sequence.wrap number)
            ReadOnlySpan(header, 4, 4).CopyTo(Span(packet, 4, 4))
            BinaryPrimitives.WriteUInt32BigEndian(Span(packet, 8, 4), state.Media)
            ReadOnlySpan(repair, 0, length).CopyTo(Span(packet, 12, length))

            // What does not read as RTP is no packet that was sent.
            if (RtpHeader.read (ReadOnlySpan packet)).IsSome then
                ValueSome(struct (number, packet))
            else
                ValueNone

    let private discard (count: int) (state: State) : State =
        if count = 0 then
            state
        else
            { state with
                Counters =
                    { state.Counters with
                        Discarded = state.Counters.Discarded + int64 count } }

    /// Drops what is too old: of the packets, and of the FEC packets that need one of those.
    let private trimmed (state: State) : State =
        let first = state.Packets.Next - int64 MaxPackets

        if first <= state.Packets.First then
            state
        else
            let packets = Window.dropTo first state.Packets
            let mutable stale = 0

            for fec in state.Held do
                if fec.Base < first then
                    stale <- stale + 1

            if stale = 0 then
                { state with Packets = packets }
            else
                discard
                    stale
                    { state with
                        Packets = packets
                        Held = state.Held |> Array.filter (fun fec -> fec.Base >= first) }

    /// Brings back what can be, until nothing more comes: at most one packet for each FEC packet that is held.
    let private settled (state: State) : struct (State * byte[][]) =
        let mutable state = state
        let mutable found: Collections.Generic.List<byte[]> | null = null
        let mutable going = true

        while going do
            let at =
                state.Held |> Array.tryFindIndex (fun fec -> FecMask.count fec.Missing <= 1)

            match at with
            | None -> going <- false
            | Some at ->
                let fec = state.Held[at]
                let others = Array.removeAt at state.Held

                state <- { state with Held = others }

                if FecMask.count fec.Missing = 0 then
                    state <- discard 1 state
                else
                    match recover state fec with
                    | ValueNone -> state <- discard 1 state
                    | ValueSome(struct (number, packet)) ->
                        let list =
                            match found with
                            | null ->
                                let list = Collections.Generic.List<byte[]>()
                                found <- list
                                list
                            | list -> list

                        list.Add packet
                        let struct (packets, _) = Window.add number packet state.Packets

                        state <-
                            { state with
                                Packets = packets
                                Held =
                                    others
                                    |> Array.map (fun other ->
                                        let i = number - other.Base

                                        if
                                            i >= 0L
                                            && i < int64 FecMask.Width
                                            && FecMask.contains (int i) other.Missing
                                        then
                                            { other with
                                                Missing = FecMask.remove (int i) other.Missing }
                                        else
                                            other)
                                Counters =
                                    { state.Counters with
                                        Recovered = state.Counters.Recovered + 1L } }

        struct (trimmed state,
                match found with
                | null -> Array.Empty()
                | list -> list.ToArray())

    /// Takes a packet of the protected stream, itself or retransmitted: as it was on the wire, decrypted, with its unwrapped sequence number. The
    /// bytes are lent. Answers packets that come back, whole, in memory of their own; what is written late on the wire
    /// (`FlexFec.protectable`) is zero in them.
    let media
        (number: int64)
        (map: ExtensionMap)
        (packet: ReadOnlySpan<byte>)
        (state: State)
        : struct (State * byte[][]) =
        match FlexFec.protectable map packet with
        | ValueNone -> struct (state, Array.Empty())
        | ValueSome bytes ->
            let window =
                if state.Packets.Next = 0L || number - state.Packets.Next > int64 MaxPackets then
                    Window.startingAt number
                else
                    state.Packets

            let struct (packets, added) = Window.add number bytes window

            if not added then
                struct (state, Array.Empty())
            else
                let mutable closer = false

                let held =
                    if state.Held.Length = 0 then
                        state.Held
                    else
                        state.Held
                        |> Array.map (fun fec ->
                            let i = number - fec.Base

                            if i >= 0L && i < int64 FecMask.Width && FecMask.contains (int i) fec.Missing then
                                closer <- true

                                { fec with
                                    Missing = FecMask.remove (int i) fec.Missing }
                            else
                                fec)

                let state =
                    trimmed
                        { state with
                            Packets = packets
                            Held = (if closer then held else state.Held) }

                if closer then
                    settled state
                else
                    struct (state, Array.Empty())

    /// Takes the payload of a FEC packet, which is lent. Answers packets that come back, as `media` does.
    let repair (payload: ReadOnlySpan<byte>) (state: State) : struct (State * byte[][]) =
        let state =
            { state with
                Counters =
                    { state.Counters with
                        Received = state.Counters.Received + 1L
                        Octets = state.Counters.Octets + int64 payload.Length } }

        match FlexFec.read payload with
        | ValueSome header when
            header.Ssrc = state.Media
            && payload.Length - header.Size <= MaxLength
            && state.Packets.Next > 0L
            ->
            let near = state.Packets.Next - 1L
            let first = Sequence.unwrap near header.BaseSequence

            if abs (first - near) >= int64 MaxPackets then
                struct (discard 1 state, Array.Empty())
            else
                let mutable missing = header.Mask
                let mutable rest = header.Mask

                while FecMask.count rest > 0 do
                    let i = FecMask.lowest rest
                    rest <- FecMask.remove i rest

                    if (Window.tryFind (first + int64 i) state.Packets).IsSome then
                        missing <- FecMask.remove i missing

                if FecMask.count missing = 0 then
                    struct (discard 1 state, Array.Empty())
                else
                    let fec =
                        { Base = first
                          Mask = header.Mask
                          Missing = missing
                          Header = header
                          Payload = payload.ToArray() }

                    let full = state.Held.Length = MaxHeld

                    let held =
                        if full then
                            Array.append (Array.sub state.Held 1 (MaxHeld - 1)) [| fec |]
                        else
                            Array.append state.Held [| fec |]

                    settled (discard (if full then 1 else 0) { state with Held = held })
        | _ -> struct (discard 1 state, Array.Empty())
