using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <content>Its streams: those that the core asks for, and those that its listeners accept.</content>
internal sealed partial class PeerHost : IStreamOwner, IStreamDirectory
{
    /// <inheritdoc/>
    void IShell.OpenStream(int port, StreamKind kind, int from, Endpoint to, string serverName) =>
        _ports.Add(StreamPort.Open(port, kind, _ports[from], to, serverName, Loop, this, _options));

    /// <inheritdoc/>
    void IShell.VerifyCertificate(int port, string serverName, byte[][] chain)
    {
        var validation = _options.ServerCertificateValidation;

        // A chain may be looked up on the network, and the callback is a user's.
        Task.Run(() =>
        {
            var refusal = ServerCertificates.Verify(serverName, chain, validation);
            Post(
                Input.NewCertificateVerified(
                    port,
                    refusal is null
                        ? Microsoft.FSharp.Core.FSharpValueOption<string>.None
                        : Microsoft.FSharp.Core.FSharpValueOption<string>.Some(refusal)
                )
            );
        });
    }

    /// <inheritdoc/>
    void IStreamOwner.Opened(StreamPort port, in Endpoint local) =>
        _seat.Run(Loop.Now, Input.NewStreamOpened(port.Id, local));

    /// <inheritdoc/>
    void IStreamOwner.Ended(IPort port, in Path path, string reason)
    {
        // The core has closed it, and does not ask.
        if (_ports[path.Local] != port)
            return;

        if (port is StreamPort)
            _ports.Remove(port.Id);

        _seat.Run(Loop.Now, Input.NewStreamClosed(path, reason));
    }

    /// <summary>A listener of this peer's alone accepts for it what names it.</summary>
    IStreamOwner? IStreamDirectory.Find(string fragment) =>
        !_over && Peer.UsernameFragments(_state).Contains(fragment) ? this : null;
}
