namespace Hybrid.WebRtc.Media;

/// <summary>Parameters of a format, <c>name=value;name=value</c>, RFC 8866 §6.15. A name that comes twice counts the first time.</summary>
internal static class Fmtp
{
    /// <summary>The value of a parameter, letter case of its name aside; null where there is none.</summary>
    public static string? Value(string? fmtp, string name)
    {
        foreach (var part in (fmtp ?? "").Split(';', StringSplitOptions.TrimEntries))
        {
            var equals = part.IndexOf('=');

            if (equals > 0 && part.AsSpan(0, equals).Trim().Equals(name, StringComparison.OrdinalIgnoreCase))
                return part[(equals + 1)..].Trim();
        }

        return null;
    }

    /// <summary>The same as a number, <paramref name="otherwise"/> where it is none.</summary>
    public static int Number(string? fmtp, string name, int otherwise) =>
        int.TryParse(Value(fmtp, name), out var value) ? value : otherwise;
}
