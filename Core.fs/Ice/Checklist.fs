namespace Hybrid.WebRtc.Core

open System

/// What a base is of.
[<RequireQualifiedAccess; NoComparison>]
type internal BaseKind =
    /// Datagrams, to whoever.
    | Socket
    /// TCP connections that peers make, RFC 6544 §5.1.
    | Listener
    /// A TCP connection of ours to one remote candidate, from the address of the socket `From`.
    | Stream of From: PortId

/// A socket of ours that checks are sent from: the base of candidates, RFC 8445 §4.
[<NoComparison; NoEquality>]
type internal Base =
    {
        Port: PortId
        Kind: BaseKind
        /// Of a stream, once it is open; before, its port is 9, RFC 6544 §4.5.
        Endpoint: Endpoint
        /// Unique within the agent, RFC 8445 §5.1.2.1.
        Preference: uint16
        /// The host candidate.
        Candidate: Candidate
        /// The active candidate that stands for TCP connections from this socket's address; ValueNone: none are made.
        Active: Candidate voption
    }

[<RequireQualifiedAccess>]
module internal Base =
    /// Whether a candidate goes with a base: it is the base's own, or reflexive and says so, RFC 8445 §5.1.1.
    let has (local: Base) (candidate: Candidate) : bool =
        let own = local.Candidate

        match candidate.Type with
        | CandidateType.Host
        | CandidateType.Relayed ->
            let isSame (known: Candidate) =
                candidate.Transport = known.Transport
                && candidate.Port = known.Port
                && candidate.Host = known.Host
                && candidate.Type = known.Type

            isSame own || local.Active |> ValueOption.exists isSame
        | CandidateType.ServerReflexive
        | CandidateType.PeerReflexive ->
            Candidate.sameProtocol candidate.Transport own.Transport
            && candidate.Related = ValueSome { Host = own.Host; Port = own.Port }

/// The candidate pairs of a generation, RFC 8445 §6.1.2. Its length is bounded, and so is every walk over it.
[<NoComparison; NoEquality>]
type internal Checklist =
    {
        /// Best first.
        Pairs: Pair[]
        /// Pairs that are to be checked before others, RFC 8445 §6.1.4.1: by path, first come first.
        Triggered: Path[]
        /// What the application has removed: not formed again, and not served.
        Removed: Path[]
        /// Pairs up to this priority are no longer worth a check of our own: a better one was selected.
        Floor: uint64
        NextId: int
    }

/// Forming, freezing and choosing.
[<RequireQualifiedAccess>]
module internal Checklist =
    /// RFC 8445 §6.1.2.5.
    [<Literal>]
    let MaxPairs = 100

    let empty: Checklist =
        { Pairs = [||]
          Triggered = [||]
          Removed = [||]
          Floor = 0UL
          NextId = 1 }

    /// The pair of a path.
    let find (path: Path) (list: Checklist) : Pair voption =
        let mutable found = ValueNone

        for pair in list.Pairs do
            if pair.Path.Equals path then
                found <- ValueSome pair

        found

    /// The list with the pair of the same path replaced.
    let put (pair: Pair) (list: Checklist) : Checklist =
        { list with
            Pairs =
                list.Pairs
                |> Array.map (fun other -> if other.Path.Equals pair.Path then pair else other) }

    let private sorted (pairs: Pair[]) : Pair[] =
        Array.sortWith (fun (a: Pair) (b: Pair) -> compare b.Priority a.Priority) pairs

    // RFC 8445 §6.1.2.2: the same family, and link-local with link-local. Loopback with loopback: a peer does not get to
    // make us knock on our own doors. Multicast is nobody's address.
    let private fits (ours: Address) (theirs: Address) : bool =
        let isMulticast (a: Address) =
            if a.IsV4 then
                ((a.Low >>> 24) &&& 0xffUL) >= 224UL
            else
                (a.High >>> 56) = 0xffUL

        ours.IsV4 = theirs.IsV4
        && Address.isLinkLocal ours = Address.isLinkLocal theirs
        && Address.isLoopback ours = Address.isLoopback theirs
        && not (Address.isUnspecified theirs)
        && not (isMulticast theirs)

    /// Where a remote candidate is reached from a base; ValueNone where it is not.
    let reach (local: Base) (remote: Candidate) : Endpoint voption =
        match Candidate.endpoint remote with
        | ValueSome endpoint when
            remote.Component = 1
            && endpoint.Port <> 0us
            && fits local.Endpoint.Address endpoint.Address
            ->
            ValueSome endpoint
        | _ -> ValueNone

    // RFC 8838 §12: waiting where it is the first of its foundation, or one of its foundation already works.
    let private firstState (pair: Pair) (list: Checklist) : PairState =
        let alike = list.Pairs |> Array.filter (Pair.sameFoundation pair)

        if Array.isEmpty alike || Array.exists Pair.hasSucceeded alike then
            PairState.Waiting
        else
            PairState.Frozen

    /// Whether the application has removed the pair of a path.
    let isRemoved (path: Path) (list: Checklist) : bool = Array.contains path list.Removed

    /// Without a pair, for good; the oldest of very many is forgotten.
    let remove (path: Path) (list: Checklist) : Checklist =
        { list with
            Pairs = list.Pairs |> Array.filter (fun pair -> not (pair.Path.Equals path))
            Triggered = list.Triggered |> Array.filter (fun other -> not (other.Equals path))
            Removed = Array.truncate MaxPairs (Array.append [| path |] list.Removed) }

    /// Adds the pair of a base and a remote candidate, unless its path is there. Where the list is full the worst pair
    /// that is not in use makes room for a better one, RFC 8445 §6.1.2.5; ValueNone where there is no room.
    let add (controlling: bool) (path: Path) (local: Candidate) (remote: Candidate) (list: Checklist) =
        let pair = Pair.create list.NextId controlling path local remote

        let pair =
            { pair with
                State = firstState pair list }

        let room =
            if isRemoved path list then
                ValueNone
            elif list.Pairs.Length < MaxPairs then
                ValueSome list.Pairs
            else
                match
                    list.Pairs
                    |> Array.tryFindIndexBack (fun p ->
                        not (Pair.hasSucceeded p || Pair.holdsStream p) && p.Priority < pair.Priority)
                with
                | Some worst -> ValueSome(Array.removeAt worst list.Pairs)
                | None -> ValueNone

        room
        |> ValueOption.map (fun pairs ->
            { list with
                Pairs = sorted (Array.append pairs [| pair |])
                NextId = list.NextId + 1 })

    /// Puts the pair at the end of the triggered-check queue, RFC 8445 §6.1.4.1. It waits again, whatever it did.
    let trigger (pair: Pair) (list: Checklist) : Checklist =
        let waiting =
            { pair with
                State = PairState.Waiting
                Check = ValueNone }

        let list = put waiting list

        if Array.exists (fun (queued: Path) -> queued.Equals pair.Path) list.Triggered then
            list
        else
            { list with
                Triggered = Array.append list.Triggered [| pair.Path |] }

    /// Takes the first triggered check that still waits off the queue.
    let rec takeTriggered (list: Checklist) : struct (Pair voption * Checklist) =
        if Array.isEmpty list.Triggered then
            struct (ValueNone, list)
        else
            let rest =
                { list with
                    Triggered = Array.tail list.Triggered }

            match find list.Triggered[0] list with
            | ValueSome pair when
                (match pair.State with
                 | PairState.Waiting -> true
                 | _ -> false)
                ->
                struct (ValueSome pair, rest)
            | _ -> takeTriggered rest

    /// Whether an ordinary check of the pair could still be of use.
    let isWorthwhile (list: Checklist) (pair: Pair) : bool =
        Pair.isPending pair && pair.Priority > list.Floor

    // RFC 8445 §6.1.4.2: a frozen pair may go where none of its foundation waits or is being checked.
    let private mayThaw (list: Checklist) (pair: Pair) : bool =
        match pair.State with
        | PairState.Frozen ->
            not (
                list.Pairs
                |> Array.exists (fun other ->
                    Pair.sameFoundation pair other
                    && pair.Id <> other.Id
                    && match other.State with
                       | PairState.Waiting
                       | PairState.InProgress -> isWorthwhile list other
                       | PairState.Frozen
                       | PairState.Succeeded
                       | PairState.Failed -> false)
            )
        | _ -> false

    let private isWaiting (pair: Pair) : bool =
        match pair.State with
        | PairState.Waiting -> true
        | _ -> false

    /// The pair whose ordinary check is next, RFC 8445 §6.1.4.2: the best that waits, or else the best that may thaw.
    let nextOrdinary (list: Checklist) : Pair voption =
        let best (choose: Pair -> bool) =
            match Array.tryFind (fun pair -> isWorthwhile list pair && choose pair) list.Pairs with
            | Some pair -> ValueSome pair
            | None -> ValueNone

        match best isWaiting with
        | ValueSome pair -> ValueSome pair
        | ValueNone -> best (mayThaw list)

    /// A pair works: those of its foundation need not wait for each other any more, RFC 8445 §7.2.5.3.3.
    let thaw (working: Pair) (list: Checklist) : Checklist =
        { list with
            Pairs =
                list.Pairs
                |> Array.map (fun pair ->
                    match pair.State with
                    | PairState.Frozen when Pair.sameFoundation working pair -> { pair with State = PairState.Waiting }
                    | _ -> pair) }

    /// The other role: new priorities, a new order, and every check that is on its way begins anew, for it names the
    /// old role. RFC 8445 §7.2.5.1, §7.3.1.1.
    let switchRole (controlling: bool) (list: Checklist) : Checklist =
        let switched (pair: Pair) =
            let pair = Pair.prioritise controlling pair

            match pair.State with
            // It is being connected, or will be, and names no role yet.
            | PairState.InProgress when Pair.isConnecting pair || Pair.isResting pair -> pair
            | PairState.InProgress ->
                { pair with
                    State = PairState.Waiting
                    Check = ValueNone }
            | _ -> { pair with Check = ValueNone }

        { list with
            Pairs = sorted (Array.map switched list.Pairs) }

    /// A pair was selected: ordinary checks of pairs up to `floor` end, RFC 8445 §8.1.2.
    let settle (floor: uint64) (list: Checklist) : Checklist =
        let settled (pair: Pair) =
            match pair.State with
            | PairState.Waiting
            | PairState.InProgress when pair.Priority <= floor ->
                { pair with
                    State = PairState.Frozen
                    Check = ValueNone }
            | _ -> pair

        { list with
            Pairs = Array.map settled list.Pairs
            Floor = floor }

    /// A remote candidate is better known than before: pairs that were made with what a check told take its
    /// foundation, type and priority.
    let learn (controlling: bool) (remote: Candidate) (endpoint: Endpoint) (list: Checklist) : Checklist =
        { list with
            Pairs =
                list.Pairs
                |> Array.map (fun pair ->
                    if
                        pair.Path.Remote.Equals endpoint
                        && Candidate.sameProtocol pair.Remote.Transport remote.Transport
                    then
                        Pair.prioritise controlling { pair with Remote = remote }
                    else
                        pair)
                |> sorted }

    /// The selected pair is gone, and no other has answered lately: every pair of datagrams that is decided is checked again.
    let revive (list: Checklist) : Checklist =
        let revived (pair: Pair) =
            match pair.State, pair.Link with
            | PairState.Succeeded, _
            | PairState.Failed, PairLink.Datagrams ->
                { pair with
                    State = PairState.Waiting
                    Check = ValueNone
                    Nomination = Nomination.None }
            | _ -> pair

        { list with
            Pairs = Array.map revived list.Pairs
            Floor = 0UL }

    /// Without the pairs of a port that is gone.
    let removePort (port: PortId) (list: Checklist) : Checklist =
        { list with
            Pairs = list.Pairs |> Array.filter (fun pair -> pair.Path.Local <> port)
            Triggered = list.Triggered |> Array.filter (fun path -> path.Local <> port) }
