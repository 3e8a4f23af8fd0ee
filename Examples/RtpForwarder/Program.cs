// A browser's camera and microphone as plain RTP over UDP, for programs that know nothing of WebRTC: ffmpeg, GStreamer, VLC.
// They take the .sdp file that is written:
//
//   ffplay -protocol_whitelist file,udp,rtp -i forward.sdp
//   ffmpeg -protocol_whitelist file,udp,rtp -i forward.sdp -c copy camera.mkv

using System.CommandLine;
using System.Net;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var host = new Option<IPAddress>("--to")
{
    Description = "The address that packets go to.",
    DefaultValueFactory = _ => IPAddress.Loopback,
    CustomParser = result =>
    {
        if (IPAddress.TryParse(result.Tokens.Single().Value, out var address))
            return address;
        result.AddError("--to takes an IP address.");
        return null;
    },
};
var videoPort = new Option<int>("--video-port")
{
    Description = "Its UDP port for the picture, an even one; RTCP goes to the next.",
    DefaultValueFactory = _ => 5004,
};
var audioPort = new Option<int>("--audio-port")
{
    Description = "Its UDP port for the sound.",
    DefaultValueFactory = _ => 5006,
};
var sdp = new Option<FileInfo>("--sdp")
{
    Description = "The file for whoever receives.",
    DefaultValueFactory = _ => new FileInfo("forward.sdp"),
};

return await Site.RunAsync(
    args,
    "Forwards a browser's camera and microphone as plain RTP.",
    [host, videoPort, audioPort, sdp],
    arguments =>
    {
        // Codecs are chosen here, and not by each browser, so that the file is right for all of them before any has come.
        var media = RTCMediaCapabilities
            .Default.WithOnly(MediaKind.Video, "video/VP8")
            .WithOnly(MediaKind.Audio, "audio/opus");
        var to = arguments.GetRequiredValue(host);
        var forwarder = new Forwarder(
            new PlainRtp(new IPEndPoint(to, arguments.GetValue(videoPort)), 96, "VP8/90000"),
            new PlainRtp(new IPEndPoint(to, arguments.GetValue(audioPort)), 111, "opus/48000/2")
        );
        var file = arguments.GetRequiredValue(sdp);
        File.WriteAllText(file.FullName, forwarder.Sdp);
        AnsiConsole.MarkupLineInterpolated($"[bold]Watch[/] ffplay -protocol_whitelist file,udp,rtp -i {file}");

        return new Site(
            "RTP forwarder",
            "The camera's packets leave the program as plain RTP, for ffmpeg, GStreamer or VLC."
        )
        {
            Options = new() { IncludeLoopback = true, Media = media },
            Attend = forwarder.AttendAsync,
        };
    }
);
