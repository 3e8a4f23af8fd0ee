/// The examples as a user runs them: each in a process of its own, to the end, by its exit code and what it prints.
module Hybrid.WebRtc.PropertyTests.House.Examples

open System
open System.IO
open System.Security.Cryptography
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Microsoft.Playwright
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers

/// A program that `build.fsx test` has built with the solution, in the configuration of these tests.
let built (folder: string) () : Result<string, string> =
    let name = string (Path.GetFileName folder)

    let output =
        Path.Combine(
            Outside.root,
            folder,
            "bin",
            string (Path.GetFileName(Path.GetDirectoryName(AppContext.BaseDirectory.TrimEnd '/')))
        )

    match Path.Combine(output, "net10.0", $"{name}.dll") with
    | path when File.Exists path -> Ok path
    | _ -> Error $"{folder} is not built: `dotnet build -c Release {folder}`"

/// Runs a program to its end.
let run seconds (program: string) (arguments: string list) =
    Outside.execute seconds Outside.root "dotnet" (program :: arguments)

/// Runs it to its end, and fails with what it wrote where it fails.
let private succeed seconds program arguments =
    task {
        let! struct (code, output) = run seconds program arguments
        Expect.equal code 0 output
        return output
    }

/// A folder for the time being.
let temporary (body: string -> Task) : Task =
    task {
        let folder = Directory.CreateTempSubdirectory("hybrid-example-").FullName

        try
            do! body folder
        finally
            Directory.Delete(folder, true)
    }

/// A file of random octets, and what it hashes to.
let private randomFile (folder: string) (size: int) =
    let content = RandomNumberGenerator.GetBytes size
    let path = Path.Combine(folder, "random.bin")
    File.WriteAllBytes(path, content)
    path

/// Reads lines until one matches; the match.
let await (talk: Outside.Conversation) (pattern: string) : Task<Match> =
    let rec next left =
        task {
            let! line = talk.Read Outside.Patience
            let found = Regex.Match(line, pattern)

            if found.Success then
                return found
            elif left = 0 then
                return failtest $"no line like {pattern}; the last: {line}"
            else
                return! next (left - 1)
        }

    next 50

/// Starts a program to talk with.
let converse program (arguments: string list) =
    new Outside.Conversation("dotnet", program :: arguments)

/// The demo, and a browser for its page.
let private page () =
    Peers.chromium ()
    |> Result.bind (fun chromium ->
        built "Examples/Demo" ()
        |> Result.map (fun program -> struct (chromium, program)))

let tests =
    testSequenced
    <| testList
        "the examples"
        [ Outside.needing (built "Examples/DataChannels") "DataChannels exchanges every kind of message" (fun program ->
              task {
                  let! output = succeed 120.0 program []

                  for line in
                      [ "chat: \"a string\" arrived"
                        "chat: \"\" arrived"
                        "chat: 200000 octets arrived"
                        "agreed: 3 octets arrived"
                        "'chat' is Closed" ] do
                      Expect.stringContains output line "what it prints"
              })

          Outside.needing
              (built "Examples/DataChannelsFlowControl")
              "DataChannelsFlowControl moves data both ways of sending"
              (fun program ->
                  task {
                      let! output = succeed 90.0 program [ "--seconds"; "0.5" ]

                      for way in [ "await SendAsync"; "bufferedAmountLow" ] do
                          Expect.isTrue (Regex.IsMatch(output, way + @" .*\d MB/s")) output
                  })

          Outside.needing
              (built "Examples/PerfectNegotiation")
              "PerfectNegotiation survives its collisions"
              (fun program ->
                  task {
                      let! output = succeed 90.0 program [ "3" ]
                      Expect.stringContains output "still connected" "what it prints"
                  })

          Outside.needing
              (built "Examples/FileTransfer")
              "FileTransfer carries a file over HTTP signalling"
              (fun program ->
                  temporary (fun folder ->
                      task {
                          let file = randomFile folder 3_000_001
                          let into = Path.Combine(folder, "received")
                          use receiver = converse program [ "receive"; "--into"; into; "--listen"; "0" ]
                          let! waiting = await receiver @"(http://127\.0\.0\.1:\d+/)"
                          let! _ = succeed 120.0 program [ "send"; file; "--to"; waiting.Groups[1].Value ]
                          let! _ = await receiver "Received"

                          Expect.equal
                              (File.ReadAllBytes(Path.Combine(into, "random.bin")))
                              (File.ReadAllBytes file)
                              "the file"
                      }))

          Outside.needing
              (built "Examples/FileTransfer")
              "FileTransfer carries a file by copy and paste"
              (fun program ->
                  temporary (fun folder ->
                      task {
                          let file = randomFile folder 100_000
                          let into = Path.Combine(folder, "received")
                          use sender = converse program [ "send"; file ]
                          use receiver = converse program [ "receive"; "--into"; into ]
                          let line = "^([A-Za-z0-9+/=]{200,})$"
                          let! offer = await sender line
                          do! receiver.Write offer.Value
                          let! answer = await receiver line
                          do! sender.Write answer.Value
                          let! _ = await sender "confirmed by the receiver"
                          let! _ = await receiver "Received"

                          Expect.equal
                              (File.ReadAllBytes(Path.Combine(into, "random.bin")))
                              (File.ReadAllBytes file)
                              "the file"
                      }))

          Outside.needing
              (built "Examples/FileTransfer")
              "FileTransfer says what is wrong, and exits with 1"
              (fun program ->
                  temporary (fun folder ->
                      task {
                          let file = randomFile folder 10

                          let! struct (code, output) =
                              run 120.0 program [ "send"; file; "--to"; "http://127.0.0.1:9/" ]

                          Expect.equal code 1 output
                          Expect.stringContains output "Failed" "what it prints"
                      }))

          Outside.needing (built "Examples/Demo") "the demo has two .NET peers meet" (fun program ->
              task {
                  let! output = succeed 120.0 program [ "--no-page" ]

                  for row in [ "set up"; "round trip"; "moved" ] do
                      Expect.stringContains output row "its table"
              })

          Outside.needing
              page
              "the demo's page connects, chats, and gets a file back unharmed, from a real browser"
              (fun struct (chromium, program) ->
                  task {
                      use demo = converse program [ "--port"; "0" ]
                      let! address = await demo @"(http://127\.0\.0\.1:\d+)"
                      use! playwright = Playwright.CreateAsync()

                      let! browser =
                          playwright.Chromium.LaunchAsync(
                              BrowserTypeLaunchOptions(
                                  ExecutablePath = chromium,
                                  Args = [ "--no-sandbox"; "--disable-gpu"; "--no-first-run" ]
                              )
                          )

                      let! page = browser.NewPageAsync()
                      let errors = Collections.Concurrent.ConcurrentQueue<string>()
                      page.PageError.Add errors.Enqueue
                      let! _ = page.GotoAsync address.Groups[1].Value

                      let see (selector: string) =
                          page.Locator(selector).First.WaitForAsync()

                      do! see "body[data-phase=connected]"
                      do! page.FillAsync("#chat-text", "/time")
                      do! page.Keyboard.PressAsync "Enter"
                      do! see "#chat-log .program :text('It is')"
                      do! page.ClickAsync "#file-sample"
                      do! see "#file-list .verdict.good"
                      // The program's end, by its telemetry.
                      do! see "#states tr:last-child td:nth-child(3):text('connected')"
                      do! browser.CloseAsync()
                      Expect.isEmpty errors "errors of the page"
                  }) ]
