// Both sides change the connection at the same moment, again and again, and never have to agree on who calls whom.
// An argument gives the number of rounds. Ends with 0 if the connection has survived them all.

using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using System.Threading.Channels;
using Hybrid.WebRtc;

var rounds = args is [var text, ..] ? int.Parse(text, System.Globalization.CultureInfo.InvariantCulture) : 5;
using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30 + 5 * rounds));

// A signalling channel: ordered both ways, as a WebSocket is.
var toRomeo = Channel.CreateUnbounded<Signal>();
var toJulia = Channel.CreateUnbounded<Signal>();
await using var julia = new Side("julia", polite: true, toRomeo.Writer);
await using var romeo = new Side("romeo", polite: false, toJulia.Writer);
var listening = Task.WhenAll(
    julia.ListenAsync(toJulia.Reader, limit.Token),
    romeo.ListenAsync(toRomeo.Reader, limit.Token)
);

// Both create a channel, so both want to offer: the first collision.
var juliasChannel = julia.Peer.CreateDataChannel("from julia");
var romeosChannel = romeo.Peer.CreateDataChannel("from romeo");
var juliaHeard = romeo.Peer.OnDataChannel.FirstAsync().ToTask(limit.Token);
var romeoHeard = julia.Peer.OnDataChannel.FirstAsync().ToTask(limit.Token);

await Connected(julia);
await Connected(romeo);
Console.WriteLine(
    $"both   connected; julia has heard of '{(await romeoHeard).Channel.Label}', romeo of '{(await juliaHeard).Channel.Label}'"
);

for (var round = 1; round <= rounds; round++)
{
    // New credentials, new candidates, a new path, and data flow all the while. Both ask for it at once.
    julia.Peer.RestartIce();
    romeo.Peer.RestartIce();
    await Stable(julia);
    await Stable(romeo);
    await Ask($"round {round}");
    Console.WriteLine($"both   stable after round {round}");
}

Console.WriteLine($"both   {julia.Collisions + romeo.Collisions} collisions, and still connected");
return julia.Fault is null && romeo.Fault is null ? 0 : 1;

Task Connected(Side side) =>
    side.Peer.OnConnectionStateChange.FirstAsync(s => s == RTCPeerConnectionState.Connected).ToTask(limit.Token);

// Stable, and nothing left to negotiate: what a rolled-back offer wanted is offered again after the collision.
Task Stable(Side side) =>
    side
        .Peer.OnSignalingStateChange.Throttle(TimeSpan.FromMilliseconds(200))
        .FirstAsync(s => s == RTCSignalingState.Stable)
        .ToTask(limit.Token);

async Task Ask(string what)
{
    if (listening.IsFaulted)
        await listening;

    var channel = (await juliaHeard).Channel; // Romeo's end of Julia's channel
    var arrived = channel.OnMessage.FirstAsync(m => m.Text == what).ToTask(limit.Token);

    await juliasChannel.WaitForOpenAsync(limit.Token);
    juliasChannel.Send(what);
    await arrived;
}
