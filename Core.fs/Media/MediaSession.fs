namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal MediaInput =
    | Tick
    /// The handshake gave keys: what was sent and received under others is over.
    | Keys of SrtpProfile * SrtpKeys * DtlsRole
    | Plan of MediaPlan
    /// RTP or RTCP, lent: decrypted in place.
    | Received of Memory<byte>
    | Send of Transceiver: TransceiverId * Encoding: int * Mapping: RtpMapping * Packets: ReadOnlyMemory<RtpPacket>
    | SendRtcp of Rtcp[]
    /// RTCRtpReceiver.jitterBufferTarget; ValueNone: frames are made of packets as they come.
    | SetJitterBuffer of Transceiver: TransceiverId * Target: Duration voption
    | RequestKeyFrame of Transceiver: TransceiverId * Ssrc: uint32
    /// What is sent from now on goes by another path, whose relay has so many octets around a packet.
    | PathChanged of Overhead: int
    /// The relay of the path has.
    | Wrapped of Overhead: int
    /// Durations are within W3C's bounds.
    | InsertDtmf of Transceiver: TransceiverId * Tones: string * Duration: Duration * Gap: Duration
    /// Says goodbye for what was sent.
    | Close

/// All media of a connection as one machine: sources that are sent and received, their protection (RFC 3711), their repair
/// (RFC 4585, 4588), their reports, and one estimate of the path with one pacer for all of them.
[<RequireQualifiedAccess>]
module internal MediaSession =
    let create (config: MediaConfig) (entropy: Entropy) : MediaState = MediaState.create config entropy

    let deadline (s: MediaState) : Instant =
        if s.Keys.IsNone then
            Instant.never
        else
            Instant.min
                (Instant.min (MediaControl.deadline s) (MediaTones.deadline s))
                (Instant.min
                    (MediaSending.fecDeadline s)
                    (Instant.min (MediaPacer.deadline s.Path.Pacer) (Gcc.deadline s.Path.Gcc)))

    /// With keys, once there are secrets to make them from and media to protect.
    let private armed (now: Instant) (s: MediaState) : MediaState =
        match s.Keys, s.Secrets with
        | ValueNone, ValueSome secrets when s.Terms.Sections.Length > 0 ->
            let ciphers = s.Config.Ciphers

            { s with
                Keys =
                    ValueSome
                        { Seal = Srtp.sealing ciphers secrets.Profile secrets.Keys secrets.Role
                          Open = Srtp.opening ciphers secrets.Profile secrets.Keys secrets.Role } }
            |> MediaControl.begin' now
        | _ -> s

    /// An encoding that was paused goes on with a key frame: its receiver has nothing that others could follow.
    let private resumed (former: MediaState) (s: MediaState) : MediaOutput list =
        [ for stream in s.Senders do
              let terms = stream.Terms

              if stream.HasSent && terms.IsOpen && terms.Kind = MediaKind.Video then
                  match former.Senders |> Array.tryFind (fun other -> other.Terms.Ssrc = terms.Ssrc) with
                  | Some before when not before.Terms.IsOpen ->
                      MediaOutput.KeyFrameWanted(terms.Transceiver, terms.Encoding)
                  | _ -> () ]

    /// In place of the plan before: what goes on keeps its numbers.
    let private plan (now: Instant) (plan: MediaPlan) (s: MediaState) : MediaState =
        let isHeard transceiver =
            match MediaState.section transceiver s with
            | ValueSome section -> section.IsHeard
            | ValueNone -> false

        let sections =
            plan.Sections
            |> Array.map (fun section ->
                MediaSection.create (isHeard section.Transceiver) (MediaHolding.target section.Transceiver s) section)

        let mutable entropy = s.Control.Entropy

        let senders =
            sections
            |> Array.collect MediaSection.terms
            |> Array.map (fun terms ->
                match s.Senders |> Array.tryFind (fun stream -> stream.Terms.Ssrc = terms.Ssrc) with
                | Some stream -> SendStream.renegotiated terms stream
                | None ->
                    let struct (first, rest) = Entropy.uint32 entropy
                    entropy <- rest
                    // In the lower half: an early packet that is lost does not hide a wrap, RFC 3711 §3.3.1.
                    SendStream.create (uint16 first &&& 0x7FFFus) terms)

        let goesOn (stream: SendStream) =
            senders |> Array.exists (fun other -> other.Terms.Ssrc = stream.Terms.Ssrc)

        let isLive transceiver =
            sections |> Array.exists (fun section -> section.Plan.Transceiver = transceiver)

        // An encoding that is not sent now may be sent again, and has used its numbers.
        let resting, gone =
            s.Senders
            |> Array.filter (fun stream -> not (goesOn stream))
            |> Array.partition (fun stream -> isLive stream.Terms.Transceiver)

        let senders = Array.append senders (resting |> Array.map SendStream.resting)

        let mutable streamTimes = s.Path.StreamTimes

        for stream in gone do
            for ssrc in SendStream.sources stream do
                streamTimes <- StreamSendTimes.forget ssrc streamTimes

        let codecs = sections |> Array.collect (fun section -> section.Plan.SendCodecs)

        let has feedback =
            MediaSection.hasFeedback feedback codecs

        let stamps =
            sections
            |> Array.exists (fun section -> section.Plan.Extensions.IdOf HeaderExtension.TransportCc <> 0)

        { s with
            Terms =
                { Sections = sections
                  Cname = plan.Cname
                  TransportCc = stamps && has "transport-cc"
                  Ccfb = has "ack ccfb"
                  Holds = s.Terms.Holds }
            Senders = senders
            Receivers = s.Receivers |> Array.filter (fun stream -> isLive stream.Transceiver)
            // What waits names its sender by its place.
            Path =
                (if
                     senders.Length = s.Senders.Length
                     && Array.forall2
                         (fun (a: SendStream) (b: SendStream) -> a.Terms.Ssrc = b.Terms.Ssrc)
                         senders
                         s.Senders
                 then
                     s.Path
                 else
                     { s.Path with
                         StreamTimes = streamTimes
                         Pacer =
                             if s.Path.HasBegun then
                                 MediaPacer.rate now (Gcc.current s.Path.Gcc) (MediaPacer.create ())
                             else
                                 MediaPacer.create () })
            Control = { s.Control with Entropy = entropy } }
        |> armed now

    let private keys (now: Instant) (secrets: MediaSecrets) (s: MediaState) : MediaState =
        { s with
            Secrets = ValueSome secrets
            Keys = ValueNone
            // Other keys: indices begin anew.
            Senders =
                s.Senders
                |> Array.map (fun stream ->
                    { stream with
                        Used = SrtpStream.fresh
                        NextRtx = stream.NextRtx &&& 0x7FFFUL
                        Fec =
                            (match stream.Fec with
                             | null -> null
                             | fec -> FecStream.rekeyed fec)
                        History = SentHistory.create () })
            Receivers = Array.Empty()
            Control =
                { s.Control with
                    NextIndex = 1u
                    Streams = Array.Empty() } }
        |> armed now

    let private unrepaired (now: Instant) (step: Step<MediaState, MediaOutput>) : Step<MediaState, MediaOutput> =
        let struct (s, outputs) = step

        match outputs with
        | []
        | [ MediaOutput.Deliver _ ]
        | [ MediaOutput.TransmitRun _ ] -> step
        | _ when not (List.exists (fun (o: MediaOutput) -> o.IsUnrepaired) outputs) -> step
        | _ ->
            s
            |> Step.route
                (fun output s ->
                    match output with
                    | MediaOutput.Unrepaired ssrc -> MediaControl.unrepaired now ssrc s
                    | other -> Step.one other s)
                outputs

    let private goodbye (s: MediaState) : Step<MediaState, MediaOutput> =
        let sources =
            s.Senders
            |> Array.filter _.HasSent
            |> Array.map (fun stream -> stream.Terms.Ssrc)

        if sources.Length = 0 then
            Step.only s
        else
            MediaControl.transmit
                [| ReceiverReport(s.Control.Ssrc, [||])
                   Goodbye(sources[.. min 30 (sources.Length - 1)], "") |]
                s

    /// Whether data goes by the same path that gives way to media.
    let beside (dataYields: bool) (s: MediaState) : MediaState =
        let gcc = Gcc.beside dataYields s.Path.Gcc

        if obj.ReferenceEquals(gcc, s.Path.Gcc) then
            s
        else
            { s with
                Path = { s.Path with Gcc = gcc } }

    let step (now: Instant) (input: MediaInput) (s: MediaState) : Step<MediaState, MediaOutput> =
        match input with
        | MediaInput.Received bytes when RtpDemux.isRtcp (Span.op_Implicit bytes.Span) ->
            MediaControl.received now bytes s
        | MediaInput.Received bytes -> MediaReceiving.received now bytes s |> unrepaired now
        | MediaInput.Send(transceiver, encoding, mapping, packets) ->
            MediaSending.send now transceiver encoding mapping packets s
        | MediaInput.Tick when s.Keys.IsNone -> Step.only s
        | MediaInput.Tick ->
            MediaControl.tick now s
            |> Step.bind (ReceivedTones.tick now)
            |> Step.bind (MediaHolding.tick now)
            |> Step.bind (MediaTones.tick now)
            |> Step.bind (MediaSending.fecDue now)
            |> Step.bind (fun s ->
                if MediaPacer.deadline s.Path.Pacer <= now then
                    MediaSending.release now s
                else
                    Step.only s)
            |> Step.bind (fun s ->
                if Gcc.deadline s.Path.Gcc <= now then
                    MediaEstimate.heard now (Gcc.Tick(MediaEstimate.sent s)) s
                else
                    Step.only s)
        | MediaInput.SendRtcp packets -> MediaControl.transmit packets s
        | MediaInput.SetJitterBuffer(transceiver, target) -> MediaHolding.set now transceiver target s
        | MediaInput.RequestKeyFrame(transceiver, ssrc) -> MediaControl.requestKeyFrame now transceiver ssrc s
        | MediaInput.Plan next ->
            let planned = plan now next s

            let struct (limited, told) =
                MediaEstimate.limited now planned.Control.Limits planned

            struct (limited, resumed s planned @ told)
        | MediaInput.PathChanged overhead ->
            MediaEstimate.heard now Gcc.PathChanged s
            |> Step.bind (MediaEstimate.wrapped overhead)
        | MediaInput.Wrapped overhead -> MediaEstimate.wrapped overhead s
        | MediaInput.Keys(profile, given, role) ->
            let secrets =
                { Profile = profile
                  Keys = given
                  Role = role }

            Step.only (keys now secrets s)
        | MediaInput.InsertDtmf(transceiver, tones, length, gap) ->
            Step.only (MediaTones.insert now transceiver tones length gap s)
        | MediaInput.Close -> goodbye s
