/// A real browser that has no way to us but TCP, RFC 6544: it connects to our listener.
module Hybrid.WebRtc.PropertyTests.RealPeers.ChromiumTcpTests

open System
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

let private prepare =
    """() => {
        window.pc = new RTCPeerConnection();
        const adopt = (channel) => {
            channel.binaryType = "arraybuffer";
            channel.onmessage = (e) => channel.send(e.data);
        };
        pc.ondatachannel = ({ channel }) => adopt(channel);
        adopt(pc.createDataChannel("theirs"));
    }"""

/// As on a network that carries no UDP: its candidates are left out on the way.
let private withoutUdp (description: JsonElement) : JsonElement =
    let sdp =
        (nonNull (description.GetProperty("sdp").GetString())).Split("\r\n")
        |> Array.filter (fun line ->
            not (
                line.StartsWith "a=candidate:"
                && line.Contains(" udp ", StringComparison.OrdinalIgnoreCase)
            ))
        |> String.concat "\r\n"

    let changed =
        {| ``type`` = description.GetProperty("type").GetString()
           sdp = sdp |}

    JsonSerializer.SerializeToElement changed

let private selected =
    """async () => {
        const stats = [...(await pc.getStats()).values()];
        const transport = stats.find((s) => s.type === "transport");
        const pair = stats.find((s) => s.id === transport.selectedCandidatePairId);
        const of = (id) => stats.find((s) => s.id === id);
        return [of(pair.localCandidateId).protocol, of(pair.remoteCandidateId).protocol, of(pair.remoteCandidateId).tcpType];
    }"""

let private echoes (line: Line) : Task =
    task {
        do! line.Opened()

        for size in [ 1; 1_000; 65_536; 262_144 ] do
            let octets = Array.init size (fun i -> byte (i * 7 >>> 3))
            line.Channel.Send octets
            let! struct (_, back) = line.Next()
            Expect.isTrue (back.AsSpan().SequenceEqual(ReadOnlySpan octets)) $"{size} octets come back"
    }

let private session offerer (shared: WebRtcSharedPort | null) (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        let! page = chromium.Open()
        let! _ = page.Call prepare

        let options =
            match shared with
            | null -> WebRtcOptions(TcpListen = true)
            | shared -> WebRtcOptions(SharedPort = shared)

        use ours = new OurPeer(options)
        let line = ours.Create "ours"
        do! negotiateBy withoutUdp withoutUdp offerer ours page
        do! echoes line
        let! theirs = ours.Incoming "theirs"
        do! echoes theirs
        let! seen = page.Call selected
        Expect.equal (string seen[0]) "tcp" "the browser's candidate"
        Expect.equal (string seen[1]) "tcp" "and ours"
        do! ours.Reaches RTCPeerConnectionState.Connected

        // A restart makes another connection, and the channels stay.
        ours.Pc.RestartIce()
        do! negotiateBy withoutUdp withoutUdp Ours ours page
        do! echoes line
    }

let tests =
    testSequenced
    <| testList
        "Chromium over TCP"
        [ Outside.needing Peers.chromium "it connects to our listener, we offer" (session Ours null)
          Outside.needing Peers.chromium "it connects to our listener, Chromium offers" (session Browsers null)
          Outside.needing Peers.chromium "it connects to a listener that many share" (fun path ->
              task {
                  use shared = WebRtcSharedPort.Open(0us, WebRtcOptions(TcpListen = true))
                  do! session Ours shared path
              }) ]
