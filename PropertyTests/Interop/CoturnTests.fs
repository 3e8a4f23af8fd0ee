/// Two RTCPeerConnections in this process that have coturn alone, on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.CoturnTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.TurnLoopbackTests

let private turnserver () =
    match Outside.program [ "turnserver" ] with
    | ValueSome path -> Ok path
    | ValueNone -> Error "coturn is not installed"

/// coturn, and where it keeps its things; its nonces live for so many seconds.
type Coturn(path: string, nonces: int) =
    let port, tlsPort = Outside.freePort (), Outside.freePort ()
    let folder = Directory.CreateTempSubdirectory("hybrid-coturn-").FullName

    do
        use certificate = certificate ()
        File.WriteAllText(Path.Combine(folder, "cert.pem"), certificate.ExportCertificatePem())

        use key =
            nonNull (Security.Cryptography.X509Certificates.ECDsaCertificateExtensions.GetECDsaPrivateKey certificate)

        File.WriteAllText(Path.Combine(folder, "key.pem"), key.ExportPkcs8PrivateKeyPem())

    let start () =
        new Outside.Conversation(
            path,
            [ "-n"
              "--lt-cred-mech"
              "--user=user:secret"
              "--realm=example.org"
              "--listening-ip=127.0.0.1"
              "--relay-ip=127.0.0.1"
              $"--listening-port={port}"
              $"--tls-listening-port={tlsPort}"
              $"--cert={folder}/cert.pem"
              $"--pkey={folder}/key.pem"
              "--allow-loopback-peers"
              $"--stale-nonce={nonces}"
              "--no-cli"
              $"--userdb={folder}/users.db"
              $"--pidfile={folder}/pid"
              $"--log-file={folder}/log"
              "--simple-log" ]
        )

    let mutable running = start ()

    /// It takes connections.
    member _.Ready() : Task =
        task {
            let deadline = DateTime.UtcNow.AddSeconds Outside.Patience
            let mutable isUp = false

            while not isUp do
                use probe =
                    new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                try
                    do! probe.ConnectAsync(IPAddress.Loopback, tlsPort)
                    isUp <- true
                with :? SocketException ->
                    if DateTime.UtcNow > deadline then
                        failtest $"coturn does not start: {running.Errors}"

                    do! Task.Delay 20
        }

    /// Everything that it knew is gone.
    member this.Restart() : Task =
        (running :> IDisposable).Dispose()
        running <- start ()
        this.Ready()

    member _.Url(transport: TurnServerTransport) : string =
        match transport with
        | TurnServerTransport.Udp -> $"turn:127.0.0.1:{port}"
        | TurnServerTransport.Tcp -> $"turn:127.0.0.1:{port}?transport=tcp"
        | _ -> $"turns:127.0.0.1:{tlsPort}"

    interface IDisposable with
        member _.Dispose() =
            (running :> IDisposable).Dispose()
            Directory.Delete(folder, true)

let private withNonces seconds name (body: Coturn -> Task) =
    Outside.needing turnserver name (fun path ->
        task {
            use coturn = new Coturn(path, seconds)
            do! coturn.Ready()
            do! body coturn
        })

/// With nonces that outlive the test: where an answer takes longer than a nonce lives, no client gets anywhere.
let withCoturn name (body: Coturn -> Task) = withNonces 600 name body

/// No transport of `TurnServer`'s yet.
let private dtlsUrl (coturn: Coturn) : string =
    coturn.Url TurnServerTransport.Tls + "?transport=udp"

let tests =
    testSequenced
    <| testList
        "coturn"
        [ for transport in [ TurnServerTransport.Udp; TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
              withCoturn $"two connections talk by its relays alone, over {transport}" (fun coturn ->
                  task {
                      use caller = peer (coturn.Url transport) "secret" true null
                      use callee = peer (coturn.Url transport) "secret" true null
                      do! talk caller callee
                  })

          withCoturn "two connections talk by its relays alone, over DTLS" (fun coturn ->
              task {
                  use caller = peer (dtlsUrl coturn) "secret" true null
                  use callee = peer (dtlsUrl coturn) "secret" true null
                  do! talk caller callee
              })

          withCoturn "a certificate that nobody vouches for is refused over DTLS, too" (fun coturn ->
              task {
                  use wary = peer (dtlsUrl coturn) "secret" false null
                  let! (error: RTCPeerConnectionIceErrorEvent) = refusal wary
                  Expect.equal error.ErrorCode 701 "the code"
                  Expect.stringContains error.ErrorText "certificate" "why"
              })

          withCoturn "a wrong password is told as 401" (fun coturn ->
              task {
                  use wrong = peer (coturn.Url TurnServerTransport.Udp) "wrong" true null
                  let! (error: RTCPeerConnectionIceErrorEvent) = refusal wrong
                  Expect.equal error.ErrorCode 401 "the code"
              })

          withNonces 1 "a nonce that expired before the permissions were asked for is renewed" (fun coturn ->
              task {
                  use caller = peer (coturn.Url TurnServerTransport.Udp) "secret" true null
                  use callee = peer (coturn.Url TurnServerTransport.Udp) "secret" true null
                  let channel = caller.CreateDataChannel "late"
                  do! caller.SetLocalDescriptionAsync()
                  do! within (caller.GatheringCompleteAsync())
                  // coturn's own clock: its nonces live for a second.
                  do! Task.Delay 2_000
                  do! connect caller callee
                  do! within (channel.WaitForOpenAsync())
              })

          withCoturn "a server that restarts in mid-call: an ICE restart, and nothing reliable is lost" (fun coturn ->
              task {
                  use caller = peer (coturn.Url TurnServerTransport.Udp) "secret" true null
                  use callee = peer (coturn.Url TurnServerTransport.Udp) "secret" true null

                  let all =
                      TaskCompletionSource<int list>(TaskCreationOptions.RunContinuationsAsynchronously)

                  let mutable seen = []

                  callee.OnDataChannel.Subscribe(fun e ->
                      e.Channel.OnMessage.Subscribe(fun m ->
                          seen <- int m.Data.Span[0] :: seen

                          if seen.Length = 400 then
                              all.TrySetResult(List.rev seen) |> ignore)
                      |> ignore)
                  |> ignore

                  let channel = caller.CreateDataChannel "bulk"
                  do! connect caller callee
                  do! within (channel.WaitForOpenAsync())

                  let send from upTo =
                      task {
                          for i in from..upTo do
                              do! channel.SendAsync(ReadOnlyMemory(Array.create 10_000 (byte (i % 251))))
                      }

                  do! send 0 99
                  do! coturn.Restart()
                  // More than what waits for the channel before a send does, so part of them goes on after the restart.
                  let rest = send 100 399
                  caller.RestartIce()
                  do! connect caller callee
                  do! rest.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
                  let! (arrived: int list) = all.Task.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
                  Expect.equal arrived [ for i in 0..399 -> i % 251 ] "once each, in order"
              }) ]
