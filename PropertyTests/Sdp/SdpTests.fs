module Hybrid.WebRtc.PropertyTests.SdpTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core

let private parsed (text: string) : Sdp =
    match SdpParser.parse text with
    | Ok sdp -> sdp
    | Error e -> failtest ("line " + string e.Line + ": " + e.Message)

let private refused (text: string) : SdpError =
    match SdpParser.parse text with
    | Ok _ -> failtest ("taken: " + text)
    | Error e -> e

/// The shortest head that is right.
let private head = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

/// Text by the grammar, every kind of line with a chance to be there.
let private description: Gen<string> =
    let word = Gen.elements [ "audio"; "x"; "IN"; "IP6"; "0"; "host-1"; "a.b~c"; "{9}" ]

    let digits =
        Gen.elements [ "0"; "7"; "5000"; "65535"; "12345678901234567890123456" ]

    let free =
        Gen.elements [ "-"; "two words"; " leading"; "ümlaut ✓"; "a=b:c"; "\ttab"; "x:" ]

    let join (parts: Gen<string> list) =
        Gen.collectToList id parts |> Gen.map (String.concat "")

    let line letter value =
        join [ Gen.constant (letter + "="); value; Gen.constant "\r\n" ]

    let spaced parts =
        Gen.collectToList id parts |> Gen.map (String.concat " ")

    let maybe g = Gen.oneof [ g; Gen.constant "" ]

    let upTo most g =
        Gen.choose (0, most)
        |> Gen.bind (fun n -> Gen.listOfLength n g |> Gen.map (String.concat ""))

    let connection =
        line "c" (spaced [ word; word; Gen.elements [ "::1"; "224.2.1.1/127/3"; "a.local" ] ])

    let bandwidth =
        line "b" (Gen.map2 (fun a b -> a + ":" + b) (Gen.elements [ "AS"; "TIAS"; "X-y" ]) digits)

    let repeat = line "r" (Gen.elements [ "604800 3600 0 90000"; "7d 1h 0 25h" ])

    let time =
        join
            [ line "t" (spaced [ digits; digits ])
              Gen.oneof
                  [ Gen.constant ""
                    join
                        [ repeat
                          upTo 2 repeat
                          maybe (line "z" (Gen.constant "2882844526 -1h 2898848070 0")) ] ] ]

    let attribute =
        line
            "a"
            (Gen.oneof
                [ word
                  Gen.map2 (fun a b -> a + ":" + b) (Gen.elements [ "x-unknown"; "rtpmap"; "ssrc"; "fmtp" ]) free
                  Gen.elements
                      [ "mid:0"
                        "group:BUNDLE 0 1"
                        "group:LS"
                        "setup:actpass"
                        "sctp-port:5000"
                        "max-message-size:0"
                        "ice-options:trickle ice2"
                        "fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:aa:BB:cc:dd:ee:ff:00:11:22:33"
                        "candidate:1 1 udp 2130706431 192.0.2.1 9 typ host"
                        "end-of-candidates" ] ])

    let tail = join [ maybe (line "k" free); upTo 4 attribute ]

    let media =
        join
            [ line
                  "m"
                  (spaced
                      [ word
                        Gen.elements [ "0"; "9"; "65535"; "49170/2" ]
                        Gen.elements [ "UDP/DTLS/SCTP"; "udp"; "RTP/AVP" ]
                        spaced [ word; word ] ])
              maybe (line "i" free)
              upTo 2 connection
              upTo 2 bandwidth
              tail ]

    join
        [ Gen.constant "v=0\r\n"
          line "o" (spaced [ word; digits; digits; word; word; word ])
          line "s" free
          maybe (line "i" free)
          maybe (line "u" free)
          upTo 2 (line "e" free)
          upTo 2 (line "p" free)
          maybe connection
          upTo 2 bandwidth
          time
          upTo 2 time
          tail
          upTo 3 media ]

let private withLine (line: string) = head + line + "\r\n"

let tests =
    testList
        "Sdp"
        [ testCase "every fixture of both browsers and of the other peers prints back byte for byte" (fun () ->
              let files = Fixtures.list "sdp" ".sdp"
              Expect.isGreaterThan files.Length 150 "the fixtures are there"

              for path in files do
                  let text = Fixtures.read path
                  Expect.equal (SdpPrinter.print (parsed text)) text path)

          testPropertyWithConfig Laws.config "print (parse text) = text for anything the grammar makes"
          <| Prop.forAll (Arb.fromGen description) (fun text ->
              SdpPrinter.print (parsed text) = text
              && SdpPrinter.print (parsed (text.Replace("\r\n", "\n"))) = text)

          testPropertyWithConfig Laws.config "any text is parsed or refused, and what is parsed prints to itself"
          <| fun (bytes: byte[]) ->
              match SdpParser.parse (Encoding.Latin1.GetString bytes) with
              | Error e -> e.Line >= 1 && e.Message <> ""
              | Ok sdp -> (let text = SdpPrinter.print sdp in SdpPrinter.print (parsed text) = text)

          Laws.mutated
              "a description with octets changed, cut or repeated is parsed to what prints to itself, or refused"
              [ for path in
                    [ "sdp/chromium-156/av-dc-sendrecv.offer.sdp"
                      "sdp/firefox-esr-153/dc-only.offer.sdp"
                      "sdp/peers/pion.answer-to-chromium-dc.sdp" ] -> Encoding.Latin1.GetBytes(Fixtures.read path) ]
              (fun bytes ->
                  match SdpParser.parse (Encoding.Latin1.GetString bytes) with
                  | Error e -> Expect.isGreaterThanOrEqual e.Line 1 "lines count from 1"
                  | Ok sdp ->
                      let text = SdpPrinter.print sdp
                      Expect.equal (SdpPrinter.print (parsed text)) text "stable"

                      for m in sdp.Media do
                          SdpAttributes.fingerprints m.Level.Attributes |> ignore
                          SdpAttributes.groups m.Level.Attributes |> ignore
                          SdpAttributes.maxMessageSize m.Level.Attributes |> ignore)

          testCase "LF alone, and a last line without its end, are taken" (fun () ->
              let text = head + "a=mid:0\r\n"
              Expect.equal (SdpPrinter.print (parsed (text.Replace("\r\n", "\n")))) text "LF"
              Expect.equal (SdpPrinter.print (parsed (text.TrimEnd()))) text "no end"
              Expect.equal (SdpPrinter.print (parsed (text + "\r\n\r\n"))) text "empty lines behind")

          testCase "a refusal names its line, from 1, and what would be right" (fun () ->
              for text, line, part in
                  [ "", 1, "v=0"
                    "garbage", 1, "v=0"
                    "v=1\r\n", 1, "version is 0"
                    "v=0\r\ns=-\r\n", 2, "expected a line `o=`"
                    "v=0\r\n", 2, "the description ends"
                    "v=0\r\no=- 1 2 IN IP4\r\n", 2, "o=username"
                    "v=0\r\no=- x 2 IN IP4 ::\r\n", 2, "digits"
                    "v=0\r\no=- 1 2 IN IP4 ::\r\ns=-\r\nm=audio 9 RTP/AVP 0\r\n", 4, "expected a line `t=`"
                    withLine "c=IN IP4 0.0.0.0", 5, "out of order"
                    withLine "y=what", 5, "no line begins with `y=`"
                    withLine "nonsense", 5, "an equals sign"
                    withLine "z=1 2", 5, "out of order"
                    withLine "a=not a token", 5, "token"
                    withLine "a=setup:sideways", 5, "setup is active"
                    withLine "a=fingerprint:sha-256 00:11", 5, "fingerprint"
                    withLine "a=fingerprint:sha-1 0011", 5, "fingerprint"
                    withLine "a=sctp-port:65536", 5, "65535"
                    withLine "a=sctp-port:05000", 5, "leading zeros"
                    withLine "a=max-message-size:-1", 5, "max-message-size"
                    withLine "a=mid:", 5, "mid"
                    withLine "a=group:BUNDLE  0", 5, "single spaces"
                    withLine "a=candidate:1 1 udp", 5, "foundation"
                    withLine "a=candidate:1 1 udp 1 ::1 99999 typ host", 5, "port"
                    withLine "m=audio 65536 RTP/AVP 0", 5, "port"
                    withLine "m=audio 9 RTP/AVP", 5, "m=media port"
                    withLine "m=audio 9/0 RTP/AVP 0", 5, "port"
                    withLine "m=audio 9 RTP/AVP  0", 5, "single spaces"
                    withLine "a=x:\000", 5, "NUL"
                    withLine "m=audio 9 RTP/AVP 0\r\nb=AS", 6, "b=type:number" ] do
                  let e = refused text
                  Expect.equal e.Line line ("the line of: " + text)
                  Expect.stringContains e.Message part ("the message of: " + text))

          testCase "length and number of sections are bounded" (fun () ->
              let e = refused (head + String('a', SdpParser.MaxLength))
              Expect.stringContains e.Message "characters" "too long"
              let section = "m=audio 9 RTP/AVP 0\r\n"
              let many n = head + String.replicate n section
              Expect.equal (parsed (many SdpParser.MaxMedia)).Media.Length SdpParser.MaxMedia "just within"
              Expect.equal (refused (many (SdpParser.MaxMedia + 1))).Line (5 + SdpParser.MaxMedia) "one beyond")

          testCase "the views read Chromium's data channel offer" (fun () ->
              let sdp = parsed (Fixtures.read "sdp/chromium-156/dc-only.offer.sdp")
              let group = Array.exactlyOne (SdpAttributes.groups sdp.Level.Attributes)
              Expect.equal (struct (group.Semantics, group.Mids)) (struct ("BUNDLE", [| "0" |])) "group"
              Expect.isTrue (SdpAttributes.extmapAllowMixed sdp.Level.Attributes) "extmap-allow-mixed"
              let m = sdp.Media[0]
              let a = m.Level.Attributes

              Expect.equal
                  (m.Kind, m.Port, m.Protocol, m.Formats)
                  ("application", 45079us, "UDP/DTLS/SCTP", [| "webrtc-datachannel" |])
                  "m="

              Expect.equal (SdpAttributes.mid a) (ValueSome "0") "mid"
              Expect.equal (SdpAttributes.iceUfrag a) (ValueSome "vbHp") "ufrag"
              Expect.equal (SdpAttributes.icePwd a) (ValueSome "FUWArlM83HX09JvsG0YLMysy") "pwd"
              Expect.equal (SdpAttributes.iceOptions a) [| "trickle" |] "options"
              Expect.equal (SdpAttributes.setup a) (ValueSome SdpSetup.ActPass) "setup"
              Expect.equal (SdpAttributes.sctpPort a) (ValueSome 5000us) "sctp-port"
              Expect.equal (SdpAttributes.maxMessageSize a) (ValueSome 262144L) "max-message-size"
              Expect.equal (SdpAttributes.candidates a).Length 4 "candidates"
              Expect.isFalse (SdpAttributes.iceLite a) "full"
              let fingerprint = Array.exactlyOne (SdpAttributes.fingerprints a)
              Expect.equal fingerprint.Algorithm "sha-256" "algorithm"
              Expect.equal fingerprint.Value.Length 32 "hash")

          testCase "every candidate of every fixture is well-formed, and its ufrag is found" (fun () ->
              for path in Fixtures.list "sdp" ".sdp" do
                  for m in (parsed (Fixtures.read path)).Media do
                      for candidate in SdpAttributes.candidates m.Level.Attributes do
                          Expect.equal (SdpCandidate.mistake candidate) ValueNone candidate

              Expect.equal
                  (SdpCandidate.usernameFragment "1 1 udp 1 ::1 9 typ host generation 0 ufrag xH6w network-id 1")
                  (ValueSome "xH6w")
                  "among extensions"

              Expect.equal (SdpCandidate.usernameFragment "1 1 udp 1 ::1 9 typ host") ValueNone "none")

          testPropertyWithConfig Laws.config "a fingerprint parses back from its text"
          <| fun (bytes: NonEmptyArray<byte>) ->
              let fingerprint =
                  { Algorithm = "sha3-test"
                    Value = bytes.Get }

              match SdpFingerprint.parse (SdpFingerprint.toText fingerprint) with
              | ValueSome back -> SdpFingerprint.same back fingerprint
              | ValueNone -> false ]
