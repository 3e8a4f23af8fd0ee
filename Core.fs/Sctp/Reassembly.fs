namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association.Incoming

[<RequireQualifiedAccess>]
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module internal Reassembly =
    /// Incomplete runs, of one stream and kind where messages are interleaved. Gaps explain at most twice as many as a SACK
    /// can report, which is less.
    [<Literal>]
    let private MaxRuns = 2048

    /// Runs that are kept aside; more of them take their places among the others.
    [<Literal>]
    let private MaxAside = 8

    /// Runs that get room before their octets come: nobody is to have us set aside much for little.
    [<Literal>]
    let private MaxRoomy = 8

    let create (interleaved: bool) (maxMessageSize: int) : Reassembly =
        { Version = 0L
          MaxMessageSize = maxMessageSize
          Interleaved = interleaved
          Runs = Array.Empty()
          Growing = ValueNone
          Aside = Array.Empty()
          Streams = Slots.empty
          Hot = ValueNone
          Held = 0L
          Unconsumed = { Bytes = 0L; Charge = 0L }
          Hint = 0
          Roomy = 0 }

    /// A draft, for the caller alone to change.
    let draft (r: Reassembly) : Reassembly = { r with Version = r.Version + 1L }

    // ---- Fragments ----

    let private key (tsn: int64) (data: Data) : int64 =
        if data.Interleaved then
            (int64 (Mid.value data.Mid) <<< 32) ||| int64 data.Fsn
        else
            tsn

    /// The growing run as one of the others is.
    let private whole (growing: Growing) : Run =
        { growing.Run with
            Last = growing.Last
            Body = Rope.join growing.Run.Body (Leaf(growing.Leaf, growing.Length))
            Charge = growing.Run.Charge + growing.Length }

    /// A growing run takes its place among the others.
    let private settle (growing: Growing) (r: Reassembly) : unit =
        let run = whole growing
        setLane run.Stream run.Unordered (Runs.add run (lane run.Stream run.Unordered r)) r

    let private settleAll (r: Reassembly) : unit =
        match r.Growing with
        | ValueSome growing ->
            r.Growing <- ValueNone
            settle growing r
        | ValueNone -> ()

        for growing in r.Aside do
            settle growing r

        r.Aside <- Array.Empty()

    /// Makes room for another growing run of this stream and kind: the one of its own takes its place among the others,
    /// that of another goes aside.
    let private makeWay (stream: uint16) (unordered: bool) (r: Reassembly) : unit =
        let isOf (growing: Growing) =
            not r.Interleaved
            || (growing.Run.Stream = stream && growing.Run.Unordered = unordered)

        for i in 0 .. r.Aside.Length - 1 do
            if i < r.Aside.Length && isOf r.Aside[i] then
                let own = r.Aside[i]
                r.Aside <- Array.removeAt i r.Aside
                settle own r

        match r.Growing with
        | ValueNone -> ()
        | ValueSome growing ->
            r.Growing <- ValueNone

            if isOf growing then
                settle growing r
            else
                if r.Aside.Length = MaxAside then
                    let oldest = r.Aside[MaxAside - 1]
                    r.Aside <- Array.removeAt (MaxAside - 1) r.Aside
                    settle oldest r

                let aside = Array.zeroCreate (r.Aside.Length + 1)
                aside[0] <- growing
                Array.Copy(r.Aside, 0, aside, 1, r.Aside.Length)
                r.Aside <- aside

    let private isNext (key: int64) (data: Data) (growing: Growing) =
        growing.Last + 1L = key
        && not (Flag.has Flag.Begin data.Flags)
        && Runs.belongs data growing.Run

    /// Where the fragment follows a run that is aside, that is the growing one from now on.
    let private recall (key: int64) (data: Data) (r: Reassembly) : unit =
        let isCurrent =
            match r.Growing with
            | ValueSome growing -> isNext key data growing
            | ValueNone -> false

        if r.Aside.Length > 0 && not isCurrent then
            let mutable at = 0

            while at < r.Aside.Length && not (isNext key data r.Aside[at]) do
                at <- at + 1

            if at < r.Aside.Length then
                let recalled = r.Aside[at]

                match r.Growing with
                | ValueSome growing ->
                    let aside = Array.copy r.Aside
                    Array.Copy(r.Aside, 0, aside, 1, at)
                    aside[0] <- growing
                    r.Aside <- aside
                | ValueNone -> r.Aside <- Array.removeAt at r.Aside

                r.Growing <- ValueSome recalled

    /// Octets to set aside for a run of `length`.
    let private room (wanted: bool) (otherwise: int) (length: int) (r: Reassembly) : struct (int * bool) =
        let hint = min r.Hint r.MaxMessageSize

        if wanted && hint >= length && r.Roomy < MaxRoomy then
            r.Roomy <- r.Roomy + 1
            struct (hint, true)
        else
            struct (otherwise, false)

    /// A run of one fragment.
    let private single (key: int64) (data: Data) (r: Reassembly) : Growing =
        let length = data.Payload.Length
        let begins = Flag.has Flag.Begin data.Flags
        // Room for the fragments to come; a lone one in the midst may stay alone.
        let struct (capacity, roomy) =
            room begins (if begins then 4 * length else length) length r

        { Run =
            { First = key
              Last = key
              Begun = begins
              Ended = Flag.has Flag.End data.Flags
              Unordered = Flag.has Flag.Unordered data.Flags
              Stream = data.Stream
              Mid = data.Mid
              Ppid = data.Ppid
              Body = Nil
              Charge = Overhead
              Roomy = roomy }
          Last = key
          Leaf = Rope.memory capacity data.Payload.Span
          Length = length }

    /// A run with the fragment that follows it.
    let private extended (key: int64) (data: Data) (growing: Growing) (r: Reassembly) : Growing =
        let bytes = data.Payload.Span
        let upTo = growing.Length + bytes.Length

        if growing.Leaf.Claim(growing.Length, bytes.Length) then
            bytes.CopyTo(Span(growing.Leaf.Items, growing.Length, bytes.Length))

            { growing with
                Last = key
                Length = upTo }
        else
            let run = growing.Run

            let struct (capacity, roomy) =
                room (run.Body.IsNil && not run.Roomy) (max upTo (2 * growing.Length)) upTo r

            let grown = GC.AllocateUninitializedArray<byte> capacity

            Span(growing.Leaf.Items, 0, growing.Length).CopyTo(Span grown)
            bytes.CopyTo(Span(grown, growing.Length, bytes.Length))

            { Run = if roomy then { run with Roomy = true } else run
              Last = key
              Leaf = Segment(grown, upTo)
              Length = upTo }

    /// A run that was among the others, with the fragment that follows it.
    let private resumed (key: int64) (data: Data) (run: Run) (r: Reassembly) : Growing =
        match Rope.last run.Body with
        | struct (before, ValueSome leaf, length) ->
            extended
                key
                data
                { Run =
                    { run with
                        Body = before
                        Charge = run.Charge - length }
                  Last = run.Last
                  Leaf = leaf
                  Length = length }
                r
        | struct (_, ValueNone, _) ->
            let length = data.Payload.Length

            { Run =
                { run with
                    Charge = run.Charge + Overhead }
              Last = key
              Leaf = Rope.memory (4 * length) data.Payload.Span
              Length = length }

    let private forget (run: Run) (r: Reassembly) : unit =
        if run.Roomy then
            r.Roomy <- r.Roomy - 1

    /// A message whose last fragment has come. `held`: what its fragments were charged before.
    let private finished (run: Run) (held: int) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) : unit =
        r.Held <- r.Held - int64 held
        r.Hint <- Rope.length run.Body
        forget run r
        complete run.Unordered run.Stream run.Mid run.Ppid (Rope.toMemory run.Body) &outputs r

    /// A fragment that follows the growing run, and touches no other.
    let private grow
        (key: int64)
        (data: Data)
        (growing: Growing)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Violation =
        let length = data.Payload.Length

        if Rope.length growing.Run.Body + growing.Length + length > r.MaxMessageSize then
            Violation.TooLarge
        else
            let next = extended key data growing r

            if Flag.has Flag.End data.Flags && next.Run.Begun then
                let run = whole next
                r.Growing <- ValueNone
                finished run (run.Charge - length) &outputs r
            else
                r.Held <- r.Held + int64 length

                if Flag.has Flag.End data.Flags then
                    // Nothing follows it.
                    r.Growing <- ValueNone

                    settle
                        { next with
                            Run = { next.Run with Ended = true } }
                        r
                else
                    r.Growing <- ValueSome next

            Violation.None

    /// How far the floor of unordered messages may lag behind: serial numbers tell apart no more than twice that.
    [<Literal>]
    let private MaxLag = 0x40000000

    let private raiseFloor (data: Data) (r: Reassembly) : unit =
        if data.Interleaved && Flag.has Flag.Unordered data.Flags then
            match find data.Stream r with
            | ValueSome inbound when Mid.distance inbound.Floor data.Mid > MaxLag ->
                (touch data.Stream r).Floor <- Mid(Mid.value data.Mid - uint32 MaxLag)
            | _ -> ()

    /// A fragment that begins a run, or joins one or two that are not growing.
    let private splice
        (key: int64)
        (data: Data)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Violation =
        let unordered = Flag.has Flag.Unordered data.Flags
        makeWay data.Stream unordered r
        raiseFloor data r
        let isEnd = Flag.has Flag.End data.Flags
        let runs = lane data.Stream unordered r
        let after = Runs.place key runs

        // Neighbours that contradict each other stay apart: a sender may give up the rest of a message and say so later.
        let joinsLeft =
            not (Flag.has Flag.Begin data.Flags)
            && after > 0
            && runs[after - 1].Last = key - 1L
            && not runs[after - 1].Ended
            && Runs.belongs data runs[after - 1]

        let joinsRight =
            not isEnd
            && after < runs.Length
            && runs[after].First = key + 1L
            && not runs[after].Begun
            && Runs.belongs data runs[after]

        let size =
            (if joinsLeft then Rope.length runs[after - 1].Body else 0)
            + data.Payload.Length
            + (if joinsRight then Rope.length runs[after].Body else 0)

        if runs.Length >= MaxRuns then
            Violation.Fragments
        elif size > r.MaxMessageSize then
            Violation.TooLarge
        elif after > 0 && runs[after - 1].Last >= key then
            // The same piece of a message under another TSN: only I-DATA can say so. It is not wanted.
            Violation.None
        else
            let growing =
                if joinsLeft then
                    resumed key data runs[after - 1] r
                else
                    single key data r

            let growing =
                if isEnd then
                    { growing with
                        Run = { growing.Run with Ended = true } }
                else
                    growing

            let at = if joinsLeft then after - 1 else after
            let count = (if joinsLeft then 1 else 0) + (if joinsRight then 1 else 0)

            let held =
                (if joinsLeft then runs[after - 1].Charge else 0)
                + (if joinsRight then runs[after].Charge else 0)

            let run =
                if joinsRight then
                    if growing.Run.Roomy && runs[after].Roomy then
                        r.Roomy <- r.Roomy - 1

                    Runs.joined (whole growing) runs[after]
                else
                    whole growing

            if count > 0 then
                setLane data.Stream unordered (Runs.without at count runs) r

            if run.Begun && run.Ended then
                finished run held &outputs r
            else
                r.Held <- r.Held + int64 (run.Charge - held)

                if joinsRight || isEnd then
                    setLane data.Stream unordered (Runs.add run (lane data.Stream unordered r)) r
                else
                    r.Growing <- ValueSome growing

            Violation.None

    /// Whether the message of an I-DATA fragment was skipped, or handed up, before it came.
    let private isLate (data: Data) (r: Reassembly) : bool =
        data.Interleaved
        && (match find data.Stream r with
            | ValueNone -> false
            | ValueSome inbound when Flag.has Flag.Unordered data.Flags -> Mid.isAfter data.Mid inbound.Floor
            | ValueSome inbound -> Mid.unwrap inbound.Next data.Mid < inbound.Next)

    /// A fragment, whose TSN has not been seen before.
    let private addFragment
        (tsn: int64)
        (data: Data)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Violation =
        let key = key tsn data

        // None is empty.
        if data.Fsn >= uint32 r.MaxMessageSize then
            Violation.TooLarge
        elif isLate data r then
            Violation.None
        else
            recall key data r

            match r.Growing with
            | ValueSome growing when isNext key data growing ->
                let runs = lane data.Stream growing.Run.Unordered r

                let touches =
                    runs.Length > 0
                    && (let after = Runs.place key runs

                        (after < runs.Length && runs[after].First = key + 1L)
                        || (after > 0 && runs[after - 1].Last >= key))

                if touches then
                    splice key data &outputs r
                else
                    grow key data growing &outputs r
            | _ -> splice key data &outputs r

    /// A DATA or I-DATA chunk whose TSN has not been seen before, into a draft. Adds the messages that are complete and due.
    let add (tsn: int64) (data: Data) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) : Violation =
        if data.Flags &&& Flag.Whole <> Flag.Whole then
            addFragment tsn data &outputs r
        elif data.Payload.Length > r.MaxMessageSize then
            Violation.TooLarge
        else
            let unordered = Flag.has Flag.Unordered data.Flags
            complete unordered data.Stream data.Mid data.Ppid (ReadOnlyMemory(data.Payload.ToArray())) &outputs r
            Violation.None

    // ---- What is given up ----

    /// Those of `runs` that are to be kept; the others are let go of.
    let private kept (keeps: Run -> bool) (runs: Run[]) (r: Reassembly) : Run[] =
        if Array.forall keeps runs then
            runs
        else
            for run in runs do
                if not (keeps run) then
                    r.Held <- r.Held - int64 run.Charge
                    forget run r

            Array.filter keeps runs

    /// An ordered stream goes on after `number`.
    let private skipTo
        (number: int64)
        (inbound: Inbound)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : unit =
        let mutable going = not inbound.Waiting.IsEmpty

        while going do
            let key, (first: Waiting) = Map.minKeyValue inbound.Waiting
            going <- key <= number

            if going then
                r.Held <- r.Held - charge first
                inbound.Waiting <- inbound.Waiting.Remove key
                deliver inbound.Stream first.Ppid first.Payload &outputs r
                going <- not inbound.Waiting.IsEmpty

        inbound.Next <- number + 1L
        drain inbound &outputs r

    /// FORWARD TSN or I-FORWARD-TSN into a draft, RFC 3758 §3.6, RFC 8260 §2.3.1: what lacks a piece is dropped, by TSN or
    /// by MID, and streams go on after what is skipped.
    let skip (tsn: int64) (skipped: Skip[]) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) : unit =
        settleAll r

        if not r.Interleaved then
            r.Runs <- kept (fun run -> (run.Begun || run.First - 1L > tsn) && run.Last + 1L > tsn) r.Runs r

        for skip in skipped do
            let keeps (run: Run) = Mid.isAfter skip.Mid run.Mid

            if skip.Unordered then
                let inbound = touch skip.Stream r
                inbound.Unordered <- kept keeps inbound.Unordered r

                if not (Mid.isAfter skip.Mid inbound.Floor) then
                    inbound.Floor <- Mid.next skip.Mid
            else
                let inbound = touch skip.Stream r
                let number = unwrap inbound.Next skip.Mid r

                // Half the numbers lie ahead, RFC 1982: the others were delivered before.
                if number >= inbound.Next && (r.Interleaved || number - inbound.Next < 0x8000L) then
                    inbound.Ordered <- kept keeps inbound.Ordered r
                    skipTo number inbound &outputs r

    /// The peer resets its outgoing streams, RFC 6525 §5.2.2, RFC 8260 §2.3.2: numbers start anew; what waited for its turn,
    /// or lacks a piece, never comes.
    let reset (streams: uint16[]) (r: Reassembly) : Reassembly =
        let r = draft r
        settleAll r

        let release (inbound: Inbound) =
            Map.iter (fun _ w -> r.Held <- r.Held - charge w) inbound.Waiting
            kept (fun _ -> false) inbound.Ordered r |> ignore
            kept (fun _ -> false) inbound.Unordered r |> ignore

        match r.Hot with
        | ValueSome hot ->
            r.Streams <- Slots.set (int hot.Stream) hot r.Streams
            r.Hot <- ValueNone
        | ValueNone -> ()

        if streams.Length = 0 then
            Slots.fold (fun () inbound -> release inbound) () r.Streams
            r.Streams <- Slots.empty
        else
            for stream in streams do
                match Slots.tryFind (int stream) r.Streams with
                | ValueSome inbound ->
                    release inbound
                    r.Streams <- Slots.remove (int stream) r.Streams
                | ValueNone -> ()

        r
