namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic

/// How a data section writes its SCTP port.
type internal DataForm =
    /// `UDP/DTLS/SCTP webrtc-datachannel` and `a=sctp-port`, RFC 8841.
    | Modern
    /// `DTLS/SCTP 5000` and `a=sctpmap:5000 webrtc-datachannel …`, the drafts before it.
    | Legacy

/// What a media section says to negotiation: inherited attributes, BUNDLE and data channels. RFC 8829 §5.8, RFC 9143.
module internal Section =
    /// SCTP's port where a peer names none: every browser's.
    [<Literal>]
    let DefaultSctpPort = 5000us

    /// Octets where the peer says nothing, RFC 8841 §6.1.
    [<Literal>]
    let DefaultMaxMessageSize = 65_536L

    let private bundle = "BUNDLE"

    let mid (m: SdpMedia) = SdpAttributes.mid m.Level.Attributes

    /// Turned down, or of no more use. A bundle-only section has port zero and is not, RFC 9143 §6.
    let isRejected (m: SdpMedia) =
        m.Port = 0us && not (SdpAttributes.bundleOnly m.Level.Attributes)

    /// How it speaks SCTP over DTLS for data channels; ValueNone when it does not.
    let dataForm (m: SdpMedia) : DataForm voption =
        if m.Kind <> "application" then
            ValueNone
        else
            match m.Protocol with
            | "UDP/DTLS/SCTP"
            | "TCP/DTLS/SCTP" when Array.contains "webrtc-datachannel" m.Formats -> ValueSome Modern
            | "DTLS/SCTP" -> ValueSome Legacy
            | _ -> ValueNone

    /// The peer's SCTP port. Zero closes the association, RFC 8841 §5.1.
    let sctpPort (m: SdpMedia) : uint16 =
        let attributes = m.Level.Attributes

        match dataForm m with
        | ValueSome Legacy ->
            SdpAttributes.sctpMapPort attributes
            |> ValueOption.orElseWith (fun () -> SdpGrammar.number 65535L m.Formats[0] |> ValueOption.map uint16)
        | _ -> SdpAttributes.sctpPort attributes
        |> ValueOption.defaultValue DefaultSctpPort

    /// The largest message the peer takes, octets; `Int64.MaxValue` where it sets no limit, RFC 8841 §6.1.
    let maxMessageSize (m: SdpMedia) : int64 =
        match SdpAttributes.maxMessageSize m.Level.Attributes with
        | ValueNone -> DefaultMaxMessageSize
        | ValueSome 0L -> Int64.MaxValue
        | ValueSome octets -> octets

    /// Whether it carries data channels.
    let isData (m: SdpMedia) =
        not (isRejected m) && (dataForm m).IsSome && sctpPort m <> 0us

    /// Whether it carries anything: a section of an application other than data channels does not, to us.
    let isLive (m: SdpMedia) =
        if m.Kind = "application" then
            isData m
        else
            not (isRejected m)

    /// The kind of a section over RTP; ValueNone: neither audio nor video, or not over RTP. The profiles of RFC 8829 §5.1.2.
    let mediaKind (m: SdpMedia) : MediaKind voption =
        let isRtp =
            match m.Protocol with
            | "UDP/TLS/RTP/SAVPF"
            | "UDP/TLS/RTP/SAVP"
            | "TCP/DTLS/RTP/SAVPF"
            | "TCP/DTLS/RTP/SAVP"
            | "TCP/TLS/RTP/SAVPF"
            | "TCP/TLS/RTP/SAVP"
            | "RTP/SAVPF"
            | "RTP/SAVP"
            | "RTP/AVPF"
            | "RTP/AVP" -> true
            | _ -> false

        match m.Kind with
        | "audio" when isRtp -> ValueSome MediaKind.Audio
        | "video" when isRtp -> ValueSome MediaKind.Video
        | _ -> ValueNone

    /// Where the data channels' section is among those that are not rejected; only the first one counts.
    let tryData (sdp: Sdp) : int voption =
        let at = Array.FindIndex(sdp.Media, isData)
        if at < 0 then ValueNone else ValueSome at

    /// The index of the section of this mid.
    let tryIndex (mid: string) (sdp: Sdp) : int voption =
        let at =
            Array.FindIndex(sdp.Media, (fun m -> SdpAttributes.mid m.Level.Attributes = ValueSome mid))

        if at < 0 then ValueNone else ValueSome at

    /// Where the section of each mid is: a look-up for many at once, since a peer says how many there are.
    let private indices (sdp: Sdp) : Dictionary<string, int> =
        let found = Dictionary()

        for i in 0 .. sdp.Media.Length - 1 do
            match mid sdp.Media[i] with
            | ValueSome mid -> found.TryAdd(mid, i) |> ignore
            | ValueNone -> ()

        found

    /// Every section's mid, in order.
    let mids (sdp: Sdp) : string[] =
        sdp.Media |> Array.map mid |> Array.filter _.IsSome |> Array.map _.Value

    /// The mids of each BUNDLE group, the tagged section's first.
    let bundles (sdp: Sdp) : string[][] =
        SdpAttributes.groups sdp.Level.Attributes
        |> Array.filter (fun g -> g.Semantics = bundle)
        |> Array.map _.Mids

    /// The section that an answer's transport belongs to, or that of an offer of ours: the tagged one of the first BUNDLE
    /// group that lives, RFC 9143 §7; without such a group the first section that lives. ValueNone: none does.
    let tryOwner (sdp: Sdp) : int voption =
        let owns (i: int) =
            sdp.Media[i].Port <> 0us && isLive sdp.Media[i]

        let first (found: int seq) =
            match Seq.tryFind owns found with
            | Some i -> ValueSome i
            | None -> ValueNone

        let named = indices sdp

        bundles sdp
        |> Seq.concat
        |> Seq.filter named.ContainsKey
        |> Seq.map (fun mid -> named[mid])
        |> first
        |> ValueOption.orElseWith (fun () -> first (seq { 0 .. sdp.Media.Length - 1 }))

    /// For each section, whether it goes over the transport of the section at `owner`: it, and those of its BUNDLE group.
    let bundledWith (owner: int) (sdp: Sdp) : bool[] =
        let group =
            match mid sdp.Media[owner] with
            | ValueSome mid -> bundles sdp |> Array.tryFind (Array.contains mid) |> Option.defaultValue [||]
            | ValueNone -> [||]
            |> HashSet

        sdp.Media
        |> Array.mapi (fun i m ->
            i = owner
            || (match mid m with
                | ValueSome mid -> group.Contains mid
                | ValueNone -> false))

    /// The value of a section's attribute, else of the session's.
    let private inherited (name: string) (at: int) (sdp: Sdp) : string voption =
        SdpAttributes.tryValue name sdp.Media[at].Level.Attributes
        |> ValueOption.orElseWith (fun () -> SdpAttributes.tryValue name sdp.Level.Attributes)

    /// For each section, the one whose transport attributes hold for it. Its own where it has them; else, and for a
    /// bundle-only section, those of the first section of its group with a port: the offerer-tagged one, whether or
    /// not we accept what it carries. RFC 9143 §7.1.3 and §7.3.1. All at once: linear in the sections.
    let private owners (sdp: Sdp) : int[] =
        let named = indices sdp

        let hasOwn =
            sdp.Media |> Array.mapi (fun i _ -> (inherited "ice-ufrag" i sdp).IsSome)

        let tagged = Dictionary<string, int>()

        for group in bundles sdp do
            let first =
                group
                |> Array.tryPick (fun mid ->
                    match named.TryGetValue mid with
                    | true, i when sdp.Media[i].Port <> 0us && hasOwn[i] -> Some i
                    | _ -> None)

            match first with
            | Some i ->
                for mid in group do
                    tagged.TryAdd(mid, i) |> ignore
            | None -> ()

        sdp.Media
        |> Array.mapi (fun i m ->
            if hasOwn[i] && not (SdpAttributes.bundleOnly m.Level.Attributes) then
                i
            else
                match mid m with
                | ValueSome mid ->
                    match tagged.TryGetValue mid with
                    | true, owner -> owner
                    | _ -> i
                | ValueNone -> i)

    let private credentialsOf (owner: int) (sdp: Sdp) : IceParameters voption =
        match inherited "ice-ufrag" owner sdp, inherited "ice-pwd" owner sdp with
        | ValueSome ufrag, ValueSome pwd ->
            ValueSome
                { UsernameFragment = ufrag
                  Password = pwd }
        | _ -> ValueNone

    /// The fingerprints of a section, else of the session, RFC 8122 §5.
    let private fingerprintsOf (owner: int) (sdp: Sdp) : Fingerprint[] =
        match SdpAttributes.fingerprints sdp.Media[owner].Level.Attributes with
        | [||] -> SdpAttributes.fingerprints sdp.Level.Attributes
        | own -> own

    let private setupOf (owner: int) (sdp: Sdp) : SdpSetup voption =
        inherited "setup" owner sdp |> ValueOption.bind SdpAttributes.setupOf

    let private owner (at: int) (sdp: Sdp) : int = Array.get (owners sdp) at

    let credentials (at: int) (sdp: Sdp) = credentialsOf (owner at sdp) sdp
    let fingerprints (at: int) (sdp: Sdp) = fingerprintsOf (owner at sdp) sdp
    let setup (at: int) (sdp: Sdp) = setupOf (owner at sdp) sdp
    let tlsId (at: int) (sdp: Sdp) = inherited "tls-id" (owner at sdp) sdp

    /// What each section needs to open its transport: credentials, fingerprints and setup.
    let transports (sdp: Sdp) : struct (IceParameters voption * Fingerprint[] * SdpSetup voption)[] =
        owners sdp
        |> Array.map (fun owner -> struct (credentialsOf owner sdp, fingerprintsOf owner sdp, setupOf owner sdp))

    /// Each section's username fragment.
    let fragments (sdp: Sdp) : string voption[] =
        owners sdp
        |> Array.map (fun owner -> credentialsOf owner sdp |> ValueOption.map _.UsernameFragment)

    /// For each section, whether its candidates are over the transport of the section at `at`. Browsers give bundled
    /// sections the same credentials; the candidates of the tagged one are meant as long as the other has none of its
    /// own.
    let sharing (at: int) (sdp: Sdp) : bool[] =
        let owners = owners sdp
        let own = credentialsOf owners[at] sdp

        let group =
            match mid sdp.Media[at] with
            | ValueSome mid when (SdpAttributes.candidates sdp.Media[at].Level.Attributes).Length = 0 ->
                bundles sdp |> Array.tryFind (Array.contains mid) |> Option.defaultValue [||]
            | _ -> [||]
            |> HashSet

        sdp.Media
        |> Array.mapi (fun i m ->
            i = at
            || i = owners[at]
            || (match mid m with
                | ValueSome mid -> group.Contains mid
                | ValueNone -> false)
               && not (isRejected m)
               && credentialsOf owners[i] sdp = own)

    /// The candidates over a section's transport, and whether there will be no more.
    let candidates (at: int) (sdp: Sdp) : struct (string[] * bool) =
        let shared =
            Array.zip (sharing at sdp) sdp.Media
            |> Array.filter fst
            |> Array.map (fun (_, m) -> m.Level.Attributes)

        struct (Array.distinct (Array.collect SdpAttributes.candidates shared),
                SdpAttributes.endOfCandidates sdp.Level.Attributes
                || Array.exists SdpAttributes.endOfCandidates shared)

    /// Whether the description offers `trickle`, at session level or in any section, RFC 8840 §4.1.1.
    let iceOptions (sdp: Sdp) : string[] =
        Array.append [| sdp.Level |] (sdp.Media |> Array.map _.Level)
        |> Array.collect (fun level -> SdpAttributes.iceOptions level.Attributes)

    /// With one attribute more in the section at `at`.
    let private change (edit: SdpAttribute[] -> SdpAttribute[]) (at: int) (sdp: Sdp) : Sdp =
        let m = sdp.Media[at]

        let m =
            { m with
                Level =
                    { m.Level with
                        Attributes = edit m.Level.Attributes } }

        { sdp with
            Media = Array.updateAt at m sdp.Media }

    let add (attribute: SdpAttribute) (at: int) (sdp: Sdp) : Sdp =
        change (fun attributes -> Array.append attributes [| attribute |]) at sdp

    /// Without attributes of one section.
    let without (unwanted: SdpAttribute -> bool) (at: int) (sdp: Sdp) : Sdp =
        change (Array.filter (unwanted >> not)) at sdp
