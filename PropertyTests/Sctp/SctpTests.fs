module Hybrid.WebRtc.PropertyTests.Sctp.SctpTests

open System
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

/// Whether a packet begins with DATA or I-DATA.
let private isData (bytes: byte[]) = bytes[12] = 0uy || bytes[12] = 0x40uy

let private setUp =
    testList
        "Set-up"
        [ testCase "both connect at once: one association, as browsers have it (RFC 9260 §5.2.1)" (fun () ->
              let pair = pair Weather.fair 1L
              pair.Establish()
              pair.Run(Duration.seconds 2L)

              for e in pair.Ends do
                  Expect.equal (e.Events |> Seq.filter _.IsEstablished |> Seq.length) 1 "established is said once"
                  Expect.equal (Sctp.outboundStreams e.State) (ValueSome 65535) "all streams"

              Expect.isLessThan pair.A.PacketsSent 8 "few packets")

          testCase "one connects, the other answers" (fun () ->
              let pair = pair Weather.fair 2L
              pair.Step(0, SctpInput.Connect)
              Expect.isTrue (pair.Until(Duration.seconds 1L, (fun () -> pair.IsUp))) "up in two round trips")

          seeds 100 "any seed, 30% loss, jitter and duplication: up within a minute" (fun seed ->
              (pair Weather.foul seed).Establish())

          testCase "what was sent before there was an association goes out with it" (fun () ->
              let pair = pair Weather.fair 3L
              pair.Send(0, 1, Numbered.make 1 100)
              pair.Send(0, 2, Numbered.make 2 100)
              Expect.equal (Sctp.bufferedAmount pair.A.State) 200L "it waits"
              pair.Establish()
              pair.Run(Duration.seconds 1L)
              Expect.equal (numbers pair.B) [ 1; 2 ] "it arrived")

          testCase "nobody there: it fails after Max.Init.Retransmits, with an SCTP fault" (fun () ->
              let pair = SctpPair({ Weather.fair with Loss = 1.0 }, 4L, id)
              pair.Step(0, SctpInput.Connect)
              Expect.isTrue (pair.Until(minutes 5L, (fun () -> pair.A.Events.Count > 0))) "it ends"

              match pair.A.Events[0] with
              | SctpOutput.Failed fault -> Expect.equal fault.Detail ErrorDetail.SctpFailure "detail"
              | other -> failtestf "%A" other)

          testCase "a forged cookie, a wrong tag and a wrong checksum are noise" (fun () ->
              let pair = pair Weather.fair 5L
              pair.Establish()

              let packet tag chunk =
                  let p =
                      { SourcePort = 5000us
                        DestinationPort = 5000us
                        VerificationTag = tag
                        Control = [ chunk ]
                        Data = [||]
                        ZeroChecksum = false
                        MayFragment = false }

                  let bytes = Array.zeroCreate (SctpPacket.size p)
                  SctpPacket.write (Span bytes) p |> ignore
                  bytes

              let noise =
                  [ packet 1u (Abort(false, []))
                    packet 1u (Abort(true, []))
                    packet 1u CookieAck
                    packet 1u (CookieEcho(ReadOnlyMemory(Array.zeroCreate 59)))
                    packet
                        0u
                        (Init
                            { InitiateTag = 0u
                              AdvertisedReceiverWindow = 10000u
                              OutboundStreams = 1us
                              InboundStreams = 1us
                              InitialTsn = Tsn 1u
                              Parameters = [] })
                    Array.zeroCreate 16
                    [||] ]

              for bytes in noise do
                  pair.Inject(0, bytes)

              Expect.equal (Array.sum pair.A.Drops) noise.Length "each counted"
              pair.Send(0, 1, Numbered.make 1 100)
              pair.Run(Duration.seconds 1L)
              Expect.equal (numbers pair.B) [ 1 ] "and nothing lost")

          testCase "a peer that starts anew is taken back (RFC 9260 §5.2.4 A)" (fun () ->
              let pair = pair Weather.fair 6L
              pair.Establish()
              pair.Send(0, 1, Numbered.make 1 100)
              pair.Run(Duration.seconds 1L)
              // The other end loses its memory.
              pair.B.State <- Sctp.create (Entropy.ofNumber 99L) pair.Config
              pair.Step(1, SctpInput.Connect)
              Expect.isTrue (pair.Until(Duration.seconds 5L, (fun () -> pair.IsUp))) "up again"
              pair.Run(Duration.seconds 1L)
              Expect.equal (pair.A.Events |> Seq.filter _.IsEstablished |> Seq.length) 2 "said again"
              pair.Send(0, 1, Numbered.make 2 100)
              pair.Send(1, 1, Numbered.make 3 100)
              pair.Run(Duration.seconds 1L)
              Expect.equal (numbers pair.B, numbers pair.A) ([ 1; 2 ], [ 3 ]) "data flows, from SSN 0 on") ]

let private data =
    testList
        "Data"
        [ testCase "a message arrives as it was sent" (fun () ->
              let pair = pair Weather.fair 1L
              pair.Establish()
              pair.Send(0, 5, Numbered.make 7 1000, ppid = 51u)
              pair.Run(Duration.seconds 1L)
              let struct (stream, ppid, payload) = pair.B.Messages[0]
              Expect.equal (stream, ppid, Numbered.read payload) (5us, 51u, 7) "stream, PPID, payload"
              Expect.equal pair.A.Left[5] 1000L "it left the queue"
              Expect.equal (Sctp.bufferedAmount pair.A.State) 0L "nothing is left")

          seeds
              30
              "any seed, 30% loss, jitter and duplication: every reliable message once, each stream in order"
              (fun seed ->
                  let pair = pair Weather.foul seed
                  pair.Establish()
                  // Sizes from 4 octets to five packets, three streams, both ways.
                  for who in 0..1 do
                      for n in 0..149 do
                          pair.Send(who, n % 3, Numbered.make n (4 + (n * 7919 + int seed * 131) % 5000))

                  let ok =
                      pair.Until(minutes 20L, (fun () -> pair.A.Messages.Count >= 150 && pair.B.Messages.Count >= 150))

                  Expect.isTrue ok "all arrived"
                  pair.Run(Duration.seconds 10L)

                  for e in pair.Ends do
                      Expect.equal e.Messages.Count 150 "none twice"

                      for stream in 0..2 do
                          Expect.equal
                              (numbersOf stream e)
                              [ for n in 0..149 do
                                    if n % 3 = stream then
                                        n ]
                              "in order"

                      Expect.isTrue (e.Events |> Seq.forall _.IsEstablished) "nothing failed")

          seeds 20 "any seed: unordered messages arrive once each" (fun seed ->
              let pair = pair Weather.foul seed
              pair.Establish()

              for n in 0..199 do
                  pair.Send(0, n % 2, Numbered.make n (4 + (n * 677) % 4000), ordered = false)

              Expect.isTrue (pair.Until(minutes 20L, arrived 200 pair.B)) "all arrived"
              pair.Run(Duration.seconds 10L)
              Expect.equal (List.sort (numbers pair.B)) [ 0..199 ] "once each")

          testCase "unordered messages pass those that wait, in whole packets and in fragments" (fun () ->
              let pair = pair Weather.fair 3L
              pair.Establish()
              let mutable swallowed = false
              // The first DATA packet is lost.
              pair.Filter <-
                  fun who bytes ->
                      if who = 0 && isData bytes && not swallowed then
                          swallowed <- true
                          false
                      else
                          true

              pair.Send(0, 0, Numbered.make 1 1100)
              pair.Send(0, 0, Numbered.make 2 200)
              pair.Send(0, 1, Numbered.make 3 2500, ordered = false)
              // Before the loss can have been repaired.
              pair.Run(Duration.milliseconds 25L)
              Expect.equal (numbers pair.B) [ 3 ] "the unordered one is there"
              pair.Run(Duration.seconds 2L)
              Expect.equal (numbers pair.B) [ 3; 1; 2 ] "the others after it")

          testCase "70,000 messages on one stream: the SSN wraps, and so does the TSN" (fun () ->
              // A seed whose first TSN is within 70,000 of 2³².
              let startsHigh seed =
                  let pair = pair Weather.fair seed
                  let mutable tsn = 0u

                  pair.Filter <-
                      fun who bytes ->
                          if who = 0 && bytes[12] = 1uy then
                              tsn <- Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 28, 4))

                          true

                  pair.Step(0, SctpInput.Connect)
                  tsn > UInt32.MaxValue - 60000u

              let seed = Seq.initInfinite int64 |> Seq.find startsHigh
              let pair = pair Weather.fair seed
              pair.Establish()
              let mutable sent = 0

              while sent < 70_000 do
                  for _ in 1..1000 do
                      pair.Send(0, 3, Numbered.make sent 8)
                      sent <- sent + 1

                  pair.Run(Duration.milliseconds 20L)

              Expect.isTrue (pair.Until(minutes 5L, arrived 70_000 pair.B)) "all arrived"
              Expect.equal (numbers pair.B) [ 0..69_999 ] "in order")

          seeds 4 "messages of 256 KiB and 1 MiB arrive whole, in fair weather and foul" (fun seed ->
              let weather =
                  if seed % 2L = 0L then
                      { Weather.foul with Loss = 0.05 }
                  else
                      Weather.fair

              let pair = SctpPair(weather, seed, fun c -> { c with MaxMessageSize = 1 <<< 20 })

              pair.Establish()
              pair.Send(0, 1, Numbered.make 1 (256 * 1024))
              pair.Send(0, 2, Numbered.make 2 (1 <<< 20))
              pair.Send(0, 1, Numbered.make 3 (256 * 1024), ordered = false)
              Expect.isTrue (pair.Until(minutes 10L, arrived 3 pair.B)) "all arrived"
              Expect.equal (List.sort (numbers pair.B)) [ 1; 2; 3 ] "whole")

          testCase "small messages share packets" (fun () ->
              let pair = pair Weather.fair 4L
              pair.Establish()
              let before = pair.A.PacketsSent

              for n in 1..300 do
                  pair.Send(0, 1, Numbered.make n 40)

              pair.Run(Duration.seconds 2L)
              Expect.equal (numbers pair.B) [ 1..300 ] "all arrived"
              // 56 octets each: 20 to a packet.
              Expect.isLessThan (pair.A.PacketsSent - before) 25 "packets")

          testCase "100 ms of round trip and no loss: the window opens and the link fills" (fun () ->
              let pair =
                  pair
                      { Weather.fair with
                          Delay = Duration.milliseconds 50L }
                      5L

              pair.Establish()
              let start = pair.Now
              let total = 200

              for n in 1..total do
                  pair.Send(0, 1, Numbered.make n 65536)

              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived total pair.B)) "13 MB in 20 s"
              let seconds = float (pair.Now - start) / 1e6
              Expect.isLessThan seconds 4.0 "slow start, then a window of 8 MiB a round trip"

              match Sctp.figures pair.A.State with
              | ValueSome figures -> Expect.equal figures.Retransmissions 0L "nothing was sent twice"
              | ValueNone -> failtest "no figures")

          testCase "a lost packet is repaired within two round trips, without the timer" (fun () ->
              let pair =
                  pair
                      { Weather.fair with
                          Delay = Duration.milliseconds 25L }
                      6L

              pair.Establish()

              for n in 1..40 do
                  pair.Send(0, 1, Numbered.make n 10000)

              // The 60th DATA packet is lost: when, and when its TSN is seen again.
              let mutable count = 0
              let mutable lost = 0u
              let mutable lostAt = 0L<us>
              let mutable againAt = 0L<us>

              pair.Filter <-
                  fun who bytes ->
                      let tsn =
                          Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 16, 4))

                      if who <> 0 || not (isData bytes) then
                          true
                      else
                          count <- count + 1

                          if count = 60 then
                              lost <- tsn
                              lostAt <- pair.Now
                          elif count > 60 && tsn = lost then
                              againAt <- pair.Now

                          count <> 60

              Expect.isTrue (pair.Until(Duration.seconds 5L, arrived 40 pair.B)) "all arrived"
              Expect.isLessThan (againAt - lostAt) (Duration.milliseconds 105L) "in time"
              Expect.equal (Sctp.figures pair.A.State).Value.Retransmissions 1L "one chunk sent again")

          testCase "a message on a stream that the peer has not is given up" (fun () ->
              let pair =
                  SctpPair(
                      Weather.fair,
                      7L,
                      fun c ->
                          { c with
                              Limits = { c.Limits with Streams = 4us } }
                  )

              pair.Establish()
              pair.Send(0, 4, Numbered.make 1 100)
              pair.Send(0, 3, Numbered.make 2 100)
              pair.Run(Duration.seconds 1L)
              Expect.equal (numbers pair.B) [ 2 ] "the other arrives"
              Expect.equal pair.A.Left[4] 100L "and its octets have left the queue") ]

let private ending =
    testList
        "Ending"
        [ testCase "an abort ends both, and says why: cause 12 (RFC 9260 §3.3.10.12)" (fun () ->
              let pair = pair Weather.fair 1L
              pair.Establish()
              pair.Step(0, SctpInput.Abort "Close called")
              pair.Run(Duration.seconds 1L)
              Expect.isTrue (pair.A.Events |> Seq.exists _.IsClosed) "closed here"

              match Seq.last pair.B.Events with
              | SctpOutput.Failed fault ->
                  Expect.equal fault.SctpCauseCode (ValueSome 12us) "cause"
                  Expect.stringContains fault.Reason "Close called" "reason"
              | other -> failtestf "%A" other)

          seeds 30 "any seed, 20% loss: a shutdown by one or both delivers everything first" (fun seed ->
              let pair = pair { Weather.foul with Loss = 0.2 } seed
              pair.Establish()

              for who in 0..1 do
                  for n in 1..20 do
                      pair.Send(who, 1, Numbered.make n 2000)

              pair.Step(0, SctpInput.Shutdown)

              if seed % 2L = 0L then
                  pair.Step(1, SctpInput.Shutdown)

              let over () =
                  Sctp.state pair.A.State = SctpState.Ended
                  && Sctp.state pair.B.State = SctpState.Ended

              Expect.isTrue (pair.Until(minutes 20L, over)) "both ended"

              for e in pair.Ends do
                  Expect.equal (numbers e) [ 1..20 ] "all arrived"

              // One of the two may never learn that its last SHUTDOWN ACK arrived.
              Expect.isTrue (pair.Ends |> Array.exists (fun e -> e.Events |> Seq.exists _.IsClosed)) "closed")

          testCase "the end absorbs everything" (fun () ->
              let pair = pair Weather.fair 3L
              pair.Establish()
              pair.Step(0, SctpInput.Abort "")

              let script =
                  [ SctpInput.Tick
                    SctpInput.Connect
                    SctpInput.Shutdown
                    SctpInput.Abort ""
                    SctpInput.Consumed 5
                    SctpInput.Reset [| 1us |]
                    SctpInput.Received(ReadOnlyMemory(Array.zeroCreate 40)) ]

              for input in script do
                  let struct (next, outputs) = Sctp.step pair.Now input pair.A.State
                  Expect.equal (Sctp.state next) SctpState.Ended "ended"
                  Expect.equal (Sctp.deadline next) Instant.never "for good"
                  Expect.isTrue (outputs |> List.forall _.IsIgnored) "nothing follows")

          testCase "a peer that falls silent is given up, later than ICE's consent would" (fun () ->
              let pair = pair Weather.fair 4L
              pair.Establish()
              pair.Weather <- { Weather.fair with Loss = 1.0 }
              pair.Send(0, 1, Numbered.make 1 100)
              let start = pair.Now
              Expect.isTrue (pair.Until(minutes 5L, (fun () -> pair.A.Events |> Seq.exists _.IsFailed))) "failed"
              Expect.isGreaterThan (pair.Now - start) (Duration.seconds 30L) "after consent's 30 s")

          testCase "an idle association sends heartbeats and lives" (fun () ->
              let pair = pair Weather.fair 5L
              pair.Establish()
              pair.Run(minutes 10L)
              Expect.isTrue pair.IsUp "still up"
              Expect.isLessThan pair.A.PacketsSent 60 "one beat and one answer a half minute"
              Expect.isGreaterThan pair.A.PacketsSent 20 "but those") ]

let tests = testList "Sctp" [ setUp; data; ending ]
