/// What the sending side keeps and counts: numbers, extensions, retransmissions.
module Hybrid.WebRtc.PropertyTests.Media.SendingTests

open System
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.PeersTests
open Hybrid.WebRtc.PropertyTests.Media.FecTests

let private step input s =
    let struct (s, _) = MediaSession.step 0L<us> input s
    s

let private sent packets (s: MediaState) =
    step (MediaInput.Send(1, 0, RtpMappings.identity, ReadOnlyMemory packets)) s

/// The same plan with RFC 8888 feedback.
let private ccfb (plan: MediaPlan) : MediaPlan =
    { plan with
        Sections =
            plan.Sections
            |> Array.map (fun section ->
                { section with
                    SendCodecs =
                        section.SendCodecs
                        |> Array.map (fun c ->
                            { c with
                                Feedback = Array.append c.Feedback [| "ack ccfb" |] }) }) }

let tests =
    testList
        "Sending"
        [ testCase "a packet's header extensions leave under the ids of the section" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 2L

              let map =
                  ExtensionMap [| KeyValuePair(9, HeaderExtensions.uri HeaderExtension.VideoOrientation) |]

              let element =
                  ExtensionElement.Of(map, HeaderExtension.VideoOrientation, ReadOnlyMemory [| 3uy |])

              let packets =
                  frame payloadType 0
                  |> Array.map (fun packet -> packet.WithExtensions(map, element))

              let world =
                  world
                  |> World.tell 'a' (SendRtp(id, 0, RtpMappings.identity, ReadOnlyMemory packets))
                  |> World.pass (Duration.seconds 1L)

              let came = received world
              Expect.equal came.Length 5 "all"

              for packet in came do
                  let mutable data = ReadOnlyMemory<byte>.Empty
                  Expect.isTrue (packet.TryGetExtension(HeaderExtension.VideoOrientation, &data)) "there"
                  Expect.equal (data.ToArray()) [| 3uy |] "as it was")

          testCase "headers of what was sent again are counted, too" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults lossy 4L
              let world = send id payloadType 200 world |> World.pass (Duration.seconds 1L)
              let sent = (media 'a' world).Outbound[0]
              Expect.isGreaterThan sent.RetransmittedPacketsSent 20L "some"
              let each = float sent.HeaderBytesSent / float sent.PacketsSent
              // The fixed header, absolute send time, transport-wide number, MID, and RTX's two octets.
              Expect.isTrue (each >= 28.0 && each < 31.0) $"octets of headers a packet: {each}")

          testCase "what was refused was not sent: no report, no goodbye, no delay" (fun () ->
              let s = session DtlsRole.Client (plan 0u) |> sent (frame 77uy 0)

              let stream = s.Senders[0]
              Expect.isFalse stream.HasSent "nothing"
              Expect.equal stream.Counts.Packets 0L "packets"
              Expect.equal stream.Counts.Delay 0L<us> "delay"
              let struct (_, outputs) = MediaSession.step 1L<us> MediaInput.Close s
              Expect.isEmpty outputs "no goodbye")

          testCase "a source that is gone is not waited for, and one that rests has used its numbers" (fun () ->
              let plan = ccfb (plan 99u)
              let s = session DtlsRole.Client plan |> sent (frame 96uy 0)
              Expect.equal s.Path.StreamTimes.Last.Ssrc 0x1234_5678u "noted"

              let resting =
                  step
                      (MediaInput.Plan
                          { plan with
                              Sections = plan.Sections |> Array.map (fun section -> { section with Encodings = [||] }) })
                      s

              Expect.equal resting.Senders.Length 1 "kept"
              Expect.isFalse resting.Senders[0].Terms.IsOpen "and not sent"

              let struct (_, refused) =
                  MediaSession.step
                      0L<us>
                      (MediaInput.Send(1, 0, RtpMappings.identity, ReadOnlyMemory(frame 96uy 9)))
                      resting

              Expect.isFalse (refused |> List.exists _.IsTransmitRun) "nothing leaves"
              let again = step (MediaInput.Plan plan) resting

              let struct (_, outputs) =
                  MediaSession.step
                      0L<us>
                      (MediaInput.Send(1, 0, RtpMappings.identity, ReadOnlyMemory(frame 96uy 0)))
                      again

              Expect.isFalse (outputs |> List.exists _.IsTransmitRun) "a number is not used twice"
              let gone = step (MediaInput.Plan { plan with Sections = [||] }) s
              Expect.equal gone.Senders.Length 0 "gone"
              Expect.equal gone.Path.StreamTimes.Last.Ssrc 0u "and forgotten")

          testCase
              "history is kept where a renegotiation changes nothing of packets, and dropped where it does"
              (fun () ->
                  let s = session DtlsRole.Client (plan 0u) |> sent (frame 96uy 0)
                  let same = step (MediaInput.Plan(plan 0u)) s
                  Expect.isFalse same.Senders[0].History.Bursts.IsEmpty "kept"

                  let other =
                      { plan 0u with
                          Sections =
                              (plan 0u).Sections
                              |> Array.map (fun section ->
                                  { section with
                                      Extensions = ExtensionMap.Empty }) }

                  Expect.isTrue (step (MediaInput.Plan other) s).Senders[0].History.Bursts.IsEmpty "dropped")

          testCase "the NACKs of one datagram cost a bounded number of steps together" (fun () ->
              let ours = session DtlsRole.Client (plan 0u)
              let peer = session DtlsRole.Server (plan 0u)
              let mutable ours = ours

              for number in 0..99 do
                  ours <- sent (frame 96uy number) ours

              let nacks =
                  [| for _ in 1..60 ->
                         Nack(
                             1u,
                             0x1234_5678u,
                             [| for i in 0..1 ->
                                    { PacketId = uint16 (20_000 + 17 * i)
                                      Bitmask = 0xFFFFus } |]
                         ) |]

              match MediaSession.step 1L<us> (MediaInput.SendRtcp nacks) peer with
              | struct (_, MediaOutput.TransmitRtcp packet :: _) ->
                  let bytes: byte[] = Array.zeroCreate packet.Size
                  let length = packet.Write(Span bytes)
                  let next = step (MediaInput.Received(Memory(bytes, 0, length))) ours
                  Expect.isLessThan next.Control.NackWork SentHistory.MaxWork "something"
                  Expect.isGreaterThan next.Control.NackWork -1_000 "and no more than that"
              | _ -> failtest "no datagram")

          testCase
              "what a relay has around packets counts for the estimate, and is left out of what media is told to fill"
              (fun () ->
                  for plan in [ plan 99u; ccfb (plan 99u) ] do
                      let plain = session DtlsRole.Client plan
                      let wrapped = step (MediaInput.Wrapped 41) plain

                      let octets s =
                          MediaEstimate.sent (sent (Array.truncate 1 (frame 96uy 0)) s)

                      Expect.isGreaterThan (octets plain) 800L "a packet"
                      Expect.equal (octets wrapped - octets plain) 41L "around it"

                      Expect.floatClose
                          Accuracy.high
                          (MediaState.mediaShare wrapped / MediaState.mediaShare plain)
                          (1200.0 / 1241.0)
                          "less"

                      let struct (_, outputs) = MediaSession.step 0L<us> (MediaInput.Wrapped 41) wrapped
                      Expect.isEmpty outputs "told once"
                      let back = step (MediaInput.PathChanged 0) wrapped
                      Expect.equal (octets back) (octets plain) "on a path without a relay") ]
