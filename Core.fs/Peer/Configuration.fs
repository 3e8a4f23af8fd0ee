namespace Hybrid.WebRtc.Core

open System

/// What a configuration may say, W3C WebRTC 1.0 §4.4.1.6. What may be changed in one is JSEP's to know.
[<RequireQualifiedAccess>]
module Configurations =
    /// The defaults of W3C WebRTC 1.0 §4.2.1.
    [<CompiledName "Default">]
    let defaults: Configuration =
        { IceServers = [||]
          IceTransportPolicy = IceTransportPolicy.All
          BundlePolicy = BundlePolicy.Balanced
          IceCandidatePoolSize = 0
          Certificates = [||]
          HeaderEncryption = HeaderEncryptionPolicy.Disable }

    let private serverMistake (server: IceServer) : Mistake voption =
        let missing (text: string voption) = text.IsNone || text.Value = ""

        if server.Urls.Length = 0 then
            ValueSome(Mistake.create ErrorName.SyntaxError "An ICE server has no URL; give at least one in urls.")
        else
            (ValueNone, server.Urls)
            ||> Array.fold (fun found url ->
                match found, ServerUrl.parse url with
                | ValueSome _, _ -> found
                | ValueNone, ValueNone ->
                    ValueSome(
                        Mistake.create
                            ErrorName.SyntaxError
                            ("\""
                             + url
                             + "\" is not the URL of an ICE server; one looks like stun:example.org:3478 or turn:example.org?transport=udp. (Those of STUN have no transport, RFC 7064 §3.1.)")
                    )
                | ValueNone, ValueSome parsed when
                    parsed.IsTurn && (missing server.Username || missing server.Credential)
                    ->
                    ValueSome(
                        Mistake.create
                            ErrorName.InvalidAccessError
                            ("The TURN server \"" + url + "\" needs a username and a credential.")
                    )
                | ValueNone, ValueSome _ -> ValueNone)

    /// What is wrong with a configuration, of a lite agent's or of a full one's; ValueNone where nothing is.
    let check (isLite: bool) (configuration: Configuration) : Mistake voption =
        if
            configuration.IceCandidatePoolSize < 0
            || configuration.IceCandidatePoolSize > 255
        then
            ValueSome(Mistake.create ErrorName.TypeError "iceCandidatePoolSize is from 0 to 255.")
        elif isLite && configuration.IceTransportPolicy = IceTransportPolicy.Relay then
            ValueSome(
                Mistake.create
                    ErrorName.NotSupportedError
                    "A lite agent of ICE has host candidates alone (RFC 8445 §2.5), and iceTransportPolicy relay tells none of them: use a full agent, or the policy all."
            )
        else
            (ValueNone, configuration.IceServers)
            ||> Array.fold (fun found server -> if found.IsSome then found else serverMistake server)
