// WHIP, RFC 9725: how OBS, GStreamer, ffmpeg and browsers publish by WebRTC, with nothing but HTTP for signalling.
//
//   Whip server                                     takes publishers at /whip/CHANNEL; its page publishes and watches
//   Whip client http://127.0.0.1:8080/whip/live     publishes a clip from disk
//
// What is published can be watched at /whep/CHANNEL, by the page or by any other client of WHEP, the Whep example's among them.

using System.CommandLine;
using Hybrid.WebRtc.Examples;

var token = new Option<string?>("--token") { Description = "The bearer token that clients show.", Recursive = true };

var port = Site.PortOption();
var iceServers = new Option<string[]>("--ice-server")
{
    Description = "A STUN server that clients are told of, such as stun:stun.example.org.",
};
var server = new Command("server", "Takes publishers, and shows them to who watches.") { port, iceServers };
server.SetAction(
    async (arguments, stop) =>
    {
        await using var ingest = new Ingest(arguments.GetValue(token), arguments.GetValue(iceServers) ?? []);
        return await ingest.Site.ServeAsync(arguments.GetValue(port), stop);
    }
);

var endpoint = HttpSession.EndpointArgument();
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
var seconds = new Option<double?>("--seconds") { Description = "Ends after so long." };
var restart = new Option<double?>("--restart-ice")
{
    Description = "Restarts ICE after so many seconds, as is done where the network has changed.",
};
var client = new Command("client", "Publishes a clip from disk, again and again.")
{
    endpoint,
    video,
    audio,
    seconds,
    restart,
};
client.SetAction(
    (arguments, stop) =>
        Publisher.RunAsync(
            arguments.GetRequiredValue(endpoint),
            arguments.GetValue(token),
            Clip.Load(arguments.GetValue(video), arguments.GetValue(audio)),
            arguments.GetValue(seconds),
            arguments.GetValue(restart),
            stop
        )
);

return await new RootCommand("Publishing by WHIP: a server and a client.") { server, client, token }
    .Parse(args)
    .InvokeAsync();
