/// What peers are told of our addresses: names in their place, and addresses of a NAT before them.
module Hybrid.WebRtc.PropertyTests.PublicationTests

open System
open Expecto
open Hybrid.WebRtc.Core

let private publishing (publication: Publication) : PeerConfig =
    { World.config with
        Options =
            { World.config.Options with
                Publication = publication } }

let private hidden: Publication =
    { HidesAddresses = true
      Externals = [||] }

let private address (text: string) : Address = (Address.parse text).Value

/// `a` offers a channel, and all is gathered and connected.
let private connected (world: World) : World =
    let world, _ = World.create' 'a' (World.channel "chat") world
    let world = World.negotiate 'a' world

    let world, ready =
        World.run (Duration.seconds 20L) (fun w -> World.openChannels 'b' w <> []) world

    Expect.isTrue ready "the channel is open"
    world

/// The lines of candidates that an end has raised.
let private candidates (who: char) (world: World) : string list =
    [ for event in world.Ends[who].Events do
          match event with
          | IceCandidate(ValueSome candidate) when candidate.Candidate.Candidate <> "" -> candidate.Candidate.Candidate
          | _ -> () ]

/// All that an end has said of itself: candidates, descriptions, statistics.
let private said (who: char) (world: World) : string list =
    [ yield! candidates who world
      for event in world.Ends[who].Events do
          match event with
          | DescriptionsChanged d ->
              for description in [ d.CurrentLocal; d.PendingLocal ] do
                  match description with
                  | ValueSome description -> description.Sdp
                  | ValueNone -> ()
          | IceTransportChanged info -> yield! info.LocalCandidates |> Array.map Candidate.toText
          | _ -> ()
      match World.demand who GetStats world with
      | _, Stats statistics -> yield! statistics.Pairs |> Array.map _.Local
      | _ -> failtest "no statistics" ]

let tests =
    testList
        "What peers are told of addresses"
        [ testCase "behind names two peers connect, and no address is told anywhere" (fun () ->
              for seed in 1L .. 3L do
                  let world = World.createOf (publishing hidden) Weather.fair seed |> connected

                  for who in [ 'a'; 'b' ] do
                      Expect.isNonEmpty (candidates who world) "candidates"

                      for line in candidates who world do
                          Expect.stringContains line ".local " line

                      for text in said who world do
                          for secret in [ "192.0.2.1"; "2001:db8::1"; "198.51.100.1"; "2001:db8:1::1" ] do
                              Expect.isFalse (text.Contains secret) $"{secret} in {text}")

          testCase "a name stands for one address, through restarts too" (fun () ->
              let world = World.createOf (publishing hidden) Weather.fair 1L |> connected
              let names = world.Names.Count
              let before = candidates 'a' world
              Expect.equal names 4 "two addresses each"
              let world, _ = World.demand 'a' (fun command -> RestartIce command) world
              let world = World.negotiate 'a' world |> World.pass (Duration.seconds 5L)
              Expect.isGreaterThan (candidates 'a' world).Length before.Length "gathered anew"
              Expect.equal world.Names.Count names "no new names")

          testCase "related addresses are hidden, too" (fun () ->
              let candidate =
                  Candidate.parse "candidate:1 1 udp 1677729535 203.0.113.9 40000 typ srflx raddr 10.0.0.2 rport 50000"

              let shown = Publication.shown hidden [||] candidate.Value |> Candidate.toText
              Expect.stringContains shown "raddr 0.0.0.0 rport 9" "nowhere"
              Expect.stringContains shown "203.0.113.9 40000" "what the server saw stays")

          testCase "a NAT's address stands in place of the local one of its family" (fun () ->
              let publication =
                  { HidesAddresses = false
                    Externals =
                      [| { Local = ValueSome(address "192.0.2.1")
                           External = address "203.0.113.77"
                           Replaces = true } |] }

              let world = World.createOf (publishing publication) Weather.fair 1L |> connected
              let ours = candidates 'a' world
              Expect.isTrue (ours |> List.exists (fun line -> line.Contains "203.0.113.77")) "told"
              Expect.isFalse (ours |> List.exists (fun line -> line.Contains "192.0.2.1 ")) "not told"
              Expect.isTrue (ours |> List.exists (fun line -> line.Contains "2001:db8::1")) "the other family stays"
              Expect.isTrue (candidates 'b' world |> List.exists (fun line -> line.Contains "198.51.100.1")) "not b's")

          testCase "or beside it, as a server would have told" (fun () ->
              let publication =
                  { HidesAddresses = false
                    Externals =
                      [| { Local = ValueNone
                           External = address "203.0.113.77"
                           Replaces = false } |] }

              let world = World.createOf (publishing publication) Weather.fair 1L |> connected

              let ours =
                  candidates 'a' world |> List.choose (Candidate.parse >> ValueOption.toOption)

              let beside = ours |> List.filter (fun c -> c.Type.IsServerReflexive)
              Expect.equal beside.Length 1 "one, of IPv4"
              Expect.equal (Candidate.endpoint beside[0]).Value.Address (address "203.0.113.77") "its address"

              let host =
                  ours
                  |> List.find (fun c -> c.Type.IsHost && c.Port = beside[0].Port && not c.Transport.IsTcp)

              Expect.equal beside[0].Related.Value.Host host.Host "behind it"
              Expect.isLessThan beside[0].Priority host.Priority "liked less") ]
