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
    [<NoComparison>]
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

    /// Queues `payload`; `overhead` of its octets are not the user's.
    let queue (id: int) ppid control overhead (payload: ReadOnlyMemory<byte>) (channel: Channel) =
        let traffic = channel.Traffic
        let queued = traffic.Queued + int64 payload.Length

        let ordered =
            match channel.Phase with
            | Open acknowledged -> channel.Info.Init.Ordered || not acknowledged
            | Connecting
            | Closing _ -> true

        let message: OutgoingMessage =
            { Stream = uint16 id
              Ppid = ppid
              // DCEP is reliable and ordered whatever its channel is, RFC 8832 §6.
              Ordered = ordered || control
              Reliability = if control then Reliable else reliability channel.Info.Init
              Priority = uint16 channel.Info.Init.Priority
              Payload = payload }

        let overheads =
            if overhead = 0 then
                traffic.Overheads
            else
                traffic.Overheads @ [ { Until = queued; Octets = overhead } ]

        struct ({ channel with
                    Traffic =
                        { traffic with
                            Queued = queued
                            Overheads = overheads } },
                message)

    /// Queues a message of DCEP.
    let control (id: int) (message: Dcep) (channel: Channel) =
        let bytes = Dcep.write message
        queue id Ppid.Dcep true bytes.Length (ReadOnlyMemory bytes) channel

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
