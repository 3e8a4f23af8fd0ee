namespace Hybrid.WebRtc.Core

open System.Runtime.CompilerServices

/// A persistent array with gaps, keyed by numbers from 0: a radix tree of 8 ways, so that a change among the first 8 copies
/// one array of 88 octets, and among 65,536 six of them, where a `Map` costs sixteen comparisons and nodes.
[<NoComparison; NoEquality>]
type Slots<'T> =
    internal
        {
            /// `Depth` levels of arrays of 8, and below them the values; null where nothing is.
            Root: obj | null
            Depth: int
            Filled: int
        }

    /// How many slots are filled.
    member slots.Count = slots.Filled

/// Persistent arrays with gaps.
[<RequireQualifiedAccess>]
module Slots =
    /// Bits of the key that one level tells apart.
    [<Literal>]
    let private Bits = 3

    [<Literal>]
    let private Ways = 8

    /// No slot filled.
    let empty<'T> : Slots<'T> = { Root = null; Depth = 1; Filled = 0 }

    let private fits depth key =
        Bits * depth >= 31 || key < (1 <<< (Bits * depth))

    /// What is no value is an array: the level says so.
    let inline private ways (node: obj) : (obj | null)[] =
        Unchecked.nonNull (Unsafe.As<(obj | null)[]> node)

    let inline private way (shift: int) (key: int) = (key >>> shift) &&& (Ways - 1)

    /// What is in slot `key`, from 0.
    let tryFind (key: int) (slots: Slots<'T>) : 'T voption =
        if key < 0 || not (fits slots.Depth key) then
            ValueNone
        else
            let mutable node = slots.Root
            let mutable shift = Bits * (slots.Depth - 1)
            let mutable going = true

            while going && shift >= 0 do
                match node with
                | null -> going <- false
                | branch ->
                    node <- (ways branch)[way shift key]
                    shift <- shift - Bits

            match node with
            | null -> ValueNone
            | value -> ValueSome(unbox<'T> value)

    let rec private put (shift: int) (key: int) (value: obj | null) (node: obj | null) : obj | null =
        if shift < 0 then
            value
        else
            let copied: (obj | null)[] =
                match node with
                | null -> Array.zeroCreate Ways
                | branch -> Array.copy (ways branch)

            let at = way shift key
            copied[at] <- put (shift - Bits) key value copied[at]

            if isNull value && copied |> Array.forall isNull then
                null
            else
                box copied

    let rec private grown (key: int) (slots: Slots<'T>) : Slots<'T> =
        if fits slots.Depth key then
            slots
        else
            let root: obj | null =
                match slots.Root with
                | null -> null
                | held ->
                    let above: (obj | null)[] = Array.zeroCreate Ways
                    above[0] <- held
                    box above

            grown
                key
                { slots with
                    Root = root
                    Depth = slots.Depth + 1 }

    /// With `value` in slot `key`, from 0.
    let set (key: int) (value: 'T) (slots: Slots<'T>) : Slots<'T> =
        let isNew = (tryFind key slots).IsNone
        let slots = grown key slots

        { Root = put (Bits * (slots.Depth - 1)) key (box value) slots.Root
          Depth = slots.Depth
          Filled = if isNew then slots.Filled + 1 else slots.Filled }

    /// With slot `key` empty.
    let remove (key: int) (slots: Slots<'T>) : Slots<'T> =
        match tryFind key slots with
        | ValueNone -> slots
        | ValueSome _ ->
            { slots with
                Root = put (Bits * (slots.Depth - 1)) key null slots.Root
                Filled = slots.Filled - 1 }

    let rec private foldNode (levels: int) (folder: 's -> 'T -> 's) (state: 's) (node: obj | null) : 's =
        match node with
        | null -> state
        | value when levels = 0 -> folder state (unbox<'T> value)
        | branch ->
            let mutable state = state

            for below in ways branch do
                state <- foldNode (levels - 1) folder state below

            state

    /// Over all that are filled, in ascending order of key.
    let fold (folder: 's -> 'T -> 's) (state: 's) (slots: Slots<'T>) : 's =
        foldNode slots.Depth folder state slots.Root

    /// All that are filled, in ascending order of key.
    let toList (slots: Slots<'T>) : 'T list =
        fold (fun found value -> value :: found) [] slots |> List.rev
