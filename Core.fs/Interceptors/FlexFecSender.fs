namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

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

        let packet (j: int) : RtpPacket =
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
                (uint16 first.Number)
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
              Padding = 0uy }

        let packets: RtpPacket[] = Array.zeroCreate n

        for j in 0 .. n - 1 do
            packets[j] <- packet j

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
