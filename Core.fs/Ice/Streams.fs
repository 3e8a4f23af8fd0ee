namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Turn

/// TCP connections that an agent makes to passive candidates of its peer's, RFC 6544: one a pair, each a port of its own.
///
///     Unconnected ──check──▶ Connecting ──opened──▶ Connected ──closed──▶ the pair has failed
///       Resting ────time─────────▲   └──── closed, refused ────────────────────▲
///         ▲                                                                    │
///         └──────────── a new pair, where the connection was too early ────────┘
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

    // The number of the next stream. One from a relay is the relay's to make.
    let private nextPort (from: PortId) (g: Generation) : PortId =
        if RelayPorts.isRelayed from then
            RelayPorts.ofStream g.Local.NextStream
        else
            g.Local.NextStream

    // A pair with a base, and so a number, of its own.
    let private pair (from: PortId) (origin: Base) (remote: Candidate) (endpoint: Endpoint) (g: Generation) =
        let port = nextPort from g

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
                        NextStream = g.Local.NextStream - 2<port>
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
    // than. So one that ends before it has worked is made again, for as long as the answer may be under way.
    let private mayBeEarly now (ended: Pair) (g: Generation) : bool =
        ended.Remote.Type.IsRelayed
        && now - g.Progress.NewsAt < Repetition.pac
        && g.Local.StreamsLeft > Generation.MaxStreams / 2

    // As long again as has been waited already: at first as soon as checks may follow each other, and later ever more seldom.
    let private pause now (g: Generation) : Duration =
        now - g.Progress.NewsAt |> max Pace.ta |> min (Duration.seconds 4L)

    // RFC 6544 §10.1 leaves it to the active side to connect anew where a connection has worked and ended.
    let private again now (ended: Pair) (g: Generation) : Generation =
        let works = Pair.hasSucceeded ended

        match Generation.baseOf ended.Path.Local g with
        | ValueSome({ Kind = BaseKind.Stream from } as origin) when
            (works || mayBeEarly now ended g)
            && g.Local.StreamsLeft > 0
            && (Generation.baseOf from g).IsSome
            ->
            let port = nextPort from g
            let g = pair from origin ended.Remote ended.Path.Remote g

            match ofPort port g with
            | ValueSome fresh when not works -> Generation.rest now (pause now g) fresh g
            | _ -> g
        | _ -> g

    // Its pair has failed, and the others go on.
    let private over
        now
        (path: Path)
        (follow: Pair -> Generation -> Step<Generation, GenerationOutput>)
        (g: Generation)
        =
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

            Generation.fail gone g
            |> Step.bind (follow ended)
            |> Step.bind (Generation.advance now)

    /// A connection has ended, or was not to be had.
    let closed options now (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        let isSelected =
            match g.Selection with
            | ValueSome selection -> selection.Path.Equals path
            | ValueNone -> false

        g
        |> over now path (fun pair g ->
            (if isSelected then
                 Generation.replace options now path g
             else
                 Step.only g)
            |> Step.bind (again now pair >> Step.only))

    /// A connection is not to be had, and not to be asked for again.
    let refused now (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        over now path (fun _ g -> Step.only g) g
