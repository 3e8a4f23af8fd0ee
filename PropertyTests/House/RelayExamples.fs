/// The examples that pass media on: over HTTP signalling (WHIP, WHEP), as plain RTP, in layers, and in rooms.
module Hybrid.WebRtc.PropertyTests.House.RelayExamples

open System
open System.Diagnostics
open System.IO
open System.Net.Http
open System.Net.Http.Headers
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers

/// What `?picture=…` asks a page to send. What is forwarded arrives without Chromium's color-space extension, and is decoded a
/// little off: hence the tolerance.
let private red = "c82828", [| 200; 40; 40 |]
let private green = "28a03c", [| 40; 160; 60 |]
let private blue = "3246c8", [| 50; 70; 200 |]
let private tolerance = 45

let private sees page (_, colour) = ExamplePages.sees page colour tolerance

/// Waits until a function of the page answers true.
let private until (page: Page) (script: string) (argument: obj | null) : Task =
    task {
        let! _ = page.Call($"(x) => until(() => ({script})(x))", argument)
        ()
    }

/// Waits for so many more frames than have been decoded.
let private goesOn (page: Page) : Task =
    task {
        let! now = page.Call("() => decoded(pc, 'video', 1)", null)
        do! ExamplePages.plays page (now.GetProperty("framesDecoded").GetInt32() + 15)
    }

let private ffmpeg () =
    match Peers.ffmpeg () with
    | Ok path -> path
    | Error reason -> skiptest reason

let private whep () =
    match Examples.built "Examples/Whep" () with
    | Ok program -> program
    | Error reason -> skiptest reason

/// Even, as RTP's are, and no other test run's.
let private port = 10_000 + 4 * (Environment.ProcessId % 5_000)

let private framesIn (path: string) : int =
    use reader = new IvfReader(File.OpenRead path)

    let rec count n =
        match reader.Read() with
        | null -> n
        | _ -> count (n + 1)

    count 0

/// ffmpeg, for as long as the object lives.
type private Encoder(arguments: string) =
    let started =
        new Process(
            StartInfo =
                ProcessStartInfo(
                    ffmpeg (),
                    "-hide_banner -loglevel error -nostdin -re -f lavfi " + arguments,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true
                )
        )

    do started.Start() |> ignore

    interface IDisposable with
        member _.Dispose() =
            if not started.HasExited then
                started.Kill()

            started.Dispose()

/// A picture of one colour, as plain RTP.
let private paint (colour: string) (port: int) =
    new Encoder(
        $"-i color=c=0x{colour}:s=320x240:r=25 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -g 25 -f rtp rtp://127.0.0.1:{port}?pkt_size=1200"
    )

/// What WHIP has servers answer, RFC 9725 §4.
let private rules (example: ExamplePages.Running) : Task =
    task {
        use http = new HttpClient()
        let fragment = "application/trickle-ice-sdpfrag"

        let send (verb: string) (url: string) (kind: string) (body: string) (tag: string) =
            let request = new HttpRequestMessage(HttpMethod verb, Uri(Uri example.Address, url))
            request.Headers.Authorization <- AuthenticationHeaderValue("Bearer", "secret")

            if tag <> "" then
                request.Headers.TryAddWithoutValidation("If-Match", tag) |> ignore

            if kind <> "" then
                request.Content <- new StringContent(body, MediaTypeHeaderValue kind)

            http.SendAsync request

        let answers (expected: int) (what: string) (sent: Task<HttpResponseMessage>) : Task<HttpResponseMessage> =
            task {
                let! response = sent
                let! said = response.Content.ReadAsStringAsync()
                Expect.equal (int response.StatusCode) expected $"{what}: {said}"
                return response
            }

        let endpoint = "/whip/rules"
        let! options = send "OPTIONS" endpoint "" "" "" |> answers 200 "OPTIONS"
        Expect.equal (Seq.toList (options.Headers.GetValues "Accept-Post")) [ "application/sdp" ] "Accept-Post"
        let! _ = send "GET" endpoint "" "" "" |> answers 204 "GET"
        let! _ = send "PUT" endpoint "" "" "" |> answers 405 "another method"
        let! _ = send "POST" endpoint "text/plain" "v=0" "" |> answers 415 "another type"

        let! refused =
            send "POST" endpoint "application/sdp" "no SDP" "" |> answers 400 "no SDP"

        Expect.equal
            (string refused.Content.Headers.ContentType)
            "application/problem+json"
            "what was wrong, by RFC 9457"

        let! bare =
            http.PostAsync(Uri(Uri example.Address, endpoint), new StringContent "")
            |> answers 401 "no token"

        Expect.equal (string bare.Headers.WwwAuthenticate) "Bearer" "which scheme"

        let publisher =
            new RTCPeerConnection(RTCConfiguration(BundlePolicy = RTCBundlePolicy.MaxBundle))

        publisher.AddTransceiver(
            MediaKind.Video,
            RTCRtpTransceiverInit(Direction = RTCRtpTransceiverDirection.SendOnly)
        )
        |> ignore

        let! offer = publisher.CreateOfferAsync()

        let! created =
            send "POST" endpoint "application/sdp" offer.Sdp "" |> answers 201 "an offer"

        Expect.stringContains (string created.Headers.Location) (endpoint + "/") "the session's URL"

        Expect.equal
            (Seq.toList (created.Headers.GetValues "Link"))
            [ "<stun:stun.example.org>; rel=\"ice-server\"" ]
            "the ICE server"

        let! answer = created.Content.ReadAsStringAsync()
        Expect.stringContains answer "a=recvonly" "a server of WHIP receives"
        Expect.stringContains answer "a=candidate:" "its candidates, all at once"
        let session, tag = string created.Headers.Location, string created.Headers.ETag

        let credentials =
            Regex.Matches(offer.Sdp, @"a=ice-(ufrag|pwd):\S+")
            |> Seq.map _.Value
            |> Seq.distinct
            |> String.concat "\r\n"

        let candidate =
            credentials
            + "\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\n"

        let! _ =
            send "POST" endpoint "application/sdp" offer.Sdp ""
            |> answers 409 "a second publisher"

        let! _ =
            send "PATCH" session "text/plain" candidate tag
            |> answers 415 "a fragment of another type"

        let! _ = send "PATCH" session fragment "no fragment" tag |> answers 400 "no fragment"
        let! _ = send "PATCH" session fragment candidate "" |> answers 428 "no If-Match"

        let! _ =
            send "PATCH" session fragment candidate "\"another\""
            |> answers 412 "another ICE session's"

        let! _ = send "PATCH" session fragment candidate tag |> answers 204 "a candidate"
        let restart = "a=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
        let! _ = send "PATCH" session fragment restart tag |> answers 412 "a restart wants *"
        let! restarted = send "PATCH" session fragment restart "*" |> answers 200 "a restart"
        Expect.notEqual (string restarted.Headers.ETag) tag "another ICE session"
        let! theirs = restarted.Content.ReadAsStringAsync()
        Expect.isTrue (Regex.IsMatch(theirs, @"a=ice-ufrag:\S+\r\na=ice-pwd:\S+")) theirs

        let! _ =
            send "PATCH" session fragment candidate tag
            |> answers 412 "the former ICE session's"

        let! _ = send "DELETE" session "" "" "" |> answers 200 "DELETE"
        let! _ = send "DELETE" session "" "" "" |> answers 404 "it has ended"
        publisher.Close()
    }

let tests =
    ExamplePages.list
        "the examples that pass media on"
        [ "Examples/Whip",
          "Whip: a page publishes, another watches, and both restart ICE",
          [ "server" ],
          fun example ->
              task {
                  let! publisher = example.Open $"/?picture={fst red}"
                  do! ExamplePages.press publisher "Publish a test picture"
                  let! _ = Examples.await example.Program "video/VP8"
                  let! watcher = example.Open()
                  do! ExamplePages.press watcher "Watch"
                  do! sees watcher red
                  do! ExamplePages.sounds watcher
                  do! ExamplePages.press publisher "Restart ICE"
                  do! ExamplePages.press watcher "Restart ICE"

                  for page in [ publisher; watcher ] do
                      do! until page "() => document.querySelector('#log').textContent.includes('restarted')" null

                  do! goesOn watcher
                  let! second = example.Open()
                  do! ExamplePages.press second "Publish a test picture"
                  do! until second "() => document.querySelector('#status').textContent.includes('already')" null
                  do! ExamplePages.press publisher "Leave"
                  let! _ = Examples.await example.Program "is free"

                  for page in [ publisher; watcher; second ] do
                      do! page.Close()
              }

          "Examples/Whip",
          "Whip: the server answers as RFC 9725 has it",
          [ "server"; "--token"; "secret"; "--ice-server"; "stun:stun.example.org" ],
          rules

          "Examples/Whip",
          "Whip: our client publishes, our client of WHEP watches and saves, and so does a page",
          [ "server"; "--token"; "secret" ],
          fun example ->
              task {
                  let whip = Result.defaultValue "" (Examples.built "Examples/Whip" ())

                  let! struct (code, output) =
                      Examples.run 120.0 whip [ "client"; example.Address + "/whip/clip" ]

                  Expect.equal code 1 "without the token"
                  Expect.stringContains output "401" "what the server said"

                  use client =
                      Examples.converse
                          whip
                          [ "client"
                            example.Address + "/whip/clip"
                            "--token"
                            "secret"
                            "--restart-ice"
                            "5" ]

                  let! _ = Examples.await client "Publishing"
                  let! page = example.Open "/?channel=clip&token=secret"
                  do! ExamplePages.press page "Watch"

                  let! struct (code, output) =
                      Examples.run
                          120.0
                          (whep ())
                          [ "client"
                            example.Address + "/whep/clip"
                            "--token"
                            "secret"
                            "--save"
                            example.Folder
                            "--seconds"
                            "6" ]

                  Expect.equal code 0 output
                  Expect.isGreaterThan (framesIn (Path.Combine(example.Folder, "video.ivf"))) 30 output
                  Expect.isGreaterThan (FileInfo(Path.Combine(example.Folder, "audio.ogg")).Length) 5_000L output
                  let! _ = Examples.await client "ICE was restarted"
                  do! goesOn page
                  do! ExamplePages.sounds page
                  do! page.Close()
              }

          "Examples/Whep",
          "Whep: the server's clip plays on its page, through an ICE restart",
          [ "server" ],
          fun example ->
              task {
                  let! page = example.Open()
                  do! ExamplePages.plays page 20
                  do! ExamplePages.sounds page
                  do! ExamplePages.press page "Restart ICE"
                  do! until page "() => document.querySelector('#log').textContent.includes('restarted')" null
                  do! goesOn page
                  do! ExamplePages.press page "Leave"
                  let! _ = Examples.await example.Program "0 watch"
                  do! page.Close()
              }

          "Examples/RtpForwarder",
          "RtpForwarder: ffmpeg decodes the browser's picture and sound from plain RTP",
          [ "--video-port"
            $"{port}"
            "--audio-port"
            $"{port + 2}"
            "--sdp"
            "{folder}/forward.sdp" ],
          fun example ->
              task {
                  let program = ffmpeg ()
                  let! page = example.Open $"/?picture={fst red}"
                  do! ExamplePages.press page "Send the camera"
                  do! until page "() => document.querySelector('#status').textContent === 'Forwarding.'" null

                  let folder = example.Folder

                  let picture, sound =
                      Path.Combine(folder, "picture.rgb"), Path.Combine(folder, "sound.wav")

                  let! struct (code, output) =
                      Outside.execute
                          120.0
                          folder
                          program
                          (List.ofArray (
                              $"-hide_banner -loglevel error -nostdin -protocol_whitelist file,udp,rtp -i forward.sdp -map 0:v -frames:v 20 -vf scale=2:2 -pix_fmt rgb24 -f rawvideo {picture} -map 0:a -t 1 {sound}"
                                  .Split
                                  ' '
                          ))

                  Expect.equal code 0 output
                  let pixels = File.ReadAllBytes picture
                  Expect.equal pixels.Length (20 * 4 * 3) output

                  for i in 0..2 do
                      let seen = int pixels[pixels.Length - 3 + i]
                      Expect.isLessThan (abs (seen - (snd red)[i])) tolerance $"{pixels[pixels.Length - 3 ..]}"

                  Expect.isGreaterThan (FileInfo(sound).Length) 90_000L "a second of sound"
                  do! page.Close()
              }

          "Examples/RtpToWebRtc",
          "RtpToWebRtc: what ffmpeg sends shows on the page, and goes on when another ffmpeg takes over",
          [ "--video-port"; "0"; "--audio-port"; "0" ],
          fun example ->
              task {
                  let! page = example.Open()
                  do! until page "() => document.querySelectorAll('#log li').length === 2" null
                  let! shown = page.Call "() => document.querySelector('#log').textContent"

                  let ports =
                      [ for m in Regex.Matches(string (shown.GetString()), @"rtp://127\.0\.0\.1:(\d+)") ->
                            int m.Groups[1].Value ]

                  let video, audio = ports[0], ports[1]
                  use _ = new Encoder($"-i sine -c:a libopus -f rtp rtp://127.0.0.1:{audio}")

                  for colour, seen in [ green; blue ] do
                      use _ = paint colour video
                      do! ExamplePages.sees page seen 24

                  do! ExamplePages.sounds page
                  do! page.Close()
              }

          "Examples/Simulcast",
          "Simulcast: the size that comes back is the one that was chosen",
          [],
          fun example ->
              task {
                  let! page = example.Open $"/?picture={fst blue}"
                  do! ExamplePages.press page "Send the camera"

                  let width (pixels: int) =
                      until page "(w) => [...document.querySelectorAll('video')].at(-1).videoWidth === w" pixels

                  do! width 160
                  do! sees page blue

                  // The largest comes only where the browser thinks that the network carries it.
                  for size, pixels in [ "Middle", 320; "Small", 160; "Middle", 320 ] do
                      do! ExamplePages.press page size
                      do! width pixels
                      do! goesOn page

                  do! page.Close()
              }

          "Examples/Sfu",
          "Sfu: three pages in a room see and hear each other, and one leaves",
          [],
          fun example ->
              task {
                  let enter (name: string) (colour, _) =
                      task {
                          let! page = example.Open $"/?room=test&name={name}&picture={colour}"
                          do! ExamplePages.press page "Enter"
                          return page
                      }

                  let tiles (page: Page) (names: string list) =
                      until
                          page
                          "(names) => [...document.querySelectorAll('figcaption')].map((c) => c.textContent).sort().join() === names"
                          (String.Join(",", List.sort names))

                  let! ann = enter "Ann" red
                  let! ben = enter "Ben" green
                  let! cem = enter "Cem" blue

                  do! tiles ann [ "Ann (you)"; "Ben"; "Cem" ]
                  do! tiles cem [ "Ann"; "Ben"; "Cem (you)" ]

                  for page, others in [ ann, [ green; blue ]; ben, [ red; blue ]; cem, [ red; green ] ] do
                      for other in others do
                          do! sees page other

                      do! ExamplePages.sounds page

                  do! ExamplePages.press ben "Microphone off"
                  do! until ann "() => document.querySelector('.muted figcaption')?.textContent === 'Ben'" null
                  do! ExamplePages.press ben "Leave"
                  do! tiles ann [ "Ann (you)"; "Cem" ]
                  do! tiles cem [ "Ann"; "Cem (you)" ]

                  // Whoever comes takes the sections of who has left.
                  do! ExamplePages.press ben "Enter"
                  do! tiles ann [ "Ann (you)"; "Ben"; "Cem" ]

                  for page, other in [ ann, green; cem, green; ben, red; ben, blue ] do
                      do! sees page other

                  for page in [ ann; ben; cem ] do
                      do! page.Close()
              } ]
