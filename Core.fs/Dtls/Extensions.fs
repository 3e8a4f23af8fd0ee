namespace Hybrid.WebRtc.Core

/// SRTP protection profiles, by their code point in use_srtp (RFC 5764 §4.1.2, RFC 7714 §14.2).
type SrtpProfile =
    | Aes128CmHmacSha1_80 = 0x0001
    | Aes128CmHmacSha1_32 = 0x0002
    | AeadAes128Gcm = 0x0007
    | AeadAes256Gcm = 0x0008

namespace Hybrid.WebRtc.Core.Tls

open System
open System.Text
open Hybrid.WebRtc.Core

/// What a ClientHello asks for in its extensions; those that we do not know are not here.
[<NoComparison>]
type internal Offer =
    {
        /// supported_groups, RFC 8422 §5.1.1; ValueNone where the client leaves the choice to us.
        Groups: uint16[] voption
        /// signature_algorithms, RFC 5246 §7.4.1.4.1.
        Schemes: uint16[]
        /// use_srtp, in the client's order.
        Profiles: uint16[]
        /// supported_versions, RFC 8446 §4.2.1; ValueNone where the hello's own version says it.
        Versions: uint16[] voption
        /// RFC 7627.
        ExtendedMasterSecret: bool
        /// Whether ec_point_formats came, RFC 8422 §5.1.2.
        PointFormats: bool
        /// renegotiated_connection, RFC 5746 §3.2; ValueNone where the extension is absent.
        Renegotiated: byte[] voption
    }

/// What a ServerHello grants in its extensions.
[<NoComparison>]
type internal Grant =
    { Profile: uint16 voption
      ExtendedMasterSecret: bool
      PointFormats: bool
      Renegotiated: byte[] voption }

[<RequireQualifiedAccess>]
module internal Extensions =
    /// RFC 6066 §3.
    [<Literal>]
    let ServerName = 0us

    [<Literal>]
    let SupportedGroups = 10us

    [<Literal>]
    let EcPointFormats = 11us

    [<Literal>]
    let SignatureAlgorithms = 13us

    [<Literal>]
    let UseSrtp = 14us

    [<Literal>]
    let ExtendedMasterSecret = 23us

    /// RFC 8446 §4.2.1.
    [<Literal>]
    let SupportedVersions = 43us

    [<Literal>]
    let RenegotiationInfo = 0xff01us

    let private extension kind data : Extension = { Type = kind; Data = data }

    /// The data of an extension.
    let find (kind: uint16) (extensions: Extension[]) : byte[] voption =
        match Array.tryFind (fun (e: Extension) -> e.Type = kind) extensions with
        | Some e -> ValueSome e.Data
        | None -> ValueNone

    let private has kind extensions = (find kind extensions).IsSome

    /// uncompressed, the one format that is left, RFC 8422 §5.1.2.
    let private pointFormats = extension EcPointFormats [| 1uy; 0uy |]
    let private extendedMasterSecret = extension ExtendedMasterSecret [||]
    /// Of a first handshake, RFC 5746 §3.4.
    let private noRenegotiation = extension RenegotiationInfo [| 0uy |]

    let private useSrtp (profiles: uint16[]) =
        // Without a master key identifier, RFC 5764 §4.1.3.
        extension UseSrtp (Array.append (Octets.vector16 (Octets.u16s profiles)) [| 0uy |])

    /// A vector of 16-bit numbers that fills the extension.
    let private readList (data: byte[]) : uint16[] voption =
        let mutable r = Reader(ReadOnlySpan data)
        let list = r.Bytes(int (r.UInt16()))

        if r.Ok && r.Remaining = 0 then
            Octets.readU16s list
        else
            ValueNone

    let private readVersions (data: byte[]) : uint16[] voption =
        let mutable r = Reader(ReadOnlySpan data)
        let list = r.Bytes(int (r.Byte()))

        if r.Ok && r.Remaining = 0 then
            Octets.readU16s list
        else
            ValueNone

    /// The profiles, and the master key identifier.
    let private readUseSrtp (data: byte[]) : struct (uint16[] * byte[]) voption =
        let mutable r = Reader(ReadOnlySpan data)
        let profiles = Octets.readU16s (r.Bytes(int (r.UInt16())))
        let mki = r.Bytes(int (r.Byte())).ToArray()

        match profiles with
        | ValueSome profiles when r.Ok && r.Remaining = 0 -> ValueSome(struct (profiles, mki))
        | _ -> ValueNone

    let private readRenegotiation (data: byte[]) : byte[] voption =
        let mutable r = Reader(ReadOnlySpan data)
        let connection = r.Bytes(int (r.Byte())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome connection
        else
            ValueNone

    /// Reads an extension that may be absent: the outer ValueNone is one that is malformed.
    let private optional kind (read: byte[] -> 'a voption) extensions : 'a voption voption =
        match find kind extensions with
        | ValueNone -> ValueSome ValueNone
        | ValueSome data ->
            match read data with
            | ValueNone -> ValueNone
            | read -> ValueSome read

    // One name, of the type host_name, 0.
    let private serverName (name: string) =
        Octets.vector16 (Encoding.ASCII.GetBytes name)
        |> Array.append [| 0uy |]
        |> Octets.vector16
        |> extension ServerName

    let signatureAlgorithms (schemes: uint16[]) : Extension =
        extension SignatureAlgorithms (Octets.vector16 (Octets.u16s schemes))

    /// What a ClientHello of every version asks for, `name` being whom it wants to talk to; empty where nobody is to be told.
    let offer (name: string) (groups: uint16[]) (schemes: uint16[]) (profiles: uint16[]) : Extension[] =
        [| if name <> "" then
               serverName name
           extension SupportedGroups (Octets.vector16 (Octets.u16s groups))
           signatureAlgorithms schemes
           if profiles.Length > 0 then
               useSrtp profiles |]

    /// What one of 1.2 asks for besides.
    let offer12: Extension[] = [| extendedMasterSecret; noRenegotiation; pointFormats |]

    /// use_srtp as a server grants it.
    let srtp (profile: SrtpProfile) : Extension = useSrtp [| uint16 profile |]

    /// signature_algorithms in a CertificateRequest of 1.3, RFC 8446 §4.3.2.
    let readSchemes (extensions: Extension[]) : uint16[] voption =
        find SignatureAlgorithms extensions |> ValueOption.bind readList

    /// The one profile that is granted, with no identifier where we gave none, RFC 5764 §4.1.1 and §4.1.3; ValueNone where there is
    /// none. An error is the alert.
    let readSrtpGrant (extensions: Extension[]) : Result<uint16 voption, byte> =
        match optional UseSrtp readUseSrtp extensions with
        | ValueNone -> Error Alert.DecodeError
        | ValueSome ValueNone -> Ok ValueNone
        | ValueSome(ValueSome(struct ([| profile |], [||]))) -> Ok(ValueSome profile)
        | ValueSome(ValueSome _) -> Error Alert.IllegalParameter

    /// Reads a ClientHello's; ValueNone where one that we know is malformed.
    let readOffer (extensions: Extension[]) : Offer voption =
        match
            struct (optional SupportedGroups readList extensions,
                    optional SignatureAlgorithms readList extensions,
                    optional UseSrtp readUseSrtp extensions,
                    optional SupportedVersions readVersions extensions,
                    optional RenegotiationInfo readRenegotiation extensions)
        with
        | struct (ValueSome groups, ValueSome schemes, ValueSome srtp, ValueSome versions, ValueSome renegotiated) ->
            ValueSome
                { Groups = groups
                  Schemes = ValueOption.defaultValue [||] schemes
                  Profiles =
                    match srtp with
                    | ValueSome(struct (profiles, _)) -> profiles
                    | ValueNone -> [||]
                  Versions = versions
                  ExtendedMasterSecret = has ExtendedMasterSecret extensions
                  PointFormats = has EcPointFormats extensions
                  Renegotiated = renegotiated }
        | _ -> ValueNone

    /// What our ServerHello grants: nothing that the client did not ask for, RFC 5246 §7.4.1.4.
    let grant (profile: SrtpProfile voption) (offer: Offer) (secureRenegotiation: bool) : Extension[] =
        [| if offer.ExtendedMasterSecret then
               extendedMasterSecret
           if secureRenegotiation then
               noRenegotiation
           if offer.PointFormats then
               pointFormats
           match profile with
           | ValueSome profile -> srtp profile
           | ValueNone -> () |]

    /// Reads a ServerHello's. An error is the alert: an extension that we did not ask for, or one that is malformed.
    let readGrant (asked: uint16[]) (extensions: Extension[]) : Result<Grant, byte> =
        if extensions |> Array.exists (fun e -> not (Array.contains e.Type asked)) then
            Error Alert.UnsupportedExtension
        else
            match struct (readSrtpGrant extensions, optional RenegotiationInfo readRenegotiation extensions) with
            | struct (Error alert, _) -> Error alert
            | struct (Ok profile, ValueSome renegotiated) ->
                Ok
                    { Profile = profile
                      ExtendedMasterSecret = has ExtendedMasterSecret extensions
                      PointFormats = has EcPointFormats extensions
                      Renegotiated = renegotiated }
            | struct (Ok _, ValueNone) -> Error Alert.DecodeError
