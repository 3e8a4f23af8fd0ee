// Two peers in one process, and the kinds of data channel there are. Ends with 0 once every message has arrived.

using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using Hybrid.WebRtc;

using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));

// Loopback, so that it also runs where there is no network. Peers on different machines leave it out.
var options = new WebRtcOptions { IncludeLoopback = true };
await using var alice = new RTCPeerConnection(options: options);
await using var bob = new RTCPeerConnection(options: options);

// What is created before the offer opens with the connection: one handshake carries all of them.
var chat = alice.CreateDataChannel("chat");

// For what is stale when late, such as a position: no order, and a lost message is not sent again.
var positions = alice.CreateDataChannel("positions", new RTCDataChannelInit { Ordered = false, MaxRetransmits = 0 });

// Negotiated: both sides create it with the same id, and no message on the wire announces it.
var agreed = new RTCDataChannelInit { Negotiated = true, Id = 100 };
var aliceAgreed = alice.CreateDataChannel("agreed", agreed);
var bobAgreed = bob.CreateDataChannel("agreed", agreed);

// Bob answers on whatever channel Alice opened.
bob.OnDataChannel.Subscribe(e =>
{
    Console.WriteLine(
        $"bob    heard of '{e.Channel.Label}', id {e.Channel.Id}, {(e.Channel.Ordered ? "ordered" : "unordered")}"
    );
    e.Channel.OnMessage.Subscribe(m => e.Channel.Send($"{e.Channel.Label}: {Describe(m)} arrived"));
});
bobAgreed.OnMessage.Subscribe(m => bobAgreed.Send($"agreed: {Describe(m)} arrived"));

// One offer, one answer. Each is handed over when all candidates are in it, so nothing has to be sent after it.
await alice.SetLocalDescriptionAsync();
await alice.GatheringCompleteAsync(limit.Token);
await bob.SetRemoteDescriptionAsync(alice.LocalDescription!);
await bob.SetLocalDescriptionAsync();
await bob.GatheringCompleteAsync(limit.Token);
await alice.SetRemoteDescriptionAsync(bob.LocalDescription!);

await Exchange(chat, c => c.Send("a string"));
await Exchange(chat, c => c.Send(""));
await Exchange(chat, c => c.Send(new byte[200_000]));
await Exchange(positions, c => c.Send(new byte[12]));
await Exchange(aliceAgreed, c => c.Send(new byte[3]));

// What was sent before still arrives; then both ends are closed.
await chat.CloseAsync(limit.Token);
Console.WriteLine($"alice  'chat' is {chat.ReadyState}");
return 0;

async Task Exchange(RTCDataChannel channel, Action<RTCDataChannel> send)
{
    await channel.WaitForOpenAsync(limit.Token);
    var reply = channel.OnMessage.FirstAsync().ToTask(limit.Token); // asked for before the question is
    send(channel);
    Console.WriteLine($"alice  {(await reply).Text}");
}

static string Describe(MessageEvent m) => m.IsText ? $"\"{m.Text}\"" : $"{m.Data.Length} octets";
