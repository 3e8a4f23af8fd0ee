namespace Hybrid.WebRtc.Core

/// A stretch of numbered items of which some are missing, and may come later: packets by their sequence numbers. What comes in
/// order goes to the end of a log, what fills a hole into a tree beside it; each costs the same however much is held.
[<Struct; NoComparison; NoEquality>]
type internal Window<'T> =
    {
        /// From the first number that is held to the last; ValueNone: a hole when the next was added.
        Items: Log<'T voption>
        /// What filled holes, by the number's low bits.
        Late: Slots<'T>
        /// Items held.
        Count: int
    }

    /// The number that the window begins with, held or not.
    member window.First = window.Items.First
    /// One above the greatest number held.
    member window.Next = window.Items.Next

/// Windows.
[<RequireQualifiedAccess>]
module internal Window =
    /// Numbers that a window covers at most, holes included. A power of two: keys of late items are numbers modulo it.
    [<Literal>]
    let Span = 4096

    let inline private key (number: int64) = int number &&& (Span - 1)

    /// A window of nothing that begins with `first`; not negative.
    let startingAt (first: int64) : Window<'T> =
        { Items = Log.startingAt first
          Late = Slots.empty
          Count = 0 }

    /// The item of a number; ValueNone where it is missing or outside of the window.
    let tryFind (number: int64) (window: Window<'T>) : 'T voption =
        let items = window.Items

        if number < items.First || number >= items.Next then
            ValueNone
        else
            match items[number] with
            | ValueNone when window.Late.Count > 0 -> Slots.tryFind (key number) window.Late
            | item -> item

    /// The window without what is below `first`, which may lie above all that is held: it begins there then. Work in proportion to
    /// the numbers passed, each of which was added once.
    let dropTo (first: int64) (window: Window<'T>) : Window<'T> =
        let items = window.Items

        if first <= items.First then
            window
        elif first > items.Next then
            startingAt first
        else
            let mutable late = window.Late
            let mutable count = window.Count

            for number in items.First .. first - 1L do
                match items[number] with
                | ValueSome _ -> count <- count - 1
                | ValueNone when late.Count > 0 ->
                    if (Slots.tryFind (key number) late).IsSome then
                        late <- Slots.remove (key number) late
                        count <- count - 1
                | ValueNone -> ()

            { Items = Log.dropTo first items
              Late = late
              Count = count }

    /// The window with an item. Held already, or below the window: as it was, and false. More than `Span` above its beginning:
    /// the window moves up, and forgets.
    let add (number: int64) (item: 'T) (window: Window<'T>) : struct (Window<'T> * bool) =
        if number < window.First then
            struct (window, false)
        elif number < window.Next then
            if (tryFind number window).IsSome then
                struct (window, false)
            else
                struct ({ window with
                            Late = Slots.set (key number) item window.Late
                            Count = window.Count + 1 },
                        true)
        else
            let window =
                if number - window.First >= int64 Span then
                    dropTo (number - int64 Span + 1L) window
                else
                    window

            let mutable items = window.Items

            while items.Next < number do
                items <- Log.append ValueNone items

            struct ({ window with
                        Items = Log.append (ValueSome item) items
                        Count = window.Count + 1 },
                    true)
