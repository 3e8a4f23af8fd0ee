/// Whole peers in the simulated internet, with TURN servers.
module Hybrid.WebRtc.PropertyTests.RelayWorld

open System
open Expecto
open Hybrid.WebRtc.Core

let internal address (text: string) = (Address.parse text).Value

let internal turnAt: Endpoint =
    { Address = address "203.0.113.5"
      Port = 3478us }

let internal relayFrom = address "203.0.113.6"
let internal turnUrl = "turn:turn.example.org"

let internal server =
    SmallServer.create turnAt [ relayFrom; address "2001:db8:5::6" ]

let internal configOf (urls: string[]) (password: string) (policy: IceTransportPolicy) : PeerConfig =
    { World.config with
        Configuration =
            { World.config.Configuration with
                IceTransportPolicy = policy
                IceServers =
                    [| { Urls = urls
                         Username = ValueSome SmallServer.username
                         Credential = ValueSome password } |] }
        // Where UDP does not pass, the relay is to be what is found.
        Options =
            { World.config.Options with
                IceTcp = false } }

/// The world with other peers, of their own configurations, and a TURN server that all names resolve to.
let internal equipped (a: PeerConfig) (b: PeerConfig) (seed: int64) (world: World) : World =
    { world with
        Net = Internet.withTurn server world.Net |> Internet.watching
        Server = ValueSome turnAt }
    |> World.change 'a' (fun e ->
        { e with
            Peer = World.peerOf a (2L * seed) })
    |> World.change 'b' (fun e ->
        { e with
            Peer = World.peerOf b (2L * seed + 1L) })

let internal good = configOf [| turnUrl |] "secret" IceTransportPolicy.All

/// STUN only.
let internal poor =
    configOf [| "stun:stun.example.org" |] "secret" IceTransportPolicy.All

let internal relayOnly = configOf [| turnUrl |] "secret" IceTransportPolicy.Relay

let private hasSelected (who: char) (world: World) =
    world.Ends[who].Events
    |> List.exists (function
        | IceTransportChanged info -> info.SelectedPair.IsSome
        | _ -> false)

/// ICE has done its work.
let internal isConnected (world: World) =
    hasSelected 'a' world && hasSelected 'b' world

let private isOpen (world: World) =
    World.openChannels 'a' world <> [] && World.openChannels 'b' world <> []

/// `a` has a channel and offers; connected within `limit`, and open soon after.
let internal connecting (limit: Duration) (world: World) : World * ChannelHandle =
    let world, handle = World.create' 'a' (World.channel "relayed") world
    let world = World.negotiate 'a' world
    let world, ready = World.run limit isConnected world

    if not ready then
        let told who =
            world.Ends[who].Events
            |> List.choose (function
                | IceCandidateError e -> Some $"{e.Url} {e.Code} {e.Text}"
                | IceCandidate(ValueSome c) -> Some c.Candidate.Candidate
                | IceConnectionStateChanged s -> Some(string s)
                | _ -> None)

        failtestf "not connected: %A %A" (told 'a') (told 'b')

    let world, ready = World.run (Duration.seconds 20L) isOpen world
    Expect.isTrue ready "open"
    world, handle

let internal handleAt (who: char) (world: World) : ChannelHandle =
    List.head (World.openChannels who world)

/// A message of `size` octets from one to the other arrives within `limit`.
let internal passes (who: char) (size: int) (limit: Duration) (world: World) : World =
    let other = if who = 'a' then 'b' else 'a'
    let before = world.Ends[other].MessageCount

    let world =
        World.tell who (Send(handleAt who world, false, ReadOnlyMemory(Array.create size 7uy))) world

    let world, arrived =
        World.run limit (fun w -> w.Ends[other].MessageCount > before) world

    Expect.isTrue arrived "the message arrives"
    world

/// The pair that an end sends on.
let internal pair (who: char) (world: World) : CandidatePair =
    match World.demand who GetStats world with
    | _, Stats statistics -> statistics.Ice.SelectedPair.Value
    | _ -> failtest "no statistics"

let internal isRelayed (who: char) (world: World) : bool =
    let pair = pair who world
    pair.Local.Type.IsRelayed || pair.Remote.Type.IsRelayed

/// The candidates that an end told, oldest first.
let internal candidates (who: char) (world: World) : Candidate list =
    List.rev world.Ends[who].Events
    |> List.choose (function
        | IceCandidate(ValueSome c) ->
            match Candidate.parse c.Candidate.Candidate with
            | ValueSome candidate -> Some candidate
            | ValueNone -> None
        | _ -> None)

let internal errors (who: char) (world: World) : CandidateError list =
    world.Ends[who].Events
    |> List.choose (function
        | IceCandidateError e -> Some e
        | _ -> None)

let internal turn (world: World) : SmallServer = Internet.turnAt turnAt world.Net

let internal changing (change: SmallServer -> SmallServer) (world: World) : World =
    { world with
        Net = Internet.withTurn (change (turn world)) world.Net }
