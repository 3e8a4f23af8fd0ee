/// Media files: what is written is read again, and bad files are told from good ones.
module Hybrid.WebRtc.PropertyTests.Media.FilesTests

open System
open System.IO
open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.MediaWorld

let private seeds =
    Arb.fromGenShrink (Gen.choose (0, 1_000_000), (fun n -> if n > 0 then Seq.singleton (n / 2) else Seq.empty))

let private property name check =
    testPropertyWithConfig Laws.config name (Prop.forAll seeds check)

/// Gives a few octets at a time and cannot seek, as a pipe.
type private Trickle(octets: byte[], most: int) =
    inherit MemoryStream(octets, false)
    override _.CanSeek = false

    override _.Read(buffer: byte[], offset: int, count: int) =
        base.Read(buffer, offset, min most count)

    override _.ReadAsync(buffer: Memory<byte>, token: CancellationToken) =
        base.ReadAsync(buffer.Slice(0, min most buffer.Length), token)

let private written (open': Stream -> MediaWriter) (frames: EncodedFrame seq) : byte[] =
    let stream = new MemoryStream()

    do
        use writer = open' stream

        for frame in frames do
            writer.Write frame

    stream.ToArray()

let private writtenAsync (open': Stream -> MediaWriter) (frames: EncodedFrame seq) : byte[] =
    let stream = new MemoryStream()

    let work: Task =
        task {
            let writer = open' stream

            for frame in frames do
                do! writer.WriteAsync frame

            do! writer.DisposeAsync()
        }

    work.Wait()
    stream.ToArray()

let private read (reader: MediaReader) : EncodedFrame[] =
    [| let mutable more = true

       while more do
           match reader.Read() with
           | null -> more <- false
           | frame -> frame |]

let private readAsync (reader: MediaReader) : EncodedFrame[] =
    let all = ResizeArray()

    let work: Task =
        task {
            let mutable more = true

            while more do
                match! reader.ReadAsync() with
                | null -> more <- false
                | frame -> all.Add frame
        }

    work.Wait()
    all.ToArray()

let private kind mime =
    kinds |> List.find (fun kind -> kind.Mime = mime)

/// A file format with something to write.
[<NoComparison; NoEquality>]
type private File =
    {
        Name: string
        Kind: Kind
        Write: Stream -> MediaWriter
        Read: Stream -> MediaReader
        /// Whether it keeps times.
        Timed: bool
    }

let private files =
    [ for mime in [ "video/VP8"; "video/VP9"; "video/AV1" ] do
          { Name = "IVF with " + mime
            Kind = kind mime
            Write = fun stream -> new IvfWriter(stream, IvfHeader.For(PayloadFormats.For mime))
            Read = fun stream -> new IvfReader(stream)
            Timed = true }

      for mime in [ "video/H264"; "video/H265"; "video/H266" ] do
          { Name = "Annex B with " + mime
            Kind = kind mime
            Write = fun stream -> new AnnexBWriter(stream)
            Read = fun stream -> new AnnexBReader(stream, mime)
            Timed = false }

      { Name = "Ogg"
        Kind = kind "audio/opus"
        Write = fun stream -> new OggOpusWriter(stream, serial = Nullable 7u)
        Read = fun stream -> new OggOpusReader(stream)
        Timed = true } ]

/// Frames of the file's kind; a picture is one slice, for the reader of Annex B parts them by where slices begin.
let private framesOf (file: File) (dice: Dice) count =
    frames file.Kind dice 2000 count
    |> Array.mapi (fun i frame ->
        if file.Kind.Mime = "audio/opus" then
            EncodedFrame(Data = frame.Data, Timestamp = uint32 (960 * i))
        elif file.Name.StartsWith "Annex" then
            let isKey = i % 10 = 0

            let slice =
                match file.Kind.Mime with
                | "video/H264" -> [| (if isKey then 0x65uy else 0x41uy); 0x88uy |]
                | "video/H265" -> [| (if isKey then 38uy else 2uy); 1uy; 0x88uy |]
                | _ -> [| 0uy; (if isKey then 57uy else 1uy); 0x88uy |]

            let sets: byte[] list =
                match file.Kind.Mime with
                | _ when not isKey -> []
                | "video/H264" -> [ [| 0x67uy; 9uy |]; [| 0x68uy; 9uy |] ]
                | "video/H265" -> [ [| 64uy; 1uy; 9uy |]; [| 66uy; 1uy; 9uy |] ]
                | _ -> [ [| 0uy; 0x71uy; 9uy |]; [| 0uy; 0x79uy; 9uy |] ]

            // A second slice goes on with the picture.
            let second = Array.append slice[.. slice.Length - 2] [| 0x44uy |]

            let body () =
                dice.Bytes(1 + dice.Below 2000) |> Array.map (fun octet -> max octet 4uy)

            let units =
                [ yield! sets
                  Array.append slice (body ())
                  if dice.Below 2 = 0 then
                      Array.append second (body ()) ]

            EncodedFrame(
                Data = ReadOnlyMemory(Array.concat [ for unit in units -> Array.append [| 0uy; 0uy; 0uy; 1uy |] unit ]),
                Timestamp = frame.Timestamp
            )
        else
            frame)

let private roundTrip (file: File) =
    property
        $"{file.Name}: what is written is read again, by either way of reading, however it trickles in"
        (fun seed ->
            let dice = Dice seed
            let sent = framesOf file dice (1 + dice.Below 30)
            let content = written file.Write sent
            Expect.equal (writtenAsync file.Write sent) content "written asynchronously, it is the same"
            use whole = file.Read(new MemoryStream(content))
            use trickled = file.Read(new Trickle(content, 1 + dice.Below 100))
            let got = read whole
            Expect.equal (got |> Array.map octets) (sent |> Array.map octets) "the frames"
            Expect.equal (readAsync trickled |> Array.map octets) (sent |> Array.map octets) "the frames, trickled"

            if file.Timed then
                Expect.equal
                    (got |> Array.map _.Timestamp)
                    (sent |> Array.map (fun frame -> frame.Timestamp - sent[0].Timestamp))
                    "times")

let private bad (file: File) =
    let content = lazy (written file.Write (framesOf file (Dice 3) 4))

    /// Reads all of it, or finds out why that cannot be.
    let survey (octets: byte[]) =
        try
            use reader = file.Read(new MemoryStream(octets))
            let before = GC.GetAllocatedBytesForCurrentThread()
            read reader |> ignore
            let spent = GC.GetAllocatedBytesForCurrentThread() - before
            Expect.isLessThan spent (400_000L + 200L * int64 octets.Length) "memory is bounded by what there is"
            None
        with :? InvalidDataException as e ->
            Some e.Message

    [ Laws.anyBytes $"{file.Name}: any bytes are read or refused" (fun octets ->
          survey octets |> ignore
          true)

      testCase $"{file.Name}: files with faults are read or refused, with the offset" (fun () ->
          let dice = Dice 11
          let content = content.Value

          for _ in 1..400 do
              let copy = Array.copy content

              for _ in 0 .. dice.Below 3 do
                  copy[dice.Below copy.Length] <- byte (dice.Below 256)

              for octets in [ copy; copy[.. dice.Below copy.Length] ] do
                  match survey octets with
                  | Some message -> Expect.stringContains message "At octet " "the message"
                  | None -> ()) ]

let private ivf =
    [ testCase "IVF: count and size are mended at the end where the stream can seek" (fun () ->
          let sent = frames (kind "video/VP8") (Dice 1) 100 7

          let content =
              written (fun s -> new IvfWriter(s, IvfHeader("VP80", Rate = 30u))) sent

          use reader = new IvfReader(new MemoryStream(content))
          let header = reader.ReadHeader()
          Expect.equal header (IvfHeader("VP80", 320, 240, 30u, 1u, 7u)) "the header"
          // In thirtieths of a second.
          Expect.equal content[32 + 12 + sent[0].Data.Length + 4] 1uy "the second frame's time"

          let durations =
              read reader |> Array.map (fun f -> Math.Round(f.Duration.TotalMilliseconds, 1))

          Expect.equal durations (Array.create 7 33.3) "durations")

      testCase "IVF: what is wrong is told" (fun () ->
          for octets, word in
              [ "RIFF"B, "32 octets of an IVF header"
                Array.append "RIFF"B (Array.zeroCreate 40), "DKIF"
                Array.concat [ "DKIF"B; [| 0uy; 0uy; 32uy; 0uy |]; "VP80"B; Array.zeroCreate 20 ], "time base"
                Array.concat
                    [ "DKIF"B
                      [| 0uy; 0uy; 32uy; 0uy |]
                      "VP80"B
                      [| 0uy; 0uy; 0uy; 0uy; 1uy; 0uy; 0uy; 0uy; 1uy; 0uy; 0uy; 0uy |]
                      Array.zeroCreate 8
                      Array.create 12 0xFFuy ],
                "at most 67108864 octets" ] do
              let message =
                  try
                      use reader = new IvfReader(new MemoryStream(octets))
                      read reader |> ignore
                      ""
                  with :? InvalidDataException as e ->
                      e.Message

              Expect.stringContains message word "the message") ]

let private ogg =
    let packet ms =
        Array.append [| (if ms = 20 then 0xF8uy else 0xFBuy) |] [| 3uy |]

    let timed =
        fun (timestamp: int) data -> EncodedFrame(Data = ReadOnlyMemory data, Timestamp = uint32 timestamp)

    let write frames =
        written (fun s -> new OggOpusWriter(s, serial = Nullable 1u)) frames

    [ testCase "Ogg: the CRC is that of a page made elsewhere, and a wrong one is refused" (fun () ->
          // The first page that libogg writes for a mono stream at 48 kHz, as ffmpeg has it.
          let content = write [ timed 0 (packet 20) ]
          let broken = Array.copy content
          broken[30] <- broken[30] ^^^ 1uy

          Expect.throwsT<InvalidDataException>
              (fun () -> read (new OggOpusReader(new MemoryStream(broken))) |> ignore)
              "one bit")

      testCase "Ogg: header and comments are read again" (fun () ->
          let header =
              OpusHeader(Channels = 1uy, PreSkip = 3840us, InputSampleRate = 16_000u, OutputGain = -256s)

          let tags = OpusTags("who", [| "TITLE=Ünï"; "ARTIST=" + String('x', 70_000) |])

          let content =
              written (fun s -> new OggOpusWriter(s, header, tags)) [ timed 0 (packet 20) ]

          use reader = new OggOpusReader(new MemoryStream(content))
          let got = reader.ReadHeader()

          Expect.equal
              (got.Channels, got.PreSkip, got.InputSampleRate, got.OutputGain)
              (1uy, 3840us, 16_000u, -256s)
              "OpusHead"

          Expect.sequenceEqual (nonNull reader.Tags).Comments tags.Comments "over more than one page"
          Expect.equal (read reader).Length 1 "its packet")

      testCase "Ogg: holes are filled with frames that were not sent; long ones are left" (fun () ->
          let content =
              write
                  [ timed 0 (packet 20)
                    timed (960 * 4) (packet 20)
                    timed (48_000 * 60) (packet 20) ]

          let got = read (new OggOpusReader(new MemoryStream(content)))
          Expect.equal (got |> Array.map _.Data.Length) [| 2; 1; 1; 1; 2; 2 |] "three fillers"
          Expect.equal (got |> Array.map _.Timestamp) [| 0u; 960u; 1920u; 2880u; 3840u; 2_880_000u |] "times")

      testCase "Ogg: chained files are one, other streams are left out" (fun () ->
          let link = write [ for i in 0..60 -> timed (960 * i) (packet 20) ]
          // A page of another stream, between the links: the same file's first page under another number would have a wrong CRC.
          let got = read (new OggOpusReader(new MemoryStream(Array.append link link)))
          Expect.equal got.Length 122 "packets"
          Expect.equal got[61].Timestamp (uint32 (960 * 61)) "time goes on") ]

let private rtpDump =
    let header =
        RtpDumpHeader(
            DateTimeOffset.UnixEpoch.AddSeconds(1_700_000_000.0).AddMicroseconds 123_456.0,
            IPEndPoint(IPAddress.Parse "192.0.2.7", 5004)
        )

    let made (dice: Dice) =
        let stream = new MemoryStream()
        let writer = RtpDumpWriter(stream, header)

        let sent =
            [| for i in 0 .. dice.Below 20 ->
                   struct (TimeSpan.FromMilliseconds(float (20 * i)), dice.Below 2 = 0, dice.Bytes(1 + dice.Below 1500)) |]

        for struct (offset, isRtcp, data) in sent do
            writer.Write(offset, isRtcp, ReadOnlySpan data)

        struct (sent, stream.ToArray())

    let readAll (octets: byte[]) (most: int) =
        let reader = RtpDumpReader(new Trickle(octets, most))

        [| let mutable more = true

           while more do
               match reader.Read() with
               | packet when packet.HasValue -> packet.Value
               | _ -> more <- false |]

    [ property "rtpdump: both kinds of packets are read as they were written" (fun seed ->
          let dice = Dice seed
          let struct (sent, octets) = made dice
          Expect.equal (RtpDumpReader(new MemoryStream(octets)).ReadHeader()) header "the header"
          let got = readAll octets (1 + dice.Below 50)

          Expect.equal (got |> Array.map (fun p -> struct (p.Offset, p.IsRtcp, p.Data.ToArray()))) sent "the packets")

      Laws.anyBytes "rtpdump: any bytes are read or refused" (fun octets ->
          try
              readAll octets 1000 |> ignore
              true
          with :? InvalidDataException ->
              true)

      Laws.mutated
          "rtpdump: files with faults are read or refused"
          [ let struct (_, octets) = made (Dice 2)
            octets ]
          (fun octets ->
              try
                  readAll octets 1000 |> ignore
              with :? InvalidDataException as e ->
                  Expect.stringContains e.Message "At octet " "the message") ]

let private annexB =
    [ testCase "Annex B: start codes of three octets, zeros around, and no start code at all" (fun () ->
          let content =
              Convert.FromHexString(
                  "0000"
                  + "000001"
                  + "0910"
                  + "0000000001"
                  + "65B8"
                  + "000000"
                  + "000001"
                  + "41B8"
              )

          let got = read (new AnnexBReader(new MemoryStream(content), "video/h264", 25.0))

          Expect.equal
              (got |> Array.map (octets >> Convert.ToHexString))
              [| "000000010910" + "0000000165B8"; "0000000141B8" |]
              "access units"

          Expect.equal (got |> Array.map _.Timestamp) [| 0u; 3600u |] "25 a second"
          Expect.isEmpty (read (new AnnexBReader(new MemoryStream(), "video/H264"))) "an empty file"

          Expect.throwsT<InvalidDataException>
              (fun () -> read (new AnnexBReader(new MemoryStream("hello"B), "video/H264")) |> ignore)
              "no start code") ]

let tests =
    testList
        "Media files"
        [ yield! List.map roundTrip files
          yield! List.collect bad files
          yield! ivf
          yield! ogg
          yield! rtpDump
          yield! annexB ]
