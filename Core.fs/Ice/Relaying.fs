namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Turn

/// What TURN servers' answers make of the gathering, RFC 8445 §5.1.1.2.
[<RequireQualifiedAccess>]
module internal Relaying =
    let private withRelay (job: RelayJob) (g: Gathering) : Gathering =
        { g with
            Relays =
                g.Relays
                |> Array.map (fun other -> if other.Request.V4 = job.Request.V4 then job else other) }

    let private relayJob (port: PortId) (g: Gathering) : RelayJob voption =
        match g.Relays |> Array.tryFind (fun job -> job.Request.V4 = port) with
        | Some job -> ValueSome job
        | None -> ValueNone

    /// A TURN server has allocated: relayed candidates, bases of their own; and the server has told how it sees the socket,
    /// RFC 8445 §5.1.1.2.
    let allocated now (port: PortId) (relayed: Endpoint[]) (mapped: Endpoint voption) (g: Gathering) =
        match relayJob port g with
        | ValueSome job when RelayJobs.isPending job ->
            let hides = not (IceScope.has CandidateType.ServerReflexive g.Kinds)
            let shown = if hides then ValueNone else mapped

            let bases =
                RelayJobs.serving g.Salt relayed shown Gathering.unique (Array.append g.Bases (Gathering.relayed g)) job

            let reflexive =
                match mapped, job.Request.Transport with
                | ValueSome mapped, (ServerTransport.Udp | ServerTransport.Dtls) when not hides ->
                    Gathering.found job.Url job.Base mapped g
                | _ -> Step.only g

            reflexive
            |> Step.bind (fun g ->
                let serving =
                    withRelay
                        { job with
                            State = RelayState.Serving(bases, now) }
                        g

                let candidatesOf (b: Base) =
                    [| b.Candidate
                       match b.Active with
                       | ValueSome active -> active
                       | ValueNone -> () |]

                struct ({ serving with
                            Candidates = Array.append g.Candidates (Array.collect candidatesOf bases) },
                        [ for b in bases do
                              GatheringOutput.Opened b

                              for candidate in candidatesOf b do
                                  GatheringOutput.Found(candidate, ValueSome job.Url) ]))
            |> Step.bind (Gathering.pump now)
        | ValueSome _
        // Its socket has gone meanwhile, or its generation.
        | ValueNone -> Step.one (GatheringOutput.Release port) g

    /// A TURN server has lost what it had allocated, by a restart perhaps. Another is a candidate of its own, which can be told
    /// where there is no end of candidates.
    let lost now (port: PortId) (g: Gathering) : Step<Gathering, GatheringOutput> =
        let rest = Gathering.unrelayed port g

        match relayJob port g with
        | ValueSome job when g.Continual && RelayJobs.hasLasted now job ->
            rest |> Gathering.askFrom job.Base job.Url |> Gathering.pump now
        | _ -> Step.only rest

    /// A TURN server has not.
    let notAllocated now (port: PortId) (code: int) (text: string) (g: Gathering) : Step<Gathering, GatheringOutput> =
        match relayJob port g with
        | ValueSome job ->
            Gathering.unrelayed port g
            |> Step.one (GatheringOutput.Failed(job.Url, ValueSome job.Base.Endpoint, code, text))
            |> Step.bind (Gathering.pump now)
        | ValueNone -> Step.only g
