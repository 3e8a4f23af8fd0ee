namespace Hybrid.WebRtc.Core

/// A node of `Slots`: 16 ways a level.
[<NoComparison; NoEquality>]
type internal SlotNode<'T> =
    | Nothing
    | Leaf of 'T
    | Branch of SlotNode<'T>[]

/// A persistent array with gaps, keyed by numbers from 0: a radix tree of 16 ways, so that a look-up among 65,536 streams
/// costs four steps and a change copies four small arrays, where a `Map` costs sixteen of each.
[<NoComparison; NoEquality>]
type Slots<'T> =
    internal
        {
            Root: SlotNode<'T>
            /// Levels of branches above the leaves.
            Depth: int
            Filled: int
        }

    /// How many slots are filled.
    member slots.Count = slots.Filled

/// Persistent arrays with gaps.
[<RequireQualifiedAccess>]
module Slots =
    /// No slot filled.
    let empty<'T> : Slots<'T> =
        { Root = Nothing
          Depth = 1
          Filled = 0 }

    let private fits depth key = depth >= 8 || key < (1 <<< (4 * depth))

    /// What is in slot `key`, from 0.
    let tryFind (key: int) (slots: Slots<'T>) : 'T voption =
        if key < 0 || not (fits slots.Depth key) then
            ValueNone
        else
            let mutable node = slots.Root
            let mutable shift = 4 * (slots.Depth - 1)
            let mutable going = true

            while going do
                match node with
                | Branch ways ->
                    node <- ways[(key >>> shift) &&& 15]
                    shift <- shift - 4
                | Leaf _
                | Nothing -> going <- false

            match node with
            | Leaf value -> ValueSome value
            | Nothing
            | Branch _ -> ValueNone

    let rec private put shift key leaf node =
        if shift < 0 then
            leaf
        else
            let ways =
                match node with
                | Branch ways -> Array.copy ways
                | Leaf _
                | Nothing -> Array.create 16 Nothing

            let way = (key >>> shift) &&& 15
            ways[way] <- put (shift - 4) key leaf ways[way]

            match leaf with
            | Nothing when ways |> Array.forall (fun w -> w.IsNothing) -> Nothing
            | _ -> Branch ways

    let rec private grown (key: int) (slots: Slots<'T>) : Slots<'T> =
        if fits slots.Depth key then
            slots
        else
            let root =
                match slots.Root with
                | Nothing -> Nothing
                | held -> Branch(Array.init 16 (fun i -> if i = 0 then held else Nothing))

            grown
                key
                { slots with
                    Root = root
                    Depth = slots.Depth + 1 }

    /// With `value` in slot `key`, from 0.
    let set (key: int) (value: 'T) (slots: Slots<'T>) : Slots<'T> =
        let isNew = (tryFind key slots).IsNone
        let slots = grown key slots

        { slots with
            Root = put (4 * (slots.Depth - 1)) key (Leaf value) slots.Root
            Filled = if isNew then slots.Filled + 1 else slots.Filled }

    /// With slot `key` empty.
    let remove (key: int) (slots: Slots<'T>) : Slots<'T> =
        match tryFind key slots with
        | ValueNone -> slots
        | ValueSome _ ->
            { slots with
                Root = put (4 * (slots.Depth - 1)) key Nothing slots.Root
                Filled = slots.Filled - 1 }

    let rec private foldNode (folder: 's -> 'T -> 's) (state: 's) node =
        match node with
        | Nothing -> state
        | Leaf value -> folder state value
        | Branch ways -> Array.fold (foldNode folder) state ways

    /// Over all that are filled, in ascending order of key.
    let fold (folder: 's -> 'T -> 's) (state: 's) (slots: Slots<'T>) : 's = foldNode folder state slots.Root

    /// All that are filled, in ascending order of key.
    let toList (slots: Slots<'T>) : 'T list =
        fold (fun found value -> value :: found) [] slots |> List.rev
