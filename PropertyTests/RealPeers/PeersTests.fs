/// The real peers among themselves: proves what the tests of our library stand on.
module Hybrid.WebRtc.PropertyTests.RealPeers.PeersTests

open System.Text.Json
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests

let private offer =
    """async () => {
        window.pc = new RTCPeerConnection();
        window.channel = pc.createDataChannel("chat");
        await pc.setLocalDescription();
        return await gathered(pc);
    }"""

let private answer =
    """async (offer) => {
        window.pc = new RTCPeerConnection();
        pc.ondatachannel = ({ channel }) => (channel.onmessage = (e) => channel.send(e.data + "!"));
        await pc.setRemoteDescription(offer);
        await pc.setLocalDescription();
        return await gathered(pc);
    }"""

let private accept = "(answer) => pc.setRemoteDescription(answer)"

let private say =
    """async (text) => {
        const heard = next(await opened(channel));
        channel.send(text);
        return await heard;
    }"""

let private pageToPage (showAddresses: bool) (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, showAddresses)
        let! here = chromium.Open()
        let! there = chromium.Open()
        let! offered = here.Call offer
        let! answered = there.Call(answer, offered)
        let! _ = here.Call(accept, answered)
        let! heard = here.Call(say, "hello")
        Expect.equal (heard.GetString()) "hello!" "the echo"
        let isHidden = (string offered).Contains ".local"
        Expect.equal isHidden (not showAddresses) "host candidates are names exactly where addresses are hidden"
    }

let private withAiortc (python: string) : Task =
    task {
        match Peers.chromium () with
        | Error reason -> skiptest reason
        | Ok path ->
            use! chromium = Chromium.Launch(path, true)
            let! page = chromium.Open()
            use aiortc = new Aiortc(python, "answer")
            let! offered = page.Call offer
            do! aiortc.Give offered
            let! answered = aiortc.Next()
            let! _ = page.Call(accept, answered)
            let! heard = page.Call(say, "hello")
            Expect.equal (heard.GetString()) "hello" "the echo"
    }

let tests =
    testSequenced
    <| testList
        "RealPeers"
        [ testList
              "among themselves"
              [ Outside.needing Peers.chromium "two pages of Chromium connect, addresses shown" (pageToPage true)
                Outside.needing
                    Peers.chromium
                    "two pages of Chromium connect, addresses hidden behind mDNS"
                    (pageToPage false)
                Outside.needing Peers.aiortc "Chromium connects to aiortc, which echoes" withAiortc
                Outside.needing Peers.openssl "OpenSSL speaks DTLS" (fun path ->
                    task {
                        let! struct (code, told) =
                            Outside.execute 10.0 Outside.root path [ "s_client"; "-help" ]

                        Expect.equal code 0 told
                        Expect.stringContains told "-dtls1_2" "its options"
                    }) ] ]
