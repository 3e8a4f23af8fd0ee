using System.Net;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <content>The names that it has resolved.</content>
internal sealed partial class PeerHost
{
    private async Task Resolve(string url)
    {
        try
        {
            var endpoints = await _options.Resolver.ResolveServer(url, _life.Token).ConfigureAwait(false);
            Log.ServerResolved(_logger, url, string.Join(", ", endpoints.Select(EndpointModule.ToText)));
            Post(Input.NewServerResolved(url, endpoints));
        }
        catch (Exception e)
        {
            if (_over)
                return;

            Log.ServerFailed(_logger, url, e.Message);
            Post(Input.NewServerFailed(url, e.Message));
        }
    }

    private async Task ResolveCandidate(string name)
    {
        IPAddress? found = null;

        try
        {
            found = await _options.Resolver.ResolveCandidate(name, _life.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Log.MulticastDns(_logger, e.Message);
        }

        Log.NameResolved(_logger, name, found?.ToString() ?? "nothing");
        Post(
            Input.NewNameResolved(
                name,
                found is null
                    ? Microsoft.FSharp.Core.FSharpValueOption<Address>.None
                    : Microsoft.FSharp.Core.FSharpValueOption<Address>.Some(found.ToCore())
            )
        );
    }
}
