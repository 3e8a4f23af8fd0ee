/// Local tracks: what reaches which sender, and with which numbers.
module Hybrid.WebRtc.PropertyTests.Interop.TrackTests

open System
open System.Collections.Concurrent
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
    override _.GetUtcNow() = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddTicks now

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
                  b.Change 1 (fun info -> { info with SendCodecs = [| vp9; { vp8 with PayloadType = 120 } |] })
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
                  media.Change 1 (fun info -> { info with CurrentDirection = ValueSome Direction.Inactive })
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
                  Expect.sequenceEqual (numbers a.Sent |> Array.map fst) [ 1; 3 ] "the origin"
                  Expect.sequenceEqual (numbers b.Sent |> Array.map fst) [ 1; 2 ] "the clone"
              })

          testCaseTask "rids name encodings; what is none of the sender's is dropped" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let track = new RtpTrack(video)

                  pc.AddTransceiver(
                      track,
                      RTCRtpTransceiverInit(
                          SendEncodings = [| RTCRtpEncodingParameters(Rid = "h"); RTCRtpEncodingParameters(Rid = "f") |]
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
                  fan.Send("", b, RtpCodecTable.AsIs, burst [ packet 100 0 96 true; packet 99 0 96 true; packet 101 0 96 true ])
                  fan.Send("", b, RtpCodecTable.AsIs, burst [ packet 98 0 96 true ])
                  fan.Send("", b, RtpCodecTable.AsIs, burst [ packet 103 0 96 true; packet 102 0 96 true ])
                  Expect.sequenceEqual (numbers media.Sent |> Array.map fst) [ 10; 11; 12; 14; 13 ] "none twice"
              })

          testPropertyWithConfig
              { FsCheckConfig.defaultConfig with maxTest = 200 }
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

/// A format whose frames are one packet each.
type private Whole() =
    inherit PayloadFormat("video/VP8", 90_000)

    override _.CreatePacketizer() =
        { new IPacketizer with
            member _.Packetize(frame, _, into) =
                frame.Data.Span.CopyTo(into.Add(frame.Data.Length).Span) }

    override _.CreateDepacketizer() = failwith "not asked for"
    override _.Inspect(frame) = FrameInfo(true, 16, frame.Length, 0)

[<Tests>]
let tests = testList "Tracks" [ mappings; silence; splices ]
