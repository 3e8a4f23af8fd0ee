/// Remote tracks: what their observers are told, and what goes on to others.
module Hybrid.WebRtc.PropertyTests.Interop.ForwardTests

open System
open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted
open Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia
open Hybrid.WebRtc.PropertyTests.Interop.TrackTests

/// A connection that receives a video track.
let private receiving () =
    task {
        let media = MediaScript()
        let pc = media.Connect()

        let track =
            (pc.AddTransceiver(video, RTCRtpTransceiverInit(Direction = RTCRtpTransceiverDirection.RecvOnly)))
                .Receiver.Track

        media.Negotiate()
        do! settled pc
        return struct (media, pc, track)
    }

let private keyFrames (media: MediaScript) =
    media.Posted(function
        | Input.RequestKeyFrame(_, ssrc) -> Some(int ssrc)
        | _ -> None)

let private observing =
    testList
        "observers"
        [ testCaseTask "packets come in bursts and one by one; those before the first subscriber are held" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  media.Receive(1, "", [| packet 1 1 96 true; packet 2 1 96 true |])
                  do! settled pc
                  let bursts = ConcurrentQueue<int>()
                  use _ = track.Packets.Subscribe(fun b -> bursts.Enqueue b.Packets.Length)
                  do! settled pc
                  media.Receive(1, "", [| packet 3 1 96 true |])
                  let single = ConcurrentQueue<int>()
                  use _ = track.OnRtp.Subscribe(fun p -> single.Enqueue(int p.SequenceNumber))
                  do! settled pc
                  media.Receive(1, "", [| packet 4 1 96 true; packet 5 1 96 true |])
                  do! settled pc
                  Expect.sequenceEqual bursts [ 2; 1; 2 ] "bursts"
                  Expect.sequenceEqual (Seq.filter (fun n -> n > 3) single) [ 4; 5 ] "one by one"
              })

          testCaseTask "who is slower than the network loses packets, and memory is bounded" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  let mutable heard = 0
                  use _ = track.OnRtp.Subscribe(fun _ -> heard <- heard + 1)
                  do! settled pc
                  use gate = new System.Threading.ManualResetEventSlim()
                  pc.Notify.Context.Post(Action(fun () -> gate.Wait()))

                  for i in 0..9_999 do
                      media.Receive(1, "", [| packet i i 96 true |])

                  gate.Set()
                  do! settled pc
                  Expect.equal heard 4_096 "the bound"
                  media.Receive(1, "", [| packet 1 1 96 true |])
                  do! settled pc
                  Expect.equal heard 4_097 "and on it goes"
              })

          testCaseTask "frames are put together, each rid's by itself, and pass the receiver's transform" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  let frames = ConcurrentQueue<int>()
                  let other = ConcurrentQueue<int>()
                  let receiver = Seq.head (pc.GetReceivers())
                  use _ = track.FramesOf("h").Subscribe(fun f -> frames.Enqueue f.Data.Length)

                  receiver.Transform <-
                      RTCRtpTransform.Of(fun (f: RTCEncodedFrame) ->
                          f.Data <- f.Data.Slice 1
                          f)

                  use _ = track.FramesOf("f").Subscribe(fun f -> other.Enqueue f.Data.Length)
                  let packetizer = Packetizer(PayloadFormats.For("video/VP8").CreatePacketizer())
                  packetizer.PayloadType <- 96uy

                  let packets i =
                      packetizer.Packetize(
                          EncodedFrame(
                              Data = ReadOnlyMemory(Array.create (2_000 + i) 0x11uy),
                              Timestamp = uint32 (i * 3_000)
                          )
                      )

                  for i in 0..3 do
                      let p = packets i
                      media.Receive(1, "h", p)
                      media.Receive(1, "f", p)

                  do! settled pc
                  Expect.sequenceEqual (Seq.truncate 3 frames) [ 2_000; 2_001; 2_002 ] "frames"
                  Expect.sequenceEqual (Seq.truncate 3 other) [ 1_999; 2_000; 2_001 ] "transformed"
              })

          testCaseTask "frames wait for what is due where a jitter buffer was asked for, packets do not" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  let frames = ConcurrentQueue<int>()
                  let packets = ConcurrentQueue<int>()
                  use _ = track.Frames.Subscribe(fun f -> frames.Enqueue f.Data.Length)
                  use _ = track.OnRtp.Subscribe(fun p -> packets.Enqueue(int p.SequenceNumber))

                  let packetizer =
                      Packetizer(
                          PayloadFormats.For("video/VP8").CreatePacketizer(),
                          firstSequenceNumber = Nullable 65_530us
                      )

                  packetizer.PayloadType <- 96uy

                  let frame i =
                      packetizer.Packetize(
                          EncodedFrame(
                              Data = ReadOnlyMemory(Array.create (2_000 + i) 0x10uy),
                              Timestamp = uint32 (i * 3_000)
                          )
                      )

                  let due (last: RtpPacket) =
                      media.Sink.Raise(Event.PacketsDue(1, last.Ssrc, last.SequenceNumber))

                  media.Sink.Raise(Event.JitterBufferChanged(1, true))
                  let bursts = [| for i in 0..5 -> frame i |]

                  for i in [ 0; 1; 2; 3; 4; 5 ] do
                      // The third frame has lost its first packet; those of the fourth come in disorder.
                      let some =
                          match i with
                          | 2 -> Array.tail bursts[i]
                          | 3 -> Array.rev bursts[i]
                          | _ -> bursts[i]

                      media.Receive(1, "", some)

                  do! settled pc
                  Expect.isEmpty frames "none is due"
                  Expect.equal packets.Count (6 * bursts[0].Length - 1) "packets come"
                  due (Array.last bursts[0])
                  do! settled pc
                  Expect.sequenceEqual frames [ 2_000 ] "the first is due"
                  due (Array.last bursts[3])
                  do! settled pc
                  Expect.sequenceEqual frames [ 2_000; 2_001; 2_003 ] "what is missing is not waited for"
                  due (Array.last bursts[5])
                  media.Sink.Raise(Event.JitterBufferChanged(1, false))
                  media.Receive(1, "", frame 6)
                  do! settled pc
                  Expect.sequenceEqual frames [ 2_000; 2_001; 2_003; 2_004; 2_005; 2_006 ] "and at once again"
              })

          testCaseTask "disabled, or stopped: nothing is told" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  let heard = ConcurrentQueue<int>()
                  use _ = track.OnRtp.Subscribe(fun p -> heard.Enqueue(int p.SequenceNumber))
                  let clone = track.Clone() :?> RemoteTrack
                  use _ = clone.OnRtp.Subscribe(fun p -> heard.Enqueue(-(int p.SequenceNumber)))
                  do! settled pc
                  media.Receive(1, "", [| packet 1 1 96 true |])
                  do! settled pc
                  track.Enabled <- false
                  media.Receive(1, "", [| packet 2 1 96 true |])
                  do! settled pc
                  track.Enabled <- true
                  clone.Stop()
                  media.Receive(1, "", [| packet 3 1 96 true |])
                  do! settled pc
                  track.Stop()
                  media.Receive(1, "", [| packet 4 1 96 true |])
                  do! settled pc
                  Expect.sequenceEqual heard [ 1; -1; -2; 3 ] "each on its own"
              })

          testCaseTask "RTCP reaches whom it is about" (fun () ->
              task {
                  let! struct (media, pc, track) = receiving ()
                  let local = new RtpTrack(video)
                  let sender = pc.AddTrack local
                  media.Sink.Raise(Event.SourceFound(1, 77u, ""))
                  let told = ConcurrentQueue<string>()
                  use _ = pc.OnRtcp.Subscribe(fun all -> told.Enqueue $"all {all.Count}")
                  use _ = sender.OnRtcp.Subscribe(fun _ -> told.Enqueue "sender")
                  use _ = track.OnRtcp.Subscribe(fun _ -> told.Enqueue "track")
                  do! settled pc
                  Expect.sequenceEqual (track.Layers |> Seq.map (fun l -> int l.Ssrc)) [ 77 ] "a source"

                  let info: SenderInfo =
                      { NtpTime = 0UL
                        RtpTime = 0u
                        PacketCount = 0u
                        OctetCount = 0u }

                  media.Sink.Raise(Event.RtcpReceived [| Rtcp.SenderReport(77u, info, [||]) |])
                  media.Sink.Raise(Event.RtcpReceived [| Rtcp.Nack(1u, 2_000u, [||]); Rtcp.Nack(1u, 5u, [||]) |])
                  do! settled pc
                  Expect.sequenceEqual told [ "all 1"; "track"; "all 2"; "sender" ] "whom it is about"
              })

          testCaseTask "sources of the last ten seconds, with level and capture time" (fun () ->
              task {
                  let clock = Clock()
                  let media = MediaScript()
                  let pc = media.Connect(WebRtcOptions(TimeProvider = clock))
                  let receiver = (pc.AddTransceiver audio).Receiver
                  media.Negotiate()

                  let map =
                      ExtensionMap
                          [| Collections.Generic.KeyValuePair(1, HeaderExtensions.uri HeaderExtension.AudioLevel)
                             Collections.Generic.KeyValuePair(2, HeaderExtensions.uri HeaderExtension.CsrcAudioLevel)
                             Collections.Generic.KeyValuePair(3, HeaderExtensions.uri HeaderExtension.AbsCaptureTime) |]

                  let of' ssrc timestamp =
                      (packet 1 timestamp 0 true)
                          .WithSsrc(ssrc)
                          .WithCsrcs(5u, 6u)
                          .WithExtensions(
                              map,
                              ExtensionElement.Of(map, HeaderExtension.AudioLevel, ReadOnlyMemory [| 0x94uy |]),
                              ExtensionElement.Of(map, HeaderExtension.CsrcAudioLevel, ReadOnlyMemory [| 0uy; 127uy |]),
                              ExtensionElement.Of(
                                  map,
                                  HeaderExtension.AbsCaptureTime,
                                  // 1970, and half a second ahead.
                                  ReadOnlyMemory
                                      [| 0x83uy
                                         0xAAuy
                                         0x7Euy
                                         0x80uy
                                         0uy
                                         0uy
                                         0uy
                                         0uy
                                         0uy
                                         0uy
                                         0uy
                                         0uy
                                         0x80uy
                                         0uy
                                         0uy
                                         0uy |]
                              )
                          )

                  media.Receive(1, "", [| of' 1u 10; of' 1u 20 |])
                  clock.Advance(TimeSpan.FromSeconds 6.0)
                  media.Receive(1, "", [| packet 1 30 0 true |])
                  let sources = receiver.GetSynchronizationSources()

                  Expect.sequenceEqual
                      (sources |> Seq.map (fun s -> struct (int s.Source, int s.RtpTimestamp)))
                      [ struct (0, 30); struct (1, 20) ]
                      "the latest first"

                  Expect.floatClose Accuracy.medium (sources[1].AudioLevel.GetValueOrDefault()) 0.1 "-20 dBov"
                  Expect.equal sources[1].CaptureTimestamp (Nullable DateTimeOffset.UnixEpoch) "captured"
                  Expect.equal sources[1].SenderCaptureTimeOffset (Nullable(TimeSpan.FromSeconds 0.5)) "offset"
                  Expect.isFalse sources[0].AudioLevel.HasValue "no level"
                  let mixed = receiver.GetContributingSources()
                  Expect.sequenceEqual (mixed |> Seq.map (fun s -> int s.Source) |> Seq.sort) [ 5; 6 ] "contributors"
                  Expect.equal (mixed |> Seq.find (fun s -> s.Source = 6u)).AudioLevel (Nullable 0.0) "silence"
                  Expect.equal (mixed |> Seq.find (fun s -> s.Source = 5u)).AudioLevel (Nullable 1.0) "0 dBov"
                  clock.Advance(TimeSpan.FromSeconds 5.0)
                  Expect.hasLength (receiver.GetSynchronizationSources()) 1 "the other one is too old"
                  Expect.isEmpty (receiver.GetContributingSources()) "too old"

                  media.Receive(1, "", [| for i in 1..1_000 -> (packet 1 1 0 true).WithSsrc(uint32 (100 + i)) |])
                  Expect.isLessThanOrEqual (receiver.GetSynchronizationSources().Count) 64 "bounded"
              }) ]

let private forwarding =
    testList
        "forwarding"
        [ testCaseTask "a burst goes on to every sender as it is, with each one's payload type" (fun () ->
              task {
                  let! struct (publisher, _, track) = receiving ()
                  let shared = new RtpTrack(video)
                  let! struct (a, _) = sending shared
                  let! struct (b, pcB) = sending shared

                  b.Change 1 (fun info ->
                      { info with
                          SendCodecs = [| { vp8 with PayloadType = 120 } |] })

                  do! settled pcB
                  use forward = track.ForwardTo shared
                  Expect.sequenceEqual (keyFrames publisher) [ 0 ] "a key frame was asked for"
                  let packets = [| packet 1 1 96 true; packet 2 1 98 true |]
                  publisher.Receive(1, "", packets)

                  match a.Sent, b.Sent with
                  | [| struct (_, _, toA, sentA) |], [| struct (_, _, toB, sentB) |] ->
                      Expect.isTrue (sentA.Equals sentB) "shared"
                      Expect.equal toA.PayloadTypes[96] 96uy "VP8"
                      Expect.equal toA.PayloadTypes[98] 98uy "VP9"
                      Expect.equal toB.PayloadTypes[96] 120uy "VP8"
                      Expect.equal toB.PayloadTypes[98] 255uy "it has no VP9"
                  | _ -> failtest "one burst each"

                  forward.Dispose()
                  publisher.Receive(1, "", packets)
                  Expect.equal a.Sent.Length 1 "no more"
              })

          testCaseTask "nothing is allocated per packet on the way, and one input per burst and sender" (fun () ->
              task {
                  let! struct (publisher, _, track) = receiving ()
                  let shared = new RtpTrack(video)
                  let senders = 10

                  for _ in 1..senders do
                      let! struct (media, _) = sending shared
                      media.Script.Quiet <- true

                  let _ = track.ForwardTo shared

                  let bytes size =
                      let packets = Array.init size (fun i -> packet i i 96 false)
                      let memory = ReadOnlyMemory packets
                      let sink = publisher.Sink

                      for _ in 1..200 do
                          sink.Rtp(1, "", memory)

                      let before = GC.GetAllocatedBytesForCurrentThread()

                      for _ in 1..1_000 do
                          sink.Rtp(1, "", memory)

                      (GC.GetAllocatedBytesForCurrentThread() - before) / 1_000L

                  let few = bytes 1
                  let many = bytes 32
                  Expect.equal many few "whatever the packets in a burst"
                  // SendRtp's object: header, two ints, a reference and the memory.
                  Expect.isLessThanOrEqual (few / int64 senders) 64L "one input"
              })

          testCaseTask
              "simulcast: it goes on with another encoding at its key frame, and receivers see one stream"
              (fun () ->
                  task {
                      let! struct (publisher, pc, track) = receiving ()
                      publisher.Sink.Raise(Event.SourceFound(1, 11u, "h"))
                      publisher.Sink.Raise(Event.SourceFound(1, 22u, "f"))
                      do! settled pc
                      let shared = new RtpTrack(video)
                      let! struct (subscriber, _) = sending shared
                      use forward = track.ForwardTo(shared, "h")
                      Expect.sequenceEqual (keyFrames publisher) [ 11 ] "of h"

                      let both i key =
                          publisher.Receive(1, "h", [| packet (100 + i) (i * 3_000) 96 false |])
                          publisher.Receive(1, "f", [| packet (60_000 + i) (900_000 + i * 3_000) 96 key |])

                      both 0 false
                      both 1 false
                      forward.SwitchTo "f"
                      Expect.sequenceEqual (keyFrames publisher) [ 11; 22 ] "of f"
                      both 2 false
                      Expect.equal forward.Rid "h" "until the key frame comes"
                      both 3 true
                      Expect.equal forward.Rid "f" "now"
                      both 4 false
                      forward.SwitchTo "h"
                      forward.SwitchTo "f"
                      both 5 true
                      let sent = numbers subscriber.Sent
                      Expect.sequenceEqual (sent |> Array.map fst) [ 100; 101; 102; 103; 104; 105; 106 ] "numbers"
                      Expect.all (Array.pairwise sent) (fun ((_, a), (_, b)) -> int (b - a) > 0) "time goes on"
                      let last = sent[sent.Length - 1], sent[sent.Length - 2]
                      Expect.equal (snd (fst last) - snd (snd last)) 3_000u "at the source's pace"
                  })

          testCaseTask "key frames that receivers ask for are asked of the peer, once for all" (fun () ->
              task {
                  let! struct (publisher, _, track) = receiving ()
                  let shared = new RtpTrack(video)
                  let! struct (a, _) = sending shared
                  let! struct (b, _) = sending shared
                  use _ = track.ForwardTo shared
                  a.Sink.Raise(Event.KeyFrameRequested(1, 0))
                  b.Sink.Raise(Event.KeyFrameRequested(1, 0))
                  Expect.hasLength (keyFrames publisher) 2 "one for the forward, one for both"
              })

          testCaseTask
              "another forward takes its place, and a track may be added to another connection as it is"
              (fun () ->
                  task {
                      let! struct (first, _, one) = receiving ()
                      let! struct (second, _, two) = receiving ()
                      let shared = new RtpTrack(video)
                      let! struct (subscriber, _) = sending shared
                      let _ = one.ForwardTo shared
                      first.Receive(1, "", [| packet 1 1 96 true |])
                      let _ = two.ForwardTo shared
                      first.Receive(1, "", [| packet 2 1 96 true |])
                      second.Receive(1, "", [| packet 50 1 96 true |])
                      Expect.sequenceEqual (numbers subscriber.Sent |> Array.map fst) [ 1; 2 ] "one stream"
                      let! struct (third, pc) = sending two
                      second.Receive(1, "", [| packet 51 1 96 true |])
                      Expect.sequenceEqual (numbers third.Sent |> Array.map fst) [ 51 ] "as it is"
                      pc.RemoveTrack(Seq.head (pc.GetSenders()))
                      second.Receive(1, "", [| packet 52 1 96 true |])
                      Expect.equal third.Sent.Length 1 "no more"

                      Expect.equal
                          (nameOf (fun () -> one.ForwardTo(new RtpTrack(audio)) |> ignore))
                          "TypeError"
                          "kinds"
                  })

          testCaseTask
              "what takes another's place begins with its key frame, asked for again each half second"
              (fun () ->
                  task {
                      let! struct (first, _, one) = receiving ()
                      let! struct (second, _, two) = receiving ()
                      let shared = new RtpTrack(video)
                      let! struct (subscriber, _) = sending shared
                      let _ = one.ForwardTo shared
                      first.Receive(1, "", [| packet 1 1 96 false |])
                      let _ = two.ForwardTo shared

                      for i in 0..17 do
                          second.Receive(1, "", [| packet (50 + i) (3_000 * i) 96 false |])

                      Expect.hasLength (keyFrames second) 2 "once more after 45,000 units"

                      Expect.sequenceEqual
                          (numbers subscriber.Sent |> Array.map fst)
                          [ 1 ]
                          "nothing that refers to nothing"

                      second.Receive(1, "", [| packet 68 54_000 96 true |])
                      second.Receive(1, "", [| packet 69 57_000 96 false |])
                      Expect.sequenceEqual (numbers subscriber.Sent |> Array.map fst) [ 1; 2; 3 ] "one stream"
                  })

          testCaseTask "closing either end while packets come ends it, and nothing hangs" (fun () ->
              task {
                  let! struct (publisher, pc, track) = receiving ()
                  let shared = new RtpTrack(video)
                  let! struct (_, other) = sending shared
                  let forward = track.ForwardTo shared
                  let over = new System.Threading.CancellationTokenSource()

                  let pump =
                      Task.Run(fun () ->
                          while not over.IsCancellationRequested do
                              publisher.Sink.Rtp(1, "", ReadOnlyMemory [| packet 1 1 96 true |]))

                  other.Close()
                  forward.SwitchTo "x"
                  pc.Close()
                  forward.Dispose()
                  forward.Dispose()
                  over.Cancel()
                  do! within pump
              }) ]

[<Tests>]
let tests = testList "Remote tracks" [ observing; forwarding ]
