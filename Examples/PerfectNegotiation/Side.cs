using System.Threading.Channels;
using Hybrid.WebRtc;

/// <summary>
/// One side of perfect negotiation, <see href="https://www.w3.org/TR/webrtc/#perfect-negotiation-example">WebRTC §10.7</see>. Both sides
/// run this same code, and either may change the connection at any time; only <paramref name="polite"/> differs. When both have made
/// an offer at once, the impolite side ignores the other's, and the polite side takes its own back and answers.
/// </summary>
internal sealed class Side : IAsyncDisposable
{
    private readonly bool _polite;
    private readonly ChannelWriter<Signal> _signalling;
    private bool _makingOffer;

    public Side(string name, bool polite, ChannelWriter<Signal> signalling)
    {
        Name = name;
        _polite = polite;
        _signalling = signalling;
        Peer = new RTCPeerConnection(options: new WebRtcOptions { IncludeLoopback = true });
        Peer.OnNegotiationNeeded.Subscribe(_ => Offer());
        Peer.OnIceCandidate.Subscribe(e =>
        {
            if (e.Candidate is { } candidate)
                signalling.TryWrite(new Signal(Candidate: candidate.ToInit()));
        });
    }

    public string Name { get; }

    public RTCPeerConnection Peer { get; }

    /// <summary>How many offers of the other side collided with ours.</summary>
    public int Collisions { get; private set; }

    /// <summary>Why this side stopped; null while it runs.</summary>
    public Exception? Fault { get; private set; }

    private async void Offer()
    {
        try
        {
            _makingOffer = true;
            // Without an argument it makes what is due: an offer, or an answer if the other side's offer came first.
            await Peer.SetLocalDescriptionAsync();
            _signalling.TryWrite(new Signal(Description: Peer.LocalDescription));
        }
        catch (RTCException e)
        {
            Fault = e;
        }
        finally
        {
            _makingOffer = false;
        }
    }

    /// <summary>Takes what the other side signalled, one message after the other, in order.</summary>
    public async Task ListenAsync(ChannelReader<Signal> signalling, CancellationToken stop)
    {
        await foreach (var signal in signalling.ReadAllAsync(stop))
        {
            if (signal.Description is { } description)
            {
                var collides =
                    description.Type == RTCSdpType.Offer
                    && (_makingOffer || Peer.SignalingState != RTCSignalingState.Stable);

                if (collides)
                {
                    Collisions++;
                    Console.WriteLine($"{Name, -6} offers collided: {(_polite ? "mine gives way" : "mine stands")}");
                }

                if (collides && !_polite)
                    continue;

                // On a collision this rolls our own offer back, implicitly. The core offers anew once the other's is answered.
                await Peer.SetRemoteDescriptionAsync(description);

                if (description.Type == RTCSdpType.Offer)
                {
                    await Peer.SetLocalDescriptionAsync();
                    _signalling.TryWrite(new Signal(Description: Peer.LocalDescription));
                }
            }
            else if (signal.Candidate is { } candidate)
            {
                try
                {
                    await Peer.AddIceCandidateAsync(candidate);
                }
                catch (RTCException)
                {
                    // It belongs to an offer that we ignored, or that the other side has taken back since: its candidates
                    // come from another thread than its descriptions, and may arrive behind the next one.
                }
            }
        }
    }

    public ValueTask DisposeAsync() => Peer.DisposeAsync();
}

/// <summary>A message of the signalling channel: a description or a candidate.</summary>
internal sealed record Signal(RTCSessionDescription? Description = null, RTCIceCandidateInit? Candidate = null);
