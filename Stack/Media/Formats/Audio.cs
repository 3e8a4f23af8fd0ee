namespace Hybrid.WebRtc.Media;

/// <summary>A format whose payload is the frame, and whose every packet is a frame: audio.</summary>
internal abstract class WholePayloadFormat(string mimeType, int clockRate) : PayloadFormat(mimeType, clockRate)
{
    /// <summary>How long a payload lasts, in units of the RTP clock; 0: not known; negative: it is malformed.</summary>
    protected abstract int DurationOf(ReadOnlySpan<byte> payload);

    public override IPacketizer CreatePacketizer() => new Whole(this);

    public override IDepacketizer CreateDepacketizer() => new Whole(this);

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame) => new(true, 0, 0, Math.Max(0, DurationOf(frame)));

    /// <summary>Puts a frame into packets.</summary>
    protected virtual void Packetize(ReadOnlySpan<byte> frame, int maxPayloadSize, PayloadBuilder into)
    {
        if (frame.Length > maxPayloadSize)
            throw new ArgumentException(
                $"A frame of {frame.Length} octets: {MimeType} cannot be split, and a packet takes {maxPayloadSize}.",
                nameof(frame)
            );

        into.Reserve(frame.Length);
        frame.CopyTo(into.Add(frame.Length));
    }

    private sealed class Whole(WholePayloadFormat format) : IPacketizer, IDepacketizer
    {
        public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into) =>
            format.Packetize(frame.Data.Span, maxPayloadSize, into);

        public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker)
        {
            var duration = payload.IsEmpty ? -1 : format.DurationOf(payload);

            return duration < 0
                ? default
                : new PayloadInfo
                {
                    IsValid = true,
                    Start = FrameStart.Yes,
                    EndsFrame = true,
                    IsKeyFrame = true,
                    Duration = duration,
                };
        }

        public void Begin() { }

        public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
        {
            into.Append(payload);
            return true;
        }

        public bool End(FrameWriter into) => into.Length > 0;
    }
}

/// <summary>Opus, RFC 7587: a packet holds one Opus packet, which may hold many frames.</summary>
internal sealed class OpusFormat() : WholePayloadFormat("audio/opus", OpusPacket.ClockRate)
{
    protected override int DurationOf(ReadOnlySpan<byte> payload) =>
        OpusPacket.TryRead(payload, out var packet) ? packet.Duration : -1;
}

/// <summary>
/// G.711 and G.722, RFC 3551 §4.5.2 and §4.5.14. Their clock runs at 8,000 Hz and an octet is a tick of it: one sample of G.711,
/// two of G.722.
/// </summary>
internal sealed class OctetPerTickFormat(string mimeType) : WholePayloadFormat(mimeType, 8000)
{
    protected override int DurationOf(ReadOnlySpan<byte> payload) => payload.Length;

    /// <summary>Samples stand for themselves, so what is too long goes on in a packet of a later timestamp.</summary>
    protected override void Packetize(ReadOnlySpan<byte> frame, int maxPayloadSize, PayloadBuilder into)
    {
        var split = Split.Of(frame.Length, maxPayloadSize);
        into.Reserve(frame.Length);
        var at = 0;

        for (var i = 0; i < split.Count; i++)
        {
            frame.Slice(at, split.Size(i)).CopyTo(into.Add(split.Size(i), (uint)at));
            at += split.Size(i);
        }
    }
}

/// <summary>
/// Events of telephones, RFC 4733: a frame is one payload of reports, which <see cref="TelephoneEvent"/> reads and writes. Who
/// sends keeps the timestamp over all packets of an event and marks the first.
/// </summary>
internal sealed class TelephoneEventFormat(int clockRate) : WholePayloadFormat("audio/telephone-event", clockRate)
{
    protected override int DurationOf(ReadOnlySpan<byte> payload) =>
        TelephoneEvent.TryRead(payload, out var report) ? report.Duration : -1;
}

/// <summary>
/// Redundant audio, RFC 2198: a frame is what the primary encoding put out. Older copies are for whoever repairs losses, with
/// <see cref="RedBlock"/>; what is packetized here has none.
/// </summary>
internal sealed class RedFormat(byte primary, int clockRate) : PayloadFormat("audio/red", clockRate)
{
    public override IPacketizer CreatePacketizer() => new Red(primary);

    public override IDepacketizer CreateDepacketizer() => new Red(primary);

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame) => new(true, 0, 0, 0);

    private sealed class Red(byte primary) : IPacketizer, IDepacketizer
    {
        public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into)
        {
            if (frame.Data.Length >= maxPayloadSize)
                throw new ArgumentException(
                    $"A frame of {frame.Data.Length} octets: audio/red cannot be split, and a packet takes {maxPayloadSize - 1}.",
                    nameof(frame)
                );

            var payload = into.Add(frame.Data.Length + 1);
            payload[0] = primary;
            frame.Data.Span.CopyTo(payload[1..]);
        }

        public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker) =>
            RedBlock.TryReadPrimary(payload, out _, out var data) && !data.IsEmpty
                ? new PayloadInfo
                {
                    IsValid = true,
                    Start = FrameStart.Yes,
                    EndsFrame = true,
                    IsKeyFrame = true,
                }
                : default;

        public void Begin() { }

        public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
        {
            if (!RedBlock.TryReadPrimary(payload, out _, out var data))
                return false;

            into.Append(data);
            return true;
        }

        public bool End(FrameWriter into) => into.Length > 0;
    }
}
