module Hybrid.WebRtc.PropertyTests.Interceptors.FlexFecTests

open System
open System.Buffers.Binary
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private start = 0x1_0000L

let private machine: Laws.Machine<FlexFecSender.State, unit, RtpPacket> =
    { Step =
        fun now () state ->
            let struct (state, packets) = FlexFecSender.tick now state
            struct (state, List.ofArray packets)
      Deadline = FlexFecSender.deadline
      Tick = () }

let private map =
    ExtensionMap
        [| KeyValuePair(1, HeaderExtensions.uri HeaderExtension.AbsSendTime)
           KeyValuePair(2, HeaderExtensions.uri HeaderExtension.TransportCc)
           KeyValuePair(3, HeaderExtensions.uri HeaderExtension.Mid) |]

/// A media packet of the wire, with CSRCs, extensions and padding by chance; the last of a frame has the marker.
let private wire (draws: Draws) (n: int) (frame: int) (marker: bool) : byte[] =
    let csrcs = if draws.Below 4 = 0 then draws.Bytes 8 else [||]

    let elements =
        if draws.Below 2 = 0 then
            [||]
        else
            Array.concat
                [ [| 0x12uy |]
                  draws.Bytes 3
                  [| 0x21uy |]
                  draws.Bytes 2
                  [| 0x30uy; 65uy; 0uy; 0uy; 0uy |] ]

    let whole =
        { packet (uint16 n) (uint32 (3000 * frame)) (draws.Bytes(1 + draws.Below 300)) with
            Marker = marker
            Csrcs = ReadOnlyMemory csrcs
            ExtensionProfile =
                (if elements.Length > 0 then
                     ExtensionProfile.OneByte
                 else
                     0us)
            Extensions = ReadOnlyMemory elements
            Padding = (if draws.Below 5 = 0 then 7uy else 0uy) }

    whole.ToArray()

let private masked (packet: byte[]) : byte[] =
    match FlexFec.protectable map (ReadOnlySpan packet) with
    | ValueSome bytes -> bytes
    | ValueNone -> failtest "not RTP"

/// Frames of `perFrame` packets through a path that loses what `lost` says, FEC alone repairing: packets that never came,
/// packets of media, packets of FEC.
let private residual (seed: int64) (protection: float) (frames: int) (perFrame: int) (lost: Draws -> bool) =
    let draws = Draws seed
    let weather = Draws(seed + 1000L)

    let mutable sender =
        FlexFecSender.create 118uy 99u 1000us |> FlexFecSender.protecting protection

    let mutable receiver = FlexFecReceiver.create 0x1234_5678u
    let sent = Dictionary<uint16, byte[]>()
    let came = HashSet<int>()
    let mutable fec = 0
    let mutable n = 0

    let back (packets: byte[][]) =
        for p in packets do
            let sequence = BinaryPrimitives.ReadUInt16BigEndian(ReadOnlySpan(p, 2, 2))
            Expect.isTrue (p.AsSpan().SequenceEqual(ReadOnlySpan(masked sent[sequence]))) "as it was sent"
            let number = int (Sequence.unwrap (start + int64 n) sequence - start)
            Expect.isTrue (came.Add number) "only what was lost comes back"

    let protect (packets: RtpPacket[]) =
        for p in packets do
            fec <- fec + 1
            Expect.equal (p.PayloadType, p.Ssrc) (118uy, 99u) "a stream of its own"

            if not (lost weather) then
                let struct (next, found) = FlexFecReceiver.repair p.Payload.Span receiver
                receiver <- next
                back found

    for frame in 0 .. frames - 1 do
        for i in 1..perFrame do
            let bytes = wire draws n frame (i = perFrame)
            sent[uint16 n] <- bytes
            let now = ms (33 * frame + i)

            if not (lost weather) then
                came.Add n |> ignore

                let struct (next, found) =
                    FlexFecReceiver.media (start + int64 n) map (ReadOnlySpan bytes) receiver

                receiver <- next
                back found

            let struct (next, packets) =
                FlexFecSender.sent now (start + int64 n) map (ReadOnlySpan bytes) sender

            sender <- next
            n <- n + 1
            protect packets

            Laws.earlyTick machine now sender
            Laws.tickMovesOn machine sender
            let struct (next, packets) = FlexFecSender.tick now sender
            sender <- next
            protect packets

            if
                receiver.Held.Length > FlexFecReceiver.MaxHeld
                || receiver.Packets.Count > FlexFecReceiver.MaxPackets
            then
                failtest "unbounded"

    struct (n - came.Count, n, fec, receiver.Counters)

let private uniform (loss: float) (draws: Draws) = draws.Unit() < loss

let private maskOf (bits: int list) =
    List.fold (fun mask i -> FecMask.add i mask) FecMask.none bits

let tests =
    testList
        "FlexFEC"
        [ testCase "the header is as draft-ietf-payload-flexible-fec-scheme-03 4.2 draws it" (fun () ->
              let header (bits: int list) =
                  let mask = maskOf bits
                  let bytes: byte[] = Array.zeroCreate (FlexFec.headerSize mask)
                  FlexFec.writeHeader (Span bytes) 0x0102_0304u 0x0506us mask
                  Convert.ToHexString bytes[8..]

              Expect.equal (header [ 0; 14 ]) "01000000010203040506C001" "k is set behind 15 bits"
              Expect.equal (header [ 1; 15; 45 ]) "010000000102030405062000C0000001" "behind 46"
              Expect.equal (header [ 0; 46; 108 ]) "01000000010203040506400000000000C000000000000001" "behind 109")

          testPropertyWithConfig Laws.config "read (write mask) = mask"
          <| fun (seed: int64) ->
              let draws = Draws seed
              let width = [| 15; 46; 109 |][draws.Below 3]
              let mask = maskOf [ for _ in 0 .. draws.Below 20 -> draws.Below width ]
              let bytes: byte[] = Array.zeroCreate (FlexFec.headerSize mask)
              FlexFec.writeHeader (Span bytes) 7u 9us mask

              match FlexFec.read (ReadOnlySpan bytes) with
              | ValueSome header ->
                  header.Mask.Low = mask.Low
                  && header.Mask.High = mask.High
                  && header.Ssrc = 7u
                  && header.BaseSequence = 9us
                  && header.Size = bytes.Length
              | ValueNone -> false

          testCase "one FEC packet brings back one lost packet, whole, whichever it was" (fun () ->
              for lost in 0..4 do
                  let draws = Draws 11L

                  let mutable sender =
                      FlexFecSender.create 118uy 99u 1us |> FlexFecSender.protecting 0.2

                  let mutable receiver = FlexFecReceiver.create 0x1234_5678u
                  let packets = [ for n in 0..4 -> wire draws (65_534 + n) 1 (n = 4) ]
                  let mutable back = [||]

                  for n, bytes in List.indexed packets do
                      let number = start + int64 (65_534 + n)

                      let struct (next, _) =
                          FlexFecSender.sent 0L<us> number map (ReadOnlySpan bytes) sender

                      sender <- next

                      if n <> lost then
                          let struct (next, _) =
                              FlexFecReceiver.media number map (ReadOnlySpan bytes) receiver

                          receiver <- next

                  let struct (_, repairs) = FlexFecSender.tick (FlexFecSender.deadline sender) sender
                  Expect.hasLength repairs 1 "one for five"

                  for repair in repairs do
                      let struct (next, found) = FlexFecReceiver.repair repair.Payload.Span receiver
                      receiver <- next
                      back <- found

                  Expect.hasLength back 1 $"packet {lost} comes back"
                  Expect.equal back[0] (masked packets[lost]) "whole")

          for seed in 1L .. 3L do
              testCase $"20%% overhead alone: 5%% loss falls below 1%%, seed {seed}" (fun () ->
                  let struct (gone, media, fec, counters) = residual seed 0.2 1500 7 (uniform 0.05)
                  Expect.isLessThan (float gone / float media) 0.01 $"{gone} of {media}"
                  Expect.isLessThanOrEqual (float fec / float media) 0.201 $"{fec} FEC packets"

                  Expect.isLessThanOrEqual
                      (counters.Discarded)
                      counters.Received
                      "discarded are some of what was received")

          testCase "frames of any size keep to the overhead, and lose less than without" (fun () ->
              for perFrame in [ 1; 2; 5; 12; 30; 60; 150 ] do
                  for protection in [ 0.05; 0.2; 0.5; 1.0 ] do
                      let struct (gone, media, fec, _) =
                          residual 5L protection (1 + 2000 / perFrame) perFrame (uniform 0.05)

                      Expect.isLessThan (float gone / float media) 0.05 $"{perFrame} a frame, {protection}"

                      Expect.isLessThanOrEqual
                          (float fec)
                          (protection * float media + 1.0)
                          $"{fec} for {media}, {perFrame} a frame, {protection}")

          testCase "a burst of three is brought back where protection is enough" (fun () ->
              let mutable n = 0

              let burst _ =
                  n <- n + 1
                  n % 97 < 3

              let struct (gone, media, _, _) = residual 6L 0.34 800 8 burst
              Expect.isLessThan (float gone / float media) 0.001 $"{gone} of {media}")

          testCase "without loss nothing is made up" (fun () ->
              let struct (gone, _, fec, counters) = residual 7L 0.3 100 10 (fun _ -> false)
              Expect.equal gone 0 "none gone"
              Expect.equal counters.Recovered 0L "none brought back"
              Expect.equal counters.Discarded (int64 fec) "each FEC packet was for nothing")

          testCase "without protection nothing is sent, and nothing is due" (fun () ->
              let struct (_, _, fec, _) = residual 8L 0.0 50 5 (uniform 0.05)
              Expect.equal fec 0 "none")

          testCase "protection follows loss within its budget" (fun () ->
              Expect.equal (FlexFecSender.protection 0.0 0.5) 0.0 "no loss"
              Expect.equal (FlexFecSender.protection 0.05 0.5) 0.2 "four times"
              Expect.equal (FlexFecSender.protection 0.3 0.5) 0.5 "the budget"
              Expect.equal (FlexFecSender.protection 0.3 0.0) 0.0 "none")

          testCase "the same seed tells the same story" (fun () ->
              let tell () =
                  let struct (gone, media, fec, counters) = residual 9L 0.25 200 9 (uniform 0.1)
                  gone, media, fec, counters.Recovered

              Expect.equal (tell ()) (tell ()) "twice")

          Laws.anyBytes "any bytes as a FEC packet are taken" (fun bytes ->
              let draws = Draws 1L
              let mutable receiver = FlexFecReceiver.create 0x1234_5678u

              for n in 0..9 do
                  let struct (next, _) =
                      FlexFecReceiver.media (start + int64 n) map (ReadOnlySpan(wire draws n 1 false)) receiver

                  receiver <- next

              let struct (after, _) = FlexFecReceiver.repair (ReadOnlySpan bytes) receiver
              after.Held.Length <= 1)

          Laws.mutated
              "FEC packets that lie bring back at most one packet each, that reads as RTP"
              [ for size in [ 20; 24; 32; 60; 400 ] ->
                    let bytes: byte[] = Array.zeroCreate size

                    FlexFec.writeHeader
                        (Span bytes)
                        0x1234_5678u
                        0us
                        (maskOf (
                            if size = 20 then [ 0; 10 ]
                            elif size = 24 then [ 0; 20 ]
                            else [ 0; 3; 12; 70 ]
                        ))

                    bytes ]
              (fun bytes ->
                  let draws = Draws 2L
                  let mutable receiver = FlexFecReceiver.create 0x1234_5678u

                  for n in [ 0; 1; 2; 3; 5; 6; 7; 8; 9 ] do
                      let struct (next, _) =
                          FlexFecReceiver.media (start + int64 n) map (ReadOnlySpan(wire draws n 1 false)) receiver

                      receiver <- next

                  let struct (_, found) = FlexFecReceiver.repair (ReadOnlySpan bytes) receiver
                  Expect.isLessThanOrEqual found.Length 1 "one"

                  for p in found do
                      Expect.isTrue (RtpHeader.read (ReadOnlySpan p)).IsSome "RTP") ]
