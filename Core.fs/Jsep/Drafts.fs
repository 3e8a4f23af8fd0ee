namespace Hybrid.WebRtc.Core

open System

/// A media section as negotiation carries it from one exchange to the next. It keeps its place for good; its mid and kind
/// change only where a dead one is recycled, RFC 8829 §5.2.2.
[<NoComparison>]
type internal Slot =
    {
        Kind: string
        Protocol: string
        Formats: string[]
        Mid: string voption
        /// Neither side has turned it down.
        Live: bool
    }

/// A section of a description of ours, about to be written.
[<NoComparison>]
type internal Line =
    | DataLine of Slot * BundleOnly: bool
    /// With what follows the transport's attributes and the mid; `IsNew`: no answer has spoken of it.
    | MediaLine of Slot * BundleOnly: bool * IsNew: bool * SdpAttribute[]
    /// Port zero, RFC 3264 §6.
    | DeadLine of Slot

/// What our descriptions say of us, whatever is negotiated.
[<NoComparison; NoEquality>]
type internal LocalFacts =
    {
        SessionId: string
        Fingerprints: Fingerprint[]
        SctpPort: uint16
        /// We are a lite agent of ICE.
        IceLite: bool
        /// Octets; 0: no limit.
        MaxMessageSize: int64
        /// Whether we follow nominations after the first, draft-thatcher-ice-renomination.
        Renomination: bool
    }

/// Writes offers and answers, RFC 8829 §5.2 and §5.3, RFC 8841, RFC 9143.
///
/// There is one transport. Its attributes stand in every section that lives, bundle-only ones too, as both browsers have it
/// and older peers look for it; RFC 8829 would have them in the tagged section alone. Candidates stand in that one only.
module internal Drafts =
    /// Characters of a username fragment: 48 bits, so that one port can serve many peers by it. RFC 8839 §5.4 asks for 4.
    [<Literal>]
    let private UfragLength = 8

    /// Characters of a password: 144 bits. RFC 8839 §5.4 asks for 22.
    [<Literal>]
    let private PasswordLength = 24

    /// RFC 8842 §4 asks for 20 to 255.
    [<Literal>]
    let private TlsIdLength = 24

    /// What we tell the peer of our ICE, RFC 8840 §4.1.1 and RFC 8445 §10.
    let private iceOptions (facts: LocalFacts) =
        if facts.Renomination then
            [| "trickle"; "ice2"; "renomination" |]
        else
            [| "trickle"; "ice2" |]

    /// Credentials and a tls-id that were never used.
    let side (entropy: Entropy) : struct (LocalSide * Entropy) =
        let struct (ufrag, entropy) = Entropy.iceChars UfragLength entropy
        let struct (pwd, entropy) = Entropy.iceChars PasswordLength entropy
        let struct (tlsId, entropy) = Entropy.iceChars TlsIdLength entropy

        struct ({ Credentials =
                    { UsernameFragment = ufrag
                      Password = pwd }
                  TlsId = tlsId },
                entropy)

    /// The sections of an exchange. Without the peer's description they are those of an offer that is under way.
    let slots (local: Sdp) (remote: Sdp voption) : Slot[] =
        local.Media
        |> Array.mapi (fun i m ->
            let turnedDown =
                match remote with
                | ValueSome remote -> i < remote.Media.Length && Section.isRejected remote.Media[i]
                | ValueNone -> false

            { Kind = m.Kind
              Protocol = m.Protocol
              Formats = m.Formats
              Mid = Section.mid m
              Live = not (Section.isRejected m) && not turnedDown })

    let isLiveData (slot: Slot) = slot.Live && slot.Kind = "application"

    let private session (facts: LocalFacts) (options: string[]) (groups: string[][]) (media: SdpMedia[]) : Sdp =
        let group (mids: string[]) =
            SdpAttribute.create "group" (String.Join(" ", Array.append [| "BUNDLE" |] mids))

        { Origin =
            { Username = "-"
              SessionId = facts.SessionId
              SessionVersion = "0"
              NetType = "IN"
              AddrType = "IP4"
              Address = "0.0.0.0" }
          Name = "-"
          Contact =
            { Uri = ValueNone
              Emails = [||]
              Phones = [||] }
          Times =
            [| { Start = "0"
                 Stop = "0"
                 Repeats = [||]
                 Zones = ValueNone } |]
          Level =
            SdpLevel.ofAttributes
                [| for mids in groups do
                       if mids.Length > 0 then
                           group mids
                   // RFC 8839 §5.3.
                   if facts.IceLite then
                       SdpAttribute.flag "ice-lite"

                   if options.Length > 0 then
                       SdpAttribute.create "ice-options" (String.Join(" ", options)) |]
          Media = media }

    let private nowhere: SdpConnection =
        { NetType = "IN"
          AddrType = "IP4"
          Address = "0.0.0.0" }

    let private midLine (slot: Slot) =
        match slot.Mid with
        | ValueSome mid -> [| SdpAttribute.create "mid" mid |]
        | ValueNone -> [||]

    let private section (slot: Slot) (port: uint16) (attributes: SdpAttribute[]) : SdpMedia =
        { Kind = slot.Kind
          Port = port
          PortCount = ValueNone
          Protocol = slot.Protocol
          Formats = slot.Formats
          Level =
            { SdpLevel.ofAttributes attributes with
                Connections = [| nowhere |] } }

    /// A section turned down, RFC 3264 §6.
    let private rejected (slot: Slot) : SdpMedia =
        let direction =
            if slot.Kind = "application" then
                [||]
            else
                [| SdpAttribute.flag "inactive" |]

        section slot 0us (Array.append direction (midLine slot))

    let private transport (facts: LocalFacts) (side: LocalSide) (setup: string) =
        [| SdpAttribute.create "ice-ufrag" side.Credentials.UsernameFragment
           SdpAttribute.create "ice-pwd" side.Credentials.Password
           for fingerprint in facts.Fingerprints do
               SdpAttribute.create "fingerprint" (SdpFingerprint.toText fingerprint)
           SdpAttribute.create "tls-id" side.TlsId
           SdpAttribute.create "setup" setup |]

    /// Discard, until a default candidate is known, RFC 8840 §4.1.1; zero where the section is of use within its BUNDLE group
    /// only, RFC 9143 §6.
    let private port (bundleOnly: bool) = if bundleOnly then 0us else 9us

    let private bundleOnlyLine (bundleOnly: bool) =
        if bundleOnly then
            [| SdpAttribute.flag "bundle-only" |]
        else
            [||]

    /// The section that carries data channels.
    let private data (facts: LocalFacts) (side: LocalSide) (setup: string) (bundleOnly: bool) (slot: Slot) : SdpMedia =
        let sctpPort = string facts.SctpPort

        let struct (slot, sctp) =
            if slot.Protocol = "DTLS/SCTP" then
                struct ({ slot with Formats = [| sctpPort |] },
                        SdpAttribute.create "sctpmap" (sctpPort + " webrtc-datachannel 65535"))
            else
                struct (slot, SdpAttribute.create "sctp-port" sctpPort)

        section
            slot
            (port bundleOnly)
            [| yield! transport facts side setup
               yield! midLine slot
               yield! bundleOnlyLine bundleOnly
               sctp
               SdpAttribute.create "max-message-size" (string facts.MaxMessageSize) |]

    /// A section of media.
    let private media facts side setup bundleOnly (isNew: bool) (content: SdpAttribute[]) (slot: Slot) : SdpMedia =
        section
            slot
            (port bundleOnly)
            [| if isNew then
                   SdpAttribute.create "rtcp" "9 IN IP4 0.0.0.0"
               yield! transport facts side setup
               yield! midLine slot
               yield! bundleOnlyLine bundleOnly
               yield! content |]

    let private write facts side setup (line: Line) : SdpMedia =
        match line with
        | DataLine(slot, bundleOnly) -> data facts side setup bundleOnly slot
        | MediaLine(slot, bundleOnly, isNew, content) -> media facts side setup bundleOnly isNew content slot
        | DeadLine slot -> rejected slot

    /// The mid of a line that lives.
    let private liveMid (line: Line) : string voption =
        match line with
        | DataLine(slot, _)
        | MediaLine(slot, _, _, _) -> slot.Mid
        | DeadLine _ -> ValueNone

    /// An offer of these lines, its version 0.
    let offer (facts: LocalFacts) (side: LocalSide) (lines: Line[]) : Sdp =
        let live = lines |> Array.map liveMid |> Array.filter _.IsSome |> Array.map _.Value

        lines
        |> Array.map (write facts side "actpass")
        |> session facts (iceOptions facts) [| live |]

    /// The answer to an offer, its version 0. Its BUNDLE groups are the offer's without what is turned down, RFC 9143 §7.3.
    let answer (facts: LocalFacts) (side: LocalSide) (setup: SdpSetup) (offer: Sdp) (lines: Line[]) : Sdp =
        let live =
            lines
            |> Array.map liveMid
            |> Array.filter _.IsSome
            |> Array.map _.Value
            |> System.Collections.Generic.HashSet

        let groups = Section.bundles offer |> Array.map (Array.filter live.Contains)
        let offered = Section.iceOptions offer
        let options = iceOptions facts |> Array.filter (fun o -> Array.contains o offered)

        let word =
            match setup with
            | SdpSetup.Passive -> "passive"
            | _ -> "active"

        lines |> Array.map (write facts side word) |> session facts options groups

    /// The address that `m=` and `c=` show: relayed before reflexive before host, IPv4 before IPv6, RFC 8445 §5.1.4.
    /// ValueNone without a UDP candidate for RTP's component; names are not shown, RFC 8829 §5.1.2.
    let private defaultAddress (candidates: string[]) : struct (uint16 * SdpConnection) voption =
        let rank (words: string[]) =
            (match words[7] with
             | "relay" -> 0
             | "srflx" -> 2
             | _ -> 4)
            + (if words[4].Contains ':' then 1 else 0)

        candidates
        |> Array.map (fun c -> c.Split ' ')
        |> Array.filter (fun w ->
            w.Length >= 8
            && w[1] = "1"
            && w[2].Equals("udp", StringComparison.OrdinalIgnoreCase)
            && (Address.parse w[4]).IsSome)
        |> Array.sortBy rank
        |> Array.tryHead
        |> function
            | Some w ->
                match SdpGrammar.number 65535L w[5] with
                | ValueSome port ->
                    ValueSome(
                        struct (uint16 port,
                                { NetType = "IN"
                                  AddrType = (if w[4].Contains ':' then "IP6" else "IP4")
                                  Address = w[4] })
                    )
                | ValueNone -> ValueNone
            | None -> ValueNone

    /// With `m=` and `c=` showing the default candidate of the section at `at`, RFC 8829 §5.2.2.
    let withDefaultAddress (at: int) (sdp: Sdp) : Sdp =
        let m = sdp.Media[at]

        match defaultAddress (SdpAttributes.candidates m.Level.Attributes) with
        | ValueNone -> sdp
        | ValueSome(struct (port, connection)) ->
            { sdp with
                Media =
                    Array.updateAt
                        at
                        { m with
                            Port = port
                            Level =
                                { m.Level with
                                    Connections = [| connection |] } }
                        sdp.Media }

    /// The section of a description of ours that has candidates of this username fragment.
    let ofFragment (fragment: string) (sdp: Sdp) : int voption =
        match Section.tryOwner sdp with
        | ValueSome at when SdpAttributes.iceUfrag sdp.Media[at].Level.Attributes = ValueSome fragment -> ValueSome at
        | _ -> ValueNone

    /// With an attribute of ICE more in the section of this generation, unless it is there; ValueNone: no such section.
    let withIce (fragment: string) (attribute: SdpAttribute) (sdp: Sdp) : Sdp voption =
        ofFragment fragment sdp
        |> ValueOption.map (fun at ->
            if Array.contains attribute sdp.Media[at].Level.Attributes then
                sdp
            else
                Section.add attribute at sdp |> withDefaultAddress at)

    /// Without a candidate in the section of this generation; ValueNone: no such section.
    let withoutCandidate (fragment: string) (value: string) (sdp: Sdp) : Sdp voption =
        let isIt (a: SdpAttribute) =
            a = SdpAttribute.create "candidate" value

        ofFragment fragment sdp
        |> ValueOption.map (fun at -> Section.without isIt at sdp |> withDefaultAddress at)

    /// With what was gathered for the same generation in a former description of ours, RFC 8829 §5.2.2.
    let withGathered (former: Sdp voption) (sdp: Sdp) : Sdp =
        let isGathered (a: SdpAttribute) =
            a.Name = "candidate" || a.Name = "end-of-candidates"

        match former, Section.tryOwner sdp with
        | ValueSome former, ValueSome at ->
            match
                Section.credentials at sdp
                |> ValueOption.bind (fun c -> ofFragment c.UsernameFragment former)
            with
            | ValueSome there ->
                former.Media[there].Level.Attributes
                |> Array.filter isGathered
                |> Array.fold (fun sdp a -> Section.add a at sdp) sdp
                |> withDefaultAddress at
            | ValueNone -> sdp
        | _ -> sdp
