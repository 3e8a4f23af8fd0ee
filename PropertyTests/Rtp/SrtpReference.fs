/// SRTP as the RFCs say it, over the base library, octet by octet and with no regard to time: what ours is compared with.
module Hybrid.WebRtc.PropertyTests.Rtp.SrtpReference

open System
open System.Buffers.Binary
open System.Security.Cryptography
open Hybrid.WebRtc.Core

let hex (text: string) : byte[] =
    Convert.FromHexString(text.Replace(" ", "").Replace("\n", ""))

let text (bytes: byte[]) : string = Convert.ToHexStringLower bytes

let private big (size: int) (number: uint64) : byte[] =
    [| for i in size - 1 .. -1 .. 0 -> byte (number >>> (8 * i)) |]

let private xor (a: byte[]) (b: byte[]) = Array.map2 (^^^) a b

/// AES-CM, RFC 3711 §4.1.1.
let counterMode (key: byte[]) (iv: byte[]) (plain: byte[]) : byte[] =
    use aes = Aes.Create()
    aes.Key <- key
    let first = BinaryPrimitives.ReadUInt128BigEndian(ReadOnlySpan iv)

    plain
    |> Array.chunkBySize 16
    |> Array.mapi (fun n part ->
        let block = Array.zeroCreate<byte> 16
        BinaryPrimitives.WriteUInt128BigEndian(Span block, first + UInt128.op_Implicit (uint32 n))
        xor part (Array.truncate part.Length (aes.EncryptEcb(block, PaddingMode.None))))
    |> Array.concat

/// The key derivation of RFC 3711 §4.3.1.
let derive (key: byte[]) (salt: byte[]) (label: int) (size: int) : byte[] =
    let salt = Array.append salt (Array.zeroCreate (14 - salt.Length))
    let x = xor salt (big 14 (uint64 label <<< 48))
    counterMode key (Array.append x [| 0uy; 0uy |]) (Array.zeroCreate size)

let private gcm (key: byte[]) (iv: byte[]) (associated: byte[]) (plain: byte[]) : byte[] =
    use gcm = new AesGcm(key, 16)
    let sealed' = Array.zeroCreate plain.Length
    let tag = Array.zeroCreate 16
    gcm.Encrypt(iv, plain, sealed', tag, associated)
    Array.append sealed' tag

let private ivOfCounterMode (salt: byte[]) (ssrc: byte[]) (index: uint64) =
    let padded (bytes: byte[]) left =
        Array.concat [ Array.zeroCreate left; bytes; Array.zeroCreate (16 - left - bytes.Length) ]

    xor (padded salt 0) (xor (padded ssrc 4) (padded (big 6 index) 8))

let private ivOfGcm (salt: byte[]) (ssrc: byte[]) (index: uint64) =
    xor salt (Array.concat [ [| 0uy; 0uy |]; ssrc; big 6 index ])

/// An RTP packet in its parts.
type Parts =
    {
        /// Twelve octets; the counts in the first are those of what follows.
        Fixed: byte[]
        Csrcs: byte[]
        /// Profile and length; empty where there is no extension block.
        Extension: byte[]
        Elements: byte[]
        /// Padding included.
        Payload: byte[]
    }

let packet (p: Parts) : byte[] =
    Array.concat [ p.Fixed; p.Csrcs; p.Extension; p.Elements; p.Payload ]

let headerLength (p: Parts) : int = (packet p).Length - p.Payload.Length

/// What Cryptex makes of a header, RFC 9335 §5.1; the second is whether the packet is to be sealed so.
let private disguised (p: Parts) : struct (Parts * bool) =
    let named (first: byte) =
        { p with
            Extension = Array.concat [ [| first; 0xdeuy |]; p.Extension[2..] ] }

    match p.Extension with
    | [||] when p.Csrcs.Length > 0 ->
        struct ({ p with
                    Fixed = Array.append [| p.Fixed[0] ||| 0x10uy |] p.Fixed[1..]
                    Extension = hex "c0de0000" },
                true)
    | [||] -> struct (p, false)
    | [| 0xbeuy; 0xdeuy; _; _ |] -> struct (named 0xc0uy, true)
    | [| 0x10uy; 0uy; _; _ |] -> struct (named 0xc2uy, true)
    | _ -> struct (p, false)

/// The SRTP packet of a packet.
let internal sealRtp
    (transform: SrtpTransform)
    (key: byte[])
    (salt: byte[])
    (cryptex: bool)
    (index: uint64)
    (p: Parts)
    : byte[] =
    let sessionKey = derive key salt 0 key.Length
    let sessionSalt = derive key salt 2 salt.Length
    let ssrc = p.Fixed[8..11]

    let struct (p, isCryptex) = if cryptex then disguised p else struct (p, false)

    // What is encrypted of the CSRCs, the elements and the payload lies in one piece for the cipher.
    let plain =
        if isCryptex then
            Array.concat [ p.Csrcs; p.Elements; p.Payload ]
        else
            p.Payload

    let assemble (secret: byte[]) =
        if isCryptex then
            let csrcs, rest = Array.splitAt p.Csrcs.Length secret
            Array.concat [ p.Fixed; csrcs; p.Extension; rest ]
        else
            Array.concat [ p.Fixed; p.Csrcs; p.Extension; p.Elements; secret ]

    match transform with
    | SrtpTransform.CounterMode(_, tagSize) ->
        let made =
            assemble (counterMode sessionKey (ivOfCounterMode sessionSalt ssrc index) plain)

        let mac =
            HMACSHA1.HashData(derive key salt 1 20, Array.append made (big 4 (index >>> 16)))

        Array.append made (Array.truncate tagSize mac)
    | SrtpTransform.Gcm _ ->
        let associated =
            if isCryptex then
                Array.append p.Fixed p.Extension
            else
                Array.concat [ p.Fixed; p.Csrcs; p.Extension; p.Elements ]

        assemble (gcm sessionKey (ivOfGcm sessionSalt ssrc index) associated plain)

/// The SRTCP packet of a packet.
let internal sealRtcp
    (transform: SrtpTransform)
    (key: byte[])
    (salt: byte[])
    (index: uint32)
    (packet: byte[])
    : byte[] =
    let sessionKey = derive key salt 3 key.Length
    let sessionSalt = derive key salt 5 salt.Length
    let clear, plain = Array.splitAt 8 packet
    let ssrc = packet[4..7]
    let trailer = big 4 (uint64 (index ||| 0x80000000u))

    match transform with
    | SrtpTransform.CounterMode _ ->
        let secret =
            counterMode sessionKey (ivOfCounterMode sessionSalt ssrc (uint64 index)) plain

        let made = Array.concat [ clear; secret; trailer ]
        Array.append made (Array.truncate 10 (HMACSHA1.HashData(derive key salt 4 20, made)))
    | SrtpTransform.Gcm _ ->
        let secret =
            gcm sessionKey (ivOfGcm sessionSalt ssrc (uint64 index)) (Array.append clear trailer) plain

        Array.concat [ clear; secret; trailer ]
