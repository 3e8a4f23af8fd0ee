using System.CommandLine;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;

var phrase = new Option<string>("--key")
{
    Description = "What the program seals and opens frames with; the page has a field for its own.",
    DefaultValueFactory = _ => "correct horse",
};

return await Site.RunAsync(
    args,
    "Seals encoded frames end to end.",
    [phrase],
    arguments =>
    {
        var cipher = new Cipher(arguments.GetValue(phrase)!);

        return new Site(
            "InsertableStreams",
            "Your browser seals each encoded frame, the program opens it, seals it again, and sends it back. With another key on your side, "
                + "neither opens what the other has sealed."
        )
        {
            // The octets that stay readable are those of VP8 and Opus.
            Options = new WebRtcOptions
            {
                IncludeLoopback = true,
                Media = RTCMediaCapabilities
                    .Default.WithOnly(MediaKind.Video, "video/VP8")
                    .WithOnly(MediaKind.Audio, "audio/opus"),
            },
            Attend = async visitor =>
            {
                using var reflecting = visitor.Peer.OnTrack.Subscribe(e =>
                {
                    // Before anyone subscribes to frames: they are told opened.
                    e.Receiver.Transform = cipher.Opening();
                    var back = new SampleTrack(e.Track.Kind == MediaKind.Video ? "video/VP8" : "audio/opus");
                    visitor.Peer.AddTrack(back, [.. e.Streams]).Transform = cipher.Sealing();
                    back.OnKeyFrameRequest.Subscribe(_ => e.Track.RequestKeyFrame());
                    var frames = 0;
                    e.Track.Frames.Subscribe(frame =>
                    {
                        back.Write(frame);
                        if (frames++ == 0)
                            visitor.Send(new { opened = $"{frame.Data.Length} octets of {back.Codec.MimeType}" });
                    });
                });
                await visitor.GoneAsync();
            },
        };
    }
);
