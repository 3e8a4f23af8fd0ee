namespace Hybrid.WebRtc.PropertyTests.RealPeers

open System
open System.Text.Json
open System.Threading.Channels
open System.Threading.Tasks
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

/// A data channel of ours whose notifications can be awaited.
type Line(channel: RTCDataChannel) =
    let messages = Channel.CreateUnbounded<MessageEvent>()

    let closed =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    do
        channel.OnMessage.Subscribe(fun m -> messages.Writer.TryWrite m |> ignore)
        |> ignore

        channel.OnClose.Subscribe(fun _ -> closed.TrySetResult() |> ignore) |> ignore

    member _.Channel = channel

    member _.Opened() : Task =
        task { do! channel.WaitForOpenAsync().WaitAsync(TimeSpan.FromSeconds Outside.Patience) }

    /// The next message: text or not, and its octets.
    member _.Next() : Task<struct (bool * byte[])> =
        task {
            let! m =
                messages.Reader.ReadAsync().AsTask()
                |> Outside.within Outside.Patience $"a message on \"{channel.Label}\""

            return struct (m.IsText, m.Data.ToArray())
        }

    member _.Closed() : Task =
        task { do! closed.Task.WaitAsync(TimeSpan.FromSeconds Outside.Patience) }

/// A peer of ours, spoken to in descriptions as JSON.
type OurPeer(?options: WebRtcOptions, ?configuration: RTCConfiguration) =
    let pc =
        new RTCPeerConnection(defaultArg configuration (RTCConfiguration()), defaultArg options (WebRtcOptions()))

    let incoming = Channel.CreateUnbounded<Line>()

    do
        pc.OnDataChannel.Subscribe(fun e -> incoming.Writer.TryWrite(Line e.Channel) |> ignore)
        |> ignore

    static let json (description: RTCSessionDescription | null) =
        match description with
        | null -> invalidOp "no description"
        | description -> JsonDocument.Parse(description.ToJson()).RootElement.Clone()

    member _.Pc = pc

    member _.Create(label: string, ?init: RTCDataChannelInit) : Line =
        Line(pc.CreateDataChannel(label, defaultArg init (RTCDataChannelInit())))

    /// The channel of this label that the peer opened, or opens next; others before it are passed over.
    member _.Incoming(label: string) : Task<Line> =
        let rec next () : Task<Line> =
            task {
                let! line =
                    incoming.Reader.ReadAsync().AsTask()
                    |> Outside.within Outside.Patience $"the peer's channel \"{label}\""

                if line.Channel.Label = label then
                    return line
                else
                    return! next ()
            }

        next ()

    /// A whole offer or answer, candidates included.
    member _.Describe() : Task<JsonElement> =
        task {
            do! pc.SetLocalDescriptionAsync()
            do! pc.GatheringCompleteAsync().WaitAsync(TimeSpan.FromSeconds Outside.Patience)
            return json pc.LocalDescription
        }

    member _.Accept(description: JsonElement) : Task =
        pc.SetRemoteDescriptionAsync(RTCSessionDescription.FromJson(description.GetRawText()))

    /// Waits for a connection state.
    member _.Reaches(state: RTCPeerConnectionState) : Task =
        task {
            let reached =
                TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

            use _ =
                pc.OnConnectionStateChange.Subscribe(fun now ->
                    if now = state then
                        reached.TrySetResult() |> ignore)

            do! reached.Task.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
        }

    /// Sends messages to a peer that echoes them until packets are larger than they were at first: it answers the probes of
    /// path MTU discovery, RFC 8899.
    member _.Grows(line: Line) : Task =
        task {
            let mtu () =
                task {
                    let! report = pc.GetStatsAsync()
                    return (report.OfType<RTCSctpTransportStats>() |> Seq.exactlyOne).Mtu
                }

            let first = int64 (Hybrid.WebRtc.Core.SctpConfig.packetIn 1200)
            let! before = mtu ()
            let mutable present = before
            let deadline = Environment.TickCount64 + int64 (1_000.0 * Outside.Patience)

            while present <= first && Environment.TickCount64 < deadline do
                line.Channel.Send(Array.zeroCreate<byte> 60_000)
                let! _ = line.Next()
                let! now = mtu ()
                present <- now

            if present <= first then
                failwithf "packets are still of %d octets" present
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() = pc.DisposeAsync()

/// Who makes the offer.
type Offerer =
    | Ours
    | Browsers

/// Negotiation with a page whose connection is `pc`.
[<AutoOpen>]
module BrowserNegotiation =
    let private answer =
        "async (offer) => { await pc.setRemoteDescription(offer); await pc.setLocalDescription(); return await gathered(pc); }"

    let private offer =
        "async () => { await pc.setLocalDescription(); return await gathered(pc); }"

    let private accept = "(answer) => pc.setRemoteDescription(answer)"

    /// One round of it, what each side says being changed on the way to the other.
    let negotiateBy
        (outwards: JsonElement -> JsonElement)
        (inwards: JsonElement -> JsonElement)
        (offerer: Offerer)
        (ours: OurPeer)
        (page: Page)
        : Task =
        task {
            match offerer with
            | Ours ->
                let! offered = ours.Describe()
                let! answered = page.Call(answer, outwards offered)
                do! ours.Accept(inwards answered)
            | Browsers ->
                let! offered = page.Call offer
                do! ours.Accept(inwards offered)
                let! answered = ours.Describe()
                let! _ = page.Call(accept, outwards answered)
                ()
        }

    /// One round of it.
    let negotiate (offerer: Offerer) (ours: OurPeer) (page: Page) : Task = negotiateBy id id offerer ours page
