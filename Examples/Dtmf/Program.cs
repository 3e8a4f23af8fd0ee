using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;

// 20 ms of silence as Opus has it: sound for the tones to take the place of.
var silence = new byte[] { 0xF8, 0xFF, 0xFE };

return await Site.RunAsync(
    args,
    "Plays telephone tones to every page.",
    [],
    _ => new Site(
        "Dtmf",
        "Telephone tones, sent as events of RFC 4733 and not as sound. Your browser makes the sound of them."
    )
    {
        Attend = async visitor =>
        {
            var line = new SampleTrack("audio/opus");
            var sender = visitor.Peer.AddTrack(line, new MediaStream());
            var tones = sender.Dtmf!;
            // Tones are played one by one, each for its time, with a gap behind it; the empty one says that all have been.
            tones.OnToneChange.Subscribe(e => visitor.Send(new { playing = e.Tone, left = tones.ToneBuffer }));
            visitor.Messages.Subscribe(message =>
            {
                try
                {
                    // What is still to be played is kept: InsertDTMF takes the place of it.
                    tones.InsertDTMF(tones.ToneBuffer + message.GetProperty("dial").GetString(), duration: 200);
                }
                catch (Exception e) when (e is RTCException or KeyNotFoundException or InvalidOperationException)
                {
                    visitor.Send(new { refused = e.Message });
                }
            });

            await visitor.ConnectedAsync();
            while (!visitor.Gone.IsCancellationRequested)
                await line.WriteAsync(silence, TimeSpan.FromMilliseconds(20), cancellationToken: visitor.Gone);
        },
    }
);
