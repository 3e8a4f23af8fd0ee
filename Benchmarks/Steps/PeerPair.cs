using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>Two whole peers in memory, connected, with one channel: every layer, and neither socket nor thread.</summary>
internal sealed class PeerPair
{
    private const int Port = 1;

    private readonly Endpoint[] _at =
    [
        new(AddressModule.parse("192.0.2.1").Value, 50_001),
        new(AddressModule.parse("198.51.100.1").Value, 50_002),
    ];
    private readonly Peer.State[] _ends;
    private readonly string[] _sdp = ["", ""];
    private readonly int[] _channel = new int[2];
    private readonly bool[] _isOpen = new bool[2];
    private readonly Queue<(int To, byte[] Bytes)> _underWay = new();

    public PeerPair(Setting setting)
    {
        var certificate = Certificate.Default;
        var config = new PeerConfig(
            setting.Ciphers,
            new Identity(certificate.Der, certificate.Key),
            Configurations.Default,
            Capabilities.None,
            Peer.DefaultOptions
        );
        _ends = [Create(config, 1), Create(config, 2)];
        Connect();
    }

    /// <summary>Virtual time, microseconds.</summary>
    public long Now { get; private set; } = 1_000_000;

    /// <summary>Packets that the last steps asked to send, while <see cref="Holds"/>.</summary>
    public List<Packet> Held { get; } = [];

    /// <summary>Whether packets are kept as they are described, instead of written and delivered.</summary>
    public bool Holds { get; set; }

    /// <summary>Octets of messages that have been delivered.</summary>
    public long Delivered { get; private set; }

    public long Deadline(int end) => Peer.Deadline(_ends[end]);

    /// <summary>Time goes on to what is due first at either end, at most to `until`.</summary>
    public void Wait(long until) => Now = Math.Clamp(Math.Min(Deadline(0), Deadline(1)), Now, until);

    public void Tick(int end)
    {
        if (Deadline(end) <= Now)
            Step(end, Input.Tick);
    }

    /// <summary>Alice sends.</summary>
    public void Send(byte[] payload) => Step(0, Input.NewSend(_channel[0], false, payload));

    /// <summary>An end gets a datagram from the other.</summary>
    public void Receive(int end, Memory<byte> datagram) =>
        Step(end, Input.NewDatagram(new Core.Path(Port, _at[1 - end]), datagram));

    private static Peer.State Create(PeerConfig config, byte seed)
    {
        var entropy = new byte[32];
        entropy[0] = seed;
        return Peer.Create(entropy, config).ResultValue;
    }

    /// <summary>Descriptions with all their candidates, then time until the channel is open at both ends.</summary>
    private void Connect()
    {
        for (var end = 0; end < 2; end++)
            Step(end, Input.NewCreateDataChannel(1, ChannelSteps.Negotiated));

        Step(0, Input.NewSetLocalDescription(2, default));
        Step(1, Input.NewSetRemoteDescription(3, new Description(SdpType.Offer, _sdp[0])));
        Step(1, Input.NewSetLocalDescription(4, default));
        Step(0, Input.NewSetRemoteDescription(5, new Description(SdpType.Answer, _sdp[1])));

        for (var turn = 0; !_isOpen[0] || !_isOpen[1]; turn++)
        {
            if (turn > 10_000)
                throw new InvalidOperationException("The peers did not connect.");
            Wait(long.MaxValue);
            Tick(0);
            Tick(1);
            while (_underWay.TryDequeue(out var next))
                Receive(next.To, next.Bytes);
        }
    }

    private void Step(int end, Input input)
    {
        var (state, outputs) = Peer.Step(Now, input, _ends[end]);
        _ends[end] = state;
        var consumed = 0;

        for (; !outputs.IsEmpty; outputs = outputs.Tail)
        {
            switch (outputs.Head)
            {
                case Output.Transmit transmit when Holds:
                    Held.Add(transmit.Packet);
                    break;
                case Output.Transmit transmit:
                    var bytes = new byte[transmit.Packet.Size];
                    transmit.Packet.Write(bytes);
                    _underWay.Enqueue((1 - end, bytes));
                    break;
                case Output.Deliver delivered:
                    consumed += delivered.Payload.Length;
                    break;
                case Output.Raise { Event: var raised }:
                    Raised(end, raised);
                    break;
                case Output.Reply { Answer: Answer.Channel { Item: var channel } }:
                    _channel[end] = channel.Handle;
                    break;
                case Output.Refuse { Mistake: var mistake }:
                    throw new InvalidOperationException(mistake.Message);
                case { IsOpenPorts: true }:
                    Step(end, Input.NewPortOpened(Port, _at[end], 100));
                    Step(end, Input.PortsComplete);
                    break;
            }
        }

        if (consumed == 0)
            return;
        Delivered += consumed;
        Step(end, Input.NewConsumed(consumed));
    }

    private void Raised(int end, Event raised)
    {
        if (raised is Event.ChannelOpened)
            _isOpen[end] = true;
        if (raised is not Event.DescriptionsChanged { Item: var descriptions })
            return;
        var local = descriptions.PendingLocal.IsSome ? descriptions.PendingLocal : descriptions.CurrentLocal;
        if (local.IsSome)
            _sdp[end] = local.Value.Sdp;
    }
}
