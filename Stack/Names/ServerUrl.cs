using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Hybrid.WebRtc.Stack.Names;

/// <summary>The host and port of a STUN or TURN server: <c>stun:host:port</c>, RFC 7064 §3.1; <c>turns:host?transport=tcp</c>, RFC 7065 §3.1.</summary>
/// <param name="Host">A name, or the text of an address without brackets.</param>
/// <param name="Port">The port that is named, or else the scheme's.</param>
internal readonly record struct ServerUrl(string Host, int Port)
{
    /// <summary>stun and turn, RFC 8489 §18.6.</summary>
    private const int DefaultPort = 3478;

    /// <summary>stuns and turns, over TLS or DTLS.</summary>
    private const int DefaultSecurePort = 5349;

    /// <summary>Null: not such a URL.</summary>
    public static ServerUrl? Parse(string url)
    {
        var colon = url.IndexOf(':');

        if (colon < 0)
            return null;

        int port;

        switch (url[..colon].ToLowerInvariant())
        {
            case "stun" or "turn":
                port = DefaultPort;
                break;
            case "stuns" or "turns":
                port = DefaultSecurePort;
                break;
            default:
                return null;
        }

        var rest = url[(colon + 1)..];
        var query = rest.IndexOf('?');
        var authority = query < 0 ? rest : rest[..query];
        string host;
        string portText;

        if (authority.StartsWith('['))
        {
            var end = authority.IndexOf(']');

            if (end < 0)
                return null;

            host = authority[1..end];
            portText = authority[(end + 1)..];

            if (!IPAddress.TryParse(host, out var v6) || v6.AddressFamily != AddressFamily.InterNetworkV6)
                return null;
        }
        else
        {
            var end = authority.IndexOf(':');
            host = end < 0 ? authority : authority[..end];
            portText = end < 0 ? "" : authority[end..];
        }

        if (
            portText != ""
            && !(
                portText[0] == ':'
                && ushort.TryParse(portText[1..], NumberStyles.None, CultureInfo.InvariantCulture, out var named)
                && (port = named) > 0
            )
        )
            return null;

        return host.Length is 0 or > 253 || host.AsSpan().ContainsAnyExceptInRange('!', '~') || host.Contains('/')
            ? null
            : new ServerUrl(host, port);
    }
}
