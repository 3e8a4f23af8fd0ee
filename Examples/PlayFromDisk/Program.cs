using System.CommandLine;
using Hybrid.WebRtc.Examples;

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

return await Site.RunAsync(
    args,
    "Plays a clip from disk to every page that is opened.",
    [video, audio],
    arguments =>
    {
        // Read once; every page plays it from its own beginning.
        var clip = Clip.Load(arguments.GetValue(video), arguments.GetValue(audio));

        return new Site(
            "PlayFromDisk",
            "The program reads encoded frames from disk and sends each when its time has come."
        )
        {
            Attend = async visitor =>
            {
                // The whole of it: how files are read and frames are paced is in Web/Clip.cs and Web/ClipPlayer.cs.
                var player = new ClipPlayer(clip);
                player.AddTo(visitor.Peer);
                await visitor.ConnectedAsync();
                await player.RunAsync(visitor.Gone);
            },
        };
    }
);
