module Hybrid.WebRtc.PropertyTests.JsepCandidateTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

let tests =
    let add line mid index fragment e =
        send (candidate line mid index fragment) e

    let mid0 = ValueSome "0"

    testList
        "Jsep candidates"
        [ testCase "addIceCandidate refuses as W3C §4.4.2 has it" (fun () ->
              let struct (a, _) = connected ()

              for what, line, mid, index, fragment, name in
                  [ "neither mid nor index", host, ValueNone, ValueNone, ValueNone, ErrorName.TypeError
                    "unknown mid", host, ValueSome "x", ValueNone, ValueNone, ErrorName.OperationError
                    "index beyond", host, ValueNone, ValueSome 1, ValueNone, ErrorName.OperationError
                    "index below", host, ValueNone, ValueSome -1, ValueNone, ErrorName.OperationError
                    "unknown fragment", host, mid0, ValueNone, ValueSome "zzzz", ErrorName.OperationError
                    "unknown fragment at the end", "", mid0, ValueNone, ValueSome "zzzz", ErrorName.OperationError
                    "no candidate", "nonsense", mid0, ValueNone, ValueNone, ErrorName.OperationError
                    "short", "candidate:1 1 udp", mid0, ValueNone, ValueNone, ErrorName.OperationError
                    "two lines", host + "\r\na=x", mid0, ValueNone, ValueNone, ErrorName.OperationError
                    "endless", host + String(' ', 3000), mid0, ValueNone, ValueNone, ErrorName.OperationError ] do
                  let after = add line mid index fragment a
                  Expect.equal (errorOf after) (ValueSome name) what
                  Expect.equal (held after) (held a) (what + ": nothing changes"))

          testCase "a candidate reaches ICE with its generation, and the remote description" (fun () ->
              let struct (a, b) = connected ()
              let fragment = b.Orders.Local.Value.UsernameFragment

              for mid, index, named in
                  [ mid0, ValueNone, ValueNone
                    ValueNone, ValueSome 0, ValueNone
                    mid0, ValueSome 7, ValueSome fragment ] do
                  let a = add host mid index named a
                  Expect.equal (orders a |> List.length) 1 "one order"
                  Expect.equal a.Orders.Candidates [ host ] "to ICE"

                  Expect.equal
                      (SdpAttributes.candidates (section (held a).CurrentRemote.Value))
                      [| host.Substring 10 |]
                      "in the description"

                  let twice = add host mid index named a

                  Expect.equal
                      (SdpAttributes.candidates (section (held twice).CurrentRemote.Value)).Length
                      1
                      "and once only")

          testCase "candidates before the answer wait in the remote offer, and go to ICE with it" (fun () ->
              let struct (ours, _) = offer false (withData (start 1L))
              let b = setRemote ours (start 2L)
              let b = add "" mid0 ValueNone ValueNone (add host mid0 ValueNone ValueNone b)
              Expect.equal (orders b).Length 0 "not yet"
              let struct (theirs, b) = answer b
              let b = setLocal theirs b

              Expect.equal
                  (told b)
                  [ "descriptions"
                    "Stable"
                    "reply"
                    "role False"
                    "local"
                    "remote"
                    "candidate"
                    "end"
                    "gather"
                    "dtls Client"
                    "sctp 5000 262144" ]
                  "with the answer")

          testCase "an empty candidate ends a generation, of one section or of all" (fun () ->
              let struct (a, b) = connected ()
              let fragment = b.Orders.Local.Value.UsernameFragment

              for mid in [ mid0; ValueNone ] do
                  let a = add "" mid ValueNone ValueNone a
                  Expect.equal a.Orders.Ended [ fragment ] "told"

                  Expect.isTrue (SdpAttributes.endOfCandidates (section (held a).CurrentRemote.Value)) "and described")

          testCase "during a restart, candidates of the former generation still reach ICE, new ones wait" (fun () ->
              let struct (a, b) = connected ()
              let former = a.Orders.Local.Value.UsernameFragment
              let struct (restart, a) = offer true a
              let a = setLocal restart a
              let b = setRemote restart b
              let now = a.Orders.Local.Value.UsernameFragment
              let b = add host mid0 ValueNone (ValueSome former) b
              Expect.equal b.Orders.Candidates [ host ] "the former"
              let newer = host.Replace("5555", "6666")
              let b = add newer mid0 ValueNone (ValueSome now) b
              Expect.equal b.Orders.Candidates [ host ] "the new one waits"
              let stale = add (host + " ufrag gone") mid0 ValueNone ValueNone b
              Expect.equal (told stale) [ "reply"; "ignored" ] "an unknown generation in the line itself is noise"
              let struct (theirs, b) = answer b
              let b = setLocal theirs b
              Expect.equal b.Orders.Candidates [ host; newer ] "and goes with the answer")

          testCase "a candidate for a rejected section is taken and dropped" (fun () ->
              let b =
                  setRemote
                      (theirOffer (Fixtures.read "sdp/firefox-esr-153/add-later.5-offer-audio-transceiver-stopped.sdp"))
                      (start 3L)

              let after = add host mid0 ValueNone ValueNone b
              Expect.equal (told after) [ "reply" ] "resolved, no more")

          testCase "a section keeps 200 candidates, more are counted" (fun () ->
              let struct (a, _) = connected ()

              let flood (e: End) (n: int) =
                  add (host.Replace("5555", string n)) mid0 ValueNone ValueNone e

              let a = List.fold flood a [ 1..201 ]
              Expect.equal (told a) [ "reply"; "ignored" ] "too many"

              Expect.equal (SdpAttributes.candidates (section (held a).CurrentRemote.Value)).Length 200 "kept")

          testCase "gathered candidates show in the local description, the default one in m= and c=" (fun () ->
              let a = offered ()
              let fragment = a.Orders.Local.Value.UsernameFragment

              let gather line =
                  send (Jsep.LocalCandidate(line, fragment))

              let a =
                  a
                  |> gather "candidate:1 1 udp 2130706431 0f0f.local 1111 typ host"
                  |> gather "candidate:2 1 udp 2130706431 2001:db8::1 2222 typ host"
                  |> gather host

              let m () =
                  (parsed (held a).PendingLocal.Value.Sdp).Media[0]

              Expect.equal ((m ()).Port, (m ()).Level.Connections[0].Address) (5555us, "192.0.2.7") "IPv4 host first"

              let relayed =
                  gather "candidate:3 1 udp 5000 198.51.100.1 3333 typ relay raddr 0.0.0.0 rport 0" a

              let m = (parsed (held relayed).PendingLocal.Value.Sdp).Media[0]
              Expect.equal (m.Port, m.Level.Connections[0].Address) (3333us, "198.51.100.1") "relayed before host"
              let done' = send (Jsep.GatheringComplete fragment) relayed

              Expect.isTrue
                  (SdpAttributes.endOfCandidates (section (held done').PendingLocal.Value))
                  "end-of-candidates"

              Expect.equal
                  (Jsep.sectionOf fragment done'.Session)
                  (ValueSome(struct (ValueSome "0", 0)))
                  "the section for the event"

              Expect.equal (told (send (Jsep.LocalCandidate(host, "gone")) a)) [ "ignored" ] "another generation's"
              Expect.equal (told (send (Jsep.LocalCandidate("nonsense", fragment)) a)) [ "ignored" ] "nonsense")

          testCase "canTrickle is what the remote description says, null before" (fun () ->
              Expect.equal (held (start 1L)).CanTrickle ValueNone "before"
              let struct (a, _) = connected ()
              Expect.equal (held a).CanTrickle (ValueSome true) "ours"
              let read = Fixtures.read "sdp/peers/pion.answer-to-chromium-dc.sdp"
              Expect.equal (held (setRemote (theirAnswer read) (offered ()))).CanTrickle (ValueSome false) "pion's") ]
