namespace Hybrid.WebRtc.Core

/// A generation and the gathering of its candidates: what an ICE restart begins anew, RFC 8445 §9.
[<NoComparison; NoEquality>]
type internal IceSession =
    { Checks: Generation
      Gathering: Gathering }

[<RequireQualifiedAccess>]
module internal IceSession =
    let create (agent: Agent) (number: int) (salt: uint32) (entropy: Entropy) : IceSession =
        { Checks = Generation.create agent number (Entropy.split "checks" entropy)
          Gathering = Gathering.create salt (Entropy.split "gathering" entropy) }

    let isGathered (session: IceSession) : bool =
        Gathering.state session.Gathering = IceGatheringState.Complete

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

    let hasPort (port: PortId) (session: IceSession) : bool =
        session.Gathering.Bases |> Array.exists (fun b -> b.Port = port)
        || Streams.isOf port session.Checks

    /// Whether requests that begin with this fragment are for this generation.
    let answersTo (fragment: string) (session: IceSession) : bool =
        match session.Checks.Local.Secret with
        | ValueSome secret -> secret.Credentials.UsernameFragment = fragment
        | ValueNone -> false

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
        Prospects.transportState (isGathered session) session.Checks

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
