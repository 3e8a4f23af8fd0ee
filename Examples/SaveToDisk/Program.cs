using System.CommandLine;
using System.Threading.Channels;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Hybrid.WebRtc.Media;
using Spectre.Console;

var into = new Option<DirectoryInfo>("--into")
{
    Description = "The folder for the files.",
    DefaultValueFactory = _ => new DirectoryInfo("recordings"),
};
var codec = new Option<string>("--codec")
{
    Description = "What the browser encodes pictures with.",
    DefaultValueFactory = _ => "VP8",
};
codec.AcceptOnlyFromAmong("VP8", "VP9", "AV1", "H264");

return await Site.RunAsync(
    args,
    "Writes every page's camera and microphone to disk.",
    [into, codec],
    arguments =>
    {
        var folder = arguments.GetValue(into)!;
        folder.Create();

        return new Site("SaveToDisk", $"The program writes what your camera and microphone send to {folder.FullName}.")
        {
            // The browser chooses among what both sides have: with one codec of ours there is no choice, and a file holds one.
            Options = new WebRtcOptions
            {
                IncludeLoopback = true,
                Media = RTCMediaCapabilities
                    .Default.WithOnly(MediaKind.Video, $"video/{arguments.GetValue(codec)}")
                    .WithOnly(MediaKind.Audio, "audio/opus"),
            },
            Attend = async visitor =>
            {
                var name = Path.Combine(folder.FullName, $"{DateTime.Now:yyyyMMdd-HHmmss}-page{visitor.Number}");
                var recordings = new List<Task>();
                using var recording = visitor.Peer.OnTrack.Subscribe(e =>
                    recordings.Add(RecordAsync(visitor, e.Track, arguments.GetValue(codec)!, name))
                );
                await visitor.GoneAsync();
                await Task.WhenAll(recordings);
            },
        };
    }
);

static async Task RecordAsync(Visitor visitor, RemoteTrack track, string codec, string name)
{
    // Frames are told one at a time on the connection's context, where nobody waits for a disk: a queue is between.
    var frames = Channel.CreateUnbounded<EncodedFrame>();
    using var listening = track.Frames.Subscribe(
        frame => frames.Writer.TryWrite(frame),
        () => frames.Writer.TryComplete()
    );
    using var ending = visitor.Gone.Register(() => frames.Writer.TryComplete());
    MediaWriter? file = null;
    var path = "";
    var count = 0;

    await foreach (var frame in frames.Reader.ReadAllAsync())
    {
        // Of pictures, a file begins with one that needs no other.
        if (file is null && !frame.IsKeyFrame)
            continue;

        if (file is null)
            (file, path) = Create(track.Kind, codec, name);
        await file.WriteAsync(frame);
        count++;
    }

    if (file is null)
        return;
    await file.DisposeAsync();
    AnsiConsole.MarkupLineInterpolated($"page {visitor.Number}   {count} frames saved:");
    // Not wrapped, so that it can be copied.
    Console.WriteLine(path);
}

/// <summary>A file for a track, and its path. Each kind of file holds one stream: picture and sound are saved apart.</summary>
static (MediaWriter File, string Path) Create(MediaKind kind, string codec, string name)
{
    var path =
        name
        + (
            kind == MediaKind.Audio ? ".ogg"
            : codec == "H264" ? ".h264"
            : ".ivf"
        );
    var file = File.Create(path);
    MediaWriter writer =
        kind == MediaKind.Audio ? new OggOpusWriter(file)
        : codec == "H264" ? new AnnexBWriter(file)
        : new IvfWriter(file, IvfHeader.For(PayloadFormats.For($"video/{codec}")));
    return (writer, path);
}
