namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// When and what to acknowledge, RFC 9260 §6.2.
[<Struct; NoComparison; NoEquality>]
type internal Acknowledging =
    {
        /// When a SACK is due; `Instant.never` where all is acknowledged.
        At: Instant
        /// Packets with DATA since the last SACK.
        Packets: int
        /// a_rwnd of the last SACK.
        Advertised: uint32
        /// Since the last SACK, newest first; at most `MaxDuplicates`.
        Duplicates: Tsn list
    }

/// How large the receive window is, and what says that it is too small: an application that takes half of it and more
/// in a round trip is one whose peer waits for the window.
[<Struct; NoComparison; NoEquality>]
type internal Allowance =
    {
        /// Octets; from `SctpConfig.ReceiveWindow` up to `SctpConfig.MaxReceiveWindow`.
        Capacity: int
        /// Octets that the application has taken since `Since`, which is a round trip ago at most.
        Taken: int
        Since: Instant
    }

/// The receiving half of an association. A packet's chunks change one draft in place, made by `draft`; to everyone else a
/// version is immutable.
[<NoComparison; NoEquality>]
type internal Receiving =
    {
        /// All TSNs up to this have been received or skipped, unwrapped.
        mutable Cumulative: int64
        /// TSNs received beyond it.
        mutable Beyond: RangeSet
        Reassembly: Reassembly
        mutable Acknowledging: Acknowledging
        Allowance: Allowance
    }

/// What became of a DATA chunk.
type internal Arrival =
    | Accepted = 0
    | Duplicate = 1
    /// No room, RFC 9260 §6.2: not acknowledged.
    | Refused = 2
    | Violated = 3

[<RequireQualifiedAccess>]
module internal Receiving =
    /// Gaps that are kept: those of a window of 32 MiB of which 3 % is lost, and some. What opens another is refused.
    [<Literal>]
    let private MaxGaps = 768

    /// Gap ack blocks that fit into a packet: a SACK reports the first ones. A sender is to live with that, and with an
    /// earlier report being taken back by it, RFC 9260 §6.2.1.
    let private maxReported (config: SctpConfig) = (config.Mtu - 64) / 4

    /// Duplicates that one SACK reports.
    [<Literal>]
    let private MaxDuplicates = 8

    /// Offsets of gap ack blocks have 16 bits, RFC 9260 §3.3.4.
    [<Literal>]
    let private MaxDistance = 0xffffL

    /// `window` is the configured receive window.
    let create (interleaved: bool) (maxMessageSize: int) (window: int) (initialTsn: Tsn) : Receiving =
        { Cumulative = Tsn.first initialTsn - 1L
          Beyond = RangeSet.empty
          Reassembly = Reassembly.create interleaved maxMessageSize
          Acknowledging =
            { At = Instant.never
              Packets = 0
              Advertised = uint32 window
              Duplicates = [] }
          Allowance =
            { Capacity = window
              Taken = 0
              Since = 0L<us> } }

    /// A draft, for the caller alone to change.
    let draft (r: Receiving) : Receiving =
        { r with
            Reassembly = Reassembly.draft r.Reassembly }

    let private used (r: Receiving) : int64 =
        r.Reassembly.Held + r.Reassembly.Unconsumed.Charge

    /// a_rwnd: what is left of the window; nothing where a packet would not fit (RFC 1122 §4.2.3.3, silly windows).
    let window (config: SctpConfig) (r: Receiving) : int64 =
        let free = int64 r.Allowance.Capacity - used r
        if free < int64 config.Mtu then 0L else free

    /// The greatest TSN received.
    let private highest (r: Receiving) : int64 =
        match RangeSet.highest r.Beyond with
        | ValueSome tsn -> tsn
        | ValueNone -> r.Cumulative

    /// `tsn`, new, counts as received.
    let private received (tsn: int64) (r: Receiving) : unit =
        if tsn = r.Cumulative + 1L then
            match RangeSet.lowest r.Beyond with
            | ValueSome run when run.First = tsn + 1L ->
                r.Cumulative <- run.Last
                r.Beyond <- RangeSet.removeTo run.Last r.Beyond
            | _ -> r.Cumulative <- tsn
        else
            r.Beyond <- RangeSet.addRange tsn tsn r.Beyond

    let private isNew (tsn: int64) (r: Receiving) =
        tsn > r.Cumulative
        && (RangeSet.isEmpty r.Beyond || not (RangeSet.contains tsn r.Beyond))

    /// Whether there is room. Beyond the window only what fills a gap is taken, up to twice the window: it lets go of what
    /// waits for it.
    let private fits (config: SctpConfig) (tsn: int64) (r: Receiving) : bool =
        let used = used r
        let capacity = int64 r.Allowance.Capacity

        tsn - r.Cumulative <= MaxDistance
        && (used + int64 config.Mtu <= capacity || (tsn < highest r && used < 2L * capacity))
        && (tsn = r.Cumulative + 1L
            || RangeSet.count r.Beyond < MaxGaps
            || RangeSet.contains (tsn - 1L) r.Beyond
            || RangeSet.contains (tsn + 1L) r.Beyond)

    let private duplicate (tsn: Tsn) (r: Receiving) : unit =
        let a = r.Acknowledging

        if List.length a.Duplicates < MaxDuplicates then
            r.Acknowledging <-
                { a with
                    Duplicates = tsn :: a.Duplicates }

    /// A DATA or I-DATA chunk with user data, into a draft; adds the messages that are due.
    let data (config: SctpConfig) (chunk: Data) (outputs: byref<ListCollector<SctpOutput>>) (r: Receiving) : Arrival =
        let tsn = Tsn.unwrap r.Cumulative chunk.Tsn

        if not (isNew tsn r) then
            duplicate chunk.Tsn r
            Arrival.Duplicate
        elif not (fits config tsn r) then
            Arrival.Refused
        else
            match Reassembly.add tsn chunk &outputs r.Reassembly with
            | Violation.None ->
                received tsn r
                Arrival.Accepted
            | _ -> Arrival.Violated

    /// A chunk, of a draft too, that is acknowledged and discarded: its stream does not exist, RFC 9260 §6.5.
    let discard (config: SctpConfig) (chunk: Data) (r: Receiving) : unit =
        let tsn = Tsn.unwrap r.Cumulative chunk.Tsn

        if isNew tsn r && fits config tsn r then
            received tsn r

    /// FORWARD TSN or I-FORWARD-TSN, RFC 3758 §3.6. False where it says nothing new.
    let skip
        (newCumulative: Tsn)
        (skipped: Skip[])
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Receiving)
        : struct (Receiving * bool) =
        let tsn = Tsn.unwrap r.Cumulative newCumulative

        if tsn <= r.Cumulative then
            struct (r, false)
        else
            let r = draft r
            Reassembly.skip tsn skipped &outputs r.Reassembly
            let beyond = RangeSet.removeTo tsn r.Beyond

            // What follows at once has been received: the cumulative TSN goes on to its end.
            let cumulative =
                match RangeSet.lowest beyond with
                | ValueSome run when run.First = tsn + 1L -> run.Last
                | _ -> tsn

            r.Cumulative <- cumulative
            r.Beyond <- RangeSet.removeTo cumulative beyond
            struct (r, true)

    /// A packet with DATA or FORWARD TSN has been taken in: when to acknowledge it, RFC 9260 §6.2, §6.7. At once (that is,
    /// after what is in hand) where there is a gap, `urgent` cause, or a second packet; else after SACK.Delay.
    let acknowledge (config: SctpConfig) (now: Instant) (urgent: bool) (r: Receiving) : Receiving =
        let a = r.Acknowledging

        // It is due already.
        if a.At <= now then
            r
        else
            let packets = a.Packets + 1

            let at =
                if urgent || packets >= 2 || not (RangeSet.isEmpty r.Beyond) then
                    now
                else
                    Instant.min a.At (now + config.Times.SackDelay)

            { r with
                Acknowledging = { a with At = at; Packets = packets } }

    /// A round trip that nobody has measured, for a side that sends nothing.
    let private presumedTrip: Duration = Duration.milliseconds 200L

    /// The window doubles where the application keeps up with a peer that fills it: what it can be charged is bounded by
    /// `MaxReceiveWindow`, and so is what a peer may send that turns out to be idle.
    let private grown
        (config: SctpConfig)
        (trip: Duration voption)
        (now: Instant)
        (taken: int)
        (r: Receiving)
        : Allowance =
        let a = r.Allowance
        let trip = ValueOption.defaultValue presumedTrip trip

        if a.Capacity >= config.MaxReceiveWindow then
            a
        elif now - a.Since > trip then
            { a with Taken = taken; Since = now }
        elif a.Taken + taken >= a.Capacity / 2 && 2L * used r <= int64 a.Capacity then
            { Capacity = int (min (int64 config.MaxReceiveWindow) (2L * int64 a.Capacity))
              Taken = 0
              Since = now }
        else
            { a with Taken = a.Taken + taken }

    /// The application took `bytes`. The window opens; the peer is told where that is news, RFC 9260 §6.2. `trip`: the
    /// round trip, where it is known.
    let consumed (config: SctpConfig) (trip: Duration voption) (now: Instant) (bytes: int) (r: Receiving) : Receiving =
        let u = r.Reassembly.Unconsumed
        let taken = max 0L (min (int64 bytes) u.Bytes)

        // Messages are not told apart here: the overhead goes as their octets do, all of it with the last.
        let released =
            if taken = u.Bytes then
                u.Charge
            else
                taken + (u.Charge - u.Bytes) * taken / u.Bytes

        let r =
            { r with
                Reassembly =
                    { r.Reassembly with
                        Unconsumed =
                            { Bytes = u.Bytes - taken
                              Charge = u.Charge - released } } }

        let r =
            { r with
                Allowance = grown config trip now (int taken) r }

        let news = window config r - int64 r.Acknowledging.Advertised

        if news >= int64 (r.Allowance.Capacity / 4) then
            { r with
                Acknowledging =
                    { r.Acknowledging with
                        At = Instant.min r.Acknowledging.At now } }
        else
            r

    /// The SACK of the present state, and the state after it was sent. RFC 9260 §3.3.4.
    let sack (config: SctpConfig) (r: Receiving) : struct (Sack * Receiving) =
        let runs = RangeSet.runs r.Beyond

        let blocks: GapAckBlock[] =
            if runs.Length = 0 then
                Array.Empty()
            else
                Array.zeroCreate (min runs.Length (maxReported config))

        for i in 0 .. blocks.Length - 1 do
            blocks[i] <-
                { Start = uint16 (runs[i].First - r.Cumulative)
                  End = uint16 (runs[i].Last - r.Cumulative) }

        let advertised = uint32 (window config r)

        struct ({ CumulativeTsnAck = Tsn.wrap r.Cumulative
                  AdvertisedReceiverWindow = advertised
                  GapAckBlocks = blocks
                  DuplicateTsns =
                    if r.Acknowledging.Duplicates.IsEmpty then
                        Array.Empty()
                    else
                        List.toArray r.Acknowledging.Duplicates },
                { r with
                    Acknowledging =
                        { At = Instant.never
                          Packets = 0
                          Advertised = advertised
                          Duplicates = [] } })
