namespace Hybrid.WebRtc.Core

open System.Collections.Generic

/// Which sections of an offer of the peer's we can take, RFC 8829 §5.3.1 and RFC 9143 §7.3.
///
/// There is one transport. So of an offer without BUNDLE, or with several groups, the sections of the first transport with
/// anything that we can take are accepted, whatever the bundle policy, and the others turned down: what RFC 8829 §5.3.1 has
/// `max-bundle` do.
module internal Acceptance =
    /// For each section, whether its RTCP may be sent with its RTP: said in it, or in its BUNDLE group, RFC 9143 §9.3.1.
    let private muxed (offer: Sdp) : bool[] =
        let groups = Section.bundles offer

        let own =
            offer.Media |> Array.map (fun m -> SdpAttributes.rtcpMux m.Level.Attributes)

        let by = HashSet()

        for i in 0 .. own.Length - 1 do
            match Section.mid offer.Media[i] with
            | ValueSome mid when own[i] -> by.Add mid |> ignore
            | _ -> ()

        let covered =
            groups |> Array.filter (Array.exists by.Contains) |> Array.concat |> HashSet

        own
        |> Array.mapi (fun i has ->
            has
            || (match Section.mid offer.Media[i] with
                | ValueSome mid -> covered.Contains mid
                | ValueNone -> false))

    /// Whether a media section says what we can use.
    let private isUsable
        (capabilities: MediaCapabilities)
        (encryption: HeaderEncryptionPolicy)
        (transceiver: Transceiver voption)
        (offer: Sdp)
        (at: int)
        : bool =
        match Section.mediaKind offer.Media[at], transceiver with
        | ValueNone, _ -> false
        | ValueSome kind, ValueSome t when t.Kind <> kind || not (Transceivers.isLive t) -> false
        | ValueSome kind, _ ->
            let preferences =
                match transceiver with
                | ValueSome t -> t.Options.Codecs
                | ValueNone -> [||]

            let codecs =
                Codecs.answer (Capabilities.codecsOf kind capabilities) preferences (Codecs.ofMedia offer.Media[at])

            Array.exists (fun (c: RtpCodecParameters) -> Codecs.isPrimary c.Codec) codecs
            && (encryption <> HeaderEncryptionPolicy.Require || MediaSections.isCryptex at offer)

    /// Which sections can be accepted, and the one that owns their transport; `present` owns it now.
    let ofOffer
        (capabilities: MediaCapabilities)
        (encryption: HeaderEncryptionPolicy)
        (present: int voption)
        (set: TransceiverSet)
        (offer: Sdp)
        : struct (bool[] * int voption) =
        let places = Transceivers.places offer.Media.Length set
        let mux = muxed offer
        let data = Section.tryData offer

        let usable =
            offer.Media
            |> Array.mapi (fun i m ->
                if Section.isRejected m then
                    false
                elif m.Kind = "application" then
                    data = ValueSome i
                else
                    let t =
                        if places[i] < 0 then
                            ValueNone
                        else
                            ValueSome set.Items[places[i]]

                    mux[i] && isUsable capabilities encryption t offer i)

        let firstOf (group: bool[]) =
            Seq.tryFind (fun i -> group[i] && usable[i]) (seq { 0 .. usable.Length - 1 })

        let group =
            match present with
            | ValueSome at when at < usable.Length && not (Section.isRejected offer.Media[at]) ->
                let group = Section.bundledWith at offer
                if (firstOf group).IsSome then Some group else None
            | _ -> None
            |> Option.orElseWith (fun () ->
                firstOf (Array.create usable.Length true)
                |> Option.map (fun at -> Section.bundledWith at offer))

        match group with
        | None -> struct (Array.create usable.Length false, ValueNone)
        | Some group ->
            let accepted = Array.map2 (&&) usable group

            // The answerer-tagged section: the first of the group, in its order, that is accepted. RFC 9143 §7.3.1.
            let named = Dictionary()

            for i in 0 .. accepted.Length - 1 do
                match Section.mid offer.Media[i] with
                | ValueSome mid when accepted[i] -> named.TryAdd(mid, i) |> ignore
                | _ -> ()

            let tagged =
                Section.bundles offer
                |> Seq.concat
                |> Seq.tryFind named.ContainsKey
                |> Option.map (fun mid -> named[mid])
                |> Option.orElseWith (fun () -> firstOf group)

            struct (accepted, ValueOption.ofOption tagged)
