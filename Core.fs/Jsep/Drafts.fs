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

/// What our descriptions say of us, whatever is negotiated.
[<NoComparison; NoEquality>]
type internal LocalFacts =
    {
        SessionId: string
        Fingerprints: Fingerprint[]
        SctpPort: uint16
        /// Octets; 0: no limit.
        MaxMessageSize: int64
    }

/// Writes offers and answers, RFC 8829 §5.2 and §5.3, RFC 8841, RFC 9143.
///
/// Only a data section is accepted so far; sections of media keep their places, rejected. So there is one transport, and
/// the BUNDLE policy, which rules over the sections behind the first accepted one, has nothing to decide.
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
    let private iceOptions = [| "trickle"; "ice2" |]

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

    /// The least number that no description in use has for a mid, RFC 8829 §5.2.1.
    let private freshMid (taken: string[]) : string =
        let rec from (n: int) =
            if Array.contains (string n) taken then
                from (n + 1)
            else
                string n

        from 0

    /// With a live section for data: in the place of a dead one for data, else behind all others.
    let withData (taken: string[]) (slots: Slot[]) : Slot[] =
        let fresh =
            { Kind = "application"
              Protocol = "UDP/DTLS/SCTP"
              Formats = [| "webrtc-datachannel" |]
              Mid = ValueSome(freshMid taken)
              Live = true }

        if Array.exists isLiveData slots then
            slots
        else
            match Array.FindIndex(slots, (fun s -> s.Kind = "application")) with
            | -1 -> Array.append slots [| fresh |]
            | dead -> Array.updateAt dead fresh slots

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

    /// The section that carries data channels.
    let private data (facts: LocalFacts) (side: LocalSide) (setup: string) (slot: Slot) : SdpMedia =
        let port = string facts.SctpPort

        let struct (slot, sctp) =
            if slot.Protocol = "DTLS/SCTP" then
                struct ({ slot with Formats = [| port |] },
                        SdpAttribute.create "sctpmap" (port + " webrtc-datachannel 65535"))
            else
                struct (slot, SdpAttribute.create "sctp-port" port)

        section
            slot
            // Discard, until a default candidate is known, RFC 8840 §4.1.1.
            9us
            [| SdpAttribute.create "ice-ufrag" side.Credentials.UsernameFragment
               SdpAttribute.create "ice-pwd" side.Credentials.Password
               for fingerprint in facts.Fingerprints do
                   SdpAttribute.create "fingerprint" (SdpFingerprint.toText fingerprint)
               SdpAttribute.create "tls-id" side.TlsId
               SdpAttribute.create "setup" setup
               yield! midLine slot
               sctp
               SdpAttribute.create "max-message-size" (string facts.MaxMessageSize) |]

    /// An offer of these sections, its version 0. A live section without a mid is given one.
    let offer (facts: LocalFacts) (side: LocalSide) (taken: string[]) (slots: Slot[]) : Sdp =
        let named (slot: Slot) =
            if slot.Live && slot.Mid.IsNone then
                { slot with
                    Mid = ValueSome(freshMid taken) }
            else
                slot

        let slots = Array.map named slots

        let live =
            slots
            |> Array.filter (fun s -> isLiveData s && s.Mid.IsSome)
            |> Array.map _.Mid.Value

        slots
        |> Array.map (fun slot ->
            if isLiveData slot then
                data facts side "actpass" slot
            else
                rejected slot)
        |> session facts iceOptions [| live |]

    /// The answer to an offer, its version 0: its data section accepted, all others turned down. Its BUNDLE groups are
    /// the offer's without what is turned down, RFC 9143 §7.3.
    let answer (facts: LocalFacts) (side: LocalSide) (setup: SdpSetup) (offer: Sdp) : Sdp =
        let accepted = Section.tryData offer

        let isAccepted mid =
            match accepted with
            | ValueSome at -> Section.mid offer.Media[at] = ValueSome mid
            | ValueNone -> false

        let groups = Section.bundles offer |> Array.map (Array.filter isAccepted)
        let offered = Section.iceOptions offer
        let options = iceOptions |> Array.filter (fun o -> Array.contains o offered)

        let word =
            match setup with
            | SdpSetup.Passive -> "passive"
            | _ -> "active"

        slots offer ValueNone
        |> Array.mapi (fun i slot ->
            if accepted = ValueSome i then
                data facts side word slot
            else
                rejected slot)
        |> session facts options groups

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

    /// The section of `sdp` that has this username fragment and is not turned down.
    let ofFragment (fragment: string) (sdp: Sdp) : int voption =
        let at =
            Array.FindIndex(
                sdp.Media,
                fun m ->
                    not (Section.isRejected m)
                    && SdpAttributes.iceUfrag m.Level.Attributes = ValueSome fragment
            )

        if at < 0 then ValueNone else ValueSome at

    /// With an attribute of ICE more in the section of this generation, unless it is there; ValueNone: no such section.
    let withIce (fragment: string) (attribute: SdpAttribute) (sdp: Sdp) : Sdp voption =
        ofFragment fragment sdp
        |> ValueOption.map (fun at ->
            if Array.contains attribute sdp.Media[at].Level.Attributes then
                sdp
            else
                Section.add attribute at sdp |> withDefaultAddress at)

    /// With what was gathered for the same generation in a former description of ours, RFC 8829 §5.2.2.
    let withGathered (former: Sdp voption) (sdp: Sdp) : Sdp =
        let isGathered (a: SdpAttribute) =
            a.Name = "candidate" || a.Name = "end-of-candidates"

        match former, Section.tryData sdp with
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
