using System.Text;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// What a PATCH of WHIP or WHEP carries, RFC 8840 §9: the credentials of an ICE generation, and candidates of it. Both protocols
/// bundle all media on one transport, so the candidates are those of one media section.
/// </summary>
/// <param name="UsernameFragment">The generation's name.</param>
/// <param name="Password">Its password.</param>
/// <param name="Candidates">With their media section.</param>
/// <param name="EndOfCandidates">Whether no others follow.</param>
public sealed record SdpFragment(
    string UsernameFragment,
    string Password,
    IReadOnlyList<RTCIceCandidateInit> Candidates,
    bool EndOfCandidates
)
{
    /// <summary>Of the HTTP body.</summary>
    public const string MediaType = "application/trickle-ice-sdpfrag";

    private const string Ufrag = "a=ice-ufrag:";
    private const string Pwd = "a=ice-pwd:";
    private const string MidLine = "a=mid:";
    private const string CandidateLine = "a=candidate:";
    private const string End = "a=end-of-candidates";

    /// <summary>Reads a fragment, or what a whole description says of ICE. What it does not know it skips, as SDP has it.</summary>
    /// <exception cref="FormatException">There is no user name fragment, no password, or no media section for a candidate.</exception>
    public static SdpFragment Parse(string text)
    {
        string? ufrag = null;
        string? pwd = null;
        string? mid = null;
        var end = false;
        var candidates = new List<RTCIceCandidateInit>();

        foreach (var line in Lines(text))
        {
            // The first of each: of bundled sections, that is the one whose transport all share.
            if (line.StartsWith(Ufrag, StringComparison.Ordinal))
                ufrag ??= line[Ufrag.Length..];
            else if (line.StartsWith(Pwd, StringComparison.Ordinal))
                pwd ??= line[Pwd.Length..];
            else if (line.StartsWith(MidLine, StringComparison.Ordinal))
                mid = line[MidLine.Length..];
            else if (line.StartsWith("m=", StringComparison.Ordinal))
                mid = null;
            else if (line == End)
                end = true;
            else if (line.StartsWith(CandidateLine, StringComparison.Ordinal))
                candidates.Add(
                    new()
                    {
                        Candidate = line[2..],
                        SdpMid = mid ?? throw new FormatException("A candidate has an a=mid before it, RFC 8840 §4.4."),
                    }
                );
        }

        return ufrag is { Length: >= 4 and <= 256 } && pwd is { Length: >= 22 and <= 256 }
            ? new(ufrag, pwd, [.. candidates.Select(each => each with { UsernameFragment = ufrag })], end)
            : throw new FormatException(
                "a=ice-ufrag (4 to 256 characters) and a=ice-pwd (22 to 256) are expected, RFC 8839 §5.4."
            );
    }

    /// <summary>A description as it would be had it been made for this generation of ICE.</summary>
    public string ApplyTo(string sdp)
    {
        var changed = new StringBuilder();
        string? mid = null;

        foreach (var line in Lines(sdp))
        {
            if (line.StartsWith(CandidateLine, StringComparison.Ordinal) || line == End)
                continue;
            changed
                .Append(
                    line.StartsWith(Ufrag, StringComparison.Ordinal) ? Ufrag + UsernameFragment
                    : line.StartsWith(Pwd, StringComparison.Ordinal) ? Pwd + Password
                    : line
                )
                .Append("\r\n");
            if (!line.StartsWith(MidLine, StringComparison.Ordinal))
                continue;
            mid = line[MidLine.Length..];
            foreach (var candidate in Candidates.Where(each => each.SdpMid == mid))
                changed.Append("a=").Append(candidate.Candidate).Append("\r\n");
        }

        return changed.ToString();
    }

    /// <summary>The HTTP body.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(Ufrag).Append(UsernameFragment).Append("\r\n").Append(Pwd).Append(Password).Append("\r\n");

        foreach (var section in Candidates.GroupBy(candidate => candidate.SdpMid))
        {
            // The m= line only opens the section: its port and its formats mean nothing here, RFC 8840 §9.
            text.Append("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n").Append(MidLine).Append(section.Key).Append("\r\n");
            foreach (var candidate in section)
                text.Append("a=").Append(candidate.Candidate).Append("\r\n");
        }

        if (EndOfCandidates)
            text.Append(End).Append("\r\n");
        return text.ToString();
    }

    private static string[] Lines(string text) =>
        text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}
