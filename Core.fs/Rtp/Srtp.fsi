namespace Hybrid.WebRtc.Core

open System

/// What a receiver knows of one SSRC's packets, RTP or RTCP (a stream of RTCP is a stream of its own): the highest index,
/// and which of the 1,024 indices up to it have come (RFC 3711 §3.3.2). An immutable value: keep the one that was answered.
/// Following packets in their order costs two octets a packet on average; one that is more than 63 behind, 152.
[<Struct; NoComparison; NoEquality>]
type SrtpStream =
    internal
        {
            /// One more than the highest index that was authenticated; zero before the first.
            Next: uint64
            /// Bit i: whether index 64 * block + i has come, where block is that of the highest index.
            Current: uint64
            /// The same of the 16 blocks before, each at its number modulo 16. Never written after it was made.
            Older: uint64[]
        }

    /// The highest index that was authenticated: rollover counter and sequence number of RTP, 48 bits, or RTCP's 31 bits.
    /// Zero before the first packet.
    member Highest: uint64

[<RequireQualifiedAccess>]
module SrtpStream =
    /// Of an SSRC that nothing authentic has come from. Keep a stream only once a packet of it was opened, else forged
    /// packets fill memory.
    val fresh: SrtpStream

    /// The index that a sequence number most likely stands for, RFC 3711 §3.3.1: the nearest to the highest. There is none
    /// before zero; a number that would lie there is taken as far ahead.
    val internal guess: sequence: uint16 -> stream: SrtpStream -> uint64

    /// Whether a packet of this index has not come, as far as the window reaches back.
    val internal isNew: index: uint64 -> stream: SrtpStream -> bool

    /// The stream once a packet of this index, which is new, has been authenticated.
    val internal mark: index: uint64 -> stream: SrtpStream -> SrtpStream

/// A packet that was authentic, new, and decrypted in place.
[<Struct; NoComparison; NoEquality>]
type SrtpOpened =
    {
        /// What is known of the SSRC from now on.
        Stream: SrtpStream
        /// Octets of the packet, from the start of what was given: all but the tag, and RTCP's index.
        Length: int
        /// Rollover counter and sequence number of RTP, 48 bits, or RTCP's index of 31 bits.
        Index: uint64
        /// Whether CSRCs and header extensions were encrypted, too (Cryptex, RFC 9335).
        Cryptex: bool
    }

/// The session keys of what we send. It keeps no state but the keys: indices are the caller's, and to use one twice with
/// different content breaks the encryption. Safe to use from one thread at a time. Nothing is allocated a packet.
[<Sealed>]
type SrtpSeal =
    interface IDisposable

    /// Octets that sealing adds to an RTP packet: the tag's 16, 10 or 4.
    member RtpOverhead: int

    /// Octets that sealing adds to an RTCP packet: the tag's 16 or 10, and four of the index.
    member RtcpOverhead: int

    /// Seals the RTP packet in the first `length` octets of `packet` in place; behind it lies room for `RtpOverhead` octets.
    /// Answers the octets of the SRTP packet.
    ///
    /// `headerLength` reaches over the fixed header, the CSRCs and the extension block. `index` is the rollover counter before
    /// the packet's sequence number (RFC 3711 §3.3.1); at 2⁴⁸ the keys are spent, and the answer is zero: nothing was sealed.
    ///
    /// With `cryptex` the CSRCs and header extensions are encrypted, too, where the extensions are those of RFC 8285 with
    /// profile 0xBEDE or 0x1000 (RFC 9335 §5.1). A packet with CSRCs but no extension block gets an empty one: four octets
    /// more, for which there is to be room.
    member SealRtp: packet: Span<byte> * length: int * headerLength: int * index: uint64 * cryptex: bool -> int

    /// Seals the compound RTCP packet in the first `length` octets of `packet`, at least eight, in place; behind it lies room
    /// for `RtcpOverhead` octets. Answers the octets of the SRTCP packet. `index` counts the packets of the first report's
    /// SSRC (RFC 3711 §3.4); at 2³¹ the keys are spent, and the answer is zero: nothing was sealed.
    member SealRtcp: packet: Span<byte> * length: int * index: uint32 -> int

    /// Of session keys.
    internal new: SrtpTransform * rtp: SrtpCipher * rtcp: SrtpCipher -> SrtpSeal

    /// Of a master key and salt.
    static member internal Create: ICiphers * SrtpTransform * key: byte[] * salt: byte[] -> SrtpSeal

/// The session keys of what we receive. It keeps no state but the keys. Safe to use from one thread at a time.
/// What is refused leaves the stream as it was; the packet's octets are then undefined.
[<Sealed>]
type SrtpOpen =
    interface IDisposable

    /// Opens an SRTP packet in place; `stream` is that of its SSRC, `fresh` for a new one. `headerLength` reaches over the
    /// fixed header, the CSRCs and the extension block. Cryptex (RFC 9335) is told by the extension block's profile, which
    /// becomes 0xBEDE or 0x1000 again.
    ///
    /// `Malformed`: shorter than its header and a tag; `Replayed`: seen, or more than 1,023 behind the highest; `Unauthentic`:
    /// the tag does not fit; `Unexpected`: beyond 2⁴⁸ packets.
    member OpenRtp: packet: Span<byte> * headerLength: int * stream: SrtpStream -> Result<SrtpOpened, Drop>

    /// Opens an SRTCP packet in place; `stream` is that of the SSRC of its first report (octets 4 to 7), `fresh` for a new one.
    ///
    /// `Malformed`: shorter than a header, index and tag; `Unsupported`: not encrypted, which only a peer who signals
    /// UNENCRYPTED_SRTCP may send, and DTLS-SRTP has no such signal; `Replayed` and `Unauthentic` as in `OpenRtp`.
    member OpenRtcp: packet: Span<byte> * stream: SrtpStream -> Result<SrtpOpened, Drop>

    /// Of session keys.
    internal new: SrtpTransform * rtp: SrtpCipher * rtcp: SrtpCipher -> SrtpOpen

    /// Of a master key and salt.
    static member internal Create: ICiphers * SrtpTransform * key: byte[] * salt: byte[] -> SrtpOpen

/// SRTP and SRTCP, RFC 3711, with AES-GCM, RFC 7714, keyed by DTLS, RFC 5764.
[<RequireQualifiedAccess>]
module Srtp =
    /// The profile's IANA name.
    val profileName: profile: SrtpProfile -> string

    /// The session keys of what we send, who were `role` in the handshake that gave `keys`. Derived once: a packet costs none
    /// of it.
    val sealing: ciphers: ICiphers -> profile: SrtpProfile -> keys: SrtpKeys -> role: DtlsRole -> SrtpSeal

    /// The session keys of what we receive, who were `role` in the handshake that gave `keys`.
    val opening: ciphers: ICiphers -> profile: SrtpProfile -> keys: SrtpKeys -> role: DtlsRole -> SrtpOpen
