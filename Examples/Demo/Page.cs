using System.Net;
using System.Reflection;
using System.Runtime.InteropServices;
using Spectre.Console;

namespace Hybrid.WebRtc.Demo;

/// <summary>The page and its signalling: static files, and one WebSocket a visitor. On the loopback interface only.</summary>
internal static class Page
{
    /// <summary>Serves until cancelled or Ctrl+C; answers the program's exit code.</summary>
    public static async Task<int> ServeAsync(int port, CancellationToken cancellation)
    {
        await using var app = Build(port);

        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]Port {port} cannot be used:[/] {e.Message}");
            AnsiConsole.MarkupLine("Give another one: [bold]dotnet fsi build.fsx run --port 9000[/]");
            return 1;
        }

        AnsiConsole.MarkupLineInterpolated($"[bold]A page for your browser:[/] {app.Urls.First()}   (Ctrl+C ends)");
        await app.WaitForShutdownAsync(cancellation);
        return 0;
    }

    private static WebApplication Build(int port)
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
        var room = new Room();
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
        app.UseWebSockets();
        app.MapGet("/signal", context => SignalAsync(context, room, app.Lifetime.ApplicationStopping));
        return app;
    }

    private static async Task SignalAsync(HttpContext context, Room room, CancellationToken stopping)
    {
        if (!context.WebSockets.IsWebSocketRequest || !IsOurOwn(context.Request))
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            return;
        }

        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stopping, context.RequestAborted);
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        await using var visitor = new Visitor(socket, room);
        await visitor.ServeAsync(Runtime, ended.Token);
    }

    /// <summary>Browsers let any site open a WebSocket to us: only our own page's may.</summary>
    private static bool IsOurOwn(HttpRequest request) =>
        Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out var origin)
        && origin.Authority == request.Host.Value;

    private static string Runtime { get; } =
        $"{typeof(RTCPeerConnection).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0]}"
        + $" on {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}";
}
