namespace Hybrid.WebRtc;

/// <summary>
/// Tracks that belong together, as sound and picture of one camera do,
/// <see href="https://www.w3.org/TR/mediacapture-streams/#mediastream">MediaStream</see> as far as WebRTC uses it.
/// </summary>
public sealed class MediaStream
{
    private readonly Lock _gate = new();
    private readonly Notifier<MediaStreamTrackEvent>? _added;
    private readonly Notifier<MediaStreamTrackEvent>? _removed;
    private volatile MediaStreamTrack[] _tracks = [];

    /// <summary>A stream of these tracks, with an id that nobody else has.</summary>
    public MediaStream(params MediaStreamTrack[] tracks)
        : this(Guid.NewGuid().ToString(), tracks) { }

    /// <summary>A stream with an id of one's own: peers see it in <c>a=msid</c>.</summary>
    /// <param name="id">Letters, digits and a few signs (RFC 8830's token), 64 at most.</param>
    /// <param name="tracks">Its tracks.</param>
    /// <exception cref="ArgumentException"><paramref name="id"/> is not such an id.</exception>
    public MediaStream(string id, params MediaStreamTrack[] tracks)
    {
        ArgumentNullException.ThrowIfNull(tracks);
        Id = MediaStreamTrack.CheckId(id);
        foreach (var track in tracks)
            AddTrack(track);
    }

    /// <summary>A peer's stream, which hears of its tracks' coming and going.</summary>
    internal MediaStream(string id, Notifications notify)
    {
        Id = id;
        _added = notify.Event<MediaStreamTrackEvent>(held: 64);
        _removed = notify.Event<MediaStreamTrackEvent>(held: 64);
    }

    /// <summary>Its name; a stream that goes to a peer has the same there.</summary>
    public string Id { get; }

    /// <summary>Whether a track of it is live.</summary>
    public bool Active => Array.Exists(_tracks, track => track.ReadyState == MediaStreamTrackState.Live);

    /// <summary>The peer has added a track. A track that the application adds is no event, as W3C has it.</summary>
    public IObservable<MediaStreamTrackEvent> OnAddTrack =>
        _added ?? (IObservable<MediaStreamTrackEvent>)Never<MediaStreamTrackEvent>.Instance;

    /// <summary>The peer has removed a track.</summary>
    public IObservable<MediaStreamTrackEvent> OnRemoveTrack =>
        _removed ?? (IObservable<MediaStreamTrackEvent>)Never<MediaStreamTrackEvent>.Instance;

    /// <summary>All tracks.</summary>
    public IReadOnlyList<MediaStreamTrack> GetTracks() => [.. _tracks];

    /// <summary>Tracks of sound.</summary>
    public IReadOnlyList<MediaStreamTrack> GetAudioTracks() =>
        Array.FindAll(_tracks, static track => track.Kind == MediaKind.Audio);

    /// <summary>Tracks of pictures.</summary>
    public IReadOnlyList<MediaStreamTrack> GetVideoTracks() =>
        Array.FindAll(_tracks, static track => track.Kind == MediaKind.Video);

    /// <summary>The track of that id; null where there is none.</summary>
    public MediaStreamTrack? GetTrackById(string id) => Array.Find(_tracks, track => track.Id == id);

    /// <summary>Adds a track; nothing where it is in already. Peers hear of it by <see cref="RTCPeerConnection.AddTrack"/> only.</summary>
    public void AddTrack(MediaStreamTrack track)
    {
        ArgumentNullException.ThrowIfNull(track);
        Put(track);
    }

    /// <summary>Removes a track; nothing where it is not in.</summary>
    public void RemoveTrack(MediaStreamTrack track)
    {
        ArgumentNullException.ThrowIfNull(track);
        Take(track);
    }

    /// <summary>A stream with clones of the tracks, and an id of its own.</summary>
    public MediaStream Clone() => new([.. _tracks.Select(track => track.Clone())]);

    /// <summary>Whether it was not in.</summary>
    internal bool Put(MediaStreamTrack track)
    {
        lock (_gate)
        {
            if (_tracks.Contains(track))
                return false;
            _tracks = [.. _tracks, track];
            return true;
        }
    }

    /// <summary>Whether it was in.</summary>
    internal bool Take(MediaStreamTrack track)
    {
        lock (_gate)
        {
            if (!_tracks.Contains(track))
                return false;
            _tracks = Array.FindAll(_tracks, other => other != track);
            return true;
        }
    }

    internal void TellAdded(MediaStreamTrack track) => _added?.Tell(new(track));

    internal void TellRemoved(MediaStreamTrack track) => _removed?.Tell(new(track));

    internal void Complete()
    {
        _added?.Complete();
        _removed?.Complete();
    }
}

/// <summary>A track has come or gone, <see href="https://www.w3.org/TR/mediacapture-streams/#mediastreamtrackevent">MediaStreamTrackEvent</see>.</summary>
/// <param name="Track">Which.</param>
public sealed record MediaStreamTrackEvent(MediaStreamTrack Track);
