namespace Hybrid.WebRtc.Core.Association

/// Streams that wait for their turn, the earliest due first: a leftist heap, so that to join or to leave costs O(log n) and
/// old versions stay as they are.
[<NoComparison; NoEquality>]
type internal Turns =
    | Nobody
    /// `rank`: the length of the way down on the right, never longer than that on the left.
    | Turn of due: int64 * stream: uint16 * rank: int * left: Turns * right: Turns

[<RequireQualifiedAccess>]
module internal Turns =
    let private rank (turns: Turns) =
        match turns with
        | Nobody -> 0
        | Turn(_, _, rank, _, _) -> rank

    let private node due stream (one: Turns) (other: Turns) : Turns =
        if rank one >= rank other then
            Turn(due, stream, rank other + 1, one, other)
        else
            Turn(due, stream, rank one + 1, other, one)

    let rec private merge (one: Turns) (other: Turns) : Turns =
        match one, other with
        | Nobody, turns
        | turns, Nobody -> turns
        | Turn(due, stream, _, left, right), Turn(due', stream', _, left', right') ->
            if due < due' || (due = due' && stream <= stream') then
                node due stream left (merge right other)
            else
                node due' stream' left' (merge one right')

    /// With a stream that is due at `due`, in virtual time.
    let add (due: int64) (stream: uint16) (turns: Turns) : Turns =
        merge turns (Turn(due, stream, 1, Nobody, Nobody))

    /// Without the first.
    let withoutFirst (turns: Turns) : Turns =
        match turns with
        | Nobody -> Nobody
        | Turn(_, _, _, left, right) -> merge left right
