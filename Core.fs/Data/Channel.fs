namespace Hybrid.WebRtc.Core

open System

/// One data channel: its state, and the messages that it gives to the association.
module internal Channel =
    /// Which of the two stream resets a closing channel still waits for, RFC 8831 §6.7.
    [<Struct; NoComparison>]
    type Awaiting =
        | BothResets
        | OurReset
        | PeersReset

    /// A closed channel is no longer held: its stream may serve another.
    [<Struct; NoComparison>]
    type Phase =
        | Connecting
        /// `Acknowledged` false: the OPEN is under way, so everything goes ordered, RFC 8832 §6.
        | Open of Acknowledged: bool
        | Closing of Awaiting: Awaiting

    /// Octets given to the association that are not the user's (OPEN, ACK, the octet of an empty message): where in the
    /// channel's queue they stand, and how many.
    [<Struct; NoComparison>]
    type Overhead = { Until: int64; Octets: int }

    /// What went over a channel.
    [<Struct; NoComparison>]
    type Traffic =
        {
            MessagesSent: int64
            BytesSent: int64
            MessagesReceived: int64
            BytesReceived: int64
            /// Octets given to the association, and of these, octets that have left its queue.
            Queued: int64
            Left: int64
            /// Ascending; rarely more than one.
            Overheads: Overhead list
        }

    /// Pieces of a message in the deprecated PPIDs 52 and 54, newest first.
    [<NoComparison>]
    type Partial =
        { Pieces: ReadOnlyMemory<byte> list
          Size: int }

    [<NoComparison>]
    type Channel =
        {
            Info: ChannelInfo
            Phase: Phase
            Traffic: Traffic
            Partial: Partial
            /// Octets of label and protocol where the peer opened the channel, else 0.
            PeersText: int
        }

    /// No piece kept.
    let noPieces = { Pieces = []; Size = 0 }

    /// Nothing went over it.
    let noTraffic =
        { MessagesSent = 0L
          BytesSent = 0L
          MessagesReceived = 0L
          BytesReceived = 0L
          Queued = 0L
          Left = 0L
          Overheads = [] }

    /// Octets of label and protocol.
    let textSize (init: ChannelInit) =
        Text.Encoding.UTF8.GetByteCount init.Label
        + Text.Encoding.UTF8.GetByteCount init.Protocol

    /// How hard the association tries.
    let reliability (init: ChannelInit) : Reliability =
        match init.MaxRetransmits, init.MaxPacketLifeTime with
        | ValueSome count, _ -> MaxRetransmits count
        | _, ValueSome milliseconds -> MaxLifetime(Duration.milliseconds (int64 milliseconds))
        | _ -> Reliable

    /// The message that carries `payload`.
    let message (id: int) ppid control (payload: ReadOnlyMemory<byte>) (channel: Channel) : OutgoingMessage =
        let ordered =
            match channel.Phase with
            | Open acknowledged -> channel.Info.Init.Ordered || not acknowledged
            | Connecting
            | Closing _ -> true

        { Stream = uint16 id
          Ppid = ppid
          // DCEP is reliable and ordered whatever its channel is, RFC 8832 §6.
          Ordered = ordered || control
          Reliability = if control then Reliable else reliability channel.Info.Init
          Priority = uint16 channel.Info.Init.Priority
          Payload = payload }

    /// The traffic once `octets` more are queued; `overhead` of them are not the user's.
    let queued (octets: int) (overhead: int) (traffic: Traffic) : Traffic =
        let queued = traffic.Queued + int64 octets

        { traffic with
            Queued = queued
            Overheads =
                if overhead = 0 then
                    traffic.Overheads
                else
                    traffic.Overheads @ [ { Until = queued; Octets = overhead } ] }

    /// Queues a message of DCEP.
    let control (id: int) (dcep: Dcep) (channel: Channel) : struct (Channel * OutgoingMessage) =
        let bytes = Dcep.write dcep

        struct ({ channel with
                    Traffic = queued bytes.Length bytes.Length channel.Traffic },
                message id Ppid.Dcep true (ReadOnlyMemory bytes) channel)

    /// The traffic once `octets` have left the association's queue, and how many of them are the user's.
    let left (octets: int) (traffic: Traffic) : struct (Traffic * int) =
        let left = traffic.Left + int64 octets
        let mutable rest = traffic.Overheads
        let mutable users = octets

        // Overheads that lie wholly within what has left are not the user's.
        while not rest.IsEmpty && rest.Head.Until <= left do
            users <- users - rest.Head.Octets
            rest <- rest.Tail

        struct ({ traffic with
                    Left = left
                    Overheads = rest },
                users)

    /// The octet that stands for an empty message, RFC 8831 §6.6.
    let emptyMessage = ReadOnlyMemory [| 0uy |]

    /// The nearest of W3C's four to a DCEP priority.
    let priority (number: uint16) : Priority =
        if number <= 128us then Priority.VeryLow
        elif number <= 256us then Priority.Low
        elif number <= 512us then Priority.Medium
        else Priority.High

    /// The pieces and the last one, as one message.
    let joined (partial: Partial) (last: ReadOnlyMemory<byte>) : ReadOnlyMemory<byte> =
        if partial.Size = 0 then
            last
        else
            let whole: byte[] = Array.zeroCreate (partial.Size + last.Length)
            last.CopyTo(Memory(whole, partial.Size, last.Length))
            let mutable at = partial.Size

            for piece in partial.Pieces do
                at <- at - piece.Length
                piece.CopyTo(Memory(whole, at, piece.Length))

            ReadOnlyMemory whole

    /// The largest stream id, W3C WebRTC 1.0 §6.2: 65,535 is not one (RFC 8832 §5.1 leaves it out).
    [<Literal>]
    let MaxId = 65_534

    /// The longest label or protocol, octets of UTF-8, W3C WebRTC 1.0 §6.1.
    [<Literal>]
    let private MaxText = 65_535

    let mistake name message = ValueSome(Mistake.create name message)

    /// What is wrong with a channel whatever others there are, W3C WebRTC 1.0 §6.1 createDataChannel.
    let invalid (init: ChannelInit) : Mistake voption =
        let tooLong (text: string) =
            Text.Encoding.UTF8.GetByteCount text > MaxText

        let within (value: int voption) =
            match value with
            | ValueSome n -> n >= 0 && n <= 65_535
            | ValueNone -> true

        match init.Id with
        | _ when tooLong init.Label -> mistake ErrorName.TypeError "The label is longer than 65,535 octets of UTF-8."
        | _ when tooLong init.Protocol ->
            mistake ErrorName.TypeError "The protocol is longer than 65,535 octets of UTF-8."
        | _ when init.MaxPacketLifeTime.IsSome && init.MaxRetransmits.IsSome ->
            mistake
                ErrorName.TypeError
                "maxPacketLifeTime and maxRetransmits are both set; a channel takes one of them at most."
        | _ when not (within init.MaxPacketLifeTime && within init.MaxRetransmits) ->
            mistake ErrorName.TypeError "maxPacketLifeTime and maxRetransmits are from 0 to 65,535."
        | ValueNone when init.Negotiated ->
            mistake
                ErrorName.TypeError
                "negotiated is true and id is absent; both sides of a negotiated channel give its id."
        | ValueSome id when init.Negotiated && (id < 0 || id > MaxId) ->
            mistake ErrorName.TypeError "id is from 0 to 65,534."
        | _ -> ValueNone
