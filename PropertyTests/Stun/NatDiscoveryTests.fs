/// What a NAT does, found out from behind it, RFC 5780: in the simulated Internet, with the library's own server.
module Hybrid.WebRtc.PropertyTests.Stun.NatDiscoveryTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Laws
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

let private ports: PortId[] =
    Array.map LanguagePrimitives.Int32WithMeasure [| 1; 2; 3; 4 |]

/// The four endpoints of a server that speaks RFC 5780,
let private endpoints =
    [| endpoint "203.0.113.1" 3478
       endpoint "203.0.113.1" 3479
       endpoint "203.0.113.2" 3478
       endpoint "203.0.113.2" 3479 |]

/// and two that do not.
let private plain = [| endpoint "203.0.113.11" 3478; endpoint "203.0.113.12" 3478 |]

let private inside = endpoint "10.0.0.2" 5000

/// A socket at `local`, the Internet, and a server.
type private Scene =
    { Now: Instant
      Net: Internet
      Server: TurnServerState
      Client: NatDiscovery.State
      Found: NatBehaviour list
      Ignored: Drop list }

let private write (outgoing: Outgoing) =
    let bytes = Array.zeroCreate (Outgoing.size outgoing)
    Outgoing.write ciphers (Span bytes) outgoing |> ignore
    bytes

let private feed (local: Endpoint) (input: NatDiscoveryInput) (scene: Scene) : Scene =
    let struct (client, outputs) = NatDiscovery.step scene.Now input scene.Client

    ({ scene with Client = client }, outputs)
    ||> List.fold (fun scene output ->
        match output with
        | NatDiscoveryOutput.Transmit(target, outgoing) ->
            { scene with
                Net = Internet.send scene.Now { From = local; To = target } (write outgoing) scene.Net }
        | NatDiscoveryOutput.Finished found ->
            { scene with
                Found = found :: scene.Found }
        | NatDiscoveryOutput.Ignored reason ->
            { scene with
                Ignored = reason :: scene.Ignored })

let private serve (flow: Flow) (bytes: byte[]) (scene: Scene) : Scene =
    match Array.tryFindIndex (fun (e: Endpoint) -> e.Equals flow.To) endpoints with
    | None -> scene
    | Some at ->
        let path: Path =
            { Local = ports[at]
              Remote = flow.From }

        let struct (server, outputs) =
            TurnServer.step scene.Now (TurnServerInput.Received(path, Memory bytes)) scene.Server

        ({ scene with Server = server }, outputs)
        ||> List.fold (fun scene output ->
            match output with
            | TurnServerOutput.Transmit(path, packet) ->
                let bytes = Array.zeroCreate packet.Size
                packet.Write(Span bytes) |> ignore

                let flow =
                    { From = endpoints[Array.IndexOf(ports, path.Local)]
                      To = path.Remote }

                { scene with
                    Net = Internet.send scene.Now flow bytes scene.Net }
            | _ -> scene)

/// Until it is finished, and when that was.
let rec private run (local: Endpoint) (scene: Scene) : Scene =
    if not scene.Found.IsEmpty then
        scene
    else
        let due = NatDiscovery.deadline scene.Client
        let next = Internet.next scene.Net

        if due = Instant.never && next = Instant.never then
            failtest "nothing more will happen, and it has not finished"

        let scene =
            { scene with
                Now = max scene.Now (Instant.min due next) }

        if due <= scene.Now then
            run local (feed local NatDiscoveryInput.Tick scene)
        else
            match Internet.receive scene.Now scene.Net with
            | struct (ValueSome(ValueSome(struct (flow, bytes))), net) when flow.To.Equals local ->
                { scene with Net = net }
                |> feed local (NatDiscoveryInput.Received(flow.From, ReadOnlyMemory bytes))
                |> run local
            | struct (ValueSome(ValueSome(struct (flow, bytes))), net) ->
                run local (serve flow bytes { scene with Net = net })
            | struct (_, net) -> run local { scene with Net = net }

let private discover (nat: Nat option) (servers: Endpoint[]) (weather: Weather) (seed: int64) : Scene =
    let local = if nat.IsSome then inside else endpoint "192.0.2.7" 5000

    let net =
        let bare =
            Internet.create weather (Entropy.ofNumber seed)
            |> Internet.withServer plain[0]
            |> Internet.withServer plain[1]

        match nat with
        | Some nat -> bare |> Internet.withNat 1 nat [ local.Address ]
        | None -> bare

    run
        local
        { Now = 0L<us>
          Net = net
          Server =
            TurnServer.create
                (Array.create 32 5uy)
                { config with
                    Discovery = ValueSome { Ports = ports; Endpoints = endpoints } }
                credentials
          Client = NatDiscovery.create (ReadOnlyMemory(Array.create 32 (byte seed))) local servers
          Found = []
          Ignored = [] }

let private nat kind hairpins =
    Some(Nat.create kind hairpins (endpoint "192.0.2.1" 0).Address)

let private kinds =
    [ FullCone, NatMapping.EndpointIndependent, NatFiltering.EndpointIndependent
      RestrictedCone, NatMapping.EndpointIndependent, NatFiltering.AddressDependent
      PortRestrictedCone, NatMapping.EndpointIndependent, NatFiltering.AddressAndPortDependent
      Symmetric, NatMapping.AddressAndPortDependent, NatFiltering.AddressAndPortDependent ]

let private machine: Machine<NatDiscovery.State, NatDiscoveryInput, NatDiscoveryOutput> =
    { Step = NatDiscovery.step
      Deadline = NatDiscovery.deadline
      Tick = NatDiscoveryInput.Tick }

let tests =
    testList
        "NAT discovery"
        [ for kind, mapping, filtering in kinds do
              for hairpins in [ false; true ] do
                  testCase
                      $"a NAT that is {kind}, {hairpins} of hairpins, is found to be that, at 10 %% loss, too"
                      (fun () ->
                          for loss, seed in [ for seed in 1L .. 20L -> (if seed = 1L then 0.0 else 0.1), seed ] do
                              let scene =
                                  discover (nat kind hairpins) endpoints[..0] { Weather.fair with Loss = loss } seed

                              let found = scene.Found.Head
                              Expect.equal found.Mapping mapping $"mapping, seed {seed}"
                              Expect.equal found.Filtering filtering $"filtering, seed {seed}"

                              // A symmetric one has another mapping for itself, which nobody was called by.
                              Expect.equal
                                  found.Hairpins
                                  (ValueSome(hairpins && kind <> Symmetric))
                                  $"hairpins, seed {seed}"

                              Expect.isLessThan scene.Now (Duration.seconds 15L) "in time")

          testCase "a host on the Internet has no NAT, and nothing filters" (fun () ->
              let found = (discover None endpoints[..0] Weather.fair 1L).Found.Head
              Expect.equal found.Mapping NatMapping.None "mapping"
              Expect.equal found.Filtering NatFiltering.EndpointIndependent "filtering"
              Expect.equal found.Hairpins ValueNone "hairpins"
              Expect.equal found.Servers[0].Mapped (ValueSome(endpoint "192.0.2.7" 5000)) "mapped"
              Expect.equal found.Servers[0].RoundTrip (Duration.milliseconds 20L) "round trip"
              Expect.isTrue found.Servers[0].HasDiscovery "the server's")

          testCase "servers that only answer Binding tell of the mapping, by what each saw" (fun () ->
              for kind, mapping in
                  [ FullCone, NatMapping.EndpointIndependent
                    Symmetric, NatMapping.AddressDependent ] do
                  let scene = discover (nat kind false) plain Weather.fair 2L
                  let found = scene.Found.Head
                  Expect.equal found.Mapping mapping "mapping"
                  Expect.equal found.Filtering NatFiltering.Unknown "filtering"
                  Expect.equal found.Hairpins ValueNone "hairpins"
                  Expect.isLessThan scene.Now (Duration.seconds 1L) "at once"

              let one = (discover (nat FullCone false) plain[..0] Weather.fair 3L).Found.Head
              Expect.equal one.Mapping NatMapping.Unknown "one server is too few")

          testCase "a server that is silent is told as that, and the others still serve" (fun () ->
              let silent = endpoint "203.0.113.99" 3478

              let scene =
                  discover (nat RestrictedCone false) [| silent; endpoints[0] |] Weather.fair 4L

              let found = scene.Found.Head
              Expect.equal found.Servers[0].Mapped ValueNone "silent"
              Expect.isTrue found.Servers[1].Mapped.IsSome "the other"
              Expect.equal found.Filtering NatFiltering.AddressDependent "filtering")

          testCase "where all are silent, or none is given, it ends and knows nothing" (fun () ->
              for servers in [ [||]; [| endpoint "203.0.113.99" 3478 |] ] do
                  let scene = discover (nat FullCone false) servers Weather.fair 5L
                  Expect.equal scene.Found.Head.Mapping NatMapping.Unknown "mapping"
                  Expect.isLessThan scene.Now (Duration.seconds 5L) "in time"
                  Expect.equal (NatDiscovery.deadline scene.Client) Instant.never "over")

          anyBytes
              "whatever arrives: nothing is thrown, it is ignored, and a tick before the deadline does nothing"
              (fun bytes ->
                  let local = endpoint "192.0.2.7" 5000

                  let create () =
                      NatDiscovery.create (ReadOnlyMemory(Array.create 32 9uy)) local endpoints[..0]

                  let struct (asked, sent) =
                      NatDiscovery.step 0L<us> NatDiscoveryInput.Tick (create ())

                  Expect.hasLength sent 1 "a request"
                  earlyTick machine 1L<us> asked

                  let struct (after, outputs) =
                      NatDiscovery.step 1L<us> (NatDiscoveryInput.Received(endpoints[0], ReadOnlyMemory bytes)) asked

                  match outputs with
                  | [ NatDiscoveryOutput.Ignored _ ] -> NatDiscovery.deadline after = NatDiscovery.deadline asked
                  | _ -> false) ]
