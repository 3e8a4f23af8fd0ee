namespace Hybrid.WebRtc.Core.Tls

open Hybrid.WebRtc.Core

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
