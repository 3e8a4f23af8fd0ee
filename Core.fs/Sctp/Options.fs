namespace Hybrid.WebRtc.Core

open System

/// How hard a message is to be tried, RFC 3758, RFC 7496, RFC 8831 §6.1.
[<Struct; NoComparison>]
type Reliability =
    /// Until it arrives, or the association ends.
    | Reliable
    /// Each of its chunks is sent at most `times` + 1 times, RFC 7496 §3.2.
    | MaxRetransmits of times: int
    /// Not sent again once this long has gone by since it was queued, RFC 3758 §4.1.
    | MaxLifetime of lifetime: Duration

/// A message for the peer.
[<NoComparison; NoEquality>]
type OutgoingMessage =
    {
        Stream: uint16
        /// Payload protocol identifier, RFC 8831 §8.
        Ppid: uint32
        Ordered: bool
        Reliability: Reliability
        /// RFC 8832 §5.1's scale: 128, 256, 512, 1024. What streams have to send goes out in shares of these weights,
        /// RFC 8260 §3.6; 0 counts as 1.
        Priority: uint16
        /// At least one octet. The machine's own from now on: it is referred to until it is acknowledged.
        Payload: ReadOnlyMemory<byte>
    }

/// Times of the protocol. RFC defaults beside each, and why ours differ.
[<NoComparison>]
type SctpTimes =
    {
        /// RTO.Initial, RFC 9260 §16: 1 s. Ours 500 ms: ICE and DTLS have just measured the path to be shorter.
        RtoInitial: Duration
        /// RTO.Min: 1 s. Ours 400 ms: more than the 200 ms that a peer may delay a SACK, and channels are interactive.
        RtoMin: Duration
        /// RTO.Max: 60 s. Ours 3 s: ICE's consent (RFC 7675) ends a dead path, and a live one is soon found again.
        RtoMax: Duration
        /// SACK.Delay: 200 ms. Ours 50 ms: a sender with one packet under way waits for it.
        SackDelay: Duration
        /// HB.interval: 30 s.
        HeartbeatInterval: Duration
        /// Valid.Cookie.Life: 60 s.
        CookieLifetime: Duration
    }

/// How the congestion window grows and shrinks.
type CongestionControl =
    /// RFC 9438: finds its way back to where congestion was met, in a time that does not depend on the round trip.
    | Cubic = 0
    /// RFC 9260 §7.2: a packet a round trip, and half of it where there is loss.
    | NewReno = 1
    /// RFC 6817: takes what others leave, and has a queue of 30 ms at most. Beside media every association is like that.
    | Ledbat = 2

/// Counts that bound the protocol.
[<NoComparison>]
type SctpLimits =
    {
        /// Association.Max.Retrans, RFC 9260 §16: 10. Ours 40: two minutes at RTO.Max, so that ICE's consent, which
        /// expires after 30 s, decides first; after it no time passes for the association until there is a path again.
        MaxRetransmissions: int
        /// Max.Init.Retransmits: 8. Ours 40, for the same reason.
        MaxInitRetransmits: int
        /// Packets in one burst. RFC 9260's Max.Burst is 4 for each SACK; ours are paced, and 54 packets are what a kernel
        /// sends at once (UDP_SEGMENT).
        MaxBurst: int
        /// Streams either way, RFC 8831 §6.2: 65,535. A peer may offer fewer.
        Streams: uint16
    }

/// What an association is made of, given once. `SctpConfig.create` has the defaults.
[<NoComparison; NoEquality>]
type SctpConfig =
    {
        Ciphers: ICiphers
        /// `a=sctp-port`, RFC 8841 §5: 5000.
        LocalPort: uint16
        /// The peer's `a=sctp-port`.
        RemotePort: uint16
        /// BASE_PLPMTU, RFC 8899 §5.1.2: octets of the largest SCTP packet sent before more is known of the path. 1,160:
        /// 1,200 octets of UDP payload.
        Mtu: int
        /// MAX_PLPMTU: octets of the largest SCTP packet that discovery may find. 1,432: 1,472 octets of UDP payload, as
        /// Ethernet has it. `Mtu` where nothing is to be discovered.
        MaxMtu: int
        /// Octets that every packet has around it on the first path, beside what `Mtu` and `MaxMtu` reckon with: a relay's
        /// header. 0.
        Overhead: int
        /// Whether packets come and go without a checksum, where the peer agrees: DTLS has one, RFC 9653. True.
        ZeroChecksum: bool
        /// Octets that may wait for the application or for missing pieces, RFC 9260 §3.3.2 a_rwnd. 8 MiB; raised to
        /// twice `MaxMessageSize` where it is less.
        ReceiveWindow: int
        /// What the receive window may grow to while the application keeps up with a peer that fills it in a round trip.
        /// 32 MiB: 1 Gbit/s at 200 ms, and some.
        MaxReceiveWindow: int
        /// Octets of the largest message taken from the peer; a larger one ends the association. 262,144.
        MaxMessageSize: int
        CongestionControl: CongestionControl
        /// Offer I-DATA, RFC 8260: a small message need not wait for a large one on another stream. True.
        Interleaving: bool
        Times: SctpTimes
        Limits: SctpLimits
    }

/// Configurations of associations.
[<RequireQualifiedAccess>]
module SctpConfig =
    /// Octets of the largest SCTP packet in a UDP payload: a DTLS 1.2 record with AES-GCM takes 37 of it, and chunks end
    /// on multiples of 4.
    let packetIn (datagram: int) : int = (datagram - 37) &&& ~~~3

    /// With sizes that leave room for `Overhead`.
    let internal narrowed (config: SctpConfig) : SctpConfig =
        if config.Overhead = 0 then
            config
        else
            { config with
                Mtu = (config.Mtu - config.Overhead) &&& ~~~3
                MaxMtu = (config.MaxMtu - config.Overhead) &&& ~~~3 }

    /// Another one's sizes, and in all else the same.
    let internal wrappedAs (sizes: SctpConfig) (config: SctpConfig) : SctpConfig =
        { config with
            Mtu = sizes.Mtu
            MaxMtu = sizes.MaxMtu
            Overhead = sizes.Overhead }

    /// All defaults.
    let create (ciphers: ICiphers) : SctpConfig =
        { Ciphers = ciphers
          LocalPort = 5000us
          RemotePort = 5000us
          Mtu = packetIn 1200
          MaxMtu = packetIn 1472
          Overhead = 0
          ZeroChecksum = true
          ReceiveWindow = 8 * 1024 * 1024
          MaxReceiveWindow = 32 * 1024 * 1024
          MaxMessageSize = 262_144
          CongestionControl = CongestionControl.Cubic
          Interleaving = true
          Times =
            { RtoInitial = Duration.milliseconds 500L
              RtoMin = Duration.milliseconds 400L
              RtoMax = Duration.seconds 3L
              SackDelay = Duration.milliseconds 50L
              HeartbeatInterval = Duration.seconds 30L
              CookieLifetime = Duration.seconds 60L }
          Limits =
            { MaxRetransmissions = 40
              MaxInitRetransmits = 40
              MaxBurst = 54
              Streams = 65535us } }

/// What happens to an association.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type SctpInput =
    | Tick
    /// One packet, lent for the step.
    | Received of packet: ReadOnlyMemory<byte>
    /// Send INIT. Both ends do: the collision of RFC 9260 §5.2.1 is the normal case.
    | Connect
    | Send of OutgoingMessage
    /// Reset these outgoing streams, RFC 6525 §5.1.2, each once what was queued before is sent and acknowledged.
    | Reset of streams: uint16[]
    /// The application took this many octets of delivered messages: the window opens.
    | Consumed of bytes: int
    /// Packets take another way from now on, of which nothing is known but its overhead, RFC 9260 §7.3; see `SctpConfig`.
    | PathChanged of overhead: int
    /// Packets go the same way with another overhead; see `SctpConfig`.
    | Wrapped of overhead: int
    /// Media leaves by the same path, and is expected to do so until then: the association gives way to it.
    | Beside of until: Instant
    /// Close once all is delivered, RFC 9260 §9.2.
    | Shutdown
    /// Close at once with cause 12, RFC 9260 §9.1; browsers say "Close called".
    | Abort of reason: string

/// What an association asks of the outside.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type SctpOutput =
    | Transmit of SctpPacket
    /// Data may flow. Said again where the peer restarted, RFC 9260 §5.2.4: what was under way is lost.
    | Established of outboundStreams: int * inboundStreams: int
    /// A whole message, the receiver's own.
    | Message of stream: uint16 * ppid: uint32 * payload: ReadOnlyMemory<byte>
    /// Octets of the application that left the send queue: sent for the first time, or given up.
    | Transmitted of stream: uint16 * bytes: int
    /// The peer reset these of its outgoing streams, and all that it sent on them before has been delivered.
    /// No streams means all of them, RFC 6525 §4.1.
    | IncomingReset of streams: uint16[]
    /// These of our streams begin anew (`ok`), or the peer would not have it.
    | OutgoingReset of streams: uint16[] * ok: bool
    /// Shut down, or aborted by us.
    | Closed
    | Failed of Fault
    | Ignored of Drop
