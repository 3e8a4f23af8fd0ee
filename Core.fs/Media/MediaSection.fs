namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What a payload type carries.
type internal PayloadKind =
    /// Nothing that was negotiated.
    | Unknown = 0
    | Media = 1
    /// RFC 4588.
    | Retransmission = 2
    /// RFC 2198.
    | Red = 3
    /// RFC 5109, inside of RED.
    | Ulpfec = 4
    | FlexFec = 5
    /// RFC 4733.
    | TelephoneEvent = 6

/// A media section as packets are looked up in it: tables made once a negotiation.
[<NoComparison; NoEquality>]
type internal MediaSection =
    {
        Plan: SectionPlan
        /// Of what may arrive, by payload type.
        Kinds: PayloadKind[]
        /// Of what may arrive, in Hz; 0: unknown.
        ClockRates: int[]
        /// Of what may arrive, by payload type.
        KeyFrames: KeyFrameFormat[]
        Pairs: RtxPairs
        /// Whether lost packets are asked for: `nack` was negotiated for some codec.
        AsksAgain: bool
        /// `ccm fir` and no `nack pli`.
        OnlyFir: bool
        /// Packets have arrived since the peer said that it sends.
        IsHeard: bool
        /// How long frames are held at least, RTCRtpReceiver.jitterBufferTarget; ValueNone: nothing is held.
        Hold: Duration voption
    }

[<RequireQualifiedAccess>]
module internal MediaSection =
    let private kindOf (codec: RtpCodecParameters) : PayloadKind =
        let codec = codec.Codec

        if Fmtp.isRtx codec then
            PayloadKind.Retransmission
        elif Fmtp.isRed codec then
            PayloadKind.Red
        elif Fmtp.isUlpfec codec then
            PayloadKind.Ulpfec
        elif Fmtp.isFlexFec codec then
            PayloadKind.FlexFec
        elif Fmtp.isTelephoneEvent codec then
            PayloadKind.TelephoneEvent
        else
            PayloadKind.Media

    let private table (fallback: 'a) (value: RtpCodecParameters -> 'a) (codecs: RtpCodecParameters[]) : 'a[] =
        let made = Array.create 128 fallback

        for codec in codecs do
            if codec.PayloadType >= 0 && codec.PayloadType < 128 then
                made[codec.PayloadType] <- value codec

        made

    /// The codec of a payload type; ValueNone: it has none.
    let codec (payloadType: byte) (codecs: RtpCodecParameters[]) : RtpCodecParameters voption =
        match codecs |> Array.tryFind (fun codec -> codec.PayloadType = int payloadType) with
        | Some codec -> ValueSome codec
        | None -> ValueNone

    let clockRates (codecs: RtpCodecParameters[]) : int[] = table 0 _.Codec.ClockRate codecs

    let hasFeedback (feedback: string) (codecs: RtpCodecParameters[]) : bool =
        codecs |> Array.exists (fun codec -> Array.contains feedback codec.Feedback)

    let create (isHeard: bool) (hold: Duration voption) (plan: SectionPlan) : MediaSection =
        let codecs = plan.ReceiveCodecs

        { Plan = plan
          Kinds = table PayloadKind.Unknown kindOf codecs
          ClockRates = clockRates codecs
          KeyFrames = table KeyFrameFormat.None (fun codec -> KeyFrames.ofMimeType codec.Codec.MimeType) codecs
          Pairs = Rtx.pairs codecs
          AsksAgain = hasFeedback "nack" codecs
          OnlyFir = hasFeedback "ccm fir" codecs && not (hasFeedback "nack pli" codecs)
          IsHeard = isHeard && plan.Receiving
          Hold = hold }

    /// What is sent of each encoding.
    let terms (section: MediaSection) : SendTerms[] =
        let plan = section.Plan
        let pairs = Rtx.pairs plan.SendCodecs
        let rates = clockRates plan.SendCodecs
        let isAskedAgain = hasFeedback "nack" plan.SendCodecs

        let fec =
            match plan.SendCodecs |> Array.tryFind (fun c -> Fmtp.isFlexFec c.Codec) with
            | Some codec -> byte codec.PayloadType
            | None -> 255uy

        // As in Chromium: it is sent where it comes first, which it does where preferences put it there.
        let red =
            if
                plan.SendCodecs.Length > 0
                && plan.Kind = MediaKind.Audio
                && Fmtp.isRed plan.SendCodecs[0].Codec
            then
                ValueSome plan.SendCodecs[0]
            else
                ValueNone

        // Browsers read both forms where they offer both, RFC 8285 §6; what does not fit one octet is rare enough.
        let isWide = plan.Extensions.Entries |> Array.exists (fun e -> e.Key > 14)

        plan.Encodings
        |> Array.mapi (fun i encoding ->
            let rid = encoding.Parameters.Rid

            { Transceiver = plan.Transceiver
              Encoding = i
              Kind = plan.Kind
              Parameters = encoding.Parameters
              Ssrc = encoding.Ssrc
              RtxSsrc = encoding.RtxSsrc
              IsOpen = plan.Sending && encoding.Parameters.Active
              Codecs = plan.SendCodecs
              ClockRates = rates
              RtxTypes = pairs.Rtx
              Own = SenderExtensions.Identifying(plan.Extensions, isWide, plan.Mid, rid, "")
              RtxOwn = SenderExtensions.Identifying(plan.Extensions, isWide, plan.Mid, "", rid)
              FecSsrc = (if fec = 255uy then 0u else encoding.FecSsrc)
              FecType = fec
              FecOwn = SenderExtensions.Identifying(plan.Extensions, isWide, plan.Mid, "", "")
              RedType =
                (match red with
                 | ValueSome codec -> byte codec.PayloadType
                 | ValueNone -> 255uy)
              RedCarries =
                (match red with
                 | ValueSome codec -> Fmtp.redundant codec.Codec
                 | ValueNone -> Array.Empty())
              IsAskedAgain = isAskedAgain
              Extensions = plan.Extensions
              Cryptex = plan.HeaderEncryption
              Priority =
                (if plan.Kind = MediaKind.Audio then
                     PacketPriority.Audio
                 else
                     PacketPriority.Video) })
