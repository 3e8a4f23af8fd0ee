namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls13

/// What a HelloRetryRequest wants of the next hello, RFC 8446 §4.1.4.
[<NoComparison; NoEquality>]
type internal Retry =
    {
        /// The group of which it wants a share; ValueNone where the first hello's will do.
        Group: NamedGroup voption
        Cookie: byte[] voption
    }

/// The client's hello, which serves every version that it speaks, and the one place that decides between them.
[<RequireQualifiedAccess>]
module internal Hello =
    /// Whether a version is within our bounds.
    let speaks (version: DtlsVersion) (config: DtlsConfig) : bool =
        DtlsVersion.isWithin config.MinVersion config.MaxVersion version

    /// Ours, best first.
    let private versions (config: DtlsConfig) : DtlsVersion[] =
        [| DtlsVersion.Dtls13; DtlsVersion.Dtls12 |]
        |> Array.filter (fun version -> speaks version config)

    /// What a server says to a hello; ValueNone where there is no version in common. A client of 1.3 lists its versions (RFC 8446
    /// §4.2.1), one of 1.2 says it in its hello.
    let choose (config: DtlsConfig) (hello: ClientHello) (offer: Offer) : DtlsVersion voption =
        let isOffered version =
            match offer.Versions with
            | ValueSome theirs -> Array.contains (uint16 version) theirs
            | ValueNone ->
                version = DtlsVersion.Dtls12
                && hello.Version <= Record.Version
                && hello.Version >>> 8 = 0xfeus

        match versions config |> Array.tryFind isOffered with
        | Some version -> ValueSome version
        | None -> ValueNone

    /// Whether a server's hello is of 1.3.
    let is13 (hello: ServerHello) : bool =
        match Extensions.find Extensions.SupportedVersions hello.Extensions with
        | ValueSome data -> Extensions13.readVersion data = ValueSome Extensions13.Version
        | ValueNone -> false

    /// A server of 1.3 that has to speak 1.2 says so in its random, RFC 8446 §4.1.3: who strips 1.3 from an offer is seen.
    let downgraded (party: Party) : Party =
        let random = Array.copy party.Random

        Messages13.downgrade.CopyTo(random, Message.RandomSize - Messages13.downgrade.Length)
        { party with Random = random }

    /// Whether somebody has stripped 1.3 from our offer.
    let isDowngraded (config: DtlsConfig) (hello: ServerHello) : bool =
        speaks DtlsVersion.Dtls13 config
        && hello.Random.AsSpan().EndsWith(ReadOnlySpan Messages13.downgrade)

    /// The groups that our first hello has shares of: the best, and what nearly everyone has, should that be too new for the server.
    let shared (config: DtlsConfig) : NamedGroup[] =
        match Array.tryHead config.Groups with
        | _ when not (speaks DtlsVersion.Dtls13 config) -> [||]
        | Some NamedGroup.X25519MLKEM768 when Array.contains NamedGroup.X25519 config.Groups ->
            [| NamedGroup.X25519MLKEM768; NamedGroup.X25519 |]
        | Some group -> [| group |]
        | None -> [||]

    /// Shares of these groups.
    let share (party: Party) (groups: NamedGroup[]) : Shares =
        groups |> Array.map (fun group -> struct (group, Handshake.share party group))

    let private suites (config: DtlsConfig) =
        config.Suites
        |> Array.filter (fun suite ->
            if Suite13.isOne suite then
                speaks DtlsVersion.Dtls13 config
            else
                speaks DtlsVersion.Dtls12 config)

    let private extensions (party: Party) (retry: Retry voption) (shares: KeyShare[]) : Extension[] =
        let config = party.Config
        let speaks12 = speaks DtlsVersion.Dtls12 config

        let name =
            match party.Trust with
            | Trust.Chain name -> name
            | Trust.Fingerprints _ -> ""

        Handshake.shuffled
            party
            [| yield!
                   Extensions.offer
                       name
                       (config.Groups |> Array.map uint16)
                       (if speaks12 then Scheme.ids else Scheme.ids13)
                       (config.SrtpProfiles |> Array.map uint16)
               if speaks12 then
                   yield! Extensions.offer12
               if speaks DtlsVersion.Dtls13 config then
                   Extensions13.versions (versions config |> Array.map uint16)

                   Extensions13.keyShares shares

                   match retry with
                   | ValueSome { Cookie = ValueSome cookie } -> Extensions13.cookie cookie
                   | _ -> () |]

    /// The extensions that a server may answer.
    let asked (party: Party) (retry: Retry voption) : uint16[] =
        extensions party retry [||] |> Array.map (fun e -> e.Type)

    /// The body of our ClientHello. `cookie` is a HelloVerifyRequest's, of 1.2.
    let write (party: Party) (cookie: byte[]) (retry: Retry voption) (shares: Shares) : byte[] =
        let shares =
            shares
            |> Array.map (fun (struct (group, share)) ->
                { Group = uint16 group
                  Exchange = share.Public })

        Message.writeClientHello
            { Version = Record.Version
              Random = party.Random
              SessionId = [||]
              Cookie = cookie
              Suites = suites party.Config |> Array.map uint16
              Extensions = extensions party retry shares }
