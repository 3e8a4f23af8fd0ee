using System.Text.Json;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>Who is in a room. What one sends goes to all others.</summary>
internal sealed class Room(string name)
{
    private const int MostParticipants = 16;

    /// <summary>How often layers and the speaker are looked at.</summary>
    private static readonly TimeSpan _interval = TimeSpan.FromMilliseconds(300);

    private readonly Lock _gate = new();
    private readonly List<Participant> _participants = [];
    private Participant? _speaker;

    /// <summary>Until the page goes.</summary>
    public async Task AttendAsync(Visitor visitor)
    {
        var me = new Participant(visitor);
        visitor.Messages.Subscribe(message => Hear(me, message));
        visitor.Peer.OnTrack.Subscribe(e =>
        {
            lock (_gate)
            {
                me.Sends(e.Receiver);
                if (_participants.Contains(me))
                {
                    foreach (var other in Others(me))
                        other.Watch(me, e.Track);
                }
            }
        });

        // The page's own offer first: from then on only we offer, and nobody's offers collide.
        await visitor.ConnectedAsync();
        Enter(me);
        try
        {
            using var timer = new PeriodicTimer(_interval);
            while (await timer.WaitForNextTickAsync(visitor.Gone))
            {
                lock (_gate)
                {
                    me.ChooseLayers();
                    // Once for the room, not once for each in it.
                    if (_participants[0] == me)
                        FindSpeaker();
                }
            }
        }
        finally
        {
            Leave(me);
        }
    }

    private void Enter(Participant me)
    {
        lock (_gate)
        {
            if (_participants.Count >= MostParticipants)
                throw new InvalidOperationException($"The room is full: {MostParticipants} are in it.");
            _participants.Add(me);
            foreach (var other in Others(me))
            {
                foreach (var receiver in other.Sent)
                    me.Watch(other, receiver.Track);
                foreach (var receiver in me.Sent)
                    other.Watch(me, receiver.Track);
            }

            AnsiConsole.MarkupLineInterpolated(
                $"{name}   page {me.Visitor.Number} enters, {_participants.Count} are there"
            );
            TellAll();
        }
    }

    private void Leave(Participant me)
    {
        lock (_gate)
        {
            _participants.Remove(me);
            foreach (var other in _participants)
                other.Unwatch(me);
            me.UnwatchAll();
            if (_speaker == me)
                _speaker = null;
            AnsiConsole.MarkupLineInterpolated(
                $"{name}   page {me.Visitor.Number} leaves, {_participants.Count} are there"
            );
            TellAll();
        }
    }

    /// <summary>What a page says: its user's name, that the microphone is off or on, and how wide its tiles are.</summary>
    private void Hear(Participant me, JsonElement message)
    {
        lock (_gate)
        {
            if (message.TryGetProperty("name", out var called) && called.GetString() is { } text)
                me.Name = text.Length > 40 ? text[..40] : text;
            if (
                message.TryGetProperty("muted", out var muted)
                && muted.ValueKind is JsonValueKind.True or JsonValueKind.False
            )
                me.IsMuted = muted.GetBoolean();
            if (message.TryGetProperty("tiles", out var tiles) && tiles.ValueKind == JsonValueKind.Object)
            {
                foreach (var tile in tiles.EnumerateObject().Take(MostParticipants))
                    me.Resize(tile.Name, tile.Value.TryGetInt32(out var width) ? width : 0);
                me.ChooseLayers();
            }
            else
                TellAll();
        }
    }

    /// <summary>The loudest, by what packets say of their sound, RFC 6464: nothing is decoded for it.</summary>
    private void FindSpeaker()
    {
        var loudest = _participants.Where(each => !each.IsMuted).MaxBy(each => each.Loudness);
        var speaker = loudest is { Loudness: > 0.02 } ? loudest : null;
        if (speaker == _speaker)
            return;
        _speaker = speaker;
        foreach (var each in _participants)
            each.Visitor.Send(new { Speaker = speaker?.Stream.Id });
    }

    private void TellAll()
    {
        var members = _participants
            .Select(each => new
            {
                each.Stream.Id,
                each.Name,
                each.IsMuted,
            })
            .ToArray();
        foreach (var each in _participants)
            each.Visitor.Send(new { You = each.Stream.Id, Members = members });
    }

    private IEnumerable<Participant> Others(Participant me) => _participants.Where(each => each != me);
}
