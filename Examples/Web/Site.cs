using System.CommandLine;
using System.Net;
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// What the examples with a page have in common: static files, and one signalling socket a page, on the loopback interface only. The page
/// is <c>wwwroot/index.html</c>; without one it is made here and runs <c>wwwroot/page.js</c>, for which <c>common/page.js</c> has what pages do.
/// </summary>
/// <param name="Name">The example.</param>
/// <param name="Description">What it shows, for the page's reader.</param>
public sealed record Site(string Name, string Description)
{
    private static int _pages;

    /// <summary>Begins for each page that opens, before anything is negotiated; the page's end cancels <see cref="Visitor.Gone"/>.</summary>
    public required Func<Visitor, Task> Attend { get; init; }

    /// <summary>Routes beside the page's.</summary>
    public Action<WebApplication>? Map { get; init; }

    /// <summary>Of the visitors' connections. A page on this machine may have no other interface than loopback to meet us on.</summary>
    public WebRtcOptions Options { get; init; } = new() { IncludeLoopback = true };

    /// <summary>What the page talks to.</summary>
    public static string Runtime { get; } =
        $"{typeof(RTCPeerConnection).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0]}"
        + $" on {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}";

    /// <summary><c>--port</c>.</summary>
    public static Option<int> PortOption()
    {
        var port = new Option<int>("--port")
        {
            Description = "The TCP port of the page, on 127.0.0.1 only.",
            DefaultValueFactory = _ => 8080,
        };
        port.Validators.Add(result =>
        {
            if (result.GetValue(port) is < 0 or > 65535)
                result.AddError("--port must be from 0 (any free one) to 65535.");
        });
        return port;
    }

    /// <summary>The whole of an example's <c>Main</c>: serves what the arguments ask for; answers the program's exit code.</summary>
    /// <param name="args">Of the command line.</param>
    /// <param name="description">What the program does.</param>
    /// <param name="options">Those that the example has beside <c>--port</c>.</param>
    /// <param name="create">The site that they ask for.</param>
    public static Task<int> RunAsync(
        string[] args,
        string description,
        IEnumerable<Option> options,
        Func<ParseResult, Site> create
    )
    {
        var port = PortOption();
        var command = new RootCommand(description) { port };
        foreach (var option in options)
            command.Options.Add(option);
        command.SetAction(
            (arguments, cancellation) => create(arguments).ServeAsync(arguments.GetValue(port), cancellation)
        );
        return command.Parse(args).InvokeAsync();
    }

    /// <summary>Serves until cancelled or Ctrl+C; answers the program's exit code.</summary>
    public async Task<int> ServeAsync(int port, CancellationToken cancellation)
    {
        // A log or a pipe gets plain lines of a sensible width.
        if (!AnsiConsole.Profile.Out.IsTerminal)
            AnsiConsole.Profile.Width = 100;

        await using var app = Build(port);

        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]Port {port} cannot be used:[/] {e.Message}");
            AnsiConsole.MarkupLine("Give another one: [bold]--port 9000[/]");
            return 1;
        }

        AnsiConsole.MarkupLineInterpolated($"[bold]Open[/] {app.Urls.First()}   (Ctrl+C ends)");
        await app.WaitForShutdownAsync(cancellation);
        return 0;
    }

    private WebApplication Build(int port)
    {
        var builder = WebApplication.CreateSlimBuilder(
            new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory, WebRootPath = "wwwroot" }
        );
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        // That it could not start is said by us, in a line.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Loopback, port);
        });
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(2));
        // Another site's name that is made to point to 127.0.0.1 (DNS rebinding) gets no answer.
        builder.Services.AddHostFiltering(hosts => hosts.AllowedHosts = ["127.0.0.1", "localhost"]);

        var app = builder.Build();
        app.UseHostFiltering();
        app.Use(
            (context, next) =>
            {
                var headers = context.Response.Headers;
                headers.ContentSecurityPolicy =
                    "default-src 'self'; connect-src 'self' ws://127.0.0.1:* ws://localhost:*; frame-ancestors 'none'; base-uri 'none'";
                headers.XContentTypeOptions = "nosniff";
                headers.CacheControl = "no-cache";
                return next(context);
            }
        );
        app.UseDefaultFiles();
        app.UseStaticFiles();
        app.UseStaticFiles(
            new StaticFileOptions
            {
                FileProvider = new PhysicalFileProvider(Path.Combine(AppContext.BaseDirectory, "common")),
                RequestPath = "/common",
            }
        );
        app.UseWebSockets();
        if (!File.Exists(Path.Combine(AppContext.BaseDirectory, "wwwroot", "index.html")))
            app.MapGet("/", () => Results.Content(Html(), "text/html; charset=utf-8"));
        app.MapGet("/signal", context => SignalAsync(context, app.Lifetime.ApplicationStopping));
        Map?.Invoke(app);
        return app;
    }

    private async Task SignalAsync(HttpContext context, CancellationToken stopping)
    {
        if (!context.WebSockets.IsWebSocketRequest || !IsOurOwn(context.Request))
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            return;
        }

        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stopping, context.RequestAborted);
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        await using var visitor = new Visitor(
            Interlocked.Increment(ref _pages),
            context.Request.Query,
            socket,
            Options
        );
        await visitor.ServeAsync(Attend, ended.Token);
    }

    /// <summary>Browsers let any site open a WebSocket to us: only our own page's may.</summary>
    private static bool IsOurOwn(HttpRequest request) =>
        Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out var origin)
        && origin.Authority == request.Host.Value;

    /// <summary>The page of an example that has none of its own.</summary>
    private string Html() =>
        $"""
            <!doctype html>
            <html lang="en">
              <head>
                <meta charset="utf-8" />
                <title>{Name} · Hybrid WebRTC</title>
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" href="/common/icon.svg" type="image/svg+xml" />
                <link rel="stylesheet" href="/common/style.css" />
                <script src="/common/theme.js"></script>
                <script type="module" src="/page.js"></script>
              </head>
              <body>
                <header class="bar">
                  <p class="name"><span aria-hidden="true" class="mark"></span>Hybrid WebRTC</p>
                  <p class="runtime" id="runtime"></p>
                  <button type="button" class="quiet" id="theme" aria-live="polite">Theme: system</button>
                </header>
                <main>
                  <section class="hero">
                    <h1>{Name}</h1>
                    <p class="detail">{WebUtility.HtmlEncode(Description)}</p>
                    <p class="status" id="status" role="status" aria-live="polite">Connecting to the program.</p>
                    <p class="actions" id="actions"></p>
                  </section>
                  <div class="tiles" id="tiles"></div>
                  <ol class="log" id="log" aria-label="What happened"></ol>
                </main>
              </body>
            </html>
            """;
}
