module Hybrid.WebRtc.PropertyTests.Ice.IceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests

let private lan a = Address.v4 10uy 0uy 0uy a
let private home a = Address.v4 192uy 168uy 1uy a
let private office a = Address.v4 172uy 16uy 0uy a
let private publicAddress a = Address.v4 203uy 0uy 113uy a

let private v6 (n: uint64) : Address =
    { High = 0x20010db800000000UL; Low = n }

/// Half a millisecond each way, nothing lost.
let private local =
    { Weather.fair with
        Delay = Duration.microseconds 500L }

let private direct seed weather =
    World.create
        seed
        (Internet.create weather (Entropy.ofNumber seed))
        [ publicAddress 10uy; v6 10UL ]
        [ publicAddress 20uy; v6 20UL ]

let private behind seed weather (a: NatKind) (b: NatKind) =
    let net =
        Internet.create weather (Entropy.ofNumber seed)
        |> Internet.withNat 1 (Nat.create a false (publicAddress 1uy)) [ home 2uy ]
        |> Internet.withNat 2 (Nat.create b false (publicAddress 2uy)) [ office 2uy ]

    World.create seed net [ home 2uy ] [ office 2uy ]

let private upWithin (seconds: int64) (world: World) : World =
    let world = World.runUntil (world.Now + Duration.seconds seconds) World.areUp world
    Expect.isTrue (World.areUp world) "both are connected and have selected"
    world

let private agreeSoon (world: World) : World =
    let world =
        World.runUntil (world.Now + Duration.seconds 20L) (fun w -> World.areUp w && World.agree w) world

    Expect.isTrue (World.agree world) "both selected the same pair"
    world

let private roleOf side world = Ice.role (World.get side world).Agent

let private gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

/// Pairs of NATs that hole punching gets through, RFC 5128 §3.3; none is ValueNone.
let private genNats: Gen<struct (NatKind voption * NatKind voption)> =
    let kinds =
        [ ValueNone
          ValueSome FullCone
          ValueSome RestrictedCone
          ValueSome PortRestrictedCone
          ValueSome Symmetric ]

    let passes a b =
        match a, b with
        | ValueSome Symmetric, ValueSome(Symmetric | PortRestrictedCone)
        | ValueSome PortRestrictedCone, ValueSome Symmetric -> false
        | _ -> true

    Gen.elements
        [ for a in kinds do
              for b in kinds do
                  if passes a b then
                      struct (a, b) ]

let private genWeather: Gen<Weather> =
    gen<int * int>
    |> Gen.map (fun (a, b) ->
        { Weather.fair with
            Loss = float (abs a % 31) / 100.0
            Duplication = float (abs b % 11) / 100.0
            Jitter = Duration.milliseconds (int64 (abs (a + b) % 60)) })

let private worldOf seed weather (struct (a, b): struct (NatKind voption * NatKind voption)) =
    let net = Internet.create weather (Entropy.ofNumber seed)

    let natted number kind outside inside net =
        match kind with
        | ValueSome kind -> struct (Internet.withNat number (Nat.create kind false outside) [ inside ] net, inside)
        | ValueNone -> struct (net, outside)

    let struct (net, a) = natted 1 a (publicAddress 1uy) (home 2uy) net
    let struct (net, b) = natted 2 b (publicAddress 2uy) (office 2uy) net
    World.create seed net [ a ] [ b ]

let tests =
    testList
        "Ice"
        [ testCase "on a LAN both have selected the best pair one round trip and a half after the answer" (fun () ->
              let world =
                  { direct 1L local with
                      SignallingDelay = Duration.milliseconds 1L }

              let start = world.Now
              let world = world |> World.negotiate "1" |> upWithin 5L
              let took = Duration.toMilliseconds (world.Now - start)
              Expect.isLessThanOrEqual took 6L "2 ms of signalling, and two round trips"
              Expect.isTrue (World.agree world) "the same pair"

              let pair = World.selected A world
              Expect.isFalse (pair.Value.Path.Remote.Address.IsV4 && false) "a pair"
              Expect.equal (roleOf A world) IceRole.Controlling "offerer"
              Expect.equal (roleOf B world) IceRole.Controlled "answerer"
              let world = World.runFor (Duration.seconds 3L) world

              Expect.equal
                  (World.states A world)
                  [ IceTransportState.Checking
                    IceTransportState.Connected
                    IceTransportState.Completed ]
                  "states")

          testPropertyWithConfig
              { Laws.config with
                  maxTest = Laws.config.maxTest / 4 }
              "any seed, up to 30 % loss, jitter and duplication, behind NATs: both selected within 60 s, and agree"
          <| Prop.forAll (Arb.fromGen (Gen.zip3 gen<int64> genWeather genNats)) (fun (seed, weather, nats) ->
              let world = worldOf seed weather nats |> World.negotiate "1" |> upWithin 60L
              World.agree (agreeSoon world)) ]
