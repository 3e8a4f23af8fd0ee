using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;

// 20 ms of silence as Opus has it: sound for the tones to take the place of.
var silence = new byte[] { 0xF8, 0xFF, 0xFE };

return await Site.RunAsync(
    args,
    "Hears the telephone tones of every page, and plays them back.",
    [],
    _ => new Site(
        "Dtmf",
        "Telephone tones, sent as events of RFC 4733 and not as sound. A key has your browser send one; the program says which it was, and "
            + "plays it back. Your browser makes the sound of it."
    )
    {
        Attend = async visitor =>
        {
            var line = new SampleTrack("audio/opus");
            var tones = visitor.Peer.AddTrack(line, new MediaStream()).Dtmf!;
            // Tones are played one by one, each for its time, with a gap behind it; an empty one says that all have been.
            tones.OnToneChange.Subscribe(e => visitor.Send(new { playing = e.Tone, left = tones.ToneBuffer }));

            visitor.Peer.OnTrack.Subscribe(e =>
                e.Receiver.OnTone.Subscribe(heard =>
                {
                    visitor.Send(new { heard = heard.Tone, milliseconds = heard.Duration.TotalMilliseconds });
                    // What is still to be played goes before: InsertDTMF takes the place of it.
                    if (tones.CanInsertDTMF)
                        tones.InsertDTMF(tones.ToneBuffer + heard.Tone, duration: 200);
                })
            );

            await visitor.ConnectedAsync();
            while (!visitor.Gone.IsCancellationRequested)
                await line.WriteAsync(silence, TimeSpan.FromMilliseconds(20), cancellationToken: visitor.Gone);
        },
    }
);
