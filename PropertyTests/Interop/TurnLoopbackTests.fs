/// Two RTCPeerConnections in this process that have a TURN server of ours alone, on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.TurnLoopbackTests

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Security
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

/// A certificate that nobody has signed, for this machine.
let certificate () : X509Certificate2 =
    use key = ECDsa.Create ECCurve.NamedCurves.nistP256

    let request = CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256)

    let names = SubjectAlternativeNameBuilder()
    names.AddDnsName "localhost"
    names.AddIpAddress IPAddress.Loopback
    request.CertificateExtensions.Add(names.Build())
    let now = DateTimeOffset.UtcNow
    use made = request.CreateSelfSigned(now.AddDays -1.0, now.AddDays 1.0)
    X509CertificateLoader.LoadPkcs12(made.Export X509ContentType.Pkcs12, null)

let private start (certificate: X509Certificate2) : Task<TurnServer> =
    let at transport =
        TurnServerListener(transport, IPEndPoint(IPAddress.Loopback, 0))

    TurnServer.StartAsync(
        TurnServerOptions(
            Realm = "example.org",
            Listeners =
                [| at TurnServerTransport.Udp
                   at TurnServerTransport.Tcp
                   at TurnServerTransport.Tls
                   at TurnServerTransport.Dtls |],
            Users = Dictionary(dict [ "user", "secret" ]),
            RelayAddresses = [| IPAddress.Loopback |],
            AllowLoopbackPeers = true,
            Tls = SslServerAuthenticationOptions(ServerCertificate = certificate)
        )
    )

let private urlOf (server: TurnServer) (transport: TurnServerTransport) =
    let listener = server.Listeners |> Seq.find (fun l -> l.Transport = transport)
    let place = $"127.0.0.1:{listener.Endpoint.Port}"

    match transport with
    | TurnServerTransport.Udp -> "turn:" + place
    | TurnServerTransport.Tcp -> "turn:" + place + "?transport=tcp"
    | TurnServerTransport.Dtls -> "turns:" + place + "?transport=udp"
    | _ -> "turns:" + place

/// Relayed or not at all, by one server.
let peer (url: string) (password: string) (trusts: bool) (journal: string | null) =
    new RTCPeerConnection(
        RTCConfiguration(
            IceServers = [| RTCIceServer(RTCIceServerUrls.op_Implicit url, "user", password) |],
            IceTransportPolicy = RTCIceTransportPolicy.Relay
        ),
        WebRtcOptions(
            IncludeLoopback = true,
            AddressFilter = Func<IPAddress, bool>(fun a -> a.Equals IPAddress.Loopback),
            JournalFolder = journal,
            ServerCertificateValidation =
                (if trusts then
                     RemoteCertificateValidationCallback(fun _ _ _ _ -> true)
                 else
                     null)
        )
    )

/// Offer and answer, all candidates in them.
let connect (caller: RTCPeerConnection) (callee: RTCPeerConnection) : Task =
    task {
        do! caller.SetLocalDescriptionAsync()
        do! caller.GatheringCompleteAsync()
        do! callee.SetRemoteDescriptionAsync(nonNull caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! callee.GatheringCompleteAsync()
        do! caller.SetRemoteDescriptionAsync(nonNull callee.LocalDescription)
    }

/// 2 MB to a channel's other end and back.
let talk (caller: RTCPeerConnection) (callee: RTCPeerConnection) : Task =
    StreamLoopbackTests.talkBy connect 20 caller callee

/// The code of the first `icecandidateerror`.
let refusal (pc: RTCPeerConnection) : Task<RTCPeerConnectionIceErrorEvent> =
    task {
        let told =
            TaskCompletionSource<RTCPeerConnectionIceErrorEvent>(TaskCreationOptions.RunContinuationsAsynchronously)

        pc.OnIceCandidateError.Subscribe(fun e -> told.TrySetResult e |> ignore)
        |> ignore

        pc.CreateDataChannel "x" |> ignore
        do! pc.SetLocalDescriptionAsync()
        do! within told.Task
        do! within (pc.GatheringCompleteAsync())
        return! told.Task
    }

let tests =
    testSequenced
    <| testList
        "Loopback over TURN"
        [ for transport, protocol in
              [ TurnServerTransport.Udp, RTCIceServerTransportProtocol.Udp
                TurnServerTransport.Tcp, RTCIceServerTransportProtocol.Tcp
                TurnServerTransport.Tls, RTCIceServerTransportProtocol.Tls
                TurnServerTransport.Dtls, RTCIceServerTransportProtocol.Tls ] do
              testTask $"two connections talk by relays alone, over {transport}; their journals replay" {
                  let folder = Directory.CreateTempSubdirectory("hybrid-turn-").FullName

                  try
                      let certificate = certificate ()
                      let! (server: TurnServer) = start certificate
                      let url = urlOf server transport
                      let caller = peer url "secret" true folder
                      let callee = peer url "secret" true folder
                      do! talk caller callee

                      for pc in [ caller; callee ] do
                          let! (report: RTCStatsReport) = pc.GetStatsAsync()
                          let pair = report.OfType<RTCIceCandidatePairStats>() |> Seq.find _.Nominated

                          let local =
                              report.OfType<RTCIceCandidateStats>()
                              |> Seq.find (fun c -> c.Id = pair.LocalCandidateId)

                          Expect.equal local.CandidateType (Nullable RTCIceCandidateType.Relay) "relayed"
                          Expect.equal local.RelayProtocol (Nullable protocol) "relayProtocol"
                          Expect.equal local.Url url "url"

                      Expect.equal server.Allocations 2 "one each"
                      do! caller.DisposeAsync()
                      do! callee.DisposeAsync()
                      do! eventually (fun () -> server.Allocations = 0)
                      Expect.equal server.Allocations 0 "given back"

                      for file in Directory.GetFiles folder do
                          let result =
                              JournalReplay.Run(new MemoryStream(File.ReadAllBytes file), SystemCiphers.Shared)

                          Expect.isNull result.Difference "the same again"
                          Expect.isTrue result.IsWhole "to the end"

                      do! server.DisposeAsync()
                  finally
                      Directory.Delete(folder, true)
              }

          testTask "a wrong password is told as 401, a certificate nobody trusts as 701; gathering ends" {
              let certificate = certificate ()
              let! (server: TurnServer) = start certificate
              let wrong = peer (urlOf server TurnServerTransport.Udp) "wrong" true null
              let! (error: RTCPeerConnectionIceErrorEvent) = refusal wrong
              Expect.equal error.ErrorCode 401 "the password"
              let distrusting = peer (urlOf server TurnServerTransport.Tls) "secret" false null
              let! (error: RTCPeerConnectionIceErrorEvent) = refusal distrusting
              Expect.equal error.ErrorCode 701 "the certificate"
              do! wrong.DisposeAsync()
              do! distrusting.DisposeAsync()
              do! server.DisposeAsync()
          } ]
