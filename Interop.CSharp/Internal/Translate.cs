using Microsoft.FSharp.Core;

namespace Hybrid.WebRtc;

/// <summary>Callers' mistakes that need no state to see.</summary>
internal static class Mistakes
{
    public static RTCException Type(string message) => new("TypeError", message);

    public static RTCException InvalidState(string message) => new("InvalidStateError", message);

    public static RTCException InvalidAccess(string message) => new("InvalidAccessError", message);

    public static RTCException InvalidModification(string message) => new("InvalidModificationError", message);

    public static RTCException Range(string message) => new("RangeError", message);

    public static RTCException Operation(string message) => new("OperationError", message);

    public static RTCException Closed() => InvalidState("The connection is closed.");

    public static RTCException ClosedMeanwhile() =>
        InvalidState("The connection was closed before the operation was done.");
}

/// <summary>Between the core's vocabulary and W3C's.</summary>
internal static class Translate
{
    public static FSharpValueOption<T> ToCore<T>(this T? value)
        where T : class => value is null ? FSharpValueOption<T>.None : FSharpValueOption<T>.NewValueSome(value);

    public static FSharpValueOption<int> ToCore(this ushort? value) =>
        value is { } number ? FSharpValueOption<int>.NewValueSome(number) : FSharpValueOption<int>.None;

    public static T? OrNull<T>(this FSharpValueOption<T> value)
        where T : class => value.IsSome ? value.Value : null;

    public static T? OrNothing<T>(this FSharpValueOption<T> value)
        where T : struct => value.IsSome ? value.Value : null;

    public static ushort? ToNumber(this FSharpValueOption<int> value) => value.IsSome ? (ushort)value.Value : null;

    public static TimeSpan ToTimeSpan(long microseconds) => TimeSpan.FromMicroseconds(microseconds);

    public static long ToMicroseconds(this TimeSpan time) => time.Ticks / TimeSpan.TicksPerMicrosecond;

    public static Core.Description ToCore(this RTCSessionDescription description) =>
        new((Core.SdpType)description.Type, description.Sdp);

    public static RTCSessionDescription ToW3C(this Core.Description description) =>
        new((RTCSdpType)description.Type, description.Sdp);

    public static RTCSessionDescription? ToW3C(this FSharpValueOption<Core.Description> description) =>
        description.IsSome ? description.Value.ToW3C() : null;

    public static Core.CandidateInit ToCore(this RTCIceCandidateInit init) =>
        new(init.Candidate, init.SdpMid.ToCore(), init.SdpMLineIndex.ToCore(), init.UsernameFragment.ToCore());

    public static RTCIceCandidateInit ToW3C(this Core.CandidateInit init) =>
        new()
        {
            Candidate = init.Candidate,
            SdpMid = init.SdpMid.OrNull(),
            SdpMLineIndex = init.SdpMLineIndex.ToNumber(),
            UsernameFragment = init.UsernameFragment.OrNull(),
        };

    public static RTCPeerConnectionIceEvent ToW3C(this Core.LocalCandidate candidate)
    {
        var url = candidate.Url.OrNull();
        return new(new RTCIceCandidate(candidate.Candidate.ToW3C(), url), url);
    }

    public static RTCPeerConnectionIceErrorEvent ToW3C(this Core.CandidateError error) =>
        new(error.Address.OrNull(), error.Port.ToNumber(), error.Url, error.Code, error.Text);

    public static Core.Configuration ToCore(this RTCConfiguration configuration, RTCCertificate certificate) =>
        new(
            [.. configuration.IceServers.Select(Server)],
            (Core.IceTransportPolicy)configuration.IceTransportPolicy,
            (Core.BundlePolicy)configuration.BundlePolicy,
            configuration.IceCandidatePoolSize,
            // Where none is given the connection keeps the one that it has, so "none" is no change.
            configuration.Certificates.Count == 0
                ? [certificate.Inner.Fingerprint()]
                : [.. configuration.Certificates.Select(each => each.Inner.Fingerprint())],
            (Core.HeaderEncryptionPolicy)configuration.RtpHeaderEncryptionPolicy
        );

    public static Core.PeerOptions ToCore(this WebRtcOptions options) =>
        new(
            options.DisconnectedAfter.ToMicroseconds(),
            options.FailedAfter.ToMicroseconds(),
            options.MaxDatagramSize,
            options.MtuDiscoveryLimit ?? Math.Max(options.MaxDatagramSize, Core.Peer.DefaultOptions.MtuDiscoveryLimit),
            options.ReceiveWindow,
            options.MaxReceiveWindow ?? Math.Max(options.ReceiveWindow, Core.Peer.DefaultOptions.MaxReceiveWindow),
            (Core.CongestionControl)options.CongestionControl,
            options.MaxMessageSize,
            options.SendBuffer,
            options.Bitrate.Start,
            options.Bitrate.Min,
            options.Bitrate.Max,
            // The host knows the clock.
            epoch: 0,
            options.KeyLogPath is not null,
            [.. options.SrtpProfiles.Select(profile => (Core.SrtpProfile)profile)],
            new(
                (Core.DtlsVersion)options.MinDtlsVersion,
                (Core.DtlsVersion)options.MaxDtlsVersion,
                [.. options.DtlsCipherSuites.Select(suite => (Core.CipherSuite)suite)],
                [.. options.DtlsGroups.Select(group => (Core.NamedGroup)group)]
            ),
            options.IceTcp,
            options.RelayTcp,
            new(options.HideAddresses, [.. options.ExternalAddresses.Select(ToCore)]),
            new(
                options.IceLite,
                (Core.CandidateKinds)options.CandidateTypes,
                ToPrefixes(options.AllowedRemotes),
                ToPrefixes(options.DeniedRemotes)
            ),
            new(options.ContinualGathering, options.Renomination, (Core.IceRestartPolicy)options.IceRestart)
        );

    /// <summary>Networks as the core has them.</summary>
    public static Core.Turn.Prefix[] ToPrefixes(IReadOnlyList<System.Net.IPNetwork> networks) =>
        [.. networks.Select(network => Core.Turn.PrefixModule.Parse(network.ToString()).Value)];

    private static Core.ExternalAddress ToCore(WebRtcExternalAddress address) =>
        new(
            address.Local is { } local
                ? Microsoft.FSharp.Core.FSharpValueOption<Core.Address>.Some(Stack.Addresses.ToCore(local))
                : Microsoft.FSharp.Core.FSharpValueOption<Core.Address>.None,
            Stack.Addresses.ToCore(address.External),
            address.Replaces
        );

    /// <exception cref="RTCException"><c>TypeError</c>, W3C WebRTC 1.0 §6.1.1, createDataChannel.</exception>
    public static Core.ChannelInit ToCore(this RTCDataChannelInit init, string label)
    {
        if (Utf8Length(label) > ushort.MaxValue)
            throw Mistakes.Type("A data channel's label has at most 65,535 octets of UTF-8.");
        if (Utf8Length(init.Protocol) > ushort.MaxValue)
            throw Mistakes.Type("A data channel's protocol has at most 65,535 octets of UTF-8.");
        if (init is { MaxPacketLifeTime: not null, MaxRetransmits: not null })
            throw Mistakes.Type("MaxPacketLifeTime and MaxRetransmits exclude each other: set one of them at most.");
        if (init is { Negotiated: true, Id: null })
            throw Mistakes.Type("A negotiated channel needs the Id that both sides agreed on.");
        if (init is { Negotiated: true, Id: ushort.MaxValue })
            throw Mistakes.Type("A data channel's Id is from 0 to 65,534.");
        if (!Enum.IsDefined(init.Priority))
            throw Mistakes.Type("Priority is one of RTCPriorityType's values.");

        return new(
            label,
            init.Protocol,
            init.Ordered,
            init.MaxPacketLifeTime.ToCore(),
            init.MaxRetransmits.ToCore(),
            init.Negotiated,
            // W3C has the id of a channel that is not negotiated ignored.
            init.Negotiated
                ? init.Id.ToCore()
                : FSharpValueOption<int>.None,
            (Core.Priority)init.Priority
        );
    }

    public static RTCException ToW3C(this Core.Mistake mistake) =>
        new(
            NameOf(mistake.Name),
            mistake.Message,
            mistake.Detail == Core.ErrorDetail.None
                ? null
                : new RTCError
                {
                    ErrorDetail = (RTCErrorDetailType)mistake.Detail,
                    Message = mistake.Message,
                    SdpLineNumber = mistake.SdpLine.OrNothing(),
                }
        );

    /// <param name="fault">What ended it.</param>
    /// <param name="otherwise">The detail where the fault names none.</param>
    public static RTCErrorEvent ToW3C(this Core.Fault fault, RTCErrorDetailType otherwise) =>
        new(
            new RTCError
            {
                ErrorDetail = fault.Detail == Core.ErrorDetail.None ? otherwise : (RTCErrorDetailType)fault.Detail,
                Message = fault.Reason,
                SctpCauseCode = fault.SctpCauseCode.OrNothing(),
                ReceivedAlert = fault.ReceivedAlert.OrNothing(),
                SentAlert = fault.SentAlert.OrNothing(),
            }
        );

    public static RTCIceParameters? ToW3C(this FSharpValueOption<Core.IceParameters> parameters) =>
        parameters.IsSome ? new(parameters.Value.UsernameFragment, parameters.Value.Password) : null;

    /// <summary>The selected pair.</summary>
    public static RTCIceCandidatePair? Pair(Core.IceTransportInfo info) =>
        info.SelectedPair is { IsSome: true, Value: var pair } ? Pair(pair, info) : null;

    /// <summary>A pair; <paramref name="info"/> knows the servers.</summary>
    public static RTCIceCandidatePair Pair(Core.CandidatePair pair, Core.IceTransportInfo? info) =>
        new(info is null ? Candidate(pair.Local) : Local(pair.Local, info), Candidate(pair.Remote), pair.Path);

    /// <summary>A transport's candidate, which no longer has a place in a description.</summary>
    public static RTCIceCandidate Candidate(Core.Candidate candidate) => new(candidate, null);

    /// <summary>The same of ours, with the server that it came from.</summary>
    public static RTCIceCandidate Local(Core.Candidate candidate, Core.IceTransportInfo info)
    {
        foreach (var (known, url) in info.LocalServers)
            if (ReferenceEquals(known, candidate))
                return new(candidate, url);
        return new(candidate, null);
    }

    /// <summary>The same, from its line.</summary>
    public static RTCIceCandidate Candidate(string line, string? url = null) =>
        new(new RTCIceCandidateInit { Candidate = line }, url);

    private static Core.IceServer Server(RTCIceServer server) =>
        new([.. server.Urls], server.Username.ToCore(), server.Credential.ToCore());

    private static int Utf8Length(string text) => System.Text.Encoding.UTF8.GetByteCount(text);

    // No reflection, and a renamed case breaks the build.
    private static string NameOf(Core.ErrorName name) =>
        name switch
        {
            Core.ErrorName.InvalidStateError => "InvalidStateError",
            Core.ErrorName.InvalidAccessError => "InvalidAccessError",
            Core.ErrorName.InvalidModificationError => "InvalidModificationError",
            Core.ErrorName.NotSupportedError => "NotSupportedError",
            Core.ErrorName.SyntaxError => "SyntaxError",
            Core.ErrorName.OperationError => "OperationError",
            Core.ErrorName.TypeError => "TypeError",
            Core.ErrorName.RangeError => "RangeError",
            Core.ErrorName.AbortError => "AbortError",
            Core.ErrorName.NotFoundError => "NotFoundError",
            _ => "UnknownError",
        };
}
