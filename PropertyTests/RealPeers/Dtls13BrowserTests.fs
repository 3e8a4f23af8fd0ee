/// DTLS with browsers: the version, suite and group that each of them comes to with us, and the secrets that both know.
module Hybrid.WebRtc.PropertyTests.RealPeers.Dtls13BrowserTests

open System
open System.IO
open System.Linq
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

/// What both sides have agreed on.
type private Agreed =
    { Version: string
      Suite: string
      Group: string }

/// As today's browsers do among themselves.
let private modern =
    { Version = "DTLS 1.3"
      Suite = "TLS_AES_128_GCM_SHA256"
      Group = "X25519MLKEM768" }

/// Without ML-KEM.
let private withoutMlKem = { modern with Group = "x25519" }

let private classic =
    { Version = "DTLS 1.2"
      Suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
      Group = "x25519" }

/// As they are on the wire.
let private codeOf (agreed: Agreed) =
    if agreed.Version = "DTLS 1.3" then "FEFC" else "FEFD"

/// What a key log says of a handshake.
let private labelsOf (agreed: Agreed) =
    if agreed.Version = "DTLS 1.3" then
        [ "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
          "CLIENT_TRAFFIC_SECRET_0"
          "EXPORTER_SECRET"
          "SERVER_HANDSHAKE_TRAFFIC_SECRET"
          "SERVER_TRAFFIC_SECRET_0" ]
    else
        [ "CLIENT_RANDOM" ]

let private prepare =
    """() => {
        window.pc = new RTCPeerConnection();
        const channel = pc.createDataChannel("theirs");
        channel.binaryType = "arraybuffer";
        channel.onmessage = (e) => channel.send(e.data);
    }"""

/// RTCTransportStats as the browser has them, where it has any.
let private theirTransport =
    """async () => {
        const all = [...(await pc.getStats()).values()];
        const { tlsVersion, dtlsCipher, dtlsRole } = all.find((s) => s.type === "transport") ?? {};
        return { tlsVersion: tlsVersion ?? "", dtlsCipher: dtlsCipher ?? "", dtlsRole: dtlsRole ?? "" };
    }"""

/// What our side says of its transport, by its property and by its statistics.
let private ours (peer: OurPeer) : Task<Agreed> =
    task {
        let dtls = (nonNull peer.Pc.Sctp).Transport
        let! report = peer.Pc.GetStatsAsync()
        let transport = report.OfType<RTCTransportStats>() |> Seq.exactlyOne

        let agreed =
            { Version = string dtls.Version
              Suite = string dtls.CipherSuite
              Group = string dtls.Group }

        Expect.equal (string transport.TlsVersion) (codeOf agreed) "our statistics' version"
        Expect.equal (string transport.DtlsCipher) agreed.Suite "our statistics' suite"
        Expect.equal (string transport.TlsGroup) agreed.Group "our statistics' group"
        return agreed
    }

/// Connects and exchanges data; `keyLog` are the browser's lines, where it writes any.
let private agrees
    (expected: Agreed)
    (options: string -> WebRtcOptions)
    (keyLog: (unit -> string[]) voption)
    (offerer: Offerer)
    (page: Page)
    : Task =
    task {
        let path =
            Path.Combine(Path.GetTempPath(), "hybrid-keys-" + Guid.NewGuid().ToString "N")

        use peer = new OurPeer(options path)
        let! _ = page.Call prepare

        try
            if offerer = Ours then
                peer.Create "ours" |> ignore

            do! negotiate offerer peer page
            let! line = peer.Incoming "theirs"
            do! line.Opened()

            for round in 0..9 do
                let octets = Array.init 20_000 (fun i -> byte (i * 7 + round))
                line.Channel.Send octets
                let! struct (_, back) = line.Next()
                Expect.isTrue (back.AsSpan().SequenceEqual octets) $"round {round}"

            let! agreed = ours peer
            Expect.equal agreed expected "what both agreed on"

            // We answer as the client, and so do browsers.
            let! theirs = page.Call theirTransport

            let told (name: string) =
                theirs.GetProperty(name).GetString() |> string

            if told "tlsVersion" <> "" then
                Expect.equal (told "tlsVersion") (codeOf expected) "the browser's version"
                Expect.equal (told "dtlsCipher") expected.Suite "the browser's suite"
                Expect.equal (told "dtlsRole") (if offerer = Ours then "client" else "server") "the browser's role"

            let lines = File.ReadAllLines path
            let labels = lines |> Array.map (fun line -> line.Split(' ')[0]) |> Array.sort
            Expect.sequenceEqual labels (labelsOf expected) "what our key log tells"

            match keyLog with
            | ValueNone -> ()
            | ValueSome keyLog ->
                let known = keyLog ()

                for line in lines do
                    Expect.contains known line "the browser has the same secret of the same handshake"
        finally
            File.Delete path
    }

let private withKeys (path: string) = WebRtcOptions(KeyLogPath = path)

let private at12 (path: string) =
    WebRtcOptions(KeyLogPath = path, MaxDtlsVersion = WebRtcDtlsVersion.Dtls12)

let private only13 (path: string) =
    WebRtcOptions(
        KeyLogPath = path,
        MinDtlsVersion = WebRtcDtlsVersion.Dtls13,
        MaxDtlsVersion = WebRtcDtlsVersion.Dtls13
    )

let private suited (suite: Net.Security.TlsCipherSuite) (path: string) =
    WebRtcOptions(
        KeyLogPath = path,
        MinDtlsVersion = WebRtcDtlsVersion.Dtls13,
        MaxDtlsVersion = WebRtcDtlsVersion.Dtls13,
        DtlsCipherSuites = [| suite |]
    )

let private grouped (group: WebRtcDtlsGroup) (path: string) =
    WebRtcOptions(
        KeyLogPath = path,
        MinDtlsVersion = WebRtcDtlsVersion.Dtls13,
        MaxDtlsVersion = WebRtcDtlsVersion.Dtls13,
        DtlsGroups = [| group |]
    )

/// No version in common: both sides say so, soon.
let private refuses (options: string -> WebRtcOptions) (offerer: Offerer) (page: Page) : Task =
    task {
        let path =
            Path.Combine(Path.GetTempPath(), "hybrid-keys-" + Guid.NewGuid().ToString "N")

        use peer = new OurPeer(options path)
        let! _ = page.Call prepare

        if offerer = Ours then
            peer.Create "ours" |> ignore

        do! negotiate offerer peer page
        do! peer.Reaches RTCPeerConnectionState.Failed

        let! _ =
            page.Call
                """async () => { while (pc.connectionState !== "failed") await new Promise((go) => pc.addEventListener("connectionstatechange", go, { once: true })); }"""

        Expect.isFalse (File.Exists path) "no secret was agreed on"
    }

let private bothWays (name: string) (test: string -> (Page -> Task) -> Test) (body: Offerer -> Page -> Task) =
    [ test $"{name}, we offer" (body Ours)
      test $"{name}, the browser offers" (body Browsers) ]

let private chromiums =
    let browser = chromium []
    let bothWays name body = bothWays name browser.Test body

    testSequenced
    <| testList
        "Chromium's DTLS"
        [ yield! bothWays "DTLS 1.3 with X25519MLKEM768" (agrees modern withKeys ValueNone)
          yield! bothWays "DTLS 1.3 is all that we speak" (agrees modern only13 ValueNone)
          yield! bothWays "DTLS 1.2 is all that we speak" (agrees classic at12 ValueNone)
          yield!
              bothWays
                  "DTLS 1.3 with AES-256"
                  (agrees
                      { modern with
                          Suite = "TLS_AES_256_GCM_SHA384" }
                      (suited Net.Security.TlsCipherSuite.TLS_AES_256_GCM_SHA384)
                      ValueNone)
          yield!
              bothWays
                  "DTLS 1.3 with ChaCha20"
                  (agrees
                      { modern with
                          Suite = "TLS_CHACHA20_POLY1305_SHA256" }
                      (suited Net.Security.TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256)
                      ValueNone)
          yield!
              bothWays
                  "DTLS 1.3 with X25519, where we have no other"
                  (agrees withoutMlKem (grouped WebRtcDtlsGroup.X25519) ValueNone)
          yield!
              bothWays
                  "DTLS 1.3 with P-256, which is asked for"
                  (agrees { modern with Group = "secp256r1" } (grouped WebRtcDtlsGroup.Secp256r1) ValueNone)
          browser.End ]

/// A Firefox with these preferences, and how to ask it for its key log.
let private firefox (preferences: (string * string) list) =
    let latest: Firefox voption ref = ref ValueNone

    let browser =
        Shared(
            Peers.firefox,
            (fun path -> Firefox.Launch(path, Array.ofList preferences)),
            (fun browser ->
                latest.Value <- ValueSome browser
                browser.Open())
        )

    let keyLog () =
        match latest.Value with
        | ValueSome browser -> browser.KeyLog
        | ValueNone -> [||]

    struct (browser, ValueSome keyLog)

let private firefoxes =
    let struct (browser, keys) = firefox []
    let bothWays name body = bothWays name browser.Test body

    testSequenced
    <| testList
        "Firefox's DTLS"
        [ yield! bothWays "DTLS 1.3 with X25519MLKEM768, and the same secrets" (agrees modern withKeys keys)
          yield! bothWays "DTLS 1.2 is all that we speak, and the same secrets" (agrees classic at12 keys)
          yield!
              bothWays
                  "DTLS 1.3 with ChaCha20"
                  (agrees
                      { modern with
                          Suite = "TLS_CHACHA20_POLY1305_SHA256" }
                      (suited Net.Security.TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256)
                      keys)
          yield!
              bothWays
                  "DTLS 1.3 with P-384, which is asked for"
                  (agrees { modern with Group = "secp384r1" } (grouped WebRtcDtlsGroup.Secp384r1) keys)
          browser.End ]

/// A Firefox with one preference: what it agrees on with us, whatever we could, and with which of our set-ups it has no version in common.
let private firefoxWith name preference agreement expected (refused: (string * (string -> WebRtcOptions)) list) =
    let struct (browser, keys) = firefox [ preference ]
    let bothWays name body = bothWays name browser.Test body

    testSequenced
    <| testList
        ("Firefox's DTLS" + name)
        [ yield! bothWays (agreement + ", and the same secrets") (agrees expected withKeys keys)
          for name, options in refused do
              yield! bothWays (name + ": it fails") (refuses options)
          browser.End ]

let tests =
    testList
        "browsers' DTLS"
        [ chromiums
          firefoxes
          firefoxWith
              ", 1.2 at most"
              ("media.peerconnection.dtls.version.max", "771")
              "DTLS 1.2"
              classic
              [ "we speak 1.3 alone", only13 ]
          firefoxWith
              ", 1.3 at least"
              ("media.peerconnection.dtls.version.min", "772")
              "DTLS 1.3"
              modern
              [ "we speak 1.2 alone", at12 ]
          firefoxWith
              " without ML-KEM"
              ("media.webrtc.enable_pq_hybrid_kex", "false")
              "DTLS 1.3 with X25519"
              withoutMlKem
              []
          // It has the group, and sends no share of it: nobody spends a round trip on asking for one.
          firefoxWith
              " without a share of ML-KEM"
              ("media.webrtc.send_mlkem_keyshare", "false")
              "DTLS 1.3 with X25519"
              withoutMlKem
              [] ]
