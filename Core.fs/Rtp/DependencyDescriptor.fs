namespace Hybrid.WebRtc.Rtp

open System

/// What a frame is to a decode target, AV1 RTP §A.8.1.3.
type DecodeTargetIndication =
    /// Not of it.
    | NotPresent = 0
    /// Of it, and needed by no later frame of it.
    | Discardable = 1
    /// Of it, and all later frames of it can be decoded from here on.
    | Switch = 2
    /// Of it, and needed.
    | Required = 3

/// On what a frame depends, and who depends on it: of one frame, or a template for many.
[<NoComparison>]
type FrameDependency =
    {
        /// 0 to 3.
        SpatialId: int
        /// 0 to 7.
        TemporalId: int
        /// One for each decode target.
        Indications: DecodeTargetIndication[]
        /// By how much the frame numbers of the frames that it refers to are smaller: 1 to 16 in a template, 1 to 4,096 of a frame.
        FrameDiffs: int[]
        /// For each chain by how much the number of its last frame is smaller: 0 to 15 in a template, 0 to 255 of a frame; 0: none.
        ChainDiffs: int[]
    }

/// The largest frame of a spatial layer, in pixels, 1 to 65,536.
[<Struct; NoComparison>]
type RenderResolution = { Width: int; Height: int }

/// What frames of a coded video sequence look like, AV1 RTP §A.8.1.2: sent with its first packet, to be kept for the others.
[<NoComparison>]
type DependencyStructure =
    {
        /// 0 to 63: the id of the first template.
        TemplateIdOffset: int
        /// 1 to 32.
        DecodeTargetCount: int
        /// At most as many as decode targets.
        ChainCount: int
        /// For each decode target which chain protects it; empty without chains.
        ProtectedBy: int[]
        /// 1 to 64, by spatial id, then by temporal id, neither leaving one out.
        Templates: FrameDependency[]
        /// For each spatial layer; empty: not said.
        Resolutions: RenderResolution[]
    }

    /// Spatial layers: 1 to 4.
    member structure.SpatialLayers: int =
        if structure.Templates.Length = 0 then
            0
        else
            1 + structure.Templates[structure.Templates.Length - 1].SpatialId

/// What every packet says, AV1 RTP §A.8.1.1: readable without the structure.
[<Struct; NoComparison>]
type FrameMark =
    {
        StartOfFrame: bool
        EndOfFrame: bool
        /// 0 to 63.
        TemplateId: int
        FrameNumber: uint16
    }

/// The dependency descriptor of a packet, AV1 RTP §A.
[<NoComparison>]
type DependencyDescriptor =
    {
        Mark: FrameMark
        /// Of this packet.
        Structure: DependencyStructure voption
        /// Bit 0 is decode target 0; none: as before, and all of them with a new structure.
        ActiveDecodeTargets: uint32 voption
        /// The frame's, by its template and by what the packet says otherwise.
        Frame: FrameDependency
    }

/// Reading and writing dependency descriptors, AV1 RTP §A.8.
[<RequireQualifiedAccess>]
module DependencyDescriptors =
    /// What an element can be long, RFC 8285 §4.3.
    [<Literal>]
    let private MaxSize = 255

    [<Literal>]
    let private MaxTemplates = 64

    let private takeMark (reader: byref<BitReader>) : FrameMark =
        { StartOfFrame = reader.Flag()
          EndOfFrame = reader.Flag()
          TemplateId = int (reader.Bits 6)
          FrameNumber = uint16 (reader.Bits 16) }

    /// What can be read without the structure. ValueNone: shorter than three octets.
    [<CompiledName "ReadMark">]
    let readMark (data: ReadOnlySpan<byte>) : FrameMark voption =
        let mutable reader = BitReader data
        let mark = takeMark &reader
        if reader.Ok then ValueSome mark else ValueNone

    /// template_layers(): pairs of spatial and temporal id. None at all: out of bounds.
    let private readLayers (reader: byref<BitReader>) : struct (int * int)[] =
        let layers = ResizeArray<struct (int * int)>()
        let mutable spatial = 0
        let mutable temporal = 0
        let mutable more = true

        while more do
            layers.Add(struct (spatial, temporal))
            let next = reader.Bits 2

            match next with
            | 0u -> ()
            | 1u -> temporal <- temporal + 1
            | 2u ->
                temporal <- 0
                spatial <- spatial + 1
            | _ -> more <- false

            if
                not reader.Ok
                || spatial > 3
                || temporal > 7
                || (more && layers.Count = MaxTemplates)
            then
                layers.Clear()
                more <- false

        layers.ToArray()

    let private readIndications (reader: byref<BitReader>) (count: int) : DecodeTargetIndication[] =
        let read = Array.zeroCreate<DecodeTargetIndication> count

        for i in 0 .. count - 1 do
            read[i] <- enum<DecodeTargetIndication>(int (reader.Bits 2))

        read

    let private readChainDiffs (reader: byref<BitReader>) (width: int) (count: int) : int[] =
        let read = Array.zeroCreate<int> count

        for i in 0 .. count - 1 do
            read[i] <- int (reader.Bits width)

        read

    let private readTemplateDiffs (reader: byref<BitReader>) : int[] =
        let diffs = ResizeArray<int>()

        while reader.Flag() do
            diffs.Add(1 + int (reader.Bits 4))

        diffs.ToArray()

    let private readFrameDiffs (reader: byref<BitReader>) : int[] =
        let diffs = ResizeArray<int>()
        let mutable size = int (reader.Bits 2)

        while size > 0 do
            diffs.Add(1 + int (reader.Bits(4 * size)))
            size <- int (reader.Bits 2)

        diffs.ToArray()

    /// template_dependency_structure().
    let private readStructure (reader: byref<BitReader>) : DependencyStructure voption =
        let offset = int (reader.Bits 6)
        let targets = 1 + int (reader.Bits 5)
        let layers = readLayers &reader
        let count = layers.Length
        let indications = Array.zeroCreate<DecodeTargetIndication[]> count
        let diffs = Array.zeroCreate<int[]> count

        // Once the bits are at their end nothing more is made of them.
        for i in 0 .. count - 1 do
            if reader.Ok then
                indications[i] <- readIndications &reader targets

        for i in 0 .. count - 1 do
            if reader.Ok then
                diffs[i] <- readTemplateDiffs &reader

        let chains = reader.NonSymmetric(targets + 1)
        let protectedBy = Array.zeroCreate<int>(if chains = 0 then 0 else targets)

        for i in 0 .. protectedBy.Length - 1 do
            protectedBy[i] <- reader.NonSymmetric chains

        let chainDiffs = Array.zeroCreate<int[]> count

        for i in 0 .. count - 1 do
            if reader.Ok then
                chainDiffs[i] <- readChainDiffs &reader 4 chains

        let resolutions =
            if reader.Flag() && count > 0 then
                let struct (spatial, _) = layers[count - 1]
                let read = Array.zeroCreate<RenderResolution>(spatial + 1)

                for i in 0..spatial do
                    read[i] <-
                        { Width = 1 + int (reader.Bits 16)
                          Height = 1 + int (reader.Bits 16) }

                read
            else
                Array.Empty()

        if count = 0 || not reader.Ok then
            ValueNone
        else
            let templates = Array.zeroCreate<FrameDependency> count

            for i in 0 .. count - 1 do
                let struct (spatial, temporal) = layers[i]

                templates[i] <-
                    { SpatialId = spatial
                      TemporalId = temporal
                      Indications = indications[i]
                      FrameDiffs = diffs[i]
                      ChainDiffs = chainDiffs[i] }

            ValueSome
                { TemplateIdOffset = offset
                  DecodeTargetCount = targets
                  ChainCount = chains
                  ProtectedBy = protectedBy
                  Templates = templates
                  Resolutions = resolutions }

    /// The template of an id; ValueNone: the structure has none of it.
    [<CompiledName "Template">]
    let template (structure: DependencyStructure) (id: int) : FrameDependency voption =
        let index = (id + 64 - structure.TemplateIdOffset) &&& 63

        if index < structure.Templates.Length then
            ValueSome structure.Templates[index]
        else
            ValueNone

    /// <summary>Reads a descriptor.</summary>
    /// <param name="data">The element's data.</param>
    /// <param name="last">The structure that came last; a packet that brings one of its own needs none.</param>
    /// <returns>ValueNone: malformed, or of a structure that did not come; <c>ReadMark</c> says what can be said then.</returns>
    [<CompiledName "Read">]
    let read (data: ReadOnlySpan<byte>) (last: DependencyStructure voption) : DependencyDescriptor voption =
        let mutable reader = BitReader data
        let mark = takeMark &reader
        let extended = data.Length > 3
        let hasStructure = extended && reader.Flag()
        let hasActive = extended && reader.Flag()
        let customIndications = extended && reader.Flag()
        let customDiffs = extended && reader.Flag()
        let customChains = extended && reader.Flag()
        let own = if hasStructure then readStructure &reader else ValueNone
        let structure = if hasStructure then own else last

        match structure with
        | ValueSome structure when reader.Ok ->
            let active =
                if hasActive then
                    ValueSome(reader.Bits structure.DecodeTargetCount)
                else
                    ValueNone

            match template structure mark.TemplateId with
            | ValueSome template ->
                let indications =
                    if customIndications then
                        readIndications &reader structure.DecodeTargetCount
                    else
                        template.Indications

                let diffs =
                    if customDiffs then
                        readFrameDiffs &reader
                    else
                        template.FrameDiffs

                let chains =
                    if customChains then
                        readChainDiffs &reader 8 structure.ChainCount
                    else
                        template.ChainDiffs

                if reader.Ok then
                    ValueSome
                        { Mark = mark
                          Structure = own
                          ActiveDecodeTargets = active
                          Frame =
                            { template with
                                Indications = indications
                                FrameDiffs = diffs
                                ChainDiffs = chains } }
                else
                    ValueNone
            | ValueNone -> ValueNone
        | _ -> ValueNone

    let private same (a: int[]) (b: int[]) : bool =
        ReadOnlySpan(a).SequenceEqual(ReadOnlySpan b)

    let private sameIndications (a: DecodeTargetIndication[]) (b: DecodeTargetIndication[]) : bool =
        let mutable equal = a.Length = b.Length

        for i in 0 .. a.Length - 1 do
            equal <- equal && a[i] = b[i]

        equal

    /// Bits of frame_fdiffs().
    let private frameDiffBits (diffs: int[]) : int =
        let mutable bits = 2

        for diff in diffs do
            bits <-
                bits
                + (if diff <= 16 then 6
                   elif diff <= 256 then 10
                   else 14)

        bits

    /// The id of the template that says most of a frame, so that the descriptor is shortest. ValueNone: none of its layer.
    [<CompiledName "ChooseTemplate">]
    let chooseTemplate (structure: DependencyStructure) (frame: FrameDependency) : int voption =
        let mutable best = -1
        let mutable least = Int32.MaxValue

        for i in 0 .. structure.Templates.Length - 1 do
            let template = structure.Templates[i]

            if template.SpatialId = frame.SpatialId && template.TemporalId = frame.TemporalId then
                let bits =
                    (if sameIndications template.Indications frame.Indications then
                         0
                     else
                         2 * structure.DecodeTargetCount)
                    + (if same template.FrameDiffs frame.FrameDiffs then
                           0
                       else
                           frameDiffBits frame.FrameDiffs)
                    + (if same template.ChainDiffs frame.ChainDiffs then
                           0
                       else
                           8 * structure.ChainCount)

                if bits < least then
                    best <- i
                    least <- bits

        if best < 0 then
            ValueNone
        else
            ValueSome((structure.TemplateIdOffset + best) &&& 63)

    let private writeIndications (writer: byref<BitWriter>) (indications: DecodeTargetIndication[]) : unit =
        for indication in indications do
            writer.Bits(uint32 indication, 2)

    /// A number that its bits have no room for turns the writer's `Ok` false; one below zero is such a number.
    let private writeNumbers (writer: byref<BitWriter>) (width: int) (numbers: int[]) : unit =
        for number in numbers do
            writer.Bits(uint32 number, width)

    let private writeStructure (writer: byref<BitWriter>) (structure: DependencyStructure) : unit =
        let templates = structure.Templates
        writer.Bits(uint32 structure.TemplateIdOffset, 6)
        writer.Bits(uint32 (structure.DecodeTargetCount - 1), 5)

        for i in 1 .. templates.Length - 1 do
            let before = templates[i - 1]
            let next = templates[i]

            writer.Bits(
                (if next.SpatialId <> before.SpatialId then 2u
                 elif next.TemporalId <> before.TemporalId then 1u
                 else 0u),
                2
            )

        writer.Bits(3u, 2)

        for template in templates do
            writeIndications &writer template.Indications

        for template in templates do
            for diff in template.FrameDiffs do
                writer.Flag true
                writer.Bits(uint32 (diff - 1), 4)

            writer.Flag false

        writer.NonSymmetric(structure.ChainCount, structure.DecodeTargetCount + 1)

        for chain in structure.ProtectedBy do
            writer.NonSymmetric(chain, structure.ChainCount)

        for template in templates do
            writeNumbers &writer 4 template.ChainDiffs

        writer.Flag(structure.Resolutions.Length > 0)

        for resolution in structure.Resolutions do
            writer.Bits(uint32 (resolution.Width - 1), 16)
            writer.Bits(uint32 (resolution.Height - 1), 16)

    /// Whether lengths agree, and templates follow each other as next_layer_idc can say.
    let private isConsistent (structure: DependencyStructure) : bool =
        let templates = structure.Templates
        let targets = structure.DecodeTargetCount
        let chains = structure.ChainCount

        let mutable sound =
            targets >= 1
            && targets <= 32
            && chains >= 0
            && chains <= targets
            && structure.ProtectedBy.Length = (if chains = 0 then 0 else targets)
            && templates.Length >= 1
            && templates.Length <= MaxTemplates
            && templates[0].SpatialId = 0
            && templates[0].TemporalId = 0
            && (structure.Resolutions.Length = 0
                || structure.Resolutions.Length = structure.SpatialLayers)

        for i in 0 .. templates.Length - 1 do
            let template = templates[i]

            sound <-
                sound
                && template.SpatialId <= 3
                && template.TemporalId <= 7
                && template.Indications.Length = targets
                && template.ChainDiffs.Length = chains

            if i > 0 then
                let before = templates[i - 1]
                let sameLayer = template.SpatialId = before.SpatialId

                sound <-
                    sound
                    && ((sameLayer
                         && (template.TemporalId = before.TemporalId
                             || template.TemporalId = before.TemporalId + 1))
                        || (template.SpatialId = before.SpatialId + 1 && template.TemporalId = 0))

        sound

    let private writeFrameDiffs (writer: byref<BitWriter>) (diffs: int[]) : unit =
        for diff in diffs do
            let size =
                if diff <= 16 then 1
                elif diff <= 256 then 2
                else 3

            writer.Bits(uint32 size, 2)
            writer.Bits(uint32 (diff - 1), 4 * size)

        writer.Bits(0u, 2)

    /// <summary>Encodes a descriptor, saying of the frame only what its template does not.</summary>
    /// <param name="descriptor">Its template, see <c>ChooseTemplate</c>, must be of the frame's layer.</param>
    /// <param name="last">The structure that was sent last; not needed for a descriptor that brings its own.</param>
    /// <returns>ValueNone: a number is out of its bounds, lengths do not agree, or it is longer than 255 octets.</returns>
    [<CompiledName "Encode">]
    let encode (descriptor: DependencyDescriptor) (last: DependencyStructure voption) : byte[] voption =
        let structure =
            if descriptor.Structure.IsSome then
                descriptor.Structure
            else
                last

        match structure with
        | ValueSome structure when isConsistent structure ->
            let frame = descriptor.Frame

            match template structure descriptor.Mark.TemplateId with
            | ValueSome template when
                template.SpatialId = frame.SpatialId
                && template.TemporalId = frame.TemporalId
                && frame.Indications.Length = structure.DecodeTargetCount
                && frame.ChainDiffs.Length = structure.ChainCount
                ->
                let into = Array.zeroCreate<byte> MaxSize
                let mutable writer = BitWriter(Span into)

                let customIndications = not (sameIndications template.Indications frame.Indications)

                let customDiffs = not (same template.FrameDiffs frame.FrameDiffs)
                let customChains = not (same template.ChainDiffs frame.ChainDiffs)

                writer.Flag descriptor.Mark.StartOfFrame
                writer.Flag descriptor.Mark.EndOfFrame
                writer.Bits(uint32 descriptor.Mark.TemplateId, 6)
                writer.Bits(uint32 descriptor.Mark.FrameNumber, 16)

                if
                    descriptor.Structure.IsSome
                    || descriptor.ActiveDecodeTargets.IsSome
                    || customIndications
                    || customDiffs
                    || customChains
                then
                    writer.Flag descriptor.Structure.IsSome
                    writer.Flag descriptor.ActiveDecodeTargets.IsSome
                    writer.Flag customIndications
                    writer.Flag customDiffs
                    writer.Flag customChains

                    if descriptor.Structure.IsSome then
                        writeStructure &writer structure

                    match descriptor.ActiveDecodeTargets with
                    | ValueSome active -> writer.Bits(active, structure.DecodeTargetCount)
                    | ValueNone -> ()

                    if customIndications then
                        writeIndications &writer frame.Indications

                    if customDiffs then
                        writeFrameDiffs &writer frame.FrameDiffs

                    if customChains then
                        writeNumbers &writer 8 frame.ChainDiffs

                if writer.Ok then
                    ValueSome(Array.sub into 0 writer.Written)
                else
                    ValueNone
            | _ -> ValueNone
        | _ -> ValueNone
