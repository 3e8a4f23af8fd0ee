using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>Two peers of this process, connected over UDP on the loopback interface, with one channel between them.</summary>
internal sealed class Pair : IAsyncDisposable
{
    private static readonly WebRtcOptions _options = new() { IncludeLoopback = true };
    private readonly RTCPeerConnection _alice = new(options: _options);
    private readonly RTCPeerConnection _bob = new(options: _options);

    private Pair(RTCDataChannelInit init)
    {
        // Negotiated: both ends exist before the connection does, so nothing is missed and nothing is waited for.
        init = init with
        {
            Negotiated = true,
            Id = 1,
        };
        Alice = _alice.CreateDataChannel("benchmark", init);
        Bob = _bob.CreateDataChannel("benchmark", init);
    }

    public RTCDataChannel Alice { get; }

    public RTCDataChannel Bob { get; }

    /// <summary>Connects two new peers: descriptions, ICE, DTLS, SCTP, an open channel at both ends.</summary>
    public static async Task<Pair> ConnectAsync(RTCDataChannelInit init, CancellationToken stop)
    {
        var pair = new Pair(init);
        await pair._alice.SetLocalDescriptionAsync();
        await pair._alice.GatheringCompleteAsync(stop);
        await pair._bob.SetRemoteDescriptionAsync(pair._alice.LocalDescription!);
        await pair._bob.SetLocalDescriptionAsync();
        await pair._bob.GatheringCompleteAsync(stop);
        await pair._alice.SetRemoteDescriptionAsync(pair._bob.LocalDescription!);
        await pair.Alice.WaitForOpenAsync(stop);
        await pair.Bob.WaitForOpenAsync(stop);
        return pair;
    }

    public async ValueTask DisposeAsync()
    {
        await _alice.DisposeAsync();
        await _bob.DisposeAsync();
    }
}
