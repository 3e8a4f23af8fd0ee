namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary

[<Struct; NoComparison; NoEquality>]
type SrtpStream =
    internal
        { Next: uint64
          Current: uint64
          Older: uint64[] }

    member stream.Highest: uint64 = if stream.Next = 0UL then 0UL else stream.Next - 1UL

[<RequireQualifiedAccess>]
module SrtpStream =
    /// Indices that the window reaches back over, the highest included.
    [<Literal>]
    let private Window = 1024UL

    /// Blocks of 64 indices before that of the highest.
    [<Literal>]
    let private Blocks = 16

    /// Sixteen blocks that nothing came of.
    let private nothing: uint64[] = Array.zeroCreate Blocks

    let fresh: SrtpStream =
        { Next = 0UL
          Current = 0UL
          Older = nothing }

    let private slot (block: uint64) : int = int block &&& (Blocks - 1)

    let private bit (index: uint64) : uint64 = 1UL <<< (int index &&& 63)

    /// The index that a sequence number most likely stands for, RFC 3711 §3.3.1: the nearest to the highest. There is none
    /// before zero; a number that would lie there is taken as far ahead.
    let guess (sequence: uint16) (stream: SrtpStream) : uint64 =
        let highest = stream.Highest
        let rollover = highest >>> 16
        let last = int (uint16 highest)
        let sequence = int sequence

        let rollover =
            if stream.Next = 0UL then
                0UL
            elif last < 0x8000 then
                if sequence - last > 0x8000 && rollover > 0UL then
                    rollover - 1UL
                else
                    rollover
            elif last - 0x8000 > sequence then
                rollover + 1UL
            else
                rollover

        (rollover <<< 16) ||| uint64 sequence

    /// Whether a packet of this index has not come, as far as the window reaches back.
    let isNew (index: uint64) (stream: SrtpStream) : bool =
        index >= stream.Next
        || (let highest = stream.Next - 1UL
            let block = index >>> 6

            let seen =
                if block = (highest >>> 6) then
                    stream.Current
                else
                    stream.Older[slot block]

            highest - index < Window && seen &&& bit index = 0UL)

    /// The older blocks once that of the highest is `block`.
    let private advance (block: uint64) (stream: SrtpStream) : uint64[] =
        let last = (stream.Next - 1UL) >>> 6

        if block - last > uint64 Blocks then
            nothing
        else
            let older = Array.copy stream.Older
            older[slot last] <- stream.Current

            for skipped in last + 1UL .. block - 1UL do
                older[slot skipped] <- 0UL

            older

    /// The stream once a packet of this index, which is new, has been authenticated.
    let mark (index: uint64) (stream: SrtpStream) : SrtpStream =
        let block = index >>> 6

        if stream.Next = 0UL then
            { Next = index + 1UL
              Current = bit index
              Older = nothing }
        elif block = ((stream.Next - 1UL) >>> 6) then
            { Next = max stream.Next (index + 1UL)
              Current = stream.Current ||| bit index
              Older = stream.Older }
        elif index >= stream.Next then
            { Next = index + 1UL
              Current = bit index
              Older = advance block stream }
        else
            let older = Array.copy stream.Older
            older[slot block] <- older[slot block] ||| bit index

            { Next = stream.Next
              Current = stream.Current
              Older = older }

[<Struct; NoComparison; NoEquality>]
type SrtpOpened =
    { Stream: SrtpStream
      Length: int
      Index: uint64
      Cryptex: bool }

/// How a packet lies in memory.
[<RequireQualifiedAccess>]
module private SrtpLayout =
    /// Of RTP, RFC 3550 §5.1.
    [<Literal>]
    let FixedHeader = 12

    /// Header and first SSRC of RTCP, which stay in the clear, RFC 3711 §3.4.
    [<Literal>]
    let RtcpClear = 8

    /// The E flag and the SRTCP index.
    [<Literal>]
    let IndexSize = 4

    /// The E flag, RFC 3711 §3.4.
    [<Literal>]
    let Encrypted = 0x80000000u

    /// Profiles of RFC 8285 §4.2 and §4.3, and what Cryptex has in their place, RFC 9335 §4.
    [<Literal>]
    let OneByte = 0xbedeus

    [<Literal>]
    let TwoByte = 0x1000us

    [<Literal>]
    let CryptexOneByte = 0xc0deus

    [<Literal>]
    let CryptexTwoByte = 0xc2deus

    let ssrc (packet: Span<byte>) (offset: int) : uint32 =
        BinaryPrimitives.ReadUInt32BigEndian(Span.op_Implicit (packet.Slice(offset, 4)))

    /// Octets of the CSRCs.
    let csrcs (packet: Span<byte>) : int = 4 * int (packet[0] &&& 0x0fuy)

    let hasExtension (packet: Span<byte>) : bool = packet[0] &&& 0x10uy <> 0uy

    /// The profile of the extension block; zero where there is none within the header.
    let profile (packet: Span<byte>) (headerLength: int) : uint16 =
        let at = FixedHeader + csrcs packet

        if hasExtension packet && at + 4 <= headerLength then
            BinaryPrimitives.ReadUInt16BigEndian(Span.op_Implicit (packet.Slice(at, 2)))
        else
            0us

    let setProfile (packet: Span<byte>) (profile: uint16) : unit =
        BinaryPrimitives.WriteUInt16BigEndian(packet.Slice(FixedHeader + csrcs packet, 2), profile)

    /// Brings the extension block's first four octets before the CSRCs, RFC 9335 §5.2: what is encrypted is of one piece then.
    let gather (packet: Span<byte>) : unit =
        let csrcs = csrcs packet

        if csrcs > 0 then
            let at = packet.Slice(FixedHeader, csrcs + 4)

            let extension =
                BinaryPrimitives.ReadUInt32BigEndian(Span.op_Implicit (at.Slice csrcs))

            at.Slice(0, csrcs).CopyTo(at.Slice 4)
            BinaryPrimitives.WriteUInt32BigEndian(at, extension)

    /// Undoes `gather`.
    let scatter (packet: Span<byte>) : unit =
        let csrcs = csrcs packet

        if csrcs > 0 then
            let at = packet.Slice(FixedHeader, csrcs + 4)
            let extension = BinaryPrimitives.ReadUInt32BigEndian(Span.op_Implicit at)
            at.Slice(4, csrcs).CopyTo at
            BinaryPrimitives.WriteUInt32BigEndian(at.Slice csrcs, extension)

    /// Puts an empty extension block behind the CSRCs, RFC 9335 §5.1, and answers the packet's length.
    let addExtension (packet: Span<byte>) (length: int) : int =
        let at = FixedHeader + csrcs packet
        packet.Slice(at, length - at).CopyTo(packet.Slice(at + 4))
        BinaryPrimitives.WriteUInt32BigEndian(packet.Slice(at, 4), uint32 OneByte <<< 16)
        packet[0] <- packet[0] ||| 0x10uy
        length + 4

[<Sealed>]
type SrtpSeal internal (transform: SrtpTransform, rtp: SrtpCipher, rtcp: SrtpCipher) =
    /// Indices end here, RFC 3711 §9.2.
    static let rtpEnd = 1UL <<< 48

    static let rtcpEnd = 1u <<< 31

    static member internal Create(ciphers: ICiphers, transform: SrtpTransform, key: byte[], salt: byte[]) =
        new SrtpSeal(
            transform,
            SrtpTransform.keys ciphers transform key salt SrtpLabel.Rtp,
            SrtpTransform.keys ciphers transform key salt SrtpLabel.Rtcp
        )

    member _.RtpOverhead: int = SrtpTransform.rtpTagSize transform

    member _.RtcpOverhead: int = SrtpTransform.rtcpTagSize transform + SrtpLayout.IndexSize

    /// Seals what is behind the first `clear` octets. The CSRCs and the extension block have been brought into their order.
    member private _.Encrypt(packet: Span<byte>, length: int, clear: int, index: uint64, scattered: bool) : int =
        let ssrc = SrtpLayout.ssrc packet 8
        let text = packet.Slice(clear, length - clear)

        match rtp with
        | SrtpCipher.CounterMode(cipher, mac, tag, head, tail) ->
            SrtpCipher.applyCounter cipher head tail ssrc index text

            if scattered then
                SrtpLayout.scatter packet

            SrtpCipher.tagRtp mac (Span.op_Implicit (packet.Slice(0, length))) index (packet.Slice(length, tag))
            length + tag
        | SrtpCipher.Gcm(cipher, head, tail) ->
            let tag = packet.Slice(length, 16)
            SrtpCipher.sealGcm cipher head tail ssrc index (Span.op_Implicit (packet.Slice(0, clear))) text tag

            if scattered then
                SrtpLayout.scatter packet

            length + 16

    member this.SealRtp(packet: Span<byte>, length: int, headerLength: int, index: uint64, cryptex: bool) : int =
        if index >= rtpEnd then
            0
        elif not cryptex then
            this.Encrypt(packet, length, headerLength, index, false)
        else
            let length =
                if SrtpLayout.csrcs packet > 0 && not (SrtpLayout.hasExtension packet) then
                    SrtpLayout.addExtension packet length
                else
                    length

            match SrtpLayout.profile packet length with
            | SrtpLayout.OneByte ->
                SrtpLayout.setProfile packet SrtpLayout.CryptexOneByte
                SrtpLayout.gather packet
                this.Encrypt(packet, length, SrtpLayout.FixedHeader + 4, index, true)
            | SrtpLayout.TwoByte ->
                SrtpLayout.setProfile packet SrtpLayout.CryptexTwoByte
                SrtpLayout.gather packet
                this.Encrypt(packet, length, SrtpLayout.FixedHeader + 4, index, true)
            | _ -> this.Encrypt(packet, length, headerLength, index, false)

    member _.SealRtcp(packet: Span<byte>, length: int, index: uint32) : int =
        if index >= rtcpEnd then
            0
        else
            let ssrc = SrtpLayout.ssrc packet 4
            let text = packet.Slice(SrtpLayout.RtcpClear, length - SrtpLayout.RtcpClear)
            let flagged = index ||| SrtpLayout.Encrypted

            match rtcp with
            | SrtpCipher.CounterMode(cipher, mac, tag, head, tail) ->
                SrtpCipher.applyCounter cipher head tail ssrc (uint64 index) text
                BinaryPrimitives.WriteUInt32BigEndian(packet.Slice(length, 4), flagged)
                let length = length + SrtpLayout.IndexSize
                let covered: ReadOnlySpan<byte> = Span.op_Implicit (packet.Slice(0, length))
                mac.Compute(covered, ReadOnlySpan.Empty, packet.Slice(length, tag))
                length + tag
            | SrtpCipher.Gcm(cipher, head, tail) ->
                let clear: ReadOnlySpan<byte> =
                    Span.op_Implicit (packet.Slice(0, SrtpLayout.RtcpClear))

                SrtpCipher.sealGcmIndexed cipher head tail ssrc flagged clear text (packet.Slice(length, 16))
                BinaryPrimitives.WriteUInt32BigEndian(packet.Slice(length + 16, 4), flagged)
                length + 16 + SrtpLayout.IndexSize

    interface IDisposable with
        member _.Dispose() =
            SrtpCipher.dispose rtp
            SrtpCipher.dispose rtcp

[<Sealed>]
type SrtpOpen internal (transform: SrtpTransform, rtp: SrtpCipher, rtcp: SrtpCipher) =
    static let rtpEnd = 1UL <<< 48

    static member internal Create(ciphers: ICiphers, transform: SrtpTransform, key: byte[], salt: byte[]) =
        new SrtpOpen(
            transform,
            SrtpTransform.keys ciphers transform key salt SrtpLabel.Rtp,
            SrtpTransform.keys ciphers transform key salt SrtpLabel.Rtcp
        )

    /// Authenticates and decrypts what is behind the first `clear` octets.
    member private _.Decrypt(packet: Span<byte>, length: int, clear: int, index: uint64, cryptex: bool) : bool =
        let ssrc = SrtpLayout.ssrc packet 8
        let tag: ReadOnlySpan<byte> = Span.op_Implicit (packet.Slice length)
        let text = packet.Slice(clear, length - clear)

        match rtp with
        | SrtpCipher.CounterMode(cipher, mac, _, head, tail) ->
            SrtpCipher.fitsRtp mac (Span.op_Implicit (packet.Slice(0, length))) index tag
            && (if cryptex then
                    SrtpLayout.gather packet

                SrtpCipher.applyCounter cipher head tail ssrc index text
                true)
        | SrtpCipher.Gcm(cipher, head, tail) ->
            if cryptex then
                SrtpLayout.gather packet

            SrtpCipher.openGcm cipher head tail ssrc index (Span.op_Implicit (packet.Slice(0, clear))) text tag

    member this.OpenRtp(packet: Span<byte>, headerLength: int, stream: SrtpStream) : Result<SrtpOpened, Drop> =
        let length = packet.Length - SrtpTransform.rtpTagSize transform

        if headerLength < SrtpLayout.FixedHeader || headerLength > length then
            Error Drop.Malformed
        else
            let sequence =
                BinaryPrimitives.ReadUInt16BigEndian(Span.op_Implicit (packet.Slice(2, 2)))

            let index = SrtpStream.guess sequence stream
            let profile = SrtpLayout.profile packet headerLength

            let cryptex =
                profile = SrtpLayout.CryptexOneByte || profile = SrtpLayout.CryptexTwoByte

            let clear = if cryptex then SrtpLayout.FixedHeader + 4 else headerLength

            if index >= rtpEnd then
                Error Drop.Unexpected
            elif not (SrtpStream.isNew index stream) then
                Error Drop.Replayed
            elif not (this.Decrypt(packet, length, clear, index, cryptex)) then
                Error Drop.Unauthentic
            else
                if cryptex then
                    SrtpLayout.scatter packet

                    SrtpLayout.setProfile
                        packet
                        (if profile = SrtpLayout.CryptexOneByte then
                             SrtpLayout.OneByte
                         else
                             SrtpLayout.TwoByte)

                Ok
                    { Stream = SrtpStream.mark index stream
                      Length = length
                      Index = index
                      Cryptex = cryptex }

    /// Authenticates and decrypts an RTCP packet of `length` octets without its index and tag.
    member private _.DecryptRtcp(packet: Span<byte>, length: int, flagged: uint32) : bool =
        let ssrc = SrtpLayout.ssrc packet 4
        let text = packet.Slice(SrtpLayout.RtcpClear, length - SrtpLayout.RtcpClear)

        match rtcp with
        | SrtpCipher.CounterMode(cipher, mac, tag, head, tail) ->
            let covered = packet.Length - tag

            SrtpCipher.fitsRtcp
                mac
                (Span.op_Implicit (packet.Slice(0, covered)))
                (Span.op_Implicit (packet.Slice covered))
            && (SrtpCipher.applyCounter cipher head tail ssrc (uint64 (flagged &&& ~~~SrtpLayout.Encrypted)) text
                true)
        | SrtpCipher.Gcm(cipher, head, tail) ->
            let clear: ReadOnlySpan<byte> =
                Span.op_Implicit (packet.Slice(0, SrtpLayout.RtcpClear))

            let tag: ReadOnlySpan<byte> = Span.op_Implicit (packet.Slice(length, 16))
            SrtpCipher.openGcmIndexed cipher head tail ssrc flagged clear text tag

    member this.OpenRtcp(packet: Span<byte>, stream: SrtpStream) : Result<SrtpOpened, Drop> =
        let tag = SrtpTransform.rtcpTagSize transform
        let length = packet.Length - tag - SrtpLayout.IndexSize

        if length < SrtpLayout.RtcpClear then
            Error Drop.Malformed
        else
            // The index is before the tag of HMAC, RFC 3711 §3.4, and behind that of GCM, RFC 7714 §9.2.
            let indexAt =
                match rtcp with
                | SrtpCipher.CounterMode _ -> length
                | SrtpCipher.Gcm _ -> length + tag

            let flagged = SrtpLayout.ssrc packet indexAt
            let index = uint64 (flagged &&& ~~~SrtpLayout.Encrypted)

            if flagged &&& SrtpLayout.Encrypted = 0u then
                Error Drop.Unsupported
            elif not (SrtpStream.isNew index stream) then
                Error Drop.Replayed
            elif not (this.DecryptRtcp(packet, length, flagged)) then
                Error Drop.Unauthentic
            else
                Ok
                    { Stream = SrtpStream.mark index stream
                      Length = length
                      Index = index
                      Cryptex = false }

    interface IDisposable with
        member _.Dispose() =
            SrtpCipher.dispose rtp
            SrtpCipher.dispose rtcp

[<RequireQualifiedAccess>]
module Srtp =
    let profileName (profile: SrtpProfile) : string =
        match profile with
        | SrtpProfile.Aes128CmHmacSha1_80 -> "SRTP_AES128_CM_HMAC_SHA1_80"
        | SrtpProfile.Aes128CmHmacSha1_32 -> "SRTP_AES128_CM_HMAC_SHA1_32"
        | SrtpProfile.AeadAes128Gcm -> "SRTP_AEAD_AES_128_GCM"
        | SrtpProfile.AeadAes256Gcm -> "SRTP_AEAD_AES_256_GCM"
        | _ -> ""

    let sealing (ciphers: ICiphers) (profile: SrtpProfile) (keys: SrtpKeys) (role: DtlsRole) : SrtpSeal =
        let transform = SrtpTransform.ofProfile profile

        match role with
        | DtlsRole.Client -> SrtpSeal.Create(ciphers, transform, keys.ClientKey, keys.ClientSalt)
        | _ -> SrtpSeal.Create(ciphers, transform, keys.ServerKey, keys.ServerSalt)

    let opening (ciphers: ICiphers) (profile: SrtpProfile) (keys: SrtpKeys) (role: DtlsRole) : SrtpOpen =
        let transform = SrtpTransform.ofProfile profile

        match role with
        | DtlsRole.Client -> SrtpOpen.Create(ciphers, transform, keys.ServerKey, keys.ServerSalt)
        | _ -> SrtpOpen.Create(ciphers, transform, keys.ClientKey, keys.ClientSalt)
