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

    [<NoComparison; NoEquality>]
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

    [<CompiledName "Create">]
    let create (_: Options) (entropy: Entropy) (ciphers: ICiphers) : State =
        { Entropy = entropy; Ciphers = ciphers }

    [<CompiledName "Deadline">]
    let deadline (_: State) : Instant = Instant.never

    [<CompiledName "Step">]
    let step (_: Instant) (_: Input) (state: State) : Step<State, Output> =
        Step.one (Ignored Drop.Unexpected) state

    [<CompiledName "IsValid">]
    let isValid (_: Path) (_: State) = false

    [<CompiledName "TransportState">]
    let transportState (_: State) : IceTransportState = IceTransportState.New

    [<CompiledName "GatheringState">]
    let gatheringState (_: State) : IceGatheringState = IceGatheringState.New

    [<CompiledName "Role">]
    let role (_: State) : IceRole = IceRole.Unknown

    [<CompiledName "LocalCredentials">]
    let localCredentials (_: State) : IceCredentials voption = ValueNone

    [<CompiledName "RemoteCredentials">]
    let remoteCredentials (_: State) : IceCredentials voption = ValueNone

    [<CompiledName "LocalCandidates">]
    let localCandidates (_: State) : Candidate[] = [||]

    [<CompiledName "RemoteCandidates">]
    let remoteCandidates (_: State) : Candidate[] = [||]

    [<CompiledName "SelectedPair">]
    let selectedPair (_: State) : IcePair voption = ValueNone

    [<CompiledName "Pairs">]
    let pairs (_: State) : IcePair[] = [||]
