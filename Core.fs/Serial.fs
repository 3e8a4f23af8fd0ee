namespace Hybrid.WebRtc.Core

/// Transmission Sequence Number, RFC 9260 §1.6. `a < b` does not compile; ask `Tsn.isAfter`.
[<Struct; NoComparison>]
type Tsn = Tsn of uint32

/// Stream Sequence Number, RFC 9260 §6.5. It wraps after 65,536 messages.
[<Struct; NoComparison>]
type Ssn = Ssn of uint16

/// Message Identifier, RFC 8260 §2.1: a message's number in its stream, which I-DATA carries whole. DATA carries its low 16 bits
/// as the SSN.
[<Struct; NoComparison>]
type Mid = Mid of uint32

/// Arithmetic of transmission sequence numbers, modulo 2³² (RFC 1982).
///
/// Inside a machine a TSN is kept *unwrapped*: an `int64` whose low 32 bits are the TSN and which never wraps,
/// so that `<` means what it says. Only the wire sees `Tsn`.
[<RequireQualifiedAccess>]
module Tsn =
    /// The 32 bits that go on the wire.
    let inline value (Tsn t) = t

    /// Whether `a` was assigned after `b`, RFC 1982 §3.2. False for exact opposites.
    let isAfter (Tsn b) (Tsn a) : bool = int32 (a - b) > 0

    /// How far `a` lies ahead of `b`; negative where it lies behind.
    let distance (Tsn b) (Tsn a) : int = int32 (a - b)

    /// The TSN that follows.
    let next (Tsn t) : Tsn = Tsn(t + 1u)

    /// The first unwrapped number of a TSN. One turn above zero, so that what came before it is still positive.
    let first (Tsn t) : int64 = 0x1_0000_0000L + int64 t

    /// The unwrapped number of a TSN that lies within 2³¹ of `near`.
    let unwrap (near: int64) (Tsn t) : int64 = near + int64 (int32 (t - uint32 near))

    /// The TSN of an unwrapped number.
    let inline wrap (unwrapped: int64) : Tsn = Tsn(uint32 unwrapped)

/// Arithmetic of stream sequence numbers, modulo 2¹⁶ (RFC 1982).
[<RequireQualifiedAccess>]
module Ssn =
    /// The 16 bits that go on the wire.
    let inline value (Ssn s) = s

    /// Of the first message of a stream, and of the first after a reset.
    let zero = Ssn 0us

    /// The SSN that follows.
    let next (Ssn s) : Ssn = Ssn(s + 1us)

    /// Whether `a` was assigned after `b`, RFC 1982 §3.2. False for exact opposites.
    let isAfter (Ssn b) (Ssn a) : bool = int16 (a - b) > 0s

    /// How many steps of `next` lead from `b` to `a`: 0 to 65,535.
    let ahead (Ssn b) (Ssn a) : int = int (a - b)

/// Arithmetic of message identifiers, modulo 2³² (RFC 1982).
[<RequireQualifiedAccess>]
module Mid =
    /// The 32 bits that I-DATA carries.
    let inline value (Mid m) = m

    /// Of the first message of a stream, and of the first after a reset.
    let zero = Mid 0u

    /// The MID that follows.
    let next (Mid m) : Mid = Mid(m + 1u)

    /// What DATA carries of it.
    let inline toSsn (Mid m) : Ssn = Ssn(uint16 m)

    /// What is known of it from DATA.
    let inline ofSsn (Ssn s) : Mid = Mid(uint32 s)

    /// Whether `a` was assigned after `b`, RFC 1982 §3.2. False for exact opposites.
    let isAfter (Mid b) (Mid a) : bool = int32 (a - b) > 0

    /// How far `a` lies ahead of `b`; negative where it lies behind.
    let distance (Mid b) (Mid a) : int = int32 (a - b)

    /// The unwrapped number of a MID that lies within 2³¹ of `near`.
    let unwrap (near: int64) (Mid m) : int64 = near + int64 (int32 (m - uint32 near))

    /// The MID of an unwrapped number.
    let inline wrap (unwrapped: int64) : Mid = Mid(uint32 unwrapped)

/// Sequence numbers of RTP inside a machine: an `int64` that never wraps, whose low 16 bits are the wire's. A turn above SRTP's
/// index (RFC 3711 §3.3.1), so that what came before the first is still positive.
[<RequireQualifiedAccess>]
module internal Sequence =
    [<Literal>]
    let private Turn = 65_536L

    /// The number of an SRTP index.
    let ofIndex (index: uint64) : int64 = Turn + int64 index

    /// The SRTP index of a number; 0 for what lies before all of them.
    let toIndex (number: int64) : uint64 = uint64 (max 0L (number - Turn))

    /// The number that lies within 2¹⁵ of `near`.
    let unwrap (near: int64) (sequence: uint16) : int64 =
        near + int64 (int16 (sequence - uint16 near))
