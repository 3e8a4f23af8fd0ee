using System.Collections.Concurrent;
using System.Reactive.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;

namespace Hybrid.WebRtc.Examples;

/// <summary>A request that is turned down, with what its sender is told, RFC 9457.</summary>
/// <param name="status">The HTTP status.</param>
/// <param name="detail">What was wrong, and what would be right.</param>
public sealed class RefusalException(int status, string detail) : Exception(detail)
{
    /// <summary>The HTTP status.</summary>
    public int Status { get; } = status;
}

/// <summary>
/// The server's side of WHIP, RFC 9725, and of WHEP, draft-ietf-wish-whep, which differ only in who sends. An endpoint takes offers by
/// POST; what it answers with is the session's own URL, which takes PATCH for candidates and ICE restarts, and DELETE.
/// </summary>
public sealed partial class HttpSessions : IAsyncDisposable
{
    private const int MaxBody = 256 * 1024;
    private const int MaxSessions = 1_000;
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<string, Session> _sessions = new();

    /// <summary>What clients have to show, RFC 6750; null: nothing.</summary>
    public string? Token { get; init; }

    /// <summary>STUN and TURN servers for clients, who are told of them.</summary>
    public IReadOnlyList<RTCIceServer> IceServers { get; init; } = [];

    /// <summary>What each connection is made with.</summary>
    public WebRtcOptions Options { get; init; } = new();

    /// <summary>Serves an endpoint at a path, and sessions below it.</summary>
    /// <param name="app">What is served.</param>
    /// <param name="path">Such as <c>/whip/{channel}</c>.</param>
    /// <param name="prepare">
    /// Gets the request and a new connection before the offer is set on it: adds the tracks to send, subscribes to those to come. It may
    /// refuse. What it answers is disposed of when the session ends.
    /// </param>
    public void Map(IEndpointRouteBuilder app, string path, Func<HttpContext, RTCPeerConnection, IDisposable> prepare)
    {
        app.Map(
            path,
            context => AnswerAsync(context, ["OPTIONS", "GET", "HEAD", "POST"], _ => OpenAsync(context, prepare))
        );
        app.Map(
            path + "/{session}",
            context =>
                AnswerAsync(
                    context,
                    ["OPTIONS", "GET", "HEAD", "PATCH", "DELETE"],
                    _ =>
                        context.Request.Method == "PATCH"
                            ? PatchAsync(context, Find(context))
                            : CloseAsync(context, Find(context))
                )
        );
    }

    /// <summary>Ends all sessions.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var session in _sessions.Values)
            await EndAsync(session);
    }

    private async Task AnswerAsync(HttpContext context, string[] methods, Func<HttpContext, Task> answer)
    {
        try
        {
            AllowOthers(context, methods);
            switch (context.Request.Method)
            {
                case "OPTIONS":
                    context.Response.Headers["Accept-Post"] = "application/sdp";
                    context.Response.StatusCode = StatusCodes.Status200OK;
                    return;
                // There is nothing to see, RFC 9725 §4.1.
                case "GET" or "HEAD":
                    context.Response.StatusCode = StatusCodes.Status204NoContent;
                    return;
                case var method when methods.Contains(method):
                    Authorize(context);
                    await answer(context);
                    return;
                default:
                    context.Response.Headers.Allow = string.Join(", ", methods);
                    throw new RefusalException(405, $"Here the methods are {string.Join(", ", methods)}.");
            }
        }
        catch (RefusalException e)
        {
            await Results.Problem(e.Message, statusCode: e.Status).ExecuteAsync(context);
        }
        catch (FormatException e)
        {
            await Results.Problem(e.Message, statusCode: StatusCodes.Status400BadRequest).ExecuteAsync(context);
        }
    }

    private async Task OpenAsync(HttpContext context, Func<HttpContext, RTCPeerConnection, IDisposable> prepare)
    {
        var offer = await ReadAsync(context, "application/sdp");
        if (_sessions.Count >= MaxSessions)
        {
            context.Response.Headers.RetryAfter = "10";
            throw new RefusalException(503, "There are too many sessions. Try again later.");
        }

        var session = new Session(
            new RTCPeerConnection(new RTCConfiguration { BundlePolicy = RTCBundlePolicy.MaxBundle }, Options)
        );
        try
        {
            session.Purpose = prepare(context, session.Peer);
            var answer = await session.AnswerAsync(offer, context.RequestAborted);
            // A session that works by halves misleads whoever looks at it, RFC 9725 §4.4.3.
            if (Rejected().IsMatch(answer))
                throw new RefusalException(406, "A media section of the offer has no codec that is known here.");
            if (HasTwoOfAKind(session.Peer))
                throw new RefusalException(406, "An offer has one track of each kind at most, RFC 9725 §4.4.2.");
            _sessions[session.Id] = session;

            var response = context.Response;
            response.StatusCode = StatusCodes.Status201Created;
            response.ContentType = "application/sdp";
            response.Headers.Location = $"{context.Request.PathBase}{context.Request.Path}/{session.Id}";
            response.Headers.ETag = session.EntityTag;
            foreach (var link in IceServerLinks.Format(IceServers))
                response.Headers.Append("Link", link);
            await response.WriteAsync(answer, context.RequestAborted);
            _ = WatchAsync(session);
        }
        catch (RTCException e)
        {
            await EndAsync(session);
            throw new RefusalException(400, $"The offer: {e.Message}");
        }
        catch
        {
            await EndAsync(session);
            throw;
        }
    }

    private static async Task PatchAsync(HttpContext context, Session session)
    {
        var fragment = SdpFragment.Parse(await ReadAsync(context, SdpFragment.MediaType));
        if (!EntityTagHeaderValue.TryParseList(context.Request.Headers.IfMatch, out var match) || match.Count == 0)
            throw new RefusalException(428, "PATCH needs If-Match: the ETag of the ICE session, or * to restart ICE.");

        await session.Turn.WaitAsync(context.RequestAborted);
        try
        {
            var any = match.Contains(EntityTagHeaderValue.Any);
            if (
                !any
                && !match.Any(tag =>
                    tag.Compare(EntityTagHeaderValue.Parse(session.EntityTag), useStrongComparison: true)
                )
            )
                throw new RefusalException(412, "That is not the ETag of the present ICE session.");

            var isRestart = fragment.UsernameFragment != session.RemoteFragment;
            if (isRestart && !any)
                throw new RefusalException(412, "Other ICE credentials begin another ICE session: If-Match is * then.");
            var ours = isRestart ? await session.RestartAsync(fragment, context.RequestAborted) : null;
            await session.AddCandidatesAsync(fragment);

            if (ours is null)
            {
                context.Response.StatusCode = StatusCodes.Status204NoContent;
                return;
            }

            context.Response.ContentType = SdpFragment.MediaType;
            context.Response.Headers.ETag = session.EntityTag;
            await context.Response.WriteAsync(ours, context.RequestAborted);
        }
        catch (RTCException e)
        {
            throw new RefusalException(e.Name == "InvalidStateError" ? 409 : 400, e.Message);
        }
        finally
        {
            session.Turn.Release();
        }
    }

    private async Task CloseAsync(HttpContext context, Session session)
    {
        await EndAsync(session);
        context.Response.StatusCode = StatusCodes.Status200OK;
    }

    private Session Find(HttpContext context) =>
        _sessions.TryGetValue((string)context.GetRouteValue("session")!, out var session)
            ? session
            : throw new RefusalException(404, "There is no such session; it may have ended.");

    private async Task EndAsync(Session session)
    {
        _sessions.TryRemove(session.Id, out _);
        session.Purpose?.Dispose();
        await session.Peer.CloseAsync();
    }

    private static bool HasTwoOfAKind(RTCPeerConnection peer) =>
        peer.GetTransceivers()
            .Where(each => each.Mid is not null)
            .GroupBy(each => each.Receiver.Track.Kind)
            .Any(kind => kind.Count() > 1);

    /// <summary>A client need not say DELETE to be gone.</summary>
    private async Task WatchAsync(Session session)
    {
        try
        {
            await session
                .Peer.OnConnectionStateChange.FirstAsync(state => state == RTCPeerConnectionState.Connected)
                .Timeout(_patience);
            await session.Peer.DepartureAsync();
        }
        catch (Exception e) when (e is TimeoutException or InvalidOperationException)
        {
            // It never came, or it was closed before it did.
        }

        await EndAsync(session);
    }

    private void Authorize(HttpContext context)
    {
        if (Token is null)
            return;
        var given = context.Request.Headers.Authorization.ToString();
        // In a time that does not tell how much of it was right.
        if (
            CryptographicOperations.FixedTimeEquals(
                Encoding.UTF8.GetBytes(given),
                Encoding.UTF8.GetBytes($"Bearer {Token}")
            )
        )
            return;
        context.Response.Headers.WWWAuthenticate = "Bearer";
        throw new RefusalException(401, "Authorization: Bearer TOKEN is needed, with the server's token.");
    }

    /// <summary>Pages of other sites may use it where a token guards it: a browser sends none by itself.</summary>
    private void AllowOthers(HttpContext context, string[] methods)
    {
        if (Token is null)
            return;
        var headers = context.Response.Headers;
        headers.AccessControlAllowOrigin = "*";
        headers.AccessControlAllowMethods = string.Join(", ", methods);
        headers.AccessControlAllowHeaders = "Authorization, Content-Type, If-Match";
        headers.AccessControlExposeHeaders = "Location, ETag, Link";
    }

    private static async Task<string> ReadAsync(HttpContext context, string type)
    {
        if (
            !MediaTypeHeaderValue.TryParse(context.Request.ContentType, out var given)
            || !given.MediaType.Equals(type, StringComparison.OrdinalIgnoreCase)
        )
            throw new RefusalException(415, $"The body is to be {type}.");

        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (await context.Request.Body.ReadAsync(buffer, context.RequestAborted) is > 0 and var count)
        {
            body.Write(buffer, 0, count);
            if (body.Length > MaxBody)
                throw new RefusalException(413, $"The body may have {MaxBody / 1024} KiB.");
        }
        return Encoding.UTF8.GetString(body.GetBuffer(), 0, (int)body.Length);
    }

    /// <summary>A media section with port 0 that no BUNDLE group holds open.</summary>
    [GeneratedRegex(@"^m=\S+ 0 ", RegexOptions.Multiline)]
    private static partial Regex Rejected();

    /// <summary>A client's session: one connection, and the ICE session that is its present one.</summary>
    private sealed class Session(RTCPeerConnection peer)
    {
        public string Id { get; } = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

        public RTCPeerConnection Peer { get; } = peer;

        public IDisposable? Purpose { get; set; }

        /// <summary>PATCHes may overlap; they are done one after the other.</summary>
        public SemaphoreSlim Turn { get; } = new(1);

        /// <summary>Names the ICE session: candidates for an older one are turned down by it.</summary>
        public string EntityTag { get; private set; } = "";

        /// <summary>The client's user name fragment in it.</summary>
        public string RemoteFragment { get; private set; } = "";

        /// <summary>The answer, with all candidates: a server does not trickle, RFC 9725 §4.3.2.</summary>
        public async Task<string> AnswerAsync(string offer, CancellationToken stop)
        {
            await Peer.SetRemoteDescriptionAsync(new(RTCSdpType.Offer, offer));
            if (Peer.GetTransceivers().All(each => each.Mid is null))
                throw new RefusalException(422, "The offer has neither sound nor picture.");
            await Peer.SetLocalDescriptionAsync();
            await Peer.GatheringCompleteAsync(stop);
            RemoteFragment = SdpFragment.Parse(offer).UsernameFragment;
            EntityTag = $"\"{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}\"";
            return Peer.LocalDescription!.Sdp;
        }

        /// <summary>The descriptions stay but for ICE's part of them; ours of the new ICE session.</summary>
        public async Task<string> RestartAsync(SdpFragment theirs, CancellationToken stop)
        {
            var offer = theirs with { Candidates = [] };
            return SdpFragment
                .Parse(await AnswerAsync(offer.ApplyTo(Peer.CurrentRemoteDescription!.Sdp), stop))
                .ToString();
        }

        public async Task AddCandidatesAsync(SdpFragment fragment)
        {
            foreach (var candidate in fragment.Candidates)
            {
                try
                {
                    await Peer.AddIceCandidateAsync(candidate);
                }
                catch (RTCException e) when (e.Name == "OperationError")
                {
                    // One that we cannot use is passed by without a word, RFC 9725 §4.3.2.
                }
            }

            if (fragment.EndOfCandidates)
                await Peer.AddIceCandidateAsync();
        }
    }
}
