using System.Collections.Concurrent;
using System.Diagnostics;

namespace Hybrid.WebRtc.Examples;

/// <summary>One page: what it sends, and what it is sent of the others. Used under the room's lock.</summary>
internal sealed class Participant(Visitor visitor)
{
    private readonly List<Outlet> _outlets = [];
    private readonly Dictionary<string, int> _widths = [];
    private readonly ConcurrentDictionary<string, long> _heard = new();

    public Visitor Visitor => visitor;

    /// <summary>All that it sends bears this stream's id at the others: by it their pages know whose it is.</summary>
    public MediaStream Stream { get; } = new();

    public string Name { get; set; } = "Somebody";

    public bool IsMuted { get; set; }

    public List<RTCRtpReceiver> Sent { get; } = [];

    /// <summary>From 0 to 1.</summary>
    public double Loudness =>
        Sent.SelectMany(receiver => receiver.GetSynchronizationSources()).Max(source => source.AudioLevel) ?? 0;

    /// <summary>The page sends something more.</summary>
    public void Sends(RTCRtpReceiver receiver)
    {
        if (Sent.Contains(receiver))
            return;
        Sent.Add(receiver);
        // A browser stops its larger pictures where the network is narrow: who watches one of those must not be left with a still.
        if (receiver.Track.Kind == MediaKind.Video)
            receiver.Track.Packets.Subscribe(burst => _heard[burst.Rid] = Stopwatch.GetTimestamp());
    }

    /// <summary>Has this page see, or hear, a track of another's.</summary>
    public void Watch(Participant other, RemoteTrack track)
    {
        if (_outlets.Exists(each => each.Source == track))
            return;
        var target = new RtpTrack(track.Kind);
        // A section of its own for each: it can be stopped when the other leaves, and its place is taken by who comes next.
        var transceiver = visitor.Peer.AddTransceiver(
            target,
            new() { Direction = RTCRtpTransceiverDirection.SendOnly, Streams = [other.Stream] }
        );
        _outlets.Add(new(other, track, track.ForwardTo(target), transceiver));
    }

    /// <summary>Another one has left.</summary>
    public void Unwatch(Participant other)
    {
        foreach (var outlet in _outlets.Where(each => each.Owner == other))
        {
            outlet.Forward.Dispose();
            outlet.Transceiver.Stop();
        }
        _outlets.RemoveAll(each => each.Owner == other);
        _widths.Remove(other.Stream.Id);
    }

    /// <summary>This one has left; its connection is closed by the host.</summary>
    public void UnwatchAll()
    {
        foreach (var outlet in _outlets)
            outlet.Forward.Dispose();
        _outlets.Clear();
    }

    /// <summary>How wide the page shows another one, in pixels.</summary>
    public void Resize(string stream, int width)
    {
        if (_outlets.Exists(each => each.Owner.Stream.Id == stream))
            _widths[stream] = width;
    }

    /// <summary>Of each of the others, the picture that fits the tile best among those that come.</summary>
    public void ChooseLayers()
    {
        foreach (var (owner, source, forward, _) in _outlets)
        {
            if (source.Kind != MediaKind.Video)
                continue;
            var width = _widths.GetValueOrDefault(owner.Stream.Id, 320);
            // The page sends 640 pixels and halves and quarters of them: see wwwroot/page.js.
            string[] wanted =
                width > 360 ? ["f", "h", "q"]
                : width > 180 ? ["h", "q", "f"]
                : ["q", "h", "f"];
            if (wanted.FirstOrDefault(owner.Sends) is { } rid && rid != forward.Rid)
                forward.SwitchTo(rid);
        }
    }

    private bool Sends(string rid) =>
        _heard.TryGetValue(rid, out var at) && Stopwatch.GetElapsedTime(at) < TimeSpan.FromSeconds(1);

    /// <summary>A track of another's on its way to this page.</summary>
    private sealed record Outlet(
        Participant Owner,
        RemoteTrack Source,
        RtpForward Forward,
        RTCRtpTransceiver Transceiver
    );
}
