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

/// Two peers, `'a'` and `'b'`, with an Internet of weather, NATs and STUN servers between them, and signalling that is
/// instantaneous and ordered. A machine too: the same seed tells the same story.
type World =
    {
        Now: Instant
        Net: Internet
        Tcp: Tcp<char>
        /// The STUN server that any name resolves to.
        Server: Endpoint voption
        Forger: Forger voption
        Ends: Map<char, End>
        NextPort: int
        NextCommand: CommandId
        /// Candidates that came before the description they go with, newest first: to whom, and what.
        Mail: (char * CandidateInit) list
        /// Every input, newest first: a journal in memory.
        Story: struct (Instant * char * Input) list
        /// Steps taken, so that a world that spins is caught.
        Steps: int
    }
