/// Worlds and scripts that the tests of ICE play in.
module Hybrid.WebRtc.PropertyTests.Ice.Scenes

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests

let internal lan a = Address.v4 10uy 0uy 0uy a
let internal home a = Address.v4 192uy 168uy 1uy a
let internal office a = Address.v4 172uy 16uy 0uy a
let internal publicAddress a = Address.v4 203uy 0uy 113uy a

let internal v6 (n: uint64) : Address =
    { High = 0x20010db800000000UL; Low = n }

/// Half a millisecond each way, nothing lost.
let internal local =
    { Weather.fair with
        Delay = Duration.microseconds 500L }

let internal direct seed weather =
    World.create
        seed
        (Internet.create weather (Entropy.ofNumber seed))
        [ publicAddress 10uy; v6 10UL ]
        [ publicAddress 20uy; v6 20UL ]

let internal behind seed weather (a: NatKind) (b: NatKind) =
    let net =
        Internet.create weather (Entropy.ofNumber seed)
        |> Internet.withNat 1 (Nat.create a false (publicAddress 1uy)) [ home 2uy ]
        |> Internet.withNat 2 (Nat.create b false (publicAddress 2uy)) [ office 2uy ]

    World.create seed net [ home 2uy ] [ office 2uy ]

let internal upWithin (seconds: int64) (world: World) : World =
    let world = World.runUntil (world.Now + Duration.seconds seconds) World.areUp world
    Expect.isTrue (World.areUp world) "both are connected and have selected"
    world

let internal agreeSoon (world: World) : World =
    let world =
        World.runUntil (world.Now + Duration.seconds 20L) (fun w -> World.areUp w && World.agree w) world

    Expect.isTrue (World.agree world) "both selected the same pair"
    world

let internal roleOf side world = Ice.role (World.get side world).Agent

let internal gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

/// Pairs of NATs that hole punching gets through, RFC 5128 §3.3; none is ValueNone.
let internal genNats: Gen<struct (NatKind voption * NatKind voption)> =
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

let internal genWeather: Gen<Weather> =
    gen<int * int>
    |> Gen.map (fun (a, b) ->
        { Weather.fair with
            Loss = float (abs a % 31) / 100.0
            Duplication = float (abs b % 11) / 100.0
            Jitter = Duration.milliseconds (int64 (abs (a + b) % 60)) })

let internal worldOf seed weather (struct (a, b): struct (NatKind voption * NatKind voption)) =
    let net = Internet.create weather (Entropy.ofNumber seed)

    let natted number kind outside inside net =
        match kind with
        | ValueSome kind -> struct (Internet.withNat number (Nat.create kind false outside) [ inside ] net, inside)
        | ValueNone -> struct (net, outside)

    let struct (net, a) = natted 1 a (publicAddress 1uy) (home 2uy) net
    let struct (net, b) = natted 2 b (publicAddress 2uy) (office 2uy) net
    World.create seed net [ a ] [ b ]

let internal runs divisor =
    { Laws.config with
        maxTest = max 1 (Laws.config.maxTest / divisor) }

let internal cut = { local with Loss = 1.0 }

let internal under weather (world: World) =
    { world with
        Net = Internet.under weather world.Net }

let internal lastState side world =
    Ice.transportState (World.get side world).Agent

let internal at side (state: IceTransportState) (world: World) : Instant voption =
    (World.get side world).Heard
    |> List.tryPick (fun struct (now, output) ->
        match output with
        | Ice.StateChanged s when s = state -> Some now
        | _ -> None)
    |> ValueOption.ofOption

let internal remotePath side world =
    match World.selected side world with
    | ValueSome pair -> ValueSome pair.Path
    | ValueNone -> ValueNone

let internal connectedPuppet role =
    let struct (agent, outputs) =
        Puppet.created role
        |> Puppet.feed
            Puppet.start
            [ Ice.SetRemote(Puppet.remote, false)
              Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]
        |> Puppet.obey 4 Puppet.start

    struct (agent, outputs)

/// What a stranger can send: noise around the real thing, all of it without the password.
let internal genForged: Gen<Ice.Input> =
    let stranger = Puppet.at 66uy

    Gen.oneof
        [ Gen.map (fun bytes -> Puppet.receive stranger bytes) gen<byte[]>
          Gen.map
              (fun n ->
                  Puppet.receive
                      stranger
                      (Puppet.sealedWith "wrong" (Puppet.check n [ UseCandidate; IceControlling 9UL ])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive (Puppet.at 2uy) (Puppet.sealedWith "wrong" (Puppet.check n [ IceControlled 1UL ])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive
                      (Puppet.at 2uy)
                      (Puppet.sealedWith
                          Puppet.remote.Password
                          (Message.success (Puppet.check n []) [| XorMappedAddress stranger |])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive
                      stranger
                      (World.written
                          { Message = Message.error (Puppet.check n []) 487 "Role Conflict" [||]
                            Integrity = Unprotected
                            Fingerprint = true }))
              gen<int> ]

/// Any input at all, plausible or not.
let internal genInput: Gen<Ice.Input> =
    let endpoint = Gen.map (fun (n: byte) -> Puppet.at (1uy + n % 6uy)) gen<byte>
    let port = Gen.map (fun n -> n * 1<port>) (Gen.choose (1, 3))

    Gen.oneof
        [ Gen.constant Ice.Tick
          Gen.constant Ice.Tick
          Gen.map2 (fun e n -> Puppet.checkFrom e n [ IceControlling 5UL; UseCandidate ]) endpoint gen<int>
          Gen.map2 (fun e n -> Puppet.checkFrom e n [ IceControlled(uint64 n) ]) endpoint gen<int>
          Gen.map2 Puppet.receive endpoint gen<byte[]>
          Gen.constant (
              Ice.SetServers(
                  [| { Urls = [| World.stunUrl; "turn:x" |]
                       Username = ValueSome "user"
                       Credential = ValueSome "secret" } |],
                  IceTransportPolicy.All
              )
          )
          Gen.constant Ice.Gather
          Gen.elements [ Ice.SetPool true; Ice.SetPool false ]
          Gen.map3 (fun p e n -> Ice.PortOpened(p, e, n)) port endpoint gen<int>
          Gen.map Ice.PortClosed port
          Gen.map3 (fun p e n -> Ice.ListenerOpened(p, e, n)) port endpoint gen<int>
          Gen.map2 (fun (n: byte) e -> Ice.StreamOpened(-(2 * int (n % 5uy) + 1) * 1<port>, e)) gen<byte> endpoint
          Gen.map3
              (fun (n: byte) e isRefused ->
                  (if isRefused then Ice.StreamRefused else Ice.StreamClosed)
                      { Local = (if n % 6uy = 5uy then 2 else -(2 * int (n % 6uy) + 1)) * 1<port>
                        Remote = e })
              gen<byte>
              endpoint
              gen<bool>
          Gen.map2
              (fun (n: byte) e ->
                  Ice.Received(
                      { Local = (if n % 6uy = 5uy then 2 else -(2 * int (n % 6uy) + 1)) * 1<port>
                        Remote = e },
                      ReadOnlyMemory(
                          Puppet.sealedWith
                              Puppet.local.Password
                              (Puppet.check (int n) [ IceControlling 5UL; UseCandidate ])
                      )
                  ))
              gen<byte>
              endpoint
          Gen.map2
              (fun e (kind: byte) ->
                  let tcp =
                      match kind % 4uy with
                      | 0uy -> TcpType.Active
                      | 1uy -> TcpType.SimultaneousOpen
                      | _ -> TcpType.Passive

                  Ice.AddRemote(
                      { Puppet.candidate e (uint32 kind) with
                          Transport = CandidateTransport.Tcp tcp },
                      ValueNone
                  ))
              endpoint
              gen<byte>
          Gen.constant Ice.PortsComplete
          Gen.map (fun e -> Ice.ServerResolved(World.stunUrl, [| e |])) endpoint
          Gen.constant (Ice.ServerFailed(World.stunUrl, "no"))
          Gen.map (fun e -> Ice.ServerResolved("turn:x", [| e |])) endpoint
          Gen.map2 (fun p e -> Ice.Allocated(p * -6 - 2<port> + 6<port>, [| e |], ValueSome e)) port endpoint
          Gen.map (fun p -> Ice.NotAllocated(p * -6 - 2<port> + 6<port>, 486, "quota")) port
          Gen.map (fun p -> Ice.Unallocated(p * -6 - 2<port> + 6<port>)) port
          Gen.elements [ Ice.SetRole IceRole.Controlling; Ice.SetRole IceRole.Controlled ]
          Gen.elements [ Ice.SetLocal Puppet.local; Ice.SetLocal(World.credentials "other") ]
          Gen.elements
              [ Ice.SetRemote(Puppet.remote, false)
                Ice.SetRemote(World.credentials "else", true) ]
          Gen.constant Ice.RollbackLocal
          Gen.map2 (fun e p -> Ice.AddRemote(Puppet.candidate e p, ValueNone)) endpoint gen<uint32>
          Gen.constant (
              Ice.AddRemote(
                  { Puppet.candidate (Puppet.at 2uy) 1u with
                      Host = CandidateHost.Name "a.local" },
                  ValueSome "them"
              )
          )
          Gen.constant (Ice.Resolved("a.local", ValueSome (Puppet.at 3uy).Address))
          Gen.constant Ice.EndOfRemoteCandidates ]

let internal describe (outputs: Ice.Output list) : string list =
    outputs
    |> List.map (fun output ->
        match output with
        | Ice.Transmit(path, message) -> Endpoint.toText path.Remote + Convert.ToHexString(World.written message)
        | Ice.StateChanged state -> "state" + string (int state)
        | Ice.Ignored drop -> "drop" + string (int drop)
        | Ice.Selected(_, _, path) -> "selected" + Endpoint.toText path.Remote
        | Ice.OpenStream(port, _, target) -> "open" + string (int port) + Endpoint.toText target
        | Ice.ClosePort port -> "close" + string (int port)
        | _ -> "other")

/// Plays a script, half a second (or until the deadline) between inputs; the laws hold at every step.
let internal play (script: Ice.Input list) : string list =
    let mutable agent = Puppet.created IceRole.Controlling
    let mutable now = Puppet.start
    let mutable story = []

    for input in script do
        let struct (next, outputs) = Ice.step now input agent
        agent <- next
        story <- story @ describe outputs
        Laws.earlyTick World.machine now agent
        Laws.tickMovesOn World.machine agent
        let due = Ice.deadline agent

        now <-
            if due < now + Duration.milliseconds 500L then
                max now due
            else
                now + Duration.milliseconds 500L

    story
