namespace Hybrid.WebRtc.Core.Tls13

open System
open System.Text
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// A share of a key agreement, RFC 8446 §4.2.8.
[<NoComparison>]
type internal KeyShare = { Group: uint16; Exchange: byte[] }

/// An entry of a Certificate, RFC 8446 §4.4.2.
[<NoComparison>]
type internal CertificateEntry =
    {
        /// X.509, DER.
        Data: byte[]
        Extensions: Extension[]
    }

/// Certificate, RFC 8446 §4.4.2: the leaf first.
[<NoComparison>]
type internal Certificate13 =
    {
        /// The request's, which is empty in a handshake.
        Context: byte[]
        Entries: CertificateEntry[]
    }

/// CertificateRequest, RFC 8446 §4.3.2.
[<NoComparison>]
type internal CertificateRequest13 =
    { Context: byte[]
      Extensions: Extension[] }

/// A record's number, as an ACK names it, RFC 9147 §7.
[<Struct>]
type internal RecordNumber = { Epoch: uint64; Sequence: uint64 }

/// Extensions of 1.3, RFC 8446 §4.2.
[<RequireQualifiedAccess>]
module internal Extensions13 =
    /// DTLS 1.3 in supported_versions, RFC 9147 §5.3.
    [<Literal>]
    let Version = 0xfefcus

    [<Literal>]
    let Cookie = 44us

    [<Literal>]
    let KeyShare = 51us

    let private extension kind data : Extension = { Type = kind; Data = data }

    /// A number of 16 bits that fills the extension.
    let private readNumber (data: byte[]) : uint16 voption =
        let mutable r = Reader(ReadOnlySpan data)
        let number = r.UInt16()

        if r.Ok && r.Remaining = 0 then
            ValueSome number
        else
            ValueNone

    let private writeShare (share: KeyShare) : byte[] =
        Array.append (Octets.u16 (int share.Group)) (Octets.vector16 share.Exchange)

    /// A client's versions, best first.
    let versions (ours: uint16[]) : Extension =
        extension Extensions.SupportedVersions (Octets.vector8 (Octets.u16s ours))

    /// The server's one.
    let version (chosen: uint16) : Extension =
        extension Extensions.SupportedVersions (Octets.u16 (int chosen))

    let readVersion (data: byte[]) : uint16 voption = readNumber data

    /// A client's shares, best first.
    let keyShares (shares: KeyShare[]) : Extension =
        extension KeyShare (Octets.vector16 (Array.collect writeShare shares))

    /// Reads a client's. ValueNone where malformed, or a group comes twice (RFC 8446 §4.2.8).
    let readKeyShares (data: byte[]) : KeyShare[] voption =
        let mutable r = Reader(ReadOnlySpan data)
        let length = int (r.UInt16())
        let mutable ok = r.Ok && length = r.Remaining
        let shares = ResizeArray<KeyShare>()

        while ok && not r.AtEnd do
            let group = r.UInt16()
            let exchange = r.Bytes(int (r.UInt16())).ToArray()

            ok <- r.Ok && exchange.Length > 0 && not (shares.Exists(fun s -> s.Group = group))

            shares.Add { Group = group; Exchange = exchange }

        if ok then ValueSome(shares.ToArray()) else ValueNone

    /// The server's one.
    let keyShare (share: KeyShare) : Extension = extension KeyShare (writeShare share)

    let readKeyShare (data: byte[]) : KeyShare voption =
        let mutable r = Reader(ReadOnlySpan data)
        let group = r.UInt16()
        let exchange = r.Bytes(int (r.UInt16())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome { Group = group; Exchange = exchange }
        else
            ValueNone

    /// The group that a HelloRetryRequest wants a share of.
    let wantedGroup (group: uint16) : Extension =
        extension KeyShare (Octets.u16 (int group))

    let readWantedGroup (data: byte[]) : uint16 voption = readNumber data

    let cookie (bytes: byte[]) : Extension =
        extension Cookie (Octets.vector16 bytes)

    let readCookie (data: byte[]) : byte[] voption =
        let mutable r = Reader(ReadOnlySpan data)
        let bytes = r.Bytes(int (r.UInt16())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome bytes
        else
            ValueNone

/// Messages of 1.3, RFC 8446 §4 and RFC 9147 §5.
[<RequireQualifiedAccess>]
module internal Messages13 =
    /// The random that makes a ServerHello a HelloRetryRequest, RFC 8446 §4.1.3.
    let retryRandom: byte[] =
        Convert.FromHexString "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"

    /// What the last 8 octets of a server's random are where it speaks 1.3 and has chosen 1.2, RFC 8446 §4.1.3.
    let downgrade: byte[] = "DOWNGRD\001"B

    let writeEncryptedExtensions (extensions: Extension[]) : byte[] = Message.writeExtensions extensions

    let readEncryptedExtensions (body: byte[]) : Extension[] voption =
        // Unlike a hello's they are never left out, RFC 8446 §4.3.1.
        if body.Length < 2 then
            ValueNone
        else
            Message.readExtensions (ReadOnlySpan body)

    let writeCertificateRequest (request: CertificateRequest13) : byte[] =
        Array.append (Octets.vector8 request.Context) (Message.writeExtensions request.Extensions)

    let readCertificateRequest (body: byte[]) : CertificateRequest13 voption =
        let mutable r = Reader(ReadOnlySpan body)
        let context = r.Bytes(int (r.Byte())).ToArray()

        if r.Ok && r.Remaining >= 2 then
            Message.readExtensions (r.ToEnd())
            |> ValueOption.map (fun extensions ->
                { Context = context
                  Extensions = extensions })
        else
            ValueNone

    let writeCertificate (certificate: Certificate13) : byte[] =
        Array.append
            (Octets.vector8 certificate.Context)
            (certificate.Entries
             |> Array.collect (fun entry ->
                 Array.append (Octets.vector24 entry.Data) (Message.writeExtensions entry.Extensions))
             |> Octets.vector24)

    let readCertificate (body: byte[]) : Certificate13 voption =
        let mutable r = Reader(ReadOnlySpan body)
        let context = r.Bytes(int (r.Byte())).ToArray()
        let length = r.UInt24()
        let mutable ok = r.Ok && length = r.Remaining
        let entries = ResizeArray<CertificateEntry>()

        while ok && not r.AtEnd do
            let data = r.Bytes(r.UInt24()).ToArray()
            let size = int (r.UInt16())
            let rest = r.Bytes size

            if r.Ok && data.Length > 0 then
                match Message.readExtensions (ReadOnlySpan(Octets.vector16 (rest.ToArray()))) with
                | ValueSome extensions -> entries.Add { Data = data; Extensions = extensions }
                | ValueNone -> ok <- false
            else
                ok <- false

        if ok then
            ValueSome
                { Context = context
                  Entries = entries.ToArray() }
        else
            ValueNone

    /// What a CertificateVerify signs, RFC 8446 §4.4.3.
    let signed (ofClient: bool) (transcriptHash: byte[]) : byte[] =
        let label =
            if ofClient then
                "TLS 1.3, client CertificateVerify"
            else
                "TLS 1.3, server CertificateVerify"

        Array.concat
            [ Array.create 64 0x20uy
              Encoding.ASCII.GetBytes label
              [| 0uy |]
              transcriptHash ]

    /// KeyUpdate, RFC 8446 §4.6.3: whether the peer shall update its keys, too.
    let writeKeyUpdate (isRequested: bool) : byte[] =
        [| (if isRequested then 1uy else 0uy) |]

    let readKeyUpdate (body: byte[]) : bool voption =
        match body with
        | [| 0uy |] -> ValueSome false
        | [| 1uy |] -> ValueSome true
        | _ -> ValueNone

    /// Records that one ACK may name: a bound on work. A flight has some ten.
    [<Literal>]
    let MaxAcked = 256

    let ackSize (records: RecordNumber[]) : int = 2 + 16 * records.Length

    /// ACK, RFC 9147 §7, into `ackSize` octets.
    let writeAck (into: Span<byte>) (records: RecordNumber[]) : unit =
        let mutable w = Writer into
        w.UInt16(uint16 (16 * records.Length))

        for record in records do
            w.UInt64 record.Epoch
            w.UInt64 record.Sequence

    /// ValueNone where it is malformed, or names more than `MaxAcked`.
    let readAck (body: ReadOnlySpan<byte>) : RecordNumber[] voption =
        let mutable r = Reader body
        let length = int (r.UInt16())

        if r.Ok && length = r.Remaining && length % 16 = 0 && length / 16 <= MaxAcked then
            let records = Array.zeroCreate (length / 16)

            for i in 0 .. records.Length - 1 do
                records[i] <-
                    { Epoch = r.UInt64()
                      Sequence = r.UInt64() }

            ValueSome records
        else
            ValueNone
