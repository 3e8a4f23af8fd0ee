/// What the TURN server's forwarding costs, and the tables that it finds everything in.
module Hybrid.WebRtc.PropertyTests.Turn.TurnServerCostTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

/// Octets that each of `count` calls allocates, after as many to warm up.
let private allocated (count: int) (act: unit -> unit) : float =
    for _ in 1..count do
        act ()

    let before = GC.GetAllocatedBytesForCurrentThread()

    for _ in 1..count do
        act ()

    float (GC.GetAllocatedBytesForCurrentThread() - before) / float count

/// Octets that forwarding allocates with so many allocations: ChannelData to a peer, a peer's datagram on a channel, a peer's
/// datagram as an indication, a Send indication.
let private forwarding (allocations: int) : float list =
    let world =
        World(
            { config with
                Limits =
                    { TurnServer.limits with
                        AllocationsPerUser = Int32.MaxValue
                        Allocations = 100_000 } },
            credentials
        )

    let clients =
        [| for i in 1..allocations -> clientAt world $"203.0.{i / 250}.{i % 250}" 4000 "alice" "wonderland" |]

    let relays =
        clients
        |> Array.map (fun client -> relayAt world (List.head (relayed (client.Allocate []))))

    let at = clients.Length / 2
    let client = clients[at]
    let bound = endpoint "192.0.2.99" 5000
    let other = endpoint "192.0.2.99" 5001
    succeeds (client.Bind 0x4000us bound)
    world.ToClients.Clear()
    let mutable state = world.State

    let packet =
        Memory(Array.append [| 0x40uy; 0uy; 0x03uy; 0xe8uy |] (Array.zeroCreate<byte> 1000))

    let data = Memory(Array.zeroCreate<byte> 1000)

    let step input =
        let struct (next, outputs) = TurnServer.step world.Now input state
        state <- next

        match outputs with
        | [ Forward _ ]
        | [ Transmit _ ] -> ()
        | _ -> failtest "a packet is forwarded"

    let mutable indication: byte[] = [||]

    let sender =
        Client(client.Path, (fun bytes -> indication <- bytes), (fun () -> []), "", "")

    sender.SendTo bound (Array.zeroCreate 1000) []

    [ fun () -> step (Received(client.Path, packet))
      fun () -> step (RelayReceived(relays[at], bound, data))
      fun () -> step (RelayReceived(relays[at], other, data))
      fun () -> step (Received(client.Path, Memory indication)) ]
    |> List.map (allocated 2000)

/// Keys of which every four have one hash.
[<Struct; CustomEquality; NoComparison>]
type Colliding =
    | Colliding of byte

    override this.GetHashCode() =
        let (Colliding key) = this
        int key / 4 * 0x10000001

    override this.Equals(other: objnull) =
        match other with
        | :? Colliding as other -> (this :> IEquatable<Colliding>).Equals other
        | _ -> false

    interface IEquatable<Colliding> with
        member this.Equals(Colliding other) =
            let (Colliding key) = this
            key = other

let private tries =
    testList
        "tries"
        [ testPropertyWithConfig
              Laws.config
              "a trie is a map: set, remove, find, count"
              (fun (steps: (bool * byte * int) list) ->
                  let trie, map =
                      ((Trie.empty<int, int>, Map.empty), steps)
                      ||> List.fold (fun (trie, map) (add, key, value) ->
                          let key = int key * 0x01000001

                          if add then
                              Trie.set key value trie, Map.add key value map
                          else
                              Trie.remove key trie, Map.remove key map)

                  let folded =
                      (Map.empty, trie) ||> Trie.fold (fun map key value -> Map.add key value map)

                  folded = map
                  && trie.Count = map.Count
                  && [ 0..255 ]
                     |> List.forall (fun key ->
                         let key = key * 0x01000001
                         ValueOption.toOption (Trie.tryFind key trie) = Map.tryFind key map))

          testPropertyWithConfig Laws.config "keys with one hash are told apart" (fun (steps: (bool * byte) list) ->
              let trie, map =
                  ((Trie.empty<Colliding, byte>, Map.empty), steps)
                  ||> List.fold (fun (trie, map) (add, key) ->
                      if add then
                          Trie.set (Colliding key) key trie, Map.add key key map
                      else
                          Trie.remove (Colliding key) trie, Map.remove key map)

              trie.Count = map.Count
              && [ 0uy .. 255uy ]
                 |> List.forall (fun key ->
                     ValueOption.toOption (Trie.tryFind (Colliding key) trie) = Map.tryFind key map)) ]

let private costs =
    testList
        "costs"
        [ testCase "a packet allocates little to be forwarded, however many allocations there are" (fun () ->
              let few = forwarding 5
              let many = forwarding 5_000

              for name, most, few, many in
                  List.zip3
                      [ "to a peer", 400.0
                        "on a channel", 400.0
                        "as an indication", 450.0
                        "sent", 450.0 ]
                      few
                      many
                  |> List.map (fun ((name, most), few, many) -> name, most, few, many) do
                  Expect.isLessThanOrEqual few most $"{name}, octets"
                  Expect.isLessThanOrEqual many (few + 8.0) $"{name}: as many, or as few, among 5,000") ]

let tests = testList "TURN server: costs and tables" [ tries; costs ]
