namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What is negotiated unless the user says otherwise: what browsers have, in Chromium's order and with its payload types.
[<RequireQualifiedAccess>]
module Capabilities =
    /// Nothing: every media section is rejected.
    [<CompiledName "None">]
    let none: MediaCapabilities =
        { Audio = [||]
          Video = [||]
          AudioExtensions = [||]
          VideoExtensions = [||] }

    let private audio name clockRate channels fmtp payloadType feedback : CodecCapability =
        { Codec =
            { MimeType = "audio/" + name
              ClockRate = clockRate
              Channels = ValueSome channels
              Fmtp = fmtp }
          PreferredPayloadType = ValueSome payloadType
          Feedback = feedback
          Retransmission = false }

    /// RFC 4585 §4.2, RFC 5104 §7.1, and what Chromium added to them.
    let private videoFeedback =
        [| "goog-remb"; "transport-cc"; "ccm fir"; "nack"; "nack pli" |]

    let private video name fmtp payloadType : CodecCapability =
        { Codec =
            { MimeType = "video/" + name
              ClockRate = 90_000
              Channels = ValueNone
              Fmtp = fmtp }
          PreferredPayloadType = ValueSome payloadType
          Feedback = videoFeedback
          Retransmission = true }

    let private h264 mode profile payloadType =
        video
            "H264"
            ("level-asymmetry-allowed=1;packetization-mode="
             + mode
             + ";profile-level-id="
             + profile)
            payloadType

    let private extension direction known : ExtensionCapability =
        { Uri = HeaderExtensions.uri known
          Direction = direction }

    let private both = extension Direction.SendRecv
    /// Known, and negotiated once a user asks for it: together with these there would be more than 14, the most that
    /// one-byte headers number (RFC 8285 §4.2).
    let private stopped = extension Direction.Stopped

    /// Every codec and header extension that there is machinery for. Video RED and ULPFEC are not: they cost a video
    /// stream octets and bring nothing over RTX and FlexFEC; peers send plain video where an answer leaves them out.
    [<CompiledName "Default">]
    let defaults: MediaCapabilities =
        { Audio =
            [| { audio "opus" 48_000 2 "minptime=10;useinbandfec=1" 111 [| "transport-cc"; "nack" |] with
                   Retransmission = false }
               audio "red" 48_000 2 "" 63 [||]
               audio "G722" 8_000 1 "" 9 [||]
               audio "PCMU" 8_000 1 "" 0 [||]
               audio "PCMA" 8_000 1 "" 8 [||]
               audio "telephone-event" 48_000 1 "0-15" 110 [||]
               audio "telephone-event" 8_000 1 "0-15" 126 [||] |]
          Video =
            [| video "VP8" "" 96
               h264 "1" "42001f" 102
               h264 "0" "42001f" 104
               h264 "1" "42e01f" 108
               h264 "0" "42e01f" 114
               h264 "1" "4d001f" 116
               h264 "0" "4d001f" 39
               h264 "1" "64001f" 112
               h264 "0" "64001f" 37
               video "AV1" "level-idx=5;profile=0;tier=0" 45
               video "H265" "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST" 49
               video "VP9" "profile-id=0" 98
               video "VP9" "profile-id=2" 100
               { video "flexfec-03" "repair-window=10000000" 35 with
                   Feedback = [| "goog-remb"; "transport-cc" |]
                   Retransmission = false } |]
          AudioExtensions =
            [| both HeaderExtension.AudioLevel
               both HeaderExtension.AbsSendTime
               both HeaderExtension.TransportCc
               both HeaderExtension.Mid
               stopped HeaderExtension.CsrcAudioLevel
               stopped HeaderExtension.AbsCaptureTime |]
          VideoExtensions =
            [| both HeaderExtension.TransmissionOffset
               both HeaderExtension.AbsSendTime
               both HeaderExtension.VideoOrientation
               both HeaderExtension.TransportCc
               both HeaderExtension.PlayoutDelay
               both HeaderExtension.VideoContentType
               both HeaderExtension.VideoTiming
               both HeaderExtension.ColorSpace
               both HeaderExtension.Mid
               both HeaderExtension.Rid
               both HeaderExtension.RepairedRid
               stopped HeaderExtension.AbsCaptureTime
               both HeaderExtension.DependencyDescriptor
               both HeaderExtension.VideoLayersAllocation |] }

    let private mapCodecs change (capabilities: MediaCapabilities) : MediaCapabilities =
        { capabilities with
            Audio = change capabilities.Audio
            Video = change capabilities.Video }

    /// Only the codecs of these MIME types, whatever their case, in the order they had: `video/VP8`, `audio/opus`… RTX goes
    /// with its codec. `audio/red` and FEC are to be named like others.
    [<CompiledName "Only">]
    let only (mimeTypes: string[]) (capabilities: MediaCapabilities) : MediaCapabilities =
        let named (c: CodecCapability) =
            Array.exists (fun t -> String.Equals(t, c.Codec.MimeType, StringComparison.OrdinalIgnoreCase)) mimeTypes

        mapCodecs (Array.filter named) capabilities

    /// With one kind of feedback more for every codec but RED, FEC and DTMF: `ack ccfb` of RFC 8888 §6 is not offered by
    /// default, since few peers have it.
    [<CompiledName "WithFeedback">]
    let withFeedback (feedback: string) (capabilities: MediaCapabilities) : MediaCapabilities =
        let add (c: CodecCapability) =
            if c.Feedback.Length = 0 || Array.contains feedback c.Feedback then
                c
            else
                { c with
                    Feedback = Array.append c.Feedback [| feedback |] }

        mapCodecs (Array.map add) capabilities

    let internal codecsOf (kind: MediaKind) (capabilities: MediaCapabilities) : CodecCapability[] =
        match kind with
        | MediaKind.Audio -> capabilities.Audio
        | _ -> capabilities.Video

    let internal extensionsOf (kind: MediaKind) (capabilities: MediaCapabilities) : ExtensionCapability[] =
        match kind with
        | MediaKind.Audio -> capabilities.AudioExtensions
        | _ -> capabilities.VideoExtensions

    /// RTX as preferences and getCapabilities() name it: once for all codecs of a clock rate, without `apt`.
    let internal rtxOf (codec: RtpCodec) : RtpCodec =
        { MimeType = codec.MimeType.Substring(0, codec.MimeType.IndexOf '/') + "/rtx"
          ClockRate = codec.ClockRate
          Channels = codec.Channels
          Fmtp = "" }

    let internal hasRtx (capabilities: CodecCapability[]) =
        Array.exists (fun (c: CodecCapability) -> c.Retransmission) capabilities

    /// What getCapabilities() of a sender or a receiver shows, W3C WebRTC 1.0 §5.2.7: codecs without payload types, RTX
    /// standing once for all.
    [<CompiledName "Codecs">]
    let codecs (kind: MediaKind) (capabilities: MediaCapabilities) : RtpCodec[] =
        let own = codecsOf kind capabilities
        let at = Array.FindIndex(own, (fun c -> c.Retransmission))

        [| for i in 0 .. own.Length - 1 do
               own[i].Codec

               if i = at then
                   rtxOf own[i].Codec |]

    /// What getCapabilities() shows of header extensions, W3C webrtc-extensions §5: those stopped are not shown.
    [<CompiledName "HeaderExtensions">]
    let headerExtensions (kind: MediaKind) (capabilities: MediaCapabilities) : ExtensionCapability[] =
        extensionsOf kind capabilities
        |> Array.filter (fun e -> e.Direction <> Direction.Stopped)
