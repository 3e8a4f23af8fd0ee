namespace Hybrid.WebRtc.Media;

/// <summary>What a NAL unit is to those who carry it.</summary>
[Flags]
internal enum NalRole
{
    /// <summary>Nothing of the below.</summary>
    None = 0,

    /// <summary>Part of a coded picture.</summary>
    Picture = 1,

    /// <summary>Part of a picture that is decoded without any before it.</summary>
    Key = 2,

    /// <summary>A parameter set that stands for long.</summary>
    ParameterSet = 4,

    /// <summary>A sequence parameter set.</summary>
    Sequence = 8,

    /// <summary>An access unit delimiter.</summary>
    Delimiter = 16,

    /// <summary>One that, among what WebRTC sends, only comes first in an access unit.</summary>
    First = 32,

    /// <summary>One that no other picture refers to.</summary>
    Discardable = 64,

    /// <summary>One that begins an access unit where a picture was before it.</summary>
    Opens = 128,
}

/// <summary>
/// How H.264, H.265 and H.266 differ in what their payload formats touch: the header of NAL units, of aggregates, and of
/// fragments. A header is handled as a number, its first octet the most significant.
/// </summary>
internal abstract class NalSyntax(int headerSize, int aggregateType, int fragmentType, int fragmentTypeMask)
{
    /// <summary>Octets of a NAL unit's header.</summary>
    public int HeaderSize => headerSize;

    /// <summary>The type of an aggregate: STAP-A, AP.</summary>
    public int AggregateType => aggregateType;

    /// <summary>The type of a fragment: FU-A, FU.</summary>
    public int FragmentType => fragmentType;

    /// <summary>Which bits of a fragment's own header are the NAL unit's type.</summary>
    public int FragmentTypeMask => fragmentTypeMask;

    /// <summary>The type within a header.</summary>
    public abstract int TypeOf(int header);

    /// <summary>The header with another type.</summary>
    public abstract int WithType(int header, int type);

    /// <summary>The header of an aggregate that goes on with another NAL unit.</summary>
    public abstract int Combine(int aggregate, int header);

    /// <summary>Whether a NAL unit of this type may stand in a packet of its own or in an aggregate.</summary>
    public abstract bool IsCarried(int type);

    /// <summary>What a NAL unit is.</summary>
    public abstract NalRole RoleOf(int header);

    /// <summary>Whether the coded picture within a NAL unit, here what is behind its header, begins a new one.</summary>
    public abstract bool BeginsPicture(ReadOnlySpan<byte> body);

    /// <summary>The temporal layer, from 0; null where the header does not tell.</summary>
    public abstract int? TemporalLayerOf(int header);

    /// <summary>The size of pictures in a sequence parameter set, here what is behind its header; zeros where it does not tell.</summary>
    public abstract (int Width, int Height) SizeOf(ReadOnlySpan<byte> sequence);

    /// <summary>Splits a payload, or a NAL unit, into header and body. False: it is too short.</summary>
    public virtual bool TrySplit(ReadOnlySpan<byte> payload, out int header, out ReadOnlySpan<byte> body)
    {
        header = 0;
        body = default;

        if (payload.Length < headerSize)
            return false;

        header = headerSize == 1 ? payload[0] : payload[0] << 8 | payload[1];
        body = payload[headerSize..];
        return true;
    }

    /// <summary>Writes a header.</summary>
    public void WriteHeader(Span<byte> into, int header)
    {
        if (headerSize == 2)
            into[0] = (byte)(header >> 8);

        into[headerSize - 1] = (byte)header;
    }
}

/// <summary>H.264: <c>F NRI(2) Type(5)</c>, RFC 6184 §1.3, §5.3 to §5.8.</summary>
internal sealed class H264Syntax() : NalSyntax(1, 24, 28, 0x1F)
{
    public override int TypeOf(int header) => header & 0x1F;

    public override int WithType(int header, int type) => header & 0xE0 | type;

    /// <summary>The greatest NRI, and F where any has it, RFC 6184 §5.7.1.</summary>
    public override int Combine(int aggregate, int header) =>
        (aggregate | header) & 0x80 | Math.Max(aggregate & 0x60, header & 0x60) | AggregateType;

    public override bool IsCarried(int type) => type is >= 1 and <= 23;

    public override NalRole RoleOf(int header) =>
        TypeOf(header) switch
        {
            5 => NalRole.Picture | NalRole.Key,
            >= 1 and <= 4 => NalRole.Picture | ((header & 0x60) == 0 ? NalRole.Discardable : NalRole.None),
            7 => NalRole.ParameterSet | NalRole.Sequence | NalRole.First | NalRole.Opens,
            8 => NalRole.ParameterSet | NalRole.Opens,
            13 or 15 => NalRole.ParameterSet,
            9 => NalRole.Delimiter | NalRole.First | NalRole.Opens | NalRole.Discardable,
            // SEI, prefixes and reserved types that open an access unit, H.264 §7.4.1.2.3.
            6 or 14 or 16 or 17 or 18 => NalRole.Opens | NalRole.Discardable,
            _ => NalRole.Discardable,
        };

    /// <summary>first_mb_in_slice is 0: its ue(v) is one bit.</summary>
    public override bool BeginsPicture(ReadOnlySpan<byte> body) => !body.IsEmpty && (body[0] & 0x80) != 0;

    public override int? TemporalLayerOf(int header) => null;

    /// <summary>seq_parameter_set_data, H.264 §7.3.2.1.1.</summary>
    public override (int Width, int Height) SizeOf(ReadOnlySpan<byte> sequence)
    {
        var bits = new BitReader(sequence, emulationPrevention: true);
        var profile = bits.Bits(8);
        bits.Skip(16);
        bits.Ue();
        var chroma = 1;
        var isSeparate = false;

        if (profile is 100 or 110 or 122 or 244 or 44 or 83 or 86 or 118 or 128 or 138 or 139 or 134 or 135)
        {
            chroma = bits.Ue();
            isSeparate = chroma == 3 && bits.Bit();
            bits.Ue();
            bits.Ue();
            bits.Skip(1);

            if (bits.Bit())
                SkipScalingMatrix(ref bits, chroma == 3 ? 12 : 8);
        }

        bits.Ue();
        SkipPictureOrder(ref bits);
        bits.Ue();
        bits.Skip(1);
        var width = 16L * (bits.Ue() + 1L);
        var units = bits.Ue() + 1L;
        var isFrame = bits.Bit();
        var height = 16L * units * (isFrame ? 1 : 2);

        if (!isFrame)
            bits.Skip(1);

        bits.Skip(1);

        if (bits.Bit())
        {
            var unitX = chroma is 1 or 2 && !isSeparate ? 2 : 1;
            var unitY = (chroma == 1 && !isSeparate ? 2 : 1) * (isFrame ? 1 : 2);
            width -= unitX * ((long)bits.Ue() + bits.Ue());
            height -= unitY * ((long)bits.Ue() + bits.Ue());
        }

        return Pixels.Of(bits.Failed, width, height);
    }

    private static void SkipPictureOrder(ref BitReader bits)
    {
        switch (bits.Ue())
        {
            case 0:
                bits.Ue();
                break;
            case 1:
                bits.Skip(1);
                bits.Ue();
                bits.Ue();

                for (var left = Math.Min(255, bits.Ue()); left > 0 && !bits.Failed; left--)
                    bits.Ue();

                break;
        }
    }

    private static void SkipScalingMatrix(ref BitReader bits, int lists)
    {
        for (var list = 0; list < lists && !bits.Failed; list++)
        {
            if (!bits.Bit())
                continue;

            // scaling_list, H.264 §7.3.2.1.1.1: once the next scale is 0 the rest of the list is not coded.
            for (int i = 0, last = 8, next = 8; i < (list < 6 ? 16 : 64) && next != 0 && !bits.Failed; i++)
            {
                next = (last + bits.Se() + 256) & 0xFF;
                last = next == 0 ? last : next;
            }
        }
    }
}

/// <summary>H.265: <c>F Type(6) LayerId(6) TID(3)</c>, RFC 7798 §1.1.4, §4.4.</summary>
internal sealed class H265Syntax() : NalSyntax(2, 48, 49, 0x3F)
{
    private const int Paci = 50;

    public override int TypeOf(int header) => header >> 9 & 0x3F;

    public override int WithType(int header, int type) => header & 0x81FF | type << 9;

    /// <summary>The lowest layer and TID, and F where any has it, RFC 7798 §4.4.2.</summary>
    public override int Combine(int aggregate, int header) =>
        (aggregate | header) & 0x8000
        | AggregateType << 9
        | Math.Min(aggregate & 0x1F8, header & 0x1F8)
        | Math.Min(aggregate & 7, header & 7);

    public override bool IsCarried(int type) => type <= 47;

    public override NalRole RoleOf(int header) =>
        TypeOf(header) switch
        {
            // Sub-layer non-reference pictures have the even types, H.265 §7.4.2.2.
            var type and <= 15 => NalRole.Picture | (type % 2 == 0 ? NalRole.Discardable : NalRole.None),
            <= 23 => NalRole.Picture | NalRole.Key,
            <= 31 => NalRole.Picture,
            32 => NalRole.ParameterSet | NalRole.First | NalRole.Opens,
            33 => NalRole.ParameterSet | NalRole.Sequence | NalRole.Opens,
            34 => NalRole.ParameterSet | NalRole.Opens,
            35 => NalRole.Delimiter | NalRole.First | NalRole.Opens | NalRole.Discardable,
            39 or (>= 41 and <= 44) => NalRole.Opens | NalRole.Discardable,
            _ => NalRole.Discardable,
        };

    /// <summary>first_slice_segment_in_pic_flag.</summary>
    public override bool BeginsPicture(ReadOnlySpan<byte> body) => !body.IsEmpty && (body[0] & 0x80) != 0;

    public override int? TemporalLayerOf(int header) => (header & 7) > 0 ? (header & 7) - 1 : null;

    /// <summary>
    /// Unwraps a PACI packet, RFC 7798 §4.4.4: what it carries has the type that it names and else its own header.
    /// <code>
    ///     |        PayloadHdr (50)        |A|   cType   | PHSsize |F0..2|Y|  then PHES, then the payload
    /// </code>
    /// </summary>
    public override bool TrySplit(ReadOnlySpan<byte> payload, out int header, out ReadOnlySpan<byte> body)
    {
        if (!base.TrySplit(payload, out header, out body))
            return false;

        if (TypeOf(header) != Paci)
            return true;

        if (body.Length < 2)
            return false;

        var extension = body[0] << 8 | body[1];
        var skipped = 2 + (extension >> 4 & 0x1F);
        var type = extension >> 9 & 0x3F;

        if (type == Paci || body.Length < skipped)
            return false;

        header = WithType(header & 0x7FFF, type) | extension & 0x8000;
        body = body[skipped..];
        return true;
    }

    /// <summary>seq_parameter_set_rbsp, H.265 §7.3.2.2.1.</summary>
    public override (int Width, int Height) SizeOf(ReadOnlySpan<byte> sequence)
    {
        var bits = new BitReader(sequence, emulationPrevention: true);
        bits.Skip(4);
        var subLayers = (int)bits.Bits(3);
        bits.Skip(1);
        SkipProfileTierLevel(ref bits, subLayers);
        bits.Ue();
        var chroma = bits.Ue();

        if (chroma == 3)
            bits.Skip(1);

        long width = bits.Ue();
        long height = bits.Ue();

        if (bits.Bit())
        {
            width -= (chroma is 1 or 2 ? 2 : 1) * ((long)bits.Ue() + bits.Ue());
            height -= (chroma == 1 ? 2 : 1) * ((long)bits.Ue() + bits.Ue());
        }

        return Pixels.Of(bits.Failed, width, height);
    }

    private static void SkipProfileTierLevel(ref BitReader bits, int subLayers)
    {
        bits.Skip(88 + 8);
        var present = 0;

        for (var i = 0; i < (subLayers > 0 ? 8 : 0); i++)
        {
            var flags = (int)bits.Bits(2);

            if (i < subLayers)
                present += ((flags & 2) != 0 ? 88 : 0) + ((flags & 1) != 0 ? 8 : 0);
        }

        bits.Skip(present);
    }
}

/// <summary>H.266: <c>F Z LayerId(6) Type(5) TID(3)</c>, RFC 9328 §1.1.4, §4.3.</summary>
internal sealed class H266Syntax() : NalSyntax(2, 28, 29, 0x1F)
{
    public override int TypeOf(int header) => header >> 3 & 0x1F;

    public override int WithType(int header, int type) => header & 0xFF07 | type << 3;

    /// <summary>The lowest layer and TID, and F where any has it, RFC 9328 §4.3.2.</summary>
    public override int Combine(int aggregate, int header) =>
        (aggregate | header) & 0x8000
        | Math.Min(aggregate & 0x3F00, header & 0x3F00)
        | AggregateType << 3
        | Math.Min(aggregate & 7, header & 7);

    public override bool IsCarried(int type) => type <= 27;

    public override NalRole RoleOf(int header) =>
        TypeOf(header) switch
        {
            <= 6 => NalRole.Picture,
            <= 9 => NalRole.Picture | NalRole.Key,
            10 or 11 => NalRole.Picture,
            14 => NalRole.ParameterSet | NalRole.First | NalRole.Opens,
            15 => NalRole.ParameterSet | NalRole.Sequence | NalRole.Opens,
            16 => NalRole.ParameterSet | NalRole.Opens,
            // Adaptation parameter sets and picture headers belong to the picture.
            17 => NalRole.Opens,
            18 => NalRole.None,
            19 => NalRole.Opens,
            20 => NalRole.Delimiter | NalRole.First | NalRole.Opens | NalRole.Discardable,
            12 or 13 or 23 or 26 => NalRole.Opens | NalRole.Discardable,
            _ => NalRole.Discardable,
        };

    /// <summary>sh_picture_header_in_slice_header_flag: such a slice is all of its picture. Else a picture header comes first.</summary>
    public override bool BeginsPicture(ReadOnlySpan<byte> body) => !body.IsEmpty && (body[0] & 0x80) != 0;

    public override int? TemporalLayerOf(int header) => (header & 7) > 0 ? (header & 7) - 1 : null;

    /// <summary>Not told: the size lies behind constraint flags of variable length.</summary>
    public override (int Width, int Height) SizeOf(ReadOnlySpan<byte> sequence) => default;
}

/// <summary>Sizes that a bitstream claims.</summary>
internal static class Pixels
{
    /// <summary>The size, or zeros where it is not one.</summary>
    public static (int Width, int Height) Of(bool failed, long width, long height) =>
        failed || width is <= 0 or > ushort.MaxValue || height is <= 0 or > ushort.MaxValue
            ? default
            : ((int)width, (int)height);
}
