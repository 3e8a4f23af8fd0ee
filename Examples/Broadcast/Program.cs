using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;

// What all viewers are sent. One track may be on any number of connections: a packet is shared by all, and each connection gives
// it its own source and numbers.
var picture = new RtpTrack(MediaKind.Video);
var sound = new RtpTrack(MediaKind.Audio);

return await Site.RunAsync(
    args,
    "One page publishes, all others watch.",
    [],
    _ => new Site("Broadcast", "One page publishes its camera, every other page sees it. Open this page several times.")
    {
        Attend = async visitor =>
        {
            if (visitor.Query["publish"].Count > 0)
            {
                using var publishing = visitor.Peer.OnTrack.Subscribe(e =>
                {
                    // Whoever publishes later takes the place of the one before. Of the viewers' requests for key frames, which all come
                    // at once where one of them joins or loses much, the publisher hears four a second at most.
                    var forward = e.Track.ForwardTo(e.Track.Kind == MediaKind.Video ? picture : sound);
                    visitor.Gone.Register(forward.Dispose);
                });
                await visitor.GoneAsync();
            }
            else
            {
                var stream = new MediaStream(picture, sound);
                foreach (var track in stream.GetTracks())
                    visitor.Peer.AddTrack(track, stream);
                await visitor.GoneAsync();
            }
        },
    }
);
