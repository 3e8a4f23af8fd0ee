// WHEP, draft-ietf-wish-whep: watching by WebRTC, with nothing but HTTP for signalling. The other direction of WHIP.
//
//   Whep server                                      plays a clip to all who come to /whep, its page among them
//   Whep client http://127.0.0.1:8080/whep           says what comes, until Ctrl+C
//   Whep client URL --save DIR --seconds 10          keeps it
//
// The client may as well watch a channel of the Whip example: http://127.0.0.1:8080/whep/live.

using System.CommandLine;
using Hybrid.WebRtc.Examples;

var token = new Option<string?>("--token") { Description = "The bearer token that clients show.", Recursive = true };

var port = Site.PortOption();
var video = new Option<string>("--video")
{
    Description = "An .ivf (VP8, VP9, AV1), .h264 or .h265 file; \"\" for none.",
    DefaultValueFactory = _ => Clip.SampleVideo,
};
var audio = new Option<string>("--audio")
{
    Description = "An .ogg file with Opus; \"\" for none.",
    DefaultValueFactory = _ => Clip.SampleAudio,
};
var server = new Command("server", "Plays a clip, again and again, to all who watch.") { video, audio, port };
server.SetAction(
    async (arguments, stop) =>
    {
        var clip = Clip.Load(arguments.GetValue(video), arguments.GetValue(audio));
        await using var channel = new Playout(clip, arguments.GetValue(token));
        return await channel.ServeAsync(arguments.GetValue(port), stop);
    }
);

var endpoint = HttpSession.EndpointArgument();
var save = new Option<DirectoryInfo?>("--save")
{
    Description = "A directory for what comes: video.ivf or video.h264, and audio.ogg.",
};
var seconds = new Option<double?>("--seconds") { Description = "Leaves so long after it has connected." };
var client = new Command("client", "Watches, and keeps what comes.") { endpoint, save, seconds };
client.SetAction(
    (arguments, stop) =>
        Player.RunAsync(
            arguments.GetRequiredValue(endpoint),
            arguments.GetValue(token),
            arguments.GetValue(save),
            arguments.GetValue(seconds),
            stop
        )
);

return await new RootCommand("Watching by WHEP: a server and a client.") { server, client, token }
    .Parse(args)
    .InvokeAsync();
