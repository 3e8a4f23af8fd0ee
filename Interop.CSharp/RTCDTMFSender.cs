namespace Hybrid.WebRtc;

/// <summary>Plays telephone tones in a sender's place, RFC 4733, <see href="https://www.w3.org/TR/webrtc/#rtcdtmfsender">RTCDTMFSender</see>.</summary>
public sealed class RTCDTMFSender
{
    private const string Tones = "0123456789ABCD#*,";

    private readonly RTCPeerConnection _connection;
    private readonly RTCRtpTransceiver _transceiver;
    private readonly Notifier<RTCDTMFToneChangeEvent> _toneChanges;
    private volatile string _toneBuffer = "";

    internal RTCDTMFSender(RTCPeerConnection connection, RTCRtpTransceiver transceiver)
    {
        _connection = connection;
        _transceiver = transceiver;
        _toneChanges = connection.Notify.Event<RTCDTMFToneChangeEvent>(held: 64);
    }

    /// <summary>Whether tones can be sent: the connection is connected, the transceiver sends, and <c>audio/telephone-event</c> was negotiated.</summary>
    public bool CanInsertDTMF
    {
        get
        {
            var info = _transceiver.Info;
            return _connection.ConnectionState == RTCPeerConnectionState.Connected
                && !_transceiver.IsStopped
                && SenderFeed.IsSending(info)
                && info.Encodings is [{ Active: true }, ..]
                && Array.Exists(
                    info.SendCodecs,
                    codec => codec.Codec.MimeType.Equals("audio/telephone-event", StringComparison.OrdinalIgnoreCase)
                );
        }
    }

    /// <summary>Tones that are still to be played.</summary>
    public string ToneBuffer => _toneBuffer;

    /// <summary>A tone has begun to play, or all have been played.</summary>
    public IObservable<RTCDTMFToneChangeEvent> OnToneChange => _toneChanges;

    /// <summary>
    /// Plays tones, in place of those still to be played, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdtmfsender-insertdtmf">WebRTC §7.2</see>.
    /// </summary>
    /// <param name="tones"><c>0</c> to <c>9</c>, <c>A</c> to <c>D</c> in either case, <c>#</c>, <c>*</c>, and <c>,</c> for a pause of two seconds. Empty: stop.</param>
    /// <param name="duration">Of each tone, milliseconds; held within 40 and 6,000.</param>
    /// <param name="interToneGap">Between tones, milliseconds; held within 30 and 6,000.</param>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: <see cref="CanInsertDTMF"/> is false. <c>InvalidCharacterError</c>: another character.</exception>
    public void InsertDTMF(string tones, int duration = 100, int interToneGap = 70)
    {
        ArgumentNullException.ThrowIfNull(tones);
        if (_connection.IsClosed)
            throw Mistakes.Closed();
        if (_transceiver.IsStopped)
            throw RTCRtpTransceiver.Stopped();
        if (!CanInsertDTMF)
            throw Mistakes.InvalidState(
                "Tones cannot be sent now: the connection is not connected, the transceiver does not send, or audio/telephone-event was not negotiated."
            );

        var upper = tones.ToUpperInvariant();
        foreach (var tone in upper)
        {
            if (!Tones.Contains(tone))
                throw new RTCException(
                    "InvalidCharacterError",
                    $"'{tone}' is not a tone; tones are 0-9, A-D, #, * and the comma."
                );
        }

        _connection.ChangeMedia(
            id =>
                Core.Input.NewInsertDtmf(
                    id,
                    _transceiver.Id,
                    upper,
                    Math.Clamp(duration, 40, 6_000) * 1_000L,
                    Math.Clamp(interToneGap, 30, 6_000) * 1_000L
                ),
            () => _toneBuffer = upper
        );
    }

    /// <summary>On the context.</summary>
    internal void Tell(string tone, string buffer)
    {
        _toneBuffer = buffer;
        _toneChanges.Tell(new(tone));
    }

    internal void Complete() => _toneChanges.Complete();
}
