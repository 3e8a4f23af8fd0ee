/// The one door to this repository: `dotnet fsi build.fsx TARGET`. Needs the .NET 10 SDK and nothing else.
///
/// Each target restores tools and packages, builds what it needs, and does its job.

open System
open System.Diagnostics
open System.IO
open System.Text.RegularExpressions
open System.Threading.Tasks

let usage =
    """dotnet fsi build.fsx TARGET

  run [--port N]     the demo: two .NET peers over UDP, then a page for your browser (port 8080)
  test [ARGS]        everything: format check, build, package, every test; ends with `N passed, N failed`.
                     ARGS go to the test runner (`--filter-test-list Sctp`) and leave the package tests out
  bench [ARGS]       the benchmarks (`bench datachannel --json`); `bench all --json > FILE` runs every one, `bench all
                     --from FILE` prints its tables, `bench plots --from FILE` draws docs/plots
  fuzz [--seconds N] the properties again and again with many more runs each, for N seconds (120)
  interop            only the tests against real peers: Chromium, aiortc, OpenSSL
  pack               artifacts/Hybrid.WebRtc.VERSION.nupkg
  docs               builds, then checks that every link in README and docs/ leads somewhere
  format             formats all F# (fantomas) and C# (csharpier)
  api                accepts the present public API: C# (PublicAPI.Unshipped.txt) and core (Core.api.txt)
  lock               resolves paket.dependencies into paket.lock, without naming a package host"""

let root = __SOURCE_DIRECTORY__
let solution = "Hybrid.sln"
let artifacts = Path.Combine(root, "artifacts")

/// Ends the script with a message and exit code 1.
exception Stop of string

let stop message = raise (Stop message)
let clock = Stopwatch.StartNew()

let say (message: string) =
    Console.WriteLine $"""[{clock.Elapsed.ToString @"mm\:ss"}] {message}"""

// ---------------------------------------------------------------------------------------------------------------------
// Processes
// ---------------------------------------------------------------------------------------------------------------------

let startInfo (program: string) (arguments: string list) =
    let info =
        ProcessStartInfo(program, arguments, WorkingDirectory = root, UseShellExecute = false)

    info.Environment["DOTNET_NOLOGO"] <- "1"
    info.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] <- "1"
    info

/// Runs a program on our own console; answers its exit code.
let run program arguments =
    use p = Process.Start(startInfo program arguments)
    p.WaitForExit()
    p.ExitCode

/// Runs a program, shows `onLine` each line of its output and error, and ends it (with its children) once `limit` is over.
let follow (limit: TimeSpan) (onLine: string -> unit) program arguments =
    let info = startInfo program arguments
    info.RedirectStandardOutput <- true
    info.RedirectStandardError <- true
    use p = new Process(StartInfo = info)
    let gate = obj ()

    let receive (e: DataReceivedEventArgs) =
        if not (isNull e.Data) then
            lock gate (fun () -> onLine e.Data)

    p.OutputDataReceived.Add receive
    p.ErrorDataReceived.Add receive
    p.Start() |> ignore
    p.BeginOutputReadLine()
    p.BeginErrorReadLine()

    if p.WaitForExit limit then
        p.WaitForExit() // the rest of its output
        p.ExitCode
    else
        p.Kill(entireProcessTree = true)
        p.WaitForExit()
        onLine $"ended after {limit.TotalMinutes:F0} minutes"
        124

/// Runs a program in silence; answers its exit code and what it wrote.
let capture program arguments =
    let lines = ResizeArray<string>()
    let code = follow (TimeSpan.FromMinutes 20.0) lines.Add program arguments
    code, lines

/// Runs a program in silence; stops with what it wrote where it fails.
let quietly what program arguments =
    let code, lines = capture program arguments

    if code <> 0 then
        lines |> Seq.iter Console.WriteLine
        stop $"{what} failed"

let rec attempt times action =
    try
        action ()
    with Stop message when times > 1 ->
        say $"{message}; trying again"
        Threading.Thread.Sleep 3000
        attempt (times - 1) action

// ---------------------------------------------------------------------------------------------------------------------
// Steps
// ---------------------------------------------------------------------------------------------------------------------

let checkSdk () =
    let wanted = Version(10, 0, 100)
    let code, lines = capture "dotnet" [ "--version" ]
    let text = lines |> Seq.tryHead |> Option.defaultValue ""

    match code, Version.TryParse(text.Split('-')[0]) with
    | 0, (true, found) when found >= wanted -> ()
    | _ -> stop $"the .NET SDK {wanted} or later of .NET 10 is needed; `dotnet --version` here says: {text}"

/// Committed files name no package host. Paket reads it from here: the first source that NuGet itself would use.
let setPackageSource () =
    if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "NUGET_SOURCE") then
        let _, lines = capture "dotnet" [ "nuget"; "list"; "source"; "--format"; "short" ]

        match lines |> Seq.tryFind _.StartsWith("E ") with
        | Some line -> Environment.SetEnvironmentVariable("NUGET_SOURCE", line.Substring(2).Trim())
        | None -> stop "NuGet has no enabled package source; add one with `dotnet nuget add source`"

let restore () =
    checkSdk ()
    setPackageSource ()
    say "restoring tools and packages"
    attempt 3 (fun () -> quietly "restoring the tools" "dotnet" [ "tool"; "restore" ])
    attempt 3 (fun () -> quietly "restoring the packages" "dotnet" [ "paket"; "restore" ])

/// No compiler server or build node outlives the build: one could hold the pipe that our output goes to.
let noServers = [ "-nodeReuse:false"; "-p:UseSharedCompilation=false" ]

let build project =
    say $"building {project}"
    let quiet = [ "-v"; "quiet"; "-tl:off"; "-clp:ErrorsOnly" ]

    if run "dotnet" ([ "build"; project; "-c"; "Release" ] @ quiet @ noServers) <> 0 then
        stop "the build failed"

/// Builds a program of ours and runs it on our console; answers its exit code.
let buildAndRun project arguments =
    build project
    run "dotnet" ([ "run"; "--no-build"; "-c"; "Release"; "--project"; project; "--" ] @ arguments)

let pack () =
    say "packing"

    Directory.CreateDirectory artifacts |> ignore
    Directory.GetFiles(artifacts, "*.nupkg") |> Array.iter File.Delete

    quietly
        "packing"
        "dotnet"
        ([ "pack"
           "Interop.CSharp"
           "-c"
           "Release"
           "--no-build"
           "-o"
           artifacts
           "-v"
           "quiet"
           "-tl:off" ]
         @ noServers)

    match Directory.GetFiles(artifacts, "*.nupkg") with
    | [| package |] -> package
    | packages -> stop $"one package was expected, there are {packages.Length}"

/// Whether every file is as the formatters would write it; prints those that are not.
let isFormatted () =
    say "checking the format"

    let check what arguments =
        let code, lines = capture "dotnet" arguments

        if code <> 0 then
            lines |> Seq.iter Console.WriteLine
            say $"{what} is not formatted: run `dotnet fsi build.fsx format`"

        code = 0

    let fsharp = check "F#" [ "fantomas"; "--check"; "." ]
    let csharp = check "C#" [ "csharpier"; "check"; "." ]
    fsharp && csharp

/// The programs that real-peer tests talk to, and the packages of Debian and Ubuntu that bring them.
let peers =
    [ "/usr/bin/chromium", "chromium"
      "/usr/bin/firefox-esr", "firefox-esr"
      "/usr/bin/ffmpeg", "ffmpeg"
      "/usr/lib/python3/dist-packages/aiortc", "python3-aiortc"
      "/usr/bin/openssl", "openssl"
      "/usr/bin/turnutils_uclient", "coturn"
      "/usr/sbin/ip", "iproute2" ]

/// Installs what is missing of `peers` where that can be done; answers why not where it cannot.
let installPeers () =
    let missing () =
        peers |> List.filter (fst >> Path.Exists >> not) |> List.map snd

    let apt arguments =
        let patience =
            [ "-q"; "-y"; "-o"; "DPkg::Lock::Timeout=300"; "-o"; "Acquire::Retries=3" ]

        capture "env" ([ "DEBIAN_FRONTEND=noninteractive"; "apt-get" ] @ patience @ arguments)

    // One by one: a distribution that lacks one of them may have the others.
    let install package =
        let code, lines = apt [ "install"; "--no-install-recommends"; package ]

        if code = 0 then
            None
        else
            Some $"""apt-get install {package}: {lines |> Seq.tryLast |> Option.defaultValue ""}"""

    let isRoot = OperatingSystem.IsLinux() && Environment.UserName = "root"

    match missing () with
    | [] -> None
    | packages when not (isRoot && Path.Exists "/usr/bin/apt-get") ->
        Some $"""not installed, and only root on Debian or Ubuntu can install: {String.Join(' ', packages)}"""
    | packages ->
        say $"""installing {String.Join(", ", packages)} in the background"""
        apt [ "update" ] |> ignore

        match List.choose install packages with
        | [] -> None
        | failures -> Some(String.Join("; ", failures))

/// What the test runner counted.
type Count =
    { Passed: int
      Failed: int
      Skipped: int }

/// What a run counts for that ended before it could count.
let unfinished = { Passed = 0; Failed = 1; Skipped = 0 }

/// Runs PropertyTests; `environment` tells the tests what they may use.
let runTests (limit: TimeSpan) environment arguments =
    for struct (name: string, value: string) in environment do
        Environment.SetEnvironmentVariable(name, value)

    let summary =
        Regex @"([\d,]+) passed, ([\d,]+) ignored, ([\d,]+) failed, ([\d,]+) errored"

    let mutable count = None
    let mutable failures = 0

    // Expecto ends its lines with a colour's reset, even without colours.
    let colour = Regex @"\x1b\[[0-9;]*m"

    let onLine (raw: string) =
        let line = colour.Replace(raw, "")

        if line <> "" || raw = "" then
            Console.WriteLine line

        if line.Contains " ERR] " then
            failures <- failures + 1

        let m = summary.Match line

        if m.Success then
            let number (group: int) =
                int (m.Groups[group].Value.Replace(",", ""))

            count <-
                Some
                    { Passed = number 1
                      Failed = number 3 + number 4
                      Skipped = number 2 }

    let code =
        follow
            limit
            onLine
            "dotnet"
            ([ "run"; "--no-build"; "-c"; "Release"; "--project"; "PropertyTests"; "--" ]
             @ [ "--colours"; "0"; "--no-spinner"; "--fail-on-focused-tests" ]
             @ arguments)

    match count with
    | Some c when code = 0 && c.Passed + c.Skipped > 0 -> c
    | Some c -> { c with Failed = max 1 c.Failed } // the exit code is the gate: a focused test, a crash on the way out, no test at all
    | None ->
        { unfinished with
            Failed = unfinished.Failed + failures }

/// The line that everything ends with, alone on its line; answers the exit code.
let close count =
    let skipped =
        if count.Skipped > 0 then
            $", {count.Skipped} skipped"
        else
            ""

    Console.WriteLine $"{count.Passed} passed, {count.Failed} failed{skipped}"
    if count.Failed = 0 then 0 else 1

/// What the tests are told in an environment variable.
let tell (name: string) (value: string) = [ struct (name, value) ]

let whyNoPeers reason =
    match reason with
    | None -> []
    | Some text ->
        say $"some real peers are missing: {text}"
        tell "HYBRID_NO_PEERS" text

// ---------------------------------------------------------------------------------------------------------------------
// Targets
// ---------------------------------------------------------------------------------------------------------------------

/// Does `work` while the peers are being installed; never leaves apt alone half-way.
let whileInstalling (work: (unit -> struct (string * string) list) -> 'a) =
    let installing = Task.Run installPeers

    try
        work (fun () -> whyNoPeers installing.Result)
    finally
        installing.Wait()

let testTarget arguments =
    try
        restore ()

        whileInstalling (fun peers ->
            let formatted = isFormatted ()
            build solution

            let package =
                if List.isEmpty arguments then
                    tell "HYBRID_PACKAGE" (pack ())
                else
                    []

            let peers = peers ()
            say "testing"
            let count = runTests (TimeSpan.FromMinutes 40.0) (package @ peers) arguments

            close
                { count with
                    Failed = count.Failed + if formatted then 0 else 1 })
    with error ->
        say (
            match error with
            | Stop message -> message
            | other -> string other
        )

        close unfinished

let interopTarget arguments =
    restore ()

    whileInstalling (fun peers ->
        build solution
        close (runTests (TimeSpan.FromMinutes 30.0) (peers ()) ([ "--filter-test-list"; "RealPeers" ] @ arguments)))

/// Rounds of all properties, each with more runs than the last, until the time is over.
let fuzzTarget arguments =
    let seconds =
        match arguments with
        | [ "--seconds"; n ] -> float n
        | [] -> 120.0
        | _ -> stop "fuzz takes --seconds N"

    restore ()
    build solution
    let until = clock.Elapsed + TimeSpan.FromSeconds seconds

    let rec round runs total =
        let left = until - clock.Elapsed

        if left <= TimeSpan.Zero then
            close total
        else
            say $"{runs} runs of each property"

            let environment =
                tell "HYBRID_RUNS" (string runs) @ tell "HYBRID_NO_PEERS" "not while fuzzing"

            let count = runTests left environment []

            if clock.Elapsed >= until && count = unfinished then
                say "the time is over; the last round is not counted"
                close total
            elif count.Failed > 0 then
                close count
            else
                round (runs * 4) count

    round 1000 { Passed = 0; Failed = 0; Skipped = 0 }

let runTarget arguments =
    restore ()

    if not (Directory.Exists(Path.Combine(root, "Examples", "Demo"))) then
        stop "Examples/Demo is not there yet"

    let port =
        if List.contains "--port" arguments then
            []
        else
            [ "--port"; "8080" ]

    buildAndRun "Examples/Demo" (arguments @ port)

let benchTarget arguments =
    // The program's lines of JSON are alone on the standard output, for a file or a pipe.
    if List.contains "--json" arguments then
        Console.SetOut Console.Error

    restore ()
    buildAndRun "Benchmarks" arguments

let packTarget () =
    restore ()
    build solution
    let package = pack ()
    say $"{Path.GetRelativePath(root, package)}, {FileInfo(package).Length / 1024L} KiB"
    0

let docsTarget () =
    restore ()
    build solution
    close (runTests (TimeSpan.FromMinutes 5.0) [] [ "--filter-test-list"; "Docs" ])

let formatTarget () =
    restore ()
    quietly "fantomas" "dotnet" [ "fantomas"; "." ]
    quietly "csharpier" "dotnet" [ "csharpier"; "format"; "." ]
    say "formatted"
    0

/// Declares what PublicApiAnalyzers finds undeclared (RS0016), and forgets what it no longer finds (RS0017).
let acceptSurface (project: string) =
    let file = Path.Combine(root, project, "PublicAPI.Unshipped.txt")

    let _, lines =
        capture
            "dotnet"
            ([ "build"
               project
               "-c"
               "Release"
               "--no-incremental"
               "-v"
               "quiet"
               "-tl:off" ]
             @ [ "-p:TreatWarningsAsErrors=false" ]
             @ noServers)

    let symbols rule =
        let pattern = Regex(rule + ": Symbol '(.*)' is ")

        lines
        |> Seq.choose (fun line ->
            let m = pattern.Match line
            if m.Success then Some m.Groups[1].Value else None)
        |> Set.ofSeq

    let declared =
        File.ReadAllLines file
        |> Seq.filter (fun line -> line <> "" && line <> "#nullable enable")

    let added, gone = symbols "RS0016", symbols "RS0017"

    let now =
        (Set.ofSeq declared - gone) + added
        |> Seq.sortWith (fun a b -> String.CompareOrdinal(a, b))

    File.WriteAllText(file, String.Join("\n", Seq.append [ "#nullable enable" ] now) + "\n")
    say $"{project}: {Set.count added} added, {Set.count gone} gone"

let apiTarget () =
    restore ()
    acceptSurface "Stack"
    acceptSurface "Interop.CSharp"
    build solution

    runTests
        (TimeSpan.FromMinutes 5.0)
        (tell "HYBRID_UPDATE_SNAPSHOTS" "1")
        [ "--filter-test-list"; "Core's public surface" ]
    |> close

let lockTarget () =
    checkSdk ()
    setPackageSource ()
    attempt 3 (fun () -> quietly "restoring the tools" "dotnet" [ "tool"; "restore" ])
    say "resolving paket.dependencies"
    quietly "paket install" "dotnet" [ "paket"; "install" ]
    let file = Path.Combine(root, "paket.lock")
    File.WriteAllText(file, Regex.Replace(File.ReadAllText file, @"(?m)^(\s*remote: ).*$", "$1%NUGET_SOURCE%"))
    say "paket.lock is new, and names no host"
    0

let code =
    try
        match List.ofArray fsi.CommandLineArgs |> List.tail with
        | "run" :: rest -> runTarget rest
        | "test" :: rest -> testTarget rest
        | "bench" :: rest -> benchTarget rest
        | "fuzz" :: rest -> fuzzTarget rest
        | "interop" :: rest -> interopTarget rest
        | [ "pack" ] -> packTarget ()
        | [ "docs" ] -> docsTarget ()
        | [ "format" ] -> formatTarget ()
        | [ "api" ] -> apiTarget ()
        | [ "lock" ] -> lockTarget ()
        | _ ->
            Console.WriteLine usage
            1
    with Stop message ->
        say message
        1

exit code
