namespace Hybrid.WebRtc.Core

open System

[<RequireQualifiedAccess>]
module Ice =
    [<NoComparison>]
    type Options =
        { DisconnectedAfter: Duration
          FailedAfter: Duration }

    let defaults =
        { DisconnectedAfter = Duration.seconds 5L
          FailedAfter = Duration.seconds 30L }

    [<Sealed; NoComparison; NoEquality>]
    type State = { Entropy: Entropy; Ciphers: ICiphers }

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Received of Path: Path * Datagram: ReadOnlyMemory<byte>
        | SetServers of Servers: IceServer[] * Policy: IceTransportPolicy
        | Gather
        | PortOpened of Port: PortId * Base: Endpoint * Preference: int
        | PortClosed of Port: PortId
        | PortsComplete
        | ServerResolved of Url: string * Endpoints: Endpoint[]
        | ServerFailed of Url: string * Reason: string
        | SetRole of IceRole
        | SetLocal of IceCredentials
        | RollbackLocal
        | SetRemote of Credentials: IceCredentials * Lite: bool
        | AddRemote of Candidate: Candidate * UsernameFragment: string voption
        | EndOfRemoteCandidates
        | Resolved of Name: string * Address: Address voption
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of Path: Path * Message: Stun.Outgoing
        | OpenPorts
        | ClosePort of Port: PortId
        | ResolveServer of Url: string
        | Resolve of Name: string
        | Gathered of Candidate: Candidate * Url: string voption
        | GatheringChanged of IceGatheringState
        | ServerError of Url: string * Base: Endpoint voption * Code: int * Text: string
        | StateChanged of IceTransportState
        | RoleChanged of IceRole
        | Selected of Local: Candidate * Remote: Candidate * Path: Path
        | Validated of Path: Path
        | Invalidated of Path: Path
        | Ignored of Drop

    let create (_options: Options) (entropy: Entropy) (ciphers: ICiphers) : State = { Entropy = entropy; Ciphers = ciphers }
    let deadline (_state: State) : Instant = Instant.never
    let step (_now: Instant) (_input: Input) (state: State) : Step<State, Output> = Step.one (Ignored Drop.Unexpected) state
    let isValid (_path: Path) (_state: State) = false
    let transportState (_state: State) = IceTransportState.New
    let gatheringState (_state: State) = IceGatheringState.New
    let role (_state: State) = IceRole.Unknown
    let localCredentials (_state: State) : IceCredentials voption = ValueNone
    let remoteCredentials (_state: State) : IceCredentials voption = ValueNone
    let localCandidates (_state: State) : Candidate[] = [||]
    let remoteCandidates (_state: State) : Candidate[] = [||]
    let selectedPair (_state: State) : IcePair voption = ValueNone
    let pairs (_state: State) : IcePair[] = [||]
