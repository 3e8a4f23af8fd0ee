/// The state machine against a table written by hand from W3C WebRTC 1.0 §4.4.1.5 and §4.4.2: every cell.
module Hybrid.WebRtc.PropertyTests.SignallingTableTests

open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

/// An end in a state, with a peer's offer and a peer's answer that suit it.
let private inState (state: SignalingState) : struct (End * Description * Description) =
    let a = withData (start 1L)
    let struct (theirs, _) = offer false (withData (start 2L))
    let struct (ours, a') = offer false a
    let struct (answered, _) = answer (setRemote ours (start 3L))

    let pranswer =
        { answered with
            Type = SdpType.Pranswer }

    let e =
        match state with
        | SignalingState.Stable -> a'
        | SignalingState.HaveLocalOffer -> setLocal ours a'
        | SignalingState.HaveRemoteOffer -> setRemote theirs a
        | SignalingState.HaveLocalPranswer ->
            let struct (answered, e) = answer (setRemote theirs a)

            setLocal
                { answered with
                    Type = SdpType.Pranswer }
                e
        | SignalingState.HaveRemotePranswer -> setRemote pranswer (setLocal ours a')
        | _ -> send Jsep.Close a

    Expect.equal (Signalling.state e) state "the end is where it should be"
    struct (e, theirs, answered)

/// The columns, in the order of the cells below.
let private operations: (string * (struct (End * Description * Description) -> End)) list =
    let local kind (struct (e, _, _): struct (End * Description * Description)) =
        trySetLocal (ValueSome(describe kind "")) e

    [ "createOffer", (fun (struct (e, _, _)) -> send (Jsep.CreateOffer(1L, false)) e)
      "createAnswer", (fun (struct (e, _, _)) -> send (Jsep.CreateAnswer 1L) e)
      "setLocal()", (fun (struct (e, _, _)) -> trySetLocal ValueNone e)
      "setLocal(offer)", local SdpType.Offer
      "setLocal(pranswer)", local SdpType.Pranswer
      "setLocal(answer)", local SdpType.Answer
      "setLocal(rollback)", local SdpType.Rollback
      "setRemote(offer)", (fun (struct (e, theirs, _)) -> trySetRemote theirs e)
      "setRemote(pranswer)",
      (fun (struct (e, _, answered)) ->
          trySetRemote
              { answered with
                  Type = SdpType.Pranswer }
              e)
      "setRemote(answer)", (fun (struct (e, _, answered)) -> trySetRemote answered e)
      "setRemote(rollback)", (fun (struct (e, _, _)) -> trySetRemote (describe SdpType.Rollback "") e) ]

let private stable, localOffer, remoteOffer, localPranswer, remotePranswer, closed =
    SignalingState.Stable,
    SignalingState.HaveLocalOffer,
    SignalingState.HaveRemoteOffer,
    SignalingState.HaveLocalPranswer,
    SignalingState.HaveRemotePranswer,
    SignalingState.Closed

/// Where each operation leads; ValueNone: InvalidStateError, and nothing has changed.
let private table: (SignalingState * SignalingState voption list) list =
    let no: SignalingState voption = ValueNone
    let to' (state: SignalingState) = ValueSome state
    //                 createOffer       createAnswer      implicit           l.offer          l.pranswer            l.answer     l.rollback   r.offer           r.pranswer            r.answer     r.rollback
    [ stable,
      [ to' stable
        no
        to' localOffer
        to' localOffer
        no
        no
        no
        to' remoteOffer
        no
        no
        no ]
      localOffer,
      [ to' localOffer
        no
        to' localOffer
        to' localOffer
        no
        no
        to' stable
        to' remoteOffer
        to' remotePranswer
        to' stable
        to' stable ]
      remoteOffer,
      [ no
        to' remoteOffer
        to' stable
        no
        to' localPranswer
        to' stable
        to' stable
        to' remoteOffer
        no
        no
        to' stable ]
      localPranswer,
      [ no
        to' localPranswer
        to' stable
        no
        to' localPranswer
        to' stable
        no
        no
        no
        no
        no ]
      remotePranswer, [ no; no; no; no; no; no; no; no; to' remotePranswer; to' stable; no ]
      closed, List.replicate 11 no ]

let tests =
    testList
        "Signalling table"
        [ for from, cells in table do
              for (name, operation), cell in List.zip operations cells do
                  testCase (name + " in " + string from) (fun () ->
                      let struct (e, _, _) as prepared = inState from
                      let after = operation prepared

                      match cell with
                      | ValueSome expected ->
                          Expect.equal (errorOf after) ValueNone "it succeeds"
                          Expect.equal (state after) expected "and leads there"
                      | ValueNone ->
                          Expect.equal (errorOf after) (ValueSome ErrorName.InvalidStateError) "it is refused"
                          Expect.equal (state after) from "and nothing moves"
                          Expect.equal (held after) (held e) "no description changes"
                          Expect.equal after.Orders e.Orders "nothing is ordered") ]
