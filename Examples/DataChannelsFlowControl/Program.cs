// How to send faster than the network without filling the memory: twice the same thing, once by awaiting, once by events.

using System.CommandLine;
using System.Diagnostics;
using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using Hybrid.WebRtc;

var seconds = new Option<double>("--seconds")
{
    Description = "How long each way of sending runs.",
    DefaultValueFactory = _ => 5,
};
var size = new Option<int>("--size") { Description = "Octets a message.", DefaultValueFactory = _ => 64 * 1024 };
seconds.Validators.Add(r =>
{
    if (r.GetValue(seconds) is not (> 0 and <= 600))
        r.AddError("--seconds must be from 0 to 600.");
});
size.Validators.Add(r =>
{
    if (r.GetValue(size) is < 1 or > 262_144)
        r.AddError("--size must be from 1 to 262144.");
});

var command = new RootCommand("Flow control on a data channel, and what it moves.") { seconds, size };
command.SetAction(
    (arguments, stop) => RunAsync(TimeSpan.FromSeconds(arguments.GetValue(seconds)), arguments.GetValue(size), stop)
);
return await command.Parse(args).InvokeAsync();

static async Task<int> RunAsync(TimeSpan time, int size, CancellationToken stop)
{
    using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
    limit.CancelAfter(2 * time + TimeSpan.FromSeconds(30));

    await using var pair = await Pair.ConnectAsync(limit.Token);
    var message = new byte[size];
    var warm = TimeSpan.FromSeconds(1);

    // The first second of a process is its compiler's, and the congestion window's: it would count against whoever goes first.
    await pair.MeasureAsync(
        "(warming up)",
        warm,
        () => AwaitAsync(pair.Sender, message, warm, limit.Token),
        limit.Token
    );
    await pair.MeasureAsync(
        "await SendAsync",
        time,
        () => AwaitAsync(pair.Sender, message, time, limit.Token),
        limit.Token
    );
    await pair.MeasureAsync(
        "bufferedAmountLow",
        time,
        () => OnLowAsync(pair.Sender, message, time, limit.Token),
        limit.Token
    );
    return 0;
}

// The short way: SendAsync completes at once while there is room, and otherwise when there is room again.
static async Task<long> AwaitAsync(
    RTCDataChannel channel,
    ReadOnlyMemory<byte> message,
    TimeSpan time,
    CancellationToken stop
)
{
    var clock = Stopwatch.StartNew();
    long sent = 0;

    for (; clock.Elapsed < time; sent += message.Length)
        await channel.SendAsync(message, stop);

    return sent;
}

// The W3C's way, as a browser has it: fill the buffer up to a mark, and fill it again when it has run low. The low mark must leave
// enough for the network to chew on while the event is on its way to us.
static async Task<long> OnLowAsync(
    RTCDataChannel channel,
    ReadOnlyMemory<byte> message,
    TimeSpan time,
    CancellationToken stop
)
{
    const long High = 1024 * 1024;
    channel.BufferedAmountLowThreshold = High / 2;
    var clock = Stopwatch.StartNew();
    long sent = 0;

    while (clock.Elapsed < time)
    {
        var low = channel.OnBufferedAmountLow.FirstAsync().ToTask(stop); // asked for before the buffer is filled

        while (channel.BufferedAmount < High)
        {
            channel.Send(message);
            sent += message.Length;
        }

        await low;
    }

    return sent;
}
