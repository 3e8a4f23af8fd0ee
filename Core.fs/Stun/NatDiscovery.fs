namespace Hybrid.WebRtc.Core.Stun

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// How a NAT chooses the outside endpoint for what one socket sends to several, RFC 4787 §4.1.
type NatMapping =
    /// Too few servers answered to tell.
    | Unknown = 0
    /// No NAT: the outside endpoint is the socket's own.
    | None = 1
    /// One outside endpoint for all: what a STUN server tells is good for every peer.
    | EndpointIndependent = 2
    /// Another one for each address. Also told where servers without RFC 5780 saw different ones, which may be the next kind.
    | AddressDependent = 3
    /// Another one for each address and port.
    | AddressAndPortDependent = 4

/// From whom a NAT or a firewall lets datagrams in to a socket that has sent, RFC 4787 §5.
type NatFiltering =
    /// No server that answered can test it (RFC 5780 OTHER-ADDRESS).
    | Unknown = 0
    /// From everybody.
    | EndpointIndependent = 1
    /// From addresses that were sent to.
    | AddressDependent = 2
    /// From addresses and ports that were sent to.
    | AddressAndPortDependent = 3

/// What came of asking one server.
[<NoComparison; NoEquality>]
type StunFinding =
    {
        Server: Endpoint
        /// The socket's outside endpoint, as the server saw it; ValueNone where it did not answer, or with an error.
        Mapped: Endpoint voption
        /// From the last sending to the answer.
        RoundTrip: Duration
        /// The error's code, 300 to 699; 0: none.
        ErrorCode: int
        /// Whether it can test more than Binding, RFC 5780 §6.
        HasDiscovery: bool
    }

/// What lies between a socket and the Internet.
[<NoComparison; NoEquality>]
type NatBehaviour =
    {
        /// In the order of the servers that were given.
        Servers: StunFinding[]
        Mapping: NatMapping
        Filtering: NatFiltering
        /// Whether the socket reaches itself by its outside endpoint, RFC 4787 §6; ValueNone where there is no NAT, or it is not known.
        Hairpins: bool voption
    }

/// What may happen to a discovery.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type NatDiscoveryInput =
    /// The socket received this; the octets are lent.
    | Received of From: Endpoint * Datagram: ReadOnlyMemory<byte>
    | Tick

/// What a discovery asks for.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type NatDiscoveryOutput =
    | Transmit of To: Endpoint * Outgoing
    /// The end; once.
    | Finished of NatBehaviour
    | Ignored of Drop

/// Finds out what a NAT does, RFC 5780 §4, with one socket and the servers there are.
///
///     Ready ──tick──▶ Asking ──all answered, or silent──▶ Filtering ──the same──▶ Mapping ──the same──▶ Over
///                        └──────────── no server has OTHER-ADDRESS, RFC 5780 §7.4 ───────────────────────▲
///
/// Filtering comes before mapping, since what the mapping's tests send opens the filter (RFC 5780 §4.4). The tests of a stage run
/// side by side: none of them can change what another finds.
[<RequireQualifiedAccess>]
module NatDiscovery =
    /// RFC 5780 leaves the timing to its users; where a NAT filters, silence is the finding, so it should not take 39.5 s. Five
    /// requests within 3 s, and 1.6 s for the last.
    let timing: Timing =
        { Rto = Duration.milliseconds 200L
          Steady = 0
          Longest = Duration.milliseconds 1_600L
          Requests = 5
          LastWait = 8 }

    [<NoComparison; NoEquality>]
    type private Answer =
        | Awaited
        | Silent
        | Mapped of Endpoint * Other: Endpoint voption * RoundTrip: Duration
        | Refused of Code: int
        /// Our own request came back to us.
        | CameBack

    /// A request, and what came of it.
    [<NoComparison; NoEquality>]
    type private Probe =
        {
            To: Endpoint
            Attributes: Attribute[]
            Transaction: Transaction
            /// When it was sent last.
            SentAt: Instant
            Answer: Answer
        }

    [<NoComparison; NoEquality>]
    type private Stage =
        /// Nothing has been sent.
        | Ready of Servers: Endpoint[]
        /// RFC 5780 §4.3, test I: each server.
        | Asking
        /// RFC 5780 §4.4, tests II and III: an answer from another address and port, and from another port.
        | Filtering
        /// RFC 5780 §4.3, tests II and III: the other address, and the other address and port; and §4.5, ourselves.
        | Mapping
        | Over

    [<NoComparison; NoEquality>]
    type State =
        private
            {
                Local: Endpoint
                Stage: Stage
                Probes: Probe[]
                /// Of the stages before.
                Asked: Probe[]
                Filtered: Probe[]
                Entropy: Entropy
            }

    let private isOpen (probe: Probe) = probe.Answer.IsAwaited

    let private mappedOf (probe: Probe) : Endpoint voption =
        match probe.Answer with
        | Mapped(mapped, _, _) -> ValueSome mapped
        | _ -> ValueNone

    /// The server that tests are made with, its outside view of us, and its other endpoint: another address and another port.
    let private guide (asked: Probe[]) : struct (Endpoint * Endpoint * Endpoint) voption =
        let mutable found = ValueNone

        for probe in asked do
            match probe.Answer with
            | Mapped(mapped, ValueSome other, _) when
                found.IsNone
                && not (other.Address.Equals probe.To.Address)
                && other.Port <> probe.To.Port
                && other.Address.IsV4 = probe.To.Address.IsV4
                ->
                found <- ValueSome(struct (probe.To, mapped, other))
            | _ -> ()

        found

    let private message (probe: Probe) : Outgoing =
        { Message = Message.request Method.Binding probe.Transaction.Id probe.Attributes
          Integrity = Unprotected
          Fingerprint = true }

    /// A stage's first requests.
    let private enter
        (now: Instant)
        (stage: Stage)
        (targets: struct (Endpoint * Attribute[])[])
        (s: State)
        : Step<State, NatDiscoveryOutput> =
        let mutable entropy = s.Entropy

        let probes =
            targets
            |> Array.map (fun (struct (target, attributes)) ->
                let struct (id, rest) = TransactionId.draw entropy
                entropy <- rest

                { To = target
                  Attributes = attributes
                  Transaction = Transaction.start timing id now
                  SentAt = now
                  Answer = Awaited })

        struct ({ s with
                    Stage = stage
                    Probes = probes
                    Entropy = entropy },
                [ for probe in probes -> NatDiscoveryOutput.Transmit(probe.To, message probe) ])

    let private finding (probe: Probe) : StunFinding =
        let found =
            { Server = probe.To
              Mapped = mappedOf probe
              RoundTrip = 0L<us>
              ErrorCode = 0
              HasDiscovery = false }

        match probe.Answer with
        | Mapped(_, other, roundTrip) ->
            { found with
                RoundTrip = roundTrip
                HasDiscovery = other.IsSome }
        | Refused code -> { found with ErrorCode = code }
        | _ -> found

    /// By what several servers saw: all that there is without RFC 5780.
    let private mappingOf (local: Endpoint) (asked: Probe[]) : NatMapping =
        let seen =
            asked
            |> Array.choose (fun probe ->
                match mappedOf probe with
                | ValueSome mapped -> Some(struct (probe.To, mapped))
                | ValueNone -> None)

        match seen with
        | [||] -> NatMapping.Unknown
        | _ ->
            let struct (first, view) = seen[0]

            if view.Equals local then
                NatMapping.None
            elif seen |> Array.exists (fun (struct (_, other)) -> not (other.Equals view)) then
                NatMapping.AddressDependent
            elif
                seen
                |> Array.exists (fun (struct (server, _)) -> not (server.Address.Equals first.Address))
            then
                NatMapping.EndpointIndependent
            else
                NatMapping.Unknown

    let private verdict (s: State) : NatBehaviour =
        let plain =
            { Servers = Array.map finding s.Asked
              Mapping = mappingOf s.Local s.Asked
              Filtering = NatFiltering.Unknown
              Hairpins = ValueNone }

        match guide s.Asked, s.Filtered, s.Probes with
        | ValueSome(struct (_, view, _)), [| both; port |], [| address; addressAndPort; self |] ->
            let mapping =
                match mappedOf address, mappedOf addressAndPort with
                | _ when view.Equals s.Local -> NatMapping.None
                | ValueSome second, _ when second.Equals view -> NatMapping.EndpointIndependent
                | ValueSome second, ValueSome third when second.Equals third -> NatMapping.AddressDependent
                | ValueSome _, ValueSome _ -> NatMapping.AddressAndPortDependent
                | _ -> plain.Mapping

            let filtering =
                match both.Answer, port.Answer with
                | Mapped _, _ -> NatFiltering.EndpointIndependent
                // Silence says something of a filter only where the other endpoint can be reached at all.
                | Silent, _ when (mappedOf addressAndPort).IsNone -> NatFiltering.Unknown
                | Silent, Mapped _ -> NatFiltering.AddressDependent
                | Silent, Silent -> NatFiltering.AddressAndPortDependent
                | _ -> NatFiltering.Unknown

            { plain with
                Mapping = mapping
                Filtering = filtering
                Hairpins =
                    (if mapping = NatMapping.None then
                         ValueNone
                     else
                         ValueSome self.Answer.IsCameBack) }
        | _ -> plain

    let private finish (s: State) =
        struct ({ s with Stage = Over; Probes = [||] }, [ NatDiscoveryOutput.Finished(verdict s) ])

    /// The next stage, where this one has nothing to wait for.
    let private advance (now: Instant) (s: State) : Step<State, NatDiscoveryOutput> =
        if Array.exists isOpen s.Probes then
            Step.only s
        else
            match s.Stage with
            | Asking ->
                let s = { s with Asked = s.Probes }

                match guide s.Asked with
                | ValueSome(struct (server, _, _)) ->
                    enter
                        now
                        Filtering
                        [| struct (server, [| ChangeRequest(true, true) |])
                           struct (server, [| ChangeRequest(false, true) |]) |]
                        s
                | ValueNone -> finish s
            | Filtering ->
                let s = { s with Filtered = s.Probes }

                match guide s.Asked with
                | ValueSome(struct (server, view, other)) ->
                    let second: Endpoint =
                        { Address = other.Address
                          Port = server.Port }

                    enter now Mapping [| struct (second, [||]); struct (other, [||]); struct (view, [||]) |] s
                | ValueNone -> finish s
            | Mapping -> finish s
            | Ready _
            | Over -> Step.only s

    /// A discovery of what lies before the socket that is bound to `local`, an address and not the unspecified one. `servers`, of
    /// the same family, are asked; the first that RFC 5780 is spoken by serves for the tests. Due at once.
    [<CompiledName "Create">]
    let create (seed: ReadOnlyMemory<byte>) (local: Endpoint) (servers: Endpoint[]) : State =
        { Local = local
          Stage = Ready servers
          Probes = [||]
          Asked = [||]
          Filtered = [||]
          Entropy = Entropy.ofSeed seed.Span }

    let private settled (now: Instant) (i: int) (answer: Answer) (s: State) =
        advance
            now
            { s with
                Probes =
                    s.Probes
                    |> Array.mapi (fun k probe -> if k = i then { probe with Answer = answer } else probe) }

    let private ignored reason s =
        Step.one (NatDiscoveryOutput.Ignored reason) s

    let private received (now: Instant) (datagram: ReadOnlyMemory<byte>) (s: State) =
        match Message.read datagram.Span with
        | ValueNone -> ignored Drop.Malformed s
        | ValueSome message ->
            let at =
                s.Probes
                |> Array.tryFindIndex (fun probe -> isOpen probe && probe.Transaction.Id.Equals message.Transaction)

            match at, message.Class with
            | None, _ -> ignored Drop.Unexpected s
            | Some i, Class.Success ->
                match Message.mappedAddress message with
                | ValueSome mapped ->
                    let other =
                        Message.pick
                            (function
                            | OtherAddress e -> ValueSome e
                            | _ -> ValueNone)
                            message

                    settled now i (Mapped(mapped, other, now - s.Probes[i].SentAt)) s
                | ValueNone -> ignored Drop.Malformed s
            | Some i, Class.Error ->
                match Message.errorCode message with
                | ValueSome(struct (code, _)) -> settled now i (Refused code) s
                | ValueNone -> ignored Drop.Malformed s
            | Some i, Class.Request -> settled now i CameBack s
            | Some _, Class.Indication -> ignored Drop.Unexpected s

    let private tick (now: Instant) (s: State) =
        let due =
            s.Probes
            |> Array.map (fun probe -> isOpen probe && probe.Transaction.DueAt <= now)

        if not (Array.contains true due) then
            Step.only s
        else
            let probes =
                s.Probes
                |> Array.mapi (fun i probe ->
                    if not due[i] then
                        probe
                    elif Transaction.isSpent probe.Transaction then
                        { probe with Answer = Silent }
                    else
                        { probe with
                            Transaction = Transaction.resend now probe.Transaction
                            SentAt = now })

            let again =
                [ for i in 0 .. probes.Length - 1 do
                      if due[i] && isOpen probes[i] then
                          NatDiscoveryOutput.Transmit(probes[i].To, message probes[i]) ]

            struct ({ s with Probes = probes }, again) |> Step.bind (advance now)

    /// When it next needs a tick.
    [<CompiledName "Deadline">]
    let deadline (s: State) : Instant =
        match s.Stage with
        | Ready _ -> 0L<us>
        | Over -> Instant.never
        | _ ->
            let mutable at = Instant.never

            for probe in s.Probes do
                if isOpen probe then
                    at <- Instant.min at probe.Transaction.DueAt

            at

    [<CompiledName "Step">]
    let step (now: Instant) (input: NatDiscoveryInput) (s: State) : Step<State, NatDiscoveryOutput> =
        match s.Stage, input with
        | Over, _ -> Step.only s
        | _, NatDiscoveryInput.Received(_, datagram) -> received now datagram s
        | Ready servers, NatDiscoveryInput.Tick ->
            enter now Asking (servers |> Array.map (fun server -> struct (server, [||]))) s
            |> Step.bind (advance now)
        | _, NatDiscoveryInput.Tick -> tick now s
