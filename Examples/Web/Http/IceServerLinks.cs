using System.Text;
using System.Text.RegularExpressions;

namespace Hybrid.WebRtc.Examples;

/// <summary>STUN and TURN servers as <c>Link</c> headers, RFC 9725 §4.6: how a server tells clients of those they shall use.</summary>
public static partial class IceServerLinks
{
    /// <summary>The headers' values.</summary>
    public static IEnumerable<string> Format(IEnumerable<RTCIceServer> servers)
    {
        foreach (var server in servers)
        {
            foreach (var url in server.Urls)
            {
                var link = new StringBuilder($"<{url}>; rel=\"ice-server\"");
                if (server is { Username: { } username, Credential: { } credential })
                    link.Append(
                        $"; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
                    );
                yield return link.ToString();
            }
        }
    }

    /// <summary>The servers that headers tell of. Other links are skipped, and servers that want credentials and bring none.</summary>
    public static IReadOnlyList<RTCIceServer> Parse(IEnumerable<string> headers)
    {
        var servers = new List<RTCIceServer>();

        foreach (Match link in headers.SelectMany(header => Link().Matches(header)))
        {
            var parameters = Parameter()
                .Matches(link.Groups[2].Value)
                .DistinctBy(each => each.Groups[1].Value.ToLowerInvariant())
                .ToDictionary(
                    each => each.Groups[1].Value.ToLowerInvariant(),
                    each => each.Groups[2].Value + each.Groups[3].Value
                );
            var url = link.Groups[1].Value;
            var username = parameters.GetValueOrDefault("username");
            var credential = parameters.GetValueOrDefault("credential");
            if (
                parameters.GetValueOrDefault("rel") == "ice-server"
                && (
                    url.StartsWith("stun", StringComparison.Ordinal) || (username is not null && credential is not null)
                )
            )
                servers.Add(new RTCIceServer(url, username, credential));
        }

        return servers;
    }

    // A target in angle brackets, and what follows it up to the next comma outside of quotes, RFC 8288 §3.
    [GeneratedRegex("""<([^>]{1,256})>((?:[^",]|"[^"]*")*)""", RegexOptions.NonBacktracking)]
    private static partial Regex Link();

    [GeneratedRegex("""([A-Za-z-]+)\s*=\s*(?:"([^"]*)"|([^\s;"]+))""", RegexOptions.NonBacktracking)]
    private static partial Regex Parameter();
}
