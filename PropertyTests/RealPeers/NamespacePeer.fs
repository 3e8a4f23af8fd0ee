/// A peer in a process and a network namespace of its own: told what to do in lines, and telling in lines.
module Hybrid.WebRtc.PropertyTests.RealPeers.NamespacePeer

open System
open System.Diagnostics
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Hybrid.WebRtc

/// What makes a process of the tests such a peer; whether it gathers continually follows.
[<Literal>]
let Argument = "peer-in-a-namespace"

/// Octets of a message; the first four number it.
[<Literal>]
let private Size = 16_384

/// Messages after which the receiver says how far it is.
[<Literal>]
let private Every = 200

let private tell (line: string) =
    lock Console.Out (fun () ->
        Console.Out.WriteLine line
        Console.Out.Flush())

/// How many came, whether each in its turn, and the longest time between two.
type private Tally() =
    let clock = Stopwatch.StartNew()
    let mutable next = 0
    let mutable last = 0L
    let mutable gap = 0L

    member _.Take(payload: ReadOnlyMemory<byte>) =
        let number = BitConverter.ToInt32(payload.Span)

        if number = -1 then
            tell $"done {next} {gap}"
        elif number <> next then
            tell $"wrong {number} for {next}"
        else
            let now = clock.ElapsedMilliseconds

            if next > 0 then
                gap <- max gap (now - last)

            last <- now
            next <- next + 1

            if next % Every = 0 then
                tell $"got {next}"

let private sendUntil (stopped: CancellationToken) (channel: RTCDataChannel) : Task =
    task {
        let payload: byte[] = Array.zeroCreate Size
        let mutable number = 0
        // Some 8 MB a second: a transfer that lasts, and leaves the processor to others.
        use pace = new PeriodicTimer(TimeSpan.FromMilliseconds 2.0)

        while not stopped.IsCancellationRequested do
            BitConverter.TryWriteBytes(Span payload, number) |> ignore
            do! channel.SendAsync(ReadOnlyMemory payload)
            number <- number + 1
            let! _ = pace.WaitForNextTickAsync()
            ()

        BitConverter.TryWriteBytes(Span payload, -1) |> ignore
        do! channel.SendAsync(ReadOnlyMemory payload)
        tell $"sent {number}"
    }

let private attend (channel: RTCDataChannel) =
    let tally = Tally()
    channel.OnMessage.Subscribe(fun m -> tally.Take m.Data) |> ignore

    task {
        do! channel.WaitForOpenAsync()
        tell "open"
    }
    |> ignore

/// Tells by which pair packets go, now and whenever it is another.
let private follow (pc: RTCPeerConnection) =
    match pc.Sctp with
    | null -> ()
    | sctp ->
        let ice = sctp.Transport.IceTransport

        let say () =
            match ice.GetSelectedCandidatePair() with
            | null -> ()
            | pair -> tell $"selected {pair.Local.Address} {pair.Remote.Address}"

        ice.OnSelectedCandidatePairChange.Subscribe(fun _ -> say ()) |> ignore
        say ()

/// Runs until its input ends.
let run (arguments: string[]) : int =
    let options =
        WebRtcOptions(
            ContinualGathering = (arguments |> Array.contains "continually"),
            // The system tells of most changes at once.
            NetworkWatchInterval = TimeSpan.FromSeconds 1.0
        )

    use stop = new CancellationTokenSource()
    let pc = new RTCPeerConnection(RTCConfiguration(), options)
    let mutable channel: RTCDataChannel | null = null

    let adopt (c: RTCDataChannel) =
        channel <- c
        attend c

    pc.OnDataChannel.Subscribe(fun e -> adopt e.Channel) |> ignore

    pc.OnIceCandidate.Subscribe(fun e ->
        match e.Candidate with
        | null -> ()
        | candidate when candidate.Candidate = "" -> ()
        | candidate -> tell ("candidate " + candidate.ToJson()))
    |> ignore

    let mutable isFollowed = false

    pc.OnConnectionStateChange.Subscribe(fun state ->
        tell $"state {state}"

        if state = RTCPeerConnectionState.Connected && not isFollowed then
            isFollowed <- true
            follow pc)
    |> ignore

    let describe () =
        task {
            do! pc.SetLocalDescriptionAsync()

            match pc.LocalDescription with
            | null -> ()
            | description -> tell ("description " + description.ToJson())
        }

    let obey (line: string) : Task =
        task {
            match line.Split(' ', 2) with
            | [| "offer" |] ->
                adopt (pc.CreateDataChannel "moving")
                do! describe ()
            | [| "description"; json |] ->
                do! pc.SetRemoteDescriptionAsync(RTCSessionDescription.FromJson json)

                if pc.SignalingState = RTCSignalingState.HaveRemoteOffer then
                    do! describe ()
            | [| "candidate"; json |] -> do! pc.AddIceCandidateAsync(RTCIceCandidateInit.FromJson json)
            | [| "send" |] ->
                match channel with
                | null -> tell "no channel"
                | channel -> sendUntil stop.Token channel |> ignore
            | [| "stop" |] -> stop.Cancel()
            | _ -> tell ("what is " + line)
        }

    let rec listen () =
        match Console.In.ReadLine() with
        | null -> ()
        | line ->
            try
                (obey line).GetAwaiter().GetResult()
            with e ->
                tell ("failed " + e.Message)

            listen ()

    listen ()
    pc.CloseAsync().GetAwaiter().GetResult()
    0
