/// What `a=fmtp` means: which codecs are one, and what an answer says.
module Hybrid.WebRtc.PropertyTests.FmtpTests

open Expecto
open FsCheck
open Hybrid.WebRtc.Core

let private codec mime clock channels fmtp : RtpCodec =
    { MimeType = mime
      ClockRate = clock
      Channels = channels
      Fmtp = fmtp }

let private h264 fmtp = codec "video/H264" 90000 ValueNone fmtp

let private opus fmtp =
    codec "audio/opus" 48000 (ValueSome 2) fmtp

let tests =
    testList
        "Fmtp"
        [ testCase "parameters are read whatever their case and spaces" (fun () ->
              Expect.equal
                  (Fmtp.parse " Profile-Level-Id=42E01F; packetization-mode = 1 ;; 0-15;x==y")
                  [| struct ("profile-level-id", "42E01F")
                     struct ("packetization-mode", "1")
                     struct ("0-15", "")
                     struct ("x", "=y") |]
                  "parameters"

              Expect.equal (Fmtp.tryGet "apt" "apt=96") (ValueSome "96") "found"
              Expect.equal (Fmtp.tryGet "apt" "") ValueNone "not there")

          testCase "H.264 profiles are one where RFC 6184's table 5 has them so, whatever their levels" (fun () ->
              let with' id =
                  h264 ("packetization-mode=1;profile-level-id=" + id)

              for a, b in
                  [ "42e01f", "42E01F"
                    "42e01f", "42c015"
                    "42e01f", "4d801f"
                    "42e01f", "58c00a"
                    "42001f", "58801f"
                    "4d001f", "4d4028"
                    "64001f", "640028" ] do
                  Expect.isTrue (Fmtp.matches (with' a) (with' b)) (a + " is " + b)

              for a, b in
                  [ "42e01f", "42001f"
                    // Reserved bits of profile-iop.
                    "42e01f", "42e41f"
                    "42e01f", "4d001f"
                    "42e01f", "64001f"
                    "64001f", "640c1f"
                    "4d001f", "58001f"
                    "42e01f", "42e0"
                    "42e01f", "42e0zz"
                    "64001f", "f4001f" ] do
                  Expect.isFalse (Fmtp.matches (with' a) (with' b)) (a + " is not " + b)
                  Expect.isFalse (Fmtp.matches (with' b) (with' a)) (b + " is not " + a)

              Expect.isTrue (Fmtp.matches (with' "42e01f") (h264 "packetization-mode=1")) "no profile is the usual one"
              Expect.isFalse (Fmtp.matches (with' "42e01f") (h264 "profile-level-id=42e01f")) "mode 0 is not mode 1"
              Expect.isTrue (Fmtp.matches (with' "f4001e") (with' "f4001f")) "High 4:4:4 is itself")

          testCase
              "an H.264 answer has its own level where both allow it, else the lower one, RFC 6184 §8.2.2"
              (fun () ->
                  let answer ours offered =
                      let of' (id, asymmetric: bool) =
                          h264 (
                              "packetization-mode=1;profile-level-id="
                              + id
                              + (if asymmetric then ";level-asymmetry-allowed=1" else "")
                          )

                      Fmtp.answer (of' ours) (of' offered)

                  Expect.equal
                      (answer ("42e01f", true) ("42c00d", true))
                      "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f"
                      "asymmetric"

                  for ours, offered, expected in
                      [ "42e01f", "42e00d", "42e00d"
                        "42e00d", "42e01f", "42e00d"
                        "42e01f", "42e01f", "42e01f"
                        // Level 1b of the Baseline profiles is 11 with constraint_set3_flag, below 1.1.
                        "42e01f", "42f00b", "42f00b"
                        "42e00a", "42f00b", "42e00a" ] do
                      Expect.equal
                          (answer (ours, false) (offered, true))
                          ("packetization-mode=1;profile-level-id=" + expected)
                          (ours + " to " + offered))

          testCase "VP9, AV1 and H.265 are told apart by their profiles, absent ones being the defaults" (fun () ->
              let is name a b =
                  Fmtp.matches (codec ("video/" + name) 90000 ValueNone a) (codec ("VIDEO/" + name) 90000 ValueNone b)

              Expect.isTrue (is "VP9" "profile-id=0" "max-fs=12288;max-fr=60") "VP9 without a profile is 0"
              Expect.isFalse (is "VP9" "profile-id=0" "profile-id=2") "VP9 0 is not 2"
              Expect.isTrue (is "AV1" "level-idx=5;profile=0;tier=0" "") "AV1 without a profile is 0"

              Expect.isTrue
                  (is "AV1" "level-idx=5;profile=0;tier=0" "level-idx=8;profile=0;tier=1")
                  "any AV1 level and tier"

              Expect.isFalse (is "AV1" "profile=0" "profile=1") "AV1 0 is not 1"
              let main = "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"
              Expect.isTrue (is "H265" main "") "H.265 defaults"
              Expect.isTrue (is "H265" main "level-id=93;tx-mode=srst") "any H.265 level"
              Expect.isFalse (is "H265" main "profile-id=2") "Main 10"
              Expect.isFalse (is "H265" main "tier-flag=1") "High tier"
              Expect.isFalse (is "H265" main "tx-mode=MRST") "several streams"

              Expect.equal
                  (Fmtp.answer
                      (codec "video/H265" 90000 ValueNone main)
                      (codec "video/H265" 90000 ValueNone "level-id=93"))
                  "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"
                  "the lower level")

          testCase "Opus matches whatever its parameters; clock and channels must be equal" (fun () ->
              let ours = opus "minptime=10;useinbandfec=1"
              Expect.isTrue (Fmtp.matches ours (opus "stereo=1")) "parameters"
              Expect.isTrue (Fmtp.matches ours { opus "" with MimeType = "AUDIO/OPUS" }) "case"
              Expect.isFalse (Fmtp.matches ours { opus "" with Channels = ValueNone }) "one channel"
              Expect.isFalse (Fmtp.matches ours { opus "" with ClockRate = 16000 }) "clock"

              Expect.isTrue
                  (Fmtp.matches (codec "audio/G722" 8000 (ValueSome 1) "") (codec "audio/G722" 8000 ValueNone ""))
                  "one channel and none named"

              Expect.isTrue (Fmtp.same ours (opus "useinbandfec=1; minptime=10")) "the same in another order"
              Expect.isFalse (Fmtp.same ours (opus "useinbandfec=1")) "not the same")

          testPropertyWithConfig Laws.config "any text is parsed, and matching does not mind the order of its sides"
          <| fun (a: string | null) (b: string | null) ->
              let text (s: string | null) =
                  match s with
                  | null -> ""
                  | s -> s

              [ "video/H264"; "video/H265"; "video/VP9"; "video/AV1"; "audio/opus" ]
              |> List.forall (fun mime ->
                  let a = codec mime 90000 ValueNone ("profile-level-id=" + text a)
                  let b = codec mime 90000 ValueNone (text b)
                  Fmtp.answer a b |> ignore
                  Fmtp.matches a b = Fmtp.matches b a && (mime = "video/H264" || Fmtp.matches a a)) ]
