using System.Diagnostics;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>What kind of output a journal's record is about.</summary>
internal enum OutputKind : byte
{
    /// <summary>A datagram as it went out.</summary>
    Transmit = 0,

    /// <summary><c>Output.OpenPorts</c>.</summary>
    OpenPorts = 1,

    /// <summary><c>Output.ClosePort</c>.</summary>
    ClosePort = 2,

    /// <summary><c>Output.ResolveServer</c>.</summary>
    ResolveServer = 3,

    /// <summary><c>Output.ResolveName</c>.</summary>
    ResolveName = 4,

    /// <summary><c>Output.Reply</c>.</summary>
    Reply = 5,

    /// <summary><c>Output.Refuse</c>.</summary>
    Refuse = 6,

    /// <summary><c>Output.Raise</c>.</summary>
    Raise = 7,

    /// <summary><c>Output.Deliver</c>.</summary>
    Deliver = 8,

    /// <summary><c>Output.Ignored</c>.</summary>
    Ignored = 9,

    /// <summary><c>Output.Ended</c>.</summary>
    Ended = 10,

    /// <summary><c>Output.DeliverRtp</c>.</summary>
    DeliverRtp = 11,

    /// <summary><c>Output.OpenStream</c>.</summary>
    OpenStream = 12,

    /// <summary><c>Output.AnnounceName</c>.</summary>
    AnnounceName = 13,

    /// <summary><c>Output.VerifyCertificate</c>.</summary>
    VerifyCertificate = 18,
}

/// <summary>Outputs as octets, one way only: they are compared, never read back. Every field takes part.</summary>
internal static class OutputCodec
{
    /// <summary>Writes an answer.</summary>
    public static void Write(JournalBuffer to, Answer answer)
    {
        switch (answer)
        {
            case { IsDone: true }:
                to.Byte(0);
                break;
            case Answer.Created created:
                to.Byte(1);
                InputCodec.Write(to, created.Item);
                break;
            case Answer.Channel channel:
                to.Byte(2);
                Write(to, channel.Item);
                break;
            case Answer.Transceiver transceiver:
                to.Byte(4);
                MediaCodec.Write(to, transceiver.Item);
                break;
            case Answer.Stats stats:
                to.Byte(3);
                Write(to, stats.Item);
                break;
            default:
                throw new UnreachableException("An answer that the journal does not know.");
        }
    }

    /// <summary>Writes a mistake.</summary>
    public static void Write(JournalBuffer to, Mistake mistake)
    {
        to.Number((int)mistake.Name);
        to.Text(mistake.Message);
        to.Number((int)mistake.Detail);
        to.MaybeNumber(mistake.SdpLine);
    }

    /// <summary>Writes an event.</summary>
    public static void Write(JournalBuffer to, Event happened)
    {
        switch (happened)
        {
            case Event.SignalingStateChanged changed:
                to.Byte(0);
                to.Number((int)changed.Item);
                break;
            case Event.DescriptionsChanged changed:
                to.Byte(1);
                to.Option(changed.Item.CurrentLocal, description => InputCodec.Write(to, description));
                to.Option(changed.Item.PendingLocal, description => InputCodec.Write(to, description));
                to.Option(changed.Item.CurrentRemote, description => InputCodec.Write(to, description));
                to.Option(changed.Item.PendingRemote, description => InputCodec.Write(to, description));
                to.Option(changed.Item.CanTrickle, to.Flag);
                break;
            case { IsNegotiationNeeded: true }:
                to.Byte(2);
                break;
            case Event.ConnectionStateChanged changed:
                to.Byte(3);
                to.Number((int)changed.Item);
                break;
            case Event.IceConnectionStateChanged changed:
                to.Byte(4);
                to.Number((int)changed.Item);
                break;
            case Event.IceGatheringStateChanged changed:
                to.Byte(5);
                to.Number((int)changed.Item);
                break;
            case Event.IceCandidate candidate:
                to.Byte(6);
                to.Option(
                    candidate.Item,
                    local =>
                    {
                        InputCodec.Write(to, local.Candidate);
                        to.MaybeText(local.Url);
                    }
                );
                break;
            case Event.IceCandidateError error:
                to.Byte(7);
                to.MaybeText(error.Item.Address);
                to.MaybeNumber(error.Item.Port);
                to.Text(error.Item.Url);
                to.Number(error.Item.Code);
                to.Text(error.Item.Text);
                break;
            case Event.IceTransportChanged changed:
                to.Byte(8);
                Write(to, changed.Item);
                break;
            case Event.DtlsTransportChanged changed:
                to.Byte(9);
                Write(to, changed.Item);
                break;
            case Event.DtlsError error:
                to.Byte(10);
                Write(to, error.Item);
                break;
            case Event.SctpTransportChanged changed:
                to.Byte(11);
                Write(to, changed.Item);
                break;
            case Event.ChannelAnnounced announced:
                to.Byte(12);
                Write(to, announced.Item);
                break;
            case Event.ChannelOpened opened:
                to.Byte(13);
                to.Number(opened.Handle);
                to.Number(opened.Id);
                break;
            case Event.ChannelClosing closing:
                to.Byte(14);
                to.Number(closing.Handle);
                break;
            case Event.ChannelClosed closed:
                to.Byte(15);
                to.Number(closed.Handle);
                to.Option(closed.Fault, fault => Write(to, fault));
                break;
            case Event.BufferedAmountFell fell:
                to.Byte(16);
                to.Number(fell.Handle);
                to.Number(fell.Octets);
                break;
            case Event.CandidatePairAdded added:
                to.Byte(29);
                Write(to, added.Item);
                break;
            case Event.CandidatePairRemoved removed:
                to.Byte(30);
                Write(to, removed.Item);
                break;
            case Event.CandidatePairNominated nominated:
                to.Byte(31);
                Write(to, nominated.Item);
                break;
            case Event.KeyLogged logged:
                to.Byte(17);
                to.Text(logged.Line);
                break;
            case Event.TransceiversChanged changed:
                to.Byte(18);
                to.Array(changed.Item, info => MediaCodec.Write(to, info));
                break;
            case Event.TracksChanged changed:
                to.Byte(19);
                to.Array(changed.Item, change => MediaCodec.Write(to, change));
                break;
            case Event.ReceiverUnmuted unmuted:
                to.Byte(20);
                to.Number(unmuted.Transceiver);
                break;
            case Event.SourceFound found:
                to.Byte(21);
                to.Number(found.Transceiver);
                to.Number(found.Ssrc);
                to.Text(found.Rid);
                break;
            case Event.RtcpReceived received:
                to.Byte(22);
                to.Octets(InputCodec.RtcpBytes(received.Item));
                break;
            case Event.KeyFrameRequested requested:
                to.Byte(23);
                to.Number(requested.Transceiver);
                to.Number(requested.Encoding);
                break;
            case Event.BitrateEstimated estimated:
                to.Byte(24);
                to.Number(estimated.BitsPerSecond);
                break;
            case Event.ToneChanged changed:
                to.Byte(25);
                to.Number(changed.Transceiver);
                to.Text(changed.Tone);
                to.Text(changed.Buffer);
                break;
            case Event.PathOverheadChanged changed:
                to.Byte(32);
                to.Number(changed.Octets);
                break;
            case Event.JitterBufferChanged changed:
                to.Byte(27);
                to.Number(changed.Transceiver);
                to.Flag(changed.IsHeld);
                break;
            case Event.PacketsDue due:
                to.Byte(28);
                to.Number(due.Transceiver);
                to.Number(due.Ssrc);
                to.Number(due.UpTo);
                break;
            case Event.ToneReceived received:
                to.Byte(26);
                to.Number(received.Transceiver);
                to.Text(received.Tone);
                to.Option(received.Duration, to.Number);
                break;
            default:
                throw new UnreachableException("An event that the journal does not know.");
        }
    }

    private static void Write(JournalBuffer to, Fault fault)
    {
        to.Number((int)fault.Layer);
        to.Number((int)fault.Detail);
        to.Text(fault.Reason);
        to.Option(fault.ReceivedAlert, to.Byte);
        to.Option(fault.SentAlert, to.Byte);
        to.Option(fault.SctpCauseCode, code => to.Number(code));
    }

    private static void Write(JournalBuffer to, ChannelInfo channel)
    {
        to.Number(channel.Handle);
        InputCodec.Write(to, channel.Init);
    }

    private static void Write(JournalBuffer to, IceTransportInfo ice)
    {
        to.Number((int)ice.State);
        to.Number((int)ice.Gathering);
        to.Number((int)ice.Role);
        to.Option(ice.LocalParameters, parameters => Write(to, parameters));
        to.Option(ice.RemoteParameters, parameters => Write(to, parameters));
        to.Array(ice.LocalCandidates, candidate => to.Text(CandidateModule.ToText(candidate)));
        to.Array(
            ice.LocalServers,
            each =>
            {
                to.Text(CandidateModule.ToText(each.Item1));
                to.Text(each.Item2);
            }
        );
        to.Array(ice.RemoteCandidates, candidate => to.Text(CandidateModule.ToText(candidate)));
        to.Option(ice.SelectedPair, pair => Write(to, pair));
    }

    private static void Write(JournalBuffer to, CandidatePair pair)
    {
        to.Text(CandidateModule.ToText(pair.Local));
        to.Text(CandidateModule.ToText(pair.Remote));
        to.Path(pair.Path);
    }

    private static void Write(JournalBuffer to, IceParameters parameters)
    {
        to.Text(parameters.UsernameFragment);
        to.Text(parameters.Password);
    }

    private static void Write(JournalBuffer to, DtlsTransportInfo dtls)
    {
        to.Number((int)dtls.State);
        to.Array(dtls.RemoteCertificates, certificate => to.Octets(certificate));
        to.Text(dtls.Version);
        to.Text(dtls.CipherSuite);
        to.Text(dtls.Group);
        to.Text(dtls.Role);
    }

    private static void Write(JournalBuffer to, SctpTransportInfo sctp)
    {
        to.Number((int)sctp.State);
        to.Number(sctp.MaxMessageSize);
        to.MaybeNumber(sctp.MaxChannels);
    }

    private static void Write(JournalBuffer to, Statistics stats)
    {
        to.Number(stats.At);
        Write(to, stats.Ice);
        Write(to, stats.Dtls);
        Write(to, stats.Sctp);
        to.Option(stats.Association, association => Write(to, association));
        to.Array(stats.Pairs, pair => Write(to, pair));
        to.Array(stats.Channels, channel => Write(to, channel));
        MediaStatsCodec.Write(to, stats.Media);
        to.Number(stats.ChannelsOpened);
        to.Number(stats.ChannelsClosed);
        to.Number(stats.PacketsSent);
        to.Number(stats.BytesSent);
        to.Number(stats.PacketsReceived);
        to.Number(stats.BytesReceived);
        to.Array(
            stats.Drops,
            drop =>
            {
                to.Number((int)drop.Layer);
                to.Number((int)drop.Reason);
                to.Number(drop.Count);
            }
        );
    }

    private static void Write(JournalBuffer to, SctpStats association)
    {
        to.Option(association.SmoothedRoundTripTime, to.Number);
        to.Number(association.CongestionWindow);
        to.Number(association.PeerReceiverWindow);
        to.Number(association.Mtu);
        to.Number(association.BufferedAmount);
        to.Number(association.Retransmissions);
    }

    private static void Write(JournalBuffer to, CandidatePairStats pair)
    {
        to.Text(pair.Local);
        to.Text(pair.Remote);
        to.Text(pair.State);
        to.Flag(pair.Nominated);
        to.Number(pair.RequestsSent);
        to.Number(pair.RequestsReceived);
        to.Number(pair.ResponsesSent);
        to.Number(pair.ResponsesReceived);
        to.Number(pair.ConsentRequestsSent);
        to.Option(pair.CurrentRoundTripTime, to.Number);
        to.Number(pair.TotalRoundTripTime);
        to.Number(pair.PacketsSent);
        to.Number(pair.BytesSent);
        to.Number(pair.PacketsReceived);
        to.Number(pair.BytesReceived);
        to.Option(pair.LastPacketSentAt, to.Number);
        to.Option(pair.LastPacketReceivedAt, to.Number);
    }

    private static void Write(JournalBuffer to, ChannelStats channel)
    {
        to.Number(channel.Handle);
        to.Text(channel.Label);
        to.Text(channel.Protocol);
        to.MaybeNumber(channel.Id);
        to.Text(channel.State);
        to.Number(channel.MessagesSent);
        to.Number(channel.BytesSent);
        to.Number(channel.MessagesReceived);
        to.Number(channel.BytesReceived);
    }
}
