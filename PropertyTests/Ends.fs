namespace Hybrid.WebRtc.PropertyTests

open System
open Hybrid.WebRtc.Core

/// One end of the simulated internet: a whole peer on a host with interfaces.
type End =
    {
        Peer: Peer.State
        /// Addresses of the host's interfaces.
        Interfaces: Address list
        /// Bound sockets, and where they are bound.
        Ports: Map<PortId, Endpoint>
        /// Whether it listens for TCP beside each socket, and where it does.
        Listens: bool
        Listeners: Map<PortId, Endpoint>
        /// What the peer raised, newest first.
        Events: Event list
        /// Channel, text or not, payload: newest first.
        Messages: struct (ChannelHandle * bool * byte[]) list
        MessageCount: int
        /// Packets of RTP as they were delivered, the last one first.
        Rtp: struct (Instant * TransceiverId * string * Hybrid.WebRtc.Rtp.RtpPacket) list
        /// What the requests that tests made were answered.
        Replies: Map<CommandId, Result<Answer, Mistake>>
        /// Whether delivered messages are consumed at once; false: they fill the window.
        Consumes: bool
        Ignored: int
        HasEnded: bool
        Schedule: Schedule voption
        /// What came while the end's process did not run, newest first.
        Held: struct (Path * byte[]) list
    }

[<RequireQualifiedAccess>]
module End =
    let private ciphers = Hybrid.WebRtc.Stack.SystemCiphers.Shared

    let private identity =
        lazy
            (let certificate = Hybrid.WebRtc.Stack.Certificate.Default

             { Certificate = certificate.Der
               Key = certificate.Key }
             : Identity)

    /// Everything by default, and no media.
    let config: PeerConfig =
        { Ciphers = ciphers
          Identity = identity.Value
          Configuration = Configurations.defaults
          Capabilities = Capabilities.none
          Options = Peer.defaultOptions }

    /// A peer whose seed is drawn.
    let peer (config: PeerConfig) (entropy: Entropy) =
        let struct (seed, _) = Entropy.bytes Entropy.SeedSize entropy

        match Peer.create (ReadOnlyMemory seed) config with
        | Ok peer -> peer
        | Error mistake -> failwith mistake.Message

    /// A host before anything has happened.
    let create (config: PeerConfig) (entropy: Entropy) (interfaces: Address list) : End =
        { Peer = peer config entropy
          Interfaces = interfaces
          Ports = Map.empty
          Listens = false
          Listeners = Map.empty
          Events = []
          Messages = []
          MessageCount = 0
          Rtp = []
          Replies = Map.empty
          Consumes = true
          Ignored = 0
          HasEnded = false
          Schedule = ValueNone
          Held = [] }

    /// Channels that it was told are open, in that order.
    let openChannels (e: End) : ChannelHandle list =
        List.rev e.Events
        |> List.choose (function
            | ChannelOpened(handle, _) -> Some handle
            | ChannelAnnounced info -> Some info.Handle
            | _ -> None)

    /// The connection state that it was told last.
    let connection (e: End) : PeerConnectionState =
        e.Events
        |> List.tryPick (function
            | ConnectionStateChanged state -> Some state
            | _ -> None)
        |> Option.defaultValue PeerConnectionState.New
