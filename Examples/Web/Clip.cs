using Hybrid.WebRtc.Media;

namespace Hybrid.WebRtc.Examples;

/// <summary>Pictures and sound from disk, whole in memory, in the order in which they are due.</summary>
public sealed class Clip
{
    private Clip(string? videoType, string? audioType, Moment[] moments)
    {
        VideoType = videoType;
        AudioType = audioType;
        Moments = moments;
        Duration = moments.Length == 0 ? TimeSpan.Zero : moments.Max(m => m.At + m.Frame.Duration);
    }

    /// <summary>The MIME type of the pictures; null where there are none.</summary>
    public string? VideoType { get; }

    /// <summary>The MIME type of the sound; null where there is none.</summary>
    public string? AudioType { get; }

    /// <summary>Frames, by when they are due.</summary>
    public IReadOnlyList<Moment> Moments { get; }

    /// <summary>From the first frame's beginning to the last one's end.</summary>
    public TimeSpan Duration { get; }

    /// <summary>The clip that comes with the examples: a flight into the Mandelbrot set, with a chord (VP8, Opus).</summary>
    public static Clip Sample() => Load(SampleVideo, SampleAudio);

    /// <summary>Its file of pictures.</summary>
    public static string SampleVideo => Path.Combine(AppContext.BaseDirectory, "clips", "clip.ivf");

    /// <summary>Its file of sound.</summary>
    public static string SampleAudio => Path.Combine(AppContext.BaseDirectory, "clips", "clip.ogg");

    /// <summary>Reads files.</summary>
    /// <param name="video"><c>.ivf</c> (VP8, VP9, AV1), <c>.h264</c> or <c>.h265</c>; null or empty: no picture.</param>
    /// <param name="audio"><c>.ogg</c> with Opus; null or empty: no sound.</param>
    /// <exception cref="InvalidDataException">A file is not what it should be.</exception>
    public static Clip Load(string? video, string? audio)
    {
        var (videoType, pictures) = Read(video, isVideo: true);
        var (audioType, sounds) = Read(audio, isVideo: false);
        return new(videoType, audioType, [.. pictures.Concat(sounds).OrderBy(m => m.At)]);
    }

    private static (string? Type, List<Moment> Moments) Read(string? path, bool isVideo)
    {
        var moments = new List<Moment>();
        if (string.IsNullOrEmpty(path))
            return (null, moments);

        using var reader = Open(path);
        var at = TimeSpan.Zero;
        while (reader.Read() is { } frame)
        {
            moments.Add(new(at, frame, isVideo));
            at += frame.Duration;
        }

        return (reader.Format?.MimeType, moments);
    }

    private static MediaReader Open(string path)
    {
        var file = File.OpenRead(path);
        return Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".ivf" => new IvfReader(file),
            ".ogg" or ".opus" => new OggOpusReader(file),
            ".h264" or ".264" => new AnnexBReader(file, "video/H264"),
            ".h265" or ".265" or ".hevc" => new AnnexBReader(file, "video/H265"),
            _ => throw new InvalidDataException($"{path}: .ivf, .h264, .h265 or .ogg was expected."),
        };
    }
}

/// <summary>A frame and when it is due.</summary>
/// <param name="At">Since the clip's beginning.</param>
/// <param name="Frame">What is sent then.</param>
/// <param name="IsVideo">Picture or sound.</param>
public readonly record struct Moment(TimeSpan At, EncodedFrame Frame, bool IsVideo);
