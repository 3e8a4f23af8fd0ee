namespace Hybrid.WebRtc.Core.Turn

open System
open System.Numerics

/// A place in a trie: 5 bits of the key's hash choose one of 32 ways.
[<AbstractClass>]
type internal TrieNode<'K, 'V when 'K :> IEquatable<'K>>() = class end

[<Sealed>]
type internal TrieLeaf<'K, 'V when 'K :> IEquatable<'K>>(hash: int, key: 'K, value: 'V, next: TrieLeaf<'K, 'V> | null) =
    inherit TrieNode<'K, 'V>()
    member _.Hash = hash
    member _.Key = key
    member _.Value = value
    /// Another key with all of its 32 bits of hash.
    member _.Next = next

[<Sealed>]
type internal TrieBranch<'K, 'V when 'K :> IEquatable<'K>>(ways: uint32, nodes: TrieNode<'K, 'V>[]) =
    inherit TrieNode<'K, 'V>()
    /// A bit for each of the 32 ways that lead somewhere.
    member _.Ways = ways
    /// Where they lead, in order.
    member _.Nodes = nodes

/// A persistent hash table: looking up allocates nothing and touches one node for every 5 bits of hash that tell keys apart,
/// 3 or 4 among tens of thousands; a change copies as many. Keys that peers choose must hash with a seed of the process, as
/// `HashCode` and strings do. No order of what is in it is told to anyone.
[<NoComparison; NoEquality>]
type internal Trie<'K, 'V when 'K :> IEquatable<'K>> =
    { Root: TrieNode<'K, 'V> | null
      Count: int }

/// Persistent hash tables.
[<RequireQualifiedAccess>]
module internal Trie =
    [<Literal>]
    let private Bits = 5

    [<Literal>]
    let private HashBits = 32

    let empty<'K, 'V when 'K :> IEquatable<'K>> : Trie<'K, 'V> =
        { Root = null; Count = 0 }

    let inline private wayOf (hash: int) (shift: int) : uint32 = 1u <<< ((hash >>> shift) &&& 31)

    /// Where among the nodes of a branch a way is, or would be.
    let inline private placeOf (ways: uint32) (way: uint32) =
        BitOperations.PopCount(ways &&& (way - 1u))

    let private among (key: 'K) (leaf: TrieLeaf<'K, 'V>) : 'V voption =
        let mutable leaf: TrieLeaf<'K, 'V> | null = leaf
        let mutable found = ValueNone

        while not (isNull leaf) do
            match leaf with
            | null -> ()
            | here ->
                if here.Key.Equals key then
                    found <- ValueSome here.Value
                    leaf <- null
                else
                    leaf <- here.Next

        found

    let tryFind (key: 'K) (trie: Trie<'K, 'V>) : 'V voption =
        let hash = key.GetHashCode()
        let mutable node = trie.Root
        let mutable shift = 0
        let mutable found = ValueNone

        while not (isNull node) do
            match node with
            | :? TrieBranch<'K, 'V> as branch ->
                let way = wayOf hash shift

                if branch.Ways &&& way = 0u then
                    node <- null
                else
                    node <- branch.Nodes[placeOf branch.Ways way]
                    shift <- shift + Bits
            | :? TrieLeaf<'K, 'V> as leaf ->
                if leaf.Hash = hash then
                    found <- among key leaf

                node <- null
            | _ -> node <- null

        found

    let containsKey (key: 'K) (trie: Trie<'K, 'V>) : bool = (tryFind key trie).IsSome

    /// Without the key, of the leaves with one hash; null where none is left.
    let rec private without (key: 'K) (leaf: TrieLeaf<'K, 'V> | null) : TrieLeaf<'K, 'V> | null =
        match leaf with
        | null -> null
        | leaf when leaf.Key.Equals key -> leaf.Next
        | leaf -> TrieLeaf(leaf.Hash, leaf.Key, leaf.Value, without key leaf.Next)

    let private replaced (at: int) (node: TrieNode<'K, 'V>) (branch: TrieBranch<'K, 'V>) =
        let nodes = Array.copy branch.Nodes
        nodes[at] <- node
        TrieBranch(branch.Ways, nodes)

    let private inserted (way: uint32) (node: TrieNode<'K, 'V>) (branch: TrieBranch<'K, 'V>) =
        let at = placeOf branch.Ways way
        let nodes = Array.zeroCreate (branch.Nodes.Length + 1)
        Array.Copy(branch.Nodes, nodes, at)
        nodes[at] <- node
        Array.Copy(branch.Nodes, at, nodes, at + 1, branch.Nodes.Length - at)
        TrieBranch(branch.Ways ||| way, nodes)

    /// Two leaves whose hashes differ, from this shift on.
    let rec private fork (shift: int) (a: TrieLeaf<'K, 'V>) (b: TrieLeaf<'K, 'V>) : TrieNode<'K, 'V> =
        let wayA = wayOf a.Hash shift
        let wayB = wayOf b.Hash shift

        if wayA = wayB then
            TrieBranch(wayA, [| fork (shift + Bits) a b |])
        elif wayA < wayB then
            TrieBranch(wayA ||| wayB, [| a; b |])
        else
            TrieBranch(wayA ||| wayB, [| b; a |])

    let rec private put (shift: int) (hash: int) (key: 'K) (value: 'V) (node: TrieNode<'K, 'V>) : TrieNode<'K, 'V> =
        match node with
        | :? TrieBranch<'K, 'V> as branch ->
            let way = wayOf hash shift

            if branch.Ways &&& way = 0u then
                inserted way (TrieLeaf(hash, key, value, null)) branch
            else
                let at = placeOf branch.Ways way
                replaced at (put (shift + Bits) hash key value branch.Nodes[at]) branch
        | :? TrieLeaf<'K, 'V> as leaf when leaf.Hash = hash -> TrieLeaf(hash, key, value, without key leaf)
        | :? TrieLeaf<'K, 'V> as leaf -> fork (min shift HashBits) leaf (TrieLeaf(hash, key, value, null))
        | _ -> TrieLeaf(hash, key, value, null)

    /// With `value` under `key`, in place of what was there.
    let set (key: 'K) (value: 'V) (trie: Trie<'K, 'V>) : Trie<'K, 'V> =
        let hash = key.GetHashCode()

        match trie.Root with
        | null ->
            { Root = TrieLeaf(hash, key, value, null)
              Count = 1 }
        | root ->
            { Root = put 0 hash key value root
              Count = if containsKey key trie then trie.Count else trie.Count + 1 }

    let rec private take (shift: int) (hash: int) (key: 'K) (node: TrieNode<'K, 'V>) : TrieNode<'K, 'V> | null =
        match node with
        | :? TrieBranch<'K, 'V> as branch ->
            let way = wayOf hash shift
            let at = placeOf branch.Ways way

            match take (shift + Bits) hash key branch.Nodes[at] with
            // A leaf alone moves up, so that a trie has as many nodes as its keys ask for.
            | null when branch.Nodes.Length = 1 -> null
            | null when branch.Nodes.Length = 2 && (branch.Nodes[1 - at] :? TrieLeaf<'K, 'V>) -> branch.Nodes[1 - at]
            | null -> TrieBranch(branch.Ways &&& ~~~way, Array.removeAt at branch.Nodes)
            | :? TrieLeaf<'K, 'V> as leaf when branch.Nodes.Length = 1 -> leaf
            | changed -> replaced at changed branch
        | :? TrieLeaf<'K, 'V> as leaf -> without key leaf
        | _ -> null

    /// Without `key`.
    let remove (key: 'K) (trie: Trie<'K, 'V>) : Trie<'K, 'V> =
        match trie.Root with
        | null -> trie
        | root when containsKey key trie ->
            { Root = take 0 (key.GetHashCode()) key root
              Count = trie.Count - 1 }
        | _ -> trie

    let rec private foldNode (folder: 's -> 'K -> 'V -> 's) (state: 's) (node: TrieNode<'K, 'V>) : 's =
        match node with
        | :? TrieBranch<'K, 'V> as branch ->
            let mutable state = state

            for below in branch.Nodes do
                state <- foldNode folder state below

            state
        | :? TrieLeaf<'K, 'V> as leaf ->
            let state = folder state leaf.Key leaf.Value

            match leaf.Next with
            | null -> state
            | next -> foldNode folder state next
        | _ -> state

    /// Over all, in no order that means anything.
    let fold (folder: 's -> 'K -> 'V -> 's) (state: 's) (trie: Trie<'K, 'V>) : 's =
        match trie.Root with
        | null -> state
        | root -> foldNode folder state root
