namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// Which section and which stream a packet belongs to.
[<RequireQualifiedAccess>]
module internal ReceiveBinding =
    /// A text in a header extension; empty where the packet has none.
    let private text
        (extension: HeaderExtension)
        (map: ExtensionMap)
        (header: inref<RtpHeader>)
        (bytes: ReadOnlySpan<byte>)
        =
        let id = map.IdOf extension
        let mutable found = ""

        if id <> 0 && header.ExtensionLength > 0 then
            let mutable elements =
                ExtensionReader(header.ExtensionProfile, bytes.Slice(header.ExtensionOffset, header.ExtensionLength))

            while found = "" && elements.MoveNext() do
                if elements.Id = id then
                    match ExtensionText.read elements.Data with
                    | ValueSome text -> found <- text
                    | ValueNone -> ()

        found

    /// The section that a new source belongs to, RFC 9143 §9.2: by its MID, by a description's `a=ssrc`, or by a payload type that only
    /// one section has.
    let private sectionOf
        (header: inref<RtpHeader>)
        (bytes: ReadOnlySpan<byte>)
        (s: MediaState)
        : MediaSection voption =
        let sections = s.Terms.Sections
        let mutable found = ValueNone
        let mutable named = false

        for section in sections do
            if found.IsNone && not named then
                match text HeaderExtension.Mid section.Plan.Extensions &header bytes with
                | "" -> ()
                | mid ->
                    named <- true

                    for other in sections do
                        if other.Plan.Mid = mid then
                            found <- ValueSome other

        let ssrc = header.Ssrc

        if found.IsNone && not named then
            for section in sections do
                if
                    found.IsNone
                    && section.Plan.RemoteSources
                       |> Array.exists (fun source ->
                           source.Ssrc = ssrc || source.RtxSsrc = ssrc || source.FecSsrc = ssrc)
                then
                    found <- ValueSome section

        if found.IsNone && not named then
            let mutable several = false

            for section in sections do
                if
                    section.Plan.Receiving
                    && section.Kinds[int header.PayloadType] <> PayloadKind.Unknown
                then
                    several <- several || found.IsSome
                    found <- ValueSome section

            if several then
                found <- ValueNone

        found

    /// A source seen for the first time, RFC 8852 §3 for its rid; ValueNone: it belongs nowhere.
    let bind (header: inref<RtpHeader>) (bytes: ReadOnlySpan<byte>) (s: MediaState) : ReceiveStream voption =
        match sectionOf &header bytes s with
        | ValueSome section ->
            let kind =
                match section.Kinds[int header.PayloadType] with
                | PayloadKind.Retransmission -> PayloadKind.Retransmission
                | PayloadKind.FlexFec -> PayloadKind.FlexFec
                | PayloadKind.Unknown -> PayloadKind.Unknown
                | _ -> PayloadKind.Media

            let map = section.Plan.Extensions

            let rid =
                if kind = PayloadKind.Media then
                    text HeaderExtension.Rid map &header bytes
                else
                    match text HeaderExtension.RepairedRid map &header bytes with
                    | "" -> text HeaderExtension.Rid map &header bytes
                    | rid -> rid

            // A simulcast packet that does not say whose it is may be any encoding's: its rid comes with the next ones. FEC names the
            // source that it is about.
            if
                kind = PayloadKind.Unknown
                || (section.Plan.RemoteRids.Length > 0 && rid = "" && kind <> PayloadKind.FlexFec)
            then
                ValueNone
            else
                ValueSome(ReceiveStream.create header.Ssrc kind section.Plan.Transceiver rid)
        | ValueNone -> ValueNone

    /// The place of the media stream that a stream of retransmissions repeats, or -1.
    let repaired (rtx: ReceiveStream) (section: MediaSection) (s: MediaState) : int =
        let declared =
            section.Plan.RemoteSources
            |> Array.tryPick (fun source -> if source.RtxSsrc = rtx.Ssrc then Some source.Ssrc else None)

        match declared with
        | Some ssrc -> ReceiveStreams.find ssrc s.Receivers
        | None ->
            let mutable at = -1

            for i in 0 .. s.Receivers.Length - 1 do
                let stream = s.Receivers[i]

                if
                    stream.Kind = PayloadKind.Media
                    && stream.Transceiver = rtx.Transceiver
                    && stream.Rid = rtx.Rid
                then
                    at <- i

            at
