module Hybrid.WebRtc.PropertyTests.JsepSectionTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling

let tests =
    testList
        "Jsep sections"
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

              let first =
                  offer "0" ("a=bundle-only\r\n" + transport "dead")
                  |> replaced "BUNDLE a d" "BUNDLE d a"

              let struct (_, b) = answered first

              Expect.equal
                  b.Orders.Remote.Value.UsernameFragment
                  "audi"
                  "a section without a port is never the tagged one"

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
