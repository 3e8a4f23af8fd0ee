/// A scripted peer that has transceivers: just enough of JSEP for the facade over it.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia

open System
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted

let internal audio = Hybrid.WebRtc.MediaKind.Audio
let internal video = Hybrid.WebRtc.MediaKind.Video

let internal codec name clock payloadType : RtpCodecParameters =
    { Codec =
        { MimeType = name
          ClockRate = clock
          Channels = ValueNone
          Fmtp = "" }
      PayloadType = payloadType
      Feedback = [| "nack" |] }

let internal vp8 = codec "video/VP8" 90_000 96
let internal vp9 = codec "video/VP9" 90_000 98

let internal pcmu: RtpCodecParameters =
    { codec "audio/PCMU" 8_000 0 with
        Feedback = [||] }

let internal tones: RtpCodecParameters =
    { codec "audio/telephone-event" 8_000 126 with
        Feedback = [||] }

let internal plain: EncodingParameters = Encodings.plain

let internal infoOf id (kind: MediaKind) direction (encodings: EncodingParameters[]) byTrack : TransceiverInfo =
    { Id = id
      Kind = kind
      Mid = ValueNone
      Direction = direction
      CurrentDirection = ValueNone
      Stopping = false
      Encodings = encodings
      SendCodecs = [||]
      ReceiveCodecs = [||]
      Extensions = [||]
      ReceiverTrack = $"receiver-{id}"
      RemoteStreams = [||]
      ReducedSize = false
      Cname = "cname"
      HeaderEncryption = false
      CreatedByAddTrack = byTrack
      Ssrcs = encodings |> Array.mapi (fun i _ -> uint32 (1000 * id + i)) }

/// A peer with transceivers. `settled ()` is what a negotiation of all of them would make of them.
type MediaScript(?statistics: Statistics) as this =
    let script = Script()
    let mutable infos: TransceiverInfo[] = [||]
    let mutable refusal: Mistake voption = ValueNone

    do
        script.Media <- this.Answer
        script.Statistics <- defaultArg statistics script.Statistics

    member _.Script = script
    member _.Sink = script.Sink
    member _.Infos = infos

    /// What was posted since, of one kind.
    member _.Posted(choose: Input -> 'a option) : 'a[] = script.Posted |> Array.choose choose

    /// Bursts that were sent.
    member this.Sent =
        this.Posted(function
            | Input.SendRtp(id, encoding, mapping, packets) -> Some(struct (id, encoding, mapping, packets))
            | _ -> None)

    /// The next request is refused.
    member _.Refuse(mistake: Mistake) = refusal <- ValueSome mistake

    member _.Connect(?options: WebRtcOptions) = script.Connect(?options = options)

    /// Everybody hears of them so.
    member _.Set(changed: TransceiverInfo[]) =
        infos <- changed
        script.Sink.Raise(Event.TransceiversChanged changed)

    member this.Change id (change: TransceiverInfo -> TransceiverInfo) =
        this.Set(infos |> Array.map (fun info -> if info.Id = id then change info else info))

    /// An offer and an answer have gone by.
    member this.Negotiate() =
        this.Set(
            infos
            |> Array.map (fun info ->
                let codecs =
                    if info.Kind = MediaKind.Audio then
                        [| pcmu; tones |]
                    else
                        [| vp8; vp9 |]

                { info with
                    Mid = ValueSome(string info.Id)
                    CurrentDirection = ValueSome info.Direction
                    SendCodecs = codecs
                    ReceiveCodecs = codecs })
        )

    /// A transceiver that the peer's description has made.
    member this.Add(info: TransceiverInfo) = this.Set [| yield! infos; info |]

    /// Packets have come.
    member _.Receive(id: int, rid: string, packets: RtpPacket[]) =
        script.Sink.Rtp(id, rid, ReadOnlyMemory packets)
        script.Sink.Settle()

    member private this.Answer(input: Input) : bool =
        let reply command =
            match refusal with
            | ValueSome mistake ->
                refusal <- ValueNone
                script.Sink.Refuse(command, mistake)
            | ValueNone -> script.Sink.Reply(command, Answer.Done)

        let change command id change =
            match refusal with
            | ValueSome _ -> ()
            | ValueNone -> this.Change id change

            reply command

        match input with
        | Input.AddTransceiver(command, init) ->
            let info = infoOf (infos.Length + 1) init.Kind init.Direction init.Encodings false

            this.Add info
            script.Sink.Reply(command, Answer.Transceiver info)
            true
        | Input.AddTrack(command, kind, _, _) ->
            let info = infoOf (infos.Length + 1) kind Direction.SendRecv [| plain |] true
            this.Add info
            script.Sink.Reply(command, Answer.Transceiver info)
            true
        | Input.SetDirection(command, id, direction) ->
            change command id (fun info -> { info with Direction = direction })
            true
        | Input.StopTransceiver(command, id) ->
            change command id (fun info ->
                { info with
                    Direction = Direction.Inactive
                    Stopping = true })

            true
        | Input.RemoveTrack(command, id) ->
            change command id (fun info ->
                { info with
                    Direction = Direction.RecvOnly })

            true
        | Input.SetParameters(command, id, encodings) ->
            change command id (fun info -> { info with Encodings = encodings })
            true
        | Input.ReplaceTrack(command, _, _)
        | Input.SetStreams(command, _, _)
        | Input.SetCodecPreferences(command, _, _)
        | Input.SetHeaderExtensions(command, _, _)
        | Input.InsertDtmf(command, _, _, _, _) ->
            reply command
            true
        | _ -> false

let internal failing (task: unit -> Task) = nameOf (fun () -> (task ()).Wait())

let internal encoding (rid: string | null) = RTCRtpEncodingParameters(Rid = rid)

/// One encoding for each rid.
let internal several (rids: string list) =
    RTCRtpTransceiverInit(SendEncodings = [| for rid in rids -> encoding rid |])

/// A packet; its payload is a VP8 key frame where `key`.
let internal packet (sequence: int) (timestamp: int) (payloadType: int) (key: bool) : RtpPacket =
    RtpPacket.Create(
        byte payloadType,
        true,
        uint16 sequence,
        uint32 timestamp,
        ReadOnlyMemory [| 0x10uy; (if key then 0uy else 1uy); 0uy; 0uy |]
    )

/// Sequence numbers and timestamps as the peer would see them.
let internal numbers (sent: struct (int * int * RtpMapping * ReadOnlyMemory<RtpPacket>)[]) : (int * uint32)[] =
    [| for struct (_, _, mapping, packets) in sent do
           for p in packets.ToArray() do
               int (p.SequenceNumber + mapping.SequenceOffset), p.Timestamp + mapping.TimestampOffset |]
