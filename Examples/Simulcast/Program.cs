// Simulcast: the browser sends one picture in three sizes, and the program sends back the one that the page's buttons choose. It is what
// an SFU does for each of its viewers, the Sfu example's in one page.

using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

return await Site.RunAsync(
    args,
    "Takes a picture in three sizes, and sends back the one that is asked for.",
    [],
    _ => new Site(
        "Simulcast",
        "Your browser encodes its picture three times. The program sends one of them back: which, you choose."
    )
    {
        Attend = async visitor =>
        {
            RtpForward? forward = null;

            visitor.Peer.OnTrack.Subscribe(e =>
            {
                // The smallest first: it is the one that a browser is sure to send, whatever the network carries.
                var back = new RtpTrack(MediaKind.Video);
                forward = e.Track.ForwardTo(back, "q");
                // A transceiver of its own: AddTrack would take the one that the page sends on, which is to stay one-way.
                visitor.Peer.AddTransceiver(back, new() { Direction = RTCRtpTransceiverDirection.SendOnly });

                e.Track.OnLayer.Subscribe(layer =>
                    AnsiConsole.MarkupLineInterpolated(
                        $"page {visitor.Number}   layer [bold]{layer.Rid}[/] [grey]SSRC {layer.Ssrc:x8}[/]"
                    )
                );
            });

            visitor.Messages.Subscribe(message =>
            {
                // From the layer's next key frame on, which is asked for; sequence numbers and timestamps go on as if nothing had happened.
                if (message.TryGetProperty("rid", out var rid) && rid.GetString() is "q" or "h" or "f")
                    forward?.SwitchTo(rid.GetString()!);
            });

            await Task.Delay(Timeout.Infinite, visitor.Gone);
        },
    }
);
