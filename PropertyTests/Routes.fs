namespace Hybrid.WebRtc.PropertyTests

open Hybrid.WebRtc.Core

/// Ways between the ends of a world, and how they change.
[<RequireQualifiedAccess>]
module Routes =
    /// With a longer way for what is sent from IPv4 addresses, and from IPv6 ones: two routes.
    let detours (v4: Duration) (v6: Duration) (world: World) : World =
        let all = world.Ends |> Map.toList |> List.collect (fun (_, e) -> e.Interfaces)
        let four, six = all |> List.partition _.IsV4

        { world with
            Net = world.Net |> Internet.withDetour v4 four |> Internet.withDetour v6 six }

    /// The path that an end sends its packets by.
    let path (who: char) (world: World) : Path voption =
        match World.demand who GetStats world with
        | _, Stats statistics -> statistics.Ice.SelectedPair |> ValueOption.map _.Path
        | _ -> ValueNone

    /// The interface that an end sends by goes away.
    let unplugged (who: char) (world: World) : World =
        match path who world with
        | ValueNone -> failwith "no path"
        | ValueSome path ->
            world
            |> World.change who (fun e ->
                let gone = e.Ports[path.Local].Address

                { e with
                    Interfaces = e.Interfaces |> List.filter (fun each -> not (each.Equals gone))
                    Ports = Map.remove path.Local e.Ports })
            |> World.tell who (PortClosed path.Local)

    /// An interface comes, with this address, and with this preference: those that were there in the beginning have 100 and 99.
    let pluggedAs (preference: int) (who: char) (address: Address) (world: World) : World =
        let number = world.NextPort
        let port = number * 1<port>

        let local =
            { Address = address
              Port = uint16 (50_000 + number) }

        { world with NextPort = number + 1 }
        |> World.change who (fun e ->
            { e with
                Interfaces = e.Interfaces @ [ address ]
                Ports = Map.add port local e.Ports })
        |> World.tell who (PortOpened(port, local, preference))

    /// The same, less preferred than what is there.
    let plugged who address world = pluggedAs 90 who address world

    /// The next offer and answer, `a` offering: candidates that came before the description that they go with come again behind it.
    let renegotiated (change: Description -> Description) (world: World) : World =
        let world = World.negotiateWith change 0L<us> 'a' world

        (world, [ 'a', 'b'; 'b', 'a' ])
        ||> List.fold (fun world (from, to') ->
            (world, List.rev world.Ends[from].Events)
            ||> List.fold (fun world event ->
                match event with
                | IceCandidate(ValueSome candidate) ->
                    World.ask to' (fun c -> AddIceCandidate(c, candidate.Candidate)) world |> fst
                | _ -> world))

    /// ICE restarts.
    let restarted (change: Description -> Description) (world: World) : World =
        World.demand 'a' RestartIce world |> fst |> renegotiated change
