using System.Diagnostics;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Stack;

/// <summary>Inputs and configurations as octets and back. A case's number is for good: journals outlive releases.</summary>
internal static class InputCodec
{
    private enum Kind : byte
    {
        Tick = 0,
        Datagram = 1,
        PortOpened = 2,
        PortClosed = 3,
        PortsComplete = 4,
        ServerResolved = 5,
        ServerFailed = 6,
        NameResolved = 7,
        CreateOffer = 8,
        CreateAnswer = 9,
        SetLocalDescription = 10,
        SetRemoteDescription = 11,
        AddIceCandidate = 12,
        RestartIce = 13,
        SetConfiguration = 14,
        CreateDataChannel = 15,
        Send = 16,
        CloseChannel = 17,
        Consumed = 18,
        GetStats = 19,
        Close = 20,
        AddTransceiver = 21,
        AddTrack = 22,
        RemoveTrack = 23,
        ReplaceTrack = 24,
        SetDirection = 25,
        StopTransceiver = 26,
        SetCodecPreferences = 27,
        SetStreams = 28,
        SetParameters = 29,
        SetHeaderExtensions = 30,
        SendRtp = 31,
        SendRtcp = 32,
        RequestKeyFrame = 33,
        SetJitterBuffer = 34,
        InsertDtmf = 35,
        ListenerOpened = 36,
        StreamOpened = 37,
        StreamClosed = 38,
        WatchPairs = 39,
        AnswerNomination = 40,
        SelectCandidatePair = 41,
        RemoveCandidatePair = 42,
        CertificateVerified = 45,
    }

    /// <summary>Writes an input.</summary>
    public static void Write(JournalBuffer to, Input input)
    {
        switch (input)
        {
            case { IsTick: true }:
                to.Byte((byte)Kind.Tick);
                break;
            case Input.Datagram datagram:
                to.Byte((byte)Kind.Datagram);
                to.Path(datagram.Path);
                to.Octets(datagram.Bytes.Span);
                break;
            case Input.PortOpened opened:
                to.Byte((byte)Kind.PortOpened);
                to.Number(opened.Port);
                to.Endpoint(opened.Local);
                to.Number(opened.Preference);
                break;
            case Input.PortClosed closed:
                to.Byte((byte)Kind.PortClosed);
                to.Number(closed.Port);
                break;
            case { IsPortsComplete: true }:
                to.Byte((byte)Kind.PortsComplete);
                break;
            case Input.ServerResolved resolved:
                to.Byte((byte)Kind.ServerResolved);
                to.Text(resolved.Url);
                to.Array(resolved.Endpoints, to.Endpoint);
                break;
            case Input.ServerFailed failed:
                to.Byte((byte)Kind.ServerFailed);
                to.Text(failed.Url);
                to.Text(failed.Reason);
                break;
            case Input.NameResolved resolved:
                to.Byte((byte)Kind.NameResolved);
                to.Text(resolved.Name);
                to.Option(resolved.Address, to.Address);
                break;
            case Input.CreateOffer offer:
                to.Byte((byte)Kind.CreateOffer);
                to.Number(offer.Command);
                to.Flag(offer.IceRestart);
                break;
            case Input.CreateAnswer answer:
                to.Byte((byte)Kind.CreateAnswer);
                to.Number(answer.Command);
                break;
            case Input.SetLocalDescription local:
                to.Byte((byte)Kind.SetLocalDescription);
                to.Number(local.Command);
                to.Option(local.Description, description => Write(to, description));
                break;
            case Input.SetRemoteDescription remote:
                to.Byte((byte)Kind.SetRemoteDescription);
                to.Number(remote.Command);
                Write(to, remote.Description);
                break;
            case Input.AddIceCandidate added:
                to.Byte((byte)Kind.AddIceCandidate);
                to.Number(added.Command);
                Write(to, added.Candidate);
                break;
            case Input.RestartIce restart:
                to.Byte((byte)Kind.RestartIce);
                to.Number(restart.Command);
                break;
            case Input.SetConfiguration set:
                to.Byte((byte)Kind.SetConfiguration);
                to.Number(set.Command);
                Write(to, set.Configuration);
                break;
            case Input.WatchPairs watch:
                to.Byte((byte)Kind.WatchPairs);
                to.Flag(watch.Decides);
                break;
            case Input.AnswerNomination answer:
                to.Byte((byte)Kind.AnswerNomination);
                to.Path(answer.Path);
                to.Flag(answer.Accepted);
                break;
            case Input.SelectCandidatePair select:
                to.Byte((byte)Kind.SelectCandidatePair);
                to.Number(select.Command);
                to.Path(select.Path);
                break;
            case Input.RemoveCandidatePair remove:
                to.Byte((byte)Kind.RemoveCandidatePair);
                to.Number(remove.Command);
                to.Path(remove.Path);
                break;
            case Input.CreateDataChannel create:
                to.Byte((byte)Kind.CreateDataChannel);
                to.Number(create.Command);
                Write(to, create.Init);
                break;
            case Input.Send send:
                to.Byte((byte)Kind.Send);
                to.Number(send.Channel);
                to.Flag(send.Text);
                to.Octets(send.Payload.Span);
                break;
            case Input.CloseChannel close:
                to.Byte((byte)Kind.CloseChannel);
                to.Number(close.Channel);
                break;
            case Input.Consumed consumed:
                to.Byte((byte)Kind.Consumed);
                to.Number(consumed.Octets);
                break;
            case Input.GetStats get:
                to.Byte((byte)Kind.GetStats);
                to.Number(get.Command);
                break;
            case Input.Close close:
                to.Byte((byte)Kind.Close);
                to.Number(close.Command);
                break;
            case Input.AddTransceiver addTransceiver:
                to.Byte((byte)Kind.AddTransceiver);
                to.Number(addTransceiver.Command);
                MediaCodec.Write(to, addTransceiver.Init);
                break;
            case Input.AddTrack addTrack:
                to.Byte((byte)Kind.AddTrack);
                to.Number(addTrack.Command);
                to.Number((int)addTrack.Kind);
                to.Text(addTrack.Track);
                to.Array(addTrack.Streams, to.Text);
                break;
            case Input.RemoveTrack removeTrack:
                to.Byte((byte)Kind.RemoveTrack);
                to.Number(removeTrack.Command);
                to.Number(removeTrack.Transceiver);
                break;
            case Input.ReplaceTrack replaceTrack:
                to.Byte((byte)Kind.ReplaceTrack);
                to.Number(replaceTrack.Command);
                to.Number(replaceTrack.Transceiver);
                to.MaybeText(replaceTrack.Track);
                break;
            case Input.SetDirection setDirection:
                to.Byte((byte)Kind.SetDirection);
                to.Number(setDirection.Command);
                to.Number(setDirection.Transceiver);
                to.Number((int)setDirection.Direction);
                break;
            case Input.StopTransceiver stopTransceiver:
                to.Byte((byte)Kind.StopTransceiver);
                to.Number(stopTransceiver.Command);
                to.Number(stopTransceiver.Transceiver);
                break;
            case Input.SetCodecPreferences setCodecPreferences:
                to.Byte((byte)Kind.SetCodecPreferences);
                to.Number(setCodecPreferences.Command);
                to.Number(setCodecPreferences.Transceiver);
                to.Array(setCodecPreferences.Codecs, codec => MediaCodec.Write(to, codec));
                break;
            case Input.SetStreams setStreams:
                to.Byte((byte)Kind.SetStreams);
                to.Number(setStreams.Command);
                to.Number(setStreams.Transceiver);
                to.Array(setStreams.Streams, to.Text);
                break;
            case Input.SetParameters setParameters:
                to.Byte((byte)Kind.SetParameters);
                to.Number(setParameters.Command);
                to.Number(setParameters.Transceiver);
                to.Array(setParameters.Encodings, encoding => MediaCodec.Write(to, encoding));
                break;
            case Input.SetHeaderExtensions setHeaderExtensions:
                to.Byte((byte)Kind.SetHeaderExtensions);
                to.Number(setHeaderExtensions.Command);
                to.Number(setHeaderExtensions.Transceiver);
                to.Array(setHeaderExtensions.Extensions, extension => MediaCodec.Write(to, extension));
                break;
            case Input.SendRtp sendRtp:
                to.Byte((byte)Kind.SendRtp);
                to.Number(sendRtp.Transceiver);
                to.Number(sendRtp.Encoding);
                MediaCodec.Write(to, sendRtp.Mapping);
                MediaCodec.Write(to, sendRtp.Packets.Span);
                break;
            case Input.SendRtcp sendRtcp:
                to.Byte((byte)Kind.SendRtcp);
                to.Octets(RtcpBytes(sendRtcp.Packets));
                break;
            case Input.RequestKeyFrame requestKeyFrame:
                to.Byte((byte)Kind.RequestKeyFrame);
                to.Number(requestKeyFrame.Transceiver);
                to.Number(requestKeyFrame.Ssrc);
                break;
            case Input.SetJitterBuffer setJitterBuffer:
                to.Byte((byte)Kind.SetJitterBuffer);
                to.Number(setJitterBuffer.Transceiver);
                to.Option(setJitterBuffer.Target, target => to.Number(target));
                break;
            case Input.InsertDtmf insertDtmf:
                to.Byte((byte)Kind.InsertDtmf);
                to.Number(insertDtmf.Command);
                to.Number(insertDtmf.Transceiver);
                to.Text(insertDtmf.Tones);
                to.Number(insertDtmf.Duration);
                to.Number(insertDtmf.Gap);
                break;
            case Input.ListenerOpened opened:
                to.Byte((byte)Kind.ListenerOpened);
                to.Number(opened.Port);
                to.Endpoint(opened.Local);
                to.Number(opened.Preference);
                break;
            case Input.StreamOpened opened:
                to.Byte((byte)Kind.StreamOpened);
                to.Number(opened.Port);
                to.Endpoint(opened.Local);
                break;
            case Input.StreamClosed closed:
                to.Byte((byte)Kind.StreamClosed);
                to.Path(closed.Path);
                to.Text(closed.Reason);
                break;
            case Input.CertificateVerified verified:
                to.Byte((byte)Kind.CertificateVerified);
                to.Number(verified.Port);
                to.Option(verified.Refusal, to.Text);
                break;
            default:
                throw new UnreachableException("An input that the journal does not know.");
        }
    }

    /// <summary>Reads an input. Its octets are its own.</summary>
    public static Input Read(JournalCursor from) =>
        (Kind)from.Byte() switch
        {
            Kind.Tick => Input.Tick,
            Kind.Datagram => Input.NewDatagram(from.Path(), from.Octets()),
            Kind.PortOpened => Input.NewPortOpened(from.Int32(), from.Endpoint(), from.Int32()),
            Kind.PortClosed => Input.NewPortClosed(from.Int32()),
            Kind.PortsComplete => Input.PortsComplete,
            Kind.ServerResolved => Input.NewServerResolved(from.Text(), from.Array(from.Endpoint)),
            Kind.ServerFailed => Input.NewServerFailed(from.Text(), from.Text()),
            Kind.NameResolved => Input.NewNameResolved(from.Text(), from.Option(from.Address)),
            Kind.CreateOffer => Input.NewCreateOffer(from.Number(), from.Flag()),
            Kind.CreateAnswer => Input.NewCreateAnswer(from.Number()),
            Kind.SetLocalDescription => Input.NewSetLocalDescription(
                from.Number(),
                from.Option(() => ReadDescription(from))
            ),
            Kind.SetRemoteDescription => Input.NewSetRemoteDescription(from.Number(), ReadDescription(from)),
            Kind.AddIceCandidate => Input.NewAddIceCandidate(from.Number(), ReadCandidate(from)),
            Kind.RestartIce => Input.NewRestartIce(from.Number()),
            Kind.SetConfiguration => Input.NewSetConfiguration(from.Number(), ReadConfiguration(from)),
            Kind.CreateDataChannel => Input.NewCreateDataChannel(from.Number(), ReadChannel(from)),
            Kind.Send => Input.NewSend(from.Int32(), from.Flag(), from.Octets()),
            Kind.CloseChannel => Input.NewCloseChannel(from.Int32()),
            Kind.Consumed => Input.NewConsumed(from.Int32()),
            Kind.GetStats => Input.NewGetStats(from.Number()),
            Kind.Close => Input.NewClose(from.Number()),
            Kind.AddTransceiver => Input.NewAddTransceiver(from.Number(), MediaCodec.ReadTransceiver(from)),
            Kind.AddTrack => Input.NewAddTrack(
                from.Number(),
                (MediaKind)from.Int32(),
                from.Text(),
                from.Array(from.Text)
            ),
            Kind.RemoveTrack => Input.NewRemoveTrack(from.Number(), from.Int32()),
            Kind.ReplaceTrack => Input.NewReplaceTrack(from.Number(), from.Int32(), from.Option(from.Text)),
            Kind.SetDirection => Input.NewSetDirection(from.Number(), from.Int32(), (Direction)from.Int32()),
            Kind.StopTransceiver => Input.NewStopTransceiver(from.Number(), from.Int32()),
            Kind.SetCodecPreferences => Input.NewSetCodecPreferences(
                from.Number(),
                from.Int32(),
                from.Array(() => MediaCodec.ReadCodec(from))
            ),
            Kind.SetStreams => Input.NewSetStreams(from.Number(), from.Int32(), from.Array(from.Text)),
            Kind.SetParameters => Input.NewSetParameters(
                from.Number(),
                from.Int32(),
                from.Array(() => MediaCodec.ReadEncoding(from))
            ),
            Kind.SetHeaderExtensions => Input.NewSetHeaderExtensions(
                from.Number(),
                from.Int32(),
                from.Array(() => MediaCodec.ReadExtension(from))
            ),
            Kind.SendRtp => Input.NewSendRtp(
                from.Int32(),
                from.Int32(),
                MediaCodec.ReadMapping(from),
                MediaCodec.ReadPackets(from)
            ),
            Kind.SendRtcp => Input.NewSendRtcp(RtcpCodec.Read(from.Octets()).Item1),
            Kind.RequestKeyFrame => Input.NewRequestKeyFrame(from.Int32(), (uint)from.Number()),
            Kind.SetJitterBuffer => Input.NewSetJitterBuffer(from.Int32(), from.Option(from.Number)),
            Kind.InsertDtmf => Input.NewInsertDtmf(
                from.Number(),
                from.Int32(),
                from.Text(),
                from.Number(),
                from.Number()
            ),
            Kind.ListenerOpened => Input.NewListenerOpened(from.Int32(), from.Endpoint(), from.Int32()),
            Kind.StreamOpened => Input.NewStreamOpened(from.Int32(), from.Endpoint()),
            Kind.StreamClosed => Input.NewStreamClosed(from.Path(), from.Text()),
            Kind.WatchPairs => Input.NewWatchPairs(from.Flag()),
            Kind.AnswerNomination => Input.NewAnswerNomination(from.Path(), from.Flag()),
            Kind.SelectCandidatePair => Input.NewSelectCandidatePair(from.Number(), from.Path()),
            Kind.RemoveCandidatePair => Input.NewRemoveCandidatePair(from.Number(), from.Path()),
            Kind.CertificateVerified => Input.NewCertificateVerified(from.Int32(), from.Option(from.Text)),
            var unknown => throw new JournalException(
                $"The journal has an input of kind {(byte)unknown}, of a later release."
            ),
        };

    /// <summary>Packets of RTCP as they are on the wire.</summary>
    public static byte[] RtcpBytes(Rtcp[] packets)
    {
        var bytes = new byte[RtcpCodec.SizeAll(packets)];
        return bytes[..RtcpCodec.WriteAll(packets, bytes)];
    }

    /// <summary>The case's name, for a person to read.</summary>
    public static string NameOf(Input input)
    {
        var buffer = new JournalBuffer();
        Write(buffer, input);
        return ((Kind)buffer.Written[0]).ToString();
    }

    /// <summary>Writes a configuration.</summary>
    public static void Write(JournalBuffer to, Configuration value)
    {
        to.Array(
            value.IceServers,
            server =>
            {
                to.Array(server.Urls, to.Text);
                to.MaybeText(server.Username);
                to.MaybeText(server.Credential);
            }
        );
        to.Number((int)value.IceTransportPolicy);
        to.Number((int)value.BundlePolicy);
        to.Number(value.IceCandidatePoolSize);
        to.Array(value.Certificates, to.Text);
        to.Number((int)value.HeaderEncryption);
    }

    /// <summary>Reads a configuration.</summary>
    public static Configuration ReadConfiguration(JournalCursor from) =>
        new(
            from.Array(() => new IceServer(from.Array(from.Text), from.Option(from.Text), from.Option(from.Text))),
            (IceTransportPolicy)from.Int32(),
            (BundlePolicy)from.Int32(),
            from.Int32(),
            from.Array(from.Text),
            (HeaderEncryptionPolicy)from.Int32()
        );

    /// <summary>Writes the options of a peer.</summary>
    public static void Write(JournalBuffer to, PeerOptions value)
    {
        to.Number(value.DisconnectedAfter);
        to.Number(value.FailedAfter);
        to.Number(value.MaxDatagramSize);
        to.Number(value.MtuDiscoveryLimit);
        to.Number(value.ReceiveWindow);
        to.Number(value.MaxReceiveWindow);
        to.Number((int)value.CongestionControl);
        to.Number(value.MaxMessageSize);
        to.Number(value.SendBuffer);
        to.Number(value.StartBitrate);
        to.Number(value.MinBitrate);
        to.Number(value.MaxBitrate);
        to.Number(value.Epoch);
        to.Flag(value.KeyLog);
        to.Array(value.SrtpProfiles, profile => to.Number((int)profile));
        to.Number((int)value.Dtls.MinVersion);
        to.Number((int)value.Dtls.MaxVersion);
        to.Array(value.Dtls.Suites, suite => to.Number((int)suite));
        to.Array(value.Dtls.Groups, group => to.Number((int)group));
        to.Flag(value.IceTcp);
        to.Flag(value.RelayTcp);
        to.Flag(value.Publication.HidesAddresses);
        to.Array(
            value.Publication.Externals,
            each =>
            {
                to.Flag(each.Local.IsSome);

                if (each.Local.IsSome)
                    to.Address(each.Local.Value);

                to.Address(each.External);
                to.Flag(each.Replaces);
            }
        );
        to.Flag(value.Scope.Lite);
        to.Number((int)value.Scope.Candidates);
        to.Array(value.Scope.AllowedRemotes, prefix => to.Text(PrefixModule.ToText(prefix)));
        to.Array(value.Scope.DeniedRemotes, prefix => to.Text(PrefixModule.ToText(prefix)));
        to.Flag(value.Mobility.ContinualGathering);
        to.Flag(value.Mobility.Renomination);
        to.Number((int)value.Mobility.Restart);
    }

    /// <summary>Reads the options of a peer.</summary>
    public static PeerOptions ReadOptions(JournalCursor from) =>
        new(
            from.Number(),
            from.Number(),
            from.Int32(),
            from.Int32(),
            from.Int32(),
            from.Int32(),
            (CongestionControl)from.Int32(),
            from.Int32(),
            from.Int32(),
            from.Int32(),
            from.Int32(),
            from.Int32(),
            from.Number(),
            from.Flag(),
            from.Array(() => (SrtpProfile)from.Int32()),
            new DtlsOptions(
                (DtlsVersion)from.Int32(),
                (DtlsVersion)from.Int32(),
                from.Array(() => (CipherSuite)from.Int32()),
                from.Array(() => (NamedGroup)from.Int32())
            ),
            from.Flag(),
            from.Flag(),
            new Publication(
                from.Flag(),
                from.Array(() =>
                    new ExternalAddress(
                        from.Flag()
                            ? Microsoft.FSharp.Core.FSharpValueOption<Address>.Some(from.Address())
                            : Microsoft.FSharp.Core.FSharpValueOption<Address>.None,
                        from.Address(),
                        from.Flag()
                    )
                )
            ),
            new IceScope(
                from.Flag(),
                (CandidateKinds)from.Int32(),
                from.Array(() => PrefixModule.Parse(from.Text()).Value),
                from.Array(() => PrefixModule.Parse(from.Text()).Value)
            ),
            new MobilityOptions(from.Flag(), from.Flag(), (IceRestartPolicy)from.Int32())
        );

    /// <summary>Writes a description.</summary>
    public static void Write(JournalBuffer to, Description value)
    {
        to.Number((int)value.Type);
        to.Text(value.Sdp);
    }

    /// <summary>Writes a candidate.</summary>
    public static void Write(JournalBuffer to, CandidateInit value)
    {
        to.Text(value.Candidate);
        to.MaybeText(value.SdpMid);
        to.MaybeNumber(value.SdpMLineIndex);
        to.MaybeText(value.UsernameFragment);
    }

    /// <summary>Writes what a channel is made from.</summary>
    public static void Write(JournalBuffer to, ChannelInit value)
    {
        to.Text(value.Label);
        to.Text(value.Protocol);
        to.Flag(value.Ordered);
        to.MaybeNumber(value.MaxPacketLifeTime);
        to.MaybeNumber(value.MaxRetransmits);
        to.Flag(value.Negotiated);
        to.MaybeNumber(value.Id);
        to.Number((int)value.Priority);
    }

    private static Description ReadDescription(JournalCursor from) => new((SdpType)from.Int32(), from.Text());

    private static CandidateInit ReadCandidate(JournalCursor from) =>
        new(from.Text(), from.Option(from.Text), from.Option(from.Int32), from.Option(from.Text));

    private static ChannelInit ReadChannel(JournalCursor from) =>
        new(
            from.Text(),
            from.Text(),
            from.Flag(),
            from.Option(from.Int32),
            from.Option(from.Int32),
            from.Flag(),
            from.Option(from.Int32),
            (Priority)from.Int32()
        );
}
