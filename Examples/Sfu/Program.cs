// A selective forwarding unit: rooms in which everybody sees everybody. Each page sends once, in three sizes; the program sends each page the
// packets of the others, of the size that fits its tile, and decodes nothing.
//
//   http://127.0.0.1:8080/?room=lobby        `&picture=c82828` sends a picture of the page's own, so that one camera is enough for many tabs

using System.Collections.Concurrent;
using Hybrid.WebRtc.Examples;

return await Site.RunAsync(
    args,
    "Rooms in which everybody sees everybody.",
    [],
    _ =>
    {
        var rooms = new ConcurrentDictionary<string, Room>();

        return new Site("Rooms", "Everybody in a room sees everybody.")
        {
            Attend = visitor =>
            {
                var name = visitor.Query["room"].ToString() is { Length: > 0 and <= 64 } asked ? asked : "lobby";
                // A room stays: it is its name and an empty list.
                if (rooms.Count >= 1_000 && !rooms.ContainsKey(name))
                    throw new InvalidOperationException("There are too many rooms. Join one that is there.");
                return rooms.GetOrAdd(name, static name => new Room(name)).AttendAsync(visitor);
            },
        };
    }
);
