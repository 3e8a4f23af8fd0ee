module Hybrid.WebRtc.PropertyTests.Sctp.SctpLawsTests

open System
open System.Buffers.Binary
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private seal (bytes: byte[]) =
    BinaryPrimitives.WriteUInt32LittleEndian(Span(bytes, 8, 4), SctpPacket.checksum (ReadOnlySpan bytes))

/// Random use of both ends: sends, resets, consumption, time; `meddle` may change each packet in place.
let private story (seed: int64) (weather: Weather) (meddle: (int -> int) -> byte[] -> unit) : SctpPair =
    let pair =
        SctpPair(
            weather,
            seed,
            fun c ->
                { c with
                    MaxMessageSize = 50_000
                    ReceiveWindow = 150_000 }
        )

    let mutable entropy = Entropy.split "script" (Entropy.ofNumber seed)

    let draw bound =
        let struct (n, e) = Entropy.below bound entropy
        entropy <- e
        n

    pair.Filter <-
        fun _ bytes ->
            meddle draw bytes
            true

    pair.Connect()

    for _ in 1..60 do
        let who = draw 2

        match draw 12 with
        | 0 -> pair.Step(who, SctpInput.Reset [| uint16 (draw 4) |])
        | 1 -> pair.Step(who, SctpInput.Consumed(draw 5000))
        | 2 -> pair.Step(who, SctpInput.Tick)
        | 6 when draw 4 = 0 -> pair.Step(who, SctpInput.PathChanged 0)
        | 3 -> pair.Inject(who, Array.init (draw 60) (fun _ -> byte (draw 256)))
        | 4 when draw 10 = 0 -> pair.Step(who, SctpInput.Shutdown)
        | 5 when draw 20 = 0 -> pair.Step(who, SctpInput.Abort "enough")
        | _ ->
            let reliability =
                match draw 4 with
                | 0 -> MaxRetransmits(draw 3)
                | 1 -> MaxLifetime(Duration.milliseconds (int64 (draw 300)))
                | _ -> Reliable

            pair.Send(who, draw 4, Array.zeroCreate (1 + draw 9000), ordered = (draw 2 = 0), reliability = reliability)

        pair.Run(Duration.milliseconds (int64 (draw 100)))

    pair.Run(Duration.seconds 20L)
    pair

/// All that an end told and sent, as text.
let private told (pair: SctpPair) =
    [ for e in pair.Ends do
          string e.PacketsSent
          string e.Messages.Count
          string (Array.sum e.Left)
          String.concat "," (Array.map string e.Drops)

          for event in e.Events do
              event.ToString()

          string (Sctp.state e.State) ]

/// A peer without scruples: packets of its own making, with the right tag and checksum.
type private Attacker(interleaving: bool) =
    let pair =
        SctpPair(
            Weather.fair,
            1L,
            fun c ->
                { c with
                    MaxMessageSize = 64 * 1024
                    ReceiveWindow = 256 * 1024
                    Interleaving = interleaving }
        )

    let mutable tag = 0u
    let mutable tsn = 0u

    do
        pair.Filter <-
            fun who bytes ->
                if who = 0 then
                    if bytes[12] = 1uy then
                        tsn <- BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 28, 4))
                    else
                        tag <- BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 4, 4))

                true

        pair.Establish()
        pair.B.Consumes <- false

    member _.SctpPair = pair
    member _.FirstTsn = tsn

    member _.Send(control: Chunk list, data: Data list) =
        let packet =
            { SourcePort = 5000us
              DestinationPort = 5000us
              VerificationTag = tag
              Control = control
              Data = Array.ofList data
              ZeroChecksum = false
              MayFragment = false }

        let bytes = Array.zeroCreate (SctpPacket.size packet)
        SctpPacket.write (Span bytes) packet |> ignore

        let struct (state, _) =
            Sctp.step pair.Now (SctpInput.Received(ReadOnlyMemory bytes)) pair.B.State

        pair.B.State <- state

    /// `count` packets of `make`; answers the octets allocated by each of the last tenth.
    member this.Storm(count: int, make: int -> Chunk list * Data list) : float =
        let last = count / 10
        let mutable before = 0L

        for n in 0 .. count - 1 do
            if n = count - last then
                before <- GC.GetAllocatedBytesForCurrentThread()

            this.Send(make n)

        float (GC.GetAllocatedBytesForCurrentThread() - before) / float last

let private chunk (tsn: uint32) (flags: byte) (stream: int) (ssn: int) (size: int) : Data =
    { Interleaved = false
      Flags = flags
      Stream = uint16 stream
      Mid = Mid(uint32 ssn)
      Fsn = 0u
      Tsn = Tsn tsn
      Ppid = 53u
      Payload = ReadOnlyMemory(Array.zeroCreate size) }

/// The same in I-DATA.
let private piece (tsn: uint32) (flags: byte) (stream: int) (mid: uint32) (fsn: uint32) (size: int) : Data =
    { chunk tsn flags stream 0 size with
        Interleaved = true
        Mid = Mid mid
        Fsn = fsn }

/// Octets that stay alive because of a storm, and what each of its last packets allocated.
let private storm (interleaving: bool) (count: int) (make: uint32 -> int -> Chunk list * Data list) =
    let attacker = Attacker interleaving
    GC.Collect()
    let before = GC.GetTotalMemory true
    let perPacket = attacker.Storm(count, make attacker.FirstTsn)
    let after = GC.GetTotalMemory true
    // Alive until measured.
    GC.KeepAlive attacker
    struct (after - before, perPacket)

let private attacks: (string * (uint32 -> int -> Chunk list * Data list)) list =
    [ "every second TSN, fragments of nothing", (fun tsn n -> [], [ chunk (tsn + 2u * uint32 n + 1u) 0uy 1 0 1 ])
      "beginnings without an end", (fun tsn n -> [], [ chunk (tsn + uint32 n) Flag.Begin 1 n 1 ])
      "fragments from the end backwards", (fun tsn n -> [], [ chunk (tsn + 60000u - uint32 (n % 60000)) 0uy 1 0 1 ])
      "one endless message", (fun tsn n -> [], [ chunk (tsn + uint32 n) (if n = 0 then Flag.Begin else 0uy) 1 0 1 ])
      "messages whose turn never comes", (fun tsn n -> [], [ chunk (tsn + uint32 n) Flag.Whole 1 (n + 1) 1 ])
      "one such message on each stream", (fun tsn n -> [], [ chunk (tsn + uint32 n) Flag.Whole (n % 65535) 5 1 ])
      "messages that nobody consumes", (fun tsn n -> [], [ chunk (tsn + uint32 n) Flag.Whole 1 n 1 ])
      "the same chunk over and over", (fun tsn _ -> [], [ for _ in 1..40 -> chunk tsn Flag.Whole 1 0 1 ])
      "streams skipped at random",
      (fun tsn n ->
          [ ForwardTsn(
                Tsn(tsn + uint32 n),
                [| for i in 0..200 ->
                       { Stream = uint16 (n * 31 + i * 7)
                         Unordered = false
                         Mid = Mid(uint32 n) } |]
            ) ],
          [])
      "requests to reset",
      (fun tsn n ->
          [ Reconfig
                [ Reconfiguration.toTlv (
                      OutgoingSsnReset(tsn + uint32 n, 0u, Tsn(tsn + 1000u), [| for i in 0..400 -> uint16 i |])
                  ) ] ],
          [])
      "chunks nobody knows",
      (fun _ n -> [ Unknown(0xffuy, ReadOnlyMemory [| 0xffuy; 0uy; 0uy; 8uy; byte n; 0uy; 0uy; 0uy |]) ], []) ]

/// A message as long as may be, in pieces: the next is taken to be as long.
let private longMessage (tsn: uint32) : Data list =
    [ for i in 0..63 ->
          let flags =
              (if i = 0 then Flag.Begin else 0uy) ||| (if i = 63 then Flag.End else 0uy)

          piece (tsn + uint32 i) flags 0 0u (uint32 i) 1000 ]

let private interleavedAttacks: (string * (uint32 -> int -> Chunk list * Data list)) list =
    [ "every second fragment of one message",
      (fun tsn n -> [], [ piece (tsn + uint32 n) 0uy 1 0u (2u * uint32 n + 1u) 1 ])
      "the middles of messages without number, on one stream",
      (fun tsn n -> [], [ piece (tsn + uint32 n) 0uy 1 (uint32 n) 5u 1 ])
      "the beginnings of messages on every stream, after a long one",
      (fun tsn n ->
          if n = 0 then
              [], longMessage tsn
          else
              [], [ piece (tsn + 63u + uint32 n) Flag.Begin (n % 65535) 0u 0u 1 ])
      "two beginnings a stream, ordered and unordered",
      (fun tsn n ->
          let unordered = if n % 2 = 0 then Flag.Unordered else 0uy
          [], [ piece (tsn + uint32 n) (Flag.Begin ||| unordered) (n / 2) 0u 0u 1 ])
      "fragments from the end backwards", (fun tsn n -> [], [ piece (tsn + uint32 n) 0uy 1 0u (60000u - uint32 n) 1 ])
      "fragments of two messages by turns",
      (fun tsn n -> [], [ piece (tsn + uint32 n) 0uy (n % 2) 0u (uint32 n / 2u) 1 ])
      "one fragment over and over, each time another TSN", (fun tsn n -> [], [ piece (tsn + uint32 n) 0uy 1 0u 7u 1 ])
      "messages whose turn never comes", (fun tsn n -> [], [ piece (tsn + uint32 n) Flag.Whole 1 (uint32 n + 1u) 0u 1 ])
      "messages in the distant future, on every stream",
      (fun tsn n -> [], [ piece (tsn + uint32 n) Flag.Whole (n % 65535) (0x7fff0000u + uint32 n) 0u 1 ])
      "streams skipped at random",
      (fun tsn n ->
          [ IForwardTsn(
                Tsn(tsn + uint32 n),
                [| for i in 0..140 ->
                       { Stream = uint16 (n * 31 + i * 7)
                         Unordered = i % 2 = 0
                         Mid = Mid(uint32 (n * 65537)) } |]
            ) ],
          []) ]

let tests =
    testList
        "Sctp laws"
        [ testCase "the same script tells the same story" (fun () ->
              for seed in 1L .. 5L do
                  let tell () =
                      told (story seed Weather.foul (fun _ _ -> ()))

                  Expect.equal (tell ()) (tell ()) "twice")

          testCase
              "any script over packets changed under way, checksums made good again: nothing throws, nothing spins"
              (fun () ->
                  for seed in 1L .. int64 (Laws.config.maxTest / 8) do
                      story seed { Weather.foul with Loss = 0.1 } (fun draw bytes ->
                          if draw 8 = 0 then
                              for _ in 0 .. draw 3 do
                                  bytes[12 + draw (bytes.Length - 12)] <- byte (draw 256)

                              seal bytes)
                      |> ignore)

          testCase "any bytes as a packet are ignored" (fun () ->
              let pair = SctpPair(Weather.fair, 1L, id)
              pair.Establish()
              let before = Sctp.deadline pair.A.State
              let mutable entropy = Entropy.ofNumber 5L

              for length in 0..300 do
                  let struct (bytes, e) = Entropy.bytes length entropy
                  entropy <- e

                  let struct (after, outputs) =
                      Sctp.step pair.Now (SctpInput.Received(ReadOnlyMemory bytes)) pair.A.State

                  Expect.isTrue (outputs |> List.forall _.IsIgnored && outputs.Length = 1) "ignored"
                  Expect.equal (Sctp.deadline after) before "and nothing else") ]

/// What stays alive is measured over the whole process, so nothing else may run beside.
let attackTests =
    testSequenced
    <| testList
        "Sctp attacks"
        [ for name, interleaving, make in
              [ for name, make in attacks -> name, false, make
                for name, make in interleavedAttacks -> "I-DATA, " + name, true, make ] do
              testCase $"memory and work a packet stay bounded under attack: {name}" (fun () ->
                  let struct (alive, perPacket) = storm interleaving 20_000 make
                  // A window of 256 KiB, twice of it for what fills gaps, and a state a stream.
                  Expect.isLessThan alive 6_000_000L "octets kept"
                  // Up to 285 streams are named in one packet, and each has a state that is four small arrays deep.
                  Expect.isLessThan perPacket 300_000.0 "octets allocated by a packet")

          testCase "a window of beginnings after a long message sets little memory aside" (fun () ->
              let attacker = Attacker true
              attacker.Send([], longMessage attacker.FirstTsn)
              let before = GC.GetAllocatedBytesForCurrentThread()

              for n in 0..999 do
                  attacker.Send(
                      [],
                      [ piece (attacker.FirstTsn + 64u + uint32 n) Flag.Begin n (if n = 0 then 1u else 0u) 0u 1 ]
                  )

              Expect.isLessThan
                  (GC.GetAllocatedBytesForCurrentThread() - before)
                  5_000_000L
                  "eight rooms, not a thousand") ]
