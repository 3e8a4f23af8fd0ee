namespace Hybrid.WebRtc.Core

open System

/// An agent, `Ice.State`.
[<NoComparison; NoEquality>]
type IceState =
    internal
        { Setup: IceSetup
          Current: IceSession
          Former: FormerSession voption
          Shown: IceShown
          Published: Published
          Refusals: Refusals
          Pool: IcePool
          Closed: bool
          Entropy: Entropy }

/// Making agents, and looking into them.
module internal IceStates =
    let create (options: IceOptions) (entropy: Entropy) (ciphers: ICiphers) : IceState =
        let struct (tieBreaker, entropy) = Entropy.uint64 entropy
        let struct (salt, entropy) = Entropy.uint32 entropy

        // A lite agent hears a check every 4 to 6 s, RFC 7675 §5.1: that one is lost is no silence yet.
        let options =
            if options.Scope.Lite then
                { options with
                    DisconnectedAfter = min options.FailedAfter (2L * options.DisconnectedAfter) }
            else
                options

        let agent =
            { Role = IceRole.Unknown
              TieBreaker = tieBreaker
              Scope = options.Scope }

        { Setup =
            { Ciphers = ciphers
              Options = options
              Servers = [||]
              Policy = IceTransportPolicy.All
              Salt = salt
              Generations = 1
              Watch = ValueNone }
          Current = IceSession.create agent 0 salt RelayJobs.firstPort entropy
          Former = ValueNone
          Shown =
            { Transport = IceTransportState.New
              Gathering = IceGatheringState.New
              Valid = [||]
              Deadline = Instant.never }
          Published =
            { Terms = options.Publication
              Names = [||]
              Salt = salt
              Entropy = Entropy.split "names" entropy }
          Refusals = Refusals.none
          Pool = IcePool.none
          Closed = false
          Entropy = Entropy.split "generations" entropy }

    let former (state: IceState) : IceSession voption =
        state.Former |> ValueOption.map _.Session

    let either (test: IceSession -> bool) (state: IceState) : bool =
        test state.Current || former state |> ValueOption.exists test

    // Asked for every packet.
    let isKnown (path: Path) (paths: Path[]) : bool =
        let mutable i = 0

        while i < paths.Length && not (paths[i].Equals path) do
            i <- i + 1

        i < paths.Length

    // Of both generations.
    let ofBoth (choose: IceSession -> 'a[]) (state: IceState) : 'a[] =
        match former state with
        | ValueSome session -> Array.append (choose state.Current) (choose session) |> Array.distinct
        | ValueNone -> choose state.Current

    let withRole (role: IceRole) (state: IceState) : IceState =
        { state with
            Current = IceSession.setRole role state.Current
            Former =
                state.Former
                |> ValueOption.map (fun f ->
                    { f with
                        Session = IceSession.setRole role f.Session }) }

    let fresh (state: IceState) : struct (IceSession * IceState) =
        let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize state.Entropy

        let setup = state.Setup

        struct (IceSession.create
                    state.Current.Checks.Agent
                    setup.Generations
                    setup.Salt
                    state.Current.Gathering.NextPort
                    (Entropy.ofSeed (ReadOnlySpan seed))
                |> IceSession.watched setup.Watch,
                { state with
                    Entropy = entropy
                    Setup =
                        { setup with
                            Generations = setup.Generations + 1 } })

    let due (state: IceState) : Instant =
        let options = state.Setup.Options

        if state.Closed then
            Instant.never
        elif state.Pool.Wanted && not state.Current.Gathering.Started then
            0L<us>
        else
            let ours = IceSession.deadline options state.Current

            match state.Former with
            | ValueSome f ->
                ours
                |> Instant.min f.DropAt
                |> Instant.min (Prospects.deadline options true f.Session.Checks)
            | ValueNone -> ours

    /// What the outside is to know, and what is asked often.
    let shownOf (state: IceState) : IceShown =
        { Transport = IceSession.shownState state.Closed (former state) state.Current
          Gathering =
            if IcePool.isHeld state.Pool then
                IceGatheringState.New
            else
                Gathering.state state.Current.Gathering
          Valid = IceSession.shownPaths state.Closed (former state) state.Current
          Deadline = due state }
