/// Ends of a negotiation that have media, for tests to drive.
module Hybrid.WebRtc.PropertyTests.MediaEnds

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

/// As `config`, with all the media that there are.
let mediaConfig (seed: int64) : Jsep.Config =
    { config seed with
        Capabilities = Capabilities.defaults }

let withConfiguration (change: Configuration -> Configuration) (seed: int64) : End =
    let config = mediaConfig seed

    startWith
        { config with
            Configuration = change config.Configuration }
        seed

/// One with all the media that there are.
let media (seed: int64) : End = startWith (mediaConfig seed) seed

let plain: EncodingParameters = Encodings.plain

let rid (name: string) = { plain with Rid = name }

/// What addTransceiver() is given.
let init (kind: MediaKind) (direction: Direction) (encodings: EncodingParameters list) : TransceiverInit =
    { Kind = kind
      Direction = direction
      Streams = [||]
      Encodings = Array.ofList encodings
      Track = ValueNone }

/// The transceiver that the last step was answered with.
let answeredInfo (e: End) : TransceiverInfo =
    match reply e with
    | Ok(Jsep.Transceiver info) -> info
    | Ok _ -> failtest "a transceiver was expected"
    | Error mistake -> failtest mistake.Message

let tryAdd (init: TransceiverInit) (e: End) = send (Jsep.AddTransceiver(6L, init)) e

let addTransceiver kind direction e =
    tryAdd (init kind direction []) e |> must "addTransceiver"

let tryAddTrack kind track streams e =
    send (Jsep.AddTrack(6L, kind, track, Array.ofList streams)) e

let addTrack kind track streams e =
    tryAddTrack kind track streams e |> must "addTrack"

let audio = addTrack MediaKind.Audio "a" [ "s" ]
let video = addTrack MediaKind.Video "v" [ "s" ]

let setDirection id direction e =
    send (Jsep.SetDirection(6L, id, direction)) e |> must "direction"

let stop id e =
    send (Jsep.StopTransceiver(6L, id)) e |> must "stop"

let removeTrack id e =
    send (Jsep.RemoveTrack(6L, id)) e |> must "removeTrack"

/// The transceiver of this number, as told last.
let transceiver (id: TransceiverId) (e: End) : TransceiverInfo =
    match e.Transceivers |> List.tryFind (fun t -> t.Id = id) with
    | Some t -> t
    | None -> failtest ("no transceiver " + string id)

let ofMid (mid: string) (e: End) : TransceiverInfo =
    match e.Transceivers |> List.tryFind (fun t -> t.Mid = ValueSome mid) with
    | Some t -> t
    | None -> failtest ("no transceiver of the mid " + mid)

let direction (mid: string) (e: End) = (ofMid mid e).Direction
let currentDirection (mid: string) (e: End) = (ofMid mid e).CurrentDirection

/// The section of this index.
let sectionAt (at: int) (description: Description) : SdpMedia = (parsed description.Sdp).Media[at]

let attributesAt at description =
    (sectionAt at description).Level.Attributes

/// Kind and whether it lives, of each section.
let shape (description: Description) : (string * bool) list =
    [ for m in (parsed description.Sdp).Media -> m.Kind, not (Section.isRejected m) ]

/// The plan of one section.
let plan (mid: string) (e: End) : SectionPlan =
    match e.Plan |> List.tryFind (fun s -> s.Mid = mid) with
    | Some plan -> plan
    | None -> failtest ("no plan for the mid " + mid)

/// What the last step told of tracks.
let tracks (e: End) : TrackChange list =
    e.Outputs
    |> List.collect (fun output ->
        match output with
        | Jsep.TracksChanged changes -> List.ofArray changes
        | _ -> [])

/// Whether the last step said that negotiation is needed.
let needed (e: End) : bool =
    e.Outputs
    |> List.exists (fun output ->
        match output with
        | Jsep.NegotiationNeeded -> true
        | _ -> false)

let rollback = describe SdpType.Rollback ""

/// An offer of the first, set on both sides.
let offered (a: End) (b: End) : struct (End * End) =
    let struct (o, a) = offer false a
    struct (setLocal o a, setRemote o b)

/// The answer of the second, set on both sides.
let answeredBy (b: End) (a: End) : struct (End * End) =
    let struct (o, b) = answer b
    struct (setRemote o a, setLocal o b)
