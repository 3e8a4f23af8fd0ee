namespace Hybrid.WebRtc.Media;

/// <summary>Octets cut into pieces of about equal size: a last packet that is nearly empty would cost as much as a full one.</summary>
/// <param name="Total">Octets in all, at least 1.</param>
/// <param name="Count">Pieces.</param>
internal readonly record struct Split(int Total, int Count)
{
    /// <summary>The fewest pieces of at most <paramref name="max"/> octets.</summary>
    public static Split Of(int total, int max) => new(total, (total + max - 1) / max);

    /// <summary>The same where the first piece has less room than the others, by <paramref name="less"/> octets.</summary>
    public static Split Of(int total, int max, int less) => new(total + less, (total + less + max - 1) / max);

    /// <summary>Octets of a piece. The first ones are the larger ones.</summary>
    public int Size(int index) => Total / Count + (index < Total % Count ? 1 : 0);
}
