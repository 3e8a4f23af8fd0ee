using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>How a proxy is spoken to.</summary>
internal enum ProxyKind
{
    /// <summary>HTTP's CONNECT, RFC 9110 §9.3.6.</summary>
    Http,

    /// <summary>SOCKS version 5, RFC 1928, with RFC 1929 where it asks for a password.</summary>
    Socks5,
}

/// <summary>A proxy that connections to TURN servers are made through.</summary>
/// <param name="Kind">How it is spoken to.</param>
/// <param name="Host">A name or an address.</param>
/// <param name="Port">Where it listens.</param>
/// <param name="Username">Who we are; null: nobody.</param>
/// <param name="Password">And the proof.</param>
internal sealed record ProxySettings(ProxyKind Kind, string Host, int Port, string? Username, string? Password);

/// <summary>The beginning of a connection through a proxy: once it is over, the stream is that to the target.</summary>
internal static class StreamProxy
{
    /// <summary>The longest answer of an HTTP proxy that is read, octets.</summary>
    private const int MaxAnswer = 16 * 1024;

    private const byte Version = 5,
        PasswordVersion = 1,
        NoAuthentication = 0,
        UsernamePassword = 2,
        ConnectCommand = 1,
        V4 = 1,
        DomainName = 3,
        V6 = 4;

    private static readonly string[] Replies =
    [
        "",
        "general failure",
        "not allowed by its rules",
        "network unreachable",
        "host unreachable",
        "connection refused",
        "TTL expired",
        "command not supported",
        "address type not supported",
    ];

    /// <summary>Asks the proxy at the other end of <paramref name="stream"/> for a connection to <paramref name="target"/>.</summary>
    /// <exception cref="IOException">It refuses, or does not speak its protocol.</exception>
    public static Task Ask(Stream stream, ProxySettings proxy, IPEndPoint target, CancellationToken token) =>
        proxy.Kind == ProxyKind.Http ? AskHttp(stream, proxy, target, token) : AskSocks(stream, proxy, target, token);

    private static async Task AskHttp(Stream stream, ProxySettings proxy, IPEndPoint target, CancellationToken token)
    {
        // The authority form, with brackets around IPv6, RFC 9112 §3.2.3.
        var request = new StringBuilder($"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");

        if (proxy.Username is { } user)
        {
            var secret = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{proxy.Password}"));
            request.Append("Proxy-Authorization: Basic ").Append(secret).Append("\r\n");
        }

        request.Append("\r\n");
        await stream.WriteAsync(Encoding.ASCII.GetBytes(request.ToString()), token).ConfigureAwait(false);

        // One octet at a time: what follows the header is the target's.
        var answer = new byte[MaxAnswer];
        var read = 0;

        while (!answer.AsSpan(0, read).EndsWith("\r\n\r\n"u8))
        {
            if (read == MaxAnswer)
                throw new IOException("The HTTP proxy's answer does not end.");

            await stream.ReadExactlyAsync(answer.AsMemory(read++, 1), token).ConfigureAwait(false);
        }

        var line = Encoding.Latin1.GetString(answer, 0, answer.AsSpan().IndexOf((byte)'\r'));
        var words = line.Split(' ', 3);

        if (words.Length < 2 || !words[0].StartsWith("HTTP/1.", StringComparison.Ordinal))
            throw new IOException("The HTTP proxy does not answer as one.");

        if (words[1] is not ['2', _, _])
            throw new IOException(
                words[1] == "407"
                    ? "The HTTP proxy asks for a user name and a password (407)."
                    : $"The HTTP proxy refuses: {line}"
            );
    }

    private static async Task AskSocks(Stream stream, ProxySettings proxy, IPEndPoint target, CancellationToken token)
    {
        byte[] hello = proxy.Username is null
            ? [Version, 1, NoAuthentication]
            : [Version, 2, NoAuthentication, UsernamePassword];
        await stream.WriteAsync(hello, token).ConfigureAwait(false);
        var answer = await Read(stream, 2, token).ConfigureAwait(false);

        if (answer[0] != Version)
            throw new IOException("The SOCKS proxy does not speak version 5.");

        if (answer[1] == UsernamePassword && proxy.Username is { } user)
            await Prove(stream, user, proxy.Password ?? "", token).ConfigureAwait(false);
        else if (answer[1] != NoAuthentication)
            throw new IOException("The SOCKS proxy asks for a user name and a password.");

        await stream.WriteAsync(Connect(target), token).ConfigureAwait(false);
        var reply = await Read(stream, 4, token).ConfigureAwait(false);

        if (reply[0] != Version || reply[1] != 0)
            throw new IOException(
                $"The SOCKS proxy refuses: {(reply[1] < Replies.Length ? Replies[reply[1]] : "unknown reason")} ({reply[1]})."
            );

        // Where it connects from: nobody's business.
        var rest = reply[3] switch
        {
            V4 => 4 + 2,
            V6 => 16 + 2,
            DomainName => (await Read(stream, 1, token).ConfigureAwait(false))[0] + 2,
            _ => throw new IOException("The SOCKS proxy's answer has an unknown address."),
        };
        await Read(stream, rest, token).ConfigureAwait(false);
    }

    // RFC 1929 §2.
    private static async Task Prove(Stream stream, string user, string password, CancellationToken token)
    {
        var name = Encoding.UTF8.GetBytes(user);
        var secret = Encoding.UTF8.GetBytes(password);

        if (name.Length > 255 || secret.Length > 255)
            throw new IOException("A user name or password for SOCKS has at most 255 octets.");

        byte[] proof = [PasswordVersion, (byte)name.Length, .. name, (byte)secret.Length, .. secret];
        await stream.WriteAsync(proof, token).ConfigureAwait(false);

        if ((await Read(stream, 2, token).ConfigureAwait(false))[1] != 0)
            throw new IOException("The SOCKS proxy does not take the user name and the password.");
    }

    // RFC 1928 §4.
    private static byte[] Connect(IPEndPoint target)
    {
        var address = target.Address.GetAddressBytes();
        var port = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(port, (ushort)target.Port);
        var type = target.AddressFamily == AddressFamily.InterNetwork ? V4 : V6;
        return [Version, ConnectCommand, 0, type, .. address, .. port];
    }

    private static async Task<byte[]> Read(Stream stream, int count, CancellationToken token)
    {
        var octets = new byte[count];
        await stream.ReadExactlyAsync(octets, token).ConfigureAwait(false);
        return octets;
    }
}
