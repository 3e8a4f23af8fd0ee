namespace Hybrid.WebRtc.PropertyTests

open Hybrid.WebRtc.Core

/// What a simulated path does to datagrams. All of it is decided by the wire's entropy, so a seed is the whole story.
type Weather =
    {
        /// Probability from 0 to 1 that a datagram is lost.
        Loss: float
        /// Probability that a datagram arrives twice.
        Duplication: float
        /// One way, without jitter.
        Delay: Duration
        /// Added uniformly from 0 up to this; more than the gap between datagrams reorders them.
        Jitter: Duration
        /// Larger datagrams vanish. UDP payload, octets.
        Mtu: int
    }

[<RequireQualifiedAccess>]
module Weather =
    /// Nothing lost, 10 ms each way, in order.
    let fair =
        { Loss = 0.0
          Duplication = 0.0
          Delay = Duration.milliseconds 10L
          Jitter = 0L<us>
          Mtu = 1200 }

    /// 30% loss, 10% duplication, and jitter of five times the delay.
    let foul =
        { fair with
            Loss = 0.3
            Duplication = 0.1
            Jitter = Duration.milliseconds 50L }

/// Datagrams under way, soonest first. A pure machine: `send` decides the fate of each at once.
type Wire<'address> =
    private
        {
            Weather: Weather
            Entropy: Entropy
            /// Keyed by arrival, then by a serial number that keeps equals in order of sending.
            UnderWay: Map<struct (Instant * int64), struct ('address * byte[])>
            Serial: int64
        }

[<RequireQualifiedAccess>]
module Wire =
    let create (weather: Weather) (entropy: Entropy) : Wire<'address> =
        { Weather = weather
          Entropy = entropy
          UnderWay = Map.empty
          Serial = 0L }

    /// The wire under another weather; what is under way keeps its time.
    let under (weather: Weather) (wire: Wire<'address>) = { wire with Weather = weather }

    let private chance (probability: float) (wire: Wire<'address>) =
        let struct (drawn, entropy) = Entropy.unit wire.Entropy
        struct (drawn < probability, { wire with Entropy = entropy })

    let private arrival (now: Instant) (wire: Wire<'address>) =
        let struct (drawn, entropy) = Entropy.unit wire.Entropy
        let jitter = int64 (drawn * float wire.Weather.Jitter) * 1L<us>
        struct (now + wire.Weather.Delay + jitter, { wire with Entropy = entropy })

    let private arriving (at: Instant) (destination: 'address) (bytes: byte[]) (wire: Wire<'address>) =
        { wire with
            UnderWay = Map.add (struct (at, wire.Serial)) (struct (destination, bytes)) wire.UnderWay
            Serial = wire.Serial + 1L }

    let private launch (now: Instant) (destination: 'address) (bytes: byte[]) (wire: Wire<'address>) =
        let struct (at, wire) = arrival now wire
        arriving at destination bytes wire

    /// Sends `bytes` (not to be changed afterwards) towards `destination`, as what the path takes for `size` octets: less
    /// where it may be fragmented, more where it stands for what it is wrapped in.
    let sendAs (size: int) (now: Instant) (destination: 'address) (bytes: byte[]) (wire: Wire<'address>) =
        let struct (lost, wire) = chance wire.Weather.Loss wire

        if lost || size > wire.Weather.Mtu then
            wire
        else
            let wire = launch now destination bytes wire
            let struct (doubled, wire) = chance wire.Weather.Duplication wire
            if doubled then launch now destination bytes wire else wire

    /// Sends `bytes` as a piece of a stream whose last piece arrives at `last`: a loss is a delay, by TCP's repetition, and nothing overtakes.
    /// Answers when it arrives.
    let sendInOrder (last: Instant) (now: Instant) (destination: 'address) (bytes: byte[]) (wire: Wire<'address>) =
        let rec leaves (at: Instant) (timeout: Duration) (wire: Wire<'address>) =
            let struct (lost, wire) = chance wire.Weather.Loss wire

            if lost then
                leaves (at + timeout) (2L * timeout) wire
            else
                struct (at, wire)

        let struct (at, wire) = leaves now (Duration.milliseconds 200L) wire
        let struct (at, wire) = arrival at wire
        let at = max at last
        struct (at, arriving at destination bytes wire)

    /// Sends `bytes` (not to be changed afterwards) towards `destination`.
    let send (now: Instant) (destination: 'address) (bytes: byte[]) (wire: Wire<'address>) : Wire<'address> =
        sendAs bytes.Length now destination bytes wire

    /// When the next datagram arrives; `Instant.never` when none is under way.
    let next (wire: Wire<'address>) : Instant =
        if Map.isEmpty wire.UnderWay then
            Instant.never
        else
            let struct (arrival, _), _ = Map.minKeyValue wire.UnderWay |> fun (k, v) -> k, v
            arrival

    /// Takes the next datagram off the wire if it has arrived by `now`. Its bytes are a copy that may be overwritten.
    let receive (now: Instant) (wire: Wire<'address>) : struct (struct ('address * byte[]) voption * Wire<'address>) =
        if next wire > now then
            struct (ValueNone, wire)
        else
            let key, struct (destination, bytes) = Map.minKeyValue wire.UnderWay

            struct (ValueSome(struct (destination, Array.copy bytes)),
                    { wire with
                        UnderWay = Map.remove key wire.UnderWay })

/// The narrowest link of a path, behind a queue that drops what it has no room for. A pure machine: `send` says at once when a
/// datagram leaves.
[<NoComparison; NoEquality>]
type Link =
    private
        {
            /// Bits a second that it takes at a time; a datagram is sent at the rate of when it begins to be.
            Rate: Instant -> float
            /// Octets that may wait.
            Room: int
            /// When all that waits has left.
            FreeAt: Instant
            /// What waits or is being sent: when it will have left, and its octets.
            Queue: Log<struct (Instant * int)>
            Waiting: int
            /// Datagrams as they left: when each came, when it left, and its octets. Oldest first.
            Passed: Log<struct (Instant * Instant * int)>
            Dropped: int
        }

[<RequireQualifiedAccess>]
module Link =
    /// IPv4's and UDP's headers.
    [<Literal>]
    let private Overhead = 28

    let create (rate: Instant -> float) (room: int) : Link =
        { Rate = rate
          Room = room
          FreeAt = 0L<us>
          Queue = Log.startingAt 0L
          Waiting = 0
          Passed = Log.startingAt 0L
          Dropped = 0 }

    /// When a datagram of `size` octets, headers apart, has left; ValueNone where there is no room for it.
    let send (now: Instant) (size: int) (link: Link) : struct (Instant voption * Link) =
        let octets = size + Overhead
        let mutable first = link.Queue.First
        let mutable waiting = link.Waiting
        let mutable going = true

        while going && first < link.Queue.Next do
            let struct (at, gone) = link.Queue[first]

            if at <= now then
                waiting <- waiting - gone
                first <- first + 1L
            else
                going <- false

        let queue = Log.dropTo first link.Queue

        if waiting + octets > link.Room then
            struct (ValueNone,
                    { link with
                        Queue = queue
                        Waiting = waiting
                        Dropped = link.Dropped + 1 })
        else
            let from = max now link.FreeAt
            let at = from + int64 (8e6 * float octets / link.Rate from) * 1L<us>

            struct (ValueSome at,
                    { link with
                        FreeAt = at
                        Queue = Log.append (struct (at, octets)) queue
                        Waiting = waiting + octets
                        Passed = Log.append (struct (now, at, octets)) link.Passed })

    /// Datagrams that there was no room for.
    let dropped (link: Link) : int = link.Dropped

    /// Datagrams that came from one time to before another: how long each waited, in milliseconds, ascending.
    let waits (from: Instant) (until: Instant) (link: Link) : float[] =
        [| for i in link.Passed.First .. link.Passed.Next - 1L do
               let struct (came, left, octets) = link.Passed[i]

               if came >= from && came < until then
                   float (left - came) / 1000.0 - 8e3 * float octets / link.Rate came |]
        |> Array.sort

    /// Bits a second that left from one time to before another, headers included.
    let rate (from: Instant) (until: Instant) (link: Link) : float =
        let mutable octets = 0L

        for i in link.Passed.First .. link.Passed.Next - 1L do
            let struct (_, left, size) = link.Passed[i]

            if left >= from && left < until then
                octets <- octets + int64 size

        8e6 * float octets / float (until - from)

/// Someone on the path who sees every datagram, changes none, and sends forgeries beside them: octets changed, ends cut
/// off, and old datagrams again.
type Forger =
    {
        /// Forgeries for each datagram, on average.
        Rate: float
        Entropy: Entropy
        /// The newest that went by, at most 64.
        Seen: byte[] list
    }

[<RequireQualifiedAccess>]
module Forger =
    /// A forgery of a datagram: an octet changed, its end cut off, or an old one in its place.
    let forge (genuine: byte[]) (forger: Forger) : struct (byte[] * Forger) =
        let struct (kind, entropy) = Entropy.below 3 forger.Entropy
        let struct (at, entropy) = Entropy.below genuine.Length entropy
        let struct (value, entropy) = Entropy.below 256 entropy
        let struct (old, entropy) = Entropy.below forger.Seen.Length entropy
        let copy = Array.copy genuine

        let forged =
            match kind with
            | 0 ->
                copy[at] <- copy[at] ^^^ byte (value ||| 1)
                copy
            | 1 -> copy[..at]
            | _ -> forger.Seen[old]

        struct (Array.copy forged, { forger with Entropy = entropy })

/// A machine that others use, too: a process runs for a while, and is held up for a while.
type Schedule =
    {
        /// It runs for no time up to this long.
        Runs: Duration
        /// It is held up from this long up to that.
        Least: Duration
        Most: Duration
        /// The present or next time that it is held up.
        From: Instant
        Until: Instant
        Entropy: Entropy
    }

[<RequireQualifiedAccess>]
module Schedule =
    let create (runs: Duration) (least: Duration) (most: Duration) (seed: int64) : Schedule =
        { Runs = runs
          Least = least
          Most = most
          From = 0L<us>
          Until = 0L<us>
          Entropy = Entropy.ofNumber seed }

    /// At a time, or soon after it, when the process runs.
    let rec at (now: Instant) (s: Schedule) : Schedule =
        if s.Until > now then
            s
        else
            let struct (x, entropy) = Entropy.unit s.Entropy
            let struct (y, entropy) = Entropy.unit entropy
            let from = s.Until + int64 (x * float s.Runs) * 1L<us>

            at
                now
                { s with
                    From = from
                    Until = from + s.Least + int64 (y * float (s.Most - s.Least)) * 1L<us>
                    Entropy = entropy }

    /// When the process next runs, once `at` was asked.
    let awake (now: Instant) (s: Schedule) : Instant = if now < s.From then now else s.Until
