module Hybrid.WebRtc.PropertyTests.JsepTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

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
                      "as both browsers' fixtures have the events"

                  let struct (ours, a') = answer a'

                  Expect.equal
                      (told (setLocal ours a'))
                      [ "descriptions"
                        "Stable"
                        "reply"
                        "role False"
                        "local"
                        "remote"
                        "gather"
                        "dtls Client"
                        "sctp 5000 262144" ]
                      "and our answer begins from nothing, controlled")

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

let tests = testList "Jsep" [ exchange; restarts; needed; closing ]
