module Hybrid.WebRtc.PropertyTests.Sctp.InterleavingTests

open System
open System.Buffers.Binary
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private without (c: SctpConfig) = { c with Interleaving = false }

/// Which ends offer I-DATA.
let private offers =
    [ "both", id, id
      "neither", without, without
      "the first alone", id, without
      "the second alone", without, id ]

let private pairOf (weather: Weather) (seed: int64) (a: SctpConfig -> SctpConfig) (b: SctpConfig -> SctpConfig) =
    SctpPair(
        weather,
        seed,
        a,
        fun c ->
            b
                { c with
                    Interleaving = (SctpConfig.create c.Ciphers).Interleaving }
    )

/// The types of the chunks in a packet.
let private kinds (bytes: byte[]) : byte list =
    let rec from at =
        if at + 4 > bytes.Length then
            []
        else
            let length =
                int (BinaryPrimitives.ReadUInt16BigEndian(ReadOnlySpan(bytes, at + 2, 2)))

            bytes[at] :: from (at + max 4 ((length + 3) / 4 * 4))

    from 12

/// Collects the types of all chunks that either end sends.
let private watch (pair: SctpPair) =
    let seen = Collections.Generic.HashSet<byte>()

    pair.Filter <-
        fun _ bytes ->
            for kind in kinds bytes do
                seen.Add kind |> ignore

            true

    seen

let private negotiation =
    testList
        "Negotiation"
        [ for name, a, b in offers do
              testCase $"I-DATA offered by {name}: the chunks are those that both know (RFC 8260 §2.2.1)" (fun () ->
                  let pair = pairOf Weather.fair 1L a b
                  let seen = watch pair
                  pair.Establish()

                  for who in 0..1 do
                      pair.Send(who, 1, Numbered.make 1 5000)
                      pair.Send(who, 2, Numbered.make 2 100, ordered = false)

                  pair.Run(Duration.seconds 2L)
                  Expect.equal (List.sort (numbers pair.A)) [ 1; 2 ] "one way"
                  Expect.equal (List.sort (numbers pair.B)) [ 1; 2 ] "the other"
                  let both = (name = "both")
                  Expect.equal (seen.Contains Kind.IData) both "I-DATA"
                  Expect.equal (seen.Contains Kind.Data) (not both) "DATA")

          testCase "an INIT of Firefox reads as it was captured: it offers I-DATA" (fun () ->
              // fixtures/captures: a_rwnd 16,777,216, 65,535 streams, 0xc000, 0x8008 = 82 c0 40 c2.
              let listed =
                  Tlv.ofBytes Parameter.SupportedExtensions [| 0x82uy; 0xc0uy; 0x40uy; 0xc2uy |]

              let init =
                  { InitiateTag = 1u
                    AdvertisedReceiverWindow = 16_777_216u
                    OutboundStreams = 65535us
                    InboundStreams = 65535us
                    InitialTsn = Tsn 1u
                    Parameters = [ Tlv.ofBytes Parameter.ForwardTsnSupported [||]; listed ] }

              let read change =
                  Handshake.introduction
                      (change (SctpConfig.create Hybrid.WebRtc.Stack.SystemCiphers.Shared))
                      init
                      init.Parameters

              Expect.isTrue (read id).Interleaves "agreed on"
              Expect.isTrue (read id).ForwardTsn "and I-FORWARD-TSN with it"
              Expect.isFalse (read without).Interleaves "not where we do not offer it"
              Expect.isTrue (read without).ForwardTsn "but FORWARD TSN")

          for interleaving in [ true; false ] do
              for kind in [ "data"; "skip" ] do
                  testCase
                      $"the other kind of chunk ends the association (RFC 8260 §2.2.3, §2.3.1): I-DATA {interleaving}, {kind}"
                      (fun () ->
                          let change = if interleaving then id else without
                          let pair = SctpPair(Weather.fair, 2L, change)
                          let mutable tag = 0u

                          pair.Filter <-
                              fun who bytes ->
                                  if who = 0 && bytes[12] <> Kind.Init then
                                      tag <- BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 4, 4))

                                  true

                          pair.Establish()

                          let packet =
                              { SourcePort = 5000us
                                DestinationPort = 5000us
                                VerificationTag = tag
                                ZeroChecksum = false
                                MayFragment = false
                                Control =
                                  if kind = "data" then []
                                  elif interleaving then [ ForwardTsn(Tsn 1u, [||]) ]
                                  else [ IForwardTsn(Tsn 1u, [||]) ]
                                Data =
                                  if kind = "data" then
                                      [| { Interleaved = not interleaving
                                           Flags = Flag.Whole
                                           Stream = 1us
                                           Mid = Mid.zero
                                           Fsn = 0u
                                           Tsn = Tsn 1u
                                           Ppid = 53u
                                           Payload = ReadOnlyMemory [| 1uy |] } |]
                                  else
                                      [||] }

                          let bytes = Array.zeroCreate (SctpPacket.size packet)
                          SctpPacket.write (Span bytes) packet |> ignore
                          pair.Inject(1, bytes)

                          match Seq.last pair.B.Events with
                          | SctpOutput.Failed fault ->
                              Expect.equal fault.SctpCauseCode (ValueSome Cause.ProtocolViolation) "cause 13"
                          | other -> failtestf "%A" other) ]

let private data =
    testList
        "Data"
        [ for name, a, b in offers do
              seeds
                  12
                  $"any seed, 30%% loss, I-DATA offered by {name}: every reliable message once, each stream in order"
                  (fun seed ->
                      let pair = pairOf Weather.foul seed a b
                      pair.Establish()

                      for who in 0..1 do
                          for n in 0..149 do
                              pair.Send(
                                  who,
                                  n % 4,
                                  Numbered.make n (4 + (n * 7919 + int seed * 131) % 9000),
                                  ordered = (n % 4 < 3),
                                  priority = (128us <<< (n % 4))
                              )

                      let ok =
                          pair.Until(
                              minutes 20L,
                              (fun () -> pair.A.Messages.Count >= 150 && pair.B.Messages.Count >= 150)
                          )

                      Expect.isTrue ok "all arrived"
                      pair.Run(Duration.seconds 10L)

                      for e in pair.Ends do
                          Expect.equal e.Messages.Count 150 "none twice"

                          for stream in 0..2 do
                              Expect.equal (numbersOf stream e) [ stream..4..149 ] "in order"

                          Expect.equal (List.sort (numbersOf 3 e)) [ 3..4..149 ] "the unordered, once each"
                          Expect.isTrue (e.Events |> Seq.forall _.IsEstablished) "nothing failed")

          testCase "70,000 messages on one stream: the MID goes on past 65,536" (fun () ->
              let pair = pair Weather.fair 11L
              pair.Establish()
              let mutable sent = 0

              while sent < 70_000 do
                  for _ in 1..1000 do
                      pair.Send(0, 3, Numbered.make sent 8)
                      sent <- sent + 1

                  pair.Run(Duration.milliseconds 20L)

              Expect.isTrue (pair.Until(minutes 5L, arrived 70_000 pair.B)) "all arrived"
              Expect.equal (numbers pair.B) [ 0..69_999 ] "in order")

          seeds
              20
              "any seed: what is given up in the midst of others never blocks (I-FORWARD-TSN, RFC 8260 §2.3.1)"
              (fun seed ->
                  let pair = pair { Weather.foul with Loss = 0.2 } seed
                  let seen = watch pair
                  pair.Establish()

                  for n in 0..299 do
                      let reliability =
                          match n % 4 with
                          | 0 -> MaxRetransmits 0
                          | 1 -> MaxRetransmits 1
                          | 2 -> MaxLifetime(Duration.milliseconds 200L)
                          | _ -> Reliable

                      pair.Send(
                          0,
                          n % 8,
                          Numbered.make n (4 + (n * 7919) % 12000),
                          ordered = (n % 16 < 8),
                          reliability = reliability,
                          priority = (128us <<< (n % 3))
                      )

                      if n % 20 = 0 then
                          pair.Run(Duration.milliseconds 30L)

                  let reliable =
                      [ for n in 0..299 do
                            if n % 4 = 3 then
                                n ]

                  Expect.isTrue
                      (pair.Until(
                          minutes 20L,
                          (fun () -> List.sort (numbersOf 3 pair.B @ numbersOf 7 pair.B) = reliable)
                      ))
                      "all reliable messages arrived"

                  pair.Weather <- Weather.fair
                  pair.Run(Duration.seconds 20L)

                  for stream in 0..7 do
                      pair.Send(0, stream, Numbered.make (1000 + stream) 3000)

                  pair.Run(Duration.seconds 5L)

                  for stream in 0..7 do
                      let got = numbersOf stream pair.B
                      Expect.equal (List.last got) (1000 + stream) "the stream goes on"
                      let ordered = got |> List.filter (fun n -> n % 16 < 8 && n < 1000)
                      Expect.equal ordered (List.sort ordered) "ordered ones in order"
                      Expect.equal (List.distinct got) got "once each"

                  Expect.isTrue (seen.Contains Kind.IForwardTsn) "something was given up"
                  Expect.isFalse (seen.Contains Kind.ForwardTsn) "and told by MID"
                  Expect.equal (Sctp.bufferedAmount pair.A.State) 0L "nothing is left in the queue"

                  Expect.equal
                      (Seq.sum pair.A.Left)
                      (List.sum [ for n in 0..299 -> int64 (4 + (n * 7919) % 12000) ] + 24000L)
                      "each octet left the queue once"

                  match pair.B.State.Phase with
                  | Established b -> Expect.equal b.Receiving.Reassembly.Held 0L "no piece is kept"
                  | _ -> failtest "not up")

          seeds 10 "any seed, 20% loss: a reset sets both numbers of a stream to zero (RFC 8260 §2.3.2)" (fun seed ->
              let pair = pair { Weather.foul with Loss = 0.2 } seed
              let mids = Collections.Generic.Dictionary<struct (bool * uint32), uint32>()
              pair.Establish()

              for round in 0..2 do
                  for n in 0..9 do
                      pair.Send(0, 1, Numbered.make (100 * round + n) 1500)
                      pair.Send(0, 1, Numbered.make (100 * round + 20 + n) 1500, ordered = false)
                      pair.Send(0, 2, Numbered.make (100 * round + n) 3000)

                  pair.Step(0, SctpInput.Reset [| 1us |])

                  let reset () =
                      (pair.B.Events |> Seq.filter _.IsIncomingReset |> Seq.length) = round + 1
                      && (pair.A.Events |> Seq.filter _.IsOutgoingReset |> Seq.length) = round + 1
                      && pair.B.Messages.Count = 30 * (round + 1)

                  Expect.isTrue (pair.Until(minutes 10L, reset)) "performed"

                  match Streams.draft pair.A.State.Streams |> fun s -> Slots.tryFind 1 s.Table, s.Hot with
                  | _, ValueSome hot when hot.Stream = 1us ->
                      mids[struct (true, uint32 round)] <- Mid.value hot.NextOrdered
                      mids[struct (false, uint32 round)] <- Mid.value hot.NextUnordered
                  | ValueSome cold, _ ->
                      mids[struct (true, uint32 round)] <- Mid.value cold.NextOrdered
                      mids[struct (false, uint32 round)] <- Mid.value cold.NextUnordered
                  | _ -> failtest "no stream"

              Expect.isTrue (mids.Values |> Seq.forall (fun mid -> mid = 0u)) "zero"

              Expect.equal
                  (numbersOf 1 pair.B |> List.filter (fun n -> n % 100 < 20))
                  [ for r in 0..2 do
                        yield! [ for n in 0..9 -> 100 * r + n ] ]
                  "in order across resets") ]

/// A file of 32 MB on a channel of low priority, at a window of 512 KB a round trip of 20 ms, and in its midst a small message
/// on one of high: how long that takes.
let private smallBehindLarge (change: SctpConfig -> SctpConfig) (length: int) : Duration =
    let pair =
        SctpPair(
            Weather.fair,
            1L,
            fun c ->
                change
                    { c with
                        MaxMessageSize = 256 * 1024
                        ReceiveWindow = 512 * 1024
                        MaxReceiveWindow = 512 * 1024 }
        )

    pair.Establish()

    for n in 1..128 do
        pair.Send(0, 1, Array.zeroCreate (256 * 1024), priority = 256us)

    pair.Run(Duration.milliseconds 300L)
    let asked = pair.Now
    pair.Send(0, 3, Numbered.make 7 length, priority = 1024us)

    let isThere () =
        pair.B.Messages |> Seq.exists (fun (struct (stream, _, _)) -> stream = 3us)

    Expect.isTrue (pair.Until(Duration.seconds 60L, isThere)) "it arrives"
    let took = pair.Now - asked
    Expect.isGreaterThan (Sctp.bufferedAmount pair.A.State) 10_000_000L "much of the file was still to be sent"
    Expect.isTrue (pair.Until(minutes 5L, arrived 129 pair.B)) "the file arrives too"
    took

let private scheduling =
    testList
        "Scheduling"
        [ testCase "a small message on a high-priority channel does not wait behind a large file" (fun () ->
              Expect.isLessThan (smallBehindLarge id 200) (Duration.milliseconds 45L) "within two round trips")

          seeds 4 "two hundred large messages at once do not fill the peer with beginnings: all arrive" (fun seed ->
              let pair =
                  SctpPair(
                      (if seed % 2L = 0L then
                           Weather.fair
                       else
                           { Weather.foul with Loss = 0.05 }),
                      seed,
                      fun c ->
                          { c with
                              MaxMessageSize = 64 * 1024
                              ReceiveWindow = 256 * 1024 }
                  )

              pair.Establish()

              for n in 0..199 do
                  pair.Send(0, n, Numbered.make n (60_000 - n), priority = (128us <<< (n % 4)))

              Expect.isTrue (pair.Until(minutes 10L, arrived 200 pair.B)) "all arrived"
              Expect.equal (List.sort (numbers pair.B)) [ 0..199 ] "whole")

          testCase "the same where messages cannot be interleaved: but for the one under way" (fun () ->
              Expect.isLessThan (smallBehindLarge without 200) (Duration.milliseconds 65L) "within three")

          testCase "a larger one of high priority takes its share of the link: 4 of 5 octets" (fun () ->
              // 256 KB at four fifths of 512 KB a round trip.
              Expect.isLessThan (smallBehindLarge id 262_000) (Duration.milliseconds 65L) "within three round trips") ]

let tests = testList "Sctp interleaving" [ negotiation; data; scheduling ]
