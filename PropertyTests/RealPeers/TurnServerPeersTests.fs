/// Our TURN server and clients that others wrote: coturn's `turnutils_uclient`, and Chromium.
module Hybrid.WebRtc.PropertyTests.RealPeers.TurnServerPeersTests

open System
open System.Net
open System.Net.Sockets
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers.TurnServers

/// Runs coturn's client against a server; answers what it printed.
let private uclient (server: TurnServer) (transport: TurnServerTransport) (switches: string list) =
    task {
        match Peers.coturn () with
        | Error reason -> return skiptest reason
        | Ok client ->
            let port = (endpointOf transport server).Port

            let by =
                match transport with
                | TurnServerTransport.Udp -> []
                | TurnServerTransport.Tcp -> [ "-t" ]
                | TurnServerTransport.Dtls -> [ "-S" ]
                | _ -> [ "-t"; "-S" ]

            let! struct (_, output) =
                Outside.execute
                    Outside.Patience
                    Outside.root
                    client
                    (by
                     @ switches
                     @ [ "-L"; "127.0.0.1"; "-p"; string port; "-l"; "400"; "-z"; "2"; "127.0.0.1" ])

            return output
    }

/// Every message came back.
let private lostNothing (output: string) : unit =
    let figures =
        Regex.Match(output, @"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", RegexOptions.RightToLeft)

    Expect.isTrue figures.Success output
    Expect.isGreaterThan (int figures.Groups[1].Value) 0 "messages were sent"
    Expect.equal figures.Groups[2].Value figures.Groups[1].Value "as many came back as were sent"
    Expect.stringContains output "Total lost packets 0 (" "nothing was lost"

let private alice = [ "-u"; "alice"; "-w"; "wonderland"; "-m"; "5"; "-n"; "200" ]

/// With a peer that sends everything back, of coturn's as well.
let private withPeer (body: int -> Task) : Task =
    task {
        let peer = Outside.program [ "turnutils_peer" ] |> ValueOption.defaultValue ""
        let port = Outside.freePort ()

        use _ = new Outside.Conversation(peer, [ "-L"; "127.0.0.1"; "-p"; string port ])

        // It is there once it sends something back.
        use probe = new UdpClient(IPEndPoint(IPAddress.Loopback, 0))
        let answer = probe.ReceiveAsync()
        let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

        while not answer.IsCompletedSuccessfully && DateTime.UtcNow < deadline do
            let! _ = probe.SendAsync([| 1uy |], IPEndPoint(IPAddress.Loopback, port))
            let! _ = Task.WhenAny(answer, Task.Delay 20)
            ()

        Expect.isTrue answer.IsCompletedSuccessfully "turnutils_peer answers"
        do! body port
    }

let private coturn name (body: TurnServer -> Task) =
    Outside.needing Peers.coturn name (fun _ -> withServer body)

let private transports =
    [ TurnServerTransport.Udp; TurnServerTransport.Tcp; TurnServerTransport.Tls ]

let private tools =
    [ for transport in TurnServerTransport.Dtls :: transports do
          for how, switches in [ "channels", []; "indications", [ "-s" ] ] do
              coturn $"coturn's client loses nothing to a peer: {transport}, {how}" (fun server ->
                  withPeer (fun port ->
                      task {
                          let! output =
                              uclient server transport (alice @ switches @ [ "-e"; "127.0.0.1"; "-r"; string port ])

                          lostNothing output
                      }))

              coturn $"coturn's clients lose nothing to each other: {transport}, {how}" (fun server ->
                  task {
                      let! output = uclient server transport (alice @ switches @ [ "-y" ])
                      lostNothing output
                  })

      for transport in [ TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
          // Not `-P`, where peers connect: of that it counts half as lost, with coturn's own server, too.
          for how, switch in [ "connecting", "-T" ] do
              coturn
                  $"coturn's clients lose nothing to each other by relayed TCP (RFC 6062): {transport}, {how}"
                  (fun server ->
                      task {
                          let! output = uclient server transport (alice @ [ switch; "-y" ])
                          lostNothing output
                      })

      coturn "coturn's client is let in with REST credentials, and with DONT-FRAGMENT" (fun server ->
          task {
              let made = TurnServer.CreateCredential("north", "carol", TimeSpan.FromMinutes 5.0)

              let! output =
                  uclient
                      server
                      TurnServerTransport.Udp
                      [ "-u"
                        made.Username
                        "-w"
                        made.Credential
                        "-y"
                        "-g"
                        "-m"
                        "4"
                        "-n"
                        "50" ]

              lostNothing output
          })

      coturn "coturn's client is not let in with a wrong password" (fun server ->
          task {
              let! output =
                  uclient server TurnServerTransport.Udp [ "-u"; "alice"; "-w"; "x"; "-y"; "-m"; "2"; "-n"; "5" ]

              Expect.stringContains output "Cannot complete Allocation" "refused"
              Expect.equal server.Allocations 0 "nothing is allocated"
          }) ]

/// Two peers on one page, relayed candidates only: they exchange data, and say what they were connected by.
let private relayed =
    """async ({ url, username, credential }) => {
        const config = { iceServers: [{ urls: [url], username, credential }], iceTransportPolicy: "relay" };
        const a = new RTCPeerConnection(config), b = new RTCPeerConnection(config);
        const errors = [], seen = [];
        for (const [from, to] of [[a, b], [b, a]]) {
            from.onicecandidate = ({ candidate }) => {
                if (!candidate?.candidate) return;
                seen.push(candidate.type + "/" + (candidate.relayProtocol ?? ""));
                to.addIceCandidate(candidate);
            };
            from.onicecandidateerror = (e) => errors.push(e.errorCode);
        }
        const incoming = new Promise((go) => b.ondatachannel = ({ channel }) => go(channel));
        const channel = a.createDataChannel("relayed");
        await a.setLocalDescription();
        await b.setRemoteDescription(a.localDescription);
        await b.setLocalDescription();
        await a.setRemoteDescription(b.localDescription);
        const timeout = (n) => new Promise((_, no) => setTimeout(() => no(new Error(`errors: ${errors}, seen: ${seen}`)), n));
        await Promise.race([opened(channel), timeout(60000)]);
        const other = await incoming;
        other.onmessage = (e) => other.send(e.data);
        let octets = 0;
        for (let i = 0; i < 40; i++) {
            const message = new Uint8Array(30000).fill(i);
            const echo = next(channel);
            channel.send(message);
            const data = await Promise.race([echo, timeout(60000)]);
            octets += data.byteLength ?? data.size;
        }
        const stats = [...(await a.getStats()).values()];
        const pair = stats.find((s) => s.type === "candidate-pair" && s.nominated);
        const local = stats.find((s) => s.id === pair.localCandidateId);
        a.close(); b.close();
        return { octets, type: local.candidateType, protocol: local.relayProtocol, seen: [...new Set(seen)] };
    }"""

/// What gathering says of a server that does not let in.
let private refused =
    """async ({ url, username, credential }) => {
        const a = new RTCPeerConnection({ iceServers: [{ urls: [url], username, credential }], iceTransportPolicy: "relay" });
        const error = new Promise((go) => a.onicecandidateerror = (e) => go(e.errorCode));
        a.createDataChannel("x");
        await a.setLocalDescription();
        const code = await error;
        a.close();
        return { code };
    }"""

let private url (transport: TurnServerTransport) (server: TurnServer) =
    let endpoint = endpointOf transport server

    match transport with
    | TurnServerTransport.Udp -> $"turn:{endpoint}"
    | TurnServerTransport.Tcp -> $"turn:{endpoint}?transport=tcp"
    | _ -> $"turns:{endpoint}?transport=tcp"

let private browser name (body: TurnServer -> Page -> Task) =
    Outside.needing Peers.chromium name (fun path ->
        task {
            use! server = TurnServer.StartAsync(options (outwardAddress ()))

            use! chromium =
                Chromium.Launch(path, true, "--ignore-certificate-errors", "--allow-loopback-in-peer-connection")

            let! page = chromium.Open()
            do! body server page
        })

let private browsers =
    [ for transport, protocol in
          [ TurnServerTransport.Udp, "udp"
            TurnServerTransport.Tcp, "tcp"
            TurnServerTransport.Tls, "tls" ] do
          browser $"Chromium and Chromium exchange data, both relayed by {transport}" (fun server page ->
              task {
                  let made = TurnServer.CreateCredential("north", "dave", TimeSpan.FromMinutes 5.0)

                  let! told =
                      page.Call(
                          120.0,
                          relayed,
                          {| url = url transport server
                             username = made.Username
                             credential = made.Credential |}
                      )

                  Expect.equal (told.GetProperty("octets").GetInt32()) 1_200_000 "everything came back"
                  Expect.equal (told.GetProperty("type").GetString()) "relay" "relayed"
                  Expect.equal (told.GetProperty("protocol").GetString()) protocol "by the transport of the URL"

                  for seen in told.GetProperty("seen").EnumerateArray() do
                      Expect.stringStarts (string (seen.GetString())) "relay/" "no other candidate"

                  let until = Environment.TickCount64 + int64 (1_000.0 * Outside.Patience)

                  while server.Allocations > 0 && Environment.TickCount64 < until do
                      do! Task.Delay 10

                  Expect.equal server.Allocations 0 "gone with the connections"
              })

      browser "Chromium with a wrong password is told 401" (fun server page ->
          task {
              let! told =
                  page.Call(
                      refused,
                      {| url = url TurnServerTransport.Udp server
                         username = "alice"
                         credential = "x" |}
                  )

              Expect.equal (told.GetProperty("code").GetInt32()) 401 "icecandidateerror"
          }) ]

/// The page's own end, which has relays alone, and sends back what it hears.
let private prepare =
    """({ url, username, credential }) => {
        window.pc = new RTCPeerConnection({ iceServers: [{ urls: [url], username, credential }], iceTransportPolicy: "relay" });
        pc.ondatachannel = ({ channel }) => {
            channel.binaryType = "arraybuffer";
            channel.onmessage = (e) => channel.send(e.data);
        };
        pc.createDataChannel("theirs");
    }"""

let private theirEnd =
    """async () => {
        const stats = [...(await pc.getStats()).values()];
        const transport = stats.find((s) => s.type === "transport");
        const pair = stats.find((s) => s.id === transport.selectedCandidatePairId);
        const local = stats.find((s) => s.id === pair.localCandidateId);
        return [local.candidateType, local.relayProtocol];
    }"""

/// A call between the browser, which has relays alone, and a connection of ours.
let private call offerer transport protocol (policy: RTCIceTransportPolicy) (server: TurnServer) (page: Page) : Task =
    task {
        let made = TurnServer.CreateCredential("north", "erin", TimeSpan.FromMinutes 5.0)

        let! _ =
            page.Call(
                prepare,
                {| url = url transport server
                   username = made.Username
                   credential = made.Credential |}
            )

        let isRelayed = policy = RTCIceTransportPolicy.Relay

        let servers =
            if isRelayed then
                [| RTCIceServer(
                       RTCIceServerUrls.op_Implicit (url transport server: string),
                       made.Username,
                       made.Credential
                   ) |]
            else
                [||]

        use ours =
            new OurPeer(
                WebRtcOptions(ServerCertificateValidation = fun _ _ _ _ -> true),
                RTCConfiguration(IceServers = servers, IceTransportPolicy = policy)
            )

        let line = ours.Create "ours"
        do! negotiate offerer ours page
        do! line.Opened()

        for size in [ 1; 1_000; 65_536; 262_144 ] do
            let octets = Array.init size (fun i -> byte (i * 7 >>> 3))
            line.Channel.Send octets
            let! struct (_, back) = line.Next()
            Expect.isTrue (back.AsSpan().SequenceEqual(ReadOnlySpan octets)) $"{size} octets come back"

        let! theirs = page.Call theirEnd
        Expect.equal (string theirs[0]) "relay" "the browser's candidate"
        Expect.equal (string theirs[1]) protocol "by the transport of the URL"
        let! (report: RTCStatsReport) = ours.Pc.GetStatsAsync()
        let pair = report.OfType<RTCIceCandidatePairStats>() |> Seq.find _.Nominated

        let kindOf id =
            (report.OfType<RTCIceCandidateStats>() |> Seq.find (fun c -> c.Id = id)).CandidateType

        let kind =
            if isRelayed then
                RTCIceCandidateType.Relay
            else
                RTCIceCandidateType.Host

        Expect.equal (kindOf pair.LocalCandidateId) (Nullable kind) "ours"
        Expect.equal (kindOf pair.RemoteCandidateId) (Nullable RTCIceCandidateType.Relay) "theirs, as we see it"
    }

let private calls =
    [ for transport, protocol in
          [ TurnServerTransport.Udp, "udp"
            TurnServerTransport.Tcp, "tcp"
            TurnServerTransport.Tls, "tls" ] do
          for offerer in [ Ours; Browsers ] do
              for policy in [ RTCIceTransportPolicy.All; RTCIceTransportPolicy.Relay ] do
                  browser
                      $"Chromium, relayed by {transport}, and a connection of ours with policy {policy}; the offer is {offerer}"
                      (call offerer transport protocol policy) ]

let tests =
    testSequenced
    <| testList
        "our TURN server with others' clients"
        [ testList "coturn" tools
          testList "Chromium" browsers
          testList "Chromium and our connection" calls ]
