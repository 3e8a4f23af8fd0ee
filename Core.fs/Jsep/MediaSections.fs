namespace Hybrid.WebRtc.Core

/// Writes the sections of media, RFC 8829 §5.2.1 and §5.3.1.
module internal MediaSections =
    /// RFC 9335 §4: the packets' headers may be encrypted.
    let isCryptex (at: int) (sdp: Sdp) =
        SdpAttributes.has "cryptex" sdp.Media[at].Level.Attributes
        || SdpAttributes.has "cryptex" sdp.Level.Attributes

    /// The extensions that a transceiver may negotiate.
    let private extensions (capabilities: MediaCapabilities) (t: Transceiver) : ExtensionCapability[] =
        t.Options.Extensions
        |> ValueOption.defaultWith (fun () -> Capabilities.extensionsOf t.Kind capabilities)

    /// What one section of ours says.
    [<NoComparison; NoEquality>]
    type Content =
        {
            Direction: Direction
            Codecs: RtpCodecParameters[]
            Extensions: Extmap[]
            Simulcast: SimulcastStreams
            /// `rtcp-mux`, `rtcp-rsize`, `extmap-allow-mixed`, `cryptex`.
            Flags: string[]
            /// `rtcp-xr:rcvr-rtt`.
            RoundTrips: bool
        }

    /// Of the `m=` line; one at least, even of a section that has nothing.
    let formats (content: Content) : string[] =
        match Codecs.formats content.Codecs with
        | [||] -> [| "0" |]
        | formats -> formats

    /// The attributes behind those of the transport and the mid.
    let attributes (cname: string) (t: Transceiver) (content: Content) : SdpAttribute[] =
        // Who has sent keeps its name while it does not, RFC 9429 §5.2.2; Chromium shows nothing more of a source that was gone and
        // comes back.
        let isSender = Directions.sends t.Direction || t.Sender.EverSent

        // With rids there are no SSRCs; a peer without simulcast gets the first encoding alone.
        let encodings =
            if content.Simulcast.Send.Length > 0 then
                [||]
            else
                Plans.alone (Plans.encodings content.Codecs (Plans.wantsFec t) [||] t.Sender)

        let msids = Sources.msids t.Sender.Streams t.Sender.Msid

        [| yield! Extmaps.attributes content.Extensions
           Directions.attribute content.Direction
           if isSender then
               yield! msids
           for flag in content.Flags do
               SdpAttribute.flag flag
           if content.RoundTrips then
               SdpAttribute.create "rtcp-xr" "rcvr-rtt=all"
           yield! Codecs.attributes content.Codecs
           yield! Simulcast.attributes content.Simulcast
           if isSender then
               yield! Sources.attributes cname msids[0].Value.Value encodings |]

    /// In the order of the formats of a former answer, new ones behind them, RFC 8829 §5.2.2.
    let private inOrderOf (former: SdpMedia) (codecs: RtpCodecParameters[]) : RtpCodecParameters[] =
        let place (c: RtpCodecParameters) =
            match System.Array.IndexOf(former.Formats, string c.PayloadType) with
            | -1 -> System.Int32.MaxValue
            | at -> at

        // Lists sort stably, arrays do not.
        codecs |> List.ofArray |> List.sortBy place |> Array.ofList

    /// A section as the last exchange left it.
    [<NoComparison; NoEquality>]
    type Former =
        {
            /// In the answer, whoever's that was.
            Answer: SdpMedia
            AnswerLevel: SdpLevel
            /// In our description.
            Ours: SdpMedia
        }

    /// What we send, and what we go on to receive, RFC 8829 §5.2.2: `a=rid` and `a=simulcast` stay as they were agreed on.
    let private simulcast (former: Former voption) (t: Transceiver) : SimulcastStreams =
        let sent =
            if Directions.sends t.Direction then
                Simulcast.offer t.Sender.Encodings
            else
                Simulcast.none

        match former with
        | ValueSome { Ours = ours } when Directions.receives t.Direction ->
            let received = Simulcast.ofMedia ours

            { Rids = Array.append sent.Rids (received.Rids |> Array.filter (fun rid -> not rid.Send))
              Send = sent.Send
              Receive = received.Receive }
        | _ -> sent

    /// What an offer says of a transceiver; `former` is its section as it was, unless it is new.
    let offer
        (capabilities: MediaCapabilities)
        (encryption: HeaderEncryptionPolicy)
        (former: Former voption)
        (types: PayloadTypes)
        (ids: ExtensionIds)
        (t: Transceiver)
        : struct (Content * PayloadTypes * ExtensionIds) =
        // Two-byte headers are for a peer that said that it takes them, RFC 8285 §6.
        let twoByte =
            match former with
            | ValueSome former -> Extmaps.allowsMixed former.Answer former.AnswerLevel
            | ValueNone -> false

        let struct (codecs, types) =
            Codecs.offer (Capabilities.codecsOf t.Kind capabilities) t.Options.Codecs types

        let struct (extensions, ids) = Extmaps.offer (extensions capabilities t) twoByte ids

        let codecs =
            match former with
            | ValueSome former when t.Options.Codecs.Length = 0 -> inOrderOf former.Answer codecs
            | _ -> codecs

        struct ({ Direction = t.Direction
                  Codecs = codecs
                  Extensions = extensions
                  Simulcast = simulcast former t
                  Flags =
                    [| "rtcp-mux"
                       "rtcp-rsize"
                       "extmap-allow-mixed"
                       if encryption <> HeaderEncryptionPolicy.Disable then
                           "cryptex" |]
                  RoundTrips = true },
                types,
                ids)

    /// What an answer says of a transceiver to the section at `at`. Without a codec of media the section is turned down.
    let answer
        (capabilities: MediaCapabilities)
        (encryption: HeaderEncryptionPolicy)
        (at: int)
        (offer: Sdp)
        (t: Transceiver)
        : Content =
        let m = offer.Media[at]
        let offered = m.Level.Attributes
        let isMixed = Extmaps.allowsMixed m offer.Level

        let direction =
            Directions.intersect (Directions.reversed (Directions.ofSection m)) t.Direction

        let rids =
            t.Sender.Encodings |> Array.map _.Rid |> Array.filter (fun rid -> rid <> "")

        let codecs =
            Codecs.answer (Capabilities.codecsOf t.Kind capabilities) t.Options.Codecs (Codecs.ofMedia m)

        let theirs = Simulcast.ofMedia m

        { Direction = direction
          Codecs = codecs
          Extensions = Extmaps.answer (extensions capabilities t) isMixed (Extmaps.ofMedia m offer.Level)
          Simulcast =
            Simulcast.answer
                codecs
                Simulcast.MaxStreams
                rids
                { theirs with
                    Send = if Directions.receives direction then theirs.Send else [||]
                    Receive = if Directions.sends direction then theirs.Receive else [||] }
          Flags =
            [| "rtcp-mux"
               if SdpAttributes.rtcpRsize offered then
                   "rtcp-rsize"
               if isMixed then
                   "extmap-allow-mixed"
               if encryption <> HeaderEncryptionPolicy.Disable && isCryptex at offer then
                   "cryptex" |]
          RoundTrips = SdpAttributes.receiverRoundTrip offered }
