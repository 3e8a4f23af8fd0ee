namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Turn

/// A server as far as it is known.
[<NoComparison; NoEquality>]
type internal ServerEntry =
    {
        Url: string
        Where: ServerUrl
        Username: string
        Password: string
        /// ValueNone until its name is resolved; empty where it is not to be had.
        Endpoints: Endpoint[] voption
    }

/// How far an allocation has come.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal RelayState =
    /// For its turn to be asked for.
    | Waiting
    | Asked
    /// It makes these bases, one for each family, since then.
    | Serving of Base[] * Since: Instant

/// An allocation on a TURN server, from one of our sockets.
[<NoComparison; NoEquality>]
type internal RelayJob =
    { Url: string
      Base: Base
      Request: RelayRequest
      State: RelayState }

/// Relayed candidates, RFC 8445 §5.1.1.1.
[<RequireQualifiedAccess>]
module internal RelayJobs =
    /// A job takes this many of the core's numbers for ports.
    let private stride = 6<port>

    /// The first of the core's numbers: TURN's are even.
    let firstPort: PortId = -2<port>

    /// The job for a server, from a base; and the next number for ports.
    let create relaysTcp (url: string) (where: ServerUrl) (server: Endpoint) username password local (port: PortId) =
        struct ({ Url = url
                  Base = local
                  Request =
                    { V4 = port
                      V6 = port - 2<port>
                      Stream = port - 4<port>
                      From = local.Port
                      Transport = where.Transport
                      Server = server
                      ServerName = where.Host
                      Username = username
                      Password = password
                      RelaysTcp = relaysTcp }
                  State = RelayState.Waiting },
                port - stride)

    let bases (job: RelayJob) : Base[] =
        match job.State with
        | RelayState.Serving(bases, _) -> bases
        | RelayState.Waiting
        | RelayState.Asked -> [||]

    /// Whether it has served long enough to be asked for anew where its server has lost it: one that loses what it has just given
    /// is not asked in a circle.
    let hasLasted (now: Instant) (job: RelayJob) : bool =
        match job.State with
        | RelayState.Serving(_, since) -> now - since >= Duration.seconds 60L
        | RelayState.Waiting
        | RelayState.Asked -> false

    let isPending (job: RelayJob) : bool =
        match job.State with
        | RelayState.Waiting
        | RelayState.Asked -> true
        | RelayState.Serving _ -> false

    let isWaiting (job: RelayJob) : bool =
        match job.State with
        | RelayState.Waiting -> true
        | RelayState.Asked
        | RelayState.Serving _ -> false

    // DTLS and plain datagrams have one 5-tuple.
    let private overUdp (transport: ServerTransport) =
        transport = ServerTransport.Udp || transport = ServerTransport.Dtls

    /// Whether both would have one 5-tuple, which has room for one allocation, or the same server by another stream.
    let isSame (a: RelayRequest) (b: RelayRequest) : bool =
        a.From = b.From
        && a.Server.Equals b.Server
        && a.RelaysTcp = b.RelaysTcp
        && (a.Transport = b.Transport || (overUdp a.Transport && overUdp b.Transport))

    // UDP before TCP before TLS, each in the order of its bases: 14 bits of their preference. Addresses of TCP are behind all of them
    // (RFC 6544 §4.2), in 12 bits.
    let private preference (job: RelayJob) : int =
        let rank =
            match job.Request.Transport with
            | ServerTransport.Udp -> 3
            | ServerTransport.Dtls -> 2
            | ServerTransport.Tcp -> 1
            | _ -> 0

        let preference = (rank <<< 14) ||| (int job.Base.Preference >>> 2)

        if job.Request.RelaysTcp then
            preference >>> 4
        else
            preference

    /// The candidate at a relayed address. `mapped`: how the server sees us, unless that is to remain hidden.
    let private candidate salt (job: RelayJob) (relayed: Endpoint) (mapped: Endpoint voption) preference : Candidate =
        let related =
            mapped
            |> ValueOption.defaultValue
                { Address = Address.v4 0uy 0uy 0uy 0uy
                  Port = 0us }

        { Foundation = Candidate.foundation salt CandidateType.Relayed relayed.Address job.Url
          Component = 1
          Transport = CandidateTransport.Udp
          Priority = Candidate.priority CandidateType.Relayed preference 1
          Host = CandidateHost.Ip relayed.Address
          Port = relayed.Port
          Type = CandidateType.Relayed
          Related =
            ValueSome
                { Host = CandidateHost.Ip related.Address
                  Port = related.Port }
          Extensions = [||] }

    // Active ones before passive ones, RFC 6544 §4.2.
    let private activePreference = 0x1000

    /// The active candidate beside a passive one, RFC 6544 §4.5: what connects from there has a port of its own.
    let private active (passive: Candidate) (preference: int) : Candidate =
        { passive with
            Transport = CandidateTransport.Tcp TcpType.Active
            Priority = Candidate.priority CandidateType.Relayed (uint16 (preference + activePreference)) 1
            Port = 9us }

    let private tcpBase (port: PortId) (endpoint: Endpoint) (udp: Candidate) (preference: uint16) : Base =
        let passive =
            { udp with
                Foundation = udp.Foundation + "t"
                Transport = CandidateTransport.Tcp TcpType.Passive }

        { Port = port
          Kind = BaseKind.Listener
          Endpoint = endpoint
          Preference = preference
          Candidate = passive
          Active = ValueSome(active passive (int preference)) }

    /// The bases of an allocation, one for each address; `unique` makes a preference differ from those of other bases.
    let serving
        salt
        (relayed: Endpoint[])
        (mapped: Endpoint voption)
        (unique: int -> Base[] -> uint16)
        (others: Base[])
        job
        =
        (([||]: Base[]), relayed)
        ||> Array.fold (fun bases endpoint ->
            let isV4 = endpoint.Address.IsV4
            // IPv6 first, RFC 8421 §4.
            let wanted = (preference job &&& ~~~1) ||| (if isV4 then 0 else 1)
            let preference = unique wanted (Array.append others bases)

            let port = if isV4 then job.Request.V4 else job.Request.V6
            let candidate = candidate salt job endpoint mapped preference

            Array.append
                bases
                [| if job.Request.RelaysTcp then
                       tcpBase port endpoint candidate preference
                   else
                       { Port = port
                         Kind = BaseKind.Socket
                         Endpoint = endpoint
                         Preference = preference
                         Candidate = candidate
                         Active = ValueNone } |])
