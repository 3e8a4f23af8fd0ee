namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// A message of ours, and what of it the peer has said that it has.
[<NoComparison; NoEquality>]
type internal Outbound =
    {
        Message: Message
        /// A message is said again in the epoch in which it was said, RFC 9147 §4.2.1.
        Epoch: uint64
        Acked: struct (int * int) list
    }

/// What a record of ours carried: the octets from `From` to `To` (exclusive) of a message.
[<Struct; NoComparison; NoEquality>]
type internal Carried =
    { Number: RecordNumber
      Message: int
      From: int
      To: int }

/// Messages that wait for an answer or an ACK, RFC 9147 §5.8.1: what is said again is what of them the peer has not.
[<NoComparison; NoEquality>]
type internal Flight13 =
    {
        Messages: Outbound list
        /// Newest first.
        Carried: Carried list
        /// The message_seq of the peer's message that we answered with it, -1 where we spoke first. Once the peer repeats that
        /// one, it has not heard us.
        Answers: int
        SentAt: Instant
        /// Until the next retransmission.
        Timeout: Duration
        /// How often any of it was sent.
        Sends: int
    }

[<RequireQualifiedAccess>]
module internal Flight13 =
    /// Records that are remembered for their ACK: a bound on work. A flight said in the smallest datagrams has some thirty.
    [<Literal>]
    let private MaxCarried = 256

    /// The epoch in which a message of the handshake is said, RFC 9147 §6.1; ValueNone where it comes after it.
    let epochOf (kind: MessageType) : uint64 voption =
        match kind with
        | MessageType.ClientHello
        | MessageType.ServerHello
        | MessageType.HelloVerifyRequest -> ValueSome 0UL
        | MessageType.KeyUpdate
        | MessageType.NewSessionTicket -> ValueNone
        | _ -> ValueSome 2UL

    let private isMissing (outbound: Outbound) =
        not (Spans.covers 0 outbound.Message.Body.Length outbound.Acked)

    /// Whether the peer has said that it has all.
    let isAcked (flight: Flight13) : bool =
        not (flight.Messages |> List.exists isMissing)

    /// The peer has begun to answer, which says that it has all, RFC 9147 §7.2.
    let answered (flight: Flight13) : Flight13 =
        { flight with
            Messages =
                flight.Messages
                |> List.map (fun m ->
                    { m with
                        Acked = [ struct (0, m.Message.Body.Length) ] })
            Carried = [] }

    /// Nothing of it is sent yet.
    let create (answers: int) (messages: struct (Message * uint64) list) : Flight13 =
        { Messages =
            messages
            |> List.map (fun (struct (message, epoch)) ->
                { Message = message
                  Epoch = epoch
                  Acked = [] })
          Carried = []
          Answers = answers
          SentAt = 0L<us>
          Timeout = 0L<us>
          Sends = 0 }

    /// When it is to be said again; never, where the peer has it and only owes its answer.
    let retryAt (flight: Flight13) : Instant =
        if isAcked flight then
            Instant.never
        else
            Instant.add flight.Timeout flight.SentAt

    /// The time until a first retransmission where no round trip has been seen is `DtlsTiming.First`; else it follows from that,
    /// RFC 9147 §5.8.2. `flight` is what the peer answers now.
    let timeout (config: DtlsConfig) (now: Instant) (flight: Flight13 voption) : Duration =
        match flight with
        | ValueSome flight when flight.Sends = 1 ->
            (now - flight.SentAt) * 3L / 2L
            |> max (config.Timing.First / 2L)
            |> min config.Timing.Most
        | ValueSome flight -> flight.Timeout
        | ValueNone -> config.Timing.First

    /// Says what the peer has not, of the epochs up to `until`, as datagrams of at most `mtu` octets.
    let sayUntil
        (until: uint64)
        (mtu: int)
        (now: Instant)
        (timeout: Duration)
        (writes: WriteEpoch list)
        (flight: Flight13)
        =
        let struct (datagrams, writes) =
            [ for outbound in flight.Messages do
                  if outbound.Epoch <= until then
                      for struct (from, until) in Spans.gaps outbound.Message.Body.Length outbound.Acked do
                          struct (outbound.Epoch, MessagePart(outbound.Message, from, until - from)) ]
            |> Flight.pack mtu writes

        let carried =
            (flight.Carried, datagrams |> List.collect _.Records)
            ||> List.fold (fun carried record ->
                match record.Payload with
                | MessagePart(message, from, length) ->
                    { Number =
                        { Epoch = record.Epoch
                          Sequence = record.Sequence }
                      Message = message.Sequence
                      From = from
                      To = from + length }
                    :: carried
                | CipherChange
                | AlertOf _
                | AckOf _ -> carried)

        struct ({ flight with
                    Carried = List.truncate MaxCarried carried
                    SentAt = now
                    Timeout = timeout
                    Sends = flight.Sends + 1 },
                writes,
                datagrams)

    /// Says what the peer has not.
    let say mtu now timeout writes flight =
        sayUntil UInt64.MaxValue mtu now timeout writes flight

    /// What an ACK in a record of `epoch` says, RFC 9147 §7.2: ValueNone where it is nothing new. In the handshake an ACK speaks
    /// of no epoch beyond its own, else anyone could make one, in the clear; after it each side counts its own epochs.
    let acknowledge (epoch: uint64) (numbers: RecordNumber[]) (flight: Flight13) : Flight13 voption =
        let isNamed (number: RecordNumber) =
            (epoch > 2UL || number.Epoch <= epoch)
            && numbers
               |> Array.exists (fun n -> n.Epoch = number.Epoch && n.Sequence = number.Sequence)

        let heard, left = flight.Carried |> List.partition (fun c -> isNamed c.Number)

        let acknowledge (outbound: Outbound) =
            let acked =
                (outbound.Acked, heard)
                ||> List.fold (fun acked c ->
                    if c.Message = outbound.Message.Sequence then
                        Spans.insert c.From c.To acked
                    else
                        acked)

            { outbound with Acked = acked }

        if heard.IsEmpty then
            ValueNone
        else
            ValueSome
                { flight with
                    Messages = flight.Messages |> List.map acknowledge
                    Carried = left }
