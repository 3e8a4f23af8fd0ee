/// Laws of the negotiation of media, under random scripts of two ends.
module Hybrid.WebRtc.PropertyTests.JsepMediaLaws

open System
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling
open Hybrid.WebRtc.PropertyTests.MediaEnds

/// One move of a script: who moves, what it does, and a number that it may use.
[<NoComparison>]
type private Move = { First: bool; Kind: int; Number: int }

let private script: Arbitrary<Move list> =
    let move =
        Gen.map3
            (fun first kind number ->
                { First = first
                  Kind = kind
                  Number = number })
            (ArbMap.defaults |> ArbMap.generate<bool>)
            (Gen.choose (0, 19))
            (Gen.choose (0, 9999))

    Arb.fromGenShrink (
        Gen.sized (fun size -> Gen.choose (0, 8 + size / 3) |> Gen.bind (fun n -> Gen.listOfLength n move)),
        (fun moves -> Seq.init moves.Length (fun i -> List.removeAt i moves))
    )

let private kindOf (n: int) =
    if n % 2 = 0 then MediaKind.Audio else MediaKind.Video

/// Something of the application's, which may be refused.
let private act (move: Move) (e: End) : End =
    let n = move.Number

    let id =
        match e.Transceivers with
        | [] -> 0
        | some -> (List.item (n % some.Length) some).Id

    match move.Kind with
    | 0
    | 1 -> tryAddTrack (kindOf n) ("track" + string n) [ "s" + string (n % 3) ] e
    | 2 ->
        let encodings = if n % 5 = 1 then [ rid "h"; rid "l" ] else []
        tryAdd (init (kindOf n) (enum<Direction>(n / 2 % 4)) encodings) e
    | 3 -> send (Jsep.RemoveTrack(1L, id)) e
    | 4 -> send (Jsep.SetDirection(1L, id, enum<Direction>(n % 4))) e
    | 5 -> send (Jsep.StopTransceiver(1L, id)) e
    | 6 -> send (Jsep.SetStreams(1L, id, [| "s" + string (n % 4) |])) e
    | 7 -> send Jsep.NeedDataSection e
    | 8 -> send (Jsep.ReplaceTrack(1L, id, ValueSome("other" + string n))) e
    | _ ->
        let preferred =
            if n % 2 = 0 then
                [||]
            else
                Capabilities.codecs (kindOf n) Capabilities.defaults |> Array.rev

        send (Jsep.SetCodecPreferences(1L, id, preferred)) e

let private stable (e: End) = state e = SignalingState.Stable

/// Both ends through one more thing; both are stable before and after it.
let private play (struct (a: End, b: End)) (move: Move) : struct (End * End) =
    let struct (me, other) = if move.First then struct (a, b) else struct (b, a)

    let struct (me, other) =
        match move.Kind with
        | 10
        | 11 -> negotiate (move.Number % 7 = 0) me other
        | 12 ->
            // Ours is taken back before the peer sees it.
            let struct (o, me) = offer false me
            struct (trySetLocal (ValueSome rollback) (setLocal o me), other)
        | 13 ->
            // The peer takes it back.
            let struct (me, other) = offered me other
            struct (trySetLocal (ValueSome rollback) me, trySetRemote rollback other)
        | 14 ->
            // Glare: the other gives way.
            let struct (theirs, other) = offer false other
            let other = setLocal theirs other
            let struct (me, other) = offered me other
            answeredBy other me
        | 15 ->
            // While an offer is out, the application goes on.
            let struct (me, other) = offered me other
            let more n = { move with Kind = n % 10; Number = n }
            let me = act (more move.Number) me
            let other = act (more (move.Number / 10)) other
            answeredBy other me
        | 16 ->
            let struct (me, other) = offered me other
            let more n = { move with Kind = n % 10; Number = n }
            let me = act (more move.Number) me
            let other = act (more (move.Number / 10)) other
            struct (trySetLocal (ValueSome rollback) me, trySetRemote rollback other)
        | 17 ->
            let struct (me, other) = offered me other
            let other = trySetLocal (ValueSome(describe SdpType.Pranswer "")) other
            let me = setRemote (held other).PendingLocal.Value me
            let other = trySetLocal (ValueSome(describe SdpType.Answer "")) other
            struct (setRemote (held other).CurrentLocal.Value me, other)
        | 18 ->
            // An offer that replaces the one before, on both sides.
            let struct (me, other) = offered me other
            let more n = { move with Kind = n % 10; Number = n }
            let me = act (more move.Number) me
            let struct (me, other) = offered me other
            answeredBy other me
        | _ -> struct (act { move with Kind = move.Number % 10 } me, other)

    if move.First then
        struct (me, other)
    else
        struct (other, me)

/// Exchanges until nobody wants one more.
let rec private settle (turns: int) (struct (a: End, b: End)) : struct (End * End) =
    let isNeeded (e: End) = e.Needed

    if turns > 6 then
        failtest "negotiation is needed for ever"
    else
        let before = isNeeded a, isNeeded b
        let struct (a, b) = negotiate false a b
        let struct (b, a) = negotiate false b a

        if (isNeeded a, isNeeded b) = before then
            struct (a, b)
        else
            settle (turns + 1) (struct (a, b))

let private local (e: End) = parsed (held e).CurrentLocal.Value.Sdp
let private remote (e: End) = parsed (held e).CurrentRemote.Value.Sdp

let private reversed (direction: Direction) =
    match direction with
    | Direction.SendOnly -> Direction.RecvOnly
    | Direction.RecvOnly -> Direction.SendOnly
    | other -> other

/// A payload type or an id of an extension means one thing in all sections that live.
let private noClash (what: string) (sdp: Sdp) =
    let types = Dictionary<int, string>()
    let ids = Dictionary<int, string>()

    let means (known: Dictionary<int, string>) number meaning =
        match known.TryGetValue number with
        | true, former -> Expect.equal meaning former (what + ": " + string number + " means one thing")
        | _ -> known[number] <- meaning

    for m in sdp.Media do
        if (Section.mediaKind m).IsSome && not (Section.isRejected m) then
            for c in Codecs.ofMedia m do
                means types c.PayloadType (c.Codec.MimeType + "/" + string c.Codec.ClockRate + " " + c.Codec.Fmtp)

            for e in Extmaps.ofMedia m sdp.Level do
                means ids e.Id e.Uri

let private agree (a: End) (b: End) =
    Expect.isTrue (stable a && stable b) "stable"
    Expect.equal (local a).Media.Length (remote a).Media.Length "as many sections"
    Expect.equal (local a).Media.Length (local b).Media.Length "as many on both sides"
    Expect.equal (Section.mids (local a)) (Section.mids (local b)) "mids"
    Expect.equal (Array.distinct (Section.mids (local a))) (Section.mids (local a)) "unique mids"
    noClash "a" (local a)
    noClash "b" (local b)

    let live (e: End) =
        e.Transceivers |> List.map (fun t -> t.Mid, t.Kind) |> List.sort

    Expect.equal (live a) (live b) "the same transceivers"

    for t in a.Transceivers do
        Expect.isTrue t.Mid.IsSome "each has a section"
        let u = ofMid t.Mid.Value b
        Expect.equal (ValueOption.map reversed u.CurrentDirection) t.CurrentDirection "directions are mirrored"

        Expect.equal
            t.CurrentDirection
            (ValueSome(Directions.intersect t.Direction (reversed u.Direction)))
            "what both want flows"

    for ours, theirs in [ a, b; b, a ] do
        for p in ours.Plan do
            let q = plan p.Mid theirs
            Expect.equal p.Sending q.Receiving "who sends is awaited"

            if p.Sending then
                let known = q.ReceiveCodecs |> Array.map _.PayloadType

                for c in p.SendCodecs do
                    Expect.contains known c.PayloadType "each payload type is known"

                if p.Encodings.Length = 1 then
                    Expect.equal q.RemoteSources.Length 1 "the source is told"
                    Expect.equal q.RemoteSources[0].Ssrc p.Encodings[0].Ssrc "the SSRC"
                    Expect.equal q.RemoteSources[0].RtxSsrc p.Encodings[0].RtxSsrc "the SSRC of RTX"
                    Expect.equal q.RemoteSources[0].FecSsrc p.Encodings[0].FecSsrc "the SSRC of FEC"
                else
                    Expect.equal q.RemoteRids (p.Encodings |> Array.map _.Parameters.Rid) "each encoding is expected"

            for entry in p.Extensions.Entries do
                Expect.contains (q.Extensions.Entries |> Array.map _.Value) entry.Value "extensions are common"

/// After an exchange that made more sections of media, none that was dead before it is dead still.
let private recycled (before: End) (after: End) =
    let offer =
        match (held after).CurrentLocal with
        | ValueSome d when d.Type = SdpType.Offer -> ValueSome d
        | _ -> (held after).CurrentRemote

    match (held before).CurrentLocal, offer with
    | ValueSome former, ValueSome now ->
        let former, now = parsed former.Sdp, parsed now.Sdp

        let isDeadMedia (sdp: Sdp) at =
            (Section.mediaKind sdp.Media[at]).IsSome && Section.isRejected sdp.Media[at]

        let grew =
            now.Media
            |> Array.skip former.Media.Length
            |> Array.exists (fun m -> m.Kind <> "application" && not (Section.isRejected m))

        if grew then
            for at in 0 .. former.Media.Length - 1 do
                if isDeadMedia former at then
                    Expect.isFalse (isDeadMedia now at) "a dead section was recycled first"
    | _ -> ()

let private ends () = struct (media 1L, media 2L)

/// One move of two ends that follow the pattern of perfect negotiation, and of the messages between them.
let private perfectMove (struct (a: JsepLaws.Perfect, b: JsepLaws.Perfect)) (move: Move) =
    let perform (p: JsepLaws.Perfect) =
        if move.Kind < 8 then
            JsepLaws.react { p with End = act move p.End }
        else
            JsepLaws.trickles (1 + move.Number) p

    match move.Kind < 10, move.First with
    | true, true -> struct (perform a, b)
    | true, false -> struct (a, perform b)
    | false, true -> JsepLaws.deliver a b
    | false, false -> (let struct (b, a) = JsepLaws.deliver b a in struct (a, b))

let tests =
    testList
        "Jsep media laws"
        [ testPropertyWithConfig
              Laws.config
              "any script of both sides: they come to rest and agree on sections, directions, codecs, ids and sources"
          <| Prop.forAll script (fun moves ->
              let struct (a, b) = settle 0 (List.fold play (ends ()) moves)
              agree a b)

          testPropertyWithConfig Laws.config "any script: sections that died are recycled before new ones are made"
          <| Prop.forAll script (fun moves ->
              List.scan play (ends ()) moves
              |> List.pairwise
              |> List.iter (fun (struct (a, b), struct (a', b')) ->
                  recycled a a'
                  recycled b b'))

          testPropertyWithConfig
              Laws.config
              "any script: a transceiver's sources, tracks and kind stay as they were, and so does the cname"
          <| Prop.forAll script (fun moves ->
              let sources = Dictionary<struct (bool * TransceiverId), uint32>()

              let infos =
                  Dictionary<struct (bool * TransceiverId), struct (string * MediaKind * string)>()

              let look first (e: End) =
                  for p in e.Plan do
                      let key = struct (first, p.Transceiver)
                      sources.TryAdd(key, p.Encodings[0].Ssrc) |> ignore
                      Expect.equal p.Encodings[0].Ssrc sources[key] "the SSRC"

                  for t in e.Transceivers do
                      let key = struct (first, t.Id)
                      let facts = struct (t.ReceiverTrack, t.Kind, t.Cname)
                      infos.TryAdd(key, facts) |> ignore
                      Expect.equal facts infos[key] "the track, the kind and the cname"

              for struct (a, b) in List.scan play (ends ()) moves do
                  look true a
                  look false b)

          testPropertyWithConfig
              Laws.config
              "perfect negotiation of media under any delays and glare: both come to rest and agree, and nothing fails"
          <| Prop.forAll script (fun moves ->
              let perfect polite (e: End) : JsepLaws.Perfect =
                  { End = e
                    Polite = polite
                    Ignoring = false
                    Sent = [] }

              let struct (a, b) = ends ()

              let struct (a, b) =
                  JsepLaws.drain 0 (List.fold perfectMove (struct (perfect false a, perfect true b)) moves)

              if (held a.End).CurrentLocal.IsSome then
                  agree a.End b.End
              else
                  Expect.isEmpty a.End.Transceivers "nobody wanted anything")

          Laws.mutated
              "a mutated description of media is taken or refused in every state, and never throws"
              [ for path in
                    [ "sdp/chromium-156/simulcast.offer.sdp"
                      "sdp/firefox-esr-153/av-dc-sendrecv.offer.sdp"
                      "sdp/chromium-156/av-dc-sendrecv.answer.sdp"
                      "sdp/firefox-esr-153/simulcast.answer-sfu-munged.sdp" ] ->
                    Text.Encoding.Latin1.GetBytes(Fixtures.read path) ]
              (fun bytes ->
                  let text = Text.Encoding.Latin1.GetString bytes
                  let a = media 1L |> audio |> video |> withData
                  let struct (ours, a) = offer false a

                  for e in [ a; setLocal ours a ] do
                      for kind in [ SdpType.Offer; SdpType.Answer; SdpType.Pranswer ] do
                          let e = trySetRemote (describe kind text) e
                          let e = trySetLocal ValueNone e
                          let e = trySetRemote rollback e
                          send (Jsep.CreateOffer(1L, false)) e |> ignore)

          testPropertyWithConfig Laws.config "any script: a refused request changes nothing and orders nothing"
          <| Prop.forAll script (fun moves ->
              for struct (a, _) in List.scan play (ends ()) moves do
                  match a.Outputs with
                  | several when
                      several
                      |> List.exists (fun o ->
                          match o with
                          | Jsep.Reply(_, Error _) -> true
                          | _ -> false)
                      ->
                      Expect.equal several.Length 1 "the refusal alone"
                  | _ -> ())

          testPropertyWithConfig Laws.config "any script, then an offer taken back: all is as it was before it"
          <| Prop.forAll script (fun moves ->
              let struct (a, b) = List.fold play (ends ()) moves

              let mids (e: End) =
                  e.Plan |> List.map (fun p -> p.Transceiver, p.Mid, p.Sending, p.Receiving)

              let same (what: string) (before: End) (after: End) =
                  Expect.isTrue (held after = held before) ("descriptions, after " + what)

                  Expect.equal
                      (after.Transceivers |> List.map _.Mid)
                      (before.Transceivers |> List.map _.Mid)
                      ("mids, after " + what)

                  Expect.isTrue (after.Transceivers = before.Transceivers) ("transceivers, after " + what)
                  Expect.equal (mids after) (mids before) ("the plan, after " + what)

              let struct (o, a') = offer false a
              same "our offer" a (trySetLocal (ValueSome rollback) (setLocal o a'))
              // What the offer turns down is over at once, and stays so, W3C WebRTC 1.0 §4.4.1.5.
              if not (List.exists (fun (t: TransceiverInfo) -> t.Direction = Direction.Stopped) a.Transceivers) then
                  same "theirs" b (trySetRemote rollback (setRemote o b))) ]
