module Hybrid.WebRtc.PropertyTests.Sctp.LossTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private one link seed change =
    let t = Transfer(seed, change)
    let b = Bottleneck(link, [| t |], seed)
    b.Connect 0
    struct (b, t)

/// Goodput as a share of the link's rate.
let private share (link: LinkRate) (warmUp: Duration) (length: Duration) seed =
    let struct (b, t) = one link seed id
    b.Run warmUp
    let rate = b.Measure(length)[0]
    struct (rate * 8.0 / link.Rate, b, t)

let tests =
    testList "Loss explore" [
        testCase "explore" (fun () ->
            let go mbit ms q loss warm len =
                let link = LinkRate.create mbit ms q loss
                let clock = Diagnostics.Stopwatch.StartNew()
                let struct (b, t) = one link 1L id
                let s = System.Text.StringBuilder()
                for _ in 1..warm do
                    let r = b.Measure(Duration.seconds 1L)
                    let f = (Sctp.figures t.Ends[0]).Value
                    s.Append(sprintf " %.2f(%dk,d%d,r%d)" (r[0]*8.0/link.Rate) (f.CongestionWindow/1000) b.Dropped f.Retransmissions) |> ignore
                let r = b.Measure(Duration.seconds len)
                printfn "%g Mbit %d ms q%g loss %g: %.3f stall %d ms [%d ms] |%s" mbit ms q loss (r[0]*8.0/link.Rate) (t.Stall/1000L<us>) clock.ElapsedMilliseconds (s.ToString())
            for q in [1.0; 0.25] do
                for ms in [1L; 20L; 50L; 100L; 200L] do
                    go 50.0 ms q 0.0 10 2L
            for ms in [20L;50L;100L] do
                for loss in [0.001; 0.01; 0.03] do
                    go 50.0 ms 1.0 loss 10 10L
            go 1000.0 1L 1.0 0.0 2 1L
            go 1000.0 20L 1.0 0.0 4 1L
            go 1000.0 20L 0.25 0.0 4 1L
            go 1000.0 200L 1.0 0.0 10 2L
            go 1000.0 200L 0.25 0.0 10 2L)
    ]
