/// A stock Firefox, spoken to by WebDriver BiDi: Playwright drives none but its own.
namespace Hybrid.WebRtc.PropertyTests.RealPeers

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.WebSockets
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Hybrid.WebRtc.PropertyTests

/// Commands and events of WebDriver BiDi over one web socket, https://www.w3.org/TR/webdriver-bidi/.
type private BiDi(socket: ClientWebSocket, onEvent: string -> JsonElement -> unit) =
    let answers = ConcurrentDictionary<int64, TaskCompletionSource<JsonElement>>()
    let sending = new SemaphoreSlim 1
    let mutable last = 0L

    let message () : Task<JsonElement voption> =
        task {
            use whole = new MemoryStream()
            let buffer = Array.zeroCreate<byte> 65_536
            let mutable isOpen = true
            let mutable more = true

            while more do
                let! part = socket.ReceiveAsync(ArraySegment buffer, CancellationToken.None)
                whole.Write(buffer, 0, part.Count)
                isOpen <- part.MessageType <> WebSocketMessageType.Close
                more <- isOpen && not part.EndOfMessage

            if isOpen then
                return ValueSome(JsonDocument.Parse(whole.ToArray()).RootElement.Clone())
            else
                return ValueNone
        }

    let settle (m: JsonElement) =
        match m.GetProperty("type").GetString() with
        | "event" -> onEvent (string (m.GetProperty("method").GetString())) (m.GetProperty "params")
        | kind ->
            match m.TryGetProperty "id" with
            | true, id when id.ValueKind = JsonValueKind.Number ->
                match answers.TryRemove(id.GetInt64()) with
                | true, answer when kind = "success" -> answer.TrySetResult(m.GetProperty "result") |> ignore
                | true, answer -> answer.TrySetException(InvalidOperationException(m.GetRawText())) |> ignore
                | _ -> ()
            | _ -> ()

    let rec listen () : Task =
        task {
            try
                match! message () with
                | ValueSome m ->
                    settle m
                    do! listen ()
                | ValueNone -> ()
            with
            | :? WebSocketException
            | :? ObjectDisposedException -> ()

            for pair in answers do
                pair.Value.TrySetException(InvalidOperationException "Firefox has closed the connection")
                |> ignore
        }

    do listen () |> ignore

    /// Sends a command, and waits for its result. Parameters become JSON.
    member _.Send(command: string, parameters: obj) : Task<JsonElement> =
        task {
            let id = Interlocked.Increment &last

            let answer =
                TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously)

            answers[id] <- answer

            let json =
                JsonSerializer.SerializeToUtf8Bytes(dict [ "id", box id; "method", box command; "params", parameters ])

            do! sending.WaitAsync()

            try
                do! socket.SendAsync(ArraySegment json, WebSocketMessageType.Text, true, CancellationToken.None)
            finally
                sending.Release() |> ignore

            return! answer.Task
        }

[<AutoOpen>]
module private FirefoxFiles =
    /// Where its NSS writes the secrets of its connections, in its profile.
    [<Literal>]
    let KeyLogName = "keys.log"

/// A headless Firefox with a profile of its own, gone when disposed. Its camera and microphone are fake and need no leave, and
/// its host candidates carry real addresses, those of the loopback among them.
type Firefox
    private
    (
        browser: Process,
        profile: string,
        socket: ClientWebSocket,
        bidi: BiDi,
        logs: ConcurrentDictionary<string, _>,
        site: Site
    ) =

    static let preferences =
        [ "media.navigator.streams.fake", "true"
          "media.navigator.permission.disabled", "true"
          "media.autoplay.default", "0"
          "media.autoplay.blocking_policy", "0"
          "media.peerconnection.ice.obfuscate_host_addresses", "false"
          "media.peerconnection.ice.loopback", "true"
          "media.gmp-manager.updateEnabled", "false"
          "app.update.enabled", "false"
          "app.normandy.enabled", "false"
          "browser.shell.checkDefaultBrowser", "false"
          "datareporting.policy.dataSubmissionEnabled", "false"
          "toolkit.telemetry.enabled", "false"
          "extensions.update.enabled", "false"
          "network.captive-portal-service.enabled", "false"
          "network.connectivity-service.enabled", "false"
          "services.settings.server", "\"data:,\"" ]

    /// The address that Firefox says it listens at.
    static let address (browser: Process) : Task<Uri> =
        let rec next () : Task<Uri> =
            task {
                match! browser.StandardError.ReadLineAsync() with
                | null -> return invalidOp "Firefox ended before it listened"
                | line ->
                    match line.IndexOf("ws://", StringComparison.Ordinal) with
                    | -1 -> return! next ()
                    | at -> return Uri(line.Substring(at).Trim() + "/session")
            }

        task {
            let! address = next () |> Outside.within Outside.Patience "Firefox' address"
            // Nobody reads the rest, but a full pipe would stop it.
            browser.ErrorDataReceived.Add ignore
            browser.StandardError.ReadToEndAsync() |> ignore
            return address
        }

    /// Starts one. `extra` are further preferences, their values as in user.js.
    static member Launch(path: string, [<ParamArray>] extra: (string * string)[]) : Task<Firefox> =
        task {
            let profile = Directory.CreateTempSubdirectory("hybrid-firefox-").FullName

            File.WriteAllLines(
                Path.Combine(profile, "user.js"),
                Seq.append preferences extra
                |> Seq.map (fun (name, value) -> $"user_pref(\"{name}\", {value});")
            )

            let info =
                ProcessStartInfo(
                    path,
                    [ "--headless"
                      "--no-remote"
                      "--profile"
                      profile
                      "--remote-debugging-port"
                      "0" ],
                    RedirectStandardError = true,
                    RedirectStandardOutput = true
                )

            // Its own, whoever runs the tests.
            info.Environment["HOME"] <- profile
            info.Environment["SSLKEYLOGFILE"] <- Path.Combine(profile, KeyLogName)
            let browser = new Process(StartInfo = info)
            browser.Start() |> ignore
            browser.StandardOutput.ReadToEndAsync() |> ignore
            let logs = ConcurrentDictionary<string, ConcurrentQueue<string>>()

            let onEvent (name: string) (parameters: JsonElement) =
                if name = "log.entryAdded" then
                    match parameters.GetProperty("source").TryGetProperty "context" with
                    | true, context ->
                        match logs.TryGetValue(string (context.GetString())) with
                        | true, log ->
                            log.Enqueue(
                                string (parameters.GetProperty "level")
                                + ": "
                                + string (parameters.GetProperty "text")
                            )
                        | _ -> ()
                    | _ -> ()

            try
                let! address = address browser
                let socket = new ClientWebSocket()
                do! socket.ConnectAsync(address, CancellationToken.None)
                let bidi = BiDi(socket, onEvent)
                let! _ = bidi.Send("session.new", {| capabilities = obj () |})

                let! _ = bidi.Send("session.subscribe", {| events = [| "log.entryAdded" |] |})

                return new Firefox(browser, profile, socket, bidi, logs, new Site(PageScript.html))
            with error ->
                browser.Kill(entireProcessTree = true)
                browser.Dispose()
                return raise error
        }

    /// A page in a tab of its own.
    member _.Open() : Task<Page> =
        task {
            let! made = bidi.Send("browsingContext.create", {| ``type`` = "tab" |})
            let context = string (made.GetProperty("context").GetString())
            let log = ConcurrentQueue<string>()
            logs[context] <- log

            let evaluate (script: string) (json: string) : Task<string> =
                task {
                    let! answer =
                        bidi.Send(
                            "script.callFunction",
                            {| functionDeclaration = script
                               arguments = [| {| ``type`` = "string"; value = json |} |]
                               awaitPromise = true
                               userActivation = true
                               target = {| context = context |} |}
                        )

                    if (answer.GetProperty "type").GetString() = "success" then
                        return string (answer.GetProperty("result").GetProperty("value").GetString())
                    else
                        let details = answer.GetProperty "exceptionDetails"
                        return invalidOp (string (details.GetProperty("text").GetString()))
                }

            let go (command: string) (parameters: obj) : Task =
                task {
                    let! _ = bidi.Send(command, parameters)
                    return ()
                }

            do!
                go
                    "browsingContext.navigate"
                    {| context = context
                       url = site.Address
                       wait = "complete" |}

            let reload () =
                go
                    "browsingContext.reload"
                    {| context = context
                       wait = "complete" |}

            let close () =
                go "browsingContext.close" {| context = context |}

            return Page(evaluate, reload, close, log)
        }

    /// The secrets of its TLS and DTLS so far, as lines of an NSS key log.
    member _.KeyLog: string[] =
        let path = Path.Combine(profile, KeyLogName)

        if File.Exists path then
            use file =
                new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite))

            file.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries)
        else
            [||]

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                socket.Dispose()
                (site :> IDisposable).Dispose()
                browser.Kill(entireProcessTree = true)
                do! browser.WaitForExitAsync()
                browser.Dispose()

                try
                    Directory.Delete(profile, true)
                with :? IOException ->
                    // A child of its that has not ended yet still writes there.
                    ()
            }
            |> ValueTask
