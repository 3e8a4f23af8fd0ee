/// Who connects with whom, and how: every pair of NATs, with a TURN server and without, and the networks beside. What comes out is
/// the table of docs/Connectivity.md.
module Hybrid.WebRtc.PropertyTests.ConnectivityTests

open System
open System.IO
open System.Text
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.RelayWorld

/// How two peers come together.
type private Outcome =
    | Direct
    | Relayed
    | Never

/// Where a peer is: its addresses, and what stands between them and the Internet.
type private Place =
    { Inside: Address list
      Build: Internet -> Internet }

let private open' (addresses: string list) =
    { Inside = List.map address addresses
      Build = id }

let private behind (number: int) (kind: NatKind) (outside: string) (inside: string) =
    { Inside = [ address inside ]
      Build = Internet.withNat number (Nat.create kind false (address outside)) [ address inside ] }

let private withoutUdp (place: Place) =
    { place with
        Build =
            fun net ->
                (place.Build net, place.Inside)
                ||> List.fold (fun net a -> Internet.withoutUdp a net) }

let private seconds n = Duration.seconds n

let private turnV6: Endpoint =
    { Address = address "2001:db8:5::5"
      Port = 3478us }

/// What each peer is configured with: a STUN server, or a TURN server that is asked over UDP and TCP.
let private configured (turn: bool) =
    if turn then
        configOf [| turnUrl; turnUrl + "?transport=tcp" |] "secret" IceTransportPolicy.All
    else
        poor

let private connect
    (a: Place)
    (b: Place)
    (server: SmallServer)
    (turn: bool)
    (weather: Weather)
    (seed: int64)
    : Outcome =
    let config = configured turn
    let world = World.behindNats FullCone FullCone weather seed

    let world =
        { equipped config config seed world with
            Net =
                Internet.create weather (Entropy.ofNumber seed)
                |> a.Build
                |> b.Build
                |> Internet.withTurn server
            Server = ValueSome server.At }
        |> World.change 'a' (fun e -> { e with Interfaces = a.Inside })
        |> World.change 'b' (fun e -> { e with Interfaces = b.Inside })

    let world, _ = World.create' 'a' (World.channel "x") world
    let world = World.negotiate 'a' world
    let start = world.Now
    let world, connected = World.run (seconds 30L) isConnected world

    if not connected then
        Never
    else
        let took = world.Now - start
        // A better pair than the first may still be found.
        let world = World.pass (seconds 3L) world

        let world, opened =
            World.run (seconds 20L) (fun w -> World.openChannels 'a' w <> [] && World.openChannels 'b' w <> []) world

        Expect.isTrue opened "data flows"

        if isRelayed 'a' world || isRelayed 'b' world then
            Expect.isLessThanOrEqual took (seconds 8L) "relayed within 8 s"
            Relayed
        else
            Expect.isLessThanOrEqual took (seconds 5L) "direct within 5 s"
            Direct

let private kinds =
    [ "none", ValueNone
      "full cone", ValueSome FullCone
      "restricted", ValueSome RestrictedCone
      "port-restricted", ValueSome PortRestrictedCone
      "symmetric", ValueSome Symmetric ]

let private placeOfA kind =
    match kind with
    | ValueNone -> open' [ "192.0.2.1" ]
    | ValueSome kind -> behind 1 kind "192.0.2.1" "10.0.0.2"

let private placeOfB kind =
    match kind with
    | ValueNone -> open' [ "198.51.100.1" ]
    | ValueSome kind -> behind 2 kind "198.51.100.1" "192.168.1.2"

/// Which NATs hole punching gets through, RFC 5128 §3.3.
let private theory a b turn =
    match a, b with
    | ValueSome Symmetric, ValueSome(Symmetric | PortRestrictedCone)
    | ValueSome PortRestrictedCone, ValueSome Symmetric -> if turn then Relayed else Never
    | _ -> Direct

/// A home's NAT behind its provider's.
let private doubled
    (inner: NatKind)
    (outer: NatKind)
    hairpin
    (homes: (int * string * string) list)
    (shared: int * string)
    =
    [ for number, outside, inside in homes ->
          { Inside = [ address inside ]
            Build =
              Internet.withNat number (Nat.create inner false (address outside)) [ address inside ]
              >> Internet.withNat
                  (fst shared)
                  (Nat.create outer hairpin (address (snd shared)))
                  [ for _, outside, _ in homes -> address outside ] } ]

let private apart inner outer =
    let a = doubled inner outer false [ 1, "100.64.0.2", "10.0.0.2" ] (3, "192.0.2.1")
    a.Head

let private neighbours hairpin =
    match
        doubled
            PortRestrictedCone
            PortRestrictedCone
            hairpin
            [ 1, "100.64.0.2", "10.0.0.2"; 2, "100.64.0.3", "192.168.1.2" ]
            (3, "192.0.2.1")
    with
    | [ a; b ] -> a, b
    | _ -> failwith "two homes"

let private v4Server = server

let private v6Server =
    { SmallServer.create turnV6 [ relayFrom; address "2001:db8:5::6" ] with
        NextPort = 50_000 }

/// The networks beside: name, the two places, the server, and what theory says without and with TURN.
let private others =
    let full = behind 2 FullCone "198.51.100.1" "192.168.1.2"
    let home = placeOfA (ValueSome PortRestrictedCone)
    let hairpinned = neighbours true
    let unpinned = neighbours false

    [ "UDP blocked at one end", withoutUdp home, full, v4Server, Never, Relayed
      "UDP blocked at both ends", withoutUdp home, withoutUdp full, v4Server, Never, Relayed
      "IPv6 only, both", open' [ "2001:db8::1" ], open' [ "2001:db8:1::1" ], v6Server, Direct, Direct
      "IPv6 only with IPv4 only", open' [ "2001:db8::1" ], open' [ "198.51.100.1" ], v6Server, Never, Relayed
      "behind a home's NAT and a provider's, port-restricted both; the other behind a full cone",
      apart PortRestrictedCone PortRestrictedCone,
      full,
      v4Server,
      Direct,
      Direct
      "behind a home's NAT, and a provider's that is symmetric; the other behind a symmetric one",
      apart PortRestrictedCone Symmetric,
      placeOfB (ValueSome Symmetric),
      v4Server,
      Never,
      Relayed
      "two homes behind one provider's NAT that hairpins", fst hairpinned, snd hairpinned, v4Server, Direct, Direct
      "two homes behind one provider's NAT that does not", fst unpinned, snd unpinned, v4Server, Never, Relayed
      "both behind the same NAT",
      behind 1 Symmetric "192.0.2.1" "10.0.0.2",
      { Inside = [ address "10.0.0.3" ]
        Build =
          Internet.withNat
              1
              (Nat.create Symmetric false (address "192.0.2.1"))
              [ address "10.0.0.2"; address "10.0.0.3" ] },
      v4Server,
      Direct,
      Direct ]

let private word outcome =
    match outcome with
    | Direct -> "direct"
    | Relayed -> "relay"
    | Never -> "–"

/// The table as docs/Connectivity.md has it.
let private table () : string =
    let text = StringBuilder()
    let line (s: string) = text.Append(s).Append('\n') |> ignore

    let both (without, with') =
        if without = with' then
            word without
        else
            word without + ", with TURN " + word with'

    line ("| | " + String.Join(" | ", List.map fst kinds) + " |")
    line ("|---|" + String.replicate kinds.Length "---|")

    for name, a in kinds do
        let cells =
            [ for _, b in kinds ->
                  both (
                      connect (placeOfA a) (placeOfB b) v4Server false Weather.fair 1L,
                      connect (placeOfA a) (placeOfB b) v4Server true Weather.fair 1L
                  ) ]

        line ("| **" + name + "** | " + String.Join(" | ", cells) + " |")

    line ""
    line "| network | without TURN | with TURN |"
    line "|---|---|---|"

    for name, a, b, server, _, _ in others do
        line (
            "| "
            + name
            + " | "
            + word (connect a b server false Weather.fair 1L)
            + " | "
            + word (connect a b server true Weather.fair 1L)
            + " |"
        )

    text.ToString()

let private first =
    "<!-- Made by the test \"Connectivity\"; HYBRID_UPDATE_SNAPSHOTS=1 makes it anew. -->\n"

let private last = "<!-- To here. -->"
let private lossy = { Weather.fair with Loss = 0.1 }
let private lossySeeds = [ 2L .. 9L ]

let tests =
    testList
        "Connectivity"
        [ for nameA, a in kinds do
              for nameB, b in kinds do
                  for turn in [ false; true ] do
                      testCase $"""{nameA} with {nameB}, {if turn then "with" else "without"} TURN""" (fun () ->
                          Expect.equal
                              (connect (placeOfA a) (placeOfB b) v4Server turn Weather.fair 1L)
                              (theory a b turn)
                              "in fair weather"

                          for seed in lossySeeds do
                              Expect.equal
                                  (connect (placeOfA a) (placeOfB b) v4Server turn lossy seed)
                                  (theory a b turn)
                                  $"at 10 %% loss, seed {seed}")

          testCase "a direct way that opens while the relay is being nominated is taken" (fun () ->
              for other, seed in [ FullCone, 15L; RestrictedCone, 15L; RestrictedCone, 42L ] do
                  Expect.equal
                      (connect (placeOfA (ValueSome Symmetric)) (placeOfB (ValueSome other)) v4Server true lossy seed)
                      Direct
                      $"{other}, seed {seed}")

          for name, a, b, server, without, with' in others do
              testCase name (fun () ->
                  Expect.equal (connect a b server false Weather.fair 1L) without "without TURN"
                  Expect.equal (connect a b server true Weather.fair 1L) with' "with TURN"

                  for seed in lossySeeds do
                      Expect.equal
                          (connect a b server false lossy seed)
                          without
                          $"without TURN at 10 %% loss, seed {seed}"

                      Expect.equal (connect a b server true lossy seed) with' $"with TURN at 10 %% loss, seed {seed}")

          testCase "the table of docs/Connectivity.md is what comes out" (fun () ->
              let file = Path.Combine(Outside.root, "docs", "Connectivity.md")
              let kept = File.ReadAllText file
              let from = kept.IndexOf(first, StringComparison.Ordinal)
              let until = kept.IndexOf(last, StringComparison.Ordinal)
              Expect.isTrue (from >= 0 && until > from) "the marks are there"
              let present = kept[.. from - 1] + first + table () + kept[until..]

              if Outside.variable "HYBRID_UPDATE_SNAPSHOTS" = ValueSome "1" then
                  File.WriteAllText(file, present)
              else
                  Expect.equal kept present "as it comes out") ]
