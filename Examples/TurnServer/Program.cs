// A TURN and STUN server for your own calls: where a firewall or NAT lets two peers reach neither each other, both reach this.
//
//   TurnServer --user alice:wonderland                              on 127.0.0.1, to try things out on one machine
//   TurnServer --address 192.0.2.1 --secret north --realm example.org       for a web service that hands out credentials
//   TurnServer credential --secret north --name alice               such credentials
//
// It serves until Ctrl+C.

using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var address = new Option<IPAddress>("--address")
{
    Description = "Listens here, and relays from here. 0.0.0.0: every IPv4 address.",
    DefaultValueFactory = _ => IPAddress.Loopback,
    CustomParser = result => Parse(result, IPAddress.TryParse, IPAddress.Loopback, "an IP address"),
};
var port = new Option<int>("--port")
{
    Description = "The port of UDP and TCP. 0: any that is free.",
    DefaultValueFactory = _ => 3478,
};
var tlsPort = new Option<int?>("--tls-port") { Description = "Listens for TLS and DTLS, too: 5349 is usual." };
var certificate = new Option<FileInfo?>("--certificate")
{
    Description = "The certificate for TLS, PEM, with its chain. Without it: one that nobody has signed, for tests.",
};
var key = new Option<FileInfo?>("--key") { Description = "The certificate's private key, PEM." };
var realm = new Option<string>("--realm")
{
    Description = "The domain of the passwords: your domain name.",
    DefaultValueFactory = _ => "hybrid.example",
};
var user = new Option<string[]>("--user") { Description = "A user, name:password. May be given more than once." };
var secret = new Option<string[]>("--secret")
{
    Description = "A secret shared with who makes credentials that expire. May be given more than once.",
    Recursive = true,
};
var external = new Option<IPAddress?>("--external-address")
{
    Description = "Under which address the world sees --address, where a NAT maps one to one, as in clouds.",
    CustomParser = result => Parse<IPAddress?>(result, IPAddress.TryParse, null, "an IP address"),
};
var ports = new Option<WebRtcPortRange>("--relay-ports")
{
    Description = "The ports that are relayed, first-last.",
    DefaultValueFactory = _ => new WebRtcPortRange(49_152, 65_535),
    CustomParser = result => Parse<WebRtcPortRange>(result, TryParseRange, default, "two ports, such as 50000-50999"),
};
var allow = new Option<bool>("--allow-private") { Description = "Lets clients reach peers in private networks." };
var rate = new Option<long?>("--octets-per-second") { Description = "The most that one allocation may carry." };
var verbose = new Option<bool>("--verbose") { Description = "Says who comes and goes." };

var name = new Option<string>("--name") { Description = "Whom it is for.", DefaultValueFactory = _ => "" };
var hours = new Option<double>("--hours") { Description = "How long it is good for.", DefaultValueFactory = _ => 24 };
var credential = new Command("credential", "Makes a name and password that expire.") { name, hours };

var relayTcp = new Option<bool>("--relay-tcp") { Description = "Relay TCP to peers, too (RFC 6062)." };

var command = new RootCommand("A TURN and STUN server.")
{
    address,
    port,
    tlsPort,
    certificate,
    key,
    realm,
    user,
    secret,
    external,
    ports,
    allow,
    relayTcp,
    rate,
    verbose,
    credential,
};

credential.SetAction(arguments =>
{
    if (arguments.GetValue(secret) is not [var shared, ..])
    {
        AnsiConsole.MarkupLine("[red]Failed:[/] --secret names the secret that the server has, too.");
        return 1;
    }

    var made = TurnServer.CreateCredential(
        shared,
        arguments.GetRequiredValue(name),
        TimeSpan.FromHours(arguments.GetValue(hours))
    );
    Console.WriteLine($"username:   {made.Username}");
    Console.WriteLine($"credential: {made.Credential}");
    return 0;
});

command.SetAction(
    async (arguments, stop) =>
    {
        try
        {
            using var figures = new Figures();
            await using var server = await TurnServer.StartAsync(Options(arguments), stop);

            foreach (var listener in server.Listeners)
                Console.WriteLine($"listening: {Url(listener)}");

            await figures.TellAsync(stop);
            return 0;
        }
        catch (OperationCanceledException)
        {
            return 0;
        }
        catch (Exception e) when (e is IOException or ArgumentException or CryptographicException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]Failed:[/] {e.Message}");
            return 1;
        }
    }
);

return await command.Parse(args).InvokeAsync();

TurnServerOptions Options(ParseResult arguments)
{
    var here = arguments.GetRequiredValue(address);
    var everywhere = here.Equals(IPAddress.Any) || here.Equals(IPAddress.IPv6Any);
    var number = arguments.GetValue(port);
    List<TurnServerListener> listeners =
    [
        new(TurnServerTransport.Udp, new IPEndPoint(here, number)),
        new(TurnServerTransport.Tcp, new IPEndPoint(here, number)),
    ];

    if (arguments.GetValue(tlsPort) is { } secure)
    {
        listeners.Add(new(TurnServerTransport.Tls, new IPEndPoint(here, secure)));
        listeners.Add(new(TurnServerTransport.Dtls, new IPEndPoint(here, secure)));
    }

    return new TurnServerOptions
    {
        Realm = arguments.GetRequiredValue(realm),
        Listeners = listeners,
        Users = Users(arguments),
        SharedSecrets = arguments.GetValue(secret) ?? [],
        Tls = arguments.GetValue(tlsPort) is null
            ? null
            : Certificates.Load(arguments.GetValue(certificate), arguments.GetValue(key)),
        RelayAddresses = everywhere ? [] : [here],
        RelayPorts = arguments.GetValue(ports),
        RelayTcp = arguments.GetValue(relayTcp),
        ExternalAddresses = arguments.GetValue(external) is { } seen
            ? new Dictionary<IPAddress, IPAddress> { [here] = seen }
            : new Dictionary<IPAddress, IPAddress>(),
        // Whoever listens on this machine alone wants to relay to this machine.
        AllowLoopbackPeers = IPAddress.IsLoopback(here),
        AllowPrivatePeers = arguments.GetValue(allow),
        Limits = new TurnServerLimits { OctetsPerSecond = arguments.GetValue(rate) },
        LoggerFactory = arguments.GetValue(verbose) ? new ConsoleLog() : null,
    };
}

Dictionary<string, string> Users(ParseResult arguments)
{
    var users = new Dictionary<string, string>();

    foreach (var text in arguments.GetValue(user) ?? [])
    {
        if (text.Split(':', 2) is not [{ Length: > 0 } who, { Length: > 0 } password])
            throw new ArgumentException($"--user takes name:password, which '{text}' is not.");

        users[who] = password;
    }

    // An open relay is found and abused within the hour, so there is always a password.
    if (users.Count == 0 && arguments.GetValue(secret) is not { Length: > 0 })
    {
        users["guest"] = RandomNumberGenerator.GetHexString(16, lowercase: true);
        Console.WriteLine($"user: guest, password: {users["guest"]}");
    }

    return users;
}

static string Url(TurnServerListener listener) =>
    listener.Transport switch
    {
        TurnServerTransport.Udp => $"turn:{listener.Endpoint}",
        TurnServerTransport.Tcp => $"turn:{listener.Endpoint}?transport=tcp",
        TurnServerTransport.Tls => $"turns:{listener.Endpoint}?transport=tcp",
        _ => $"turns:{listener.Endpoint}?transport=udp",
    };

static bool TryParseRange(string? text, out WebRtcPortRange range)
{
    range = default;

    if (
        text?.Split('-') is not [var from, var to]
        || !ushort.TryParse(from, NumberStyles.None, CultureInfo.InvariantCulture, out var first)
        || !ushort.TryParse(to, NumberStyles.None, CultureInfo.InvariantCulture, out var last)
        || first == 0
        || last < first
    )
        return false;

    range = new WebRtcPortRange(first, last);
    return true;
}

static T Parse<T>(System.CommandLine.Parsing.ArgumentResult result, TryParse<T> parse, T otherwise, string what)
{
    if (parse(result.Tokens.Single().Value, out var value) && value is not null)
        return value;

    result.AddError($"This takes {what}.");
    return otherwise;
}

internal delegate bool TryParse<T>(string? text, out T? value);
