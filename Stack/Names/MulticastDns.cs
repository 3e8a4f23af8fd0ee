using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc.Stack.Names;

/// <summary>How multicast DNS is asked.</summary>
internal sealed record MulticastDnsOptions
{
    /// <summary>The port of questions and answers, RFC 6762 §3. Tests use another.</summary>
    public int Port { get; init; } = 5353;

    /// <summary>Interfaces that are asked on. Default: all, loopback included, since browsers on this machine answer there.</summary>
    public Func<InterfaceAddress, bool> Interfaces { get; init; } = _ => true;

    /// <summary>How long an answer is awaited after each of the questions; RFC 6762 §5.2 has the second a second after the first.</summary>
    public IReadOnlyList<TimeSpan> Patience { get; init; } =
    [TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(2)];

    /// <summary>Where log lines go.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;
}

/// <summary>
/// Asks the link for the addresses of <c>….local</c> names (RFC 6762), which browsers put in place of their own, and answers for ours.
/// Sockets are open only while a question is, or a name is announced. Answers are kept briefly. Everything is bounded, and nothing received throws.
/// </summary>
internal sealed class MulticastDns(MulticastDnsOptions? options = null)
{
    /// <summary>Names asked for at one time; a peer cannot have more asked.</summary>
    private const int MaxQuestions = 64;

    private const int MaxCached = 256;

    /// <summary>Names of ours at one time: two a connection, mostly.</summary>
    private const int MaxAnnounced = 4_096;

    /// <summary>RFC 6762 §10: records of a host's name may be kept for two minutes.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(120);

    /// <summary>By whoever knows no multicast DNS: ten seconds at most, RFC 6762 §6.7.</summary>
    private static readonly TimeSpan LegacyLifetime = TimeSpan.FromSeconds(10);

    /// <summary>Between the announcements of a name, and between its answers, RFC 6762 §6, §8.3.</summary>
    private static readonly TimeSpan Repeat = TimeSpan.FromSeconds(1);

    private static readonly IPAddress GroupV4 = IPAddress.Parse("224.0.0.251");
    private static readonly IPAddress GroupV6 = IPAddress.Parse("ff02::fb");

    /// <summary>An answer is kept no longer than this, whatever its TTL says.</summary>
    private static readonly TimeSpan LongestKept = TimeSpan.FromSeconds(60);

    private readonly MulticastDnsOptions _options = options ?? new MulticastDnsOptions();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, TaskCompletionSource<IPAddress?>> _questions = new(
        StringComparer.OrdinalIgnoreCase
    );
    private readonly Dictionary<string, (IPAddress Address, long KeptUntil)> _answers = new(
        StringComparer.OrdinalIgnoreCase
    );

    private readonly Dictionary<string, Announced> _announced = new(StringComparer.OrdinalIgnoreCase);
    private List<Asker>? _askers;

    /// <summary>One of our names.</summary>
    private sealed class Announced(IPAddress address)
    {
        public IPAddress Address { get; } = address;

        /// <summary>Not before this is it multicast again, RFC 6762 §6: once a second.</summary>
        public long AgainAt { get; set; }
    }

    /// <summary>
    /// Answers for a name from now on, and says so twice, RFC 6762 §8.3. It is not probed for: names are random
    /// (draft-ietf-mmusic-mdns-ice-candidates §3.1.1). Any thread, never blocks.
    /// </summary>
    public void Announce(string name, IPAddress address)
    {
        lock (_gate)
        {
            if (!DnsMessage.IsLocalName(name) || _announced.Count >= MaxAnnounced)
                return;

            _announced[name] = new Announced(address);
        }

        _ = Task.Run(async () =>
        {
            for (var i = 0; i < 2; i++)
            {
                if (!Say(name, Lifetime))
                    return;

                await Task.Delay(Repeat).ConfigureAwait(false);
            }
        });
    }

    /// <summary>Answers for a name no more, and says goodbye, RFC 6762 §10.1. Any thread, never blocks.</summary>
    public void Withdraw(string name) =>
        _ = Task.Run(() =>
        {
            Say(name, TimeSpan.Zero);

            lock (_gate)
                if (_announced.Remove(name))
                    Rest();
        });

    /// <summary>Multicasts one of our names. False: it is not ours any more, or there is no network.</summary>
    private bool Say(string name, TimeSpan lifetime)
    {
        try
        {
            List<Asker> askers;
            IPAddress address;

            lock (_gate)
            {
                if (!_announced.TryGetValue(name, out var announced))
                    return false;

                address = announced.Address;
                announced.AgainAt = Environment.TickCount64 + (long)Repeat.TotalMilliseconds;
                askers = _askers ??= Open();
            }

            Span<byte> answer = stackalloc byte[DnsMessage.MaxAnswerSize];
            var size = DnsMessage.WriteAnswer(answer, name, address, lifetime);

            foreach (var asker in askers)
                asker.Multicast(answer[..size]);

            return true;
        }
        catch (Exception e)
        {
            Log.MulticastDns(_options.Logger, e.Message);
            return false;
        }
    }

    /// <summary>Whether somebody asks for one of our names: answered to all, or to who asks where they want it so.</summary>
    private void Asked(ReadOnlySpan<byte> message, SocketAddress from, Asker asker)
    {
        var isLegacy = from.ToCore().Port != _options.Port;
        List<string>? toAll = null;
        Span<byte> answer = stackalloc byte[DnsMessage.MaxAnswerSize];

        lock (_gate)
        {
            foreach (var (name, announced) in _announced)
            {
                if (!DnsMessage.Asks(message, name, out var question) || !question.IsAnsweredBy(announced.Address))
                    continue;

                if (isLegacy || question.IsUnicast)
                {
                    var lifetime = isLegacy ? LegacyLifetime : Lifetime;
                    var legacy = isLegacy ? question : (DnsQuestion?)null;
                    asker.Answer(
                        answer[..DnsMessage.WriteAnswer(answer, name, announced.Address, lifetime, legacy)],
                        from
                    );
                }
                else if (announced.AgainAt <= Environment.TickCount64)
                {
                    (toAll ??= []).Add(name);
                }
            }
        }

        foreach (var name in toAll ?? [])
            Say(name, Lifetime);
    }

    /// <summary>Closes the sockets where nobody needs them; under the gate.</summary>
    private void Rest()
    {
        if (_questions.Count > 0 || _announced.Count > 0)
            return;

        foreach (var asker in _askers ?? [])
            asker.Dispose();

        _askers = null;
    }

    /// <summary>Asks for the address of a name; null where nobody answers, or the name is not of the link.</summary>
    public Task<IPAddress?> Query(string name, CancellationToken cancellation = default)
    {
        TaskCompletionSource<IPAddress?> question;

        lock (_gate)
        {
            if (!DnsMessage.IsLocalName(name))
                return Task.FromResult<IPAddress?>(null);

            if (_answers.TryGetValue(name, out var known) && known.KeptUntil > Environment.TickCount64)
                return Task.FromResult<IPAddress?>(known.Address);

            if (_questions.TryGetValue(name, out var asked))
                return asked.Task.WaitAsync(cancellation);

            if (_questions.Count >= MaxQuestions)
                return Task.FromResult<IPAddress?>(null);

            question = new TaskCompletionSource<IPAddress?>(TaskCreationOptions.RunContinuationsAsynchronously);
            _questions[name] = question;
        }

        _ = Task.Run(() => Ask(name, question), CancellationToken.None);
        return question.Task.WaitAsync(cancellation);
    }

    private async Task Ask(string name, TaskCompletionSource<IPAddress?> question)
    {
        try
        {
            foreach (var patience in _options.Patience)
            {
                Send(name);

                try
                {
                    await question.Task.WaitAsync(patience).ConfigureAwait(false);
                    break;
                }
                catch (TimeoutException)
                {
                    // Ask again.
                }
            }
        }
        catch (Exception e)
        {
            Log.MulticastDns(_options.Logger, e.Message);
        }
        finally
        {
            Close(name, question);
        }
    }

    private void Close(string name, TaskCompletionSource<IPAddress?> question)
    {
        lock (_gate)
        {
            _questions.Remove(name);
            Rest();
        }

        question.TrySetResult(null);
    }

    private void Send(string name)
    {
        List<Asker> askers;

        lock (_gate)
            askers = _askers ??= Open();

        foreach (var asker in askers)
            asker.Send(name);
    }

    private List<Asker> Open()
    {
        var addresses = Stack.Interfaces.All().Where(_options.Interfaces).ToList();
        var askers = new List<Asker>();

        foreach (var family in new[] { AddressFamily.InterNetwork, AddressFamily.InterNetworkV6 })
        {
            var own = addresses.Where(a => a.Address.AddressFamily == family).ToList();

            try
            {
                if (own.Count > 0)
                    askers.Add(new Asker(this, family, own));
            }
            catch (SocketException e)
            {
                Log.MulticastDns(_options.Logger, e.Message);
            }
        }

        return askers;
    }

    private void Received(ReadOnlySpan<byte> message)
    {
        lock (_gate)
        {
            foreach (var (name, question) in _questions)
            {
                if (DnsMessage.ReadAddress(message, name, out var lifetime) is not { } address)
                    continue;

                // TTL 0 says goodbye, RFC 6762 §10.1.
                if (lifetime > TimeSpan.Zero && question.TrySetResult(address))
                    Keep(name, address, lifetime < LongestKept ? lifetime : LongestKept);
            }
        }
    }

    private void Keep(string name, IPAddress address, TimeSpan lifetime)
    {
        if (_answers.Count >= MaxCached)
            _answers.Clear();

        _answers[name] = (address, Environment.TickCount64 + (long)lifetime.TotalMilliseconds);
    }

    /// <summary>The socket of one family: asks on every interface, hears what any of them brings.</summary>
    private sealed class Asker : IDisposable
    {
        private readonly MulticastDns _dns;
        private readonly Socket _socket;
        private readonly SocketAddress _group;
        private readonly List<InterfaceAddress> _interfaces = [];
        private readonly bool _sharesPort;

        public Asker(MulticastDns dns, AddressFamily family, List<InterfaceAddress> addresses)
        {
            _dns = dns;
            var v4 = family == AddressFamily.InterNetwork;
            var level = v4 ? SocketOptionLevel.IP : SocketOptionLevel.IPv6;
            _group = new IPEndPoint(v4 ? GroupV4 : GroupV6, dns._options.Port).Serialize();
            _socket = new Socket(family, SocketType.Dgram, ProtocolType.Udp);

            try
            {
                _sharesPort = Bind(v4 ? IPAddress.Any : IPAddress.IPv6Any);
                _socket.SetSocketOption(level, SocketOptionName.MulticastTimeToLive, 255);
                _socket.SetSocketOption(level, SocketOptionName.MulticastLoopback, true);
            }
            catch
            {
                _socket.Dispose();
                throw;
            }

            // IPv6 goes by the interface, IPv4 by its address.
            foreach (var address in v4 ? addresses : [.. addresses.DistinctBy(a => a.Index)])
                if (Join(address, v4))
                    _interfaces.Add(address);

            _ = Task.Run(Receive);
        }

        /// <summary>Asks on every interface for both kinds of address.</summary>
        public void Send(string name)
        {
            Span<byte> query = stackalloc byte[DnsMessage.MaxQuerySize];

            foreach (var type in (ReadOnlySpan<ushort>)[DnsMessage.A, DnsMessage.Aaaa])
                Multicast(query[..DnsMessage.WriteQuery(query, name, type, unicast: !_sharesPort)]);
        }

        /// <summary>Sends to one who has asked.</summary>
        public void Answer(ReadOnlySpan<byte> message, SocketAddress to)
        {
            try
            {
                _socket.SendTo(message, SocketFlags.None, to);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                Log.MulticastDns(_dns._options.Logger, e.Message);
            }
        }

        /// <summary>Sends to the group on every interface.</summary>
        public void Multicast(ReadOnlySpan<byte> message)
        {
            var v4 = _socket.AddressFamily == AddressFamily.InterNetwork;

            // The interface is the socket's, whoever sends.
            lock (_socket)
                foreach (var address in _interfaces)
                {
                    try
                    {
                        if (v4)
                            _socket.SetSocketOption(
                                SocketOptionLevel.IP,
                                SocketOptionName.MulticastInterface,
                                BitConverter.ToInt32(address.Address.GetAddressBytes())
                            );
                        else
                            _socket.SetSocketOption(
                                SocketOptionLevel.IPv6,
                                SocketOptionName.MulticastInterface,
                                address.Index
                            );

                        _socket.SendTo(message, SocketFlags.None, _group);
                    }
                    catch (Exception e) when (e is SocketException or ObjectDisposedException)
                    {
                        Log.MulticastDns(_dns._options.Logger, e.Message);
                    }
                }
        }

        public void Dispose() => _socket.Dispose();

        /// <summary>
        /// Shares the port with other responders on this machine, for most answer by multicast only. Where it cannot be
        /// had, asks from any port: a legacy query, answered by unicast, RFC 6762 §6.7.
        /// </summary>
        private bool Bind(IPAddress any)
        {
            if (_socket.AddressFamily == AddressFamily.InterNetworkV6)
                _socket.DualMode = false;

            _socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);

            try
            {
                _socket.Bind(new IPEndPoint(any, _dns._options.Port));
                return true;
            }
            catch (SocketException e)
            {
                Log.MulticastDns(_dns._options.Logger, e.Message);
                _socket.Bind(new IPEndPoint(any, 0));
                return false;
            }
        }

        private bool Join(in InterfaceAddress address, bool v4)
        {
            try
            {
                if (v4)
                    _socket.SetSocketOption(
                        SocketOptionLevel.IP,
                        SocketOptionName.AddMembership,
                        new MulticastOption(GroupV4, address.Address)
                    );
                else
                    _socket.SetSocketOption(
                        SocketOptionLevel.IPv6,
                        SocketOptionName.AddMembership,
                        new IPv6MulticastOption(GroupV6, address.Index)
                    );

                return true;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Two addresses of one interface: joined already, and one question there is enough.
                return false;
            }
            catch (SocketException e)
            {
                Log.MulticastDns(_dns._options.Logger, e.Message);
                return false;
            }
        }

        private async Task Receive()
        {
            var from = new SocketAddress(_socket.AddressFamily);
            var buffer = new byte[9_000];

            while (true)
            {
                try
                {
                    var size = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, from).ConfigureAwait(false);

                    // Whatever comes from another port is no answer, RFC 6762 §11.
                    if (from.ToCore().Port == _dns._options.Port)
                        _dns.Received(buffer.AsSpan(0, size));

                    _dns.Asked(buffer.AsSpan(0, size), from, this);
                }
                catch (ObjectDisposedException)
                {
                    return;
                }
                catch (SocketException e) when (e.SocketErrorCode == SocketError.OperationAborted)
                {
                    return;
                }
                catch (SocketException e)
                {
                    Log.MulticastDns(_dns._options.Logger, e.Message);
                    await Task.Delay(10).ConfigureAwait(false);
                }
            }
        }
    }
}
