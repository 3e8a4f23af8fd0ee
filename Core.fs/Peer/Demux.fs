namespace Hybrid.WebRtc.Core

open System

/// What a datagram is, by its first octet, RFC 7983 §7.
type internal Demux =
    | Stun = 0
    | Dtls = 1
    | TurnChannel = 2
    /// RTP or RTCP.
    | Rtp = 3
    | Unknown = 4

/// Telling protocols apart on one port.
module internal Demultiplexing =
    /// RFC 7983 §7, with QUIC's range counted as unknown.
    let kindOf (datagram: ReadOnlySpan<byte>) : Demux =
        if datagram.IsEmpty then
            Demux.Unknown
        else
            match datagram[0] with
            | first when first <= 3uy -> Demux.Stun
            | first when first >= 20uy && first <= 63uy -> Demux.Dtls
            | first when first >= 64uy && first <= 79uy -> Demux.TurnChannel
            | first when first >= 128uy && first <= 191uy -> Demux.Rtp
            | _ -> Demux.Unknown
