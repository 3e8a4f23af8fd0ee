/// Two hosts, each a network namespace with interfaces of its own, between which cables are pulled in the middle of a transfer.
module Hybrid.WebRtc.PropertyTests.RealPeers.NamespaceTests

open System
open System.Threading.Channels
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests

/// The `ip` of iproute2, where it may make namespaces.
let private iproute () : Result<string, string> =
    if not (OperatingSystem.IsLinux()) then
        Error "network namespaces are Linux's"
    else
        match Outside.program [ "ip"; "/usr/sbin/ip"; "/sbin/ip" ] with
        | ValueNone -> Error "iproute2 is not installed"
        | ValueSome ip ->
            let probe = $"hybrid-probe-{Environment.ProcessId}"

            let run arguments =
                (Outside.execute Outside.Patience Outside.root ip arguments).GetAwaiter().GetResult()

            match run [ "netns"; "add"; probe ] with
            | struct (0, _) ->
                run [ "netns"; "del"; probe ] |> ignore
                Ok ip
            | struct (_, told) -> Error("no network namespace may be made here: " + told.Trim())

/// Two namespaces, 'a' and 'b'. Cable `n` is an interface `eth<n>` at each end, with the addresses 10.77.n.1 and 10.77.n.2.
type private Hosts(ip: string) =
    let name (who: char) = $"hybrid-{Environment.ProcessId}-{who}"

    let run (arguments: string list) : Task =
        task {
            let! struct (code, told) = Outside.execute Outside.Patience Outside.root ip arguments
            let command = String.Join(' ', arguments)
            Expect.equal code 0 $"ip {command}: {told}"
        }

    /// Waits until the system says that an interface works.
    let isUp (who: char) (n: int) : Task =
        task {
            let deadline = DateTime.UtcNow.AddSeconds Outside.Patience
            let mutable up = false

            while not up do
                let! struct (_, told) =
                    Outside.execute Outside.Patience Outside.root ip [ "-n"; name who; "link"; "show"; $"eth{n}" ]

                up <- told.Contains "state UP"

                if not up && DateTime.UtcNow > deadline then
                    failtest told
        }

    member _.Make() : Task =
        task {
            for who in [ 'a'; 'b' ] do
                do! run [ "netns"; "add"; name who ]
                do! run [ "-n"; name who; "link"; "set"; "lo"; "up" ]
        }

    member _.Address (who: char) (n: int) =
        let last = if who = 'a' then 1 else 2
        $"10.77.{n}.{last}"

    member _.Give (who: char) (n: int) : Task =
        run
            [ "-n"
              name who
              "addr"
              "add"
              $"10.77.{n}.{(if who = 'a' then 1 else 2)}/24"
              "dev"
              $"eth{n}" ]

    member _.Take (who: char) (n: int) : Task =
        run
            [ "-n"
              name who
              "addr"
              "del"
              $"10.77.{n}.{(if who = 'a' then 1 else 2)}/24"
              "dev"
              $"eth{n}" ]

    /// A cable with an address at each end.
    member this.Plug(n: int) : Task =
        task {
            do!
                run
                    [ "link"
                      "add"
                      $"eth{n}"
                      "netns"
                      name 'a'
                      "type"
                      "veth"
                      "peer"
                      "name"
                      $"eth{n}"
                      "netns"
                      name 'b' ]

            for who in [ 'a'; 'b' ] do
                do! this.Give who n
                do! run [ "-n"; name who; "link"; "set"; $"eth{n}"; "up" ]

            for who in [ 'a'; 'b' ] do
                do! isUp who n
        }

    /// Pulled out, and gone at both ends.
    member _.Unplug(n: int) : Task =
        run [ "-n"; name 'a'; "link"; "del"; $"eth{n}" ]

    /// A peer of ours in one of them.
    member _.Peer (who: char) (continually: bool) =
        new Outside.Conversation(
            ip,
            [ "netns"
              "exec"
              name who
              "dotnet"
              Reflection.Assembly.GetExecutingAssembly().Location
              NamespacePeer.Argument
              if continually then
                  "continually" ]
        )

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                for who in [ 'a'; 'b' ] do
                    let! _ =
                        Outside.execute Outside.Patience Outside.root ip [ "netns"; "del"; name who ]

                    ()
            }
            |> ValueTask

/// A peer's process: what it signals goes to the other, and the rest is for the test.
type private Speaker(conversation: Outside.Conversation) =
    let told = Channel.CreateUnbounded<string>()
    let mutable selected = ""

    member _.Write(line: string) = conversation.Write line

    /// Hands on what it says, until it ends. Candidates follow the description that they go with.
    member _.Listen(other: Outside.Conversation) : Task =
        task {
            let mutable described = false
            let held = Collections.Generic.List<string>()

            try
                while true do
                    let! line = conversation.Read 120.0

                    if line.StartsWith "description " then
                        do! other.Write line
                        described <- true

                        for candidate in held do
                            do! other.Write candidate
                    elif line.StartsWith "candidate " then
                        if described then do! other.Write line else held.Add line
                    elif line.StartsWith "selected " then
                        selected <- line.Substring "selected ".Length
                    else
                        told.Writer.TryWrite line |> ignore
            with e ->
                told.Writer.TryComplete e |> ignore
        }

    /// The next that `choose` takes; what it says of mistakes fails the test.
    member this.Hear(what: string, choose: string[] -> 'a voption) : Task<'a> =
        task {
            let! line = told.Reader.ReadAsync().AsTask() |> Outside.within Outside.Patience what
            let words = line.Split ' '

            match words[0] with
            | "wrong"
            | "failed"
            | "what"
            | "no" -> return failtest $"{what}: {line}"
            | _ ->
                match choose words with
                | ValueSome value -> return value
                | ValueNone -> return! this.Hear(what, choose)
        }

    member this.HearWord(word: string) : Task<string[]> =
        this.Hear(word, (fun words -> if words[0] = word then ValueSome words else ValueNone))

    /// The addresses of the pair that it uses, ours and the other's.
    member _.Selected = selected

    /// How many messages came, once they are so many.
    member this.HearMore(count: int) : Task<int> =
        this.Hear(
            $"message {count}",
            fun words ->
                if words[0] = "got" && int words[1] >= count then
                    ValueSome(int words[1])
                else
                    ValueNone
        )

/// Connects the two, lets `sender` send, changes the world in the middle, and counts what came.
let private transfer
    (continually: bool)
    (cables: int list)
    (sender: char)
    (change: Hosts -> (char -> int) -> Task)
    (ip: string)
    : Task =
    task {
        use hosts = new Hosts(ip)
        do! hosts.Make()

        for n in cables do
            do! hosts.Plug n

        use a = hosts.Peer 'a' continually
        use b = hosts.Peer 'b' continually
        let speakers = dict [ 'a', Speaker a; 'b', Speaker b ]
        let _ = speakers['a'].Listen b
        let _ = speakers['b'].Listen a
        do! speakers['a'].Write "offer"
        let! _ = speakers['a'].HearWord "open"
        let! _ = speakers['b'].HearWord "open"
        let receiver = speakers[if sender = 'a' then 'b' else 'a']
        do! speakers[sender].Write "send"
        // Some seconds, after which peers have done with their checks.
        let! _ = receiver.HearMore 2_400
        let used: string = speakers['a'].Selected

        // The cable of an address is its third number.
        let cable who =
            let address = used.Split(' ')[if who = 'a' then 0 else 1]
            int (address.Split('.')[2])

        do! change hosts cable
        // What was under way then has come, and more.
        let! first = receiver.HearMore 2_400
        let! _ = receiver.HearMore(first + 1_000)
        do! speakers[sender].Write "stop"
        let! sent = speakers[sender].HearWord "sent"
        let! came = receiver.HearWord "done"
        Expect.equal came[1] sent[1] "every message, once and in its turn"
        let after = speakers['a'].Selected

        if not continually then
            Expect.notEqual after used "by another address"

        printfn "%s messages of 16 KiB; nothing came for %s ms" came[1] came[2]
    }

let tests =
    testSequenced
    <| testList
        "Network namespaces"
        [ for sender in [ 'a'; 'b' ] do
              for loser in [ 'a'; 'b' ] do
                  Outside.needing
                      iproute
                      $"{sender} sends, and the address in use vanishes at {loser}: nothing reliable is lost"
                      (transfer false [ 1; 2 ] sender (fun hosts cable -> hosts.Take loser (cable loser)))

          Outside.needing
              iproute
              "the cable in use is gone at both ends: nothing reliable is lost"
              (transfer false [ 1; 2 ] 'a' (fun hosts cable -> hosts.Unplug(cable 'a')))

          for loser in [ 'a'; 'b' ] do
              Outside.needing
                  iproute
                  $"the only address of {loser} vanishes, and comes back: with continual gathering all goes on"
                  (transfer true [ 1 ] 'a' (fun hosts _ ->
                      task {
                          do! hosts.Take loser 1
                          do! hosts.Give loser 1
                      }))

          Outside.needing
              iproute
              "the only cable is gone, and another comes: with continual gathering all goes on"
              (transfer true [ 1 ] 'a' (fun hosts _ ->
                  task {
                      do! hosts.Unplug 1
                      do! hosts.Plug 7
                  })) ]
