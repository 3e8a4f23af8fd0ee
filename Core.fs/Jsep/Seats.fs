namespace Hybrid.WebRtc.Core

open System.Collections.Generic

/// Who has a section of an offer.
[<NoComparison; NoEquality>]
type internal Seat =
    | ForData
    | ForMedia of Transceiver
    | Vacant

/// Who gets which section of an offer, RFC 8829 §5.2.1 and §5.2.2: all keep their places, sections that both sides have seen
/// dead are recycled, and what finds none is appended, data last.
module internal Seats =
    /// A supply of mids that no description in use has: the least numbers, RFC 8829 §5.2.1.
    let private mids (taken: HashSet<string>) : unit -> string =
        let mutable next = 0

        fun () ->
            while not (taken.Add(string next)) do
                next <- next + 1

            string next

    let private word (kind: MediaKind) =
        match kind with
        | MediaKind.Video -> "video"
        | _ -> "audio"

    let private fresh (kind: string) (protocol: string) (format: string) (mid: string) : Slot =
        { Kind = kind
          Protocol = protocol
          Formats = [| format |]
          Mid = ValueSome mid
          Live = true }

    let private freshMedia (kind: MediaKind) =
        fresh (word kind) "UDP/TLS/RTP/SAVPF" "0"

    let private freshData = fresh "application" "UDP/DTLS/SCTP" "webrtc-datachannel"

    /// Which section of `slots` may serve a new transceiver: one of its kind first.
    let private vacancy (kind: MediaKind) (isFree: int -> bool) (slots: ResizeArray<Slot>) : int =
        let rec find from (holds: string -> bool) =
            let at = slots.FindIndex(from, (fun slot -> holds slot.Kind))
            if at < 0 || isFree at then at else find (at + 1) holds

        match find 0 ((=) (word kind)) with
        | -1 -> find 0 (fun k -> k = "audio" || k = "video")
        | at -> at

    /// The sections of an offer, each with who has it. `isDead`: port zero in a current description.
    let offer
        (wantsData: bool)
        (slots: Slot[])
        (isDead: int -> bool)
        (taken: string[])
        (set: TransceiverSet)
        : struct (Slot * Seat)[] =
        let places = Transceivers.places slots.Length set
        let taken = HashSet taken

        for t in set.Items do
            match t.Place with
            | ValueSome place -> taken.Add place.Mid |> ignore
            | ValueNone -> ()

        let mid = mids taken
        let laid = ResizeArray slots

        let seats =
            slots
            |> Array.mapi (fun i slot ->
                if not slot.Live then
                    Vacant
                elif slot.Kind = "application" then
                    ForData
                elif places[i] >= 0 && Transceivers.isLive set.Items[places[i]] then
                    ForMedia set.Items[places[i]]
                else
                    Vacant)
            |> ResizeArray

        let seat (at: int) (slot: Slot) (who: Seat) =
            if at < 0 then
                laid.Add slot
                seats.Add who
            else
                laid[at] <- slot
                seats[at] <- who

        let isFree (at: int) =
            at < slots.Length
            && isDead at
            && (match seats[at] with
                | Vacant -> true
                | ForData
                | ForMedia _ -> false)

        for t in set.Items do
            if Transceivers.isLive t && t.Place.IsNone then
                seat (vacancy t.Kind isFree laid) (freshMedia t.Kind (mid ())) (ForMedia t)

        let hasData =
            seats.Exists(fun s ->
                match s with
                | ForData -> true
                | _ -> false)

        if wantsData && not hasData then
            let at = laid.FindIndex(fun slot -> slot.Kind = "application" && not slot.Live)

            seat at (freshData (mid ())) ForData

        // A section that was negotiated without a mid is given one.
        for i in 0 .. laid.Count - 1 do
            match seats[i] with
            | ForMedia t when t.Place.IsSome && laid[i].Mid.IsNone ->
                laid[i] <-
                    { laid[i] with
                        Mid = ValueSome t.Place.Value.Mid }
            | ForData when laid[i].Mid.IsNone -> laid[i] <- { laid[i] with Mid = ValueSome(mid ()) }
            | _ -> ()

        laid.ToArray() |> Array.mapi (fun i slot -> struct (slot, seats[i]))

    /// Which sections are bundle-only: those that no answer has spoken of and that are not the first, by `policy`, RFC 8829
    /// §5.2.1.
    let bundleOnly (policy: BundlePolicy) (isNew: int -> bool) (laid: struct (Slot * Seat)[]) : bool[] =
        let mutable any = false
        let kinds = HashSet()

        laid
        |> Array.mapi (fun i (struct (slot, seat)) ->
            match seat with
            | Vacant -> false
            | ForData
            | ForMedia _ ->
                let first = not any
                any <- true
                let firstOfKind = kinds.Add slot.Kind

                isNew i
                && (match policy with
                    | BundlePolicy.MaxBundle -> not first
                    | BundlePolicy.Balanced -> not firstOfKind
                    | _ -> false))
