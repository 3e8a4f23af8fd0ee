/// Streams to servers: TLS, and proxies on the way.
module Hybrid.WebRtc.PropertyTests.Stack.StreamServersTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Text
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests.Stack.Kinds
open Hybrid.WebRtc.PropertyTests.Stack.PortTests
open Hybrid.WebRtc.PropertyTests.Stack.StreamTests

/// A server on loopback that serves one connection after the other.
type private Server(serve: NetworkStream -> Task) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start()

    let loop =
        task {
            try
                while true do
                    let! client = listener.AcceptTcpClientAsync()

                    task {
                        use client = client

                        try
                            do! serve (client.GetStream())
                        with _ ->
                            ()
                    }
                    |> ignore
            with _ ->
                ()
        }

    member _.Endpoint: Endpoint =
        match listener.LocalEndpoint with
        | :? IPEndPoint as at -> { loopback with Port = uint16 at.Port }
        | _ -> invalidOp "not started"

    interface IDisposable with
        member _.Dispose() =
            listener.Stop()
            loop.Wait(TimeSpan.FromSeconds 5.0) |> ignore

let private copy (from: Stream) (into: Stream) : Task = from.CopyToAsync into

let private echo (stream: Stream) : Task = copy stream stream

let private certificate =
    lazy
        (use key = ECDsa.Create ECCurve.NamedCurves.nistP256
         let request = CertificateRequest("CN=turn.example", key, HashAlgorithmName.SHA256)
         let names = SubjectAlternativeNameBuilder()
         names.AddDnsName "turn.example"
         request.CertificateExtensions.Add(names.Build())

         let made =
             request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays -1.0, DateTimeOffset.UtcNow.AddDays 1.0)

         X509CertificateLoader.LoadPkcs12(made.Export X509ContentType.Pkcs12, null))

let private tlsServer (names: ConcurrentQueue<string>) =
    new Server(fun stream ->
        task {
            use secure = new SslStream(stream)

            do!
                secure.AuthenticateAsServerAsync(
                    SslServerAuthenticationOptions(
                        ServerCertificateSelectionCallback =
                            ServerCertificateSelectionCallback(fun _ name ->
                                names.Enqueue(string name)
                                certificate.Value)
                    )
                )

            do! echo secure
        })

let private echoes (scene: Scene) (port: StreamPort) (target: Endpoint) (owner: StreamOwner) =
    let frames = [ for i in 0..40 -> datagram StreamKind.TurnTls (23 * i) i ]

    for frame in frames do
        scene.Send(port, target, frame)

    eventually "all come back" (has owner.Frames frames.Length)
    Expect.equal (List.ofSeq owner.Frames) frames "as they were"

let private tls =
    [ testCase "TLS: a certificate that nobody vouches for is refused by default" (fun () ->
          let names = ConcurrentQueue()
          use server = tlsServer names
          use scene = new Scene(portable)
          let owner = scene.Owner()
          use _ = scene.Connect(StreamKind.TurnTls, server.Endpoint, "turn.example", owner)
          eventually "it ends" (has owner.Ended 1)
          Expect.isEmpty owner.Opened "never opened"
          Expect.stringContains (Seq.head owner.Ended) "certificate" "says why")

      testCase "TLS: a callback may take it, the server is named, and frames pass" (fun () ->
          let names = ConcurrentQueue()
          use server = tlsServer names
          let errors = ConcurrentQueue<SslPolicyErrors>()

          let options =
              StackOptions(
                  ServerCertificateValidation =
                      RemoteCertificateValidationCallback(fun _ _ _ e ->
                          errors.Enqueue e
                          e = SslPolicyErrors.RemoteCertificateChainErrors)
              )

          use scene = new Scene(portable, options)
          let owner = scene.Owner()
          use port = scene.Connect(StreamKind.TurnTls, server.Endpoint, "turn.example", owner)
          eventually "it opens" (has owner.Opened 1)
          Expect.sequenceEqual names [ "turn.example" ] "SNI"

          Expect.equal
              (Seq.head errors)
              SslPolicyErrors.RemoteCertificateChainErrors
              "the name is right, the chain unknown"

          echoes scene port server.Endpoint owner
          let other = scene.Owner()
          use _ = scene.Connect(StreamKind.TurnTls, server.Endpoint, "another.example", other)
          eventually "another name is not its" (has other.Ended 1)) ]

let private readLine (stream: Stream) =
    let line = StringBuilder()
    let mutable more = true

    while more do
        match stream.ReadByte() with
        | -1 -> more <- false
        | b ->
            line.Append(char b) |> ignore
            more <- not ((string line).EndsWith "\r\n")

    (string line).TrimEnd()

let private relay (stream: Stream) (target: IPEndPoint) : Task =
    task {
        use onward = new TcpClient()
        do! onward.ConnectAsync target

        let! _ =
            Task.WhenAny(copy stream (onward.GetStream()), copy (onward.GetStream()) stream)

        ()
    }

/// An HTTP proxy that wants a user's password.
let private httpProxy () =
    new Server(fun stream ->
        task {
            let request = readLine stream
            let mutable header = readLine stream
            let mutable proof = ""

            while header <> "" do
                if header.StartsWith "Proxy-Authorization: " then
                    proof <- header

                header <- readLine stream

            let expected =
                "Proxy-Authorization: Basic "
                + Convert.ToBase64String(Encoding.ASCII.GetBytes "me:secret")

            if proof <> expected then
                do!
                    stream.WriteAsync(
                        ReadOnlyMemory "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"B
                    )
            else
                do! stream.WriteAsync(ReadOnlyMemory "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"B)
                do! relay stream (IPEndPoint.Parse(request.Split(' ')[1]))
        })

/// A SOCKS5 proxy that wants one, RFC 1928 and 1929.
let private socksProxy () =
    new Server(fun stream ->
        task {
            let read (count: int) =
                task {
                    let octets: byte[] = Array.zeroCreate count
                    do! stream.ReadExactlyAsync(Memory octets)
                    return octets
                }

            let! hello = read 2
            let! methods = read (int hello[1])

            if not (Array.contains 2uy methods) then
                do! stream.WriteAsync(ReadOnlyMemory [| 5uy; 0xffuy |])
            else
                do! stream.WriteAsync(ReadOnlyMemory [| 5uy; 2uy |])
                let! head = read 2
                let! user = read (int head[1])
                let! length = read 1
                let! password = read (int length[0])

                if (user, password) <> ("me"B, "secret"B) then
                    do! stream.WriteAsync(ReadOnlyMemory [| 1uy; 1uy |])
                else
                    do! stream.WriteAsync(ReadOnlyMemory [| 1uy; 0uy |])
                    let! request = read 10

                    let target =
                        IPEndPoint(IPAddress request[4..7], (int request[8] <<< 8) ||| int request[9])

                    do! stream.WriteAsync(ReadOnlyMemory [| 5uy; 0uy; 0uy; 3uy; 2uy; 'h'B; 'i'B; 0uy; 9uy |])
                    do! relay stream target
        })

let private through (kind: ProxyKind) (proxy: Server) (user: string | null) (password: string | null) =
    StackOptions(
        Proxy = ProxySettings(kind, "127.0.0.1", int proxy.Endpoint.Port, user, password),
        ServerCertificateValidation = RemoteCertificateValidationCallback(fun _ _ _ _ -> true)
    )

let private proxies =
    [ for kind, make in [ ProxyKind.Http, httpProxy; ProxyKind.Socks5, socksProxy ] do
          testCase $"{kind}: TCP and TLS pass the proxy" (fun () ->
              use proxy = make ()
              use scene = new Scene(portable, through kind proxy "me" "secret")
              use plain = new Server(fun stream -> echo stream)
              use secure = tlsServer (ConcurrentQueue())

              for stream, server in [ StreamKind.TurnTcp, plain; StreamKind.TurnTls, secure ] do
                  let owner = scene.Owner()
                  use port = scene.Connect(stream, server.Endpoint, "turn.example", owner)
                  eventually "it opens" (has owner.Opened 1)
                  echoes scene port server.Endpoint owner)

          testCase $"{kind}: a wrong password, and none, end with a reason; a peer's stream asks no proxy" (fun () ->
              use proxy = make ()
              use plain = new Server(fun stream -> echo stream)

              let users: (string | null * string | null) list = [ "me", "wrong"; null, null ]

              for user, password in users do
                  use scene = new Scene(portable, through kind proxy user password)
                  let owner = scene.Owner()
                  use _ = scene.Connect(StreamKind.TurnTcp, plain.Endpoint, "", owner)
                  eventually "it ends" (has owner.Ended 1)
                  Expect.stringContains (Seq.head owner.Ended) "proxy" "says who refused"

                  use direct = scene.Connect(StreamKind.IceTcp, plain.Endpoint, "", owner)
                  eventually "directly" (has owner.Opened 1)) ]

let tests = testSequenced <| testList "Streams to servers" (tls @ proxies)
