module Hybrid.WebRtc.PropertyTests.Sctp.ZeroChecksumTests

open System
open System.Buffers.Binary
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private field (bytes: byte[]) =
    BinaryPrimitives.ReadUInt32LittleEndian(ReadOnlySpan(bytes, 8, 4))

let private without (bytes: byte[]) =
    let copy = Array.copy bytes
    Array.fill copy 8 4 0uy
    copy

let private with' on (c: SctpConfig) = { c with ZeroChecksum = on }

/// Where a packet offers it; -1 where it does not.
let private offer (bytes: byte[]) =
    bytes.AsSpan().IndexOf(ReadOnlySpan [| 0x80uy; 1uy; 0uy; 8uy; 0uy; 0uy; 0uy; 1uy |])

/// Counts packets of each end: with their checksum, and with none.
type private Counted(weather: Weather, a: bool, b: bool, seed: int64) as this =
    let pair = SctpPair(weather, seed, with' a, with' b)
    let counts = Array2D.zeroCreate 2 2

    do
        pair.Filter <-
            fun who bytes ->
                this.Check(who, bytes)
                true

    member val Last: byte[][] = [| [||]; [||] |] with get
    member _.Pair = pair
    member _.Checked who = counts[who, 0]
    member _.Unchecked who = counts[who, 1]

    member private this.Check(who: int, bytes: byte[]) =
        let none = field bytes = 0u
        let kind = bytes[SctpPacket.HeaderSize]
        counts[who, (if none then 1 else 0)] <- counts[who, (if none then 1 else 0)] + 1

        if none && (kind = Kind.Init || kind = Kind.CookieEcho) then
            failtestf "a chunk of type %d without a checksum" kind

        if not none && not (SctpPacket.isIntact (ReadOnlySpan bytes)) then
            failtest "a wrong checksum"

        if
            bytes[SctpPacket.HeaderSize] = Kind.Data
            || bytes[SctpPacket.HeaderSize] = Kind.IData
        then
            this.Last[who] <- bytes

    member this.Talk() =
        pair.Establish()

        for i in 0..39 do
            pair.Send(i % 2, 1, Numbered.make i 3_000)

        Expect.isTrue
            (pair.Until(minutes 5L, (fun () -> arrived 20 pair.A () && arrived 20 pair.B ())))
            "all arrives, both ways"

let private settings =
    testList
        "Settings"
        [ testCase "both offer it: nothing has a checksum but INIT, INIT ACK and COOKIE ECHO" (fun () ->
              let story = Counted(Weather.fair, true, true, 1L)
              story.Talk()

              for who in 0..1 do
                  Expect.isGreaterThan (story.Unchecked who) 20 "data and acknowledgements"
                  Expect.isLessThan (story.Checked who) 4 "what comes before")

          seeds
              20
              "both offer it, and anything may be lost: all arrives, and what has a checksum has a right one"
              (fun seed -> Counted(Weather.foul, true, true, seed).Talk())

          seeds 20 "one does not: neither leaves it out" (fun seed ->
              for a, b in [ true, false; false, true; false, false ] do
                  let story = Counted(Weather.foul, a, b, seed)
                  story.Talk()

                  for who in 0..1 do
                      Expect.equal (story.Unchecked who) 0 "all are checked")

          testCase "who is only answered agrees too: the cookie remembers" (fun () ->
              let pair = pair Weather.fair 2L
              let mutable kinds = []

              pair.Filter <-
                  fun who bytes ->
                      kinds <- (who, int bytes[SctpPacket.HeaderSize], field bytes = 0u) :: kinds
                      true

              pair.Step(0, SctpInput.Connect)
              Expect.isTrue (pair.Until(Duration.seconds 1L, (fun () -> pair.IsUp))) "up"

              Expect.equal
                  (List.rev kinds)
                  [ 0, int Kind.Init, false
                    1, int Kind.InitAck, false
                    0, int Kind.CookieEcho, false
                    1, int Kind.CookieAck, true ]
                  "RFC 9653 §5.2")

          testCase "another method of detecting errors is not ours" (fun () ->
              // The EDMID of the INIT and of the INIT ACK becomes 2.
              let pair = pair Weather.fair 2L

              pair.Filter <-
                  fun _ bytes ->
                      match bytes[SctpPacket.HeaderSize] with
                      | Kind.Init
                      | Kind.InitAck ->
                          let at = offer bytes

                          if at >= 0 then
                              bytes[at + 7] <- 2uy

                          BinaryPrimitives.WriteUInt32LittleEndian(
                              Span(bytes, 8, 4),
                              SctpPacket.checksum (ReadOnlySpan bytes)
                          )
                      | _ -> Expect.notEqual (field bytes) 0u "checked"

                      true

              pair.Establish()
              pair.Send(0, 1, Numbered.make 1 5_000)
              Expect.isTrue (pair.Until(Duration.seconds 5L, arrived 1 pair.B)) "it arrives")

          testCase
              "a peer that drops what offers it is connected all the same: at once where it connects too"
              (fun () ->
                  for both, limit in [ true, 100L; false, 700L ] do
                      let pair = SctpPair(Weather.fair, 2L, with' true, with' false)
                      pair.Filter <- fun _ bytes -> offer bytes < 0
                      pair.Step(0, SctpInput.Connect)

                      if both then
                          pair.Step(1, SctpInput.Connect)

                      Expect.isTrue (pair.Until(Duration.milliseconds limit, (fun () -> pair.IsUp))) "up") ]

let private packets =
    testList
        "Packets"
        [ testCase "none where we did not say that we take it: dropped" (fun () ->
              let story = Counted(Weather.foul, false, false, 1L)
              story.Talk()
              let before = story.Pair.B.Drops[int Drop.Unauthentic]
              story.Pair.Inject(1, without story.Last[0])
              Expect.equal story.Pair.B.Drops[int Drop.Unauthentic] (before + 1) "RFC 9653 §5.3")

          testCase "none where we only answered, and someone who does not know it: dropped" (fun () ->
              let pair = SctpPair(Weather.fair, 2L, with' false, with' true)
              let mutable last = [||]

              pair.Filter <-
                  fun who bytes ->
                      Expect.isLessThan (offer bytes) 0 "no offer"

                      if who = 0 then
                          last <- bytes

                      true

              pair.Step(0, SctpInput.Connect)
              Expect.isTrue (pair.Until(Duration.seconds 1L, (fun () -> pair.IsUp))) "up"
              pair.Send(0, 1, Numbered.make 1 100)
              Expect.isTrue (pair.Until(Duration.seconds 1L, arrived 1 pair.B)) "it arrives"
              pair.Inject(1, without last)
              Expect.equal pair.B.Drops[int Drop.Unauthentic] 1 "RFC 9653 §5.3")

          testCase "none where we did: what DTLS has passed is taken, checked or not" (fun () ->
              let story = Counted(Weather.foul, true, false, 1L)
              story.Talk()
              let replayed () = story.Pair.A.Drops[int Drop.Replayed]
              let before = replayed ()
              story.Pair.Inject(0, story.Last[1])
              let chunks = replayed () - before
              Expect.isGreaterThan chunks 0 "it was read: duplicates"
              story.Pair.Inject(0, without story.Last[1])
              Expect.equal (replayed ()) (before + 2 * chunks) "and so was the other")

          testCase "a wrong checksum is no checksum: dropped, whatever was agreed" (fun () ->
              let story = Counted(Weather.foul, true, true, 1L)
              story.Talk()
              let bytes = Array.copy story.Last[0]

              for at in [ 8; 9; 10; 11 ] do
                  bytes[at] <- bytes[at] ^^^ 0x40uy
                  let before = story.Pair.B.Drops[int Drop.Unauthentic]
                  story.Pair.Inject(1, bytes)
                  Expect.equal story.Pair.B.Drops[int Drop.Unauthentic] (before + 1) "RFC 9260 §6.8")

          testCase "INIT and COOKIE ECHO, and all before we said anything: dropped without one" (fun () ->
              let pair = pair Weather.fair 1L
              let kept = ResizeArray<byte[]>()

              pair.Filter <-
                  fun who bytes ->
                      if who = 0 then
                          kept.Add bytes

                      true

              pair.Step(0, SctpInput.Connect)
              let init = kept[0]
              pair.Inject(1, without init)
              Expect.equal pair.B.Drops[int Drop.Unauthentic] 1 "we have said nothing"
              Expect.isTrue (pair.Until(Duration.seconds 1L, (fun () -> pair.IsUp))) "up"
              pair.Inject(1, without init)
              pair.Inject(1, without kept[1])
              Expect.equal pair.B.Drops[int Drop.Unauthentic] 3 "they always have one") ]

let tests = testList "Sctp zero checksum" [ settings; packets ]
