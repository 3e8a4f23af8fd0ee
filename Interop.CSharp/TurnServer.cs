using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack;
using Hybrid.WebRtc.Stack.Turn;

namespace Hybrid.WebRtc;

/// <summary>
/// A TURN and STUN server within this process, RFC 8656, RFC 8489 and, where there is a second address, RFC 5780. It serves until it is
/// disposed. Its counters are under the meter <c>Hybrid.WebRtc</c> as <c>turn.*</c>.
/// </summary>
public sealed class TurnServer : IAsyncDisposable
{
    private readonly TurnServerHost _host;

    private TurnServer(TurnServerHost host)
    {
        _host = host;
        Listeners =
        [
            .. host.Endpoints.Select(listener => new TurnServerListener(
                (TurnServerTransport)listener.Transport,
                listener.Endpoint
            )),
        ];
    }

    /// <summary>Where it listens, with the addresses and ports that were found where the options left them open.</summary>
    public IReadOnlyList<TurnServerListener> Listeners { get; }

    /// <summary>Allocations that are open.</summary>
    public int Allocations => _host.Allocations;

    /// <summary>Binds every listener and begins to serve.</summary>
    /// <exception cref="ArgumentException">A value of the options is out of its range, or two do not fit.</exception>
    /// <exception cref="IOException">A listener's port is taken, or its address is not this machine's.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled before it began.</exception>
    public static async Task<TurnServer> StartAsync(
        TurnServerOptions options,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();

        // To list the machine's addresses takes milliseconds.
        var host = await Task.Run(() => TurnServerHost.Start(options.ToStack()), cancellationToken)
            .ConfigureAwait(false);
        return new TurnServer(host);
    }

    /// <summary>
    /// A name and password that expire, made from a secret that the server knows, too (<see cref="TurnServerOptions.SharedSecrets"/>): what a web service
    /// hands to a browser, which need not be told any lasting password. draft-uberti-behave-turn-rest-00 §2.2.
    /// </summary>
    /// <param name="sharedSecret">The secret.</param>
    /// <param name="name">Whom it is for; quotas are counted by it. May be empty.</param>
    /// <param name="lifetime">How long it can be used to allocate. What is allocated by then may be refreshed beyond.</param>
    /// <param name="timeProvider">Where time comes from; null: the system's clock.</param>
    public static TurnCredential CreateCredential(
        string sharedSecret,
        string name,
        TimeSpan lifetime,
        TimeProvider? timeProvider = null
    )
    {
        ArgumentException.ThrowIfNullOrEmpty(sharedSecret);
        ArgumentNullException.ThrowIfNull(name);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(lifetime, TimeSpan.Zero);

        var expiresAt = (timeProvider ?? TimeProvider.System).GetUtcNow() + lifetime;
        var seconds = expiresAt.ToUnixTimeSeconds();
        var username = RestCredentials.Username(seconds, name);

        return new TurnCredential(
            username,
            RestCredentials.Password(SystemCiphers.Shared, sharedSecret, username),
            DateTimeOffset.FromUnixTimeSeconds(seconds)
        );
    }

    /// <summary>
    /// From now on these are the users and secrets. Allocations that are there stay, and are refreshed with the passwords they were
    /// made with.
    /// </summary>
    /// <exception cref="ArgumentException">A name, password or secret is empty.</exception>
    public void SetCredentials(IReadOnlyDictionary<string, string> users, IReadOnlyList<string> sharedSecrets)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(sharedSecrets);
        TurnServerOptions.CheckUsers(users, sharedSecrets);
        _host.Post(TurnServerInput.NewSetCredentials(TurnServerOptions.ToCredentials(users, sharedSecrets)));
    }

    /// <summary>
    /// Whether new allocations are refused while those that are there go on: before maintenance. Clients are sent to
    /// <see cref="TurnServerOptions.AlternateServers"/> where there are any.
    /// </summary>
    public void Drain(bool draining) => _host.Post(TurnServerInput.NewDrain(draining));

    /// <summary>Ends every allocation and closes every socket.</summary>
    public ValueTask DisposeAsync() => _host.DisposeAsync();
}

/// <summary>A name and password for a TURN server, for <see cref="RTCIceServer"/>.</summary>
/// <param name="Username">The name, which tells when it expires.</param>
/// <param name="Credential">The password.</param>
/// <param name="ExpiresAt">Until when it can be used to allocate.</param>
public sealed record TurnCredential(string Username, string Credential, DateTimeOffset ExpiresAt);
