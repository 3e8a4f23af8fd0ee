/// Laws of signalling under random scripts.
module Hybrid.WebRtc.PropertyTests.JsepLaws

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

let private host (port: int) =
    "candidate:1 1 udp 2130706431 192.0.2.7 " + string port + " typ host"

// ---- any script: two ends that are told anything in any order ----

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
            (Gen.choose (1, 60000))

    Arb.fromGenShrink (
        Gen.sized (fun size -> Gen.choose (0, 10 + size) |> Gen.bind (fun n -> Gen.listOfLength n move)),
        (fun moves -> Seq.init moves.Length (fun i -> List.removeAt i moves))
    )

let private latest (e: End) : Description =
    let d = held e

    d.PendingLocal
    |> ValueOption.orElse d.CurrentLocal
    |> ValueOption.defaultValue (describe SdpType.Offer "")

/// One move; `peer` is who the descriptions and candidates come from.
let private play (move: Move) (me: End) (peer: End) : End =
    let theirs = latest peer

    match move.Kind with
    | 0 -> send (Jsep.CreateOffer(1L, move.Number % 3 = 0)) me
    | 1 -> send (Jsep.CreateAnswer 1L) me
    | 2
    | 3 -> trySetLocal ValueNone me
    | 4 -> trySetLocal (ValueSome(describe SdpType.Pranswer "")) me
    | 5 -> trySetLocal (ValueSome(describe SdpType.Offer "")) me
    | 6 -> trySetLocal (ValueSome(describe SdpType.Rollback "")) me
    | 7
    | 8
    | 9 -> trySetRemote theirs me
    | 10 -> trySetRemote (describe SdpType.Pranswer theirs.Sdp) me
    | 11 -> trySetRemote (describe SdpType.Rollback "") me
    | 12 -> trySetRemote (describe SdpType.Offer "v=0\r\n") me
    | 13 -> withData me
    | 14 -> send (Jsep.RestartIce 1L) me
    | 15 ->
        match me.Orders.Local with
        | ValueSome credentials -> send (Jsep.LocalCandidate(host move.Number, credentials.UsernameFragment)) me
        | ValueNone -> me
    | 16 ->
        match me.Orders.Local with
        | ValueSome credentials -> send (Jsep.GatheringComplete credentials.UsernameFragment) me
        | ValueNone -> me
    | 17 -> send (candidate (host move.Number) ValueNone (ValueSome(move.Number % 2)) ValueNone) me
    | 18 -> send (candidate "" (ValueSome "0") ValueNone ValueNone) me
    | _ when move.Number % 20 = 0 -> send Jsep.Close me
    | _ ->
        send
            (Jsep.SetConfiguration(
                1L,
                { configuration with
                    IceTransportPolicy = enum<IceTransportPolicy>(move.Number % 2) }
            ))
            me

let private run (moves: Move list) : struct (End * End) list =
    moves
    |> List.scan
        (fun (struct (a, b)) move ->
            if move.First then
                struct (play move a b, b)
            else
                struct (a, play move b a))
        (struct (start 1L, start 2L))

/// What holds of one end after any move.
let private isConsistent (e: End) : bool =
    let d = held e

    let shape =
        match state e, d.PendingLocal, d.PendingRemote with
        | SignalingState.Stable, ValueNone, ValueNone -> d.CurrentLocal.IsSome = d.CurrentRemote.IsSome
        | SignalingState.HaveLocalOffer, ValueSome l, ValueNone -> l.Type = SdpType.Offer
        | SignalingState.HaveRemoteOffer, ValueNone, ValueSome r -> r.Type = SdpType.Offer
        | SignalingState.HaveLocalPranswer, ValueSome l, ValueSome r ->
            l.Type = SdpType.Pranswer && r.Type = SdpType.Offer
        | SignalingState.HaveRemotePranswer, ValueSome l, ValueSome r ->
            l.Type = SdpType.Offer && r.Type = SdpType.Pranswer
        | SignalingState.Closed, _, _ -> true
        | _ -> false

    // What ICE was told is what the description in force says, whenever its section lives.
    let told =
        match e.Orders.Local, (latest e).Sdp with
        | ValueSome credentials, sdp when state e <> SignalingState.Closed ->
            (parsed sdp).Media
            |> Array.exists (fun m ->
                SdpAttributes.iceUfrag m.Level.Attributes = ValueSome credentials.UsernameFragment)
        | _ -> true

    shape && told

let private createdBy (e: End) : Description voption =
    e.Outputs
    |> List.tryPick (fun o ->
        match o with
        | Jsep.Reply(_, Ok(Jsep.Created description)) -> Some description
        | _ -> None)
    |> ValueOption.ofOption

let private origin (d: Description) = (parsed d.Sdp).Origin

// ---- perfect negotiation: two ends that follow the pattern of W3C WebRTC 1.0 §10.7 ----

[<NoComparison; NoEquality>]
type Message =
    | Describe of Description
    | Trickle of CandidateInit

[<NoComparison; NoEquality>]
type Perfect =
    {
        End: End
        Polite: bool
        Ignoring: bool
        /// To the other, oldest first.
        Sent: Message list
    }

let needs (p: Perfect) =
    p.End.Outputs
    |> List.exists (fun o ->
        match o with
        | Jsep.NegotiationNeeded -> true
        | _ -> false)

/// Acts on what the last step told: `onnegotiationneeded`.
let react (p: Perfect) : Perfect =
    if needs p then
        let e = trySetLocal ValueNone p.End

        match reply e with
        | Error mistake -> failtest ("onnegotiationneeded: " + mistake.Message)
        | Ok _ ->
            { p with
                End = e
                Sent = p.Sent @ [ Describe (held e).PendingLocal.Value ] }
    else
        p

let hear (message: Message) (p: Perfect) : Perfect =
    match message with
    | Describe description ->
        let collision =
            description.Type = SdpType.Offer && state p.End <> SignalingState.Stable

        if collision && not p.Polite then
            { p with Ignoring = true }
        else
            let e = trySetRemote description p.End

            match reply e with
            | Error mistake -> failtest ("setRemoteDescription: " + mistake.Message)
            | Ok _ ->
                let p = react { p with End = e; Ignoring = false }

                if description.Type = SdpType.Offer then
                    let e = trySetLocal ValueNone p.End

                    match reply e with
                    | Error mistake -> failtest ("setLocalDescription: " + mistake.Message)
                    | Ok _ ->
                        react
                            { p with
                                End = e
                                Sent = p.Sent @ [ Describe (held e).CurrentLocal.Value ] }
                else
                    p
    | Trickle init ->
        let e = send (Jsep.AddIceCandidate(9L, init)) p.End

        match reply e with
        | Error mistake when not p.Ignoring -> failtest ("addIceCandidate: " + mistake.Message)
        | _ -> { p with End = e }

let does (input: Jsep.Input) (p: Perfect) = react { p with End = send input p.End }

/// A candidate gathered and trickled.
let trickles (port: int) (p: Perfect) : Perfect =
    match p.End.Orders.Local with
    | ValueNone -> p
    | ValueSome credentials ->
        let fragment = credentials.UsernameFragment
        let e = send (Jsep.LocalCandidate(host port, fragment)) p.End

        match Jsep.sectionOf fragment e.Session with
        | ValueNone -> p
        | ValueSome(struct (mid, index)) ->
            { p with
                End = e
                Sent =
                    p.Sent
                    @ [ Trickle
                            { Candidate = host port
                              SdpMid = mid
                              SdpMLineIndex = ValueSome index
                              UsernameFragment = ValueSome fragment } ] }

/// Delivers the oldest message, if there is one.
let deliver (sender: Perfect) (receiver: Perfect) : struct (Perfect * Perfect) =
    match sender.Sent with
    | [] -> struct (sender, receiver)
    | oldest :: rest -> struct ({ sender with Sent = rest }, hear oldest receiver)

let private perfectMove (struct (a, b)) (move: Move) : struct (Perfect * Perfect) =
    let act (p: Perfect) =
        match move.Kind % 8 with
        | 0
        | 1 -> does Jsep.NeedDataSection p
        | 2 -> does (Jsep.RestartIce 1L) p
        | _ -> trickles move.Number p

    match move.Kind % 8, move.First with
    | (4 | 5 | 6 | 7), true -> deliver a b
    | (4 | 5 | 6 | 7), false -> (let struct (b, a) = deliver b a in struct (a, b))
    | _, true -> struct (act a, b)
    | _, false -> struct (a, act b)

/// Delivers all that is under way, and says how many turns it took.
let rec drain (turns: int) (struct (a: Perfect, b: Perfect)) : struct (Perfect * Perfect) =
    if turns > 200 then
        failtest "the two do not come to rest"
    elif a.Sent.IsEmpty && b.Sent.IsEmpty then
        struct (a, b)
    else
        let struct (a, b) = deliver a b
        let struct (b, a) = deliver b a
        drain (turns + 1) (struct (a, b))

let private withoutCandidates (d: Description voption) =
    match d with
    | ValueNone -> ""
    | ValueSome d ->
        let line (l: string) =
            not (
                l.StartsWith "a=candidate"
                || l.StartsWith "m="
                || l.StartsWith "c="
                || l.StartsWith "a=end-of"
            )

        d.Sdp.Split "\r\n" |> Array.filter line |> String.concat "\n"

let private agree (a: End) (b: End) =
    Expect.equal (state a) SignalingState.Stable "a is stable"
    Expect.equal (state b) SignalingState.Stable "b is stable"

    Expect.equal
        (withoutCandidates (held a).CurrentLocal)
        (withoutCandidates (held b).CurrentRemote)
        "a's description is what b holds"

    Expect.equal
        (withoutCandidates (held b).CurrentLocal)
        (withoutCandidates (held a).CurrentRemote)
        "b's description is what a holds"

    Expect.equal a.Orders.Remote b.Orders.Local "a's ICE speaks to b's"
    Expect.equal b.Orders.Remote a.Orders.Local "b's ICE speaks to a's"

    match a.Orders.Dtls, b.Orders.Dtls with
    | ValueSome x, ValueSome y ->
        Expect.notEqual x y "one DTLS client, one server"
        Expect.notEqual a.Orders.Controlling b.Orders.Controlling "one controls"
    | ValueNone, ValueNone -> ()
    | _ -> failtest "DTLS on one side only"

let tests =
    testList
        "Jsep laws"
        [ testPropertyWithConfig Laws.config "any script: the descriptions fit the state, and ICE has what they say"
          <| Prop.forAll script (fun moves ->
              run moves
              |> List.forall (fun (struct (a, b)) -> isConsistent a && isConsistent b))

          testPropertyWithConfig
              Laws.config
              "any script: versions never fall, one version is one text, the session id stays"
          <| Prop.forAll script (fun moves ->
              let fits (texts: Description list) =
                  texts
                  |> List.pairwise
                  |> List.forall (fun (before, after) ->
                      let b, a = origin before, origin after

                      a.SessionId = b.SessionId
                      && Int64.Parse a.SessionVersion >= Int64.Parse b.SessionVersion
                      && (a.SessionVersion <> b.SessionVersion || before.Sdp = after.Sdp))

              let texts pick =
                  run moves
                  |> List.map (fun ends -> createdBy (pick ends))
                  |> List.filter _.IsSome
                  |> List.map _.Value

              fits (texts (fun (struct (a, _)) -> a))
              && fits (texts (fun (struct (_, b)) -> b)))

          testPropertyWithConfig Laws.config "any script: a refused request changes nothing and orders nothing"
          <| Prop.forAll script (fun moves ->
              let refused (before: End) (after: End) =
                  after.Outputs
                  |> List.forall (fun o ->
                      match o with
                      | Jsep.Reply(_, Error _) ->
                          after.Outputs.Length = 1
                          && held after = held before
                          && state after = state before
                      | _ -> true)

              run moves
              |> List.pairwise
              |> List.forall (fun (struct (a, b), struct (a', b')) -> refused a a' && refused b b'))

          testPropertyWithConfig Laws.config "the same script tells the same story"
          <| Prop.forAll script (fun moves ->
              let story =
                  run moves
                  |> List.map (fun (struct (a, b)) -> held a, held b, a.Orders, b.Orders)

              story =
                  (run moves
                   |> List.map (fun (struct (a, b)) -> held a, held b, a.Orders, b.Orders)))

          testPropertyWithConfig
              Laws.config
              "perfect negotiation under any delays and glare: both come to rest, agreed, and nothing fails"
          <| Prop.forAll script (fun moves ->
              let ends =
                  struct ({ End = start 1L
                            Polite = false
                            Ignoring = false
                            Sent = [] },
                          { End = start 2L
                            Polite = true
                            Ignoring = false
                            Sent = [] })

              let struct (a, b) = drain 0 (List.fold perfectMove ends moves)
              agree a.End b.End
              // A wish is never lost: whoever wanted data has it.
              let wanted = moves |> List.exists (fun m -> m.Kind % 8 < 2)
              Expect.equal a.End.Orders.Dtls.IsSome wanted "data where it was wanted")

          testPropertyWithConfig
              Laws.config
              "rolling back a local or remote offer restores everything but the count of versions"
          <| Prop.forAll script (fun moves ->
              let struct (a, b) = List.last (run moves)

              if state a = SignalingState.Stable then
                  let rollback = describe SdpType.Rollback ""
                  let struct (ours, a') = offer true (withData a)
                  let mine = trySetLocal (ValueSome rollback) (setLocal ours a')
                  Expect.equal (held mine) (held a) "descriptions, after our offer"
                  Expect.equal mine.Orders.Local a.Orders.Local "credentials, after our offer"
                  Expect.equal mine.Orders.Remote a.Orders.Remote "the peer's, after our offer"

                  if state b = SignalingState.Stable then
                      let struct (theirs, _) = offer true b
                      let after = trySetRemote theirs a

                      if errorOf after = ValueNone then
                          let after = trySetRemote rollback after
                          Expect.equal (held after) (held a) "descriptions, after theirs"
                          Expect.equal after.Orders a.Orders "orders, after theirs")

          Laws.mutated
              "a mutated description is taken or refused in every state, and never throws"
              [ for path in
                    [ "sdp/chromium-156/av-dc-sendrecv.offer.sdp"
                      "sdp/firefox-esr-153/bundle-policies.offer-max-bundle.sdp"
                      "sdp/chromium-156/dc-only.answer.sdp"
                      "sdp/firefox-esr-153/dc-only.offer.sdp" ] -> Encoding.Latin1.GetBytes(Fixtures.read path) ]
              (fun bytes ->
                  let text = Encoding.Latin1.GetString bytes
                  let struct (ours, a) = offer false (withData (start 1L))

                  for e in [ a; setLocal ours a ] do
                      for kind in [ SdpType.Offer; SdpType.Answer; SdpType.Pranswer ] do
                          let e = trySetRemote (describe kind text) e
                          let e = trySetLocal ValueNone e
                          Expect.isTrue (isConsistent e) "consistent")

          testCase "a hostile offer of a thousand sections is dealt with in a moment" (fun () ->
              let section (n: int) =
                  "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=bundle-only\r\na=mid:"
                  + string n
                  + "\r\n"

              let tagged =
                  "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:t\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 "
                  + String.Join(":", Array.create 32 "AB")
                  + "\r\n"

              let sections = String.Join("", [ for n in 1..999 -> section n ])
              let group = String.Join(" ", [ for n in 1..999 -> string n ])

              let text =
                  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE "
                  + group
                  + " t\r\n"
                  + sections
                  + tagged

              Laws.takes "in a moment" 5.0 (fun () ->
                  let b = setRemote (describe SdpType.Offer text) (start 1L)
                  let struct (answered, b) = answer b
                  let b = setLocal answered b
                  Expect.equal b.Orders.Remote.Value.UsernameFragment "abcd" "answered by the tagged section")) ]
