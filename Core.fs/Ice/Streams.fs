namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Turn

/// TCP connections that an agent makes to passive candidates of its peer's, RFC 6544: one a pair, each a port of its own.
///
///     Unconnected ──check──▶ Connecting ──opened──▶ Connected ──closed──▶ the pair has failed
///                                └──────────── closed ────────────────────────▲
[<RequireQualifiedAccess>]
module internal Streams =
    // What a peer may make us connect to: as browsers have it, no service of the well-known ports but the web's, where
    // answers of a kind are to be had for ICE servers behind a firewall.
    let private isAllowed (endpoint: Endpoint) : bool =
        endpoint.Port >= 1024us || endpoint.Port = 443us || endpoint.Port = 80us

    let private isBetween (from: PortId) (remote: Endpoint) (g: Generation) (pair: Pair) : bool =
        pair.Path.Remote.Equals remote
        && (match Generation.baseOf pair.Path.Local g with
            | ValueSome { Kind = BaseKind.Stream other } -> other = from
            | _ -> false)

    // A pair with a base, and so a number, of its own.
    let private pair (from: PortId) (origin: Base) (remote: Candidate) (endpoint: Endpoint) (g: Generation) =
        let number = g.Local.NextStream

        // One from a relay is the relay's to make.
        let port =
            if RelayPorts.isRelayed from then
                RelayPorts.ofStream number
            else
                number

        let stream =
            { origin with
                Port = port
                Kind = BaseKind.Stream from
                Active = ValueNone }

        let path = { Local = port; Remote = endpoint }

        match Checklist.add (Generation.isControlling g) path stream.Candidate remote g.List with
        | ValueSome list ->
            { g with
                List = list
                Local =
                    { g.Local with
                        Bases = Array.append g.Local.Bases [| stream |]
                        NextStream = number - 2<port>
                        StreamsLeft = g.Local.StreamsLeft - 1 } }
        | ValueNone -> g

    /// Pairs a socket's address with a passive candidate of the peer's, RFC 6544 §6.2, unless they are, or there are too many.
    let pairUp (local: Base) (remote: Candidate) (g: Generation) : Generation =
        match local.Active, Checklist.reach local remote with
        | ValueSome active, ValueSome endpoint when
            isAllowed endpoint
            && g.Local.StreamsLeft > 0
            && not (g.List.Pairs |> Array.exists (isBetween local.Port endpoint g))
            ->
            pair
                local.Port
                { local with
                    Candidate = active
                    Endpoint =
                        { local.Endpoint with
                            Port = active.Port } }
                remote
                endpoint
                g
        | _ -> g

    let private ofPort (port: PortId) (g: Generation) : Pair voption =
        match g.List.Pairs |> Array.tryFind (fun pair -> pair.Path.Local = port) with
        | Some pair -> ValueSome pair
        | None -> ValueNone

    /// Whether a stream is one of this generation's.
    let isOf (port: PortId) (g: Generation) : bool =
        match Generation.baseOf port g with
        | ValueSome { Kind = BaseKind.Stream _ } -> true
        | _ -> false

    /// A stream is open: its check follows, RFC 6544 §7.1.
    let opened now (port: PortId) (local: Endpoint) (g: Generation) : Step<Generation, GenerationOutput> =
        match ofPort port g with
        | ValueSome pair when Pair.isConnecting pair ->
            let g =
                { g with
                    Local =
                        { g.Local with
                            Bases =
                                g.Local.Bases
                                |> Array.map (fun b -> if b.Port = port then { b with Endpoint = local } else b) } }

            let pair = { pair with Link = PairLink.Connected }

            match pair.State with
            | PairState.InProgress -> Generation.check now false pair g
            // A better pair was selected meanwhile.
            | PairState.Frozen
            | PairState.Waiting
            | PairState.Succeeded
            | PairState.Failed -> Step.only (Generation.put pair g)
        // Closed meanwhile.
        | _ -> Step.one (GenerationOutput.Refused Drop.Stale) g

    // A relay of the peer's lets nobody in before the peer knows our candidates (RFC 6062 §5.3), which the answerer's connections are earlier
    // than: so these are made again, for half of what a generation may make at most, as the pace of checks allows. Not those by a relay of
    // our own: it is asked for the same peer once in 10 s at most (§4.3).
    let private mayBeEarly (ended: Pair) (g: Generation) : bool =
        ended.Remote.Type.IsRelayed
        && not (RelayPorts.isRelayed ended.Path.Local)
        && g.Local.StreamsLeft > Generation.MaxStreams / 2

    // RFC 6544 §10.1 leaves it to the active side to connect anew where a connection has worked and ended.
    let private again (ended: Pair) (g: Generation) : Generation =
        match Generation.baseOf ended.Path.Local g with
        | ValueSome({ Kind = BaseKind.Stream from } as origin) when
            (Pair.hasSucceeded ended || mayBeEarly ended g)
            && g.Local.StreamsLeft > 0
            && (Generation.baseOf from g).IsSome
            ->
            pair from origin ended.Remote ended.Path.Remote g
        | _ -> g

    /// A connection has ended, or was not to be had: its pair has failed, and the others go on.
    let closed options now (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        match Checklist.find path g.List with
        | ValueNone -> Step.one (GenerationOutput.Refused Drop.Stale) g
        | ValueSome ended ->
            // Nothing is left to close.
            let gone =
                { ended with
                    Link =
                        if Pair.holdsStream ended then
                            PairLink.Unconnected
                        else
                            ended.Link }

            let isSelected =
                match g.Selection with
                | ValueSome selection -> selection.Path.Equals path
                | ValueNone -> false

            Generation.fail gone g
            |> Step.bind (fun g ->
                if isSelected then
                    Generation.replace options now path g
                else
                    Step.only g)
            |> Step.bind (again ended >> Step.only)
            |> Step.bind (Generation.advance now)
