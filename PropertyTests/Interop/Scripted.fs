/// The facade over a scripted peer: what it asks, what it shows, what it tells, and in which order.
module Hybrid.WebRtc.PropertyTests.Interop.Scripted

open System
open System.Buffers
open System.Collections.Concurrent
open System.Reactive
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests

let internal channelInit label =
    { Label = label
      Protocol = ""
      Ordered = true
      MaxPacketLifeTime = ValueNone
      MaxRetransmits = ValueNone
      Negotiated = false
      Id = ValueSome 1
      Priority = Priority.Low }

let private candidate (line: string) : Candidate = Candidate.parse line |> ValueOption.get

let private ours = candidate "candidate:1 1 udp 2122194687 192.0.2.2 48917 typ host"

let private theirs =
    candidate "candidate:2 1 udp 2122194687 192.0.2.3 48917 typ host"

let internal iceInfo =
    { State = IceTransportState.Connected
      Gathering = IceGatheringState.Complete
      Role = IceRole.Controlling
      LocalParameters =
        ValueSome
            { UsernameFragment = "abcd"
              Password = "0123456789012345678901" }
      RemoteParameters = ValueNone
      LocalCandidates = [| ours |]
      LocalServers = [||]
      RemoteCandidates = [| theirs |]
      SelectedPair =
        ValueSome
            { Local = ours
              Remote = theirs
              Path =
                { Local = 1<port>
                  Remote =
                    { Address = Address.v4 192uy 0uy 2uy 3uy
                      Port = 48917us } } } }

let internal dtlsInfo =
    { State = DtlsTransportState.Connected
      RemoteCertificates = [| [| 1uy; 2uy |] |]
      Version = "DTLS 1.2"
      CipherSuite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
      Group = "x25519"
      Role = "client" }

let internal sctpInfo: SctpTransportInfo =
    { State = SctpTransportState.Connected
      MaxMessageSize = 1_000L
      MaxChannels = ValueSome 1024 }

let internal statistics =
    { At = 0L<us>
      Ice = iceInfo
      Dtls = dtlsInfo
      Sctp = sctpInfo
      Association =
        ValueSome
            { SmoothedRoundTripTime = ValueSome 1_500L<us>
              CongestionWindow = 1
              PeerReceiverWindow = 2
              Mtu = 1200
              BufferedAmount = 3L
              Retransmissions = 4L }
      Media = MediaStatistics.none
      Pairs =
        [| { Local = Candidate.toText iceInfo.LocalCandidates[0]
             Remote = Candidate.toText iceInfo.RemoteCandidates[0]
             State = "succeeded"
             Nominated = true
             RequestsSent = 1L
             RequestsReceived = 2L
             ResponsesSent = 3L
             ResponsesReceived = 4L
             ConsentRequestsSent = 5L
             CurrentRoundTripTime = ValueSome 2_000L<us>
             TotalRoundTripTime = 4_000L<us>
             PacketsSent = 11L
             BytesSent = 1_100L
             PacketsReceived = 12L
             BytesReceived = 1_200L
             LastPacketSentAt = ValueSome -5_000L<us>
             LastPacketReceivedAt = ValueNone } |]
      Channels =
        [| { Handle = 7
             Label = "x"
             Protocol = ""
             Id = ValueSome 1
             State = "open"
             MessagesSent = 1L
             BytesSent = 2L
             MessagesReceived = 3L
             BytesReceived = 4L } |]
      ChannelsOpened = 2
      ChannelsClosed = 1
      PacketsSent = 10L
      BytesSent = 100L
      PacketsReceived = 11L
      BytesReceived = 110L
      Drops =
        [| { Layer = Layer.Dtls
             Reason = Drop.Replayed
             Count = 3L } |] }

/// A peer that answers by script. `replies` false: commands wait until the test answers them.
type Script(?replies: bool) =
    let posted = ConcurrentQueue<Input>()
    let mutable sink: IPeerSink | null = null
    let mutable handles = 0
    let replies = defaultArg replies true

    member _.Sink = nonNull sink

    /// Answers what it knows of; true where it did.
    member val Media: Input -> bool = (fun _ -> false) with get, set

    /// Tells of a message, in a turn of its own.
    member _.Message(channel: ChannelHandle, text: bool, payload: ReadOnlyMemory<byte>) =
        let sink = nonNull sink
        sink.Message(channel, text, payload)
        sink.Settle()

    member _.Posted = posted.ToArray()

    /// Octets that the facade reported as consumed.
    member _.Consumed =
        posted.ToArray()
        |> Array.sumBy (function
            | Input.Consumed octets -> octets
            | _ -> 0)

    /// What was sent, as text.
    member _.Sent =
        posted.ToArray()
        |> Array.choose (function
            | Input.Send(_, _, payload) -> Some(Encoding.UTF8.GetString payload.Span)
            | _ -> None)

    member private _.Answer(input: Input) =
        let sink = nonNull sink

        match input with
        | Input.CreateOffer(id, _) -> sink.Reply(id, Answer.Created { Type = SdpType.Offer; Sdp = "offer" })
        | Input.CreateAnswer id ->
            sink.Reply(
                id,
                Answer.Created
                    { Type = SdpType.Answer
                      Sdp = "answer" }
            )
        | Input.SetLocalDescription(id, _)
        | Input.SetRemoteDescription(id, _)
        | Input.AddIceCandidate(id, _)
        | Input.RestartIce id
        | Input.SetConfiguration(id, _) -> sink.Reply(id, Answer.Done)
        | _ -> ()

    /// Takes whatever is posted, and keeps nothing of it.
    member val Quiet = false with get, set

    member script.Post(input: Input) : bool =
        if script.Quiet then true else script.Take input

    member private script.Take(input: Input) : bool =
        posted.Enqueue input
        let sink = nonNull sink

        match input with
        | Input.CreateDataChannel(id, init) ->
            handles <- handles + 1
            sink.Reply(id, Answer.Channel { Handle = handles; Init = init })
        | Input.GetStats id -> sink.Reply(id, Answer.Stats script.Statistics)
        | Input.Close id ->
            sink.Reply(id, Answer.Done)
            sink.Ended null
        | other ->
            if not (script.Media other) && replies then
                script.Answer other

        true

    /// What `GetStats` answers.
    member val Statistics = statistics with get, set

    member script.Connect(?options: WebRtcOptions) : RTCPeerConnection =
        new RTCPeerConnection(
            null,
            Option.toObj options,
            (fun _ given ->
                sink <- given
                Func<Input, bool>(script.Post))
        )

    /// A connected peer with an open channel.
    member script.WithChannel(?options: WebRtcOptions) : Task<struct (RTCPeerConnection * RTCDataChannel)> =
        task {
            let pc = script.Connect(?options = options)
            let channel = pc.CreateDataChannel "x"
            script.Sink.Raise(Event.SctpTransportChanged sctpInfo)
            script.Sink.Raise(Event.ChannelOpened(channel.Handle, 4))
            do! within (channel.WaitForOpenAsync())
            return struct (pc, channel)
        }

let internal bytes (text: string) =
    ReadOnlyMemory(Encoding.UTF8.GetBytes text)

/// Everything that was posted to the connection's context so far has run.
let internal settled (pc: RTCPeerConnection) = drained pc.Notify.Context
