namespace Hybrid.WebRtc.Core

open System

/// The address that others reach one of ours by, where a NAT before it maps addresses one to one, as clouds have it.
[<NoComparison>]
type ExternalAddress =
    {
        /// ValueNone: every address of the external one's family.
        Local: Address voption
        External: Address
        /// Whether host candidates have it in place of the local one; else there is a server-reflexive candidate beside each.
        Replaces: bool
    }

/// What peers are told of our addresses.
[<NoComparison>]
type Publication =
    {
        /// Host candidates have `….local` names in place of addresses, and no candidate tells of another's, RFC 8828 §5.2 mode 3,
        /// draft-ietf-mmusic-mdns-ice-candidates §3.1.
        HidesAddresses: bool
        Externals: ExternalAddress[]
    }

/// What was told so far.
[<NoComparison; NoEquality>]
type internal Published =
    {
        Terms: Publication
        /// Names that stand for our addresses.
        Names: struct (Address * string)[]
        Salt: uint32
        Entropy: Entropy
    }

/// Candidates as they are told. The agent itself goes by addresses.
[<RequireQualifiedAccess>]
module internal Publication =
    let plain: Publication =
        { HidesAddresses = false
          Externals = [||] }

    // The name that stands for an address: one for each, for the agent's life.
    let private nameOf (address: Address) (names: struct (Address * string)[]) : string voption =
        match names |> Array.tryFind (fun struct (known, _) -> known.Equals address) with
        | Some(struct (_, name)) -> ValueSome name
        | None -> ValueNone

    let private external (wanted: bool) (address: Address) (p: Publication) : Address voption =
        match
            p.Externals
            |> Array.tryFind (fun e ->
                e.Replaces = wanted
                && e.External.IsV4 = address.IsV4
                && (e.Local.IsNone || e.Local = ValueSome address))
        with
        | Some e -> ValueSome e.External
        | None -> ValueNone

    // Chromium has `raddr 0.0.0.0 rport 0`, the draft (§3.1.2.2) port 9.
    let private nowhere (v4: bool) : RelatedAddress =
        { Host =
            CandidateHost.Ip(
                if v4 then
                    Address.v4 0uy 0uy 0uy 0uy
                else
                    { High = 0UL; Low = 0UL }
            )
          Port = 9us }

    /// As it is told, and shown.
    let shown (p: Publication) (names: struct (Address * string)[]) (candidate: Candidate) : Candidate =
        match candidate.Type, candidate.Host with
        | CandidateType.Host, CandidateHost.Ip address ->
            match external true address p with
            | ValueSome outside ->
                { candidate with
                    Host = CandidateHost.Ip outside }
            | ValueNone when p.HidesAddresses ->
                match nameOf address names with
                | ValueSome name ->
                    { candidate with
                        Host = CandidateHost.Name name }
                | ValueNone -> candidate
            | ValueNone -> candidate
        | _ when p.HidesAddresses && candidate.Related.IsSome ->
            let v4 =
                match candidate.Host with
                | CandidateHost.Ip address -> address.IsV4
                | CandidateHost.Name _ -> true

            { candidate with
                Related = ValueSome(nowhere v4) }
        | _ -> candidate

    // Whether a host candidate's address needs a name.
    let private needsName
        (p: Publication)
        (names: struct (Address * string)[])
        (candidate: Candidate)
        : Address voption =
        match candidate.Type, candidate.Host with
        | CandidateType.Host, CandidateHost.Ip address when
            p.HidesAddresses
            && (external true address p).IsNone
            && (nameOf address names).IsNone
            ->
            ValueSome address
        | _ -> ValueNone

    // The server-reflexive candidate beside a host candidate of UDP that no server told of.
    let private reflexive (salt: uint32) (p: Publication) (candidate: Candidate) : Candidate voption =
        match candidate.Type, candidate.Transport, candidate.Host with
        | CandidateType.Host, CandidateTransport.Udp, CandidateHost.Ip address ->
            match external false address p with
            | ValueSome outside ->
                let preference = uint16 (candidate.Priority >>> 8)

                ValueSome
                    { candidate with
                        Foundation = Candidate.foundation salt CandidateType.ServerReflexive address "external"
                        Priority = Candidate.priority CandidateType.ServerReflexive preference 1
                        Host = CandidateHost.Ip outside
                        Type = CandidateType.ServerReflexive
                        Related =
                            ValueSome
                                { Host = candidate.Host
                                  Port = candidate.Port } }
            | ValueNone -> ValueNone
        | _ -> ValueNone

    /// A candidate of an agent, as others see it.
    let see (told: Published) (candidate: Candidate) : Candidate = shown told.Terms told.Names candidate

    /// A pair, as others see it.
    let seePair (told: Published) (pair: Pair) : IcePair =
        let known = Pair.show pair

        { known with
            Local = see told known.Local }

    /// A candidate as it was told, and what was told beside it.
    let told (published: Published) (candidate: Candidate) : Candidate list =
        match reflexive published.Salt published.Terms candidate with
        | ValueSome beside -> [ see published candidate; see published beside ]
        | ValueNone -> [ see published candidate ]

    /// Tells a candidate: what is told of it, itself and what stands beside it, and the name that is to be announced for it.
    let tell
        (candidate: Candidate)
        (published: Published)
        : struct (Published * struct (string * Address) voption * Candidate list) =
        let struct (published, announced) =
            match needsName published.Terms published.Names candidate with
            | ValueSome address ->
                let struct (uuid, entropy) = Entropy.uuid published.Entropy
                let name = uuid + ".local"

                struct ({ published with
                            Names = Array.append published.Names [| struct (address, name) |]
                            Entropy = entropy },
                        ValueSome(struct (name, address)))
            | ValueNone -> struct (published, ValueNone)

        struct (published, announced, told published candidate)
