/// The one context that a connection's users are told on, and the observables on it.
module Hybrid.WebRtc.PropertyTests.Interop.ContextTests

open System
open System.Collections.Concurrent
open System.Reactive.Concurrency
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

/// A logger that keeps what it is told.
type Ears() =
    let heard = ConcurrentQueue<exn>()
    member _.Heard = heard.ToArray()

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled _ = true

        member _.Log(_, _, _, thrown, _) =
            if not (isNull (box thrown)) then
                heard.Enqueue(nonNull thrown)

/// Fails where a task takes longer than any machine should need.
let within (task: Task) : Task =
    task.WaitAsync(TimeSpan.FromSeconds Outside.Patience)

/// Waits until a condition holds, no longer than any machine should need.
let eventually (condition: unit -> bool) : Task =
    task {
        let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

        while not (condition ()) && DateTime.UtcNow < deadline do
            do! Task.Delay 20
    }

/// Waits until all that has been posted so far has run.
let drained (context: SerialContext) : Task =
    let source =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    context.Post(Action(fun () -> source.SetResult()))
    within source.Task

let private posting (context: SerialContext) (action: unit -> unit) = context.Post(Action action)

/// A context that runs at once what is posted, where it is posted.
type Inline() =
    inherit SynchronizationContext()
    override _.Post(callback, state) = callback.Invoke state

/// A context without any order: the thread pool.
let private contexts: (string * (ILogger -> SerialContext)) list =
    [ "the thread pool", SerialContext.OnThreadPool
      "a context without order", (fun logger -> SerialContext.On(SynchronizationContext(), logger))
      "a context that runs at once", (fun logger -> SerialContext.On(Inline(), logger))
      "a scheduler", (fun logger -> SerialContext.On((TaskPoolScheduler.Default: IScheduler), logger))
      "an immediate scheduler", (fun logger -> SerialContext.On((ImmediateScheduler.Instance: IScheduler), logger)) ]

let private serial =
    [ for name, make in contexts do
          testCaseTask $"on {name}: in each poster's order, one at a time, never on the poster's stack" (fun () ->
              task {
                  let context = make NullLogger.Instance
                  let seen = ConcurrentQueue<struct (int * int)>()
                  let mutable running = 0
                  let mutable overlaps = 0
                  let inPost = new ThreadLocal<bool>()
                  let mutable inlined = 0

                  let poster p =
                      Task.Run(fun () ->
                          for n in 1..500 do
                              inPost.Value <- true

                              posting context (fun () ->
                                  if inPost.Value then
                                      Interlocked.Increment(&inlined) |> ignore

                                  if Interlocked.Increment(&running) <> 1 then
                                      Interlocked.Increment(&overlaps) |> ignore

                                  seen.Enqueue(struct (p, n))
                                  Interlocked.Decrement(&running) |> ignore)

                              inPost.Value <- false)

                  do! within (Task.WhenAll [| for p in 1..4 -> poster p |])
                  do! drained context
                  let seen = seen.ToArray()
                  Expect.equal seen.Length 2_000 "nothing is lost"
                  Expect.equal overlaps 0 "one at a time"
                  Expect.equal inlined 0 "not where it was posted"

                  for p in 1..4 do
                      let mine =
                          seen |> Array.choose (fun (struct (q, n)) -> if q = p then Some n else None)

                      Expect.equal mine [| 1..500 |] "in order"
              })

      testCaseTask "what throws is logged, and the rest runs" (fun () ->
          task {
              let ears = Ears()
              let context = SerialContext.OnThreadPool ears
              posting context (fun () -> failwith "first")
              posting context (fun () -> failwith "second")
              do! drained context
              Expect.equal (ears.Heard |> Array.map _.Message) [| "first"; "second" |] "both are heard"
          })

      testCaseTask "an async void that throws after its await is logged, and ends no process" (fun () ->
          task {
              let ears = Ears()
              let context = SerialContext.OnThreadPool ears
              let gate = TaskCompletionSource()

              // What `async void` compiles to: the rest is posted to the context that was current, and throws there.
              posting context (fun () ->
                  let current = nonNull SynchronizationContext.Current

                  gate.Task.GetAwaiter().OnCompleted(fun () -> current.Post((fun _ -> failwith "late"), null)))

              do! drained context
              gate.SetResult()

              let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

              while ears.Heard.Length = 0 && DateTime.UtcNow < deadline do
                  do! drained context

              Expect.equal (ears.Heard |> Array.map _.Message) [| "late" |] "heard"
          })

      testCase
          "each of 200,000 items posted just as the context falls idle is run, without another to wake it"
          (fun () ->
              let context = SerialContext.OnThreadPool NullLogger.Instance
              let ran = [| 0 |]

              for i in 1..200_000 do
                  posting context (fun () -> Volatile.Write(&ran[0], i))

                  if
                      not (
                          SpinWait.SpinUntil(
                              (fun () -> Volatile.Read &ran[0] = i),
                              TimeSpan.FromSeconds Outside.Patience
                          )
                      )
                  then
                      failtestf "item %d lies in the queue" i)

      testCaseTask "an await inside goes on inside, before what was posted later" (fun () ->
          task {
              let context = SerialContext.OnThreadPool NullLogger.Instance
              let seen = ConcurrentQueue<string>()
              let source = TaskCompletionSource()

              posting context (fun () ->
                  source.Task
                      .GetAwaiter()
                      .OnCompleted(fun () -> seen.Enqueue(if context.IsCurrent then "inside" else "outside")))

              posting context (fun () -> source.SetResult())
              posting context (fun () -> seen.Enqueue "later")
              do! drained context
              Expect.equal (seen.ToArray()) [| "inside"; "later" |] "as a promise's reaction"
          })

      testCaseTask "Send from inside runs at once; from outside it waits" (fun () ->
          task {
              let context = SerialContext.OnThreadPool NullLogger.Instance
              let mutable nested = false
              context.Send((fun _ -> context.Send((fun _ -> nested <- true), null)), null)
              Expect.isTrue nested "both ran"
          })

      testCaseTask "a user's context that has gone leaves nobody waiting" (fun () ->
          task {
              let gone =
                  { new SynchronizationContext() with
                      override _.Post(_, _) =
                          raise (ObjectDisposedException "window") }

              let context = SerialContext.On(gone, NullLogger.Instance)
              do! drained context
          }) ]

let private notifier count =
    let ears = Ears()
    let context = SerialContext.OnThreadPool ears
    struct (context, Notifier<int>(context, ears, (count: int)), ears)

let private tell (context: SerialContext) (notifier: Notifier<int>) (values: int list) =
    for value in values do
        posting context (fun () -> notifier.Tell value)

let private observables =
    [ testCaseTask "what comes before anyone subscribes is held for the first, up to its bound" (fun () ->
          task {
              let struct (context, notifier, _) = notifier 3
              tell context notifier [ 1; 2; 3; 4 ]
              do! drained context
              let first, second = ConcurrentQueue<int>(), ConcurrentQueue<int>()
              use _ = notifier.Subscribe first.Enqueue
              use _ = notifier.Subscribe second.Enqueue
              tell context notifier [ 5 ]
              do! drained context
              Expect.equal (first.ToArray()) [| 1; 2; 3; 5 |] "held, then present"
              Expect.equal (second.ToArray() |> Array.last) 5 "the second hears the present, too"
          })

      testCaseTask
          "who subscribes in a notification is told what was held before the next one, however many wait"
          (fun () ->
              task {
                  let struct (context, notifier, _) = notifier 3
                  let seen = ConcurrentQueue<string>()
                  use isPosted = new ManualResetEventSlim()
                  tell context notifier [ 1; 2 ]

                  posting context (fun () ->
                      // The next one waits already, as a promise does that is kept right after an event.
                      isPosted.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore
                      notifier.Subscribe(fun n -> seen.Enqueue $"held {n}") |> ignore
                      seen.Enqueue "subscribed")

                  posting context (fun () -> seen.Enqueue "next")
                  isPosted.Set()
                  do! drained context
                  Expect.equal (seen.ToArray()) [| "subscribed"; "held 1"; "held 2"; "next" |] "in order"
              })

      testCaseTask "a subscriber that throws stays, and does not keep the others from hearing" (fun () ->
          task {
              let struct (context, notifier, ears) = notifier 0
              let seen = ConcurrentQueue<int>()
              let thrown = ConcurrentQueue<int>()

              use _ =
                  notifier.Subscribe(fun n ->
                      thrown.Enqueue n
                      failwith "mine")

              use _ = notifier.Subscribe seen.Enqueue
              tell context notifier [ 1; 2 ]
              do! drained context
              Expect.equal (seen.ToArray()) [| 1; 2 |] "the other"
              Expect.equal (thrown.ToArray()) [| 1; 2 |] "the thrower"
              Expect.equal ears.Heard.Length 2 "logged"
          })

      testCaseTask "a state is told to every new subscriber, on the context, then as it changes" (fun () ->
          task {
              let context = SerialContext.OnThreadPool NullLogger.Instance
              let mutable state = 1
              let notifier = Notifier<int>(context, NullLogger.Instance, (fun () -> state))
              let seen = ConcurrentQueue<struct (int * bool)>()
              use _ = notifier.Subscribe(fun n -> seen.Enqueue(struct (n, context.IsCurrent)))

              posting context (fun () ->
                  state <- 2
                  notifier.Tell 2)

              do! drained context
              let late = ConcurrentQueue<int>()
              use _ = notifier.Subscribe late.Enqueue
              do! drained context
              Expect.equal (seen.ToArray()) [| struct (1, true); struct (2, true) |] "present first, then the change"
              Expect.equal (late.ToArray()) [| 2 |] "the present one"
          })

      testCaseTask "who leaves inside a notification hears no more; who joins there hears the next" (fun () ->
          task {
              let struct (context, notifier, _) = notifier 0
              let seen = ConcurrentQueue<string>()
              let mutable first: IDisposable | null = null

              first <-
                  notifier.Subscribe(fun n ->
                      seen.Enqueue $"a{n}"
                      (nonNull first).Dispose()
                      notifier.Subscribe(fun n -> seen.Enqueue $"b{n}") |> ignore)

              tell context notifier [ 1; 2 ]
              do! drained context
              Expect.equal (seen.ToArray()) [| "a1"; "b2" |] "order"
          })

      testCaseTask "the end is told to all, and to who comes later, after what was held" (fun () ->
          task {
              let struct (context, notifier, _) = notifier 5
              tell context notifier [ 1 ]
              posting context notifier.Complete
              tell context notifier [ 2 ]
              do! drained context
              let seen = ConcurrentQueue<string>()

              use _ =
                  notifier.Subscribe(
                      { new IObserver<int> with
                          member _.OnNext n = seen.Enqueue(string n)
                          member _.OnCompleted() = seen.Enqueue "end"
                          member _.OnError _ = seen.Enqueue "error" }
                  )

              do! drained context
              Expect.equal (seen.ToArray()) [| "1"; "end" |] "held, then the end"
          })

      testCaseTask "subscribing and leaving from many threads while values flow loses and doubles nothing" (fun () ->
          task {
              let struct (context, notifier, _) = notifier 0
              let steady = ConcurrentQueue<int>()
              use _ = notifier.Subscribe steady.Enqueue

              let visitors =
                  [| for _ in 1..3 ->
                         Task.Run(fun () ->
                             for _ in 1..200 do
                                 let mutable last = 0
                                 let mutable wrong = false

                                 use _ =
                                     notifier.Subscribe(fun n ->
                                         if last <> 0 && n <> last + 1 then
                                             wrong <- true

                                         last <- n)

                                 Thread.Yield() |> ignore

                                 if wrong then
                                     failwith "a gap") |]

              tell context notifier [ 1..2_000 ]
              do! within (Task.WhenAll visitors)
              do! drained context
              Expect.equal (steady.ToArray()) [| 1..2_000 |] "all, once, in order"
          }) ]

let tests =
    testList "Interop context" [ testList "serial" serial; testList "observables" observables ]
