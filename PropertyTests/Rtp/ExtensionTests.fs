/// Header extensions by type.
module Hybrid.WebRtc.PropertyTests.Rtp.ExtensionTests

open System
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

let private generated<'value> = ArbMap.defaults |> ArbMap.generate<'value>

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let private written (value: IHeaderExtension) : byte[] =
    let into = Array.create (value.Size + 1) 0xFFuy
    let count = value.Write(Span(into, 0, value.Size))
    Expect.equal count value.Size "write fills exactly size"
    Expect.equal into[count] 0xFFuy "and nothing behind"
    into[.. count - 1]

let private isHex (text: string) (value: IHeaderExtension) =
    Expect.equal (Convert.ToHexString(written value)) (Convert.ToHexString(hex text)) "octets"

type private TryRead<'value> = delegate of byte[] * byref<'value> -> bool

/// The law of one type: what is written reads as itself, and any bytes end.
let private law<'value when 'value :> IHeaderExtension and 'value: equality>
    (name: string)
    (values: Gen<'value>)
    (tryRead: TryRead<'value>)
    =
    testList
        name
        [ testPropertyWithConfig Laws.config "read (write value) = value"
          <| Prop.forAll (Arb.fromGen values) (fun value ->
              let mutable back = Unchecked.defaultof<'value>
              let bytes = written (value :> IHeaderExtension)
              Expect.isTrue (tryRead.Invoke(bytes, &back)) "read"
              Expect.equal back value "the same")

          Laws.anyBytes "any bytes are refused, or written and read as themselves" (fun bytes ->
              let mutable value = Unchecked.defaultof<'value>

              if tryRead.Invoke(bytes, &value) then
                  let mutable back = Unchecked.defaultof<'value>
                  tryRead.Invoke(written (value :> IHeaderExtension), &back) && back = value
              else
                  true) ]

let private signed24 = Gen.choose (-0x80_0000, 0x7F_FFFF)

let private hdr =
    gen {
        let! n = Gen.arrayOfLength 12 generated<uint16>

        return
            { LuminanceMax = n[0]
              LuminanceMin = n[1]
              Red = { X = n[2]; Y = n[3] }
              Green = { X = n[4]; Y = n[5] }
              Blue = { X = n[6]; Y = n[7] }
              White = { X = n[8]; Y = n[9] }
              MaxContentLightLevel = n[10]
              MaxFrameAverageLightLevel = n[11] }
    }

let private colorSpace =
    gen {
        let! b = Gen.arrayOfLength 3 generated<byte>
        let! s = Gen.arrayOfLength 3 (Gen.choose (0, 3))
        let! hdr = Gen.oneof [ Gen.constant ValueNone; Gen.map ValueSome hdr ]

        return
            { Primaries = b[0]
              Transfer = b[1]
              Matrix = b[2]
              Range = byte s[0]
              HorizontalSiting = byte s[1]
              VerticalSiting = byte s[2]
              Hdr = hdr }
    }

let private timing =
    gen {
        let! flags = generated<byte>
        let! n = Gen.arrayOfLength 6 generated<uint16>

        return
            { Flags = flags
              EncodeStart = n[0]
              EncodeFinish = n[1]
              PacketizationFinish = n[2]
              PacerExit = n[3]
              Network1 = n[4]
              Network2 = n[5] }
    }

let private layer (stream: int) (spatial: int) =
    gen {
        let! temporal = Gen.choose (1, 4)

        let! rates =
            Gen.arrayOfLength temporal (Gen.oneof [ Gen.choose (0, 300); Gen.choose (0, Int32.MaxValue) ])

        return
            { Stream = stream
              SpatialId = spatial
              Bitrates = rates }
    }

let private allocation =
    gen {
        let! streams = Gen.choose (1, 4)
        let! alike = generated<bool>
        let! masks = Gen.arrayOfLength streams (Gen.choose (0, 15))
        let masks = if alike then Array.create streams masks[0] else masks

        let! layers =
            Gen.collectToArray
                (fun (stream, spatial) -> layer stream spatial)
                [| for stream in 0 .. streams - 1 do
                       for spatial in 0..3 do
                           if masks[stream] &&& (1 <<< spatial) <> 0 then
                               stream, spatial |]

        let! index = Gen.choose (0, 3)
        let! known = generated<bool>

        let! resolutions =
            Gen.arrayOfLength
                (if known then layers.Length else 0)
                (Gen.map3
                    (fun w h rate ->
                        { Width = w
                          Height = h
                          MaxFrameRate = rate })
                    (Gen.choose (1, 65536))
                    (Gen.choose (1, 65536))
                    generated<byte>)

        return
            // Nothing sent says nothing more.
            if layers.Length = 0 then
                { StreamIndex = 0
                  StreamCount = 1
                  Layers = [||]
                  Resolutions = [||] }
            else
                { StreamIndex = index
                  StreamCount = streams
                  Layers = layers
                  Resolutions = resolutions }
    }

let private lawTests =
    testList
        "laws"
        [ law
              "audio level"
              (Gen.map2 (fun v l -> { Voice = v; Level = byte l }: AudioLevel) generated<bool> (Gen.choose (0, 127)))
              (TryRead(fun bytes value -> AudioLevel.TryRead(ReadOnlySpan bytes, &value)))
          law
              "absolute send time"
              (Gen.map (fun v -> { Value = v }: AbsSendTime) (Gen.choose (0, 0xFFFFFF)))
              (TryRead(fun bytes value -> AbsSendTime.TryRead(ReadOnlySpan bytes, &value)))
          law
              "absolute capture time"
              (Gen.map2
                  (fun t o ->
                      { CaptureTime = t
                        ClockOffset = (if o = 0L then ValueNone else ValueSome o) }
                      : AbsCaptureTime)
                  generated<uint64>
                  generated<int64>)
              (TryRead(fun bytes value -> AbsCaptureTime.TryRead(ReadOnlySpan bytes, &value)))
          law
              "transmission offset"
              (Gen.map (fun v -> { Offset = v }: TransmissionOffset) signed24)
              (TryRead(fun bytes value -> TransmissionOffset.TryRead(ReadOnlySpan bytes, &value)))
          law
              "transport-wide sequence number"
              (Gen.map (fun v -> { Sequence = v }: TransportSequence) generated<uint16>)
              (TryRead(fun bytes value -> TransportSequence.TryRead(ReadOnlySpan bytes, &value)))
          law
              "video orientation"
              (Gen.map3
                  (fun b f r ->
                      { BackFacing = b
                        Flipped = f
                        Rotation = 90 * r }
                      : VideoOrientation)
                  generated<bool>
                  generated<bool>
                  (Gen.choose (0, 3)))
              (TryRead(fun bytes value -> VideoOrientation.TryRead(ReadOnlySpan bytes, &value)))
          law
              "playout delay"
              (Gen.map2
                  (fun a b -> { Min = min a b; Max = max a b }: PlayoutDelay)
                  (Gen.choose (0, 4095))
                  (Gen.choose (0, 4095)))
              (TryRead(fun bytes value -> PlayoutDelay.TryRead(ReadOnlySpan bytes, &value)))
          law
              "video content type"
              (Gen.map (fun v -> { ContentType = v }: VideoContentType) generated<byte>)
              (TryRead(fun bytes value -> VideoContentType.TryRead(ReadOnlySpan bytes, &value)))
          law "video timing" timing (TryRead(fun bytes value -> VideoTiming.TryRead(ReadOnlySpan bytes, &value)))
          law "colour space" colorSpace (TryRead(fun bytes value -> ColorSpace.TryRead(ReadOnlySpan bytes, &value)))
          law
              "layers allocation"
              allocation
              (TryRead(fun bytes value -> VideoLayersAllocation.TryRead(ReadOnlySpan bytes, &value))) ]

let private vectorTests =
    testList
        "vectors"
        [ testCase "audio level (RFC 6464 §3), of contributing sources (RFC 6465 §3)" (fun () ->
              isHex "85" ({ Voice = true; Level = 5uy }: AudioLevel)
              isHex "7F" ({ Voice = false; Level = 200uy }: AudioLevel)
              isHex "007F05" { Levels = ReadOnlyMemory [| 0uy; 255uy; 5uy |] }
              Expect.equal (CsrcAudioLevels.At(ReadOnlySpan(hex "8005"), 0)) 0uy "the reserved bit is not the level's"
              Expect.equal (CsrcAudioLevels.At(ReadOnlySpan(hex "8005"), 2)) 127uy "silence where there is none")

          testCase "video orientation, playout delay, content type" (fun () ->
              isHex
                  "0B"
                  ({ BackFacing = true
                     Flipped = false
                     Rotation = 270 }
                  : VideoOrientation)

              isHex "00A014" ({ Min = 10; Max = 20 }: PlayoutDelay)
              isHex "01" ({ ContentType = 1uy }: VideoContentType)
              let mutable delay = Unchecked.defaultof<PlayoutDelay>
              Expect.isFalse (PlayoutDelay.TryRead(ReadOnlySpan(hex "01400A"), &delay)) "the wrong way round")

          testCase "transmission offset is signed (RFC 5450 §2)" (fun () ->
              isHex "FFFFFF" ({ Offset = -1 }: TransmissionOffset)
              isHex "7FFFFF" ({ Offset = Int32.MaxValue }: TransmissionOffset))

          testCase "video timing of older senders has no flags" (fun () ->
              let mutable timing = Unchecked.defaultof<VideoTiming>
              Expect.isTrue (VideoTiming.TryRead(ReadOnlySpan(hex "000100020003000400050006"), &timing)) "read"
              Expect.equal timing.Network2 6us "the last"
              isHex "00 0001 0002 0003 0004 0005 0006" timing)

          testCase "absolute send time turns every 64 s" (fun () ->
              let at (microseconds: int64) =
                  AbsSendTime.OfInstant(microseconds * 1L<us>)

              Expect.equal (at 1_000_000L) 0x04_0000 "a second"
              Expect.equal (at 500_000L) 0x02_0000 "half of one"
              Expect.equal (at 63_999_999L) 0xFF_FFFF "just before"
              Expect.equal (at 64_000_000L) 0 "just after"
              Expect.equal (at (Int64.MaxValue / 2L) >>> 24) 0 "far off"
              Expect.equal (AbsSendTime.OfNtp 0x0000_0001_8000_0000UL) 0x06_0000 "of NTP"
              Expect.equal (AbsSendTime.Between(0xFF_0000, 0x03_0000)) 1_000_000L<us> "over the turn"
              Expect.equal (AbsSendTime.Between(0x03_0000, 0xFF_0000)) -1_000_000L<us> "and back")

          testCase "texts" (fun () ->
              Expect.equal (ExtensionText.read (ReadOnlySpan "audio"B)) (ValueSome "audio") "read"
              Expect.isTrue (ExtensionText.read (ReadOnlySpan [||])).IsNone "empty"
              Expect.isTrue (ExtensionText.read (ReadOnlySpan [| 0xFFuy |])).IsNone "not UTF-8"
              Expect.isTrue (ExtensionText.is "audio" (ReadOnlySpan "audio"B)) "the same"
              Expect.isFalse (ExtensionText.is "audio" (ReadOnlySpan "audi"B)) "shorter"
              Expect.isFalse (ExtensionText.is "audio" (ReadOnlySpan "audit"B)) "another")

          testCase "layers allocation: a layer of two temporal layers on one stream, with its resolution" (fun () ->
              // RID 0, NS 0, mask 1; two temporal layers; 100 and 300 kbit/s; 320 × 180 at 30.
              isHex
                  "01 40 64 AC02 013F 00B3 1E"
                  { StreamIndex = 0
                    StreamCount = 1
                    Layers =
                      [| { Stream = 0
                           SpatialId = 0
                           Bitrates = [| 100; 300 |] } |]
                    Resolutions =
                      [| { Width = 320
                           Height = 180
                           MaxFrameRate = 30uy } |] })

          testCase "layers allocation: three streams with masks of their own" (fun () ->
              // RID 1, NS 2, no mask for all; masks 1, 0 and 3.
              isHex
                  "60 10 30 00 01 02 03"
                  { StreamIndex = 1
                    StreamCount = 3
                    Layers =
                      [| for stream, spatial, rate in [ 0, 0, 1; 2, 0, 2; 2, 1, 3 ] do
                             { Stream = stream
                               SpatialId = spatial
                               Bitrates = [| rate |] } |]
                    Resolutions = [||] })

          testCase "layers allocation: what cannot be said is written as nothing sent" (fun () ->
              isHex
                  "00"
                  { StreamIndex = 0
                    StreamCount = 1
                    Layers =
                      [| { Stream = 1
                           SpatialId = 0
                           Bitrates = [| 1 |] } |]
                    Resolutions = [||] })

          testCase "an extension that the map does not have is left out" (fun () ->
              let map =
                  ExtensionMap [| KeyValuePair(3, HeaderExtensions.uri HeaderExtension.PlayoutDelay) |]

              let packet =
                  RtpPacket
                      .Create(96uy, false, 0us, 0u, ReadOnlyMemory.Empty)
                      .WithExtensions(
                          map,
                          ExtensionElement.Of(map, ({ Voice = true; Level = 5uy }: AudioLevel)),
                          ExtensionElement.Of(map, ({ Min = 0; Max = 0 }: PlayoutDelay))
                      )

              Expect.equal (packet.Extensions.ToArray()) (hex "32000000") "one") ]

// ---------------------------------------------------------------------------------------------------------------------
// The dependency descriptor
// ---------------------------------------------------------------------------------------------------------------------

let private indications = Gen.choose (0, 3) |> Gen.map enum<DecodeTargetIndication>

let private structures =
    gen {
        let! offset = Gen.choose (0, 63)
        let! targets = Gen.frequency [ 4, Gen.choose (1, 5); 1, Gen.choose (1, 12) ]
        let! chains = Gen.choose (0, min 4 targets)

        let! protectedBy =
            Gen.arrayOfLength (if chains = 0 then 0 else targets) (Gen.choose (0, max 0 (chains - 1)))

        let! steps = Gen.listOf (Gen.choose (0, 2)) |> Gen.map (List.truncate 7)

        let layers =
            ((0, 0), steps)
            ||> List.scan (fun (spatial, temporal) step ->
                match step with
                | 1 when temporal < 7 -> spatial, temporal + 1
                | 2 when spatial < 3 -> spatial + 1, 0
                | _ -> spatial, temporal)

        let! templates =
            Gen.collectToArray
                (fun (spatial, temporal) ->
                    gen {
                        let! dtis = Gen.arrayOfLength targets indications
                        let! count = Gen.choose (0, 3)
                        let! diffs = Gen.arrayOfLength count (Gen.choose (1, 16))
                        let! chainDiffs = Gen.arrayOfLength chains (Gen.choose (0, 15))

                        return
                            { SpatialId = spatial
                              TemporalId = temporal
                              Indications = dtis
                              FrameDiffs = diffs
                              ChainDiffs = chainDiffs }
                    })
                (Array.ofList layers)

        let! known = generated<bool>
        let spatialLayers = 1 + templates[templates.Length - 1].SpatialId

        let! resolutions =
            Gen.arrayOfLength
                (if known then spatialLayers else 0)
                (Gen.map2
                    (fun w h -> ({ Width = w; Height = h }: RenderResolution))
                    (Gen.choose (1, 65536))
                    (Gen.choose (1, 65536)))

        return
            { TemplateIdOffset = offset
              DecodeTargetCount = targets
              ChainCount = chains
              ProtectedBy = protectedBy
              Templates = templates
              Resolutions = resolutions }
    }

/// A descriptor, and the structure that came before it.
let private descriptors =
    gen {
        let! structure = structures
        let! index = Gen.choose (0, structure.Templates.Length - 1)
        let template = structure.Templates[index]
        let! dtis = Gen.arrayOfLength structure.DecodeTargetCount indications
        let! count = Gen.choose (0, 4)

        let! diffs =
            Gen.arrayOfLength count (Gen.oneof [ Gen.choose (1, 16); Gen.choose (1, 4096) ])

        let! chains = Gen.arrayOfLength structure.ChainCount (Gen.choose (0, 255))
        let! custom = Gen.arrayOfLength 3 generated<bool>
        let! starts = generated<bool>
        let! ends = generated<bool>
        let! number = generated<uint16>
        let! own = generated<bool>
        let! active = generated<uint32>
        let! hasActive = generated<bool>

        return
            struct ({ Mark =
                        { StartOfFrame = starts
                          EndOfFrame = ends
                          TemplateId = (structure.TemplateIdOffset + index) &&& 63
                          FrameNumber = number }
                      Structure = (if own then ValueSome structure else ValueNone)
                      ActiveDecodeTargets =
                        (if hasActive then
                             ValueSome(active &&& uint32 ((1UL <<< structure.DecodeTargetCount) - 1UL))
                         else
                             ValueNone)
                      Frame =
                        { template with
                            Indications = (if custom[0] then dtis else template.Indications)
                            FrameDiffs = (if custom[1] then diffs else template.FrameDiffs)
                            ChainDiffs = (if custom[2] then chains else template.ChainDiffs) } },
                    structure)
    }

let private single =
    { TemplateIdOffset = 0
      DecodeTargetCount = 1
      ChainCount = 0
      ProtectedBy = [||]
      Templates =
        [| { SpatialId = 0
             TemporalId = 0
             Indications = [| DecodeTargetIndication.Switch |]
             FrameDiffs = [||]
             ChainDiffs = [||] } |]
      Resolutions = [||] }

let private descriptorTests =
    testList
        "dependency descriptor"
        [ testPropertyWithConfig
              { Laws.config with
                  maxTest = 5 * Laws.config.maxTest }
              "read (encode descriptor) = descriptor"
          <| Prop.forAll (Arb.fromGen descriptors) (fun (struct (descriptor, structure)) ->
              let last =
                  if descriptor.Structure.IsSome then
                      ValueNone
                  else
                      ValueSome structure

              match DependencyDescriptors.encode descriptor last with
              | ValueNone -> failtest "it can be said"
              | ValueSome bytes ->
                  Expect.equal (DependencyDescriptors.read (ReadOnlySpan bytes) last) (ValueSome descriptor) "the same"

                  Expect.equal
                      (DependencyDescriptors.readMark (ReadOnlySpan bytes))
                      (ValueSome descriptor.Mark)
                      "the mark alone")

          testPropertyWithConfig Laws.config "the chosen template is of the frame's layer, and none makes it shorter"
          <| Prop.forAll (Arb.fromGen descriptors) (fun (struct (descriptor, structure)) ->
              let sizeWith id =
                  DependencyDescriptors.encode
                      { descriptor with
                          Mark = { descriptor.Mark with TemplateId = id } }
                      (ValueSome structure)
                  |> ValueOption.map _.Length

              match DependencyDescriptors.chooseTemplate structure descriptor.Frame with
              | ValueNone -> failtest "a template"
              | ValueSome id ->
                  let chosen = sizeWith id

                  for other in 0..63 do
                      match sizeWith other with
                      | ValueSome size -> Expect.isLessThanOrEqual chosen (ValueSome size) "no longer"
                      | ValueNone -> ())

          testPropertyWithConfig Laws.config "any bytes end, whatever structure came last"
          <| Prop.forAll (Arb.fromGen (Gen.zip structures (Gen.arrayOf generated<byte>))) (fun (structure, bytes) ->
              for bytes in [ bytes; Array.append [| 0xC0uy; 0uy; 1uy; 0x80uy |] bytes ] do
                  for last in [ ValueNone; ValueSome structure ] do
                      match DependencyDescriptors.read (ReadOnlySpan bytes) last with
                      | ValueSome read ->
                          match DependencyDescriptors.encode read last with
                          | ValueSome again ->
                              Expect.equal
                                  (DependencyDescriptors.read (ReadOnlySpan again) last)
                                  (ValueSome read)
                                  "the same"
                          | ValueNone -> failtest "what was read can be said"
                      | ValueNone -> ())

          testCase "one layer, bit by bit (AV1 RTP §A.8.2)" (fun () ->
              // 11 000000, 0000000000000001, 10000, 000000, 00000, 11, 10, 0, 0 (ns), 0.
              let descriptor =
                  { Mark =
                      { StartOfFrame = true
                        EndOfFrame = true
                        TemplateId = 0
                        FrameNumber = 1us }
                    Structure = ValueSome single
                    ActiveDecodeTargets = ValueNone
                    Frame = single.Templates[0] }

              Expect.equal
                  (DependencyDescriptors.encode descriptor ValueNone)
                  (ValueSome(hex "C00001 8000E0"))
                  "octets"

              // Then three octets suffice.
              Expect.equal
                  (DependencyDescriptors.read (ReadOnlySpan(hex "800002")) (ValueSome single))
                  (ValueSome
                      { descriptor with
                          Mark =
                              { descriptor.Mark with
                                  EndOfFrame = false
                                  FrameNumber = 2us }
                          Structure = ValueNone })
                  "the next frame")

          testCase "without the structure only the mark is known" (fun () ->
              Expect.isTrue (DependencyDescriptors.read (ReadOnlySpan(hex "800002")) ValueNone).IsNone "no"
              Expect.isTrue (DependencyDescriptors.readMark (ReadOnlySpan(hex "800002"))).IsSome "the mark"
              Expect.isTrue (DependencyDescriptors.readMark (ReadOnlySpan(hex "8000"))).IsNone "too short"

              Expect.isTrue
                  (DependencyDescriptors.read (ReadOnlySpan(hex "810002")) (ValueSome single)).IsNone
                  "a template that it does not have")

          testCase "what the bits cannot say is not encoded" (fun () ->
              let descriptor structure frame =
                  { Mark =
                      { StartOfFrame = true
                        EndOfFrame = true
                        TemplateId = 0
                        FrameNumber = 1us }
                    Structure = ValueSome structure
                    ActiveDecodeTargets = ValueNone
                    Frame = frame }

              let frame = single.Templates[0]

              let encoded structure frame =
                  DependencyDescriptors.encode (descriptor structure frame) ValueNone

              Expect.isTrue (encoded single frame).IsSome "as it should be"
              Expect.isTrue (encoded single { frame with FrameDiffs = [| 4097 |] }).IsNone "too far"
              Expect.isTrue (encoded single { frame with FrameDiffs = [| 0 |] }).IsNone "itself"
              Expect.isTrue (encoded single { frame with ChainDiffs = [| 1 |] }).IsNone "a chain that is not"
              Expect.isTrue (encoded single { frame with TemporalId = 1 }).IsNone "another layer"
              Expect.isTrue (encoded { single with Templates = [||] } frame).IsNone "no templates"
              Expect.isTrue (encoded { single with DecodeTargetCount = 33 } frame).IsNone "too many targets"

              Expect.isTrue
                  (encoded
                      { single with
                          Templates = Array.create 65 frame }
                      frame)
                      .IsNone
                  "too many templates") ]

let tests =
    testList "RTP header extensions" [ lawTests; vectorTests; descriptorTests ]
