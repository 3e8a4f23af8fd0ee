/// What real encoders put out, through packets and back, judged by a real decoder: ffmpeg.
module Hybrid.WebRtc.PropertyTests.Media.BitstreamTests

open System
open System.IO
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.MediaWorld

let private ffmpeg () =
    match Outside.program [ "/usr/bin/ffmpeg"; "ffmpeg" ], Outside.variable "HYBRID_NO_PEERS" with
    | ValueSome _, ValueSome "not while fuzzing" -> Error "not while fuzzing"
    | ValueSome path, _ -> Ok path
    | ValueNone, ValueSome reason -> Error $"no ffmpeg: {reason}"
    | ValueNone, ValueNone ->
        Error "no ffmpeg here; `dotnet fsi build.fsx test` installs it as root on Debian or Ubuntu"

/// An encoder of ffmpeg and the file it writes to.
[<NoComparison; NoEquality>]
type private Clip =
    {
        Encoder: string
        Switches: string list
        Mime: string
        Extension: string
        Input: string
        Read: Stream -> MediaReader
        Write: Stream -> MediaWriter
        /// Frames that come out of the file; audio has no fixed number.
        Frames: int voption
    }

/// 320 × 180, and busy enough for frames of many packets.
let private video =
    [ "-f"
      "lavfi"
      "-i"
      "testsrc2=size=320x180:rate=30:duration=2,noise=alls=20:allf=t" ]

let private audio =
    [ "-f"; "lavfi"; "-i"; "anoisesrc=duration=2:amplitude=0.3:sample_rate=48000" ]

let private ivf encoder switches mime =
    { Encoder = encoder
      Switches = switches @ [ "-b:v"; "1500k"; "-g"; "20" ]
      Mime = mime
      Extension = "ivf"
      Input = ""
      Read = fun stream -> new IvfReader(stream)
      Write = fun stream -> new IvfWriter(stream, IvfHeader.For(PayloadFormats.For mime))
      Frames = ValueSome 60 }

let private annexB encoder switches mime extension =
    { Encoder = encoder
      Switches = switches @ [ "-b:v"; "1500k"; "-g"; "20"; "-pix_fmt"; "yuv420p" ]
      Mime = mime
      Extension = extension
      Input = "-framerate 30"
      Read = fun stream -> new AnnexBReader(stream, mime)
      Write = fun stream -> new AnnexBWriter(stream)
      Frames = ValueSome 60 }

let private clips =
    [ ivf "libvpx" [ "-deadline"; "realtime"; "-cpu-used"; "8"; "-error-resilient"; "1" ] "video/VP8"
      ivf "libvpx-vp9" [ "-deadline"; "realtime"; "-cpu-used"; "8"; "-lag-in-frames"; "0" ] "video/VP9"
      ivf "libaom-av1" [ "-usage"; "realtime"; "-cpu-used"; "8" ] "video/AV1"
      ivf "libsvtav1" [ "-preset"; "12"; "-svtav1-params"; "pred-struct=1" ] "video/AV1"
      annexB
          "libx264"
          [ "-preset"; "ultrafast"; "-tune"; "zerolatency"; "-x264-params"; "slices=4" ]
          "video/H264"
          "h264"
      annexB "libx264" [ "-preset"; "fast"; "-bf"; "2"; "-x264-params"; "aud=1" ] "video/H264" "h264"
      annexB
          "libx265"
          [ "-preset"
            "ultrafast"
            "-x265-params"
            "log-level=none:repeat-headers=1:slices=2" ]
          "video/H265"
          "hevc"
      { Encoder = "libopus"
        Switches = [ "-b:a"; "64k" ]
        Mime = "audio/opus"
        Extension = "ogg"
        Input = ""
        Read = fun stream -> new OggOpusReader(stream)
        Write = fun stream -> new OggOpusWriter(stream, OpusHeader(Channels = 1uy))
        Frames = ValueNone } ]

let private run folder program arguments =
    Outside.execute 120.0 folder program ([ "-hide_banner"; "-nostdin"; "-y" ] @ arguments)

let private succeed folder program arguments =
    task {
        let! struct (code, output) = run folder program arguments
        Expect.equal code 0 output
        return output
    }

/// How many frames ffmpeg decodes, and that it complains of none.
let private decoded folder program (clip: Clip) (file: string) =
    task {
        let input =
            clip.Input.Split(' ', StringSplitOptions.RemoveEmptyEntries) |> List.ofArray

        let! complaints =
            succeed folder program ([ "-v"; "error"; "-xerror" ] @ input @ [ "-i"; file; "-f"; "null"; "-" ])

        Expect.equal (complaints.Trim()) "" $"what the decoder says of {file}"

        let! output =
            succeed
                folder
                program
                ([ "-v"; "error" ]
                 @ input
                 @ [ "-i"; file; "-f"; "framemd5"; "-fps_mode"; "passthrough"; "-" ])

        // Stream, dts, pts, duration, size, hash: the hashes of what was decoded.
        return
            [| for line in output.Split '\n' do
                   let found = Regex.Match(line, @"^\d+,.*,\s*([0-9a-f]{32})\s*$")

                   if found.Success then
                       found.Groups[1].Value |]
    }

let private readAll (clip: Clip) (path: string) =
    use reader = clip.Read(File.OpenRead path)

    [| let mutable more = true

       while more do
           match reader.Read() with
           | null -> more <- false
           | frame -> frame |]

let private temporary (body: string -> Task) : Task =
    task {
        let folder = Directory.CreateTempSubdirectory("hybrid-clip-").FullName

        try
            do! body folder
        finally
            Directory.Delete(folder, true)
    }

/// Makes a clip; skips where this ffmpeg has no such encoder.
let private encode folder program (clip: Clip) =
    task {
        let! encoders = succeed folder program [ "-encoders" ]

        if not (Regex.IsMatch(encoders, $@"^\s*\S+\s+{Regex.Escape clip.Encoder}\s", RegexOptions.Multiline)) then
            skiptest $"this ffmpeg has no {clip.Encoder}"

        let file = $"in.{clip.Extension}"
        let isAudio = clip.Mime.StartsWith "audio/"
        let codec = if isAudio then "-c:a" else "-c:v"

        let! _ =
            succeed
                folder
                program
                ([ "-v"; "error" ]
                 @ (if isAudio then audio else video)
                 @ [ codec; clip.Encoder ]
                 @ clip.Switches
                 @ [ file ])

        return file
    }

let private formatOf (clip: Clip) =
    PayloadFormats.For(clip.Mime, "packetization-mode=1", PayloadFormatOptions(RepeatParameterSets = false))

let private whole (clip: Clip) =
    let name = String.Join(" ", clip.Encoder :: clip.Switches[..1])

    Outside.needing
        ffmpeg
        $"{name}: packets in any order become the same frames, and decode without an error"
        (fun program ->
            temporary (fun folder ->
                task {
                    let! file = encode folder program clip
                    let original = readAll clip (Path.Combine(folder, file))
                    let! expected = decoded folder program clip file

                    match clip.Frames with
                    | ValueSome count ->
                        Expect.equal original.Length count "frames read"
                        Expect.equal expected.Length count "frames decoded"
                        Expect.isTrue original[0].IsKeyFrame "a key frame comes first"
                        Expect.equal (original[0].Width, original[0].Height) (320, 180) "its size"
                    | ValueNone -> Expect.isGreaterThan original.Length 90 "frames read"

                    let format = formatOf clip
                    let sent = packets format 1200 original
                    Expect.isGreaterThanOrEqual sent.Length original.Length "packets"
                    let dice = Dice 42
                    let shuffled = Array.append sent[..0] (dice.Shuffled(10, sent[1..]))

                    let got =
                        rebuilt
                            (SampleBuilder(format, SampleBuilderOptions(MaxLate = TimeSpan.FromHours 1.0)))
                            shuffled

                    Expect.equal (got |> Array.map octets) (original |> Array.map octets) "the same frames"

                    Expect.equal
                        (got |> Array.map _.Timestamp)
                        (original |> Array.map _.Timestamp)
                        "at the same times"

                    let out = $"out.{clip.Extension}"

                    do
                        use writer = clip.Write(File.Create(Path.Combine(folder, out)))

                        for frame in got do
                            writer.Write frame

                    let! again = decoded folder program clip out

                    // The last page of audio says how much of the last packet is silence, which packets cannot.
                    let compared =
                        if clip.Frames.IsSome then
                            expected.Length
                        else
                            expected.Length - 2

                    Expect.isGreaterThanOrEqual again.Length compared "frames decoded"

                    for i in 0 .. compared - 1 do
                        Expect.equal again[i] expected[i] $"frame {i}, decoded"

                    if clip.Frames.IsSome then
                        Expect.equal again.Length expected.Length "frames decoded"
                }))

let private maimed (clip: Clip) =
    let name = String.Join(" ", clip.Encoder :: clip.Switches[..1])

    Outside.needing ffmpeg $"{name}: with losses no frame is delivered that is not whole" (fun program ->
        temporary (fun folder ->
            task {
                let! file = encode folder program clip
                let original = readAll clip (Path.Combine(folder, file))
                let format = formatOf clip
                let wanted = dict [ for frame in original -> frame.Timestamp, octets frame ]

                for seed in 1..20 do
                    let dice = Dice seed

                    let survivors =
                        packets format 1200 original
                        |> Array.filter (fun _ -> dice.Below 20 > 0)
                        |> fun all -> dice.Shuffled(3, all)

                    let got = rebuilt (SampleBuilder format) survivors
                    Expect.isGreaterThan got.Length 10 "some are whole"

                    for frame in got do
                        Expect.equal (octets frame) wanted[frame.Timestamp] "as the encoder put it out"
            }))

let tests =
    testList "RealPeers: bitstreams" [ yield! List.map whole clips; yield! List.map maimed clips ]
