using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Hybrid.WebRtc.Stack.Names;

/// <summary>A question for a name's address.</summary>
/// <param name="Id">The message's number, which a legacy answer repeats.</param>
/// <param name="Type">A, AAAA or any.</param>
/// <param name="IsUnicast">Whether the answer may come to the asking socket alone, RFC 6762 §5.4.</param>
internal readonly record struct DnsQuestion(ushort Id, ushort Type, bool IsUnicast)
{
    /// <summary>Whether an address of this family answers it.</summary>
    public bool IsAnsweredBy(IPAddress address) =>
        Type is not (DnsMessage.A or DnsMessage.Aaaa)
        || Type == DnsMessage.A == (address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork);
}

/// <summary>
/// What multicast DNS needs of DNS messages (RFC 1035 §4, RFC 6762 §18): a question for one name, and the addresses in an
/// answer. Any bytes may come in; reading ends without throwing, in time linear in their length.
/// </summary>
internal static class DnsMessage
{
    /// <summary>An IPv4 address, RFC 1035 §3.2.2.</summary>
    public const ushort A = 1;

    /// <summary>An IPv6 address, RFC 3596 §2.1.</summary>
    public const ushort Aaaa = 28;

    /// <summary>Octets of the largest query that <see cref="WriteQuery"/> writes.</summary>
    public const int MaxQuerySize = HeaderSize + 255 + 4;

    private const int HeaderSize = 12;
    private const ushort Internet = 1;

    /// <summary>The flag QR: a response, RFC 1035 §4.1.1.</summary>
    private const ushort Response = 0x8000;

    /// <summary>The flag AA, set in every multicast response, RFC 6762 §18.4.</summary>
    private const ushort Authoritative = 0x0400;

    /// <summary>OPCODE and RCODE, both zero in what is heeded, RFC 6762 §18.3 and §18.11.</summary>
    private const ushort OpcodeAndRcode = 0x780f;

    /// <summary>The top bit of a question's class asks for a unicast response, RFC 6762 §5.4; of a record's, flushes caches, §10.2.</summary>
    private const ushort TopBitOfClass = 0x8000;

    /// <summary>Records that are read of one message. A response to one question holds a handful.</summary>
    private const int MaxRecords = 64;

    /// <summary>Pointers that are followed for one name.</summary>
    private const int MaxJumps = 16;

    /// <summary>
    /// Whether a name is one of the link's: at least one label before <c>local</c>, RFC 6762 §3, of printable ASCII without
    /// blanks, each of 63 octets at most, 253 in all.
    /// </summary>
    public static bool IsLocalName(string name)
    {
        if (name.Length > 253 || !name.EndsWith(".local", StringComparison.OrdinalIgnoreCase))
            return false;

        foreach (var label in name.Split('.'))
            if (label.Length is 0 or > 63 || label.AsSpan().ContainsAnyExceptInRange('!', '~'))
                return false;

        return true;
    }

    /// <summary>Writes a query with one question (some responders, Chromium's among them, take no more) for a name that
    /// <see cref="IsLocalName"/> accepts; answers the octets written.</summary>
    /// <param name="into">At least <see cref="MaxQuerySize"/> octets.</param>
    /// <param name="name">The name.</param>
    /// <param name="type"><see cref="A"/> or <see cref="Aaaa"/>.</param>
    /// <param name="unicast">Whether the answer shall come to the asking socket alone.</param>
    public static int WriteQuery(Span<byte> into, string name, ushort type, bool unicast)
    {
        into[..HeaderSize].Clear();
        into[5] = 1;
        var at = WriteName(into, HeaderSize, name);
        BinaryPrimitives.WriteUInt16BigEndian(into[at..], type);
        BinaryPrimitives.WriteUInt16BigEndian(
            into[(at + 2)..],
            unicast ? (ushort)(Internet | TopBitOfClass) : Internet
        );
        return at + 4;
    }

    /// <summary>Octets of the largest answer that <see cref="WriteAnswer"/> writes.</summary>
    public const int MaxAnswerSize = HeaderSize + 2 * (255 + 4) + 10 + 16;

    /// <summary>Any type of record, RFC 1035 §3.2.3.</summary>
    private const ushort Any = 255;

    /// <summary>Whether a message asks for an address of this name.</summary>
    /// <param name="message">Any bytes.</param>
    /// <param name="name">The name, compared without regard to case.</param>
    /// <param name="question">What it asks, where it does.</param>
    public static bool Asks(ReadOnlySpan<byte> message, string name, out DnsQuestion question)
    {
        question = default;

        if (message.Length < HeaderSize)
            return false;

        var flags = BinaryPrimitives.ReadUInt16BigEndian(message[2..]);

        if ((flags & Response) != 0 || (flags & OpcodeAndRcode) != 0)
            return false;

        var count = Math.Min((int)BinaryPrimitives.ReadUInt16BigEndian(message[4..]), MaxRecords);
        var at = HeaderSize;

        for (var i = 0; i < count; i++)
        {
            var start = at;

            if (!SkipName(message, ref at) || (at += 4) > message.Length)
                return false;

            var type = BinaryPrimitives.ReadUInt16BigEndian(message[(at - 4)..]);
            var @class = BinaryPrimitives.ReadUInt16BigEndian(message[(at - 2)..]);

            if (type is A or Aaaa or Any && (@class & ~TopBitOfClass) == Internet && NameIs(message, start, name))
            {
                question = new(
                    BinaryPrimitives.ReadUInt16BigEndian(message),
                    type,
                    IsUnicast: (@class & TopBitOfClass) != 0
                );
                return true;
            }
        }

        return false;
    }

    /// <summary>Writes a response that gives a name's address; answers the octets written.</summary>
    /// <param name="into">At least <see cref="MaxAnswerSize"/> octets.</param>
    /// <param name="name">A name that <see cref="IsLocalName"/> accepts.</param>
    /// <param name="address">Its address.</param>
    /// <param name="lifetime">How long it may be kept; zero: not any more, RFC 6762 §10.1.</param>
    /// <param name="legacy">
    /// The question of one who knows no multicast DNS: it is repeated, with its number, and no cache is told to be flushed, RFC 6762 §6.7.
    /// </param>
    public static int WriteAnswer(
        Span<byte> into,
        string name,
        IPAddress address,
        TimeSpan lifetime,
        DnsQuestion? legacy = null
    )
    {
        into[..HeaderSize].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(into, legacy?.Id ?? 0);
        BinaryPrimitives.WriteUInt16BigEndian(into[2..], Response | Authoritative);
        into[7] = 1;
        var at = HeaderSize;

        if (legacy is { } question)
        {
            into[5] = 1;
            at = WriteName(into, at, name);
            BinaryPrimitives.WriteUInt16BigEndian(into[at..], question.Type);
            BinaryPrimitives.WriteUInt16BigEndian(into[(at + 2)..], Internet);
            at += 4;
        }

        at = WriteName(into, at, name);
        var v4 = address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        BinaryPrimitives.WriteUInt16BigEndian(into[at..], v4 ? A : Aaaa);
        BinaryPrimitives.WriteUInt16BigEndian(
            into[(at + 2)..],
            legacy is null ? (ushort)(Internet | TopBitOfClass) : Internet
        );
        BinaryPrimitives.WriteUInt32BigEndian(into[(at + 4)..], (uint)lifetime.TotalSeconds);
        address.TryWriteBytes(into[(at + 10)..], out var written);
        BinaryPrimitives.WriteUInt16BigEndian(into[(at + 8)..], (ushort)written);
        return at + 10 + written;
    }

    /// <summary>Reads the first address that a response gives for a name. Null: not a well-formed response, or not about the name.</summary>
    /// <param name="message">Any bytes.</param>
    /// <param name="name">The name, compared without regard to case.</param>
    /// <param name="lifetime">How long the address may be kept.</param>
    public static IPAddress? ReadAddress(ReadOnlySpan<byte> message, string name, out TimeSpan lifetime)
    {
        lifetime = default;

        if (message.Length < HeaderSize)
            return null;

        var flags = BinaryPrimitives.ReadUInt16BigEndian(message[2..]);

        if ((flags & Response) == 0 || (flags & OpcodeAndRcode) != 0)
            return null;

        var questions = BinaryPrimitives.ReadUInt16BigEndian(message[4..]);
        var records =
            BinaryPrimitives.ReadUInt16BigEndian(message[6..])
            + BinaryPrimitives.ReadUInt16BigEndian(message[8..])
            + BinaryPrimitives.ReadUInt16BigEndian(message[10..]);
        var at = HeaderSize;

        for (var i = 0; i < questions; i++)
        {
            if (i == MaxRecords || !SkipName(message, ref at) || (at += 4) > message.Length)
                return null;
        }

        for (var i = 0; i < Math.Min(records, MaxRecords); i++)
        {
            var start = at;

            if (!SkipName(message, ref at) || at + 10 > message.Length)
                return null;

            var type = BinaryPrimitives.ReadUInt16BigEndian(message[at..]);
            var @class = BinaryPrimitives.ReadUInt16BigEndian(message[(at + 2)..]) & ~TopBitOfClass;
            var seconds = BinaryPrimitives.ReadUInt32BigEndian(message[(at + 4)..]);
            var length = BinaryPrimitives.ReadUInt16BigEndian(message[(at + 8)..]);
            at += 10;

            if (at + length > message.Length)
                return null;

            var data = message.Slice(at, length);
            at += length;

            if (
                @class == Internet
                && (type == A && length == 4 || type == Aaaa && length == 16)
                && NameIs(message, start, name)
            )
            {
                lifetime = TimeSpan.FromSeconds(seconds);
                return new IPAddress(data);
            }
        }

        return null;
    }

    private static int WriteName(Span<byte> into, int at, string name)
    {
        foreach (var label in name.Split('.'))
        {
            into[at] = (byte)label.Length;
            Encoding.ASCII.GetBytes(label, into[(at + 1)..]);
            at += 1 + label.Length;
        }

        into[at] = 0;
        return at + 1;
    }

    /// <summary>Moves past a name as it stands: its labels up to the root or a pointer.</summary>
    private static bool SkipName(ReadOnlySpan<byte> message, ref int at)
    {
        while (at < message.Length)
        {
            var length = message[at];

            switch (length & 0xc0)
            {
                case 0 when length == 0:
                    at++;
                    return true;
                case 0:
                    at += 1 + length;
                    break;
                case 0xc0:
                    at += 2;
                    return at <= message.Length;
                default:
                    return false;
            }
        }

        return false;
    }

    /// <summary>
    /// Compares a name, pointers followed (RFC 1035 §4.1.4). Each must point further back than the one before, and there may be
    /// only a few: no chain of them is long.
    /// </summary>
    private static bool NameIs(ReadOnlySpan<byte> message, int at, string name)
    {
        var rest = name.AsSpan();
        var before = at;
        var jumps = 0;

        while (at < message.Length)
        {
            var length = message[at];

            if (length == 0)
                return rest.IsEmpty;

            if ((length & 0xc0) == 0xc0)
            {
                if (at + 2 > message.Length)
                    return false;

                var target = BinaryPrimitives.ReadUInt16BigEndian(message[at..]) & 0x3fff;

                if (target < HeaderSize || target >= before || ++jumps > MaxJumps)
                    return false;

                at = before = target;
                continue;
            }

            if ((length & 0xc0) != 0 || at + 1 + length > message.Length || rest.Length < length)
                return false;

            var label = message.Slice(at + 1, length);

            if (label.Contains((byte)'.') || !Ascii.EqualsIgnoreCase(label, rest[..length]))
                return false;

            rest = rest[length..];
            at += 1 + length;

            // Between two labels stands a dot, after the last nothing.
            if (!rest.IsEmpty)
            {
                if (rest[0] != '.')
                    return false;

                rest = rest[1..];
            }
        }

        return false;
    }
}
