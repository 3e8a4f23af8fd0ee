namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Turn

/// Kinds of candidates, as a set.
[<Flags>]
type CandidateKinds =
    | None = 0
    | Host = 1
    | ServerReflexive = 2
    | PeerReflexive = 4
    | Relayed = 8
    | All = 15

/// How much of ICE an agent does, and with whom.
[<NoComparison>]
type IceScope =
    {
        /// A lite agent, RFC 8445 §2.5: host candidates, no check of its own, and what the peer nominates is selected.
        Lite: bool
        /// Which candidates are gathered and told, and whether addresses that only checks tell of are used.
        Candidates: CandidateKinds
        /// Where the peer's addresses may be; empty: anywhere.
        AllowedRemotes: Prefix[]
        /// Where they may not be, though allowed.
        DeniedRemotes: Prefix[]
    }

/// Scopes.
[<RequireQualifiedAccess>]
module IceScope =
    /// A full agent, every candidate, any peer.
    let everything: IceScope =
        { Lite = false
          Candidates = CandidateKinds.All
          AllowedRemotes = [||]
          DeniedRemotes = [||] }

    let private within (address: Address) (prefixes: Prefix[]) : bool =
        prefixes |> Array.exists (Prefix.contains address)

    /// Whether the peer may be at this address.
    let reaches (address: Address) (scope: IceScope) : bool =
        (Array.isEmpty scope.AllowedRemotes || within address scope.AllowedRemotes)
        && not (within address scope.DeniedRemotes)

    /// Whether candidates of a kind are used.
    let has (kind: CandidateType) (kinds: CandidateKinds) : bool =
        let flag =
            match kind with
            | CandidateType.Host -> CandidateKinds.Host
            | CandidateType.ServerReflexive -> CandidateKinds.ServerReflexive
            | CandidateType.PeerReflexive -> CandidateKinds.PeerReflexive
            | CandidateType.Relayed -> CandidateKinds.Relayed

        (kinds &&& flag) = flag

    /// What is gathered: with the policy `relay`, relayed candidates at most; by a lite agent, those of the host.
    let gathers (policy: IceTransportPolicy) (scope: IceScope) : CandidateKinds =
        match policy with
        | IceTransportPolicy.Relay -> scope.Candidates &&& CandidateKinds.Relayed
        | _ when scope.Lite -> scope.Candidates &&& CandidateKinds.Host
        | _ -> scope.Candidates

    /// Whether checks go from sockets of ours, and not from relays alone.
    let isDirect (kinds: CandidateKinds) : bool =
        (kinds &&& ~~~CandidateKinds.Relayed) <> CandidateKinds.None
