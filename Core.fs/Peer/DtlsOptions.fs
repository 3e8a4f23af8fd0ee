namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13

/// What a peer's DTLS may agree on.
[<NoComparison>]
type DtlsOptions =
    {
        /// The oldest version that is spoken.
        MinVersion: DtlsVersion
        /// The newest, which is preferred.
        MaxVersion: DtlsVersion
        /// Of both versions, best first; those of a version that is not spoken do not count.
        Suites: CipherSuite[]
        /// Best first. X25519MLKEM768 is of 1.3 alone.
        Groups: NamedGroup[]
    }

/// Set-ups of a peer's DTLS.
[<RequireQualifiedAccess>]
module DtlsOptions =
    /// Those of `DtlsConfig`.
    [<CompiledName "Defaults">]
    let defaults: DtlsOptions =
        // Nobody is asked to compute anything.
        let config = DtlsConfig.anonymous Unchecked.defaultof<ICiphers>

        { MinVersion = config.MinVersion
          MaxVersion = config.MaxVersion
          Suites = config.Suites
          Groups = config.Groups }

    /// A set-up with these.
    [<CompiledName "Set">]
    let set (config: DtlsConfig) (options: DtlsOptions) : DtlsConfig =
        { config with
            MinVersion = options.MinVersion
            MaxVersion = options.MaxVersion
            Suites = options.Suites
            Groups = options.Groups }

    /// The name of a group as IANA registers it; empty where it is none of ours.
    let internal groupName (group: NamedGroup) : string =
        match group with
        | NamedGroup.X25519MLKEM768 -> "X25519MLKEM768"
        | NamedGroup.X25519 -> "x25519"
        | NamedGroup.Secp256r1 -> "secp256r1"
        | NamedGroup.Secp384r1 -> "secp384r1"
        | _ -> ""

    let private isKnown (version: DtlsVersion) =
        version = DtlsVersion.Dtls12 || version = DtlsVersion.Dtls13

    let private isOf12 (suite: CipherSuite) = (Suite.ofId suite).IsSome

    let private mistake name message = ValueSome(Mistake.create name message)

    let private hasTwice (codes: int[]) =
        Array.length (Array.distinct codes) < codes.Length

    /// What is wrong with them; ValueNone where nothing is.
    let check (options: DtlsOptions) : Mistake voption =
        let speaks = DtlsVersion.isWithin options.MinVersion options.MaxVersion

        if not (isKnown options.MinVersion && isKnown options.MaxVersion) then
            mistake ErrorName.NotSupportedError "The versions of DTLS are 1.2 and 1.3."
        elif not (speaks options.MinVersion) then
            mistake
                ErrorName.RangeError
                ("The minimum version, "
                 + DtlsVersion.name options.MinVersion
                 + ", is above the maximum, "
                 + DtlsVersion.name options.MaxVersion
                 + ": give the same version twice, or the older one as the minimum.")
        elif hasTwice (Array.map int options.Suites) then
            mistake ErrorName.TypeError "A cipher suite is given twice."
        elif hasTwice (Array.map int options.Groups) then
            mistake ErrorName.TypeError "A group is given twice."
        elif not (Array.forall (fun suite -> Suite13.isOne suite || isOf12 suite) options.Suites) then
            mistake
                ErrorName.NotSupportedError
                "A cipher suite is not supported: those of DTLS 1.3 are TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 and TLS_CHACHA20_POLY1305_SHA256; those of 1.2 are TLS_ECDHE_ECDSA_WITH_ and TLS_ECDHE_RSA_WITH_ AES_128_GCM_SHA256, AES_256_GCM_SHA384 and CHACHA20_POLY1305_SHA256."
        elif Array.exists (fun group -> groupName group = "") options.Groups then
            mistake ErrorName.NotSupportedError "The groups are X25519MLKEM768, x25519, secp256r1 and secp384r1."
        elif speaks DtlsVersion.Dtls13 && not (Array.exists Suite13.isOne options.Suites) then
            mistake
                ErrorName.NotSupportedError
                "DTLS 1.3 is to be spoken without one of its cipher suites: add TLS_AES_128_GCM_SHA256, or make 1.2 the maximum version."
        elif speaks DtlsVersion.Dtls12 && not (Array.exists isOf12 options.Suites) then
            mistake
                ErrorName.NotSupportedError
                "DTLS 1.2 is to be spoken without one of its cipher suites: add TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 8827 §6.5), or make 1.3 the minimum version."
        elif options.Groups.Length = 0 then
            mistake
                ErrorName.NotSupportedError
                "DTLS needs a group to agree on a key in: X25519 is what every peer has."
        elif
            speaks DtlsVersion.Dtls12
            && Array.forall (fun group -> group = NamedGroup.X25519MLKEM768) options.Groups
        then
            mistake
                ErrorName.NotSupportedError
                "X25519MLKEM768 is a group of DTLS 1.3, and DTLS 1.2 is to be spoken too: add X25519, or make 1.3 the minimum version."
        else
            ValueNone
