namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

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
            BinaryPrimitives.WriteUInt16BigEndian(Span(packet, 2, 2), uint16 number)
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
