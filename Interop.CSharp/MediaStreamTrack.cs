using System.Reactive;

namespace Hybrid.WebRtc;

/// <summary>
/// Sound or picture on its way, <see href="https://www.w3.org/TR/mediacapture-streams/#mediastreamtrack">MediaStreamTrack</see>. There are
/// three: <see cref="RtpTrack"/> and <see cref="SampleTrack"/>, which the application fills, and <see cref="RemoteTrack"/>, which a peer
/// does. Each may be sent, on any number of connections.
/// </summary>
public abstract class MediaStreamTrack
{
    private volatile bool _enabled = true;
    private volatile bool _ended;

    private protected MediaStreamTrack(MediaKind kind, string id, string label)
    {
        if (!Enum.IsDefined(kind))
            throw new ArgumentOutOfRangeException(nameof(kind), kind, "A track's kind is audio or video.");
        Kind = kind;
        Id = id;
        Label = label;
    }

    /// <summary>Sound or picture.</summary>
    public MediaKind Kind { get; }

    /// <summary>Its name.</summary>
    public string Id { get; }

    /// <summary>For people to read; may be empty.</summary>
    public string Label { get; }

    /// <summary>
    /// Whether its media goes on. Where W3C would send silence or blackness, which takes an encoder, nothing is sent or told
    /// here: packets and frames of a disabled track are dropped. Default true.
    /// </summary>
    public bool Enabled
    {
        get => _enabled;
        set => _enabled = value;
    }

    /// <summary>Whether its source has nothing to give for now. Never so of a track that the application fills.</summary>
    public virtual bool Muted => false;

    /// <summary>Whether more may come.</summary>
    public MediaStreamTrackState ReadyState => _ended ? MediaStreamTrackState.Ended : MediaStreamTrackState.Live;

    /// <summary><see cref="Muted"/> has become true.</summary>
    public virtual IObservable<Unit> OnMute => Never<Unit>.Instance;

    /// <summary><see cref="Muted"/> has become false.</summary>
    public virtual IObservable<Unit> OnUnmute => Never<Unit>.Instance;

    /// <summary>The source has ended. <see cref="Stop"/> is no event, as W3C has it.</summary>
    public virtual IObservable<Unit> OnEnded => Never<Unit>.Instance;

    /// <summary>Whether packets go on.</summary>
    internal bool Flows => _enabled && !_ended;

    /// <summary>Ends it for good. Its senders stay, and send nothing.</summary>
    public void Stop() => _ended = true;

    /// <summary>A track with the same source, enabled and stopped on its own.</summary>
    public abstract MediaStreamTrack Clone();

    /// <summary>A sender is to send it.</summary>
    internal abstract void Bind(SenderFeed feed);

    /// <summary>A sender sends it no more. Not called back afterwards.</summary>
    internal abstract void Unbind(SenderFeed feed);

    /// <summary>A sender's peer asks for a key frame.</summary>
    internal abstract void AskForKeyFrame(string rid);

    /// <summary>The same, for the application to hear; on the sender's connection's context.</summary>
    internal virtual void TellKeyFrameRequest(KeyFrameRequest request) { }

    /// <summary>Ends it; whether it was live.</summary>
    internal bool End()
    {
        var wasLive = !_ended;
        _ended = true;
        return wasLive;
    }

    private protected static string NewId() => Guid.NewGuid().ToString();

    /// <summary>RFC 8830 §2: from 1 to 64 characters of a token.</summary>
    internal static string CheckId(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        if (
            id.Length is < 1 or > 64
            || !id.All(static c => char.IsAsciiLetterOrDigit(c) || "!#$%&'*+-.^_`{|}~".Contains(c))
        )
        {
            throw new ArgumentException(
                "An id has from 1 to 64 characters: letters, digits and !#$%&'*+-.^_`{|}~.",
                nameof(id)
            );
        }
        return id;
    }
}
