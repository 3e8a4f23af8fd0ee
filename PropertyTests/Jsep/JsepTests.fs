module Hybrid.WebRtc.PropertyTests.JsepTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

let private pair () = struct (withData (start 1L), start 2L)

let private connected () =
    let struct (a, b) = pair ()
    negotiate false a b

let private section (description: Description) : SdpAttribute[] =
    let sdp = parsed description.Sdp
    sdp.Media[sdp.Media.Length - 1].Level.Attributes

let private version (description: Description) =
    Int64.Parse (parsed description.Sdp).Origin.SessionVersion

let private orders (e: End) =
    e.Outputs
    |> List.choose (fun output ->
        match output with
        | Jsep.Order order -> Some order
        | _ -> None)

/// The names of the last step's outputs, in order.
let private told (e: End) =
    e.Outputs
    |> List.map (fun output ->
        match output with
        | Jsep.Reply(_, Ok _) -> "reply"
        | Jsep.Reply(_, Error _) -> "refusal"
        | Jsep.DescriptionsChanged _ -> "descriptions"
        | Jsep.SignalingStateChanged state -> string state
        | Jsep.NegotiationNeeded -> "needed"
        | Jsep.Ignored _ -> "ignored"
        | Jsep.Order order ->
            match order with
            | JsepOrder.SetIceRole controlling -> "role " + string controlling
            | JsepOrder.SetIceLocal _ -> "local"
            | JsepOrder.RollbackIceLocal former -> "rollback " + (if former.IsSome then "to former" else "to none")
            | JsepOrder.SetIceRemote _ -> "remote"
            | JsepOrder.Gather -> "gather"
            | JsepOrder.AddRemoteCandidate _ -> "candidate"
            | JsepOrder.EndOfRemoteCandidates _ -> "end"
            | JsepOrder.StartDtls(role, _) -> "dtls " + string role
            | JsepOrder.StartSctp(port, size) -> "sctp " + string port + " " + string size
            | JsepOrder.Close -> "close")

let private host = "candidate:1 1 udp 2130706431 192.0.2.7 5555 typ host"

/// A head with the mandatory transport attributes at session level.
let private head (setup: string) =
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    + "a=fingerprint:sha-256 "
    + String.Join(":", Array.create 32 "AB")
    + "\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    + (if setup = "" then "" else "a=setup:" + setup + "\r\n")

let private data =
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"

let private theirOffer sdp = describe SdpType.Offer sdp
let private theirAnswer sdp = describe SdpType.Answer sdp

let private answered (sdp: string) : struct (Sdp * End) =
    let struct (ours, b) = answer (setRemote (theirOffer sdp) (start 3L))
    struct (parsed ours.Sdp, setLocal ours b)

let private refusedOffer (sdp: string) =
    errorOf (trySetRemote (theirOffer sdp) (start 3L))

let private offered () =
    let struct (ours, a) = offer false (withData (start 1L))
    setLocal ours a

let private exchange =
    testList
        "exchange"
        [ testCase "an offer is what RFC 8829 §5.2.1 has it be" (fun () ->
              let struct (ours, _) = offer false (withData (start 1L))
              let sdp = parsed ours.Sdp
              let side = (JsepTransport.localSide sdp).Value

              let expected =
                  [ "v=0"
                    "o=- " + sdp.Origin.SessionId + " 1 IN IP4 0.0.0.0"
                    "s=-"
                    "t=0 0"
                    "a=group:BUNDLE 0"
                    "a=ice-options:trickle ice2"
                    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
                    "c=IN IP4 0.0.0.0"
                    "a=ice-ufrag:" + side.Credentials.UsernameFragment
                    "a=ice-pwd:" + side.Credentials.Password
                    "a=fingerprint:sha-256 "
                    + String.Join(":", Array.init 32 (fun i -> (byte (1 + i)).ToString "X2"))
                    "a=tls-id:" + side.TlsId
                    "a=setup:actpass"
                    "a=mid:0"
                    "a=sctp-port:5000"
                    "a=max-message-size:262144"
                    "" ]

              Expect.equal ours.Sdp (String.Join("\r\n", expected)) "text"
              Expect.isLessThan (Int64.Parse sdp.Origin.SessionId) Int64.MaxValue "63 bits"
              Expect.isGreaterThanOrEqual side.TlsId.Length 20 "tls-id, RFC 8842 §4")

          testCase "events come before the reply, and orders behind it in the order that layers take them" (fun () ->
              let struct (a, b) = pair ()
              let struct (ours, a) = offer false a
              let a = setLocal ours a

              Expect.equal
                  (told a)
                  [ "descriptions"; "HaveLocalOffer"; "reply"; "role True"; "local"; "gather" ]
                  "offered"

              let b = setRemote ours b
              Expect.equal (told b) [ "descriptions"; "HaveRemoteOffer"; "reply" ] "a remote offer moves nothing yet"
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
                    "gather"
                    "dtls Client"
                    "sctp 5000 262144" ]
                  "answered"

              let a = setRemote theirs a

              Expect.equal
                  (told a)
                  [ "descriptions"
                    "Stable"
                    "reply"
                    "remote"
                    "dtls Server"
                    "sctp 5000 262144" ]
                  "the answer")

          testCase "an offer without anything to negotiate has no section, and is answered alike" (fun () ->
              let struct (a, b) = negotiate false (start 1L) (start 2L)
              Expect.equal (parsed (held a).CurrentLocal.Value.Sdp).Media.Length 0 "no section"
              Expect.equal (state b) SignalingState.Stable "stable"
              Expect.equal (orders a @ orders b).Length 0 "nothing ordered")

          testCase "re-offers keep session id, mid, credentials and tls-id, and count versions by content" (fun () ->
              let struct (a, _) = connected ()
              let first = (held a).CurrentLocal.Value
              let struct (again, a) = offer false a
              Expect.equal (version again) (version first) "nothing has changed"
              let struct (twice, a) = offer false a
              Expect.equal twice again "the same twice"
              let fragment = a.Orders.Local.Value.UsernameFragment
              let a = send (Jsep.LocalCandidate(host, fragment)) a
              let struct (gathered, a) = offer false a
              Expect.equal (version gathered) (version first + 1L) "a candidate is new content"

              Expect.equal
                  (parsed gathered.Sdp).Origin.SessionId
                  (parsed first.Sdp).Origin.SessionId
                  "the session goes on"

              Expect.equal (SdpAttributes.mid (section gathered)) (ValueSome "0") "mid"
              Expect.equal (SdpAttributes.tlsId (section gathered)) (SdpAttributes.tlsId (section first)) "tls-id"
              let struct (restarted, _) = offer true a
              Expect.equal (version restarted) (version first + 2L) "and so is a restart"
              Expect.equal (SdpAttributes.candidates (section restarted)) [||] "which has gathered nothing"

              Expect.equal
                  (SdpAttributes.tlsId (section restarted))
                  (SdpAttributes.tlsId (section first))
                  "DTLS goes on")

          testCase "the setup of a re-offer is actpass, and its answer keeps the roles, whoever offers" (fun () ->
              let struct (a, b) = connected ()
              let struct (b, a) = negotiate false b a

              Expect.equal
                  (SdpAttributes.setup (section (held b).CurrentLocal.Value))
                  (ValueSome SdpSetup.ActPass)
                  "offer"

              Expect.equal
                  (SdpAttributes.setup (section (held a).CurrentLocal.Value))
                  (ValueSome SdpSetup.Passive)
                  "the server stays the server"

              Expect.equal (orders a @ orders b).Length 0 "nothing new is ordered"
              Expect.equal (Jsep.dtlsRole a.Session) (ValueSome JsepDtlsRole.Server) "a"
              Expect.equal (Jsep.dtlsRole b.Session) (ValueSome JsepDtlsRole.Client) "b")

          testCase "implicit setLocalDescription offers in stable and answers an offer, W3C §4.4.2" (fun () ->
              let struct (a, b) = pair ()
              let a = trySetLocal ValueNone a
              let ours = (held a).PendingLocal.Value
              Expect.equal ours.Type SdpType.Offer "an offer"
              let b = trySetLocal ValueNone (setRemote ours b)
              Expect.equal (state b) SignalingState.Stable "answered"
              let a = setRemote (held b).CurrentLocal.Value a
              Expect.equal a.Orders.Remote b.Orders.Local "agreed")

          testCase "implicit setLocalDescription uses what was created last while that holds" (fun () ->
              let struct (a, _) = connected ()
              let struct (restart, a) = offer true a
              let a' = trySetLocal ValueNone a
              Expect.equal (held a').PendingLocal (ValueSome restart) "the restart that was created"
              let struct (empty, a) = offer false (start 1L)
              let a = trySetLocal ValueNone (withData a)
              Expect.notEqual (held a).PendingLocal (ValueSome empty) "not where more was asked since"
              Expect.equal (parsed (held a).PendingLocal.Value.Sdp).Media.Length 1 "which it then has")

          testCase "a provisional answer starts the transport, a final one settles it" (fun () ->
              let struct (a, b) = pair ()
              let struct (ours, a) = offer false a
              let a = setLocal ours a
              let struct (theirs, b) = answer (setRemote ours b)
              let provisional = describe SdpType.Pranswer theirs.Sdp
              let b = setLocal provisional b
              Expect.equal (state b) SignalingState.HaveLocalPranswer "b"
              Expect.isTrue b.Orders.Dtls.IsSome "b has started"
              let a = setRemote provisional a
              Expect.equal (state a) SignalingState.HaveRemotePranswer "a"
              Expect.isTrue a.Orders.Dtls.IsSome "a has started"
              let b = trySetLocal ValueNone b
              let final = (held b).CurrentLocal.Value
              Expect.equal final.Type SdpType.Answer "final"
              Expect.equal (orders b).Length 0 "nothing new"
              let a = setRemote final a
              Expect.equal (state a) SignalingState.Stable "stable"
              Expect.equal (orders a).Length 0 "nothing new for a") ]

let private restarts =
    testList
        "restart and rollback"
        [ testCase "restartIce needs negotiation until new credentials have been agreed" (fun () ->
              let struct (a, b) = connected ()
              let before = a.Orders.Local
              let needed = a.Needed
              let a = send (Jsep.RestartIce 1L) a
              Expect.equal a.Needed (needed + 1) "needed"
              // An exchange that does not restart leaves the wish standing, and says so again.
              let struct (b, a) = negotiate false b a
              Expect.equal a.Orders.Local before "not yet"
              Expect.equal a.Needed (needed + 2) "still needed"
              let struct (a, b) = negotiate false a b
              Expect.notEqual a.Orders.Local before "restarted"
              Expect.equal a.Orders.Remote b.Orders.Local "agreed"
              Expect.equal a.Needed (needed + 2) "no more"
              let struct (a, _) = negotiate false a b
              Expect.equal (orders a).Length 0 "once is enough")

          testCase "restartIce before any description does nothing" (fun () ->
              let a = send (Jsep.RestartIce 1L) (start 1L)
              Expect.equal (told a) [ "reply" ] "no event")

          testCase "a rolled-back restart restores the former credentials and descriptions exactly" (fun () ->
              let struct (a, _) = connected ()
              let before = held a
              let struct (restart, a) = offer true a
              let a' = setLocal restart a
              Expect.notEqual a'.Orders.Local a.Orders.Local "new credentials are gathered for"
              let a'' = trySetLocal (ValueSome(describe SdpType.Rollback "")) a'
              Expect.equal (told a'') [ "descriptions"; "Stable"; "reply"; "rollback to former" ] "rolled back"
              Expect.equal a''.Orders.Local a.Orders.Local "the former credentials"
              Expect.equal (held a'') before "the former descriptions"
              let struct (next, _) = offer false a''

              Expect.equal
                  (SdpAttributes.iceUfrag (section next))
                  (ValueSome a.Orders.Local.Value.UsernameFragment)
                  "and they are offered again")

          testCase "rolling back a first offer leaves nothing behind, and the next one counts on" (fun () ->
              let a = withData (start 1L)
              let struct (ours, a) = offer false a
              let a = trySetRemote (describe SdpType.Rollback "") (setLocal ours a)
              Expect.equal (told a) [ "descriptions"; "Stable"; "reply"; "rollback to none"; "needed" ] "told"
              Expect.equal (held a).PendingLocal ValueNone "no description"
              let struct (next, _) = offer false a
              Expect.equal (version next) (version ours + 1L) "RFC 8829 §5.2.2: N+2 after N+1 was rolled back"

              Expect.notEqual
                  (SdpAttributes.iceUfrag (section next))
                  (SdpAttributes.iceUfrag (section ours))
                  "discarded credentials are not used again")

          testCase "rolling back a remote offer moves nothing of the transport" (fun () ->
              let struct (a, b) = connected ()
              let before = held b
              let struct (restart, _) = offer true a
              let b = setRemote restart b
              let b = trySetRemote (describe SdpType.Rollback "") b
              Expect.equal (held b) before "the former descriptions"
              Expect.equal (told b) [ "descriptions"; "Stable"; "reply" ] "no order")

          testCase
              "glare: a remote offer rolls our own back, and is refused without touching it when it is bad"
              (fun () ->
                  let a = offered ()
                  let struct (theirs, _) = offer false (withData (start 2L))

                  let bad =
                      describe SdpType.Offer (replaced "a=setup:actpass" "a=setup:holdconn" theirs.Sdp)

                  let refused = trySetRemote bad a
                  Expect.equal (errorOf refused) (ValueSome ErrorName.InvalidAccessError) "bad"
                  Expect.equal (held refused) (held a) "nothing has changed"
                  let a' = setRemote theirs a

                  Expect.equal
                      (told a')
                      [ "descriptions"
                        "Stable"
                        "rollback to none"
                        "descriptions"
                        "HaveRemoteOffer"
                        "reply" ]
                      "as both browsers' fixtures have the events")

          testCase
              "an answer whose credentials do not follow the offer's restart, or restart by themselves, is refused"
              (fun () ->
                  let struct (a, b) = connected ()
                  let former = (held b).CurrentLocal.Value.Sdp
                  let struct (restart, a') = offer true a

                  Expect.equal
                      (errorOf (trySetRemote (theirAnswer former) (setLocal restart a')))
                      (ValueSome ErrorName.InvalidAccessError)
                      "the offer restarted, the answer did not"

                  let struct (plain, a') = offer false a
                  let fragment = b.Orders.Local.Value.UsernameFragment

                  Expect.equal
                      (errorOf (trySetRemote (theirAnswer (replaced fragment "another1" former)) (setLocal plain a')))
                      (ValueSome ErrorName.InvalidAccessError)
                      "the answer restarted, the offer did not")

          testCase "other servers in setConfiguration have the next offer restart, without an event" (fun () ->
              let struct (a, b) = connected ()
              let before = a.Orders.Local

              let servers =
                  { configuration with
                      IceServers =
                          [| { Urls = [| "stun:192.0.2.1" |]
                               Username = ValueNone
                               Credential = ValueNone } |] }

              let a = send (Jsep.SetConfiguration(1L, servers)) a
              Expect.equal (told a) [ "reply" ] "no event"
              Expect.equal (Jsep.configuration a.Session).IceServers.Length 1 "kept"
              let struct (a, b) = negotiate false a b
              Expect.notEqual a.Orders.Local before "restarted"
              let struct (a, _) = negotiate false a b
              Expect.equal (orders a).Length 0 "once")

          testCase "setConfiguration refuses what W3C §4.4.1.6 has it refuse" (fun () ->
              let a =
                  send
                      (Jsep.SetConfiguration(
                          1L,
                          { configuration with
                              IceCandidatePoolSize = 4 }
                      ))
                      (start 1L)

              Expect.equal (errorOf a) ValueNone "the pool's size may change at first"
              let struct (ours, a) = offer false (withData (start 1L))
              let a = setLocal ours a

              for wrong in
                  [ { configuration with
                        IceCandidatePoolSize = 4 }
                    { configuration with
                        BundlePolicy = BundlePolicy.MaxCompat }
                    { configuration with
                        Certificates = [| "another" |] } ] do
                  Expect.equal
                      (errorOf (send (Jsep.SetConfiguration(1L, wrong)) a))
                      (ValueSome ErrorName.InvalidModificationError)
                      "refused") ]

let private needed =
    testList
        "negotiation needed"
        [ testCase "the first data channel needs negotiation once, the next ones not" (fun () ->
              let a = withData (start 1L)
              Expect.equal a.Needed 1 "the first"
              Expect.equal (withData a).Needed 1 "the second")

          testCase "not while an offer is out; again when it comes back without what is needed" (fun () ->
              let struct (ours, a) = offer false (start 1L)
              let a = withData (setLocal ours a)
              Expect.equal a.Needed 0 "not now"
              let struct (theirs, _) = answer (setRemote ours (start 2L))
              let a = setRemote theirs a
              Expect.equal (told a) [ "descriptions"; "Stable"; "reply"; "needed" ] "now")

          testCase "a peer's offer that has a data section satisfies it" (fun () ->
              let struct (a, b) = pair ()
              let struct (_, b) = negotiate false a (withData b)
              Expect.equal b.Needed 1 "only at first")

          testCase "a data section turned down is not asked for again by itself" (fun () ->
              let struct (ours, a) = offer false (withData (start 1L))
              let a = setLocal ours a

              let rejection =
                  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"

              let a = setRemote (theirAnswer rejection) a
              Expect.equal (told a) [ "descriptions"; "Stable"; "reply"; "close" ] "the transport is closed"
              let a = withData a
              Expect.equal (told a) [ "needed" ] "a new channel asks anew"
              let struct (again, _) = offer false a
              let sdp = parsed again.Sdp
              Expect.equal sdp.Media.Length 1 "the dead section's place is taken"
              Expect.equal (Section.mids sdp) [| "1" |] "under another mid") ]

let private candidates =
    let add line mid index fragment e =
        send (candidate line mid index fragment) e

    let mid0 = ValueSome "0"

    testList
        "candidates"
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

let private sections =
    testList
        "sections"
        [ testCase "setup roles: each offer and each answer" (fun () ->
              for theirs, ours, role in
                  [ "actpass", SdpSetup.Active, JsepDtlsRole.Client
                    "", SdpSetup.Active, JsepDtlsRole.Client
                    "passive", SdpSetup.Active, JsepDtlsRole.Client
                    "active", SdpSetup.Passive, JsepDtlsRole.Server ] do
                  let struct (answer, b) =
                      answered (head theirs + data + "a=mid:0\r\na=sctp-port:5000\r\n")

                  Expect.equal (SdpAttributes.setup answer.Media[0].Level.Attributes) (ValueSome ours) theirs
                  Expect.equal b.Orders.Dtls (ValueSome role) theirs

              Expect.equal (refusedOffer (head "holdconn" + data)) (ValueSome ErrorName.InvalidAccessError) "holdconn"

              for theirs, role in
                  [ "active", ValueSome JsepDtlsRole.Server
                    "passive", ValueSome JsepDtlsRole.Client
                    "", ValueSome JsepDtlsRole.Client
                    "actpass", ValueNone
                    "holdconn", ValueNone ] do
                  let a = trySetRemote (theirAnswer (head theirs + data + "a=mid:0\r\n")) (offered ())
                  Expect.equal a.Orders.Dtls role ("answered " + theirs)
                  Expect.equal (errorOf a).IsSome role.IsNone ("answered " + theirs))

          testCase "the role of a live association cannot be turned round" (fun () ->
              let struct (a, b) = connected ()
              let struct (again, a) = offer false a

              let turned =
                  replaced "a=setup:active" "a=setup:passive" (held b).CurrentLocal.Value.Sdp

              Expect.equal
                  (errorOf (trySetRemote (theirAnswer turned) (setLocal again a)))
                  (ValueSome ErrorName.InvalidAccessError)
                  "by an answer"

              let struct (theirs, _) = offer false b
              // They are the client: an offer to be the server would turn us from server to client.
              let turned = replaced "a=setup:actpass" "a=setup:passive" theirs.Sdp

              let struct (settled, _) = connected ()

              Expect.equal
                  (errorOf (trySetRemote (theirOffer turned) settled))
                  (ValueSome ErrorName.InvalidAccessError)
                  "by an offer")

          testCase "another fingerprint needs an ICE restart, and then begins a new association" (fun () ->
              let struct (a, b) = connected ()
              let struct (plain, _) = offer false b

              let other (sdp: string) =
                  replaced "sha-256 02:" "sha-256 FF:" sdp

              Expect.equal
                  (errorOf (trySetRemote (theirOffer (other plain.Sdp)) a))
                  (ValueSome ErrorName.InvalidAccessError)
                  "without"

              let struct (restart, _) = offer true b
              let former = SdpAttributes.tlsId (section (held a).CurrentLocal.Value)
              let struct (ours, a) = answer (setRemote (theirOffer (other restart.Sdp)) a)
              let a = setLocal ours a
              Expect.contains (told a) "dtls Client" "a new association, its roles chosen anew"
              Expect.contains (told a) "sctp 5000 262144" "and a new one over it"
              Expect.notEqual (SdpAttributes.tlsId (section ours)) former "under a new tls-id")

          testCase "a lite peer is controlled by us, though it offered" (fun () ->
              let struct (_, b) =
                  answered (head "actpass" + "a=ice-lite\r\n" + data + "a=mid:0\r\n")

              Expect.equal b.Orders.Controlling (ValueSome true) "controlling")

          testCase "max-message-size: absent is 65,536, zero is no limit" (fun () ->
              for line, size in
                  [ "", 65_536L
                    "a=max-message-size:0\r\n", Int64.MaxValue
                    "a=max-message-size:1\r\n", 1L
                    "a=max-message-size:99999999999999999999999\r\n", Int64.MaxValue ] do
                  let struct (_, b) =
                      answered (head "actpass" + data + "a=mid:0\r\na=sctp-port:6000\r\n" + line)

                  Expect.equal b.Orders.Sctp (ValueSome(struct (6000us, size))) line)

          testCase "a size that changes in a re-offer is passed on, and DTLS left alone" (fun () ->
              let struct (a, b) = connected ()
              let struct (again, _) = offer false b

              let smaller =
                  theirOffer (replaced "max-message-size:262144" "max-message-size:1000" again.Sdp)

              let struct (ours, a) = answer (setRemote smaller a)
              let a = setLocal ours a
              Expect.equal (told a) [ "descriptions"; "Stable"; "reply"; "sctp 5000 1000" ] "the size alone")

          testCase "the form of the old drafts is answered in kind" (fun () ->
              let struct (answer, b) =
                  answered (
                      head "actpass"
                      + "m=application 9 DTLS/SCTP 6000\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\na=sctpmap:6000 webrtc-datachannel 1024\r\n"
                  )

              let m = answer.Media[0]
              Expect.equal (m.Protocol, m.Formats) ("DTLS/SCTP", [| "5000" |]) "m="

              Expect.equal
                  (SdpAttributes.tryValue "sctpmap" m.Level.Attributes)
                  (ValueSome "5000 webrtc-datachannel 65535")
                  "sctpmap"

              Expect.equal b.Orders.Sctp (ValueSome(struct (6000us, 65_536L))) "their port")

          testCase "an offer without mids is answered without them, and re-offered with one" (fun () ->
              let struct (answer, b) = answered (head "actpass" + data + "a=sctp-port:5000\r\n")
              Expect.equal (Section.mids answer) [||] "no mid"
              Expect.equal (Section.bundles answer) [||] "no BUNDLE"
              Expect.isTrue b.Orders.Dtls.IsSome "but data"
              let struct (again, _) = offer false b
              Expect.equal (Section.mids (parsed again.Sdp)) [| "0" |] "a mid of ours"
              Expect.equal (Section.bundles (parsed again.Sdp)) [| [| "0" |] |] "bundled")

          testCase "BUNDLE with a rejected tagged section: transport attributes come from the proper one" (fun () ->
              let fingerprint = String.Join(":", Array.create 32 "CD")

              let transport ufrag =
                  "a=ice-ufrag:"
                  + ufrag
                  + "\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 "
                  + fingerprint
                  + "\r\na=setup:actpass\r\n"

              let offer dataPort dataLines =
                  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a d\r\n"
                  + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=rtcp-mux\r\n"
                  + transport "audi"
                  + "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host\r\n"
                  + "m=application "
                  + dataPort
                  + " UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n"
                  + dataLines

              for what, port, lines, fragment, candidates in
                  [ "its own",
                    "9",
                    transport "data" + "a=candidate:1 1 udp 1 192.0.2.1 2000 typ host\r\n",
                    "data",
                    [ "2000" ]
                    "bundle-only", "0", "a=bundle-only\r\n", "audi", [ "1000" ]
                    "bundle-only, repeated", "0", "a=bundle-only\r\n" + transport "audi", "audi", [ "1000" ]
                    "none", "9", "", "audi", [ "1000" ]
                    "the same, no candidates", "9", transport "audi", "audi", [ "1000" ] ] do
                  let struct (answer, b) = answered (offer port lines)
                  Expect.equal (answer.Media |> Array.map (fun m -> m.Port <> 0us)) [| false; true |] what

                  Expect.equal
                      (Section.bundles answer)
                      [| [| "d" |] |]
                      (what + ": the answerer-tagged section is data's")

                  Expect.equal b.Orders.Remote.Value.UsernameFragment fragment (what + ": credentials")

                  Expect.equal
                      (b.Orders.Candidates |> List.map (fun c -> c.Split(' ')[5]))
                      candidates
                      (what + ": candidates")

              let zero = trySetRemote (theirOffer (offer "0" "")) (start 3L)
              Expect.equal (errorOf zero) ValueNone "port zero without bundle-only is a section turned off"
              let struct (ours, zero) = answer zero
              Expect.equal (Section.tryData (parsed ours.Sdp)) ValueNone "and stays off"
              Expect.equal (orders (setLocal ours zero)).Length 0 "nothing is ordered")

          testCase "only the first data section is accepted" (fun () ->
              let struct (answer, _) =
                  answered (head "actpass" + data + "a=mid:0\r\n" + data + "a=mid:1\r\n")

              Expect.equal (answer.Media |> Array.map (fun m -> m.Port <> 0us)) [| true; false |] "the first")

          testCase "a peer that turns a live data section off closes the transport" (fun () ->
              let struct (a, b) = connected ()
              let struct (again, _) = offer false b
              let off = replaced "m=application 9" "m=application 0" again.Sdp
              let struct (ours, a) = answer (setRemote (theirOffer off) a)
              let a = setLocal ours a
              Expect.equal (told a |> List.filter ((=) "close")) [ "close" ] "closed"
              Expect.equal (Jsep.dtlsRole a.Session) ValueNone "no role")

          testCase "offers that break the rules are refused with InvalidAccessError" (fun () ->
              for what, sdp in
                  [ "same mid twice", head "actpass" + data + "a=mid:0\r\n" + data + "a=mid:0\r\n"
                    "mid twice in groups", head "actpass" + "a=group:BUNDLE 0 0\r\n" + data + "a=mid:0\r\n"
                    "unknown mid in a group", head "actpass" + "a=group:BUNDLE 0 1\r\n" + data + "a=mid:0\r\n"
                    "short ufrag", replaced "ice-ufrag:abcd" "ice-ufrag:abc" (head "actpass") + data
                    "short pwd",
                    replaced "0123456789012345678901" "012345678901234567890" (head "actpass")
                    + data ] do
                  Expect.equal (refusedOffer sdp) (ValueSome ErrorName.InvalidAccessError) what)

          testCase "re-offers that lose, turn or rename sections are refused" (fun () ->
              let struct (a, b) = connected ()
              let struct (again, _) = offer false b
              let cut = again.Sdp.Substring(0, again.Sdp.IndexOf "m=")

              for what, sdp in
                  [ "lost", replaced "a=group:BUNDLE 0\r\n" "" cut
                    "turned", replaced "m=application" "m=audio" again.Sdp
                    "renamed", again.Sdp |> replaced "a=mid:0" "a=mid:9" |> replaced "BUNDLE 0" "BUNDLE 9" ] do
                  Expect.equal
                      (errorOf (trySetRemote (theirOffer sdp) a))
                      (ValueSome ErrorName.InvalidAccessError)
                      what)

          testCase "answers that do not fit the offer are refused, and the offer stands" (fun () ->
              let a = offered ()
              let good = head "active" + data + "a=mid:0\r\n"

              for what, sdp in
                  [ "fewer sections", head "active"
                    "more sections", good + "m=audio 0 RTP/AVP 0\r\n"
                    "another kind", replaced "m=application" "m=video" good
                    "another protocol", replaced "UDP/DTLS" "TCP/DTLS" good
                    "another mid", replaced "a=mid:0" "a=mid:1" good ] do
                  let after = trySetRemote (theirAnswer sdp) a
                  Expect.equal (errorOf after) (ValueSome ErrorName.InvalidAccessError) what
                  Expect.equal (state after) SignalingState.HaveLocalOffer what

              Expect.equal (errorOf (trySetRemote (theirAnswer good) a)) ValueNone "the good one")

          testCase "after media was rejected, our re-offer keeps its place, dead" (fun () ->
              let read = Fixtures.read "sdp/chromium-156/av-dc-sendrecv.offer.sdp"
              let struct (answer, b) = answered read
              let struct (again, _) = offer false b
              let sdp = parsed again.Sdp
              Expect.equal (Section.mids sdp) (Section.mids answer) "the mids"
              Expect.equal (sdp.Media |> Array.map (fun m -> m.Port <> 0us)) [| false; false; true |] "media is off"
              Expect.equal (Section.bundles sdp) [| [| "2" |] |] "BUNDLE has what lives")

          testCase "a data channel beside rejected media is appended behind it" (fun () ->
              let read = Fixtures.read "sdp/chromium-156/av-sendrecv.offer.sdp"
              let struct (_, b) = answered read
              let struct (again, _) = offer false (withData b)
              let sdp = parsed again.Sdp
              Expect.equal (sdp.Media |> Array.map _.Kind) [| "audio"; "video"; "application" |] "behind"
              Expect.equal (Section.mids sdp) [| "0"; "1"; "2" |] "with a mid of its own") ]

let private closing =
    testCase "closed is for good: every request is InvalidStateError, nothing else is heard" (fun () ->
        let struct (a, b) = connected ()
        let struct (theirs, _) = offer false b
        let a = send Jsep.Close a
        Expect.equal (told a) [] "W3C fires no event"
        Expect.equal (state a) SignalingState.Closed "closed"

        for request in
            [ Jsep.CreateOffer(1L, true)
              Jsep.CreateAnswer 1L
              Jsep.SetLocalDescription(1L, ValueNone)
              Jsep.SetRemoteDescription(1L, theirs)
              Jsep.SetConfiguration(1L, configuration)
              candidate host (ValueSome "0") ValueNone ValueNone ] do
            Expect.equal (errorOf (send request a)) (ValueSome ErrorName.InvalidStateError) "refused"

        for noise in
            [ Jsep.NeedDataSection
              Jsep.LocalCandidate(host, "x")
              Jsep.GatheringComplete "x"
              Jsep.Close ] do
            Expect.equal (told (send noise a)) [ "ignored" ] "counted")

let tests =
    testList "Jsep" [ exchange; restarts; needed; candidates; sections; closing ]
