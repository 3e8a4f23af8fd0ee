module Hybrid.WebRtc.PropertyTests.Stack.LoopTests

open System
open System.Collections.Generic
open System.Threading
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Stack.Kinds

/// A clock that a test sets.
type internal TestTime() =
    inherit TimeProvider()
    let mutable ticks = 0L

    member _.Advance(microseconds: int64) =
        Volatile.Write(&ticks, ticks + 10L * microseconds)

    override _.GetTimestamp() = Volatile.Read &ticks
    override _.TimestampFrequency = 10_000_000L

    /// Whether timers fire only when the test says so.
    member val Manual = false with get, set
    member val Armed = TimeSpan.Zero with get, set
    member val Fire: unit -> unit = ignore with get, set

    override time.CreateTimer(callback, state, dueTime, period) =
        if time.Manual then
            time.Fire <- fun () -> callback.Invoke state

            { new ITimer with
                member _.Change(dueTime, _) =
                    time.Armed <- dueTime
                    true

                member _.Dispose() = ()
                member _.DisposeAsync() = Tasks.ValueTask.CompletedTask }
        else
            base.CreateTimer(callback, state, dueTime, period)

/// A member that writes down what it is given. `onInput` may throw, and answers the next deadline.
type internal Member(name: string, story: List<string>, onInput: int64 -> Input -> int64) =
    let mutable deadline = Int64.MaxValue
    member val Failed: exn | null = null with get, set

    interface ILoopMember with
        member _.Deadline = deadline

        member _.Take(now, input) =
            let said =
                match input with
                | Tick -> "tick"
                | Consumed n -> string n
                | _ -> "?"

            story.Add(name + ":" + said + "@" + string now)
            deadline <- onInput now input

        member _.Settle() = story.Add(name + ":settle")
        member m.Fail bug = m.Failed <- bug

let private noDeadline _ _ = Int64.MaxValue

let private heap =
    testList
        "the heap of deadlines"
        [ testPropertyWithConfig
              Laws.config
              "gives seats back in the order of their times, whatever was moved and removed"
          <| fun (script: (byte * int16) list) ->
              let loop = Loop(TestTime(), false)
              let heap = DeadlineHeap()
              let model = Dictionary<int, int64>()

              let seats =
                  Array.init 16 (fun i -> Seat(loop, Member(string i, List(), noDeadline)))

              for who, time in script do
                  let i = int who % seats.Length

                  if time % 5s = 0s then
                      heap.Remove seats[i]
                      model.Remove i |> ignore
                  else
                      heap.Move(seats[i], int64 time)
                      model[i] <- int64 time

              let drained =
                  [ while heap.Count > 0 do
                        let first = heap.First
                        first.DueAt
                        heap.Remove first ]

              drained = (model.Values |> Seq.sort |> List.ofSeq)
              && heap.Earliest = Int64.MaxValue ]

let private threads (kind: Kind) =
    testList
        ("threads, " + kind.Name)
        [ testCase "a thread wakes for what is posted and for what is due" (fun () ->
              use ticked = new ManualResetEventSlim()
              let loop = kind.Loop true

              let onInput now input =
                  match input with
                  | Tick ->
                      ticked.Set()
                      Int64.MaxValue
                  | _ -> now + 20_000L

              let seat = loop.Join(Member("a", List(), onInput))
              seat.Post(Consumed 1)
              Expect.isTrue (ticked.Wait(TimeSpan.FromSeconds Outside.Patience)) "ticked by the loop's own thread"
              loop.Post(Action seat.Leave))

          testCase "a thread sleeps by the clock it was given" (fun () ->
              // This clock stands still for the loop but for its one timer, which a test fires.
              use ticked = new ManualResetEventSlim()
              let time = TestTime(Manual = true)
              let loop = Loop(time, true, kind.Kernel())

              let onInput now input =
                  match input with
                  | Tick ->
                      ticked.Set()
                      Int64.MaxValue
                  | _ -> now + 3_600_000_000L

              let seat = loop.Join(Member("a", List(), onInput))
              seat.Post(Consumed 1)

              Expect.isTrue
                  (SpinWait.SpinUntil(
                      (fun () -> time.Armed = TimeSpan.FromHours 1.0),
                      TimeSpan.FromSeconds Outside.Patience
                  ))
                  "an hour asked for"

              time.Advance 3_600_000_000L
              time.Fire()
              Expect.isTrue (ticked.Wait(TimeSpan.FromSeconds Outside.Patience)) "an hour later"
              loop.Post(Action seat.Leave))

          testCase
              "no wake-up is lost: what is posted to a loop that is falling asleep is done, 50,000 times"
              (fun () ->
                  let loop = kind.Loop true
                  let seat = loop.Join(Member("a", List(), noDeadline))
                  let count = ref 0
                  let action = Action(fun () -> Interlocked.Increment count |> ignore)
                  let random = Random 1
                  let mutable lost = false
                  let mutable posted = 0

                  // One at a time, or the next one's wake-up would cover for a lost one; the pause before each wanders across the
                  // moment at which the loop, done with the last, falls asleep.
                  while posted < 50_000 && not lost do
                      Thread.SpinWait(random.Next 60)
                      loop.Post action
                      posted <- posted + 1
                      let mutable tries = 0

                      while Volatile.Read &count.contents < posted && tries < 100_000 do
                          tries <- tries + 1

                      if tries = 100_000 then
                          let until = posted

                          lost <-
                              not (
                                  SpinWait.SpinUntil(
                                      (fun () -> count.Value >= until),
                                      TimeSpan.FromSeconds Outside.Patience
                                  )
                              )

                  loop.Post(Action seat.Leave)
                  Expect.isFalse lost $"number {posted} was done")

          testCase "a loop posts to itself without waking itself, and the thread ends when nobody is left" (fun () ->
              let loop = kind.Loop true
              let seat = loop.Join(Member("a", List(), noDeadline))
              use over = new ManualResetEventSlim()
              let left = ref 10_000

              let rec again () =
                  if Interlocked.Decrement left > 0 then
                      loop.Post(Action again)
                  else
                      over.Set()

              loop.Post(Action again)
              Expect.isTrue (over.Wait(TimeSpan.FromSeconds Outside.Patience)) "all done"
              loop.Post(Action seat.Leave)

              Expect.isTrue
                  (SpinWait.SpinUntil((fun () -> not loop.IsRunning), TimeSpan.FromSeconds Outside.Patience))
                  "the thread ends by itself") ]

let tests =
    testList
        "Loop"
        [ heap
          yield! List.map threads both

          testCase "inputs are taken in the order of their arrival, then the turn settles once" (fun () ->
              let story = List<string>()
              let loop = Loop(TestTime(), false)
              let a = loop.Join(Member("a", story, noDeadline))
              let b = loop.Join(Member("b", story, noDeadline))
              a.Post(Consumed 1)
              b.Post(Consumed 2)
              loop.Post(Action(fun () -> story.Add "action"))
              a.Post(Consumed 3)
              let next = loop.Turn()
              Expect.equal next Int64.MaxValue "nothing is due"

              Expect.sequenceEqual story [ "a:1@0"; "b:2@0"; "action"; "a:3@0"; "a:settle"; "b:settle" ] "the story")

          testCase "what is posted during a turn waits for the next" (fun () ->
              let story = List<string>()
              let loop = Loop(TestTime(), false)
              let a = loop.Join(Member("a", story, noDeadline))
              loop.Post(Action(fun () -> a.Post(Consumed 1)))
              loop.Turn() |> ignore
              Expect.isEmpty story "not yet"
              loop.Turn() |> ignore
              Expect.sequenceEqual story [ "a:1@0"; "a:settle" ] "now")

          testCase "a deadline of now is ticked after the batch; a later one when its time has come" (fun () ->
              let story = List<string>()
              let time = TestTime()
              let loop = Loop(time, false)

              let a =
                  Member(
                      "a",
                      story,
                      fun now input ->
                          match input with
                          | Tick -> if now = 0L then 5_000L else Int64.MaxValue
                          | _ -> now
                  )

              let seat = loop.Join a
              seat.Post(Consumed 1)
              seat.Post(Consumed 2)
              Expect.equal (loop.Turn()) 5_000L "due again after 5 ms"
              Expect.sequenceEqual story [ "a:1@0"; "a:2@0"; "a:tick@0"; "a:settle" ] "one tick for the batch"
              story.Clear()
              time.Advance 4_999L
              Expect.equal (loop.Turn()) 5_000L "still"
              Expect.isEmpty story "an early turn does nothing"
              time.Advance 1L
              Expect.equal (loop.Turn()) Int64.MaxValue "done"
              Expect.sequenceEqual story [ "a:tick@5000"; "a:settle" ] "on time")

          testCase "a deadline that moved later costs one lazy look, not a tick" (fun () ->
              let story = List<string>()
              let time = TestTime()
              let loop = Loop(time, false)

              let seat =
                  loop.Join(
                      Member(
                          "a",
                          story,
                          fun _ input ->
                              match input with
                              | Consumed n -> int64 n
                              | _ -> Int64.MaxValue
                      )
                  )

              seat.Post(Consumed 100)
              Expect.equal (loop.Turn()) 100L "armed"
              seat.Post(Consumed 900)
              Expect.equal (loop.Turn()) 100L "lazily: the old time stands"
              story.Clear()
              time.Advance 100L
              Expect.equal (loop.Turn()) 900L "moved on"
              Expect.isEmpty story "no tick before the deadline")

          testCase "a member whose deadline stays in the past does not spin the loop" (fun () ->
              let story = List<string>()
              let loop = Loop(TestTime(), false)
              let seat = loop.Join(Member("a", story, (fun _ _ -> 0L)))
              seat.Post(Consumed 1)
              Expect.isGreaterThan (loop.Turn()) 0L "a pause"
              Expect.equal story.Count 3 "one input, one tick, settled")

          testCase "a member that throws fails alone; the others go on" (fun () ->
              let story = List<string>()
              let loop = Loop(TestTime(), false)

              let bad =
                  Member("bad", story, (fun _ _ -> raise (InvalidOperationException "planted")))

              let badSeat = loop.Join bad
              let goodSeat = loop.Join(Member("good", story, noDeadline))
              badSeat.Post(Consumed 1)
              goodSeat.Post(Consumed 2)
              badSeat.Post(Consumed 3)
              loop.Turn() |> ignore
              Expect.isNotNull bad.Failed "told of its failure"
              Expect.equal loop.Members 1 "evicted"

              Expect.sequenceEqual
                  (story |> Seq.filter (fun s -> not (s.EndsWith ":settle")))
                  [ "bad:1@0"; "good:2@0" ]
                  "it is given nothing more")

          testCase "an action that throws does not end the loop" (fun () ->
              let story = List<string>()
              let loop = Loop(TestTime(), false)
              let seat = loop.Join(Member("a", story, noDeadline))
              loop.Post(Action(fun () -> raise (InvalidOperationException "planted")))
              seat.Post(Consumed 1)
              loop.Turn() |> ignore
              Expect.contains story "a:1@0" "what follows is done")

          testCase "a group hands out its emptiest loop" (fun () ->
              let group = LoopGroup(3, TestTime())

              for _ in 1..9 do
                  group.Emptiest().Join(Member("a", List(), noDeadline)) |> ignore

              Expect.sequenceEqual [ for loop in group.Loops -> loop.Members ] [ 3; 3; 3 ] "shared out evenly") ]
