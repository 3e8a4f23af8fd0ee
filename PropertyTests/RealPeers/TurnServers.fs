/// A TURN server of ours on this machine, for as long as a test lasts, and ways to reach it.
module Hybrid.WebRtc.PropertyTests.RealPeers.TurnServers

open System
open System.Collections.Generic
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Hybrid.WebRtc

/// A certificate that nobody has signed, for this address.
let certificate (address: IPAddress) : SslServerAuthenticationOptions =
    use key = RSA.Create 2048

    let request =
        CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)

    let names = SubjectAlternativeNameBuilder()
    names.AddIpAddress address
    request.CertificateExtensions.Add(names.Build())
    let now = DateTimeOffset.UtcNow
    use made = request.CreateSelfSigned(now.AddHours -1.0, now.AddDays 1.0)

    SslServerAuthenticationOptions(
        ServerCertificate = X509CertificateLoader.LoadPkcs12(made.Export X509ContentType.Pkcs12, null)
    )

/// Serves alice and bob by UDP, TCP and TLS, and relays to this machine.
let options (address: IPAddress) : TurnServerOptions =
    TurnServerOptions(
        Realm = "example.org",
        Listeners =
            [| TurnServerListener(TurnServerTransport.Udp, IPEndPoint(address, 0))
               TurnServerListener(TurnServerTransport.Tcp, IPEndPoint(address, 0))
               TurnServerListener(TurnServerTransport.Tls, IPEndPoint(address, 0))
               TurnServerListener(TurnServerTransport.Dtls, IPEndPoint(address, 0)) |],
        Users = Dictionary(dict [ "alice", "wonderland"; "bob", "builder" ]),
        SharedSecrets = [| "north" |],
        Tls = certificate address,
        RelayAddresses = [| address |],
        RelayTcp = true,
        AllowLoopbackPeers = true,
        AllowPrivatePeers = true
    )

/// Where a server listens for this transport.
let endpointOf (transport: TurnServerTransport) (server: TurnServer) : IPEndPoint =
    server.Listeners
    |> Seq.find (fun listener -> listener.Transport = transport)
    |> _.Endpoint

/// Runs `body` with a server on 127.0.0.1.
let withServer (body: TurnServer -> Task) : Task =
    task {
        use! server = TurnServer.StartAsync(options IPAddress.Loopback)
        do! body server
    }

/// The address by which other interfaces of this machine reach it: browsers use loopback only where there is nothing else.
let outwardAddress () : IPAddress =
    use socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

    try
        // Nothing is sent: the system chooses the address it would send from.
        socket.Connect(IPEndPoint(IPAddress [| 192uy; 0uy; 2uy; 1uy |], 9))
        (nonNull socket.LocalEndPoint :?> IPEndPoint).Address
    with :? SocketException ->
        IPAddress.Loopback
