namespace Hybrid.WebRtc.PropertyTests.RealPeers

open System
open System.Net
open System.Net.Sockets
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks

/// A path between two peers that loses media: two sockets of the loopback, each of which either side takes for the other. Each
/// description that passes has its candidates replaced by one of the relay's; where the peer really is, the first of them says. Of
/// RTP and RTCP (RFC 7983 §7) each datagram is lost with this probability, by a seed; STUN and DTLS get through. All take `delay`,
/// in milliseconds, each way.
type LossyRelay(loss: float, delay: int64, seed: int) =
    let stop = new CancellationTokenSource()

    let socket () =
        let socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

        socket.Bind(IPEndPoint(IPAddress.Loopback, 0))
        socket

    // What each side takes for the other, and where the other really is.
    let sockets = [| socket (); socket () |]
    let peers: IPEndPoint voption[] = [| ValueNone; ValueNone |]
    let mutable dropped = 0

    let waiting =
        [| for _ in 0..1 -> Channel.CreateUnbounded<struct (int64 * byte[])>() |]

    /// Lets go at one end what came in at the other.
    let rec deliver (at: int) : Task =
        task {
            let! struct (due, bytes) = waiting[at].Reader.ReadAsync stop.Token
            let early = due - Environment.TickCount64

            if early > 0L then
                do! Task.Delay(int early, stop.Token)

            match peers[1 - at] with
            | ValueSome there ->
                let! _ =
                    sockets[1 - at].SendToAsync(ReadOnlyMemory bytes, SocketFlags.None, there, stop.Token)

                ()
            | ValueNone -> ()

            return! deliver at
        }

    let rec pass (at: int) (random: Random) (buffer: byte[]) : Task =
        task {
            let! got =
                sockets[at].ReceiveFromAsync(Memory buffer, SocketFlags.None, IPEndPoint(IPAddress.Any, 0), stop.Token)

            // Whoever speaks to it is the peer at this end.
            peers[at] <- ValueSome(got.RemoteEndPoint :?> IPEndPoint)
            let isMedia = buffer[0] >= 128uy && buffer[0] < 192uy

            if isMedia && random.NextDouble() < loss then
                Interlocked.Increment &dropped |> ignore
            else
                waiting[at].Writer.TryWrite(struct (Environment.TickCount64 + delay, buffer[.. got.ReceivedBytes - 1]))
                |> ignore

            return! pass at random buffer
        }

    do
        for at in 0..1 do
            pass at (Random(seed + at)) (Array.zeroCreate 2_048) |> ignore
            deliver at |> ignore

    static let candidate =
        Regex(@"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host[^\r\n]*\r\n", RegexOptions.IgnoreCase)

    static let line = Regex(@"a=candidate:[^\r\n]*\r\n")

    /// Datagrams lost so far.
    member _.Dropped = dropped

    /// A description of the peer at one end (0 or 1) on its way to the other.
    member _.Pass(from: int, description: JsonElement) : JsonElement =
        let sdp = string (description.GetProperty("sdp").GetString())
        let first = candidate.Match sdp

        if first.Success && peers[from].IsNone then
            peers[from] <- ValueSome(IPEndPoint(IPAddress.Parse first.Groups[1].Value, int first.Groups[2].Value))

        let port =
            match sockets[1 - from].LocalEndPoint with
            | :? IPEndPoint as here -> here.Port
            | _ -> invalidOp "a bound socket has a port"

        let bare = line.Replace(sdp, "")
        // Behind the first ICE credentials: a section's, or all sections' by BUNDLE.
        let at =
            bare.IndexOf(
                "\r\n",
                bare.IndexOf("a=ice-pwd", bare.IndexOf("m=", StringComparison.Ordinal), StringComparison.Ordinal),
                StringComparison.Ordinal
            )
            + 2

        let relayed =
            bare.Insert(at, $"a=candidate:1 1 udp 2122260223 127.0.0.1 {port} typ host\r\n")

        JsonSerializer.SerializeToElement
            {| ``type`` = description.GetProperty("type").GetString()
               sdp = relayed |}

    interface IDisposable with
        member _.Dispose() =
            stop.Cancel()

            for socket in sockets do
                socket.Dispose()
