namespace Hybrid.WebRtc.Core

open System

/// What getStats tells of media.
[<RequireQualifiedAccess>]
module internal MediaReports =
    let private repairing (kind: PayloadKind) (stream: ReceiveStream) (s: MediaState) : ReceiveStream option =
        s.Receivers
        |> Array.tryFind (fun other ->
            other.Kind = kind
            && other.Transceiver = stream.Transceiver
            && other.Rid = stream.Rid)

    let private ssrc (stream: ReceiveStream option) : uint32 =
        match stream with
        | Some stream -> stream.Ssrc
        | None -> 0u

    let private inbound (s: MediaState) (stream: ReceiveStream) : InboundRtpStats =
        let codecs =
            match MediaState.section stream.Transceiver s with
            | ValueSome section -> section.Plan.ReceiveCodecs
            | ValueNone -> [||]

        let held =
            match stream.Parts.Jitter with
            | ValueSome jitter -> jitter.Counters
            | ValueNone -> JitterBuffer.none

        let struct (fecPackets, fecOctets, fecDiscarded) = ReceiveStream.fec stream
        let rtx = repairing PayloadKind.Retransmission stream s

        let struct (padding, paddingOctets) =
            match rtx with
            | Some rtx -> struct (rtx.Counts.Packets, rtx.Counts.HeaderOctets)
            | None -> struct (0L, 0L)

        { Transceiver = stream.Transceiver
          Ssrc = stream.Ssrc
          Rid = stream.Rid
          RtxSsrc = ssrc rtx
          FecSsrc = ssrc (repairing PayloadKind.FlexFec stream s)
          Codec = MediaSection.codec stream.PayloadType codecs
          PacketsReceived = stream.Counts.Packets + padding
          PacketsLost = Reception.lost stream.Reception
          Jitter = stream.Reception.Jitter
          BytesReceived = stream.Counts.Octets
          HeaderBytesReceived = stream.Counts.HeaderOctets + paddingOctets
          LastPacketAt =
            (if stream.Counts.Packets = 0L then
                 ValueNone
             else
                 ValueSome stream.At)
          // By a jitter buffer: what comes twice does not count, webrtc-stats.
          PacketsDiscarded = held.Discarded
          FecPacketsReceived = fecPackets
          FecBytesReceived = fecOctets
          FecPacketsDiscarded = fecDiscarded
          RetransmittedPacketsReceived = stream.Asked.RtxPackets
          RetransmittedBytesReceived = stream.Asked.RtxOctets
          NackCount = stream.Asked.Nacks
          FirCount = stream.Asked.Firs
          PliCount = stream.Asked.Plis
          FramesReceived = stream.Counts.Frames
          JitterBufferDelay = held.Delay
          JitterBufferTargetDelay = held.TargetDelay
          JitterBufferMinimumDelay = held.MinimumDelay
          JitterBufferEmitted = held.Emitted
          AudioLevel =
            (if stream.AudioLevel = 255uy then
                 ValueNone
             else
                 ValueSome(int stream.AudioLevel))
          RemoteSender = stream.Remote }

    let private outbound (s: MediaState) (stream: SendStream) : OutboundRtpStats =
        let terms = stream.Terms
        let counts = stream.Counts

        let struct (fecPackets, fecOctets, fecHeaders) =
            match stream.Fec with
            | null -> struct (0L, 0L, 0L)
            | fec -> struct (fec.Packets, fec.Octets, fec.HeaderOctets)

        { Transceiver = terms.Transceiver
          Encoding = terms.Encoding
          Rid = terms.Parameters.Rid
          Ssrc = terms.Ssrc
          RtxSsrc = terms.RtxSsrc
          FecSsrc = terms.FecSsrc
          Active = terms.IsOpen
          Codec = MediaSection.codec stream.PayloadType terms.Codecs
          // Retransmissions count, too, webrtc-stats; so does FEC in Chromium.
          PacketsSent = counts.Packets + stream.Repairs.Packets + fecPackets
          BytesSent = counts.Octets + stream.Repairs.Octets + fecOctets
          HeaderBytesSent = counts.HeaderOctets + stream.Repairs.HeaderOctets + fecHeaders
          RetransmittedPacketsSent = stream.Repairs.Packets
          RetransmittedBytesSent = stream.Repairs.Octets
          FecPacketsSent = fecPackets
          FecBytesSent = fecOctets
          TargetBitrate =
            (if s.Path.HasBegun then
                 ValueSome(int64 (float (Gcc.current s.Path.Gcc).Target * MediaState.mediaShare s))
             else
                 ValueNone)
          FramesSent = counts.Frames
          HugeFramesSent = counts.HugeFrames
          TotalPacketSendDelay = counts.Delay
          NackCount = stream.Repairs.Nacks
          FirCount = stream.Repairs.Firs
          PliCount = stream.Repairs.Plis
          RemoteReceiver = stream.Remote }

    let statistics (s: MediaState) : MediaStatistics =
        { Inbound =
            s.Receivers
            |> Array.filter (fun stream -> stream.Kind = PayloadKind.Media)
            |> Array.map (inbound s)
          Outbound = s.Senders |> Array.map (outbound s)
          AvailableOutgoingBitrate =
            (if s.Path.HasBegun then
                 ValueSome(int64 (Gcc.current s.Path.Gcc).Target)
             else
                 ValueNone)
          SrtpCipher =
            (match s.Secrets with
             | ValueSome secrets -> Srtp.profileName secrets.Profile
             | ValueNone -> "")
          CcfbSent = s.Control.CcfbSent
          CcfbReceived = s.Control.CcfbReceived }
