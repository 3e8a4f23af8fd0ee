using System.CommandLine;
using System.Net;
using System.Net.Http.Headers;
using System.Threading.Channels;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// The client's side of WHIP, RFC 9725, and of WHEP, draft-ietf-wish-whep: the offer is the body of a POST, the answer its response; then
/// the session has a URL of its own, where candidates and ICE restarts go by PATCH, and DELETE ends it.
/// </summary>
public sealed class HttpSession : IAsyncDisposable
{
    private readonly HttpClient _http;
    private readonly RTCPeerConnection _peer;
    private readonly Channel<RTCIceCandidate> _gathered = Channel.CreateUnbounded<RTCIceCandidate>();
    private readonly CancellationTokenSource _over = new();
    private readonly SemaphoreSlim _turn = new(1);
    private string? _entityTag;
    private Task _trickling = Task.CompletedTask;

    private HttpSession(HttpClient http, RTCPeerConnection peer)
    {
        _http = http;
        _peer = peer;
    }

    /// <summary>The server's URL, as a client's first argument.</summary>
    public static Argument<Uri> EndpointArgument() =>
        new("endpoint")
        {
            Description = "The server's URL, http:// or https://.",
            CustomParser = result =>
            {
                if (
                    Uri.TryCreate(result.Tokens.Single().Value, UriKind.Absolute, out var url)
                    && url.Scheme is ("http" or "https")
                )
                    return url;
                result.AddError("The endpoint is an http:// or https:// URL.");
                return null;
            },
        };

    /// <summary>Where the session is.</summary>
    public Uri Location { get; private set; } = null!;

    /// <summary>The STUN and TURN servers that the server has told of, for people to read.</summary>
    public IReadOnlyList<RTCIceServer> IceServers { get; private set; } = [];

    /// <summary>Opens a session: what the connection sends and receives has been added to it before.</summary>
    /// <param name="endpoint">The server's.</param>
    /// <param name="token">A bearer token, RFC 6750; null: none.</param>
    /// <param name="peer">Not negotiated yet.</param>
    /// <param name="stop">Gives up.</param>
    /// <exception cref="HttpRequestException">The server cannot be reached, or refuses; the message says why.</exception>
    public static async Task<HttpSession> OpenAsync(
        Uri endpoint,
        string? token,
        RTCPeerConnection peer,
        CancellationToken stop = default
    )
    {
        var http = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
        if (token is not null)
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        var session = new HttpSession(http, peer);

        try
        {
            await session.OfferAsync(endpoint, stop);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>Restarts ICE, RFC 9725 §4.3.3: only credentials and candidates are exchanged, the rest of the descriptions stays.</summary>
    public async Task RestartIceAsync(CancellationToken stop = default)
    {
        await _turn.WaitAsync(stop);
        try
        {
            var offer = await _peer.CreateOfferAsync(new() { IceRestart = true });
            using var response = await PatchAsync(
                SdpFragment.Parse(offer.Sdp) with
                {
                    Candidates = [],
                },
                EntityTagHeaderValue.Any,
                stop
            );
            _entityTag = response.Headers.ETag?.ToString();
            var theirs = SdpFragment.Parse(await response.Content.ReadAsStringAsync(stop));
            await _peer.SetLocalDescriptionAsync(offer);
            await _peer.SetRemoteDescriptionAsync(
                new(RTCSdpType.Answer, theirs.ApplyTo(_peer.CurrentRemoteDescription!.Sdp))
            );
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Ends the session at the server. The connection stays the caller's to close.</summary>
    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _gathered.Writer.TryComplete();
        await _trickling;

        try
        {
            if (Location is not null)
                (await _http.DeleteAsync(Location)).Dispose();
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            // The server will see by the connection that we are gone.
        }

        _http.Dispose();
        _over.Dispose();
    }

    private async Task OfferAsync(Uri endpoint, CancellationToken stop)
    {
        // It is sent before it is set: candidates are gathered only then, by the servers that the response names.
        var offer = await _peer.CreateOfferAsync();
        using var body = new StringContent(offer.Sdp, new MediaTypeHeaderValue("application/sdp"));
        using var response = await _http.PostAsync(endpoint, body, stop);
        await EnsureAsync(response, HttpStatusCode.Created, stop);
        Location = new Uri(
            response.RequestMessage?.RequestUri ?? endpoint,
            response.Headers.Location ?? throw new HttpRequestException("The server names no Location for the session.")
        );
        _entityTag = response.Headers.ETag?.ToString();
        IceServers = IceServerLinks.Parse(response.Headers.TryGetValues("Link", out var links) ? links : []);
        if (IceServers.Count > 0)
            _peer.SetConfiguration(_peer.GetConfiguration() with { IceServers = IceServers });

        _peer.OnIceCandidate.Subscribe(e =>
        {
            if (e.Candidate is { } candidate)
                _gathered.Writer.TryWrite(candidate);
        });
        await _peer.SetLocalDescriptionAsync(offer);
        await _peer.SetRemoteDescriptionAsync(new(RTCSdpType.Answer, await response.Content.ReadAsStringAsync(stop)));
        _trickling = TrickleAsync(_over.Token);
    }

    /// <summary>Sends candidates as they are gathered: those that came during a request go in the next one, together.</summary>
    private async Task TrickleAsync(CancellationToken stop)
    {
        try
        {
            while (await _gathered.Reader.WaitToReadAsync(stop))
            {
                await _turn.WaitAsync(stop);
                try
                {
                    var fragment = SdpFragment.Parse(_peer.LocalDescription!.Sdp);
                    var candidates = new List<RTCIceCandidateInit>();
                    var end = false;
                    while (_gathered.Reader.TryRead(out var candidate))
                    {
                        // Those of a generation that ICE restarts have ended help nobody.
                        if (candidate.UsernameFragment is { } ufrag && ufrag != fragment.UsernameFragment)
                            continue;
                        if (candidate.Candidate.Length > 0)
                            candidates.Add(candidate.ToInit());
                        else
                            end = true;
                    }

                    if (candidates.Count > 0 || end)
                        (
                            await PatchAsync(
                                fragment with
                                {
                                    Candidates = candidates,
                                    EndOfCandidates = end,
                                },
                                _entityTag is { } tag ? EntityTagHeaderValue.Parse(tag) : EntityTagHeaderValue.Any,
                                stop
                            )
                        ).Dispose();
                }
                finally
                {
                    _turn.Release();
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException or RTCException)
        {
            // It has ended, or the server does without: not all of them trickle, and ICE works where one side's candidates suffice.
        }
    }

    private async Task<HttpResponseMessage> PatchAsync(
        SdpFragment fragment,
        EntityTagHeaderValue match,
        CancellationToken stop
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, Location);
        request.Headers.IfMatch.Add(match);
        request.Content = new StringContent(fragment.ToString(), new MediaTypeHeaderValue(SdpFragment.MediaType));
        var response = await _http.SendAsync(request, stop);
        await EnsureAsync(response, null, stop);
        return response;
    }

    /// <summary>Says what the server says where it refuses, RFC 9457.</summary>
    private static async Task EnsureAsync(
        HttpResponseMessage response,
        HttpStatusCode? expected,
        CancellationToken stop
    )
    {
        if (expected is { } code ? response.StatusCode == code : response.IsSuccessStatusCode)
            return;
        var said = await response.Content.ReadAsStringAsync(stop);
        throw new HttpRequestException(
            $"{response.RequestMessage?.RequestUri} answers {(int)response.StatusCode} {response.ReasonPhrase}. {said}",
            null,
            response.StatusCode
        );
    }
}
