namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>Two peers of this process, connected over UDP on the loopback interface, with one channel between them.</summary>
internal sealed class Pair : IAsyncDisposable
{
    private readonly RTCPeerConnection _alice;
    private readonly RTCPeerConnection _bob;

    private Pair(WebRtcOptions alice, WebRtcOptions bob, RTCDataChannelInit init)
    {
        _alice = new RTCPeerConnection(options: alice);
        _bob = new RTCPeerConnection(options: bob);
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
    public static Task<Pair> ConnectAsync(WebRtcOptions options, RTCDataChannelInit init, CancellationToken stop) =>
        ConnectAsync(options, options, init, stop);

    /// <summary>The same with options for each.</summary>
    public static async Task<Pair> ConnectAsync(
        WebRtcOptions alice,
        WebRtcOptions bob,
        RTCDataChannelInit init,
        CancellationToken stop
    )
    {
        var pair = new Pair(alice, bob, init);
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

    /// <summary>The version of DTLS that was agreed on.</summary>
    public string? Version => _alice.Sctp?.Transport.Version;

    /// <summary>Bob's username fragment, which checks to him begin with.</summary>
    public string Fragment =>
        _bob.LocalDescription!.Sdp.Split("\r\n").First(l => l.StartsWith("a=ice-ufrag:", StringComparison.Ordinal))[
            12..
        ];

    /// <summary>The association's figures at the sending end.</summary>
    public async Task<RTCSctpTransportStats> AssociationAsync() =>
        (await _alice.GetStatsAsync()).Values.OfType<RTCSctpTransportStats>().Single();

    public async ValueTask DisposeAsync()
    {
        await _alice.DisposeAsync();
        await _bob.DisposeAsync();
    }
}
