namespace Hybrid.WebRtc.Core

open System

/// What went one way over one path.
[<NoComparison; NoEquality>]
type internal PathCount =
    {
        Path: Path
        Packets: int64
        Bytes: int64
        /// When the last packet did.
        At: Instant
    }

/// Packets that went one way, whichever path they took. A struct: it changes with each of them, and nothing else does.
[<Struct; NoComparison; NoEquality>]
type internal Passed =
    {
        Packets: int64
        Bytes: int64
        /// When the last one did; 0 before it.
        At: Instant
    }

/// How packets that went one way are shared out among paths: the present one has what has come since it became that, the former ones
/// have what they had. So a packet costs a counter, and a change of path a look at all of them, which are few.
[<NoComparison; NoEquality>]
type internal Ways =
    {
        /// ValueNone before the first.
        Present: Path voption
        /// What had passed when the present path became that, or went elsewhere since.
        Before: Passed
        Former: PathCount[]
    }

[<RequireQualifiedAccess>]
module internal Passed =
    let none: Passed =
        { Packets = 0L
          Bytes = 0L
          At = 0L<us> }

    /// With packets more, of so many octets in all.
    let add (now: Instant) (packets: int) (octets: int64) (passed: Passed) : Passed =
        { Packets = passed.Packets + int64 packets
          Bytes = passed.Bytes + octets
          At = now }

[<RequireQualifiedAccess>]
module internal Ways =
    /// Paths that are counted: a peer has few that carry anything. The oldest is forgotten.
    [<Literal>]
    let private MaxPaths = 32

    let none: Ways =
        { Present = ValueNone
          Before = Passed.none
          Former = Array.Empty() }

    /// Whether packets go by this path now.
    let isPresent (path: Path) (ways: Ways) : bool =
        match ways.Present with
        | ValueSome present -> present.Equals path
        | ValueNone -> false

    /// Each path's own, the present one's last.
    let counts (passed: Passed) (ways: Ways) : PathCount[] =
        match ways.Present with
        | ValueSome path when passed.Packets > ways.Before.Packets ->
            let since: PathCount =
                { Path = path
                  Packets = passed.Packets - ways.Before.Packets
                  Bytes = passed.Bytes - ways.Before.Bytes
                  At = passed.At }

            match ways.Former |> Array.tryFindIndex (fun count -> count.Path.Equals path) with
            | Some at ->
                let former = ways.Former[at]

                Array.append
                    (Array.removeAt at ways.Former)
                    [| { since with
                           Packets = since.Packets + former.Packets
                           Bytes = since.Bytes + former.Bytes } |]
            | None -> Array.append ways.Former [| since |]
        | _ -> ways.Former

    /// By this path from now on.
    let turn (path: Path) (passed: Passed) (ways: Ways) : Ways =
        let former = counts passed ways

        { Present = ValueSome path
          Before = passed
          Former =
            (if former.Length > MaxPaths then
                 Array.tail former
             else
                 former) }

    /// Without one packet that is in `Passed`, but went by no path that is counted.
    let skip (octets: int) (ways: Ways) : Ways =
        { ways with
            Before =
                { ways.Before with
                    Packets = ways.Before.Packets + 1L
                    Bytes = ways.Before.Bytes + int64 octets } }

    /// A path's own; ValueNone where it had none.
    let find (path: Path) (counts: PathCount[]) : PathCount voption =
        match counts |> Array.tryFind (fun count -> count.Path.Equals path) with
        | Some count -> ValueSome count
        | None -> ValueNone
