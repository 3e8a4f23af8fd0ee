namespace Hybrid.WebRtc.Media;

/// <summary>NAL units in a byte stream, H.264 annex B; the same in H.265 and H.266.</summary>
internal static class AnnexB
{
    /// <summary>What is written before each NAL unit.</summary>
    public static ReadOnlySpan<byte> StartCode => [0, 0, 0, 1];

    private static ReadOnlySpan<byte> ShortCode => [0, 0, 1];

    /// <summary>Where the first start code's three octets begin; negative: there is none, or something else is before it.</summary>
    public static int First(ReadOnlySpan<byte> stream)
    {
        var at = stream.IndexOf(ShortCode);
        return at >= 0 && stream[..at].IndexOfAnyExcept((byte)0) < 0 ? at : -1;
    }

    /// <summary>Takes the next NAL unit, without the zeros that may follow it.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="at">Where the three octets of a start code begin; moved to the next one, or to the end.</param>
    /// <param name="offset">Where the NAL unit begins.</param>
    /// <param name="length">Its octets, 0 where there is nothing between two start codes.</param>
    /// <returns>False: the stream has ended.</returns>
    public static bool TryNext(ReadOnlySpan<byte> stream, ref int at, out int offset, out int length)
    {
        offset = at + 3;
        length = 0;

        if (offset > stream.Length)
            return false;

        var next = stream[offset..].IndexOf(ShortCode);
        at = next < 0 ? stream.Length : offset + next;
        length = stream[offset..at].LastIndexOfAnyExcept((byte)0) + 1;
        return true;
    }
}
