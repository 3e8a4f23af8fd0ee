/// The facade's values: JSON as browsers write it, candidates, configuration, argument checks.
module Hybrid.WebRtc.PropertyTests.Interop.ValuesTests

open System
open System.Text.Json
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

/// The name of the RTCException that `action` throws, or "nothing".
let nameOf (action: unit -> unit) : string =
    try
        action ()
        "nothing"
    with
    | :? RTCException as e -> e.Name
    | :? AggregateException as e when (e.InnerException :? RTCException) ->
        (nonNull e.InnerException :?> RTCException).Name

let private json =
    testList
        "JSON"
        [ test "a description is written as a browser writes it, and read back" {
              let offer = RTCSessionDescription(RTCSdpType.Offer, "v=0\r\n")
              Expect.equal (offer.ToJson()) """{"type":"offer","sdp":"v=0\r\n"}""" "toJSON"
              Expect.equal (RTCSessionDescription.FromJson(offer.ToJson())) offer "read back"

              for kind in Enum.GetValues<RTCSdpType>() do
                  let description = RTCSessionDescription(kind)
                  Expect.equal (RTCSessionDescription.FromJson(description.ToJson())) description (string kind)
          }

          test "a rollback without SDP and members that nobody knows are read" {
              let read = RTCSessionDescription.FromJson """{"type":"rollback","foo":[1]}"""
              Expect.equal read (RTCSessionDescription(RTCSdpType.Rollback)) "rollback"
          }

          test "what is no description is refused" {
              for text in [ "null"; "{}"; "[]"; """{"type":"ofer","sdp":""}"""; """{"sdp":"v=0"}"""; "{" ] do
                  Expect.throwsT<JsonException> (fun () -> RTCSessionDescription.FromJson text |> ignore) text
          }

          test "a candidate is written as a browser writes it, and read back" {
              let text =
                  """{"candidate":"candidate:1 1 udp 2122194687 192.0.2.2 48917 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"CbGe"}"""

              Expect.equal (RTCIceCandidate.FromJson(text).ToJson()) text "RTCIceCandidate"
              Expect.equal (RTCIceCandidateInit.FromJson(text).ToJson()) text "RTCIceCandidateInit"

              Expect.equal
                  (RTCIceCandidateInit(SdpMid = "data").ToJson())
                  """{"candidate":"","sdpMid":"data","sdpMLineIndex":null,"usernameFragment":null}"""
                  "absent members are null, as toJSON has it"
          }

          test "a candidate of null is the empty one" {
              let text = """{"candidate":null,"sdpMid":"0"}"""
              Expect.equal (RTCIceCandidateInit.FromJson(text).Candidate) "" "RTCIceCandidateInit"
              let candidate = RTCIceCandidate.FromJson text
              Expect.equal candidate.Candidate "" "RTCIceCandidate"
              Expect.isFalse candidate.Priority.HasValue "says nothing"
          }

          test "a user's own types carry candidates without further ado" {
              let candidate =
                  RTCIceCandidate(
                      RTCIceCandidateInit(Candidate = "candidate:1 1 udp 1 a.local 9 typ host", SdpMid = "0")
                  )

              let read =
                  JsonSerializer.Deserialize<RTCIceCandidate>(JsonSerializer.Serialize candidate)
                  |> nonNull

              Expect.equal (read.ToJson()) (candidate.ToJson()) "through the reflecting serializer"
          }

          test "an ICE server's urls are a string or an array" {
              let one =
                  JsonSerializer.Deserialize<RTCIceServer> """{"urls":"stun:a"}""" |> nonNull

              let two =
                  JsonSerializer.Deserialize<RTCIceServer>
                      """{"urls":["turn:a","turn:b"],"username":"u","credential":"c"}"""
                  |> nonNull

              Expect.sequenceEqual one.Urls [ "stun:a" ] "string"
              Expect.sequenceEqual two.Urls [ "turn:a"; "turn:b" ] "array"
              Expect.equal two.Credential "c" "credential"
              Expect.equal (JsonSerializer.Serialize one) """{"urls":["stun:a"]}""" "written as an array"
          } ]

let private candidates =
    testList
        "candidates"
        [ for path in Fixtures.list "sdp" ".sdp" do
              test $"every candidate of {path} parses" {
                  for line in Fixtures.read(path).Split([| '\r'; '\n' |]) do
                      if line.StartsWith "a=candidate:" then
                          let candidate =
                              RTCIceCandidate(RTCIceCandidateInit(Candidate = line.Substring 2, SdpMid = "0"))

                          Expect.isTrue candidate.Type.HasValue line
                          let words = line.Split ' '
                          Expect.equal candidate.Address words[4] line
                          Expect.equal (string candidate.Port) words[5] line
                          Expect.equal (string candidate.Priority) words[3] line
              }

          test "every member of a relayed TCP candidate is told" {
              let c =
                  RTCIceCandidate(
                      RTCIceCandidateInit(
                          Candidate =
                              "candidate:842163049 2 TCP 1677729535 2001:db8::1 3478 typ relay raddr 192.0.2.7 rport 9 tcptype passive generation 0 ufrag abcd network-cost 999",
                          SdpMLineIndex = Nullable 3us
                      )
                  )

              Expect.equal c.Foundation "842163049" "foundation"
              Expect.equal c.Component (Nullable RTCIceComponent.Rtcp) "component"
              Expect.equal c.Protocol (Nullable RTCIceProtocol.Tcp) "protocol"
              Expect.equal c.Priority (Nullable 1677729535u) "priority"
              Expect.equal c.Address "2001:db8::1" "address"
              Expect.equal c.Port (Nullable 3478us) "port"
              Expect.equal c.Type (Nullable RTCIceCandidateType.Relay) "type"
              Expect.equal c.TcpType (Nullable RTCIceTcpCandidateType.Passive) "tcptype"
              Expect.equal c.RelatedAddress "192.0.2.7" "raddr"
              Expect.equal c.RelatedPort (Nullable 9us) "rport"
              Expect.equal c.UsernameFragment "abcd" "ufrag"
              Expect.equal c.SdpMLineIndex (Nullable 3us) "sdpMLineIndex"
          }

          testPropertyWithConfig
              Laws.config
              "a line of anything is kept, and never throws"
              (fun (text: string | null) ->
                  let text = text |> Option.ofObj |> Option.defaultValue ""
                  let candidate = RTCIceCandidate(RTCIceCandidateInit(Candidate = text, SdpMid = "0"))
                  candidate.Candidate = text)

          test "a shared port's options are checked" {
              Expect.throwsT<ArgumentOutOfRangeException>
                  (fun () -> WebRtcSharedPort.Open(0us, WebRtcOptions(MaxDatagramSize = 1)).Dispose())
                  "MaxDatagramSize"

              for profiles in
                  [ [||]
                    [| enum<WebRtcSrtpProfile> 3 |]
                    [| WebRtcSrtpProfile.AeadAes128Gcm; WebRtcSrtpProfile.AeadAes128Gcm |] ] do
                  Expect.throwsT<ArgumentException>
                      (fun () -> WebRtcSharedPort.Open(0us, WebRtcOptions(SrtpProfiles = profiles)).Dispose())
                      "SrtpProfiles"
          }

          test "a candidate of no media section is a TypeError" {
              Expect.equal
                  (nameOf (fun () -> RTCIceCandidate(RTCIceCandidateInit(Candidate = "candidate:")) |> ignore))
                  "TypeError"
                  "W3C 4.8.1"
          } ]

let private certificates =
    testList
        "certificates"
        [ testCaseTask "a certificate outlives its PEM, fingerprint and all" (fun () ->
              task {
                  let! made =
                      RTCPeerConnection.GenerateCertificateAsync(expires = TimeSpan.FromDays 2.0)

                  let read = RTCCertificate.FromPem(made.ToPem())
                  Expect.sequenceEqual (read.GetFingerprints()) (made.GetFingerprints()) "fingerprints"
                  Expect.equal read.Expires made.Expires "expires"
                  let days = (made.Expires - DateTimeOffset.UtcNow).TotalDays
                  Expect.isTrue (days > 1.9 && days < 2.1) "expires when it was told to"
                  let fingerprint = made.GetFingerprints()[0]
                  Expect.equal fingerprint.Algorithm "sha-256" "algorithm"
                  Expect.isMatch fingerprint.Value "^([0-9a-f]{2}:){31}[0-9a-f]{2}$" "as W3C writes it"
              })

          testCaseTask "a lifetime that is over before it begins is a TypeError" (fun () ->
              task {
                  let failed = RTCPeerConnection.GenerateCertificateAsync(expires = TimeSpan.Zero)
                  Expect.equal (nameOf (fun () -> failed.Wait())) "TypeError" "expires"
              }) ]

let tests = testList "Interop values" [ json; candidates; certificates ]
