/// Candidate pairs in the hands of the application: two RTCPeerConnections over the loopback interface, which has two addresses.
module Hybrid.WebRtc.PropertyTests.Interop.PairTests

open System
open System.Collections.Concurrent
open System.Net
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

let private peer (renominates: bool) =
    new RTCPeerConnection(
        null,
        WebRtcOptions(
            IncludeLoopback = true,
            AddressFilter = Func<IPAddress, bool>(IPAddress.IsLoopback),
            IceTcp = false,
            Renomination = renominates
        )
    )

let private ice (pc: RTCPeerConnection) =
    (nonNull pc.Sctp).Transport.IceTransport

/// Waits for a value that is told, or is there already.
let private eventually what (condition: unit -> bool) : Task =
    task {
        let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

        while not (condition ()) && DateTime.UtcNow < deadline do
            do! Task.Delay 10

        Expect.isTrue (condition ()) what
    }

/// A description without candidates, which follow one by one.
let private bare (description: RTCSessionDescription | null) =
    let description = nonNull description
    let isCandidate (line: string) = line.StartsWith "a=candidate:"

    RTCSessionDescription(
        description.Type,
        String.Join("\r\n", description.Sdp.Split "\r\n" |> Array.filter (isCandidate >> not))
    )

let private connect (caller: RTCPeerConnection) (callee: RTCPeerConnection) (before: unit -> unit) : Task =
    task {
        let forward (from: RTCPeerConnection) (toward: RTCPeerConnection) =
            from.OnIceCandidate.Subscribe(fun e ->
                match e.Candidate with
                | null -> ()
                | candidate -> toward.AddIceCandidateAsync(candidate.ToInit()) |> ignore)
            |> ignore

        do! caller.SetLocalDescriptionAsync()
        do! callee.SetRemoteDescriptionAsync(bare caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! caller.SetRemoteDescriptionAsync(bare callee.LocalDescription)
        // The transport is there, and no candidate yet.
        before ()
        forward caller callee
        forward callee caller
    }

let private fails (name: string) (work: Task) : Task =
    task {
        try
            do! within work
            failtest "it did not fail"
        with :? RTCException as e ->
            Expect.equal e.Name name e.Message
    }

let private kept (events: IObservable<RTCIceCandidatePairEvent>) =
    let told = ConcurrentQueue<RTCIceCandidatePair>()
    events.Subscribe(fun e -> told.Enqueue e.CandidatePair) |> ignore
    told

let private answers (channel: RTCDataChannel) (callee: RTCPeerConnection) : Task =
    task {
        let heard =
            TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously)

        use _ =
            channel.OnMessage.Subscribe(fun m -> heard.TrySetResult(string m.Text) |> ignore)

        ignore callee
        channel.Send "are you there?"
        do! within heard.Task
    }

/// Connected, with a channel that echoes.
let private pair renominates (before: RTCPeerConnection -> RTCPeerConnection -> unit) =
    task {
        let caller, callee = peer renominates, peer renominates
        let channel = caller.CreateDataChannel "pairs"

        callee.OnDataChannel.Subscribe(fun e ->
            let echo = e.Channel
            echo.OnMessage.Subscribe(fun m -> echo.Send(nonNull m.Text)) |> ignore)
        |> ignore

        do! within (connect caller callee (fun () -> before caller callee))
        do! within (channel.WaitForOpenAsync())
        return struct (caller, callee, channel)
    }

/// Selects a pair as soon as it works: it may have been nominated before the other was checked.
let private select (transport: RTCIceTransport) (pair: RTCIceCandidatePair) : Task =
    task {
        let deadline = DateTime.UtcNow.AddSeconds Outside.Patience
        let mutable isSelected = false

        while not isSelected do
            try
                do! within (transport.SelectCandidatePairAsync pair)
                isSelected <- true
            with :? RTCException as e when e.Name = "OperationError" && DateTime.UtcNow < deadline ->
                do! Task.Delay 20
    }

let tests =
    testList
        "Candidate pairs"
        [ for renominates in [ true; false ] do
              testCaseTask
                  $"the application selects another pair, and both ends go by it (renomination: {renominates})"
                  (fun () ->
                      task {
                          let! struct (caller, callee, channel) = pair renominates (fun _ _ -> ())
                          use _ = caller
                          use _ = callee
                          let added = kept (ice caller).OnIceCandidatePairAdd
                          let selected () = (ice caller).GetSelectedCandidatePair()
                          do! eventually "selected" (fun () -> not (isNull (selected ())))
                          do! eventually "told of both pairs" (fun () -> added.Count >= 2)
                          let first = nonNull (selected ())
                          let isOther (p: RTCIceCandidatePair) = p.Local.Address <> first.Local.Address
                          let other = added |> Seq.find isOther

                          do! select (ice caller) other
                          Expect.isTrue (isOther (nonNull (selected ()))) "selected when it ends"

                          do!
                              eventually "the peer follows" (fun () ->
                                  match (ice callee).GetSelectedCandidatePair() with
                                  | null -> false
                                  | p -> p.Local.Address = other.Remote.Address)

                          do! answers channel callee
                      })

          testCaseTask "a removed pair is gone, told of, and not found again; the other takes its place" (fun () ->
              task {
                  let! struct (caller, callee, channel) = pair true (fun _ _ -> ())
                  use _ = caller
                  use _ = callee
                  let removed = kept (ice caller).OnIceCandidatePairRemove
                  let selected () = (ice caller).GetSelectedCandidatePair()
                  do! eventually "selected" (fun () -> not (isNull (selected ())))
                  let first = nonNull (selected ())
                  do! within ((ice caller).RemoveCandidatePairAsync first)
                  Expect.equal removed.Count 1 "told before it ends"
                  do! eventually "another" (fun () -> not (isNull (selected ())) && selected () <> first)
                  do! fails "NotFoundError" ((ice caller).SelectCandidatePairAsync first)
                  do! fails "NotFoundError" ((ice caller).RemoveCandidatePairAsync first)
                  do! answers channel callee
              })

          testCaseTask
              "a handler prevents nominations: data flows all the same, until the application selects"
              (fun () ->
                  task {
                      let proposals = ConcurrentQueue<RTCIceCandidatePair>()
                      let within' = ConcurrentQueue<Task>()

                      let! struct (caller, callee, channel) =
                          pair true (fun caller _ ->
                              (ice caller)
                                  .OnIceCandidatePairNominate.Subscribe(fun e ->
                                      Expect.isTrue e.Cancelable "cancelable"

                                      if proposals.IsEmpty then
                                          within'.Enqueue((ice caller).SelectCandidatePairAsync e.CandidatePair)
                                          e.PreventDefault()

                                      proposals.Enqueue e.CandidatePair)
                              |> ignore)

                      use _ = caller
                      use _ = callee
                      do! eventually "proposed" (fun () -> not proposals.IsEmpty)
                      do! fails "InvalidStateError" (Seq.head within')
                      do! answers channel callee
                      do! within ((ice caller).SelectCandidatePairAsync(Seq.head proposals))
                      do! eventually "proposed again, and accepted" (fun () -> proposals.Count >= 2)

                      do!
                          eventually "the peer has it selected" (fun () ->
                              not (isNull ((ice callee).GetSelectedCandidatePair())))

                      do! answers channel callee
                  })

          testCaseTask "on a closed connection pairs are neither selected nor removed" (fun () ->
              task {
                  let! struct (caller, callee, _) = pair true (fun _ _ -> ())
                  let transport = ice caller
                  do! eventually "selected" (fun () -> not (isNull (transport.GetSelectedCandidatePair())))
                  let selected = nonNull (transport.GetSelectedCandidatePair())
                  do! caller.CloseAsync()
                  do! callee.CloseAsync()
                  do! fails "InvalidStateError" (transport.SelectCandidatePairAsync selected)
                  do! fails "InvalidStateError" (transport.RemoveCandidatePairAsync selected)
              }) ]
