namespace Hybrid.WebRtc.Core.Association

open Hybrid.WebRtc.Core

/// RFC 8899 §5.2.
type internal PathPhase =
    /// Not begun: nothing has been sent yet that would gain by it.
    | Disabled = 0
    /// Confirming the size that we begin with.
    | Base = 1
    | Searching = 2
    | SearchComplete = 3
    /// Not even the first size is confirmed, or the peer answers no probe: it stays in use.
    | Error = 4

/// Path MTU discovery by the packetization layer, RFC 8899. A pure machine of its own; `Association` sends its probes,
/// each a HEARTBEAT and a PAD chunk (RFC 4820) of the size in question, §6.2.3.
///
///     Disabled ──data that fills packets──▶ Base ──answered──▶ Searching ──limit, or MAX_PROBES──▶ SearchComplete
///                                            ▲ └─MAX_PROBES─▶ Error ──answered──▶ │                     │ │
///                                            └────────────black hole──────────────┴─────────────────────┘ │
///                                                                    Searching ◀──PMTU_RAISE_TIMER, data──┘
///
/// Sizes are octets of SCTP packets. Probes are sent only while there is data that they are of use to, which §5.1.1
/// allows: an idle association has no timer here.
[<NoComparison; NoEquality>]
type internal PathMtu =
    {
        Phase: PathPhase
        /// PLPMTU: what packets may have.
        Current: int
        /// PROBED_SIZE, §5.1.3.
        Probed: int
        /// PROBE_COUNT: probes of this size that were sent and not answered.
        Count: int
        /// When to send a probe, or to give it up: PROBE_TIMER. `Instant.never` while there is no probing.
        At: Instant
        /// From when on data sets off probing (again): PMTU_RAISE_TIMER, §5.1.1. `Instant.never` while there is
        /// probing, and where there is to be none.
        Resume: Instant
        /// Tells answers to probes of this path from those of another, or of the same before it changed.
        Generation: uint32
        /// Expirations of T3 without progress in between, and the cumulative TSN at the last.
        Timeouts: int
        Stalled: int64
        /// Not even packets of the first size get through: they may be fragmented on their way, §5.2 ERROR.
        Fragments: bool
    }

[<RequireQualifiedAccess>]
module internal PathMtu =
    /// MAX_PROBES, RFC 8899 §5.1.2.
    [<Literal>]
    let MaxProbes = 3

    /// Expirations of T3 in a row that make a black hole, §4.3: data of the present size does not get through.
    [<Literal>]
    let BlackHole = 2

    /// PMTU_RAISE_TIMER, §5.1.1.
    let raise: Duration = Duration.seconds 600L

    /// After which a size that was never confirmed is tried again.
    let private retry: Duration = Duration.seconds 30L

    /// Sizes of datagrams (UDP payloads) that are tried, §5.3.2: with room for the headers of IPv6, or of both, in links
    /// of 1,308 octets, tunnels of 1,420, PPPoE, Ethernet, and larger frames; at the end, the limit itself.
    let private steps = [| 1280; 1372; 1444; 1472; 2048; 4096; 8952; 16_384; 32_768 |]

    /// PROBE_TIMER. No less than a second, §5.1.1. Its 15 seconds are for senders that do not know the round trip; ours
    /// is measured, and the timeout covers it.
    let probeTimer (timeout: Duration) : Duration =
        max (Duration.seconds 1L) (2L * timeout)

    /// The next size to try beyond `size`; `size` itself where there is none.
    let next (config: SctpConfig) (size: int) : int =
        let mutable i = 0

        while i < steps.Length && SctpConfig.packetIn steps[i] <= size do
            i <- i + 1

        let step =
            if i < steps.Length then
                SctpConfig.packetIn steps[i]
            else
                config.MaxMtu

        max size (min step config.MaxMtu)

    /// A path that nothing is known of.
    let create (config: SctpConfig) : PathMtu =
        { Phase = PathPhase.Disabled
          Current = config.Mtu
          Probed = config.Mtu
          Count = 0
          At = Instant.never
          Resume = if config.MaxMtu > config.Mtu then 0L<us> else Instant.never
          Generation = 0u
          Timeouts = 0
          Stalled = -1L
          Fragments = false }

    /// Another path, RFC 9260 §7.3: all begins anew.
    let rerouted (config: SctpConfig) (path: PathMtu) : PathMtu =
        { create config with
            Generation = path.Generation + 1u }

    let private probing (now: Instant) (phase: PathPhase) (size: int) (path: PathMtu) : PathMtu =
        { path with
            Phase = phase
            Probed = size
            Count = 0
            At = now
            Resume = Instant.never }

    let private resting (phase: PathPhase) (resume: Instant) (path: PathMtu) : PathMtu =
        { path with
            Phase = phase
            Count = 0
            At = Instant.never
            Resume = resume }

    /// On to the next size; at rest where there is none.
    let private search (now: Instant) (config: SctpConfig) (path: PathMtu) : PathMtu =
        match next config path.Current with
        | size when size > path.Current -> probing now PathPhase.Searching size path
        // Nothing beyond it is ever wanted.
        | _ -> resting PathPhase.SearchComplete Instant.never path

    /// There is data that would fill packets: time to find out, or to look again, how large they may be.
    let wanted (now: Instant) (config: SctpConfig) (path: PathMtu) : PathMtu =
        if now < path.Resume then
            path
        else
            match path.Phase with
            | PathPhase.SearchComplete -> search now config path
            | PathPhase.Error -> probing now PathPhase.Error config.Mtu path
            | _ -> probing now PathPhase.Base config.Mtu path

    /// PROBE_TIMER has expired, or a probe is due: its size, or 0 where none is to be sent.
    let tick (now: Instant) (timeout: Duration) (path: PathMtu) : struct (int * PathMtu) =
        if now < path.At then
            struct (0, path)
        elif path.Count < MaxProbes then
            struct (path.Probed,
                    { path with
                        Count = path.Count + 1
                        At = now + probeTimer timeout })
        else
            match path.Phase with
            | PathPhase.Searching -> struct (0, resting PathPhase.SearchComplete (now + raise) path)
            | _ -> struct (0, resting PathPhase.Error (now + retry) path)

    /// A probe was answered. An answer that is too late for its search still tells what the path carries, as long as
    /// it is the path of today.
    let answered (now: Instant) (config: SctpConfig) (generation: uint32) (size: int) (path: PathMtu) : PathMtu =
        if generation <> path.Generation || size <> path.Probed then
            path
        else
            match path.Phase with
            | PathPhase.Base
            | PathPhase.Error -> search now config { path with Fragments = false }
            | PathPhase.Searching -> search now config { path with Current = size }
            | PathPhase.SearchComplete when size > path.Current -> search now config { path with Current = size }
            | _ -> path

    /// T3 expired with data outstanding beyond `cumulative`, RFC 8899 §4.3. In a black hole the path begins anew with the
    /// size that is expected to work; where it is in use already, packets may be fragmented from now on.
    let timedOut (now: Instant) (config: SctpConfig) (cumulative: int64) (path: PathMtu) : PathMtu =
        let timeouts = if cumulative = path.Stalled then path.Timeouts + 1 else 1

        let path =
            { path with
                Timeouts = timeouts
                Stalled = cumulative }

        if timeouts < BlackHole then
            path
        elif path.Current > config.Mtu then
            { path with
                Current = config.Mtu
                Timeouts = 0
                Generation = path.Generation + 1u }
            |> probing now PathPhase.Base config.Mtu
        elif path.Fragments then
            path
        else
            let path = { path with Fragments = true }

            if config.MaxMtu > config.Mtu && path.At = Instant.never then
                probing now PathPhase.Base config.Mtu path
            else
                path
