namespace Hybrid.WebRtc.Core

/// Writes the sections of media, RFC 8829 §5.2.1 and §5.3.1.
module internal MediaSections =
    /// RFC 9335 §4: the packets' headers may be encrypted.
    let isCryptex (at: int) (sdp: Sdp) =
        SdpAttributes.has "cryptex" sdp.Media[at].Level.Attributes
        || SdpAttributes.has "cryptex" sdp.Level.Attributes

    /// The extensions that a transceiver may negotiate.
    let extensions (capabilities: MediaCapabilities) (t: Transceiver) : ExtensionCapability[] =
        match t.Options.Extensions, t.Kind with
        | ValueSome chosen, _ -> chosen
        | ValueNone, MediaKind.Video -> capabilities.VideoExtensions
        | ValueNone, _ -> capabilities.AudioExtensions

    let codecs (capabilities: MediaCapabilities) (kind: MediaKind) : CodecCapability[] =
        match kind with
        | MediaKind.Video -> capabilities.Video
        | _ -> capabilities.Audio

    /// What one section of ours says.
    [<NoComparison; NoEquality>]
    type Content =
        { Direction: Direction
          Codecs: RtpCodecParameters[]
          Extensions: Extmap[]
          Simulcast: SimulcastStreams
          /// `rtcp-mux`, `rtcp-rsize`, `extmap-allow-mixed`, `cryptex`.
          Flags: string[] }

    /// Of the `m=` line; one at least, even of a section that has nothing.
    let formats (content: Content) : string[] =
        match Codecs.formats content.Codecs with
        | [||] -> [| "0" |]
        | formats -> formats

    /// The attributes behind those of the transport and the mid.
    let attributes (cname: string) (t: Transceiver) (content: Content) : SdpAttribute[] =
        let isSending = Directions.sends t.Direction

        // With rids there are no SSRCs; a peer without simulcast gets the first encoding alone.
        let encodings =
            if content.Simulcast.Send.Length > 0 then
                [||]
            else
                Plans.encodings content.Codecs [||] t.Sender
                |> Array.truncate 1
                |> Array.map (fun e ->
                    { e with
                        Parameters = { e.Parameters with Rid = "" } })

        [| yield! Extmaps.attributes content.Extensions
           Directions.attribute content.Direction
           if isSending then
               yield! Sources.msids t.Sender.Streams t.Sender.Msid
           for flag in content.Flags do
               SdpAttribute.flag flag
           yield! Codecs.attributes content.Codecs
           yield! Simulcast.attributes content.Simulcast
           if isSending then
               yield! Sources.attributes cname encodings |]

    /// In the order of the formats of a former answer, new ones behind them, RFC 8829 §5.2.2.
    let private inOrderOf (former: SdpMedia) (codecs: RtpCodecParameters[]) : RtpCodecParameters[] =
        let place (c: RtpCodecParameters) =
            match System.Array.IndexOf(former.Formats, string c.PayloadType) with
            | -1 -> System.Int32.MaxValue
            | at -> at

        // Lists sort stably, arrays do not.
        codecs |> List.ofArray |> List.sortBy place |> Array.ofList

    /// What an offer says of a transceiver; `former` is its section in the last answer.
    let offer
        (capabilities: MediaCapabilities)
        (encryption: HeaderEncryptionPolicy)
        (former: SdpMedia voption)
        (types: PayloadTypes)
        (ids: ExtensionIds)
        (t: Transceiver)
        : struct (Content * PayloadTypes * ExtensionIds) =
        let struct (codecs, types) =
            Codecs.offer (codecs capabilities t.Kind) t.Options.Codecs types

        let struct (extensions, ids) = Extmaps.offer (extensions capabilities t) true ids

        let codecs =
            match former with
            | ValueSome former when t.Options.Codecs.Length = 0 -> inOrderOf former codecs
            | _ -> codecs

        struct ({ Direction = t.Direction
                  Codecs = codecs
                  Extensions = extensions
                  Simulcast =
                    if Directions.sends t.Direction && t.Sender.Encodings.Length > 1 then
                        Simulcast.offer t.Sender.Encodings
                    else
                        Simulcast.none
                  Flags =
                    [| "rtcp-mux"
                       "rtcp-rsize"
                       "extmap-allow-mixed"
                       if encryption <> HeaderEncryptionPolicy.Disable then
                           "cryptex" |] },
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
        let isMixed = Extmaps.allowsMixed at offer

        let direction =
            Directions.intersect (Directions.reversed (Directions.ofSection m)) t.Direction

        let rids =
            t.Sender.Encodings
            |> Array.map _.Rid
            |> Array.filter (fun rid -> rid <> "")

        let simulcast = Simulcast.answer rids (Simulcast.ofAttributes offered)

        { Direction = direction
          Codecs = Codecs.answer (codecs capabilities t.Kind) t.Options.Codecs (Codecs.ofMedia m)
          Extensions = Extmaps.answer (extensions capabilities t) isMixed (Extmaps.ofSection at offer)
          Simulcast =
            { Send = if Directions.sends direction then simulcast.Send else [||]
              Receive = if Directions.receives direction then simulcast.Receive else [||] }
          Flags =
            [| "rtcp-mux"
               if SdpAttributes.rtcpRsize offered then
                   "rtcp-rsize"
               if isMixed then
                   "extmap-allow-mixed"
               if encryption <> HeaderEncryptionPolicy.Disable && isCryptex at offer then
                   "cryptex" |] }
