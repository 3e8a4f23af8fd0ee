/// SampleBuilder: whole frames in order, or none.
module Hybrid.WebRtc.PropertyTests.Media.SampleBuilderTests

open System
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.MediaWorld

let private seeds =
    Arb.fromGenShrink (Gen.choose (0, 1_000_000), (fun n -> if n > 0 then Seq.singleton (n / 2) else Seq.empty))

let private property name check =
    testPropertyWithConfig Laws.config name (Prop.forAll seeds check)

/// Waits so long that nothing is given up.
let private patient = SampleBuilderOptions(MaxLate = TimeSpan.FromHours 1.0)

let private padding (after: RtpPacket) sequence =
    { after with
        SequenceNumber = sequence
        Marker = false
        Payload = ReadOnlyMemory.Empty
        Padding = 200uy }

/// The same packets with padding-only ones between frames, as a sender's probes are.
let private withPadding (dice: Dice) (packets: RtpPacket[]) =
    let mutable shift = 0us

    [| for packet in packets do
           let moved =
               { packet with
                   SequenceNumber = packet.SequenceNumber + shift }

           moved

           if packet.Marker && dice.Below 3 = 0 then
               shift <- shift + 1us
               padding moved (moved.SequenceNumber + 1us) |]

let private reordered (kind: Kind) =
    property $"{kind.Mime}: reordered, repeated and among padding, every frame comes out in order" (fun seed ->
        let dice = Dice seed
        let format = formatOf kind
        let sent = frames kind dice 2000 30

        let packets =
            packets format 300 sent
            |> withPadding dice
            |> fun all ->
                // The first ones stay first: what is before them is not known to be missing.
                Array.append all[..0] (dice.Shuffled(40, all[1..]))
            |> Array.collect (fun packet ->
                if dice.Below 10 = 0 then
                    [| packet; packet |]
                else
                    [| packet |])

        // Who joins cannot know that an earlier packet is on its way once a frame was delivered.
        let builder = SampleBuilder(format, patient)
        let first = packets[0]
        builder.Push(&first)
        let early = popAll builder
        let got = Array.append (Array.ofList early) (rebuilt builder packets[1..])
        Expect.equal (got |> Array.map octets) (sent |> Array.map octets) "the frames"
        Expect.equal builder.PacketsDropped 0L "nothing was dropped"
        Expect.equal builder.PacketsLost 0L "nothing was lost"
        Expect.equal builder.PacketsHeld 0 "nothing is held"

        for frame in got do
            Expect.equal frame.LostBefore 0 "nothing before it")

let private lossy (kind: Kind) =
    property
        $"{kind.Mime}: of frames that lost a packet none is delivered, of the others nothing but the whole"
        (fun seed ->
            let dice = Dice seed
            let format = formatOf kind
            let sent = frames kind dice 2000 40
            let packets = packets format 300 sent
            let survivors = packets |> Array.filter (fun _ -> dice.Below 10 > 0)

            let maimed =
                let lost = HashSet(packets |> Array.map _.SequenceNumber)

                for packet in survivors do
                    lost.Remove packet.SequenceNumber |> ignore

                packets
                |> Array.filter (fun packet -> lost.Contains packet.SequenceNumber)
                |> Array.map _.Timestamp
                |> HashSet

            let builder = SampleBuilder(format)
            let got = rebuilt builder (dice.Shuffled(5, survivors))
            let wanted = dict [ for frame in sent -> frame.Timestamp, octets frame ]

            for frame in got do
                Expect.isFalse (maimed.Contains frame.Timestamp) "a whole one"
                Expect.equal (octets frame) wanted[frame.Timestamp] "as it was sent"

            let order = got |> Array.map (fun frame -> int (frame.Timestamp - 0xFFFF_F000u))
            Expect.equal order (Array.sort order) "in order"
            Expect.equal builder.PacketsHeld 0 "nothing is held"

            // VP8, VP9 and audio tell where a frame starts, so that not one is missing without need, but for the reordered first.
            if List.contains kind.Mime [ "video/VP8"; "video/VP9"; "audio/opus" ] then
                Expect.isGreaterThanOrEqual got.Length (sent.Length - maimed.Count - 6) "the others come out")

let private vp8 = kinds[0]
let private h264 = kinds[2]

let private cases =
    [ testCase "without marker bits a frame ends where the timestamp changes" (fun () ->
          for kind in [ vp8; h264 ] do
              let format = formatOf kind
              let sent = frames kind (Dice 3) 2000 20

              let packets =
                  packets format 300 sent |> Array.map (fun p -> { p with Marker = false })

              let got = rebuilt (SampleBuilder format) packets
              // Of the last one nobody can tell that it is whole.
              Expect.equal (got |> Array.map octets) (sent[..18] |> Array.map octets) kind.Mime)

      testCase "a lost packet is waited for as long as MaxLate says, and counted" (fun () ->
          let format = formatOf vp8
          let sent = frames vp8 (Dice 4) 0 40
          let packets = packets format 300 sent

          let builder =
              SampleBuilder(format, SampleBuilderOptions(MaxLate = TimeSpan.FromMilliseconds 500.0))
          // A frame is one packet, 33 ms long; the sixth is lost.
          let got = List()

          for i in 0..39 do
              if i <> 5 then
                  builder.Push(&packets[i])
                  got.AddRange(popAll builder)

                  if i = 20 then
                      Expect.equal got.Count 5 "those before it alone: 14 frames are 467 ms"

                  if i = 21 then
                      Expect.equal got.Count 5 "500 ms are not more than 500 ms"

          Expect.equal got.Count 39 "all others"
          Expect.equal (got |> Seq.map _.LostBefore |> Seq.sum) 1 "one was lost"
          Expect.equal got[5].LostBefore 1 "before the sixth"
          Expect.equal builder.PacketsLost 1L "counted"
          builder.Push(&packets[5])
          Expect.equal builder.PacketsLate 1L "too late")

      testCase "popped packets are let go of (pion issue 2778)" (fun () ->
          let format = formatOf vp8
          let builder = SampleBuilder(format)

          let run () =
              let references =
                  [| for packet in packets format 300 (frames vp8 (Dice 6) 3000 3000) do
                         let copy = packet.Payload.ToArray()

                         push
                             builder
                             { packet with
                                 Payload = ReadOnlyMemory copy }

                         popAll builder |> ignore
                         WeakReference copy |]

              references

          let references = run ()
          GC.Collect()
          GC.WaitForPendingFinalizers()
          GC.Collect()
          Expect.equal (references |> Array.filter _.IsAlive |> Array.length) 0 "nothing keeps them"
          GC.KeepAlive builder)

      testCase "what is held is bounded by packets and by octets" (fun () ->
          let format = formatOf vp8

          let builder =
              SampleBuilder(
                  format,
                  SampleBuilderOptions(MaxPackets = 64, MaxOctets = 65_536, MaxLate = TimeSpan.FromHours 10.0)
              )

          // A frame that never ends, and one packet of it missing.
          for i in 0..5000 do
              if i <> 1 then
                  push
                      builder
                      { (packets format 300 (frames vp8 (Dice 1) 0 1))[0] with
                          Marker = false
                          SequenceNumber = uint16 i
                          Payload = ReadOnlyMemory(Array.append [| 0uy |] (Array.zeroCreate 2000)) }

                  Expect.isLessThanOrEqual builder.PacketsHeld 33 "packets held"

          Expect.isGreaterThan builder.PacketsDropped 4900L "the others were dropped")

      testCase "a jump of sequence numbers is believed once the next packet confirms it, RFC 3550 A.1" (fun () ->
          let format = formatOf vp8
          let sent = frames vp8 (Dice 8) 0 20
          let packets = packets format 300 sent
          let builder = SampleBuilder(format)

          let shifted =
              packets
              |> Array.mapi (fun i p ->
                  if i >= 10 then
                      { p with
                          SequenceNumber = p.SequenceNumber + 20_000us }
                  else
                      p)

          // One stray packet changes nothing.
          let stray =
              { packets[0] with
                  SequenceNumber = 30_000us }

          let got = rebuilt builder [| yield! shifted[..4]; stray; yield! shifted[5..] |]
          Expect.equal (got |> Array.map octets) (sent |> Array.map octets) "every frame"
          Expect.equal builder.PacketsLate 1L "the stray one")

      testCase "durations: of audio as told, of video to the next frame" (fun () ->
          let opus = kinds |> List.find (fun kind -> kind.Mime = "audio/opus")

          let got =
              rebuilt (SampleBuilder(formatOf opus)) (packets (formatOf opus) 300 (frames opus (Dice 1) 20 3))

          Expect.equal (got |> Array.map _.Duration.TotalMilliseconds) [| 20.0; 20.0; 20.0 |] "Opus"
          let format = formatOf vp8

          let got =
              rebuilt (SampleBuilder format) (packets format 300 (frames vp8 (Dice 1) 20 3))

          Expect.equal (got |> Array.map (fun f -> f.Duration.Ticks)) [| 0L; 333_333L; 333_333L |] "VP8")

      testCase "frames tell of their packets, and keep them where asked" (fun () ->
          let format = formatOf vp8
          let packets = packets format 300 (frames vp8 (Dice 9) 3000 12)
          let at = DateTimeOffset.UnixEpoch.AddSeconds 5.0
          let builder = SampleBuilder(format, SampleBuilderOptions(KeepPackets = true))

          for packet in packets do
              builder.Push(&packet, Nullable at)

          let got = popAll builder
          Expect.equal (got |> List.sumBy _.PacketCount) packets.Length "all of them"
          Expect.equal (got |> List.sumBy _.Packets.Length) packets.Length "kept"
          Expect.equal got[0].FirstSequenceNumber 65_500us "the first"
          Expect.equal (got |> List.last).LastSequenceNumber (Array.last packets).SequenceNumber "the last"
          Expect.equal got[0].ReceivedAt (Nullable at) "when"
          Expect.equal (got[0].Width, got[0].Height) (320, 240) "its size")

      testCase "the cost of a packet does not depend on what is held" (fun () ->
          let format = formatOf vp8

          let template = (packets format 300 (frames vp8 (Dice 1) 0 1))[0]

          // A far packet waits while the gap before it fills in order: the worst that order can be.
          let fill (window: int) () =
              let builder =
                  SampleBuilder(format, SampleBuilderOptions(MaxPackets = window, MaxLate = TimeSpan.FromHours 1.0))

              let rounds = 16_384 / window

              for round in 0 .. rounds - 1 do
                  let first = round * window

                  let far =
                      { template with
                          SequenceNumber = uint16 (first + window - 1) }

                  let near =
                      { template with
                          SequenceNumber = uint16 first }

                  builder.Push(&near)
                  builder.Push(&far)

                  for i in 1 .. window - 2 do
                      let packet =
                          { template with
                              SequenceNumber = uint16 (first + i) }

                      builder.Push(&packet)

                      match builder.TryPop() with
                      | _ -> ()

                  popAll builder |> ignore

          Laws.costs "256 times as many held" 20.0 1.0 (fill 64) (fill 16_384)) ]

let private noise =
    property "any packets at all: no throw, and never more held than may be" (fun seed ->
        let dice = Dice seed

        for kind in kinds do
            let builder = SampleBuilder(formatOf kind, SampleBuilderOptions(MaxPackets = 64))
            let template = (packets (formatOf kind) 300 (frames kind dice 300 2))[0]

            for _ in 1..100 do
                push
                    builder
                    { template with
                        Marker = dice.Below 2 = 0
                        SequenceNumber = uint16 (dice.Below(if dice.Below 2 = 0 then 65_536 else 40))
                        Timestamp = uint32 (dice.Below 8) * 0x2000_0000u
                        Payload = ReadOnlyMemory(dice.Bytes(dice.Below 12)) }

                if dice.Below 3 = 0 then
                    popAll builder |> ignore

                Expect.isLessThanOrEqual builder.PacketsHeld 64 "held")

let tests =
    testList
        "SampleBuilder"
        [ yield! List.map reordered kinds
          yield! List.map lossy kinds
          yield! cases
          noise ]
