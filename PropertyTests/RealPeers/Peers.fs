/// Real peers to test against: browsers with a page of ours, aiortc, and OpenSSL. `build.fsx test` installs them where it can.
namespace Hybrid.WebRtc.PropertyTests.RealPeers

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Microsoft.Playwright
open Hybrid.WebRtc.PropertyTests

/// Where real peers are on this machine. `Error` says why a test of one is skipped.
[<RequireQualifiedAccess>]
module Peers =
    let private find (name: string) (candidates: string list) : Result<string, string> =
        match Outside.program candidates, Outside.variable "HYBRID_NO_PEERS" with
        | ValueSome _, ValueSome "not while fuzzing" -> Error "not while fuzzing"
        | ValueSome path, _ -> Ok path
        | ValueNone, ValueSome reason -> Error $"no {name}: {reason}"
        | ValueNone, ValueNone ->
            Error $"no {name} here; `dotnet fsi build.fsx test` installs it as root on Debian or Ubuntu"

    let chromium () =
        find "Chromium" [ "/usr/bin/chromium"; "chromium"; "chromium-browser"; "google-chrome" ]

    let firefox () =
        find "Firefox" [ "/usr/bin/firefox-esr"; "firefox-esr"; "firefox" ]

    let openssl () = find "openssl" [ "openssl" ]

    /// coturn's test client; its `turnutils_peer` is beside it.
    let coturn () =
        find "turnutils_uclient" [ "turnutils_uclient" ]

    let ffmpeg () = find "ffmpeg" [ "ffmpeg" ]

    /// The Python that knows aiortc: Debian's own, whatever else PATH names first.
    let aiortc () =
        find "python3" [ "/usr/bin/python3" ]
        |> Result.bind (fun python ->
            if Directory.Exists "/usr/lib/python3/dist-packages/aiortc" then
                Ok python
            else
                find "aiortc" [])

/// One page of ours, on an origin of its own, for as long as the object lives.
type internal Site(html: string) =
    let port =
        use probe = new TcpListener(IPAddress.Loopback, 0)
        probe.Start()
        (probe.LocalEndpoint :?> IPEndPoint).Port

    let address = $"http://127.0.0.1:{port}/"

    let listener =
        let listener = new HttpListener()
        listener.Prefixes.Add address
        listener.Start()
        listener

    let rec serve () : Task =
        task {
            try
                let! context = listener.GetContextAsync()
                context.Response.ContentType <- "text/html; charset=utf-8"
                context.Response.Close(Text.Encoding.UTF8.GetBytes html, false)
                do! serve ()
            with
            | :? HttpListenerException
            | :? ObjectDisposedException -> ()
        }

    do serve () |> ignore
    member _.Address = address

    interface IDisposable with
        member _.Dispose() = listener.Close()

/// A page in a browser: how to run a function of one string on it, to load it anew, and to close it. What its scripts say on
/// the console or fail with is kept in `Log`.
type Page
    (
        evaluate: string -> string -> Task<string>,
        reload: unit -> Task,
        close: unit -> Task,
        log: Collections.Concurrent.ConcurrentQueue<string>
    ) =

    /// What the page's scripts said so far, oldest first.
    member _.Log = List.ofSeq log

    /// Calls a JavaScript function (`async (x) => …`) with an argument that becomes JSON, and waits for what it answers, as JSON.
    /// The test fails, with the page's log, where that takes longer than `seconds`.
    member this.Call(seconds: float, script: string, argument: obj | null) : Task<JsonElement> =
        task {
            let json = JsonSerializer.Serialize argument

            // JSON in, JSON out: the browsers' own conversions know fewer types.
            let wrapped =
                $"async (json) => JSON.stringify((await ({script})(JSON.parse(json))) ?? null)"

            try
                let! answer = (evaluate wrapped json).WaitAsync(TimeSpan.FromSeconds seconds)

                return JsonDocument.Parse(answer).RootElement.Clone()
            with error ->
                let said = String.Join("\n", log)
                return failtest $"the page's script: {error.Message}\n{said}"
        }

    /// The same within `Outside.Patience`.
    member this.Call(script: string, argument: obj | null) : Task<JsonElement> =
        this.Call(Outside.Patience, script, argument)

    /// The same without an argument.
    member this.Call(script: string) : Task<JsonElement> =
        this.Call(Outside.Patience, script, null)

    /// Loads the page anew, as a user's reload does: its peer connections end without a word.
    member _.Reload() : Task = reload ()

    member _.Close() : Task = close ()

/// What every page of ours is loaded with.
module internal PageScript =
    let private media =
        File.ReadAllText(Path.Combine(Outside.root, "PropertyTests", "RealPeers", "media.js"))

    /// `gathered(pc)` waits for the end of gathering and answers the whole local description; `opened(channel)` waits for an
    /// open channel; `next(channel)` waits for one message. For media see media.js beside this file.
    let html =
        """<!doctype html><meta charset="utf-8"><title>Hybrid WebRTC test page</title><body>
<script>
const gathered = async (pc) => {
  while (pc.iceGatheringState !== "complete") await new Promise((go) => pc.addEventListener("icegatheringstatechange", go, { once: true }));
  return { type: pc.localDescription.type, sdp: pc.localDescription.sdp };
};
const opened = async (channel) => {
  if (channel.readyState !== "open") await new Promise((go) => channel.addEventListener("open", go, { once: true }));
  return channel;
};
const next = (channel) => new Promise((go) => channel.addEventListener("message", (e) => go(e.data), { once: true }));
</script>
<script>
"""
        + media
        + "</script>"

    /// For a page that is not ours: what media.js has, a camera that sends `cameraColour` and a tone, and the page's
    /// connections, the latest of which is `pc`.
    let guest =
        media
        + """
Object.assign(globalThis, { painted, tone, show, colourOf, until, alike, shows, stats, decoded });
globalThis.cameraColour = [50, 70, 200];
navigator.mediaDevices.getUserMedia = async ({ video, audio }) => {
  globalThis.camera = video && painted(cameraColour);
  return new MediaStream([...(audio ? [tone()] : []), ...(video ? [camera] : [])]);
};
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    globalThis.pc = this;
  }
};"""

/// A headless Chromium with a user-data directory of its own, gone when disposed.
type Chromium private (playwright: IPlaywright, browser: IBrowser, site: Site) =
    /// Starts one. With `showAddresses` its host candidates carry real addresses; otherwise they are `.local` names (mDNS), as
    /// any page without camera or microphone gets them. `extra` are further switches of Chromium.
    static member Launch(path: string, showAddresses: bool, [<ParamArray>] extra: string[]) : Task<Chromium> =
        task {
            let switches =
                [ "--no-sandbox"
                  "--disable-gpu"
                  "--disable-quic"
                  "--no-first-run"
                  "--disable-background-networking"
                  "--disable-component-update"
                  "--disable-sync"
                  "--autoplay-policy=no-user-gesture-required" ]

            // Who may use a camera or microphone sees real addresses, so the media switches go with these.
            let addresses =
                if showAddresses then
                    [ "--disable-features=WebRtcHideLocalIpsWithMdns"
                      "--use-fake-device-for-media-stream"
                      "--use-fake-ui-for-media-stream" ]
                else
                    []

            let! playwright = Playwright.CreateAsync()

            let options =
                BrowserTypeLaunchOptions(
                    ExecutablePath = path,
                    Headless = true,
                    Timeout = 60_000f,
                    Args = Seq.concat [ switches; addresses; List.ofArray extra ]
                )

            let! browser = playwright.Chromium.LaunchAsync options
            return new Chromium(playwright, browser, new Site(PageScript.html))
        }

    /// Another site's page, in a context of its own, on which this script runs before any of its own; empty: none.
    member _.Visit(address: string, script: string) : Task<Page> =
        task {
            let! context = browser.NewContextAsync()
            let! page = context.NewPageAsync()
            let log = Collections.Concurrent.ConcurrentQueue<string>()
            page.Console.Add(fun message -> log.Enqueue $"{message.Type}: {message.Text}")
            page.PageError.Add(fun error -> log.Enqueue $"error: {error}")

            // Playwright refuses an empty one.
            if script <> "" then
                let! _ = page.AddInitScriptAsync script
                ()

            let! _ = page.GotoAsync address

            let reload () : Task =
                task {
                    let! _ = page.ReloadAsync()
                    return ()
                }

            return Page((fun script json -> page.EvaluateAsync<string>(script, json)), reload, page.CloseAsync, log)
        }

    /// A page in a context of its own: nothing is shared with other pages.
    member this.Open() : Task<Page> = this.Visit(site.Address, "")

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                do! browser.CloseAsync()
                playwright.Dispose()
                (site :> IDisposable).Dispose()
            }
            |> ValueTask

/// aiortc in a process of its own (aiortc_peer.py says what it does).
type Aiortc(python: string, role: string) =
    let talk =
        new Outside.Conversation(
            python,
            [ Path.Combine(Outside.root, "PropertyTests", "RealPeers", "aiortc_peer.py")
              role ]
        )

    /// Gives it an offer or answer, `{ type, sdp }` as JSON.
    member _.Give(description: JsonElement) : Task =
        talk.Write(JsonSerializer.Serialize description)

    /// Its next line: a description first, then what happens to it.
    member _.Next() : Task<JsonElement> =
        task {
            let! line = talk.Read Outside.Patience
            return JsonDocument.Parse(line).RootElement.Clone()
        }

    interface IDisposable with
        member _.Dispose() = (talk :> IDisposable).Dispose()
