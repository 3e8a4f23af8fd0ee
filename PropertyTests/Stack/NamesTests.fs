module Hybrid.WebRtc.PropertyTests.Stack.NamesTests

open System
open System.Collections.Generic
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Names
open Hybrid.WebRtc.PropertyTests

let private name = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"

let private labels (name: string) =
    [| for label in name.Split '.' do
           byte label.Length
           yield! Encoding.ASCII.GetBytes label
       0uy |]

let private word (n: int) = [| byte (n >>> 8); byte n |]

/// A response with no question and one answer.
let private response (flags: int) (name: byte[]) (kind: int) (ttl: int) (data: byte[]) =
    Array.concat
        [ [| 0uy; 0uy |]
          word flags
          word 0
          word 1
          word 0
          word 0
          name
          word kind
          word 0x8001
          word 0
          word ttl
          word data.Length
          data ]

let private answer name ttl (address: IPAddress) =
    let data = address.GetAddressBytes()
    response 0x8400 (labels name) (if data.Length = 4 then 1 else 28) ttl data

let private read (message: byte[]) (name: string) =
    let mutable lifetime = TimeSpan.Zero

    match DnsMessage.ReadAddress(ReadOnlySpan message, name, &lifetime) with
    | null -> ValueNone
    | address -> ValueSome(struct (address.ToString(), lifetime.TotalSeconds))

let private query (kind: uint16) (unicast: bool) =
    let into = Array.zeroCreate<byte> DnsMessage.MaxQuerySize
    let size = DnsMessage.WriteQuery(Span into, name, kind, unicast)
    into[.. size - 1]

let private messages =
    testList
        "messages"
        [ testCase "a query is RFC 1035 §4's" (fun () ->
              let expected =
                  Array.concat
                      [ [| 0uy; 0uy; 0uy; 0uy; 0uy; 1uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy |]
                        labels name
                        [| 0uy; 28uy; 0uy; 1uy |] ]

              Expect.sequenceEqual (query DnsMessage.Aaaa false) expected "multicast"
              let wanted = query DnsMessage.A true
              Expect.equal wanted[expected.Length - 2] 0x80uy "unicast asked for, RFC 6762 §5.4")

          testCase "answers are read, whatever the case of the name" (fun () ->
              let v4 = IPAddress.Parse "192.0.2.7"
              Expect.equal (read (answer name 120 v4) name) (ValueSome(struct ("192.0.2.7", 120.0))) "A"

              Expect.equal
                  (read (answer (name.ToUpperInvariant()) 120 v4) name)
                  (ValueSome(struct ("192.0.2.7", 120.0)))
                  "case"

              Expect.equal
                  (read (answer name 1 (IPAddress.Parse "2001:db8::1")) name)
                  (ValueSome(struct ("2001:db8::1", 1.0)))
                  "AAAA")

          testCase "queries, refusals and other names' answers are not heeded" (fun () ->
              let data = [| 192uy; 0uy; 2uy; 7uy |]
              Expect.equal (read (response 0x0000 (labels name) 1 120 data) name) ValueNone "a query"
              Expect.equal (read (response 0x8403 (labels name) 1 120 data) name) ValueNone "NXDOMAIN"
              Expect.equal (read (response 0x8400 (labels "other.local") 1 120 data) name) ValueNone "another"
              Expect.equal (read (response 0x8400 (labels ("x" + name)) 1 120 data) name) ValueNone "a longer one"
              Expect.equal (read (response 0x8400 (labels name) 1 120 data[..2]) name) ValueNone "3 octets"
              Expect.equal (read (response 0x8400 (labels name) 28 120 data) name) ValueNone "an AAAA of 4")

          testCase "compressed names are followed" (fun () ->
              // The question at 12 holds the name; the answer points to it, its first label apart.
              let first = name.Split('.')[0]
              let question = Array.append (labels name) [| 0uy; 1uy; 0uy; 1uy |]

              let make pointed =
                  Array.concat
                      [ [| 0uy; 0uy; 0x84uy; 0uy; 0uy; 1uy; 0uy; 1uy; 0uy; 0uy; 0uy; 0uy |]
                        question
                        pointed
                        [| 0uy; 1uy; 0uy; 1uy; 0uy; 0uy; 0uy; 9uy; 0uy; 4uy; 10uy; 0uy; 0uy; 1uy |] ]

              let tail = [| 0xc0uy; byte (12 + 1 + first.Length) |]

              let mixed =
                  Array.concat [ [| byte first.Length |]; Encoding.ASCII.GetBytes first; tail ]

              Expect.equal (read (make [| 0xc0uy; 12uy |]) name) (ValueSome(struct ("10.0.0.1", 9.0))) "whole"
              Expect.equal (read (make mixed) name) (ValueSome(struct ("10.0.0.1", 9.0))) "tail"
              let self = byte (12 + question.Length)
              Expect.equal (read (make [| 0xc0uy; self |]) name) ValueNone "a pointer to itself"
              Expect.equal (read (make [| 0xc0uy; 3uy |]) name) ValueNone "a pointer into the header")

          Laws.anyBytes "any bytes end without throwing" (fun bytes ->
              read bytes name |> ignore
              // Behind a header that promises much.
              let header =
                  [| 0uy; 0uy; 0x84uy; 0uy; 0uy; 2uy; 0xffuy; 0xffuy; 0uy; 0uy; 0uy; 0uy |]

              read (Array.append header bytes) name |> ignore
              true)

          Laws.mutated
              "changed answers end without throwing"
              [ answer name 120 (IPAddress.Parse "192.0.2.7")
                answer name 120 (IPAddress.Parse "2001:db8::1") ]
              (fun bytes -> read bytes name |> ignore)

          testCase "names of the link are told from others" (fun () ->
              for good in [ name; "a.local"; "A.LOCAL"; "a.b.local" ] do
                  Expect.isTrue (DnsMessage.IsLocalName good) good

              for bad in
                  [ ""
                    "local"
                    ".local"
                    "a..local"
                    "example.org"
                    "a.local."
                    "a b.local"
                    "ä.local"
                    String('a', 64) + ".local"
                    String.replicate 130 "a." + "local" ] do
                  Expect.isFalse (DnsMessage.IsLocalName bad) bad) ]

/// A resolver over a table in place of the DNS.
let private resolver (lookup: string -> CancellationToken -> Task<IPAddress[]>) =
    Resolver(
        ResolverOptions(
            Timeout = TimeSpan.FromMilliseconds 50.0,
            Lookup = Func<_, _, _>(fun host cancellation -> lookup host cancellation)
        )
    )

let private resolved (resolver: Resolver) (url: string) =
    try
        resolver.ResolveServer(url, CancellationToken.None).GetAwaiter().GetResult()
        |> Array.map Endpoint.toText
        |> Ok
    with :? ResolverException as e ->
        Error e.Message

let private servers =
    testList
        "servers"
        [ testCase "addresses in text ask nobody; names give every address once" (fun () ->
              let table =
                  resolver (fun _ _ ->
                      Task.FromResult
                          [| IPAddress.Parse "2001:db8::1"
                             IPAddress.Parse "192.0.2.1"
                             IPAddress.Parse "192.0.2.1" |])

              Expect.equal (resolved table "stun:192.0.2.9") (Ok [| "192.0.2.9:3478" |]) "literal"

              Expect.equal (resolved table "stun:example.org:1") (Ok [| "[2001:db8::1]:1"; "192.0.2.1:1" |]) "name")

          testCase
              "a name that nobody knows, one that takes for ever, and no URL at all are refused with a reason"
              (fun () ->
                  let unknown =
                      resolver (fun _ _ ->
                          Task.FromException<IPAddress[]>(SocketException(int SocketError.HostNotFound)))

                  let forever = resolver (fun _ _ -> TaskCompletionSource<IPAddress[]>().Task)
                  Expect.isError (resolved unknown "stun:nowhere.invalid") "unknown"

                  Expect.equal
                      (resolved forever "stun:slow.invalid")
                      (Error "the name was not resolved in time")
                      "slow"

                  Expect.isError (resolved unknown "stun:") "no URL"
                  let off = Resolver(ResolverOptions(IsOn = false))
                  Expect.isError (resolved off "stun:example.org") "switched off"
                  Expect.isOk (resolved off "stun:192.0.2.1") "but text is understood") ]

/// A responder on the loopback interface, on a port of its own; answers `name` by multicast after `silent` questions.
type private Responder(port: int, silent: int) =
    let group = IPAddress.Parse "224.0.0.251"

    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

    let asked = ref 0

    let loopback = BitConverter.ToInt32(IPAddress.Loopback.GetAddressBytes(), 0)

    do
        // As browsers share the port: by SO_REUSEADDR alone.
        if OperatingSystem.IsLinux() then
            socket.SetRawSocketOption(1, 2, ReadOnlySpan(BitConverter.GetBytes 1))
        else
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true)

        socket.Bind(IPEndPoint(IPAddress.Any, port))

        socket.SetSocketOption(
            SocketOptionLevel.IP,
            SocketOptionName.AddMembership,
            MulticastOption(group, IPAddress.Loopback)
        )

        socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastInterface, loopback)

        let work () =
            let buffer = Array.zeroCreate<byte> 2000

            try
                while true do
                    let size = socket.Receive buffer
                    let message = buffer[.. size - 1]

                    if size > 12 && message[2] &&& 0x80uy = 0uy && message[size - 3] = 1uy then
                        // Noise first: none of it is an answer.
                        let send (bytes: byte[]) =
                            socket.SendTo(bytes, IPEndPoint(group, port)) |> ignore

                        send [| 1uy; 2uy; 3uy |]
                        send (answer "other.local" 120 (IPAddress.Parse "192.0.2.66"))

                        if Interlocked.Increment asked > silent then
                            send (answer name 120 (IPAddress.Parse "192.0.2.7"))
            with _ ->
                ()

        Thread(work, IsBackground = true).Start()

    member _.Asked = asked.Value

    interface IDisposable with
        member _.Dispose() = socket.Dispose()

let private multicast port (patience: float list) =
    MulticastDns(
        MulticastDnsOptions(
            Port = port,
            Interfaces =
                (fun a ->
                    a.Kind = NetworkKind.Loopback
                    && a.Address.AddressFamily = AddressFamily.InterNetwork),
            Patience = List<TimeSpan>(patience |> List.map TimeSpan.FromMilliseconds)
        )
    )

let private ask (dns: MulticastDns) (name: string) =
    match dns.Query(name).GetAwaiter().GetResult() with
    | null -> ValueNone
    | address -> ValueSome(address.ToString())

let private link =
    testList
        "multicast DNS over loopback"
        [ testCase "a responder answers; the answer is kept; two askers share a question" (fun () ->
              let port = Outside.freePort ()
              use responder = new Responder(port, 0)
              let dns = multicast port [ 20_000.0 ]
              let both = [| dns.Query name; dns.Query(name.ToUpperInvariant()) |]
              Task.WaitAll(both |> Array.map (fun t -> t :> Task))

              for answer in both do
                  Expect.equal (string answer.Result) "192.0.2.7" "found"

              let asked = responder.Asked
              Expect.equal (ask dns name) (ValueSome "192.0.2.7") "again"
              Expect.equal responder.Asked asked "from memory")

          testCase "a lost question is asked again" (fun () ->
              let port = Outside.freePort ()
              use responder = new Responder(port, 2)
              let dns = multicast port [ 100.0; 100.0; 20_000.0 ]
              Expect.equal (ask dns name) (ValueSome "192.0.2.7") "at the third")

          testCase "where nobody answers, or the name is not the link's, there is no address" (fun () ->
              let dns = multicast (Outside.freePort ()) [ 10.0; 10.0 ]
              Expect.equal (ask dns name) ValueNone "nobody"
              Expect.equal (ask dns "example.org") ValueNone "not asked")

          testCase "an asker who gives up does not wait" (fun () ->
              let dns = multicast (Outside.freePort ()) [ 20_000.0 ]
              use cancelled = new CancellationTokenSource()
              let query = dns.Query(name, cancelled.Token)
              cancelled.Cancel()

              Expect.throwsT<TaskCanceledException> (fun () -> query.GetAwaiter().GetResult() |> ignore) "cancelled") ]

/// Our names, asked for by another of us.
let private announcing =
    let address = IPAddress.Parse "192.0.2.9"

    testList
        "names of ours"
        [ testCase "are answered for, until they are withdrawn" (fun () ->
              let port = Outside.freePort ()
              let ours = multicast port []
              ours.Announce(name, address)
              let theirs = multicast port [ 1_000.0; 1_000.0; 20_000.0 ]
              Expect.equal (ask theirs (name.ToUpperInvariant())) (ValueSome "192.0.2.9") "found"
              ours.Withdraw name

              // Nobody answers once the goodbye is out: awaited, for it goes out on another thread.
              let rec gone left =
                  match ask (multicast port [ 50.0 ]) name with
                  | ValueNone -> true
                  | ValueSome _ -> left > 0 && gone (left - 1)

              Expect.isTrue (gone 100) "gone")

          testCase "another's questions are not answered" (fun () ->
              let port = Outside.freePort ()
              let ours = multicast port []
              ours.Announce("other.local", address)
              Expect.equal (ask (multicast port [ 50.0; 50.0 ]) name) ValueNone "not ours"
              ours.Withdraw "other.local")

          testCase "a question is read as it was written, and its answer, too" (fun () ->
              let mutable question = DnsQuestion()

              for kind, unicast in [ DnsMessage.A, true; DnsMessage.Aaaa, false ] do
                  let bytes = query kind unicast
                  Expect.isTrue (DnsMessage.Asks(ReadOnlySpan bytes, name, &question)) "asks"
                  Expect.equal question.Type kind "type"
                  Expect.equal question.IsUnicast unicast "QU"
                  Expect.equal (question.IsAnsweredBy address) (kind = DnsMessage.A) "family"
                  Expect.isFalse (DnsMessage.Asks(ReadOnlySpan bytes, "x" + name, &question)) "another name"

              let into: byte[] = Array.zeroCreate DnsMessage.MaxAnswerSize

              let size =
                  DnsMessage.WriteAnswer(Span into, name, address, TimeSpan.FromSeconds 120.0)

              Expect.equal (read into[.. size - 1] name) (ValueSome(struct ("192.0.2.9", 120.0))) "the answer"
              Expect.equal (into[2], into[3]) (0x84uy, 0uy) "QR and AA"

              let legacy =
                  DnsMessage.WriteAnswer(
                      Span into,
                      name,
                      address,
                      TimeSpan.FromSeconds 10.0,
                      DnsQuestion(0x1234us, DnsMessage.A, false)
                  )

              Expect.equal (into[0], into[1], into[5]) (0x12uy, 0x34uy, 1uy) "number and question, RFC 6762 §6.7"
              Expect.equal (read into[.. legacy - 1] name) (ValueSome(struct ("192.0.2.9", 10.0))) "the answer")

          Laws.anyBytes "any bytes end without throwing" (fun bytes ->
              let mutable question = DnsQuestion()
              DnsMessage.Asks(ReadOnlySpan bytes, name, &question) |> ignore
              true) ]

let tests = testList "Names" [ messages; servers; link; announcing ]
