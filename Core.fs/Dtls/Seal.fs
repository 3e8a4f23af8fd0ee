namespace Hybrid.WebRtc.Core.Tls

open System
open Hybrid.WebRtc.Core.Tls13

/// What protects the records of an epoch of ours.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Sealing =
    | Clear
    | Dtls12 of Protection
    | Dtls13 of Protection13

[<RequireQualifiedAccess>]
module internal Sealing =
    /// Where the plaintext begins in a record.
    let plaintextOffset (sealing: Sealing) : int =
        match sealing with
        | Sealing.Clear -> Record.HeaderSize
        | Sealing.Dtls12 protection -> Record.plaintextOffset protection
        | Sealing.Dtls13 _ -> Ciphertext.HeaderSize

    /// Octets that a record has beside its plaintext.
    let overhead (sealing: Sealing) : int =
        match sealing with
        | Sealing.Clear -> Record.HeaderSize
        | Sealing.Dtls12 protection -> Record.overhead protection
        | Sealing.Dtls13 _ -> Ciphertext.Overhead

    /// Makes a record of the `length` octets at `plaintextOffset` and answers its octets. `version` is the header's, where it has one.
    let write
        (sealing: Sealing)
        kind
        version
        (epoch: uint64)
        (sequence: uint64)
        (into: Span<byte>)
        (length: int)
        : int =
        match sealing with
        | Sealing.Clear ->
            Record.writeHeader into kind version (uint16 epoch) sequence length
            Record.HeaderSize + length
        | Sealing.Dtls12 protection -> Record.seal protection kind (uint16 epoch) sequence into length
        | Sealing.Dtls13 protection -> Ciphertext.seal protection kind epoch sequence into length

namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Tls

/// Leave to send one record of application data: its sequence number is spent. The caller lays the plaintext into its
/// buffer at `PlaintextOffset`, leaves 17 octets of room behind it, and calls `Write`.
[<Struct; NoComparison; NoEquality>]
type DtlsSeal =
    internal
        { Sealing: Sealing
          Epoch: uint64
          Sequence: uint64 }

    /// Leave for the record after this one, where it was asked for along with this.
    member seal.Next: DtlsSeal = seal.After 1

    /// Leave for the n-th record after this one, where it was asked for along with this.
    member internal seal.After(n: int) : DtlsSeal =
        { Sealing = seal.Sealing
          Epoch = seal.Epoch
          Sequence = seal.Sequence + uint64 n }

    /// Where the plaintext begins in the record: 5 with DTLS 1.3; with 1.2 21 for AES-GCM, 13 for ChaCha20-Poly1305.
    member seal.PlaintextOffset: int = Sealing.plaintextOffset seal.Sealing

    /// Octets that the record has beside its plaintext: 22 with DTLS 1.3; with 1.2 37 for AES-GCM, 29 for ChaCha20-Poly1305.
    member seal.Overhead: int = Sealing.overhead seal.Sealing

    /// Seals `plaintextLength` octets at `PlaintextOffset` in place and puts what belongs to a record around them. Answers the
    /// octets of the record, from the start of `record`. Call it once.
    member seal.Write(record: Span<byte>, plaintextLength: int) : int =
        Sealing.write
            seal.Sealing
            ContentType.ApplicationData
            Record.Version
            seal.Epoch
            seal.Sequence
            record
            plaintextLength
