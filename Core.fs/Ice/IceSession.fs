namespace Hybrid.WebRtc.Core

open System
open System.Text
open Hybrid.WebRtc.Core.Stun

/// A generation and the gathering of its candidates: what an ICE restart begins anew, RFC 8445 §9.
[<NoComparison; NoEquality>]
type internal IceSession =
    { Checks: Generation
      Gathering: Gathering }

/// The generation that an ICE restart left behind: it serves until the new one has selected, and then a while.
[<NoComparison; NoEquality>]
type internal FormerSession =
    { Session: IceSession; DropAt: Instant }

/// What the outside was told last, and what is asked for each packet.
[<NoComparison; NoEquality>]
type internal IceShown =
    { Transport: IceTransportState
      Gathering: IceGatheringState
      Valid: Path[]
      Deadline: Instant }

/// What an agent was given.
[<NoComparison; NoEquality>]
type internal IceSetup =
    {
        Ciphers: ICiphers
        Options: IceOptions
        Servers: IceServer[]
        Policy: IceTransportPolicy
        Salt: uint32
        /// Generations that were begun.
        Generations: int
        /// Whether pairs are told of, and whether nominations are the application's to decide.
        Watch: bool voption
    }

[<RequireQualifiedAccess>]
module internal IceSession =
    /// `number`: which generation it is; `nextPort`: of the ports that the core has for TURN.
    let create (agent: Agent) (number: int) (salt: uint32) (nextPort: PortId) (entropy: Entropy) : IceSession =
        { Checks = Generation.create agent number (Entropy.split "checks" entropy)
          Gathering = Gathering.create salt nextPort (Entropy.split "gathering" entropy) }

    /// As an agent whose pairs are watched has it.
    let watched (watch: bool voption) (session: IceSession) : IceSession =
        { session with
            Checks = PairControl.decide (watch = ValueSome true) session.Checks }

    /// Whether no candidates of ours are under way.
    let isGathered (session: IceSession) : bool = Gathering.isIdle session.Gathering

    let selected (session: IceSession) : Pair voption =
        match session.Checks.Selection with
        | ValueSome selection -> Checklist.find selection.Path session.Checks.List
        | ValueNone -> ValueNone

    /// Sockets, listeners, and streams that the shell has open or under way.
    let ports (session: IceSession) : PortId[] =
        let streams =
            session.Checks.List.Pairs
            |> Array.filter Pair.holdsStream
            |> Array.map _.Path.Local

        Array.append (session.Gathering.Bases |> Array.map _.Port) streams

    /// Allocations that it has, or has asked for, each by the name that it has.
    let relays (session: IceSession) : PortId[] =
        session.Gathering.Relays
        |> Array.filter (fun job -> not (RelayJobs.isWaiting job))
        |> Array.map _.Request.V4

    let hasPort (port: PortId) (session: IceSession) : bool =
        session.Gathering.Bases |> Array.exists (fun b -> b.Port = port)
        || Streams.isOf port session.Checks
        || session.Gathering.Relays
           |> Array.exists (fun job -> job.Request.V4 = port || job.Request.V6 = port)

    /// Whether checks go by this port; with the policy `relay` they do not by a socket.
    let serves (port: PortId) (session: IceSession) : bool =
        session.Checks.Local.Bases |> Array.exists (fun b -> b.Port = port)

    /// The ports of an allocation.
    let relayedPorts (port: PortId) (session: IceSession) : PortId[] =
        session.Gathering.Relays
        |> Array.filter (fun job -> job.Request.V4 = port)
        |> Array.collect RelayJobs.bases
        |> Array.map _.Port

    /// An allocation is gone.
    let unrelayed (port: PortId) (session: IceSession) : IceSession =
        { session with
            Gathering = Gathering.unrelayed port session.Gathering }

    /// The ports that go with a socket.
    let portsOf (port: PortId) (session: IceSession) : PortId[] =
        Array.append [| port |] (Gathering.relayedFrom port session.Gathering |> Array.map _.Port)

    /// What a Binding request that names this generation's fragment shows of our password; ValueNone where it names another. Nothing else
    /// is read of a request before: most that reach a public port may be forged.
    let judge (ciphers: ICiphers) (datagram: ReadOnlyMemory<byte>) (session: IceSession) : Verification voption =
        match session.Checks.Local.Secret with
        | ValueSome secret when
            Ascii.Equals(Message.fragmentOctets datagram.Span, secret.Credentials.UsernameFragment.AsSpan())
            ->
            ValueSome(Message.verify ciphers (ReadOnlySpan secret.Key) datagram.Span)
        | _ -> ValueNone

    /// What requests to this generation name.
    let fragments (session: IceSession) : string[] =
        match session.Checks.Local.Secret with
        | ValueSome secret -> [| secret.Credentials.UsernameFragment |]
        | ValueNone -> [||]

    /// Whether a candidate that names this fragment, or none, is one of this generation's peer, RFC 8838 §11.
    let expects (fragment: string voption) (session: IceSession) : bool =
        match fragment, session.Checks.Remote.Secret with
        | ValueSome fragment, ValueSome secret -> secret.Credentials.UsernameFragment = fragment
        | ValueSome _, ValueNone -> false
        | ValueNone, _ -> true

    /// Where the peer's packets may come from: pairs that work, and those that an authentic check of the peer's came by.
    /// A controlling peer may send as soon as we have answered its nomination, before our own check is answered.
    let validPaths (session: IceSession) : Path[] =
        let heard =
            session.Checks.List.Pairs
            |> Array.filter (fun pair -> Pair.hasSucceeded pair || pair.HeardAt > Pair.longAgo)
            |> Array.map _.Path

        match session.Checks.Early with
        | [||] -> heard
        | early -> Array.append heard (Array.map _.Path early)

    let setRole (role: IceRole) (session: IceSession) : IceSession =
        { session with
            Checks = Trickle.setRole role session.Checks }

    let transportState (session: IceSession) : IceTransportState =
        Prospects.transportState (Gathering.state session.Gathering = IceGatheringState.Complete) session.Checks

    /// Whether it carries data.
    let works (session: IceSession) : bool =
        match transportState session with
        | IceTransportState.Connected
        | IceTransportState.Completed -> true
        | _ -> false

    let deadline (options: IceOptions) (session: IceSession) : Instant =
        Instant.min
            (Prospects.deadline options (isGathered session) session.Checks)
            (Gathering.deadline session.Gathering)

    /// Candidates say which generation they are of, RFC 8838 §4.
    let labelled (session: IceSession) (candidate: Candidate) : Candidate =
        match session.Checks.Local.Secret with
        | ValueSome secret ->
            { candidate with
                Extensions = [| struct ("ufrag", secret.Credentials.UsernameFragment) |] }
        | ValueNone -> candidate

    /// W3C WebRTC 1.0 §5.6.5: a restart of a transport that works shows `connected` until the new generation decides; of one that
    /// does not, `new`.
    let shownState (closed: bool) (former: IceSession voption) (current: IceSession) : IceTransportState =
        match former with
        | _ when closed -> IceTransportState.Closed
        | ValueSome session when works session && current.Checks.Selection.IsNone && not (works current) ->
            IceTransportState.Connected
        | _ -> transportState current

    /// The valid paths of both generations.
    let shownPaths (closed: bool) (former: IceSession voption) (current: IceSession) : Path[] =
        match former with
        | _ when closed -> [||]
        | ValueSome session -> Array.append (validPaths current) (validPaths session) |> Array.distinct
        | ValueNone -> validPaths current
