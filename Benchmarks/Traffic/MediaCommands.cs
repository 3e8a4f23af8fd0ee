using System.CommandLine;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>RTP packets: through one track from peer to peer, and through an SFU to many.</summary>
internal static class MediaCommands
{
    public static Command Rtp()
    {
        var seconds = Options.Seconds(10);
        var media = new MediaArguments(2_000);
        var command = new Command("rtp", "RTP packets through one track between two peers.") { seconds };
        media.AddTo(command);

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                using var limit = Limit(time, cancellation);
                var track = PacketFlow.Track();
                var flow = media.Flow(arguments, track, 1);
                await using var link = await MediaLink.ConnectAsync(media.ToOptions(arguments), track, limit.Token);
                using var counting = flow.Count(link.Arriving);

                var figures = await Figures.MeasureAsync(flow, time, limit.Token);
                return figures
                    .Report("rtp", 1)
                    .With("srtp", "what protects them", await link.SrtpCipherAsync())
                    .With("feedback", "about the transport", media.Feedback(arguments))
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    public static Command Forward()
    {
        var seconds = Options.Seconds(10);
        var subscribers = Options.Within("--subscribers", "Connections that the SFU sends to.", 50, 1, 1_000);
        var media = new MediaArguments(256);
        var command = new Command("forward", "One publisher, an SFU, many subscribers: RTP packets forwarded.")
        {
            seconds,
            subscribers,
        };
        media.AddTo(command);

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var count = arguments.GetValue(subscribers);
                using var limit = Limit(time + TimeSpan.FromSeconds(count), cancellation);
                var options = media.ToOptions(arguments);
                var track = PacketFlow.Track();
                var forwarded = new RtpTrack(MediaKind.Video);
                var flow = media.Flow(arguments, track, count);

                await using var publisher = await MediaLink.ConnectAsync(options, track, limit.Token);
                var links = new List<MediaLink>(count);
                for (var i = 0; i < count; i++)
                    links.Add(await MediaLink.ConnectAsync(options, forwarded, limit.Token));
                var counting = links.Select(link => flow.Count(link.Arriving)).ToList();
                using var forward = publisher.Arriving.ForwardTo(forwarded);

                var figures = await Figures.MeasureAsync(flow, time, limit.Token);
                var srtp = await publisher.SrtpCipherAsync();
                counting.ForEach(each => each.Dispose());
                await Task.WhenAll(links.Select(link => link.DisposeAsync().AsTask()));
                return figures
                    .Report("forward", count)
                    .With("subscribers", "subscribers", count)
                    .With("srtp", "what protects them", srtp)
                    .With("feedback", "about the transport", media.Feedback(arguments))
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    private static CancellationTokenSource Limit(TimeSpan time, CancellationToken cancellation)
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(time + Run.Warm + (3 * Run.Stall));
        return limit;
    }

    /// <summary>What both commands may be told.</summary>
    private sealed class MediaArguments(int window)
    {
        private readonly Option<bool> _feedback = new("--feedback")
        {
            Description = "With transport-cc feedback and its congestion control. Default: without.",
        };

        private readonly Option<int> _window = Options.Within(
            "--window",
            "Packets under way to an end at most.",
            window,
            64,
            4_096
        );

        private readonly Option<int> _burst = Options.Within("--burst", "Packets a write, a power of two.", 64, 1, 64);
        private readonly Option<string> _profile = Profile();
        private readonly Option<string> _port = Options.Port();
        private readonly Option<string> _ciphers = Options.Ciphers();

        private static Option<string> Profile()
        {
            var option = new Option<string>("--profile")
            {
                Description = "How SRTP protects packets: gcm (AES-256-GCM) or cm (AES-128 counter mode, HMAC-SHA1).",
                DefaultValueFactory = _ => "gcm",
            };
            option.AcceptOnlyFromAmong("gcm", "cm");
            return option;
        }

        public void AddTo(Command command)
        {
            command.Add(_feedback);
            command.Add(_window);
            command.Add(_burst);
            command.Add(_profile);
            command.Add(_port);
            command.Add(_ciphers);
        }

        public string Feedback(ParseResult arguments) => arguments.GetValue(_feedback) ? "transport-cc" : "none";

        public WebRtcOptions ToOptions(ParseResult arguments) =>
            MediaLink.Options(arguments.ToSetting(_port, _ciphers), arguments.GetValue(_feedback)) with
            {
                SrtpProfiles =
                [
                    arguments.GetValue(_profile) == "cm"
                        ? WebRtcSrtpProfile.Aes128CmHmacSha1_80
                        : WebRtcSrtpProfile.AeadAes256Gcm,
                ],
            };

        public PacketFlow Flow(ParseResult arguments, RtpTrack track, int ends) =>
            new(
                track,
                ends,
                arguments.GetValue(_window),
                (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)arguments.GetValue(_burst))
            );
    }

    /// <summary>What a stretch of a flow came to.</summary>
    /// <param name="Written">Packets written.</param>
    /// <param name="Arrived">Packets that arrived, at all ends together, while it was measured.</param>
    /// <param name="Settled">Packets that arrived until no more came.</param>
    /// <param name="Spent">Its time.</param>
    /// <param name="Allocated">Octets of managed memory.</param>
    /// <param name="Collections">Garbage collections.</param>
    private sealed record Figures(long Written, long Arrived, long Settled, Cost Spent, long Allocated, int Collections)
    {
        public static async Task<Figures> MeasureAsync(PacketFlow flow, TimeSpan time, CancellationToken stop)
        {
            await flow.RunAsync(Run.Warm, stop);
            await flow.SettleAsync(stop);
            var (written, arrived) = (flow.Written, flow.Arrived);
            var allocated = GC.GetTotalAllocatedBytes(precise: true);
            var collections = GC.CollectionCount(0);
            var cost = Cost.Start();
            await flow.RunAsync(time, stop);
            var spent = cost();
            var came = flow.Arrived - arrived;
            allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
            collections = GC.CollectionCount(0) - collections;
            await flow.SettleAsync(stop);
            return new(flow.Written - written, came, flow.Arrived - arrived, spent, allocated, collections);
        }

        public Report Report(string scenario, int ends) =>
            new Report(scenario)
                .With("packetsPerSecond", "packets a second, that arrived", Arrived / Spent.Wall.TotalSeconds)
                .With(
                    "cpuSecondsPerMillionPackets",
                    "CPU s a million, all ends together",
                    Spent.Cpu.TotalSeconds / (Arrived / 1e6)
                )
                .With("received", "packets received in all", Settled)
                .With("lost", "packets lost", (Written * ends) - Settled)
                .With("allocatedBytesPerPacket", "managed octets allocated a packet", (double)Allocated / Arrived)
                .With("collections", "garbage collections", Collections)
                .With("packetBytes", "octets a packet, before SRTP", PacketFlow.PacketSize)
                .With("peakRssMb", "peak memory, MB", Cost.PeakRssMb)
                .With("seconds", "seconds", Spent.Wall.TotalSeconds);
    }
}
