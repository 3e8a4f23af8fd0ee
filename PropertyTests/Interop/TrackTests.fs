/// Local tracks: what reaches which sender, and with which numbers.
module Hybrid.WebRtc.PropertyTests.Interop.TrackTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading.Tasks
open Expecto
open FsCheck
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted
open Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia

/// A clock that stands until it is moved.
type Clock() =
    inherit TimeProvider()
    let mutable now = 0L
    member _.Advance(time: TimeSpan) = now <- now + time.Ticks
    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = now

    override _.GetUtcNow() =
        DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddTicks now

let internal trackOn (clock: Clock) (codec: RTCRtpCodec | null) =
    new RtpTrack(video, codec, null, "", clock, RtpHub())

let private burst (packets: RtpPacket list) = ReadOnlyMemory(List.toArray packets)

let private vp8Codec = RTCRtpCodec(MimeType = "video/vp8", ClockRate = 90_000)

/// A connection that sends what `track` gives it, negotiated.
let internal sending (track: MediaStreamTrack) =
    task {
        let media = MediaScript()
        let pc = media.Connect()
        pc.AddTrack track |> ignore
        media.Negotiate()
        do! settled pc
        return struct (media, pc)
    }

let private mappings =
    testList
        "payload types"
        [ testCaseTask "a track of one codec is sent with each sender's payload type, or not at all" (fun () ->
              task {
                  let track = new RtpTrack(video, vp8Codec)
                  let! struct (a, _) = sending track
                  let! struct (b, pcB) = sending track
                  let! struct (c, pcC) = sending track

                  b.Change 1 (fun info ->
                      { info with
                          SendCodecs = [| vp9; { vp8 with PayloadType = 120 } |] })

                  c.Change 1 (fun info -> { info with SendCodecs = [| vp9 |] })
                  do! settled pcB
                  do! settled pcC
                  let packets = burst [ packet 1 1 33 true ]
                  track.Write packets

                  let typeOf (m: MediaScript) =
                      [ for struct (_, _, mapping, sent) in m.Sent do
                            if not (sent.Equals packets) then
                                failtest "the burst is shared"

                            int mapping.PayloadTypes[33] ]

                  Expect.sequenceEqual (typeOf a) [ 96 ] "its own"
                  Expect.sequenceEqual (typeOf b) [ 120 ] "its own"
                  Expect.isEmpty (typeOf c) "it has not that codec"
              })

          testCaseTask "a track without a codec is sent as it is" (fun () ->
              task {
                  let track = new RtpTrack(video)
                  let! struct (media, _) = sending track
                  track.Write(packet 7 70 98 true)

                  match media.Sent with
                  | [| struct (1, 0, mapping, packets) |] ->
                      Expect.isEmpty mapping.PayloadTypes "as they are"
                      Expect.equal packets.Length 1 "one"
                      Expect.sequenceEqual (numbers media.Sent) [ 7, 70u ] "as they are"
                  | _ -> failtest "one burst"
              }) ]

let private silence =
    testList
        "silence"
        [ testCaseTask "packets are dropped without a word where nothing is sent" (fun () ->
              task {
                  let track = new RtpTrack(video)
                  track.Write(packet 1 1 96 true)
                  let! struct (media, pc) = sending track
                  let count () = media.Sent.Length
                  let write () = track.Write(packet 2 1 96 true)
                  track.Enabled <- false
                  write ()
                  Expect.equal (count ()) 0 "disabled"
                  track.Enabled <- true
                  write ()
                  Expect.equal (count ()) 1 "enabled"

                  media.Change 1 (fun info ->
                      { info with
                          CurrentDirection = ValueSome Direction.Inactive })

                  do! settled pc
                  write ()
                  Expect.equal (count ()) 1 "on hold"
                  media.Negotiate()
                  do! settled pc
                  pc.RemoveTrack(Seq.head (pc.GetSenders()))
                  write ()
                  Expect.equal (count ()) 1 "removed"
                  pc.Close()
                  write ()
                  track.Stop()
                  Expect.equal track.ReadyState MediaStreamTrackState.Ended "ended"
                  write ()
                  Expect.equal (count ()) 1 "closed, stopped"
              })

          testCaseTask "a clone is sent what its origin is, and is disabled and stopped on its own" (fun () ->
              task {
                  let track = new RtpTrack(video)
                  let clone = track.Clone()
                  let! struct (a, _) = sending track
                  let! struct (b, _) = sending clone
                  Expect.notEqual clone.Id track.Id "another id"
                  track.Write(packet 1 1 96 true)
                  track.Enabled <- false
                  track.Write(packet 2 1 96 true)
                  clone.Stop()
                  track.Enabled <- true
                  track.Write(packet 3 1 96 true)

                  let written (media: MediaScript) =
                      [ for struct (_, _, _, packets) in media.Sent -> int packets.Span[0].SequenceNumber ]

                  Expect.sequenceEqual (written a) [ 1; 3 ] "the origin"
                  Expect.sequenceEqual (written b) [ 1; 2 ] "the clone"
              })

          testCaseTask "rids name encodings; what is none of the sender's is dropped" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let track = new RtpTrack(video)

                  pc.AddTransceiver(
                      track,
                      RTCRtpTransceiverInit(
                          SendEncodings =
                              [| RTCRtpEncodingParameters(Rid = "h"); RTCRtpEncodingParameters(Rid = "f") |]
                      )
                  )
                  |> ignore

                  media.Negotiate()
                  do! settled pc
                  track.Write(packet 1 1 96 true, "f")
                  track.Write(packet 1 1 96 true, "h")
                  track.Write(packet 1 1 96 true, "x")
                  track.Write(packet 1 1 96 true)

                  Expect.sequenceEqual
                      [ for struct (_, encoding, _, _) in media.Sent -> encoding ]
                      [ 1; 0; 0 ]
                      "by rid; the first where none is named"
              }) ]

let private splices =
    testList
        "one stream from several sources"
        [ testCaseTask "replaceTrack: numbers go on where the track before had stopped, and time with them" (fun () ->
              task {
                  let clock = Clock()
                  let first = trackOn clock null
                  let second = trackOn clock null
                  let! struct (media, pc) = sending first
                  let sender = Seq.head (pc.GetSenders())
                  first.Write(burst [ packet 65_534 1_000 96 true; packet 65_535 1_000 96 true ])
                  clock.Advance(TimeSpan.FromMilliseconds 100.0)
                  do! within (sender.ReplaceTrackAsync second)
                  first.Write(packet 9 9 96 true)
                  second.Write(burst [ packet 5 77 96 true; packet 6 3_077 96 true ])
                  clock.Advance(TimeSpan.FromMilliseconds 50.0)
                  do! within (sender.ReplaceTrackAsync first)
                  first.Write(packet 1 500 96 true)

                  Expect.sequenceEqual
                      (numbers media.Sent)
                      [ 65_534, 1_000u
                        65_535, 1_000u
                        // 100 ms are 9,000 units.
                        65_536 &&& 0xFFFF, 10_000u
                        1, 13_000u
                        2, 17_500u ]
                      "one stream"
              })

          testCaseTask "packets from before a source took over, that come late, are dropped" (fun () ->
              task {
                  let clock = Clock()
                  let fan = RtpFan(video, clock)
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video).Sender
                  media.Negotiate()
                  fan.Bind sender.Feed
                  let a, b = obj (), obj ()
                  fan.Send("", a, RtpCodecTable.AsIs, burst [ packet 10 0 96 true ])

                  fan.Send(
                      "",
                      b,
                      RtpCodecTable.AsIs,
                      burst [ packet 100 0 96 true; packet 99 0 96 true; packet 101 0 96 true ]
                  )

                  fan.Send("", b, RtpCodecTable.AsIs, burst [ packet 98 0 96 true ])
                  fan.Send("", b, RtpCodecTable.AsIs, burst [ packet 103 0 96 true; packet 102 0 96 true ])
                  Expect.sequenceEqual (numbers media.Sent |> Array.map fst) [ 10; 11; 12; 14; 13 ] "none twice"
              })

          testPropertyWithConfig
              { FsCheckConfig.defaultConfig with
                  maxTest = 200 }
              "whatever takes over, numbers follow one another and time does not go back"
              (fun (runs: (uint16 * uint32 * byte * byte) list) ->
                  let clock = Clock()
                  let fan = RtpFan(video, clock)
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video).Sender
                  media.Negotiate()
                  fan.Bind sender.Feed

                  for start, time, count, pause in runs do
                      let source = obj ()

                      for i in 0 .. int count % 40 do
                          fan.Send(
                              "",
                              source,
                              RtpCodecTable.AsIs,
                              burst [ packet (int start + i) (int (time + uint32 (3_000 * i))) 96 true ]
                          )

                      clock.Advance(TimeSpan.FromMilliseconds(float pause))

                  let sent = numbers media.Sent

                  for (before, at), (after, later) in Array.pairwise sent do
                      Expect.equal (uint16 after) (uint16 before + 1us) "the next number"
                      Expect.isGreaterThan (int (later - at)) 0 "time goes on"

                  pc.Close())

          testCaseTask "what is dropped while it is disabled or on hold leaves no gap" (fun () ->
              task {
                  let clock = Clock()
                  let track = trackOn clock null
                  let! struct (media, pc) = sending track

                  let write i =
                      clock.Advance(TimeSpan.FromMilliseconds 100.0)
                      track.Write(packet i (9_000 * i) 96 true)

                  write 1
                  track.Enabled <- false
                  write 2
                  write 3
                  track.Enabled <- true
                  write 4

                  media.Change 1 (fun info ->
                      { info with
                          CurrentDirection = ValueSome Direction.Inactive })

                  do! settled pc
                  write 5
                  write 6
                  media.Negotiate()
                  do! settled pc
                  write 7

                  Expect.sequenceEqual
                      (numbers media.Sent |> Array.map (fun (n, at) -> n, int at))
                      [ 1, 9_000; 2, 36_000; 3, 63_000 ]
                      "one stream, in time"
              })

          testCaseTask "a track that was there, and sent nothing, does not count" (fun () ->
              task {
                  let clock = Clock()
                  let first = trackOn clock null
                  let second = trackOn clock null
                  let third = trackOn clock null
                  let! struct (media, pc) = sending first
                  second.Write(packet 40_000 0 96 true)
                  first.Write(packet 1 0 96 true)
                  let sender = Seq.head (pc.GetSenders())
                  do! within (sender.ReplaceTrackAsync second)
                  do! within (sender.ReplaceTrackAsync third)
                  third.Write(packet 500 0 96 true)
                  Expect.sequenceEqual (numbers media.Sent |> Array.map fst) [ 1; 2 ] "one stream"
              })

          testCaseTask "a source that begins anew is followed" (fun () ->
              task {
                  let clock = Clock()
                  let first = trackOn clock null
                  let second = trackOn clock null
                  let! struct (media, pc) = sending first
                  first.Write(packet 60_000 0 96 true)
                  first.Write(packet 30_000 0 96 true)
                  do! within ((Seq.head (pc.GetSenders())).ReplaceTrackAsync second)
                  second.Write(packet 1 0 96 true)
                  Expect.equal (fst (Array.last (numbers media.Sent))) 30_001 "behind the new beginning"
              }) ]

let private frame (timestamp: int) (size: int) =
    EncodedFrame(
        Data = ReadOnlyMemory(Array.init size (fun i -> if i = 0 then 0x10uy else byte i)),
        Timestamp = uint32 timestamp
    )

let private samples =
    testList
        "frames"
        [ testCaseTask "a frame is packetized once for all senders, with one random start" (fun () ->
              task {
                  let track = new SampleTrack("video/VP8")
                  let! struct (a, _) = sending track
                  let! struct (b, _) = sending track
                  track.Write(frame 0 3_000)
                  track.Write(frame 3_000 100)

                  match a.Sent, b.Sent with
                  | [| struct (_, _, mapping, first); struct (_, _, _, second) |], [| struct (_, _, _, shared); _ |] ->
                      Expect.isTrue (first.Equals shared) "one burst"
                      Expect.equal first.Length 3 "in three packets"
                      let p = first.ToArray()
                      Expect.isTrue p[2].Marker "the last is marked"
                      Expect.equal mapping.PayloadTypes[int p[0].PayloadType] 96uy "VP8's payload type"
                      Expect.equal (second.Span[0].Timestamp - p[0].Timestamp) 3_000u "time goes on"
                      Expect.equal second.Span[0].SequenceNumber (p[2].SequenceNumber + 1us) "numbers go on"
                  | a, b -> failtest $"{a.Length} and {b.Length}"
              })

          testCaseTask
              "a frame of video leaves room for what a relay of any of its senders has around packets"
              (fun () ->
                  task {
                      let track = new SampleTrack("video/VP8")
                      let! struct (a, pcA) = sending track
                      let! struct (_, _) = sending track

                      // Four full packets, each with VP8's four octets: frames are cut into equal parts.
                      let sizes () =
                          let before = a.Sent.Length
                          track.Write(frame 0 (4 * (Packetizer.DefaultPayloadSize - 4)))
                          let struct (_, _, _, packets) = a.Sent[before]
                          [ for packet in packets.ToArray() -> packet.Payload.Length ]

                      Expect.equal (sizes ()) (List.replicate 4 Packetizer.DefaultPayloadSize) "full"
                      a.Sink.Raise(Event.PathOverheadChanged 41)
                      a.Sink.Settle()
                      do! settled pcA
                      let narrow = sizes ()
                      Expect.equal narrow.Length 5 "one more"
                      Expect.isLessThanOrEqual (List.max narrow) (Packetizer.DefaultPayloadSize - 41) "with room"
                      a.Sink.Raise(Event.PathOverheadChanged 0)
                      a.Sink.Settle()
                      do! settled pcA
                      Expect.equal (sizes ()) (List.replicate 4 Packetizer.DefaultPayloadSize) "full again"
                  })

          testCaseTask "durations make timestamps, and a writer waits for its turn" (fun () ->
              task {
                  let clock = Clock()

                  let track =
                      new SampleTrack(
                          PayloadFormats.For("audio/PCMU", null, null),
                          null,
                          null,
                          "",
                          SampleTrack.Hub(clock, 1_000)
                      )

                  let! struct (media, _) = sending track
                  let piece = ReadOnlyMemory(Array.create 160 1uy)
                  use over = new Threading.CancellationTokenSource()
                  track.Write(piece, TimeSpan.FromMilliseconds 20.0)
                  do! within (track.WriteAsync(piece, TimeSpan.FromHours 1.0))
                  let third = track.WriteAsync(piece, TimeSpan.FromMilliseconds 20.0, "", over.Token)
                  Expect.isFalse third.IsCompleted "not for an hour"
                  let times = numbers media.Sent |> Array.map snd
                  Expect.hasLength times 2 "two"
                  Expect.equal (times[1] - times[0]) 160u "20 ms of 8 kHz"
                  over.Cancel()

                  try
                      do! third
                      failtest "cancelled"
                  with :? OperationCanceledException ->
                      ()

                  clock.Advance(TimeSpan.FromHours 1.0)
                  do! within (track.WriteAsync(piece, TimeSpan.FromMilliseconds 20.0))
                  let times = numbers media.Sent |> Array.map snd
                  Expect.equal (times[2] - times[1]) 28_800_000u "an hour"
              })

          testCaseTask
              "a sender's transform has frames of its own, and the stream goes on where it comes and goes"
              (fun () ->
                  task {
                      let track = new SampleTrack("video/VP8")
                      let! struct (a, pcA) = sending track
                      let! struct (b, _) = sending track
                      let sender = Seq.head (pcA.GetSenders())
                      let seen = ConcurrentQueue<string>()
                      track.Write(frame 0 10)

                      sender.Transform <-
                          RTCRtpTransform.Of(fun (frame: RTCEncodedFrame) ->
                              match frame with
                              | :? RTCEncodedVideoFrame as video ->
                                  seen.Enqueue $"{video.Type} {video.GetMetadata().MimeType}"
                                  frame.Data <- ReadOnlyMemory(Array.append (frame.Data.ToArray()) [| 0xFFuy |])
                                  if video.Timestamp = 6_000u then null else frame
                              | _ -> failwith "a picture")

                      track.Write(frame 3_000 10)
                      track.Write(frame 6_000 10)
                      track.Write(frame 9_000 10)
                      sender.Transform <- null
                      track.Write(frame 12_000 10)

                      let size (m: MediaScript) =
                          [ for struct (_, _, _, packets) in m.Sent -> packets.Span[0].Payload.Length ]

                      let plain = List.head (size b)
                      Expect.sequenceEqual (size b) [ for _ in 1..5 -> plain ] "the other sender's are as they were"
                      Expect.sequenceEqual (size a) [ plain; plain + 1; plain + 1; plain ] "one was dropped"
                      let sequence = numbers a.Sent |> Array.map (fst >> uint16)

                      Expect.all (Array.pairwise sequence) (fun (before, after) -> after = before + 1us) "one stream"

                      Expect.equal seen.Count 3 "frames"
                  })

          testCaseTask "a sender of another codec gets nothing; key frame requests reach the track" (fun () ->
              task {
                  let track = new SampleTrack("video/VP8")
                  let! struct (media, pc) = sending track
                  media.Change 1 (fun info -> { info with SendCodecs = [| vp9 |] })
                  do! settled pc
                  track.Write(frame 0 10)
                  Expect.isEmpty media.Sent "nothing"
                  let asked = ConcurrentQueue<string>()
                  use _ = track.OnKeyFrameRequest.Subscribe(fun e -> asked.Enqueue $"track:{e.Rid}")

                  use _ =
                      (Seq.head (pc.GetSenders()))
                          .OnKeyFrameRequest.Subscribe(fun e -> asked.Enqueue $"sender:{e.Rid}")

                  media.Sink.Raise(Event.KeyFrameRequested(1, 0))
                  do! settled pc
                  Expect.sequenceEqual asked [ "sender:"; "track:" ] "both"
                  Expect.throwsT<ArgumentException> (fun () -> track.Write(EncodedFrame())) "an empty frame"

                  Expect.throwsT<NotSupportedException>
                      (fun () -> SampleTrack("video/nothing") |> ignore)
                      "no such format"
              }) ]

type private Marking() =
    member val Heard = ConcurrentQueue<string>()

    interface IRtpInterceptor with
        member this.OnOutgoing(_, rid, packets) =
            this.Heard.Enqueue $"out {rid}"
            packets.Slice 1

        member this.OnIncoming(_, rid, packets) =
            this.Heard.Enqueue $"in {rid}"
            packets.Slice 1

        member this.OnOutgoingRtcp packets =
            this.Heard.Enqueue "rtcp out"
            packets

        member this.OnIncomingRtcp packets =
            this.Heard.Enqueue "rtcp in"
            (Seq.tail packets |> Seq.toArray) :> IReadOnlyList<Rtcp>

let private interceptors =
    testList
        "interceptors"
        [ testCaseTask "they see, and change, what comes and goes" (fun () ->
              task {
                  let marking = Marking()

                  let options =
                      WebRtcOptions(
                          Interceptors = [| Func<_, _>(fun (_: RTCPeerConnection) -> marking :> IRtpInterceptor) |]
                      )

                  let media = MediaScript()
                  let pc = media.Connect options
                  let track = new RtpTrack(video)
                  let sender = pc.AddTrack track
                  let receiver = (Seq.head (pc.GetTransceivers())).Receiver
                  media.Negotiate()
                  do! settled pc
                  let heard = ConcurrentQueue<int>()
                  use _ = receiver.Track.OnRtp.Subscribe(fun p -> heard.Enqueue(int p.SequenceNumber))
                  let rtcp = ConcurrentQueue<Rtcp>()
                  use _ = pc.OnRtcp.Subscribe(fun all -> Seq.iter rtcp.Enqueue all)
                  track.Write(ReadOnlyMemory [| packet 1 1 96 true; packet 2 1 96 true |])
                  media.Receive(1, "", [| packet 3 1 96 true; packet 4 1 96 true |])
                  sender.SendRtcp(Rtcp.PictureLossIndication(1u, 2u))

                  media.Sink.Raise(
                      Event.RtcpReceived [| Rtcp.PictureLossIndication(1u, 2u); Rtcp.Goodbye([| 1u |], "") |]
                  )

                  do! settled pc
                  Expect.sequenceEqual (numbers media.Sent |> Array.map fst) [ 2 ] "sent"
                  Expect.sequenceEqual heard [ 4 ] "received"
                  Expect.equal rtcp.Count 1 "RTCP"
                  Expect.sequenceEqual marking.Heard [ "out "; "in "; "rtcp out"; "rtcp in" ] "in order"
                  track.Write(packet 5 1 96 true)
                  Expect.equal media.Sent.Length 1 "nothing is left of it, and nothing is posted"
              })

          testCaseTask "one may ask the sender for whatever it shows while its track is replaced" (fun () ->
              task {
                  let curious =
                      { new IRtpInterceptor with
                          member _.OnOutgoing(sender, _, packets) =
                              if isNull sender.Track || Seq.isEmpty (sender.GetParameters().Codecs) then
                                  ReadOnlyMemory.Empty
                              else
                                  packets

                          member _.OnIncoming(_, _, packets) = packets
                          member _.OnOutgoingRtcp packets = packets
                          member _.OnIncomingRtcp packets = packets }

                  let options =
                      WebRtcOptions(Interceptors = [| Func<_, _>(fun (_: RTCPeerConnection) -> curious) |])

                  let media = MediaScript()
                  let pc = media.Connect options
                  let tracks = [| new RtpTrack(video); new RtpTrack(video) |]
                  let sender = pc.AddTrack tracks[0]
                  media.Negotiate()
                  do! settled pc

                  let writers =
                      [| for track in tracks ->
                             Task.Run(fun () ->
                                 for i in 1..5_000 do
                                     track.Write(packet i 1 96 true)) |]

                  for i in 1..200 do
                      do! within (sender.ReplaceTrackAsync tracks[i % 2])

                  do! within (Task.WhenAll writers)
              }) ]

[<Tests>]
let tests = testList "Tracks" [ mappings; silence; splices; samples; interceptors ]
