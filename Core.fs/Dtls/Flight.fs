namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls13

/// A part of a flight that is to be sent, RFC 6347 §4.2.4.
[<NoComparison; NoEquality>]
type internal Item =
    | Whole of Message
    | ChangeCipherSpec

/// What a record of ours carries.
[<Struct; NoComparison; NoEquality>]
type internal Payload =
    | MessagePart of Message: Message * Offset: int * Length: int
    | CipherChange
    | AlertOf of Level: byte * Description: byte
    /// DTLS 1.3, RFC 9147 §7.
    | AckOf of RecordNumber[]

/// A record of ours, described.
[<NoComparison; NoEquality>]
type internal Outgoing =
    { Payload: Payload
      Epoch: uint64
      Sequence: uint64
      Sealing: Sealing }

[<RequireQualifiedAccess>]
module internal Outgoing =
    /// Octets within the record, before sealing.
    let payloadSize (payload: Payload) : int =
        match payload with
        | MessagePart(_, _, length) -> Fragment.HeaderSize + length
        | CipherChange -> 1
        | AlertOf _ -> 2
        | AckOf numbers -> Messages13.ackSize numbers

    let private kind payload =
        match payload with
        | MessagePart _ -> ContentType.Handshake
        | CipherChange -> ContentType.ChangeCipherSpec
        | AlertOf _ -> ContentType.Alert
        | AckOf _ -> ContentType.Ack

    let private version payload =
        match payload with
        | MessagePart(message, _, _) when message.Type = MessageType.ClientHello -> Record.OldestVersion
        | _ -> Record.Version

    let private writePayload (into: Span<byte>) payload =
        match payload with
        | MessagePart(message, offset, length) ->
            Fragment.writeHeader into message offset length
            ReadOnlySpan(message.Body, offset, length).CopyTo(into.Slice Fragment.HeaderSize)
        | CipherChange -> into[0] <- 1uy
        | AlertOf(level, description) ->
            into[0] <- level
            into[1] <- description
        | AckOf numbers -> Messages13.writeAck into numbers

    let size (record: Outgoing) : int =
        Sealing.overhead record.Sealing + payloadSize record.Payload

    let write (record: Outgoing) (into: Span<byte>) : int =
        writePayload (into.Slice(Sealing.plaintextOffset record.Sealing)) record.Payload

        Sealing.write
            record.Sealing
            (kind record.Payload)
            (version record.Payload)
            record.Epoch
            record.Sequence
            into
            (payloadSize record.Payload)

namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Tls

/// A datagram of the handshake, or an alert: records described, sealed as they are written.
[<NoComparison; NoEquality>]
type DtlsDatagram =
    internal
        { Records: Outgoing list }

    /// Octets that `Write` fills.
    member datagram.Size: int = datagram.Records |> List.sumBy Outgoing.size

    /// Encodes and seals into lent memory of at least `Size` octets; answers the octets written. Twice the same.
    member datagram.Write(into: Span<byte>) : int =
        let mutable at = 0

        for record in datagram.Records do
            at <- at + Outgoing.write record (into.Slice at)

        at

namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core

/// An epoch of ours that we send in.
[<NoComparison; NoEquality>]
type internal WriteEpoch =
    {
        Epoch: uint64
        Sealing: Sealing
        /// The next record's number.
        Next: uint64
    }

/// Our epochs, the oldest first.
[<RequireQualifiedAccess>]
module internal WriteEpoch =
    /// Epoch 0, whose records are in the clear.
    let clear (next: uint64) : WriteEpoch =
        { Epoch = 0UL
          Sealing = Sealing.Clear
          Next = next }

    let find (epoch: uint64) (writes: WriteEpoch list) : WriteEpoch =
        writes |> List.find (fun w -> w.Epoch = epoch)

    /// The next record of an epoch, and the epochs with its number spent.
    let next (epoch: uint64) (payload: Payload) (writes: WriteEpoch list) : struct (Outgoing * WriteEpoch list) =
        let write = find epoch writes

        struct ({ Payload = payload
                  Epoch = epoch
                  Sequence = write.Next
                  Sealing = write.Sealing },
                writes
                |> List.map (fun w ->
                    if w.Epoch = epoch then
                        { w with Next = w.Next + 1UL }
                    else
                        w))

    /// A datagram of one record, in our newest epoch.
    let single (payload: Payload) (writes: WriteEpoch list) : struct (DtlsDatagram * WriteEpoch list) =
        let struct (record, writes) = next (List.last writes).Epoch payload writes
        struct ({ DtlsDatagram.Records = [ record ] }, writes)

/// The flight that was sent last, to be said again until it is answered, RFC 6347 §4.2.4.
[<NoComparison; NoEquality>]
type internal Flight =
    {
        Items: Item list
        /// The message_seq of the peer's message that we answered with it, -1 where we spoke first. Once the peer repeats
        /// that one, it has not heard us.
        Answers: int
        SentAt: Instant
        /// Until the next retransmission.
        Timeout: Duration
    }

[<RequireQualifiedAccess>]
module internal Flight =
    /// Below this a record would be all header. IPv6 gives 1,280, IPv4 576.
    [<Literal>]
    let SmallestMtu = 128

    /// A part smaller than this is not worth the rest of a datagram's room.
    [<Literal>]
    let SmallestPart = 64

    /// What is to be said, each in its epoch, as datagrams of at most `mtu` octets, each record with a number of its own. A message
    /// is fragmented only where no datagram could hold it whole: some peers are bad at putting fragments together.
    let pack (mtu: int) (writes: WriteEpoch list) (payloads: struct (uint64 * Payload) list) =
        let mtu = max SmallestMtu mtu
        let mutable writes = writes
        let mutable room = mtu
        let mutable current = []
        let mutable datagrams = []

        let flush () =
            if not current.IsEmpty then
                datagrams <- { DtlsDatagram.Records = List.rev current } :: datagrams

            current <- []
            room <- mtu

        let add epoch payload =
            let struct (record, rest) = WriteEpoch.next epoch payload writes
            writes <- rest
            current <- record :: current
            room <- room - Outgoing.size record

        for struct (epoch, payload) in payloads do
            let overhead = Sealing.overhead (WriteEpoch.find epoch writes).Sealing

            if overhead + Outgoing.payloadSize payload > room then
                flush ()

            match payload with
            | MessagePart(message, from, length) ->
                let overhead = overhead + Fragment.HeaderSize
                let mutable at = from
                let mutable isBegun = false

                while not isBegun || at < from + length do
                    if isBegun && room < overhead + SmallestPart then
                        flush ()

                    let part = min (from + length - at) (room - overhead)
                    add epoch (MessagePart(message, at, part))
                    at <- at + part
                    isBegun <- true
            | CipherChange
            | AlertOf _
            | AckOf _ -> add epoch payload

        flush ()
        struct (List.rev datagrams, writes)

    /// A flight of 1.2 as `pack` has it.
    let describe
        (mtu: int)
        (items: Item list)
        (writes: WriteEpoch list)
        : struct (DtlsDatagram list * WriteEpoch list) =
        items
        |> List.map (fun item ->
            match item with
            // The one message that is sent under the new keys.
            | Whole message when message.Type = MessageType.Finished ->
                struct (1UL, MessagePart(message, 0, message.Body.Length))
            | Whole message -> struct (0UL, MessagePart(message, 0, message.Body.Length))
            | ChangeCipherSpec -> struct (0UL, CipherChange))
        |> pack mtu writes

    /// Whether a fragment is the end of the message that a flight answered, which it has said at `sentAt`: then the peer has not heard
    /// it. Copies that the network made come close behind the first, and are not asked twice.
    let asksAgain (now: Instant) (first: Duration) (fragment: Fragment) (answers: int) (sentAt: Instant) : bool =
        fragment.Sequence = answers
        && fragment.Offset + fragment.Bytes.Length = fragment.Length
        && now - sentAt >= first / 2L

    /// When it is to be said again.
    let retryAt (flight: Flight) : Instant =
        Instant.add flight.Timeout flight.SentAt

/// Parts of a message, from and to (exclusive): ascending, disjoint, never adjacent.
[<RequireQualifiedAccess>]
module internal Spans =
    /// The spans with one more, which may overlap or touch them.
    let rec insert start finish (spans: struct (int * int) list) =
        match spans with
        | struct (s, f) :: rest when f < start -> struct (s, f) :: insert start finish rest
        | struct (s, f) :: rest when s <= finish -> insert (min s start) (max f finish) rest
        | _ -> struct (start, finish) :: spans

    let covers start finish (spans: struct (int * int) list) : bool =
        spans |> List.exists (fun (struct (s, f)) -> s <= start && finish <= f)

    /// What of 0 to `length` the spans leave out.
    let gaps (length: int) (spans: struct (int * int) list) : struct (int * int) list =
        let rec from at spans =
            match spans with
            | struct (s, f) :: rest when s > at -> struct (at, s) :: from f rest
            | struct (_, f) :: rest -> from f rest
            | [] when at < length -> [ struct (at, length) ]
            | [] -> []

        from 0 spans

/// A message of which some parts are here.
[<NoComparison; NoEquality>]
type internal Partial =
    {
        Type: MessageType
        /// Octets of the whole message.
        Length: int
        /// What is here, as `Spans`.
        Have: struct (int * int) list
        /// Copies of the fragments and where they begin, newest first.
        Parts: struct (int * byte[]) list
        /// Octets in `Parts`.
        Octets: int
    }

/// The peer's messages being put together, RFC 6347 §4.2.2 and §4.2.3.
[<NoComparison; NoEquality>]
type internal Reassembly =
    {
        /// The message_seq that is due.
        Next: int
        Partial: Map<int, Partial>
    }

[<RequireQualifiedAccess>]
module internal Reassembly =
    let empty: Reassembly = { Next = 0; Partial = Map.empty }

    /// Messages from the one that is due on that are kept: a flight has five at most.
    [<Literal>]
    let Ahead = 8

    /// Holes that a message may have: a bound on work.
    [<Literal>]
    let MaxGaps = 64

    /// Fragments that are kept apart before they are joined.
    [<Literal>]
    let private MaxParts = 64

    /// Reads the next fragment of a handshake record; `r` tells whether it was all there.
    let readFragment (r: byref<Reader>) : Fragment =
        let kind = r.Byte()
        let length = r.UInt24()
        let sequence = int (r.UInt16())
        let offset = r.UInt24()
        let bytes = r.Bytes(r.UInt24())

        { Type = LanguagePrimitives.EnumOfValue kind
          Length = length
          Sequence = sequence
          Offset = offset
          Bytes = bytes }

    /// Whether a fragment lies within its message, and the message within bounds.
    let isSound (fragment: Fragment) : bool =
        fragment.Length <= Message.MaxSize
        && fragment.Offset + fragment.Bytes.Length <= fragment.Length
        // An empty part of a message that is not empty says nothing.
        && (fragment.Bytes.Length > 0 || fragment.Length = 0)

    /// The parts in their places, zeros in the holes.
    let private join (part: Partial) : byte[] =
        let body = Array.zeroCreate part.Length

        // Oldest first: the oldest may be a joined one, with holes.
        for struct (start, bytes) in List.rev part.Parts do
            bytes.CopyTo(body, start)

        body

    /// Keeps what is held of a message below twice its length, however its parts overlap.
    let private compact (part: Partial) : Partial =
        if part.Parts.Length > MaxParts || part.Octets > 2 * part.Length then
            { part with
                Parts = [ struct (0, join part) ]
                Octets = part.Length }
        else
            part

    /// Takes a fragment in; its bytes are copied.
    let add (fragment: Fragment) (reassembly: Reassembly) : Result<Reassembly, Drop> =
        let start = fragment.Offset
        let finish = fragment.Offset + fragment.Bytes.Length

        let part =
            match Map.tryFind fragment.Sequence reassembly.Partial with
            | Some part -> part
            | None ->
                { Type = fragment.Type
                  Length = fragment.Length
                  Have = []
                  Parts = []
                  Octets = 0 }

        let have = Spans.insert start finish part.Have

        if fragment.Sequence < reassembly.Next || Spans.covers start finish part.Have then
            Error Drop.Replayed
        elif fragment.Sequence >= reassembly.Next + Ahead then
            Error Drop.TooMany
        elif part.Type <> fragment.Type || part.Length <> fragment.Length then
            Error Drop.Malformed
        elif have.Length > MaxGaps then
            Error Drop.TooMany
        else
            let part =
                compact
                    { part with
                        Have = have
                        Parts = struct (start, fragment.Bytes.ToArray()) :: part.Parts
                        Octets = part.Octets + fragment.Bytes.Length }

            Ok
                { reassembly with
                    Partial = Map.add fragment.Sequence part reassembly.Partial }

    /// The message that is due, once it is whole.
    let take (reassembly: Reassembly) : struct (Message * Reassembly) voption =
        match Map.tryFind reassembly.Next reassembly.Partial with
        | Some part when Spans.covers 0 part.Length part.Have ->
            ValueSome(
                struct ({ Type = part.Type
                          Sequence = reassembly.Next
                          Body = join part },
                        { Next = reassembly.Next + 1
                          Partial = Map.remove reassembly.Next reassembly.Partial })
            )
        | _ -> ValueNone
