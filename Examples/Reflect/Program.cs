using System.Reactive.Linq;
using Hybrid.WebRtc.Examples;

return await Site.RunAsync(
    args,
    "Sends every page's camera and microphone back to it.",
    [],
    _ => new Site(
        "Reflect",
        "What your camera and microphone send goes to the program and comes back, packet by packet."
    )
    {
        Attend = async visitor =>
        {
            // A track of the peer's may be sent as any other: its packets are forwarded as they are, without being put together to
            // frames, and a key frame that the receiver asks for is asked of the sender, which here is the same page.
            using var reflecting = visitor.Peer.OnTrack.Subscribe(e => visitor.Peer.AddTrack(e.Track, [.. e.Streams]));
            await visitor.GoneAsync();
        },
    }
);
