namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A packet as it was sent: `Item` is whatever its sender needs to describe it again.
[<NoComparison; NoEquality>]
type internal SentItem<'T> =
    { SentAt: Instant
      Octets: int
      Item: 'T }

/// A packet that was sent again, not long ago.
[<Struct; NoComparison>]
type internal Resent = { Number: int64; At: Instant }

/// What a NACK led to.
[<Struct; NoComparison>]
type internal ResendCounters =
    {
        Packets: int64
        Octets: int64
        /// Asked for again within a round trip, or beyond the budget, or no longer held.
        Refused: int64
    }

/// What one send stream has sent, so that it can be sent again, RFC 4585 §6.2.1, RFC 4588. Adding is O(1); an answer to a NACK
/// costs a bounded number of look-ups, and what it sends is paid for by what was sent before.
[<RequireQualifiedAccess>]
module internal SentHistory =
    [<Struct; NoComparison; NoEquality>]
    type State<'T> =
        {
            /// By unwrapped sequence number; gaps and disorder are a forwarder's.
            Sent: Window<SentItem<'T>>
            /// Octets of all that is held.
            Octets: int64
            /// Octets that may be sent again. Each octet sent earns half of one.
            Credit: int64
            /// In order of time: of the last round trip.
            Resent: Resent[]
            RoundTrip: Duration
            Counters: ResendCounters
        }

    /// How long packets are held at least: a second, or three round trips.
    let private shortest: Duration = Duration.seconds 1L

    /// Octets held.
    [<Literal>]
    let MaxOctets = 4_194_304L

    /// Credit at the beginning and at most: 100 packets.
    [<Literal>]
    let MaxCredit = 120_000L

    /// Numbers looked up for one NACK.
    [<Literal>]
    let MaxLookups = 1000

    /// Packets sent again within one round trip.
    [<Literal>]
    let MaxResent = 256

    let create () : State<'T> =
        { Sent = Window.startingAt 0L
          Octets = 0L
          Credit = MaxCredit
          Resent = Array.Empty()
          RoundTrip = Duration.milliseconds 100L
          Counters =
            { Packets = 0L
              Octets = 0L
              Refused = 0L } }

    /// The round trip as it is now known.
    let roundTrip (time: Duration) (state: State<'T>) : State<'T> =
        { state with
            RoundTrip = max (Duration.milliseconds 5L) (min (Duration.seconds 2L) time) }

    /// Drops the packets at the front that are too old or too many. Each is dropped once, so the work is that of adding.
    let private trimmed (now: Instant) (state: State<'T>) : State<'T> =
        let sent = state.Sent
        let oldest = now - max shortest (3L * state.RoundTrip)
        let mutable first = sent.First
        let mutable octets = state.Octets
        let mutable going = true

        while going && first < sent.Next do
            match Window.tryFind first sent with
            | ValueSome item when item.SentAt >= oldest && octets <= MaxOctets -> going <- false
            | ValueSome item ->
                octets <- octets - int64 item.Octets
                first <- first + 1L
            | ValueNone -> first <- first + 1L

        if first = sent.First then
            state
        else
            { state with
                Sent = Window.dropTo first sent
                Octets = octets }

    /// Notes a packet that is sent for the first time: its sequence number, and its octets on the wire.
    let sent (now: Instant) (sequence: uint16) (octets: int) (item: 'T) (state: State<'T>) : State<'T> =
        let held = state.Sent

        let number =
            if held.Next = 0L then
                Sequence.first sequence
            else
                Sequence.unwrap (held.Next - 1L) sequence

        let entry =
            { SentAt = now
              Octets = octets
              Item = item }

        // What lies far off begins anew, and so does a sender that goes back further than anything held.
        let anew = held.Next = 0L || abs (number - held.Next) >= int64 Window.Span

        let state =
            if anew then
                { state with
                    Sent = Window.startingAt (Sequence.first sequence)
                    Octets = 0L }
            else
                state

        let number = if anew then Sequence.first sequence else number

        // The window may forget from its front to make room; what it forgets is dropped here first, to be counted.
        let state =
            let front = number - int64 Window.Span + 1L

            if front > state.Sent.First then
                let mutable octets = state.Octets

                for passed in state.Sent.First .. min front state.Sent.Next - 1L do
                    match Window.tryFind passed state.Sent with
                    | ValueSome item -> octets <- octets - int64 item.Octets
                    | ValueNone -> ()

                { state with
                    Sent = Window.dropTo front state.Sent
                    Octets = octets }
            else
                state

        let struct (window, added) = Window.add number entry state.Sent

        if added then
            trimmed
                now
                { state with
                    Sent = window
                    Octets = state.Octets + int64 octets
                    Credit = min MaxCredit (state.Credit + int64 (octets / 2)) }
        else
            state

    /// The packets of a NACK that are to be sent again now, in its order; and as often as that they are noted. Not those that
    /// were sent again within a round trip: the answer is on its way.
    let find (now: Instant) (lost: NackPair[]) (state: State<'T>) : struct (SentItem<'T>[] * State<'T>) =
        if state.Sent.Next = 0L then
            struct (Array.Empty(), state)
        else
            let near = state.Sent.Next - 1L
            let recent = state.Resent |> Array.filter (fun r -> now - r.At < state.RoundTrip)
            let known = Collections.Generic.HashSet<int64>()

            for r in recent do
                known.Add r.Number |> ignore

            let found = Collections.Generic.List<SentItem<'T>>()
            let resent = Collections.Generic.List<Resent>(recent)
            let mutable credit = state.Credit
            let mutable octets = 0L
            let mutable lookups = 0
            let mutable refused = 0L
            let mutable pair = 0

            while pair < lost.Length && lookups < MaxLookups do
                let first = Sequence.unwrap near lost[pair].PacketId
                let bits = (uint32 lost[pair].Bitmask <<< 1) ||| 1u

                for bit in 0..16 do
                    if (bits >>> bit) &&& 1u = 1u then
                        lookups <- lookups + 1
                        let number = first + int64 bit

                        match Window.tryFind number state.Sent with
                        | ValueSome item when
                            int64 item.Octets <= credit && resent.Count < MaxResent && known.Add number
                            ->
                            credit <- credit - int64 item.Octets
                            octets <- octets + int64 item.Octets
                            resent.Add { Number = number; At = now }
                            found.Add item
                        | _ -> refused <- refused + 1L

                pair <- pair + 1

            struct (found.ToArray(),
                    { state with
                        Credit = credit
                        Resent = resent.ToArray()
                        Counters =
                            { Packets = state.Counters.Packets + int64 found.Count
                              Octets = state.Counters.Octets + octets
                              Refused = state.Counters.Refused + refused } })
