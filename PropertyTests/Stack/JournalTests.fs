module Hybrid.WebRtc.PropertyTests.Stack.JournalTests

open System
open System.Collections.Generic
open System.IO
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests

let internal config () : PeerConfig =
    let certificate = Certificate.Default

    { Ciphers = SystemCiphers.Shared
      Identity =
        { Certificate = certificate.Der
          Key = certificate.Key }
      Configuration =
        { IceServers = [||]
          IceTransportPolicy = IceTransportPolicy.All
          BundlePolicy = BundlePolicy.Balanced
          IceCandidatePoolSize = 0
          Certificates = [| "one" |]
          HeaderEncryption = HeaderEncryptionPolicy.Disable }
      Capabilities = Capabilities.none
      Options = Peer.defaultOptions }

let private written (write: JournalBuffer -> unit) : byte[] =
    let buffer = JournalBuffer()
    write buffer
    buffer.Written.ToArray()

let private writeInput (input: Input) =
    written (fun buffer -> InputCodec.Write(buffer, input))

/// Pairs that are not told apart.
let private twins (encodings: byte[] list) =
    let distinct = HashSet(encodings |> List.map Convert.ToHexString)
    encodings.Length - distinct.Count

let private codecs =
    testList
        "codecs"
        [ for name, values in Samples.cases<Input>() do
              testCase ("read (write " + name + ") = " + name) (fun () ->
                  for value in values do
                      let octets = writeInput value
                      let cursor = JournalCursor octets
                      let read = InputCodec.Read cursor
                      Expect.isTrue cursor.IsAtEnd "all of it is read"
                      Expect.equal (sprintf "%A" read) (sprintf "%A" value) "the same"
                      Expect.sequenceEqual (writeInput read) octets "octets of payloads included"

                  Expect.equal (InputCodec.NameOf values.Head) name "its name"
                  Expect.equal (twins (List.map writeInput values)) 0 "every field takes part")

          for name, values in Samples.cases<Event>() do
              testCase ("every field of " + name + " takes part in its digest") (fun () ->
                  let encodings =
                      values
                      |> List.map (fun value -> written (fun buffer -> OutputCodec.Write(buffer, value)))

                  Expect.equal (twins encodings) 0 "no two alike")

          for name, values in Samples.cases<Answer>() do
              testCase ("every field of the answer " + name + " takes part in its digest") (fun () ->
                  let encodings =
                      values
                      |> List.map (fun value -> written (fun buffer -> OutputCodec.Write(buffer, value)))

                  Expect.equal (twins encodings) 0 "no two alike")

          testCase "cases of events have numbers of their own" (fun () ->
              let tags =
                  [ for _, values in Samples.cases<Event>() ->
                        (written (fun buffer -> OutputCodec.Write(buffer, values.Head)))[0] ]

              Expect.equal (List.distinct tags) tags "distinct")

          testPropertyWithConfig Laws.config "numbers of either sign survive"
          <| fun (n: int64) (m: uint64) ->
              let octets =
                  written (fun buffer ->
                      buffer.Number n
                      buffer.Unsigned m)

              let cursor = JournalCursor octets
              cursor.Number() = n && cursor.Unsigned() = m && cursor.IsAtEnd

          Laws.anyBytes "any bytes are an input, or damaged, and nothing else happens" (fun bytes ->
              try
                  InputCodec.Read(JournalCursor bytes) |> ignore
                  true
              with :? JournalException ->
                  true)

          Laws.mutated
              "changed inputs are inputs, or damaged, and nothing else happens"
              [ for _, values in Samples.cases<Input>() -> writeInput values.Head ]
              (fun bytes ->
                  try
                      InputCodec.Read(JournalCursor bytes) |> ignore
                  with :? JournalException ->
                      ()) ]

/// A shell that does nothing; a witness needs one to hand on to.
type private Nobody() =
    interface IDatagramShell with
        member _.Send(_, _, _, _) = ()
        member _.Transmit(_, _) = ()
        member _.OpenPorts() = ()
        member _.ClosePort _ = ()
        member _.OpenStream(_, _, _, _, _) = ()
        member _.VerifyCertificate(_, _, _) = ()
        member _.ResolveServer _ = ()
        member _.ResolveName _ = ()
        member _.AnnounceName(_, _) = ()
        member _.Reply(_, _) = ()
        member _.Refuse(_, _) = ()
        member _.Raise _ = ()
        member _.Deliver(_, _, _) = ()
        member _.DeliverRtp(_, _, _) = ()
        member _.TransmitRun(_, _) = ()
        member _.Ignored(_, _) = ()
        member _.Ended() = ()

/// Runs a peer on a script under a journal, as a host would; answers the journal.
let private record (seed: int64) (script: struct (Instant * Input) list) : byte[] =
    let stream = new MemoryStream()
    let journal = new JournalWriter(stream)
    let struct (seed, _) = Entropy.bytes 32 (Entropy.ofNumber seed)
    journal.Begin(ReadOnlySpan seed, config ())
    let shell = journal.Witness(Nobody())

    match Peer.create (ReadOnlyMemory seed) (journal.Witness(config ())) with
    | Error e -> failtest e.Message
    | Ok state ->
        let mutable state = state

        for struct (now, input) in script do
            journal.Input(int64 now, input)
            let struct (next, outputs) = Peer.step now input state
            state <- next
            Peer.perform shell outputs
            journal.Flush()

        journal.Dispose()
        stream.ToArray()

let private replay (journal: byte[]) =
    JournalReplay.Run(new MemoryStream(journal), SystemCiphers.Shared)

let private script: struct (Instant * Input) list =
    let init =
        { Label = "chat"
          Protocol = ""
          Ordered = true
          MaxPacketLifeTime = ValueNone
          MaxRetransmits = ValueNone
          Negotiated = false
          Id = ValueNone
          Priority = Priority.Low }

    let local: Endpoint =
        { Address = Address.v4 192uy 0uy 2uy 1uy
          Port = 5000us }

    [ struct (1_000L<us>, CreateDataChannel(1L, init))
      struct (2_000L<us>, CreateOffer(2L, false))
      struct (3_000L<us>, SetLocalDescription(3L, ValueNone))
      struct (4_000L<us>, PortOpened(1<port>, local, 65535))
      struct (5_000L<us>, PortsComplete)
      struct (6_000L<us>,
              Datagram(
                  { Local = 1<port>
                    Remote = { local with Port = 6000us } },
                  Memory(Array.zeroCreate<byte> 40)
              ))
      struct (70_000L<us>, Tick)
      struct (80_000L<us>, GetStats 4L)
      struct (90_000L<us>, Close 5L) ]

/// A journal whose outputs are given by hand, after one input each.
let private handMade (outputs: Output list) (endIt: bool) =
    let stream = new MemoryStream()
    let journal = new JournalWriter(stream)
    let seed = Array.zeroCreate<byte> 32
    journal.Begin(ReadOnlySpan seed, config ())
    let shell = journal.Witness(Nobody())

    for output in outputs do
        journal.Input(1_000L, Tick)
        Peer.perform shell [ output ]

    journal.Flush()

    if endIt then
        journal.Dispose()

    stream.ToArray()

let tests =
    testList
        "Journal"
        [ codecs

          testCase "a session replays with every output equal" (fun () ->
              let result = record 1L script |> replay
              Expect.isNull result.Difference "no difference"
              Expect.equal result.Inputs (int64 script.Length) "every input"
              Expect.isGreaterThan result.Outputs (int64 script.Length) "and what came of them"
              Expect.isTrue result.IsWhole "to the end")

          testCase "two recordings of one story are the same octets" (fun () ->
              Expect.sequenceEqual (record 1L script) (record 1L script) "byte for byte")

          testCase "an output that was recorded and does not come is the first difference" (fun () ->
              let result = handMade [ OpenPorts; ClosePort 1<port> ] true |> replay
              let difference = nonNull result.Difference
              Expect.stringContains difference "input 1 (Tick) at 0.001000 s" "where and when"
              Expect.stringContains difference "1 outputs" "what")

          testCase "an output is compared by kind, size and content" (fun () ->
              let journal =
                  handMade [ Deliver(3, true, ReadOnlyMemory [| 1uy; 2uy |]) ] true
                  |> fun octets -> JournalReader(new MemoryStream(octets))

              let rec find () =
                  match journal.Next() with
                  | struct (kind, content) when kind = Nullable JournalRecord.Output -> content
                  | struct (kind, _) when kind.HasValue -> find ()
                  | _ -> failtest "no output was recorded"

              let record = find ()

              let compare kind (payload: byte[]) =
                  let octets =
                      written (fun buffer ->
                          buffer.Number 3L
                          buffer.Flag true
                          buffer.Octets(ReadOnlySpan payload))

                  JournalReplay.Compare(record, kind, ReadOnlySpan octets)

              Expect.isNull (compare OutputKind.Deliver [| 1uy; 2uy |]) "the same"
              Expect.stringContains (string (compare OutputKind.Deliver [| 1uy; 3uy |])) "other content" "content"
              Expect.stringContains (string (compare OutputKind.Deliver [| 1uy |])) "recorded were" "size"
              Expect.stringContains (string (compare OutputKind.Raise [| 1uy; 2uy |])) "was recorded" "kind")

          testCase "with any digest changed, a replay differs" (fun () ->
              let whole = record 1L script
              let reader = JournalReader(new MemoryStream(whole))
              let mutable at = JournalWriter.Magic.Length
              let digests = List<int>()

              let rec walk () =
                  match reader.Next() with
                  | struct (kind, content) when kind.HasValue ->
                      let size = content.Length
                      // Its kind, its length in 7 bits an octet, its content, which ends with the digest.
                      at <-
                          at
                          + 1
                          + (if size < 0x80 then 1
                             elif size < 0x4000 then 2
                             else 3)
                          + size

                      if kind.Value = JournalRecord.Output then
                          digests.Add(at - 1)

                      walk ()
                  | _ -> ()

              walk ()
              Expect.equal at whole.Length "walked to the end"

              for digest in digests do
                  let changed = Array.copy whole
                  changed[digest] <- changed[digest] ^^^ 1uy
                  Expect.isNotNull (replay changed).Difference "found")

          testCase "a journal cut short anywhere replays as far as it goes" (fun () ->
              let whole = record 1L script

              for length in 0 .. whole.Length do
                  try
                      let result = replay whole[.. length - 1]
                      Expect.isNull result.Difference "no difference"
                      Expect.equal result.IsWhole (length = whole.Length) "whole only when whole"
                  with :? JournalException ->
                      // Cut within the header.
                      Expect.isLessThan length 2_000 "early")

          testCase "changed octets are damage or a difference, never another failure" (fun () ->
              let whole = record 1L script
              let mutable entropy = Entropy.ofNumber 3L

              for _ in 1 .. Laws.config.maxTest do
                  let struct (at, e) = Entropy.below whole.Length entropy
                  let struct (value, e) = Entropy.below 256 e
                  entropy <- e
                  let changed = Array.copy whole
                  changed[at] <- byte value

                  try
                      replay changed |> ignore
                  with :? JournalException ->
                      ())

          testCase "a journal stops at its limit, says so, and still replays" (fun () ->
              let stream = new MemoryStream()
              let journal = new JournalWriter(stream, 2_000L)
              let mutable reason = ""
              journal.add_Stopped (fun said -> reason <- said)
              journal.Begin(ReadOnlySpan(Array.zeroCreate<byte> 32), config ())

              for i in 1..1_000 do
                  journal.Input(int64 i, ServerFailed("stun:example.org", "no such host"))
                  journal.Flush()

              journal.Dispose()
              Expect.stringContains reason "limit" "told"
              Expect.isLessThan (stream.ToArray()).Length 2_200 "bounded"
              Expect.isFalse (replay (stream.ToArray())).IsWhole "not whole")

          testCase "a stream that fails stops the journal, not the session" (fun () ->
              let stream = new MemoryStream(Array.zeroCreate<byte> 10)
              let journal = new JournalWriter(stream)
              let mutable reason = ""
              journal.add_Stopped (fun said -> reason <- said)
              journal.Begin(ReadOnlySpan(Array.zeroCreate<byte> 32), config ())
              journal.Flush()
              Expect.isNotEmpty reason "told"
              journal.Input(1L, Tick)
              journal.Flush()
              journal.Dispose())

          testCase "the private key is not in a journal, nor is a journal's file readable by others" (fun () ->
              let folder =
                  Path.Combine(Path.GetTempPath(), "hybrid-" + Guid.NewGuid().ToString "N")

              try
                  let stream = JournalWriter.InFolder(folder).Invoke()
                  (new JournalWriter(stream)).Dispose()
                  let file = Directory.GetFiles folder |> Array.exactlyOne

                  if not (OperatingSystem.IsWindows()) then
                      Expect.equal
                          (File.GetUnixFileMode file)
                          (UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
                          "0600"
              finally
                  Directory.Delete(folder, true))

          Laws.anyBytes "any bytes are not a journal" (fun bytes ->
              try
                  replay bytes |> ignore
                  false
              with :? JournalException ->
                  true) ]
