// Plain RTP, from a program that knows nothing of WebRTC, to every page that is opened. With ffmpeg, a picture and a tone:
//
//   ffmpeg -re -f lavfi -i testsrc2=size=640x480:rate=30 -c:v libvpx -deadline realtime -b:v 1M -g 60 -f rtp "rtp://127.0.0.1:5004?pkt_size=1200"
//   ffmpeg -re -f lavfi -i sine -c:a libopus -f rtp rtp://127.0.0.1:5006

using System.CommandLine;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var videoPort = new Option<int>("--video-port")
{
    Description = "The UDP port for the picture, on 127.0.0.1; 0 for any that is free.",
    DefaultValueFactory = _ => 5004,
};
var audioPort = new Option<int>("--audio-port")
{
    Description = "The UDP port for the sound.",
    DefaultValueFactory = _ => 5006,
};
var videoCodec = new Option<string>("--video-codec")
{
    Description = "VP8, VP9, H264 or AV1: what the packets hold.",
    DefaultValueFactory = _ => "VP8",
};
videoCodec.AcceptOnlyFromAmong("VP8", "VP9", "H264", "AV1");

return await Site.RunAsync(
    args,
    "Plain RTP to every page that is opened.",
    [videoPort, audioPort, videoCodec],
    arguments =>
    {
        var codec = arguments.GetRequiredValue(videoCodec);
        var video = new RtpInlet(arguments.GetValue(videoPort), MediaKind.Video, $"video/{codec}");
        var audio = new RtpInlet(arguments.GetValue(audioPort), MediaKind.Audio, "audio/opus");
        AnsiConsole.MarkupLineInterpolated($"[bold]Pictures[/] {codec} at rtp://127.0.0.1:{video.Port}");
        AnsiConsole.MarkupLineInterpolated($"[bold]Sound[/] Opus at rtp://127.0.0.1:{audio.Port}");

        return new Site(
            "RTP to WebRTC",
            "Plain RTP comes in by UDP, from ffmpeg or GStreamer, and goes to every page that is open."
        )
        {
            Options = new()
            {
                IncludeLoopback = true,
                // Only what comes in can go out: there is no encoder here.
                Media = RTCMediaCapabilities
                    .Default.WithOnly(MediaKind.Video, $"video/{codec}")
                    .WithOnly(MediaKind.Audio, "audio/opus"),
            },
            Attend = async visitor =>
            {
                var stream = new MediaStream();
                visitor.Peer.AddTrack(video.Track, stream);
                visitor.Peer.AddTrack(audio.Track, stream);
                visitor.Send(
                    new
                    {
                        Video = video.Port,
                        Audio = audio.Port,
                        Codec = codec,
                    }
                );
                await Task.Delay(Timeout.Infinite, visitor.Gone);
            },
        };
    }
);
