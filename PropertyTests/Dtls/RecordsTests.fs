/// What holds of connections of either version: records that are replayed, spoilt, cut or many, alerts in the clear, goodbyes.
module Hybrid.WebRtc.PropertyTests.DtlsRecordsTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private records name (config: DtlsConfig) =
    /// Made anew for each test: its keys serve one thread at a time, and tests run side by side.
    let connected () =
        handshake Weather.fair 1L (config, P256) (config, P256)

    testList
        name
        [ testCase "replayed: counted, and delivered once" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "once"B (connected ())
              let world = world |> deliver Side.Server bytes |> deliver Side.Server bytes
              Expect.equal world.Server.Data [ "once"B ] "once"
              Expect.equal world.Server.Drops [ Drop.Replayed ] "replayed")

          testCase "tampered, anywhere: counted as forged or malformed, and the connection lives on" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "hello"B (connected ())
              let mutable world = world

              for at in 0 .. bytes.Length - 1 do
                  let forged = Array.copy bytes
                  forged[at] <- forged[at] ^^^ 0x04uy
                  world <- deliver Side.Server forged world

              Expect.isEmpty world.Server.Data "nothing taken"
              // A shorter length leaves a rest that is malformed too.
              Expect.isGreaterThanOrEqual world.Server.Drops.Length bytes.Length "each counted"
              let world = deliver Side.Server bytes world
              Expect.equal world.Server.Data [ "hello"B ] "the true one is")

          testCase "truncated, everywhere: malformed" (fun () ->
              let struct (bytes, world) = sealedBy Side.Client "hello"B (connected ())
              let mutable world = world

              for length in 0 .. bytes.Length - 1 do
                  world <- deliver Side.Server bytes[.. length - 1] world

              Expect.isTrue (world.Server.Drops |> List.forall ((=) Drop.Malformed)) "malformed"
              Expect.hasLength world.Server.Drops bytes.Length "each counted")

          testCase "several in a datagram: all are read, up to the first that is malformed" (fun () ->
              let struct (one, world) = sealedBy Side.Client "one"B (connected ())
              let struct (two, world) = sealedBy Side.Client "two"B world
              let world = deliver Side.Server (Array.concat [ one; two; [| 0uy; 1uy |] ]) world
              Expect.equal world.Server.Data [ "two"B; "one"B ] "both"
              Expect.equal world.Server.Drops [ Drop.Malformed ] "the rest")

          testCase "empty data says nothing; 16 KiB is the most" (fun () ->
              let struct (none, world) = sealedBy Side.Client [||] (connected ())
              let struct (most, world) = sealedBy Side.Client (Array.zeroCreate 16384) world
              let struct (more, world) = sealedBy Side.Client (Array.zeroCreate 16385) world

              let world =
                  world
                  |> deliver Side.Server none
                  |> deliver Side.Server most
                  |> deliver Side.Server more

              Expect.equal (world.Server.Data |> List.map Array.length) [ 16384 ] "one"
              Expect.equal world.Server.Drops [ Drop.Malformed ] "too large")

          testCase "the window takes 64 records out of order, and each of them once" (fun () ->
              let mutable world = connected ()
              let mutable all = []

              for i in 0..99 do
                  let struct (bytes, next) = sealedBy Side.Client [| byte i |] world
                  world <- next
                  all <- bytes :: all

              // Newest first: the 64 newest fit the window.
              for bytes in all @ all do
                  world <- deliver Side.Server bytes world

              Expect.equal (world.Server.Data |> List.map Array.head |> List.sort) [ 36uy .. 99uy ] "the newest 64"

              Expect.hasLength world.Server.Drops 136 "the others")

          testCase "an alert in the clear does not end a connection" (fun () ->
              for description in [ 0uy; 20uy; 40uy ] do
                  let forged =
                      Array.append (Convert.FromHexString "15fefd0000000000000009000202") [| description |]

                  for side in [ Side.Client; Side.Server ] do
                      let world = deliver side forged (connected ())
                      Expect.equal (get side world).Drops [ Drop.Stale ] "ignored"
                      Expect.isTrue (get side world).Fault.IsNone "alive"
                      Expect.isFalse (get side world).Closed "alive")

          testCase "goodbyes are answered, once" (fun () ->
              for side in [ Side.Client; Side.Server ] do
                  let before = connected ()

                  let world =
                      before |> step side Dtls.Close |> runUntil (2L * minute) (fun _ -> false)

                  Expect.isTrue (world.Client.Closed && world.Server.Closed) "closed"
                  Expect.isTrue (world.Client.Fault.IsNone && world.Server.Fault.IsNone) "no fault"
                  Expect.hasLength (get side world).Sent ((get side before).Sent.Length + 1) "one close_notify") ]

let tests =
    testList "DTLS records" [ records "1.2" (config P256); records "1.3" (both P256) ]
