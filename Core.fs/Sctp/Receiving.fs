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

/// The receiving half of an association.
[<NoComparison; NoEquality>]
type internal Receiving =
    {
        /// All TSNs up to this have been received or skipped, unwrapped.
        Cumulative: int64
        /// TSNs received beyond it.
        Beyond: RangeSet
        Reassembly: Reassembly
        Acknowledging: Acknowledging
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
    /// Gap ack blocks that are kept. All of them fit into one SACK, so that none is ever taken back by being left out.
    let private maxGaps (config: SctpConfig) = min 256 ((config.Mtu - 64) / 4)

    /// Duplicates that one SACK reports.
    [<Literal>]
    let private MaxDuplicates = 8

    /// Offsets of gap ack blocks have 16 bits, RFC 9260 §3.3.4.
    [<Literal>]
    let private MaxDistance = 0xffffL

    /// `window` is the configured receive window.
    let create (maxMessageSize: int) (window: int) (initialTsn: Tsn) : Receiving =
        { Cumulative = Tsn.first initialTsn - 1L
          Beyond = RangeSet.empty
          Reassembly = Reassembly.create maxMessageSize
          Acknowledging =
            { At = Instant.never
              Packets = 0
              Advertised = uint32 window
              Duplicates = [] } }

    let private used (r: Receiving) : int64 =
        r.Reassembly.Held + r.Reassembly.Unconsumed.Charge

    /// a_rwnd: what is left of the window; nothing where a packet would not fit (RFC 1122 §4.2.3.3, silly windows).
    let window (config: SctpConfig) (r: Receiving) : int64 =
        let free = int64 config.ReceiveWindow - used r
        if free < int64 config.Mtu then 0L else free

    /// The greatest TSN received.
    let private highest (r: Receiving) : int64 =
        match RangeSet.highest r.Beyond with
        | ValueSome tsn -> tsn
        | ValueNone -> r.Cumulative

    /// `tsn`, new, counts as received.
    let private received (tsn: int64) (r: Receiving) : Receiving =
        if tsn = r.Cumulative + 1L then
            match RangeSet.lowest r.Beyond with
            | ValueSome run when run.First = tsn + 1L ->
                { r with
                    Cumulative = run.Last
                    Beyond = RangeSet.removeTo run.Last r.Beyond }
            | _ -> { r with Cumulative = tsn }
        else
            { r with
                Beyond = RangeSet.addRange tsn tsn r.Beyond }

    let private isNew (tsn: int64) (r: Receiving) =
        tsn > r.Cumulative
        && (RangeSet.isEmpty r.Beyond || not (RangeSet.contains tsn r.Beyond))

    /// Whether there is room. Beyond the window only what fills a gap is taken, up to twice the window: it lets go of what
    /// waits for it.
    let private fits (config: SctpConfig) (tsn: int64) (r: Receiving) : bool =
        let used = used r
        let capacity = int64 config.ReceiveWindow

        tsn - r.Cumulative <= MaxDistance
        && (used + int64 config.Mtu <= capacity || (tsn < highest r && used < 2L * capacity))
        && (tsn = r.Cumulative + 1L
            || RangeSet.count r.Beyond < maxGaps config
            || RangeSet.contains (tsn - 1L) r.Beyond
            || RangeSet.contains (tsn + 1L) r.Beyond)

    let private duplicate (tsn: Tsn) (r: Receiving) : Receiving =
        let a = r.Acknowledging

        if List.length a.Duplicates >= MaxDuplicates then
            r
        else
            { r with
                Acknowledging =
                    { a with
                        Duplicates = tsn :: a.Duplicates } }

    /// A DATA chunk with user data; adds the messages that are due.
    let data
        (config: SctpConfig)
        (chunk: Data)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Receiving)
        : struct (Receiving * Arrival) =
        let tsn = Tsn.unwrap r.Cumulative chunk.Tsn

        if not (isNew tsn r) then
            struct (duplicate chunk.Tsn r, Arrival.Duplicate)
        elif not (fits config tsn r) then
            struct (r, Arrival.Refused)
        else
            let struct (reassembly, violation) = Reassembly.add tsn chunk &outputs r.Reassembly

            match violation with
            | Violation.None -> struct (received tsn { r with Reassembly = reassembly }, Arrival.Accepted)
            | _ -> struct (r, Arrival.Violated)

    /// A DATA chunk that is acknowledged and discarded: its stream does not exist, RFC 9260 §6.5.
    let discard (config: SctpConfig) (chunk: Data) (r: Receiving) : Receiving =
        let tsn = Tsn.unwrap r.Cumulative chunk.Tsn

        if isNew tsn r && fits config tsn r then
            received tsn r
        else
            r

    /// FORWARD TSN, RFC 3758 §3.6. False where it says nothing new.
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
            let reassembly = Reassembly.skip tsn skipped &outputs r.Reassembly
            let beyond = RangeSet.removeTo tsn r.Beyond

            // What follows at once has been received: the cumulative TSN goes on to its end.
            let cumulative =
                match RangeSet.lowest beyond with
                | ValueSome run when run.First = tsn + 1L -> run.Last
                | _ -> tsn

            struct ({ r with
                        Cumulative = cumulative
                        Beyond = RangeSet.removeTo cumulative beyond
                        Reassembly = reassembly },
                    true)

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

    /// The application took `bytes`. The window opens; the peer is told where that is news, RFC 9260 §6.2.
    let consumed (config: SctpConfig) (now: Instant) (bytes: int) (r: Receiving) : Receiving =
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

        let news = window config r - int64 r.Acknowledging.Advertised

        if news >= int64 (config.ReceiveWindow / 4) then
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
                Array.zeroCreate runs.Length

        for i in 0 .. runs.Length - 1 do
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
