/// What media does when the path to the peer becomes another one, and when the peer bounds what it takes.
module Hybrid.WebRtc.PropertyTests.Media.PathTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.Callers

/// What a link of 2 Mbit/s has for RTP, bits a second.
[<Literal>]
let private Share = 1.92e6

/// A call over a link of 2 Mbit/s, whose two routes take these times beside the link's.
let private routed telling (first: int64) (second: int64) (seed: int64) : Story =
    let struct (camera, world) =
        World.createOf
            (config telling)
            { Weather.fair with
                Delay = 0L<us>
                Mtu = 1_472 }
            seed
        // IPv4 is preferred here.
        |> Routes.detours (Duration.milliseconds first) (Duration.milliseconds second)
        |> World.withLink (Link.create (fun _ -> 2e6) 75_000)
        |> call 'a' seed 100

    { World = world; Cameras = [ camera ] }

let private within (low: float) (high: float) (value: float) (what: string) =
    Expect.isTrue (value >= low && value <= high) $"{what}: {value}, wanted {low} to {high}"

/// `a` goes by its other interface from now on: the one that it used is gone, and ICE restarts.
let private rerouted (world: World) : World =
    world |> Routes.unplugged 'a' |> Routes.restarted id

/// The estimate neither falls nor rises because a route is longer or shorter than the one before.
let private moves (first: int64) (second: int64) () =
    for telling in [ TransportWide; Rfc8888 ] do
        for seed in [ 1L; 2L ] do
            let story = routed telling first second seed |> until 20.0
            let before = Routes.path 'a' story.World

            let story =
                until
                    40.0
                    { story with
                        World = rerouted story.World }

            Expect.notEqual (Routes.path 'a' story.World) before "another path"

            for t in 20.5..0.1..40.0 do
                within
                    (0.7 * Share)
                    (1.2 * Share)
                    (estimateAt t story.Cameras[0])
                    $"estimate at {t} s, {telling}, seed {seed}, from {first} to {second} ms"

            within (0.7 * Share) Share (received 'b' 21.0 40.0 story.World) "what arrives"

let private limit (rate: uint64) (world: World) : World =
    let ssrc =
        world.Ends['a'].Events
        |> List.pick (function
            | TransceiversChanged infos -> Some infos[0].Ssrcs[0]
            | _ -> None)

    World.tell
        'b'
        (SendRtcp
            [| Tmmbr(
                   77u,
                   [| { Ssrc = ssrc
                        MaxBitrate = rate
                        Overhead = 40 } |]
               ) |])
        world

/// What was notified to an end last.
let private notified (who: char) (world: World) : TmmbEntry[] =
    world.Ends[who].Events
    |> List.tryPick (function
        | RtcpReceived packets ->
            packets
            |> Array.tryPick (function
                | Tmmbn(_, entries) -> Some entries
                | _ -> None)
        | _ -> None)
    |> Option.defaultValue [||]

/// The story up to a time in seconds, once something has happened to its world.
let private after (change: World -> World) (time: float) (story: Story) : Story =
    until
        time
        { story with
            World = change story.World }

let private limited telling () =
    let story = routed telling 30L 30L 3L |> until 10.0
    Expect.isGreaterThan (estimateAt 10.0 story.Cameras[0]) 1.4e6 "free"

    let story = after (limit 400_000UL) 20.0 story

    Expect.equal
        (notified 'b' story.World
         |> Array.map (fun e -> struct (e.Ssrc, e.MaxBitrate, e.Overhead)))
        [| struct (77u, 400_000UL, 40) |]
        "answered by whose bound holds"

    for t in 10.5..0.1..20.0 do
        within 3e5 4e5 (estimateAt t story.Cameras[0]) $"estimate at {t} s"

    within 2.5e5 4e5 (received 'b' 11.0 20.0 story.World) "what arrives"

    let story = after (limit 100_000_000UL) 35.0 story

    Expect.isGreaterThan (estimateAt 35.0 story.Cameras[0]) 1.4e6 "free again"

    // Who set a bound and leaves takes it along.
    let story = after (limit 300_000UL) 40.0 story

    Expect.isLessThan (estimateAt 40.0 story.Cameras[0]) 3e5 "bounded"

    let story =
        after (World.tell 'b' (SendRtcp [| Goodbye([| 77u |], "") |])) 55.0 story

    Expect.isGreaterThan (estimateAt 55.0 story.Cameras[0]) 1.4e6 "gone with its owner"

let private bits (world: World) =
    world.Ends['a'].Events
    |> List.choose (function
        | BitrateEstimated bits -> Some bits
        | _ -> None)
    |> List.rev

let private statistics (who: char) (world: World) : Statistics =
    match World.demand who GetStats world with
    | _, Stats statistics -> statistics
    | _ -> failtest "no statistics"

let private sentBy (pair: CandidatePairStats) =
    struct (pair.PacketsSent, pair.BytesSent, pair.LastPacketSentAt)

/// What each pair's end counts, over a change of path.
let private counted () =
    let story = routed TransportWide 20L 30L 6L |> until 3.0

    let selected (s: Statistics) =
        s.Pairs
        |> Array.find (fun pair ->
            match s.Ice.SelectedPair with
            | ValueSome chosen ->
                pair.Local = Candidate.toText chosen.Local
                && pair.Remote = Candidate.toText chosen.Remote
            | ValueNone -> false)

    let check (world: World) =
        let a, b = statistics 'a' world, statistics 'b' world
        let here, there = selected a, selected b
        Expect.isGreaterThan here.PacketsSent 50L "packets"
        Expect.isGreaterThan here.BytesSent (50L * here.PacketsSent) "octets"
        // What is under way is counted here, and not yet there.
        Expect.isTrue
            (here.PacketsSent - there.PacketsReceived <= 20L)
            $"{here.PacketsSent} and {there.PacketsReceived}"

        Expect.isTrue (there.PacketsReceived <= here.PacketsSent) $"{here.PacketsSent} and {there.PacketsReceived}"
        Expect.isTrue (there.BytesReceived <= here.BytesSent) "octets there"
        Expect.isTrue (here.LastPacketSentAt.Value > a.At - Duration.milliseconds 200L) "just now"
        Expect.isTrue (there.LastPacketReceivedAt.Value > b.At - Duration.milliseconds 200L) "there, too"
        Expect.isTrue (here.CurrentRoundTripTime.IsSome) "and a round trip"
        struct (a, here)

    let struct (before, former) = check story.World
    Expect.equal former.PacketsSent before.PacketsSent "all went by the one path"

    for pair in before.Pairs do
        if pair.Local <> former.Local then
            Expect.equal (sentBy pair) (struct (0L, 0L, ValueNone)) "another pair has nothing"

    let story =
        until
            8.0
            { story with
                World = rerouted story.World }

    let struct (after, present) = check story.World
    Expect.isLessThan present.PacketsSent after.PacketsSent "the path before had some"
    Expect.isGreaterThanOrEqual (after.PacketsSent - present.PacketsSent) before.PacketsSent "those that it had"

let tests =
    testList
        "The path of media"
        [ testCase "a candidate pair counts what goes by it, and no other" counted
          testPropertyWithConfig Laws.config "packets that change their path are each counted once, on theirs"
          <| fun (paths: byte list) ->
              let path (n: byte) : Path =
                  { Local = 1<port>
                    Remote =
                      { Address = (Address.parse "192.0.2.1").Value
                        Port = uint16 n % 40us } }

              let struct (passed, ways, _) =
                  (struct (Passed.none, Ways.none, 1), paths)
                  ||> List.fold (fun (struct (passed, ways, n)) p ->
                      let ways =
                          if Ways.isPresent (path p) ways then
                              ways
                          else
                              Ways.turn (path p) passed ways

                      struct (Passed.add (int64 n * 1L<us>) 1 (int64 n) passed, ways, n + 1))

              let counts = Ways.counts passed ways
              let wanted = paths |> List.mapi (fun i p -> path p, i + 1) |> List.groupBy fst

              if wanted.Length <= 32 then
                  Expect.equal counts.Length wanted.Length "paths"

                  for p, those in wanted do
                      let count = (Ways.find p counts).Value
                      Expect.equal count.Packets (int64 those.Length) "packets"
                      Expect.equal count.Bytes (int64 (List.sumBy snd those)) "octets"
                      Expect.equal count.At (int64 (List.max (List.map snd those)) * 1L<us>) "the last one"
              else
                  Expect.isLessThanOrEqual counts.Length 33 "bounded"
          testCase "a route 50 ms longer is not taken for a queue" (moves 20L 70L)
          testCase "a route 50 ms shorter is not taken for room" (moves 70L 20L)
          testCase "TMMBR bounds what is sent until it is lifted, or its owner leaves" (limited TransportWide)
          testCase "so it does with RFC 8888" (limited Rfc8888)
          testCase "without feedback that tells of the path, REMB and TMMBR are what the application is told" (fun () ->
              let plain =
                  { Capabilities.defaults with
                      Video =
                          Capabilities.defaults.Video
                          |> Array.map (fun codec ->
                              { codec with
                                  Feedback = codec.Feedback |> Array.filter ((<>) "transport-cc") }) }

              let struct (_, world) =
                  World.createOf
                      { World.config with
                          Capabilities = plain }
                      Weather.fair
                      4L
                  |> call 'a' 4L 100

              let remb rate =
                  World.tell 'b' (SendRtcp [| ReceiverEstimatedMaxBitrate(9u, rate, [||]) |])
                  >> World.pass (Duration.milliseconds 100L)

              let world =
                  World.pass (Duration.seconds 1L) world |> remb 700_000UL |> remb 500_000UL

              Expect.equal (bits world) [ 700_000L; 500_000L ] "REMB"

              let world = limit 104_000UL world |> World.pass (Duration.milliseconds 100L)
              // Of packets of 1,000 octets, while none was sent, with 40 of headers.
              Expect.equal (List.last (bits world)) 100_000L "TMMBR is less"

              let world = limit 2_000_000UL world |> World.pass (Duration.milliseconds 100L)
              Expect.equal (List.last (bits world)) 500_000L "now REMB is")
          testCase
              "a peer that sets bounds for sources that are not there, by the thousand, is answered nothing"
              (fun () ->
                  let story = routed TransportWide 30L 30L 5L |> until 2.0
                  let before = estimateAt 2.0 story.Cameras[0]

                  let entries: TmmbEntry[] =
                      Array.init 140 (fun i ->
                          { Ssrc = uint32 (1_000 + i)
                            MaxBitrate = 1UL
                            Overhead = 0 })

                  let world =
                      (story.World, [ 1..100 ])
                      ||> List.fold (fun world i -> World.tell 'b' (SendRtcp [| Tmmbr(uint32 i, entries) |]) world)

                  let story = until 4.0 { story with World = world }
                  Expect.isGreaterThanOrEqual (estimateAt 4.0 story.Cameras[0]) before "not bounded"
                  Expect.isEmpty (notified 'b' story.World) "nothing") ]
