/// Codecs: what an `a=fmtp` means, what a section offers, what is answered, which payload types they have.
module Hybrid.WebRtc.PropertyTests.CodecsTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core

let private parsed (text: string) : Sdp =
    match SdpParser.parse text with
    | Ok sdp -> sdp
    | Error e -> failtest ("line " + string e.Line + ": " + e.Message)

/// The media sections of a fixture that are of RTP.
let internal media (path: string) : SdpMedia[] =
    (parsed (Fixtures.read path)).Media
    |> Array.filter (fun m -> m.Kind = "audio" || m.Kind = "video")

let private kindOf (m: SdpMedia) =
    if m.Kind = "audio" then
        MediaKind.Audio
    else
        MediaKind.Video

let private defaultsOf (kind: MediaKind) =
    Capabilities.codecsOf kind Capabilities.defaults

let private video = defaultsOf MediaKind.Video
let private audio = defaultsOf MediaKind.Audio

/// A section of these formats and lines.
let internal section (kind: string) (formats: string[]) (lines: string seq) : SdpMedia =
    { Kind = kind
      Port = 9us
      PortCount = ValueNone
      Protocol = "UDP/TLS/RTP/SAVPF"
      Formats = formats
      Level =
        lines
        |> Seq.map (fun line ->
            match line.IndexOf ':' with
            | -1 -> SdpAttribute.flag line
            | at -> SdpAttribute.create (line.Substring(0, at)) (line.Substring(at + 1)))
        |> Seq.toArray
        |> SdpLevel.ofAttributes }

let private codec mime clock channels fmtp : RtpCodec =
    { MimeType = mime
      ClockRate = clock
      Channels = channels
      Fmtp = fmtp }

let private h264 fmtp = codec "video/H264" 90000 ValueNone fmtp

let private opus fmtp =
    codec "audio/opus" 48000 (ValueSome 2) fmtp

/// `96 VP8`, `97 rtx apt=96`… for short.
let private brief (codecs: RtpCodecParameters[]) : string list =
    [ for c in codecs do
          let name = c.Codec.MimeType.Substring(c.Codec.MimeType.IndexOf '/' + 1)
          (string c.PayloadType + " " + name + " " + c.Codec.Fmtp).TrimEnd() ]

let private names (codecs: RtpCodecParameters[]) =
    [ for c in codecs -> c.Codec.MimeType.Substring(c.Codec.MimeType.IndexOf '/' + 1) ]

let private answerOf (m: SdpMedia) =
    Codecs.answer (defaultsOf (kindOf m)) [||] (Codecs.ofMedia m)

/// A section as it was written, and read again.
let private reread (kind: string) (codecs: RtpCodecParameters[]) : RtpCodecParameters[] =
    let m = section kind (Codecs.formats codecs) []

    Codecs.ofMedia
        { m with
            Level = SdpLevel.ofAttributes (Codecs.attributes codecs) }

let private noTwo (types: int[]) =
    Array.length (Array.distinct types) = types.Length

let private checkStanding (what: string) (codecs: RtpCodecParameters[]) =
    let types = codecs |> Array.map _.PayloadType
    Expect.isTrue (noTwo types) (what + ": a payload type means one thing")

    for c in codecs do
        if Fmtp.isRtx c.Codec then
            Expect.contains types (Codecs.apt c.Codec).Value (what + ": RTX has its codec")

        if Fmtp.isRed c.Codec then
            for pt in Fmtp.redundant c.Codec do
                Expect.contains types pt (what + ": RED has what it carries")

let private fixtures =
    Fixtures.list "sdp" ".sdp"
    |> List.filter (fun path -> not (path.Contains "-dc.sdp") && (media path).Length > 0)

let private readingTests =
    testList
        "reading"
        [ testCase
              "a section's codecs are those of its formats, with clock, channels, parameters and feedback"
              (fun () ->
                  let m =
                      section
                          "audio"
                          [| "109"; "9"; "0"; "8"; "101"; "77"; "x"; "200"; "0"; "111" |]
                          [ "rtpmap:109 opus/48000/2"
                            "fmtp:109 stereo=1"
                            "fmtp:109 useinbandfec=1"
                            "rtcp-fb:109 nack"
                            "rtcp-fb:* transport-cc"
                            "rtcp-fb:109 transport-cc"
                            "rtpmap:9 G722/8000/1"
                            "rtpmap:101 telephone-event/8000"
                            "rtpmap:111 broken"
                            "rtpmap:112 unlisted/8000"
                            "rtcp-fb:112 nack" ]

                  let codecs = Codecs.ofMedia m

                  Expect.equal
                      (brief codecs)
                      [ "109 opus stereo=1;useinbandfec=1"
                        "9 G722"
                        "0 PCMU"
                        "8 PCMA"
                        "101 telephone-event" ]
                      "77 says nothing, 111 is broken, x and 200 are no payload types, 0 stands there twice"

                  Expect.equal codecs[0].Feedback [| "nack"; "transport-cc" |] "its own feedback and that of all"
                  Expect.equal codecs[0].Codec.Channels (ValueSome 2) "channels"
                  Expect.equal codecs[2].Codec.ClockRate 8000 "RFC 3551's clock"
                  Expect.equal codecs[2].Feedback [| "transport-cc" |] "the wildcard's")

          testCase "every section of every fixture is read, and read again as it was from what we print" (fun () ->
              Expect.isGreaterThan fixtures.Length 100 "the fixtures are there"

              for path in fixtures do
                  for m in media path do
                      let codecs = Codecs.ofMedia m
                      Expect.equal (Codecs.formats codecs) m.Formats (path + ": every format is known")
                      Expect.equal (Codecs.mistake m) ValueNone path
                      Expect.equal (reread m.Kind codecs) codecs (path + ": printed and read"))

          testCase "a section that cannot be is refused with what would be right" (fun () ->
              let mistake formats =
                  Codecs.mistake (section "video" formats []) |> ValueOption.defaultValue ""

              Expect.stringContains (mistake (Array.init 1000 string)) "at most 128" "a thousand formats"
              Expect.stringContains (mistake [| "96"; "128" |]) "from 0 to 127" "128"
              Expect.stringContains (mistake [| "webrtc-datachannel" |]) "from 0 to 127" "no number"
              Expect.equal (mistake [| "0"; "127" |]) "" "right")

          testCase "a thousand sections of a thousand lines each cost linear time" (fun () ->
              let lines (n: int) =
                  [ for i in 0 .. n - 1 do
                        let pt = string (i % 128)
                        "rtpmap:" + pt + " H264/90000"
                        "fmtp:" + pt + " profile-level-id=42e01f;packetization-mode=" + string (i % 3)
                        "rtcp-fb:" + pt + " x" + string i
                        "rtcp-fb:* y" + string i ]

              let formats = Array.init 1000 (fun i -> string (i % 200))
              let small = section "video" formats (lines 1000)
              let large = section "video" formats (lines 16000)

              let read m () =
                  let codecs = Codecs.ofMedia m
                  Codecs.answer video [||] codecs |> ignore
                  Codecs.agreed codecs codecs |> ignore

              let codecs = Codecs.ofMedia large
              Expect.equal codecs.Length 128 "as many as there are payload types"
              Expect.isLessThanOrEqual codecs[0].Feedback.Length (2 * Codecs.MaxFeedback) "bounded"
              Laws.costs "16 times the lines" 60.0 1.0 (read small) (read large)) ]

let private offerTests =
    testList
        "offers"
        [ testCase "the first offer has Chromium's payload types, each codec with its RTX behind it" (fun () ->
              let struct (codecs, _) = Codecs.offer video [||] PayloadTypes.None

              Expect.equal
                  (brief codecs |> List.truncate 6)
                  [ "96 VP8"
                    "97 rtx apt=96"
                    "102 H264 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"
                    "103 rtx apt=102"
                    "104 H264 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f"
                    "105 rtx apt=104" ]
                  "video"

              Expect.contains (brief codecs) "45 AV1 level-idx=5;profile=0;tier=0" "AV1"
              Expect.contains (brief codecs) "46 rtx apt=45" "its RTX"
              Expect.contains (brief codecs) "35 flexfec-03 repair-window=10000000" "FlexFEC"
              checkStanding "video" codecs
              let struct (codecs, _) = Codecs.offer audio [||] PayloadTypes.None

              Expect.equal
                  (brief codecs)
                  [ "111 opus minptime=10;useinbandfec=1"
                    "63 red 111/111"
                    "9 G722"
                    "0 PCMU"
                    "8 PCMA"
                    "110 telephone-event 0-15"
                    "126 telephone-event 0-15" ]
                  "audio")

          testCase "a second section has the same payload types, and a third one of another kind others" (fun () ->
              let struct (first, taken) = Codecs.offer video [||] PayloadTypes.None
              let struct (second, taken) = Codecs.offer video [||] taken
              Expect.equal second first "the same codecs, the same types"
              let struct (third, _) = Codecs.offer audio [||] taken

              let types =
                  Array.append (Array.map _.PayloadType first) (Array.map _.PayloadType third)

              Expect.isTrue (noTwo types) "no type twice")

          testCase "what the peer numbered keeps its numbers in our next offer" (fun () ->
              let taken =
                  media "sdp/firefox-esr-153/av-sendrecv.offer.sdp"
                  |> Array.map answerOf
                  |> Array.fold (fun taken codecs -> Codecs.remember codecs taken) PayloadTypes.None

              let struct (codecs, taken) = Codecs.offer audio [||] taken
              Expect.equal (List.head (brief codecs)) "109 opus minptime=10;useinbandfec=1" "Firefox's Opus"
              Expect.contains (brief codecs) "63 red 109/109" "RED carries that one"
              Expect.contains (brief codecs) "101 telephone-event 0-15" "its DTMF"
              let struct (codecs, _) = Codecs.offer video [||] taken
              Expect.equal (brief codecs |> List.truncate 2) [ "120 VP8"; "124 rtx apt=120" ] "VP8 and its RTX"
              Expect.contains (brief codecs) "99 AV1 level-idx=5;profile=0;tier=0" "AV1"
              Expect.contains (brief codecs) "100 rtx apt=99" "its RTX"
              checkStanding "video" codecs

              for c in codecs do
                  Expect.isFalse (c.PayloadType = 109 || c.PayloadType = 101) "audio's types are audio's")

          testCase "a payload type that a peer used for something else is passed by" (fun () ->
              let taken =
                  Codecs.remember
                      [| { Codec = codec "video/X-other" 90000 ValueNone ""
                           PayloadType = 96
                           Feedback = [||] } |]
                      PayloadTypes.None

              let struct (codecs, _) = Codecs.offer video [||] taken
              Expect.equal codecs[0].Codec.MimeType "video/VP8" "VP8"
              Expect.notEqual codecs[0].PayloadType 96 "not on 96"
              checkStanding "video" codecs)

          testCase "where no payload type is left a codec is left out, and what stands on it" (fun () ->
              let all =
                  Array.append [| 35..63 |] [| 96..127 |]
                  |> Array.filter (fun pt -> pt <> 111)
                  |> Array.map (fun pt ->
                      { Codec = codec "video/X-other" 90000 ValueNone (string pt)
                        PayloadType = pt
                        Feedback = [||] })

              let struct (codecs, _) =
                  Codecs.offer video [||] (Codecs.remember all PayloadTypes.None)

              Expect.equal (brief codecs) [ "111 VP8" ] "one type, one codec"

              let struct (codecs, _) =
                  Codecs.offer audio [||] (Codecs.remember all PayloadTypes.None)

              Expect.equal (names codecs) [ "opus"; "G722"; "PCMU"; "PCMA" ] "static types are not in need")

          testPropertyWithConfig
              Laws.config
              "any payload types taken: none means two things, and a second offer is the first"
          <| fun (types: byte[]) (isAudio: bool) ->
              let given =
                  types
                  |> Array.mapi (fun i pt ->
                      let c = video[i % video.Length]

                      { Codec = c.Codec
                        PayloadType = int pt % 128
                        Feedback = [||] })

              let taken = Codecs.remember given PayloadTypes.None
              let capabilities = if isAudio then audio else video
              let struct (codecs, after) = Codecs.offer capabilities [||] taken
              let struct (again, _) = Codecs.offer capabilities [||] after

              again = codecs
              && noTwo (Array.map _.PayloadType codecs)
              && Array.forall
                  (fun (c: RtpCodecParameters) ->
                      match taken.At c.PayloadType with
                      | ValueSome meaning -> Fmtp.matches meaning c.Codec
                      | ValueNone -> true)
                  codecs ]

let private answerTests =
    testList
        "answers"
        [ testCase
              "Chromium's offer is answered with all but video's RED and ULPFEC and audio's comfort noise"
              (fun () ->
                  let m = media "sdp/chromium-156/av-sendrecv.offer.sdp"
                  let offered = Codecs.ofMedia m[0]
                  let answered = answerOf m[0]

                  Expect.equal
                      (names answered)
                      [ "opus"; "red"; "G722"; "PCMU"; "PCMA"; "telephone-event"; "telephone-event" ]
                      "audio"

                  Expect.equal (List.item 1 (brief answered)) "63 red 111/111" "RED as offered"
                  Expect.equal answered[0].Feedback [| "transport-cc" |] "what both have"
                  let answered = answerOf m[1]
                  let unwanted = set [ "118"; "119"; "120" ]

                  Expect.equal
                      (Codecs.formats answered)
                      (m[1].Formats |> Array.filter (fun f -> not (unwanted.Contains f)))
                      "video, in the offer's order"

                  Expect.equal
                      answered[0].Feedback
                      [| "goog-remb"; "transport-cc"; "ccm fir"; "nack"; "nack pli" |]
                      "feedback"

                  Expect.isGreaterThan offered.Length 0 "read")

          testCase "Firefox's offer is answered with its payload types and our parameters" (fun () ->
              let m = media "sdp/firefox-esr-153/av-sendrecv.offer.sdp"

              Expect.equal
                  (brief (answerOf m[0]))
                  [ "109 opus minptime=10;useinbandfec=1"
                    "9 G722"
                    "0 PCMU"
                    "8 PCMA"
                    "101 telephone-event 0-15" ]
                  "audio"

              Expect.equal
                  (brief (answerOf m[1]))
                  [ "120 VP8"
                    "124 rtx apt=120"
                    "121 VP9 profile-id=0"
                    "125 rtx apt=121"
                    "99 AV1 level-idx=5;profile=0;tier=0"
                    "100 rtx apt=99" ]
                  "video")

          testCase
              "every fixture's sections are answered: in the offer's order, with its types, each RTX with its codec"
              (fun () ->
                  for path in fixtures do
                      for m in media path do
                          let answered = answerOf m
                          checkStanding path answered
                          Expect.isNonEmpty answered path

                          let at =
                              answered |> Array.map (fun c -> Array.IndexOf(m.Formats, string c.PayloadType))

                          Expect.equal at (Array.sort at) (path + ": in the offer's order")
                          let offered = Codecs.ofMedia m

                          for c in answered do
                              let o = offered |> Array.find (fun o -> o.PayloadType = c.PayloadType)
                              Expect.isTrue (Fmtp.matches c.Codec o.Codec) path
                              Expect.isEmpty (Array.except o.Feedback c.Feedback) (path + ": no feedback of our own")

                          Expect.equal (reread m.Kind answered) answered (path + ": printed and read"))

          testCase "preferences order the answer and leave out what is not among them" (fun () ->
              let m = media "sdp/chromium-156/av-sendrecv.offer.sdp"
              let capabilities = Capabilities.codecs MediaKind.Video Capabilities.defaults

              let named (name: string) =
                  capabilities |> Array.filter (fun c -> c.MimeType = "video/" + name)

              let answered preferences =
                  Codecs.answer video preferences (Codecs.ofMedia m[1])

              Expect.equal
                  (brief (answered (Array.concat [ named "VP9"; named "rtx"; named "VP8" ])))
                  [ "98 VP9 profile-id=0"
                    "99 rtx apt=98"
                    "100 VP9 profile-id=2"
                    "101 rtx apt=100"
                    "96 VP8"
                    "97 rtx apt=96" ]
                  "VP9 before VP8"

              Expect.equal (brief (answered (named "AV1"))) [ "45 AV1 level-idx=5;profile=0;tier=0" ] "without RTX"
              let struct (offered, _) = Codecs.offer video (named "AV1") PayloadTypes.None
              Expect.equal (brief offered) [ "45 AV1 level-idx=5;profile=0;tier=0" ] "in offers too"

              let struct (offered, _) =
                  Codecs.offer video (Array.append (named "VP8") (named "rtx")) PayloadTypes.None

              Expect.equal (brief offered) [ "96 VP8"; "97 rtx apt=96" ] "with RTX")

          testCase "the codec preferences of both browsers' offers are followed" (fun () ->
              let m = media "sdp/chromium-156/codec-prefs.offer-vp9-only.sdp"

              Expect.equal
                  (brief (answerOf m[0]))
                  [ "98 VP9 profile-id=0"
                    "99 rtx apt=98"
                    "100 VP9 profile-id=2"
                    "101 rtx apt=100" ]
                  "VP9 only"

              let m = media "sdp/chromium-156/codec-prefs.offer-pcmu.sdp"
              Expect.equal (brief (answerOf m[0])) [ "0 PCMU"; "126 telephone-event 0-15" ] "no DTMF of Opus' clock"
              let m = media "sdp/chromium-156/codec-prefs.offer-h264-first.sdp"
              Expect.equal (names (answerOf m[0])).Head "H264" "H.264 first")

          testCase "Janus' answer to Chromium's offer and ours have Opus, VP8 and its RTX in common" (fun () ->
              let m = media "sdp/peers/janus-echotest.answer-to-chromium-av-dc.sdp"
              let struct (ours, taken) = Codecs.offer audio [||] PayloadTypes.None
              let struct (send, receive) = Codecs.agreed ours (Codecs.ofMedia m[0])
              Expect.equal (brief send) [ "111 opus useinbandfec=1" ] "as Janus has it"
              Expect.equal (brief receive) [ "111 opus minptime=10;useinbandfec=1" ] "as we have it"
              let struct (ours, _) = Codecs.offer video [||] taken
              let struct (send, receive) = Codecs.agreed ours (Codecs.ofMedia m[1])
              Expect.equal (brief send) [ "96 VP8"; "97 rtx apt=96" ] "video"
              Expect.equal (brief receive) (brief send) "the same"
              Expect.equal send[0].Feedback [| "ccm fir"; "nack"; "nack pli"; "goog-remb"; "transport-cc" |] "feedback")

          testCase "an answer with other payload types is sent with its own and received with ours" (fun () ->
              let struct (ours, _) = Codecs.offer video [||] PayloadTypes.None

              let theirs =
                  section
                      "video"
                      [| "120"; "121"; "122"; "99" |]
                      [ "rtpmap:120 VP9/90000"
                        "rtpmap:121 rtx/90000"
                        "fmtp:121 apt=120"
                        "rtpmap:122 rtx/90000"
                        "fmtp:122 apt=99"
                        "rtpmap:99 unknown/90000" ]
                  |> Codecs.ofMedia

              let struct (send, receive) = Codecs.agreed ours theirs
              Expect.equal (brief send) [ "120 VP9"; "121 rtx apt=120" ] "theirs"
              Expect.equal (brief receive) [ "98 VP9 profile-id=0"; "99 rtx apt=98" ] "ours")

          testCase "RED that carries what is not agreed on goes, and the RTX that repairs it" (fun () ->
              let of' (carried: string) =
                  section
                      "audio"
                      [| "111"; "63"; "64" |]
                      [ "rtpmap:111 opus/48000/2"
                        "rtpmap:63 red/48000/2"
                        "fmtp:63 " + carried
                        "rtpmap:64 rtx/48000/2"
                        "fmtp:64 apt=63" ]
                  |> Codecs.ofMedia

              let struct (send, receive) = Codecs.agreed (of' "111/111") (of' "97/97")
              Expect.equal (brief send) [ "111 opus" ] "theirs carries 97"
              Expect.equal (names receive) [ "opus"; "red"; "rtx" ] "ours carries Opus")

          testCase "what an answer of ours says is what both sides then have, in every fixture" (fun () ->
              for path in fixtures do
                  for m in media path do
                      let offered = Codecs.ofMedia m
                      let answered = answerOf m
                      let struct (send, receive) = Codecs.agreed answered offered
                      Expect.equal receive answered (path + ": we receive what we answered")

                      Expect.equal
                          (Array.map _.PayloadType send)
                          (Array.map _.PayloadType answered)
                          (path + ": and send that")

                      let struct (theirSend, theirReceive) = Codecs.agreed offered answered
                      Expect.equal theirSend answered (path + ": the peer sends what we answered")
                      Expect.equal theirReceive send (path + ": and takes what we send"))

          testCase
              "every answer of a fixture, taken as the answer to our offer, has codecs in common with it"
              (fun () ->
                  for path in fixtures do
                      for m in media path do
                          let struct (ours, _) = Codecs.offer (defaultsOf (kindOf m)) [||] PayloadTypes.None
                          let struct (send, receive) = Codecs.agreed ours (Codecs.ofMedia m)

                          Expect.isTrue
                              (Array.exists (fun (c: RtpCodecParameters) -> Codecs.isPrimary c.Codec) send)
                              path

                          checkStanding path send
                          checkStanding path receive)

          testCase "RFC 8888's feedback is agreed on where both sides ask for it, of all codecs by one line" (fun () ->
              let m = media "sdp/sessions/cc-trials.offer.sdp"
              let withIt = Capabilities.withFeedback "ack ccfb" Capabilities.defaults

              let feedback capabilities =
                  (Array.head (Codecs.answer capabilities [||] (Codecs.ofMedia m[1]))).Feedback

              Expect.contains (feedback withIt.Video) "ack ccfb" "asked for"
              Expect.isFalse (Array.contains "ack ccfb" (feedback video)) "not by default")

          testCase "nothing in common is nothing: no RTX, DTMF, RED or FEC is left over" (fun () ->
              let offered =
                  section
                      "audio"
                      [| "97"; "98"; "101"; "63"; "0" |]
                      [ "rtpmap:97 speex/16000"
                        "rtpmap:98 rtx/16000"
                        "fmtp:98 apt=97"
                        "rtpmap:101 telephone-event/8000"
                        "rtpmap:63 red/48000/2"
                        "fmtp:63 97/97" ]

              let only =
                  (Capabilities.only [| "audio/opus"; "audio/red"; "audio/telephone-event" |] Capabilities.defaults)
                      .Audio

              Expect.isEmpty (Codecs.answer only [||] (Codecs.ofMedia offered)) "nothing"

              Expect.equal
                  (names (Codecs.answer audio [||] (Codecs.ofMedia offered)))
                  [ "telephone-event"; "PCMU" ]
                  "PCMU") ]

let private preferenceTests =
    testList
        "setCodecPreferences"
        [ testCase "takes what getCapabilities shows, in any order, each once" (fun () ->
              for kind in [ MediaKind.Audio; MediaKind.Video ] do
                  let all = Capabilities.codecs kind Capabilities.defaults |> Array.rev
                  let own = defaultsOf kind
                  Expect.equal (Codecs.checkPreferences own all) (Ok all) "all"
                  Expect.equal (Codecs.checkPreferences own (Array.append all all)) (Ok all) "twice"
                  Expect.equal (Codecs.checkPreferences own [||]) (Ok [||]) "none is the default order")

          testCase "refuses others, and repair without anything to repair, with InvalidModificationError" (fun () ->
              let refused preferences =
                  match Codecs.checkPreferences video preferences with
                  | Ok _ -> failtest "taken"
                  | Error mistake -> mistake

              for preferences in
                  [ [| opus "" |]
                    [| codec "video/VP8" 48000 ValueNone "" |]
                    [| h264 "profile-level-id=42e01f" |]
                    [| codec "video/rtx" 90000 ValueNone "apt=96" |]
                    [| codec "nonsense" 90000 ValueNone "" |]
                    Capabilities.codecs MediaKind.Video Capabilities.defaults
                    |> Array.filter (fun c -> not (Codecs.isPrimary c)) ] do
                  Expect.equal (refused preferences).Name ErrorName.InvalidModificationError "refused"

              Expect.stringContains (refused [| opus "" |]).Message "audio/opus" "says which"

              Expect.stringContains
                  (refused [| codec "video/rtx" 90000 ValueNone "" |]).Message
                  "RTX"
                  "says what is missing")

          testCase "getCapabilities shows each codec once, RTX once behind the first that has it" (fun () ->
              let shown = Capabilities.codecs MediaKind.Video Capabilities.defaults
              Expect.equal shown.Length (video.Length + 1) "RTX once"
              Expect.equal shown[1] (codec "video/rtx" 90000 ValueNone "") "behind VP8"

              Expect.equal
                  (Capabilities.only [| "VIDEO/vp8"; "audio/opus" |] Capabilities.defaults
                   |> fun c -> c.Video.Length, c.Audio.Length)
                  (1, 1)
                  "only these") ]

let tests =
    testList "Codecs" [ readingTests; offerTests; answerTests; preferenceTests ]
