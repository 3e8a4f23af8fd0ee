/// Simulcast that we send, by the facade: two connections in this process, over real UDP on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.SentSimulcastTests

open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaSimulcast
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

let tests =
    testSequenced
    <| testList
        "Simulcast of two connections"
        [ testCaseTask
              "encodings arrive under their rids; one is switched off and on by setParameters; key frames are asked of each"
              (fun () ->
                  task {
                      use caller = new RTCPeerConnection()
                      use callee = new RTCPeerConnection()
                      use layers = new Layered()
                      let tracks = ConcurrentQueue<RemoteTrack>()
                      callee.OnTrack.Subscribe(fun e -> tracks.Enqueue e.Track) |> ignore
                      let transceiver = caller.AddTransceiver(layers.Track, layers.Init)
                      do! within (connect caller callee)
                      do! await (fun () -> "no track") (fun () -> not tracks.IsEmpty)
                      let track = Seq.head tracks
                      let frames = ConcurrentDictionary<string, int>()

                      let subscriptions =
                          [ for rid in layers.Rids ->
                                track
                                    .FramesOf(rid)
                                    .Subscribe(fun (_: EncodedFrame) ->
                                        frames.AddOrUpdate(rid, 1, (fun _ n -> n + 1)) |> ignore) ]

                      let count rid =
                          match frames.TryGetValue rid with
                          | true, n -> n
                          | _ -> 0

                      let grows rid =
                          let before = count rid
                          await (fun () -> $"{rid}: {before} and {count rid}") (fun () -> count rid > before + 5)

                      for rid in layers.Rids do
                          do! grows rid

                      let sender = transceiver.Sender

                      let set active =
                          let p = sender.GetParameters()

                          sender.SetParametersAsync(
                              RTCRtpSendParameters(
                                  TransactionId = p.TransactionId,
                                  HeaderExtensions = p.HeaderExtensions,
                                  Rtcp = p.Rtcp,
                                  Codecs = p.Codecs,
                                  Encodings =
                                      [| for e in p.Encodings ->
                                             RTCRtpEncodingParameters(
                                                 Rid = e.Rid,
                                                 Active = (active || e.Rid <> "f"),
                                                 ScaleResolutionDownBy = e.ScaleResolutionDownBy
                                             ) |]
                              )
                          )

                      let! report = caller.GetStatsAsync()

                      Expect.equal
                          (Set.ofSeq [ for s in report.OfType<RTCOutboundRtpStreamStats>() -> string s.Rid ])
                          (Set.ofArray layers.Rids)
                          "statistics of each"

                      do! within (set false)

                      // What is under way comes; then none does, while the others go on.
                      let mutable tries = 20
                      let mutable before = -1

                      while count "f" <> before && tries > 0 do
                          before <- count "f"
                          tries <- tries - 1
                          do! grows "h"
                          do! grows "q"

                      Expect.equal (count "f") before "off"
                      let asked = layers.Asked "f"
                      do! within (set true)
                      do! await (fun () -> "not asked") (fun () -> layers.Asked "f" > asked)
                      do! grows "f"

                      let asked = layers.Asked "h"
                      track.RequestKeyFrame "h"
                      do! await (fun () -> "not asked") (fun () -> layers.Asked "h" > asked)
                      do! grows "h"

                      for subscription in subscriptions do
                          subscription.Dispose()
                  }) ]
