/// RTCPeerConnections that reach each other by relayed TCP (RFC 6062) alone, on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.TcpRelayLoopbackTests

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Security
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.CoturnTests

let private start (relaysTcp: bool) : Task<TurnServer> =
    let at transport =
        TurnServerListener(transport, IPEndPoint(IPAddress.Loopback, 0))

    TurnServer.StartAsync(
        TurnServerOptions(
            Realm = "example.org",
            Listeners = [| at TurnServerTransport.Tcp; at TurnServerTransport.Tls |],
            Users = Dictionary(dict [ "user", "secret" ]),
            RelayAddresses = [| IPAddress.Loopback |],
            AllowLoopbackPeers = true,
            RelayTcp = relaysTcp,
            Tls = SslServerAuthenticationOptions(ServerCertificate = TurnLoopbackTests.certificate ())
        )
    )

let private urlOf (server: TurnServer) (transport: TurnServerTransport) =
    let listener = server.Listeners |> Seq.find (fun l -> l.Transport = transport)
    let place = $"127.0.0.1:{listener.Endpoint.Port}"

    match transport with
    | TurnServerTransport.Tcp -> "turn:" + place + "?transport=tcp"
    | _ -> "turns:" + place

let private options (listens: bool) (journal: string | null) =
    WebRtcOptions(
        IncludeLoopback = true,
        AddressFilter = Func<IPAddress, bool>(fun a -> a.Equals IPAddress.Loopback),
        RelayTcp = true,
        TcpListen = listens,
        JournalFolder = journal,
        ServerCertificateValidation = RemoteCertificateValidationCallback(fun _ _ _ _ -> true)
    )

/// Relayed or not at all.
let private relayedPeer (url: string) (journal: string | null) =
    new RTCPeerConnection(
        RTCConfiguration(
            IceServers = [| RTCIceServer(RTCIceServerUrls.op_Implicit url, "user", "secret") |],
            IceTransportPolicy = RTCIceTransportPolicy.Relay
        ),
        options false journal
    )

let private talk caller callee =
    StreamLoopbackTests.talkBy StreamLoopbackTests.connectWithoutUdp 20 caller callee

/// What one end is connected by, as statistics tell: kind and protocol of its candidate.
let private localEnd (pc: RTCPeerConnection) =
    task {
        let! report = pc.GetStatsAsync()
        let pair = report.OfType<RTCIceCandidatePairStats>() |> Seq.find _.Nominated

        let local =
            report.OfType<RTCIceCandidateStats>()
            |> Seq.find (fun c -> c.Id = pair.LocalCandidateId)

        Expect.equal local.Protocol (Nullable RTCIceProtocol.Tcp) "by TCP"
        return local.CandidateType.GetValueOrDefault()
    }

let private expectRelayed (pc: RTCPeerConnection) =
    task {
        let! kind = localEnd pc
        Expect.equal kind RTCIceCandidateType.Relay "relayed"
    }

let tests =
    testSequenced
    <| testList
        "Loopback over relayed TCP (RFC 6062)"
        [ for transport in [ TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
              testTask
                  $"two connections that have a relay of TCP each and no UDP talk, over {transport}; their journals replay" {
                  let folder = Directory.CreateTempSubdirectory("hybrid-relayed-").FullName

                  try
                      let! (server: TurnServer) = start true
                      let caller = relayedPeer (urlOf server transport) folder
                      let callee = relayedPeer (urlOf server transport) folder
                      do! talk caller callee
                      do! expectRelayed caller
                      do! expectRelayed callee
                      do! caller.CloseAsync()
                      do! callee.CloseAsync()
                      do! caller.DisposeAsync()
                      do! callee.DisposeAsync()
                      // Asked for, and done once the server has heard it.
                      do! eventually (fun () -> server.Allocations = 0)
                      Expect.equal server.Allocations 0 "given back"
                      do! server.DisposeAsync()

                      for file in Directory.GetFiles folder do
                          let result =
                              JournalReplay.Run(new MemoryStream(File.ReadAllBytes file), SystemCiphers.Shared)

                          Expect.isNull result.Difference "the same again"
                          Expect.isTrue result.IsWhole "to the end"
                  finally
                      Directory.Delete(folder, true)
              }

          for listens in [ true; false ] do
              testTask
                  $"""one has a relay of TCP alone, and the other no server and no UDP; the {if listens then "relayed one" else "other"} connects""" {
                  let! (server: TurnServer) = start true
                  let caller = relayedPeer (urlOf server TurnServerTransport.Tcp) null
                  let callee = new RTCPeerConnection(null, options listens null)
                  do! talk caller callee
                  do! expectRelayed caller
                  let! other = localEnd callee
                  Expect.notEqual other RTCIceCandidateType.Relay "directly"
                  do! caller.DisposeAsync()
                  do! callee.DisposeAsync()
                  do! server.DisposeAsync()
              }

          testTask "a server that relays no TCP says 442, and its relay of UDP serves" {
              let! (server: TurnServer) = start false
              let url = urlOf server TurnServerTransport.Tcp
              let caller = relayedPeer url null
              let callee = relayedPeer url null

              let code = TaskCompletionSource<int>()

              caller.OnIceCandidateError.Subscribe(fun e -> code.TrySetResult e.ErrorCode |> ignore)
              |> ignore

              do! TurnLoopbackTests.talk caller callee
              let! told = code.Task.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
              Expect.equal told 442 "Unsupported Transport Protocol"
              do! caller.DisposeAsync()
              do! callee.DisposeAsync()
              do! server.DisposeAsync()
          }

          testTask "nobody is asked for TCP without the option" {
              let! (server: TurnServer) = start true

              let pc =
                  TurnLoopbackTests.peer (urlOf server TurnServerTransport.Tcp) "secret" true null

              pc.CreateDataChannel "x" |> ignore
              do! pc.SetLocalDescriptionAsync()
              do! within (pc.GatheringCompleteAsync())
              Expect.equal server.Allocations 1 "UDP's"
              Expect.isFalse ((nonNull pc.LocalDescription).Sdp.Contains "tcptype") "no candidate of TCP"
              do! pc.DisposeAsync()
              do! server.DisposeAsync()
          }

          for transport in [ TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
              withCoturn $"two connections talk by coturn's relays of TCP alone, over {transport}" (fun coturn ->
                  task {
                      use caller = relayedPeer (coturn.Url transport) null
                      use callee = relayedPeer (coturn.Url transport) null
                      do! talk caller callee
                      do! expectRelayed caller
                      do! expectRelayed callee
                  }) ]
