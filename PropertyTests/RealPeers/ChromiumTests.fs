/// Our library and a real browser, each as offerer and as answerer.
module Hybrid.WebRtc.PropertyTests.RealPeers.ChromiumTests

open System
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

/// The page's side: whatever comes on a channel goes back on it.
let private prepare =
    """() => {
        window.pc = new RTCPeerConnection();
        window.channels = {};
        window.adopt = (channel) => {
            channel.binaryType = "arraybuffer";
            channel.onmessage = (e) => channel.send(e.data);
            channels[channel.label] = channel;
            return channel;
        };
        pc.ondatachannel = ({ channel }) => adopt(channel);
        adopt(pc.createDataChannel("theirs"));
    }"""

let private same (what: string) (expected: struct (bool * byte[])) (line: Line) : Task =
    task {
        let! struct (isText, octets) = line.Next()
        let struct (expectedText, expectedOctets) = expected
        Expect.equal isText expectedText $"{what}: text or not"
        Expect.equal octets.Length expectedOctets.Length $"{what}: length"
        Expect.isTrue (octets.AsSpan().SequenceEqual expectedOctets) $"{what}: octets"
    }

/// One message, again until one comes back: an unreliable channel owes us none of them, but not for long.
let private echoesOnce (line: Line) : Task =
    task {
        do! line.Opened()
        let echo = line.Next()

        while not echo.IsCompleted do
            line.Channel.Send "once"
            let! _ = Task.WhenAny(echo, Task.Delay 50)
            ()

        let! struct (isText, octets) = echo
        Expect.isTrue isText "a string came back"
        Expect.equal octets "once"B "as it was sent"
    }

/// Messages of every kind go out and come back as they were.
let private echoes (line: Line) : Task =
    task {
        do! line.Opened()
        let big = Array.init 262_144 (fun i -> byte (i * 7 >>> 3))
        let text = "häl€𝄞"
        line.Channel.Send text
        do! same "a string" (struct (true, Encoding.UTF8.GetBytes text)) line
        line.Channel.Send [| 1uy; 0uy; 255uy |]
        do! same "binary" (struct (false, [| 1uy; 0uy; 255uy |])) line
        line.Channel.Send ""
        do! same "an empty string" (struct (true, [||])) line
        line.Channel.Send(Array.empty<byte>)
        do! same "an empty binary" (struct (false, [||])) line
        line.Channel.Send big
        do! same "256 KiB" (struct (false, big)) line
    }

let private session (body: OurPeer -> Page -> Task) (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        let! page = chromium.Open()
        let! _ = page.Call prepare
        use ours = new OurPeer()
        do! body ours page
    }

let private both (name: string) (body: Offerer -> OurPeer -> Page -> Task) : Test list =
    [ Outside.needing Peers.chromium $"{name}, we offer" (session (body Ours))
      Outside.needing Peers.chromium $"{name}, Chromium offers" (session (body Browsers)) ]

let private messages offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let line = ours.Create "ours"
        do! negotiate offerer ours page
        do! echoes line
        let! theirs = ours.Incoming "theirs"
        do! echoes theirs
        do! ours.Grows line
        do! ours.Reaches RTCPeerConnectionState.Connected
        let! state = page.Call "() => pc.connectionState"
        Expect.equal (state.GetString()) "connected" "the browser's connection state"
    }

/// Every mode, as the other side sees it.
let private modes offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let modes =
            [ "unordered", RTCDataChannelInit(Ordered = false)
              "once", RTCDataChannelInit(Ordered = false, MaxRetransmits = Nullable 0us)
              "thrice", RTCDataChannelInit(MaxRetransmits = Nullable 3us, Protocol = "soap")
              "brief", RTCDataChannelInit(MaxPacketLifeTime = Nullable 500us)
              "high", RTCDataChannelInit(Priority = RTCPriorityType.High) ]

        let lines = [ for label, init in modes -> ours.Create(label, init) ]

        let negotiated =
            ours.Create("agreed", RTCDataChannelInit(Negotiated = true, Id = Nullable 100us))

        let! _ =
            page.Call
                """() => { adopt(pc.createDataChannel("agreed", { negotiated: true, id: 100 }));
                           pc.createDataChannel("back", { ordered: false, maxPacketLifeTime: 250, protocol: "p" }); }"""

        do! negotiate offerer ours page

        for line in negotiated :: lines do
            if line.Channel.MaxRetransmits.HasValue || line.Channel.MaxPacketLifeTime.HasValue then
                do! echoesOnce line
            else
                do! echoes line

        let! seen =
            page.Call
                """() => Object.values(channels).filter((c) => !c.negotiated && c.label !== "theirs").map((c) =>
                       [c.label, c.ordered, c.maxRetransmits, c.maxPacketLifeTime, c.protocol].join()).sort()"""

        let seen = [ for s in seen.EnumerateArray() -> s.GetString() |> string ]

        Expect.equal
            seen
            [ "brief,true,,500,"
              "high,true,,,"
              "once,false,0,,"
              "thrice,true,3,,soap"
              "unordered,false,,," ]
            "as the browser sees our channels"

        let! back = ours.Incoming "back"
        let c = back.Channel

        Expect.equal
            (c.Label, c.Ordered, c.MaxPacketLifeTime, c.MaxRetransmits, c.Protocol)
            ("back", false, Nullable 250us, Nullable(), "p")
            "as we see the browser's channel"
    }

let private closing offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let mine = ours.Create "closed by us"
        let yours = ours.Create "closed by the browser"
        do! negotiate offerer ours page
        do! echoes mine
        do! echoes yours
        mine.Channel.Close()
        do! mine.Closed()

        let! _ =
            page.Call
                """async () => { const c = channels["closed by us"];
                                 if (c.readyState !== "closed") await new Promise((go) => c.onclose = go); }"""

        let! _ = page.Call """() => channels["closed by the browser"].close()"""
        do! yours.Closed()
        // The streams serve again.
        let again = ours.Create "again"
        do! echoes again
    }

let private manyChannels offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let lines = [ for i in 1..100 -> ours.Create(string i) ]
        do! negotiate offerer ours page

        for line in lines do
            do! line.Opened()
            line.Channel.Send line.Channel.Label

        for line in lines do
            do! same line.Channel.Label (struct (true, Encoding.UTF8.GetBytes line.Channel.Label)) line
    }

let private restart offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let line = ours.Create "through a restart"
        do! negotiate offerer ours page
        do! echoes line
        let before = (string ours.Pc.LocalDescription)

        match offerer with
        | Ours -> ours.Pc.RestartIce()
        | Browsers ->
            let! _ = page.Call "() => pc.restartIce()"
            ()

        do! negotiate offerer ours page
        Expect.notEqual (string ours.Pc.LocalDescription) before "a new description"
        do! echoes line
        do! ours.Reaches RTCPeerConnectionState.Connected
    }

let private secondNegotiation offerer (ours: OurPeer) (page: Page) : Task =
    task {
        let line = ours.Create "first"
        do! negotiate offerer ours page
        do! echoes line
        // The browser adds media, which we turn down; the channel stays.
        let! _ =
            page.Call """() => { pc.addTransceiver("audio"); pc.addTransceiver("video"); }"""

        do! negotiate Browsers ours page
        do! echoes line
        do! negotiate Ours ours page
        do! echoes line
    }

/// A reload ends the browser's side without a word; a new session with the new page works.
let private reload (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        let! page = chromium.Open()
        let! _ = page.Call prepare
        use first = new OurPeer(WebRtcOptions(DisconnectedAfter = TimeSpan.FromSeconds 2.0))
        let line = first.Create "first"
        do! negotiate Ours first page
        do! echoes line
        do! page.Reload()
        let! _ = page.Call prepare
        use second = new OurPeer()
        let again = second.Create "second"
        do! negotiate Ours second page
        do! echoes again
        // The browser said goodbye, or fell silent: either way we notice.
        do! line.Closed()
    }

/// Candidates as they come, each way, with a channel from each side.
let private trickle (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        let! page = chromium.Open()
        let! _ = page.Call prepare

        let! _ =
            page.Call
                """() => { window.found = []; window.tell = null;
                           pc.onicecandidate = ({ candidate }) => { if (candidate) found.push(candidate.toJSON()); }; }"""

        use ours = new OurPeer()
        let line = ours.Create "trickled"
        let ourCandidates = Collections.Concurrent.ConcurrentQueue<string>()

        use _ =
            ours.Pc.OnIceCandidate.Subscribe(fun e ->
                match e.Candidate with
                | null -> ()
                | candidate -> ourCandidates.Enqueue(candidate.ToJson()))

        do! ours.Pc.SetLocalDescriptionAsync()
        let local = Unchecked.nonNull ours.Pc.LocalDescription
        let bare = JsonDocument.Parse(local.ToJson()).RootElement

        let! answered =
            page.Call(
                """async (offer) => { await pc.setRemoteDescription({ type: offer.type, sdp: offer.sdp.replace(/a=(candidate|end-of-candidates).*\r\n/g, "") });
                                      await pc.setLocalDescription();
                                      return { type: "answer", sdp: pc.localDescription.sdp.replace(/a=candidate.*\r\n/g, "") }; }""",
                bare
            )

        do! ours.Accept answered
        do! ours.Pc.GatheringCompleteAsync().WaitAsync(TimeSpan.FromSeconds Outside.Patience)

        for candidate in ourCandidates do
            let! _ =
                page.Call("(c) => pc.addIceCandidate(c)", JsonDocument.Parse(candidate).RootElement)

            ()

        let! found = page.Call "async () => { await gathered(pc); return found; }"

        for candidate in found.EnumerateArray() do
            do! ours.Pc.AddIceCandidateAsync(RTCIceCandidateInit.FromJson(candidate.GetRawText()))

        do! echoes line
    }

/// Both ends behind names: what each tells of itself, the other asks the link for.
let private hidden offerer (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, false)
        let! page = chromium.Open()
        let! _ = page.Call prepare
        use ours = new OurPeer(WebRtcOptions(HideAddresses = true))
        let line = ours.Create "behind a name"
        do! negotiate offerer ours page
        do! echoes line
        let local = Unchecked.nonNull ours.Pc.LocalDescription
        Expect.stringContains local.Sdp ".local " "our name"
        let remote = Unchecked.nonNull ours.Pc.RemoteDescription
        Expect.stringContains remote.Sdp ".local " "Chromium's"
    }

let tests =
    testSequenced
    <| testList
        "Chromium"
        [ yield! both "strings, binary, empty and 256 KiB messages, on channels of either side" messages
          yield! both "every mode of channel, and the other side sees it so" modes
          yield! both "channels close from either side, and their streams serve again" closing
          yield! both "a hundred channels" manyChannels
          yield! both "an ICE restart keeps the channels" restart
          yield! both "a second negotiation, with media that we turn down" secondNegotiation
          yield Outside.needing Peers.chromium "candidates trickle both ways" trickle
          yield Outside.needing Peers.chromium "a page reload: we notice, and a new session works" reload
          yield Outside.needing Peers.chromium "addresses behind mDNS names, we offer" (hidden Ours)
          yield Outside.needing Peers.chromium "addresses behind mDNS names, Chromium offers" (hidden Browsers) ]
