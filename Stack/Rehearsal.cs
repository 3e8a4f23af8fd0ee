using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// What the first connection of a process needs later, done once beside it, on the thread pool: the code of a handshake's cryptography is
/// compiled, and the machine's interfaces are listed, while the application is still busy with descriptions.
/// </summary>
internal static class Rehearsal
{
    private static int s_begun;

    /// <summary>Begins, at the process's first peer; any thread.</summary>
    /// <param name="config">The peer's: its ciphers and its certificate are those that will be used.</param>
    public static void Begin(PeerConfig config)
    {
        if (Interlocked.Exchange(ref s_begun, 1) != 0)
            return;

        Task.Run(() => Try(() => _ = InterfaceSnapshot.Present()));
        Task.Run(() => Try(() => Handshake(config.Ciphers, config.Identity)));
    }

    private static void Handshake(ICiphers ciphers, Identity identity)
    {
        // Nothing of it is used: the seeds need not be secret.
        Span<byte> seed = stackalloc byte[64];
        using var ours = ciphers.Agree(NamedGroup.X25519, seed);
        seed[0] = 8;
        using var theirs = ciphers.Agree(NamedGroup.X25519, seed);
        ours.Secret(theirs.Public);

        var scheme = identity.Key.Schemes[0];
        ciphers.Verify(identity.Certificate, scheme, seed, identity.Key.Sign(scheme, seed));
    }

    /// <summary>Whatever fails here fails again where it matters, and is told there.</summary>
    private static void Try(Action part)
    {
        try
        {
            part();
        }
        catch (Exception)
        {
            // Intentionally nothing.
        }
    }
}
