namespace Hybrid.WebRtc.Core

open System

[<NoComparison; NoEquality>]
type PeerConfig =
    { Ciphers: ICiphers
      Identity: Identity
      Configuration: Configuration
      Options: PeerOptions }

[<RequireQualifiedAccess>]
module Peer =
    [<NoComparison; NoEquality>]
    type State = { Config: PeerConfig }

    [<CompiledName "DefaultOptions">]
    let defaultOptions: PeerOptions =
        { DisconnectedAfter = Duration.seconds 5L
          FailedAfter = Duration.seconds 30L
          MaxDatagramSize = 1200
          ReceiveWindow = 8 * 1024 * 1024
          MaxMessageSize = 262_144
          SendBuffer = 16 * 1024 * 1024
          KeyLog = false }

    [<CompiledName "Create">]
    let create (_: ReadOnlyMemory<byte>) (config: PeerConfig) : Result<State, Mistake> = Ok { Config = config }

    [<CompiledName "Deadline">]
    let deadline (_: State) : Instant = Instant.never

    [<CompiledName "Step">]
    let step (_: Instant) (_: Input) (state: State) : Step<State, Output> = Step.only state

    [<CompiledName "Perform">]
    let perform (shell: IShell) (outputs: Output list) : unit =
        for output in outputs do
            match output with
            | Transmit(path, packet) -> shell.Transmit(path, packet)
            | OpenPorts -> shell.OpenPorts()
            | ClosePort port -> shell.ClosePort port
            | ResolveServer url -> shell.ResolveServer url
            | ResolveName name -> shell.ResolveName name
            | Reply(command, answer) -> shell.Reply(command, answer)
            | Refuse(command, mistake) -> shell.Refuse(command, mistake)
            | Raise event -> shell.Raise event
            | Deliver(channel, text, payload) -> shell.Deliver(channel, text, payload)
            | Ignored(layer, reason) -> shell.Ignored(layer, reason)
            | Ended -> shell.Ended()

    [<CompiledName "UsernameFragments">]
    let usernameFragments (_: State) : string[] = [||]

    [<CompiledName "RequestedFragment">]
    let requestedFragment (_: ReadOnlySpan<byte>) : string voption = ValueNone
