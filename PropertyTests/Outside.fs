/// What some tests need of the machine around them: the repository's files, programs, and a way to say that one is missing.
module Hybrid.WebRtc.PropertyTests.Outside

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto

/// The folder of Hybrid.sln.
let root: string =
    let rec up (folder: DirectoryInfo | null) =
        match folder with
        | null -> invalidOp "the tests run outside of their repository"
        | folder when File.Exists(Path.Combine(folder.FullName, "Hybrid.sln")) -> folder.FullName
        | folder -> up folder.Parent

    up (DirectoryInfo AppContext.BaseDirectory)

/// Seconds that a test waits for what should take a moment. A machine that does much else takes long over it, and who waits in
/// vain fails no less for having waited.
[<Literal>]
let Patience = 60.0

/// An environment variable; an empty one is as good as none.
let variable (name: string) : string voption =
    match Environment.GetEnvironmentVariable name with
    | null
    | "" -> ValueNone
    | value -> ValueSome value

/// A port number of 127.0.0.1 that no socket has, of UDP or TCP. Systems hand out higher ones themselves (from 32,768 on Linux, from
/// 49,152 elsewhere), so between this look and the test's own bind nobody is given it by chance.
let freePort () : int =
    let rec look tries =
        let port = Random.Shared.Next(30_000, 32_700)
        let at = IPEndPoint(IPAddress.Loopback, port)

        try
            use udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

            use tcp =
                new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

            udp.Bind at
            tcp.Bind at
            port
        with :? SocketException when tries > 0 ->
            look (tries - 1)

    look 100

/// The first of `candidates` that exists: whole paths, or names looked up in PATH.
let program (candidates: string list) : string voption =
    let folders =
        match variable "PATH" with
        | ValueSome path -> path.Split Path.PathSeparator
        | ValueNone -> [||]

    candidates
    |> Seq.collect (fun candidate ->
        if Path.IsPathRooted candidate then
            Seq.singleton candidate
        else
            folders |> Seq.map (fun folder -> Path.Combine(folder, candidate)))
    |> Seq.tryFind File.Exists
    |> ValueOption.ofOption

/// A test of what may be missing here: with `Error reason` it is listed as skipped, with that reason.
let needing (need: unit -> Result<'need, string>) (name: string) (body: 'need -> Task) : Test =
    testCaseTask name (fun () ->
        task {
            match need () with
            | Ok found -> do! body found
            | Error reason ->
                Console.WriteLine $"skipped: {name}: {reason}"
                skiptest reason
        })

/// Waits for a task, no longer than `seconds`; `what` says in the failure what was waited for.
let within (seconds: float) (what: string) (work: Task<'a>) : Task<'a> =
    task {
        try
            return! work.WaitAsync(TimeSpan.FromSeconds seconds)
        with :? TimeoutException ->
            return failtest $"{what}: nothing within {seconds} s"
    }

/// A program with which a test talks in lines. Disposing ends it, and whatever it started.
type Conversation(path: string, arguments: string seq) =
    let errors = Text.StringBuilder()

    let talk =
        let info =
            ProcessStartInfo(
                path,
                arguments,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        let talk = new Process(StartInfo = info)

        talk.ErrorDataReceived.Add(fun e -> lock errors (fun () -> errors.AppendLine(string e.Data) |> ignore))

        talk.Start() |> ignore
        talk.BeginErrorReadLine()
        talk

    /// What the program wrote to its standard error so far.
    member _.Errors = lock errors errors.ToString

    member _.Write(line: string) : Task =
        task {
            do! talk.StandardInput.WriteLineAsync line
            do! talk.StandardInput.FlushAsync()
        }

    /// The next line; fails the test with the program's standard error where none comes.
    member this.Read(seconds: float) : Task<string> =
        task {
            match!
                talk.StandardOutput.ReadLineAsync()
                |> within seconds $"a line of {path}\n{this.Errors}"
            with
            | null -> return failtest $"{path} ended: {this.Errors}"
            | line -> return line
        }

    interface IDisposable with
        member _.Dispose() =
            if not talk.HasExited then
                talk.Kill(entireProcessTree = true)

            talk.Dispose()

/// Runs a program to its end in `folder`, with these variables in its environment; answers its exit code and all it wrote. Ends
/// it after `seconds`.
let executeWith
    (environment: (string * string) list)
    (seconds: float)
    (folder: string)
    (path: string)
    (arguments: string list)
    : Task<struct (int * string)> =
    task {
        let info =
            ProcessStartInfo(
                path,
                arguments,
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        for name, value in environment do
            info.Environment[name] <- value

        use started = new Process(StartInfo = info)
        started.Start() |> ignore
        let output = started.StandardOutput.ReadToEndAsync()
        let error = started.StandardError.ReadToEndAsync()

        try
            do! started.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds seconds)
        with :? TimeoutException ->
            started.Kill(entireProcessTree = true)

        let! output = output
        let! error = error
        do! started.WaitForExitAsync()
        return struct (started.ExitCode, output + error)
    }

/// The same in the environment of the tests.
let execute seconds folder path arguments =
    executeWith [] seconds folder path arguments
