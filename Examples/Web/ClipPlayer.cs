using System.Diagnostics;

namespace Hybrid.WebRtc.Examples;

/// <summary>Plays a clip over and over, as fast as it was made, on tracks that may be added to any number of connections.</summary>
public sealed class ClipPlayer
{
    private readonly Clip _clip;
    private volatile bool _keyFrameIsWanted;

    public ClipPlayer(Clip clip)
    {
        _clip = clip;
        Video = clip.VideoType is { } picture ? new SampleTrack(picture) : null;
        Audio = clip.AudioType is { } sound ? new SampleTrack(sound) : null;
        // A browser asks when it cannot decode: it came late, or lost more than retransmission could mend.
        Video?.OnKeyFrameRequest.Subscribe(_ => _keyFrameIsWanted = true);
    }

    /// <summary>The clip's pictures; null where it has none.</summary>
    public SampleTrack? Video { get; }

    /// <summary>The clip's sound; null where it has none.</summary>
    public SampleTrack? Audio { get; }

    /// <summary>Adds both to a connection, as one stream: the browser keeps their lips in sync.</summary>
    public void AddTo(RTCPeerConnection peer)
    {
        var stream = new MediaStream();
        foreach (var track in new[] { Video, Audio })
        {
            if (track is not null)
                peer.AddTrack(track, stream);
        }
    }

    /// <summary>Plays until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        var moments = _clip.Moments;
        if (moments.Count == 0)
            return;

        // When the clip's beginning would have been played.
        var start = Stopwatch.GetTimestamp();
        var lap = TimeSpan.Zero;

        for (var i = 0; ; i++)
        {
            if (i == moments.Count)
            {
                i = 0;
                lap += _clip.Duration;
            }

            // There is no encoder to make a key frame: the clip goes back to the one before, its sound with it.
            if (_keyFrameIsWanted && LastKeyFrame(i) is var key)
            {
                _keyFrameIsWanted = false;
                lap += moments[i].At - moments[key].At;
                i = key;
            }

            var (at, frame, isVideo) = moments[i];
            // Each frame's time counts from the start, not from the frame before: delays do not add up.
            if (lap + at - Stopwatch.GetElapsedTime(start) is { Ticks: > 0 } wait)
                await Task.Delay(wait, cancellation);
            (isVideo ? Video : Audio)!.Write(frame.Data, frame.Duration);
        }
    }

    /// <summary>Where the last key frame before a moment is.</summary>
    private int LastKeyFrame(int index)
    {
        while (index > 0 && !(_clip.Moments[index] is { IsVideo: true, Frame.IsKeyFrame: true }))
            index--;
        return index;
    }
}
