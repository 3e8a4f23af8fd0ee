namespace Hybrid.WebRtc.Core.Stun

open System
open System.Buffers.Binary
open System.Text
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What kind of message it is, RFC 8489 §5.
[<RequireQualifiedAccess; NoComparison>]
type Class =
    | Request
    | Indication
    | Success
    | Error

/// What it is about: 12 bits, IANA "STUN Methods". Numbers without a name are possible.
type Method =
    | Binding = 0x001us
    | Allocate = 0x003us
    | Refresh = 0x004us
    | Send = 0x006us
    | Data = 0x007us
    | CreatePermission = 0x008us
    | ChannelBind = 0x009us
    | Connect = 0x00aus
    | ConnectionBind = 0x00bus
    | ConnectionAttempt = 0x00cus

/// A STUN message, RFC 8489 §5, without its integrity and fingerprint.
///
///      0                   1                   2                   3
///     |0 0|     STUN Message Type     |         Message Length        |
///     |                  Magic Cookie = 0x2112A442                    |
///     |                     Transaction ID (96 bits)                  |
[<NoComparison>]
type Message =
    {
        Class: Class
        Method: Method
        Transaction: TransactionId
        /// In the order of the wire. Of several of one type only the first counts, RFC 8489 §14.
        Attributes: Attribute[]
    }

/// What `Message.verify` found.
[<RequireQualifiedAccess; NoComparison>]
type Verification =
    /// Neither MESSAGE-INTEGRITY nor MESSAGE-INTEGRITY-SHA256 is there.
    | Absent
    /// Made with another key, or altered on the way.
    | Wrong
    /// Made by one who knows the key.
    | Right

/// How a message that leaves is protected.
[<NoComparison>]
type Integrity =
    | Unprotected
    /// MESSAGE-INTEGRITY: HMAC-SHA1, RFC 8489 §14.5. ICE's.
    | HmacSha1 of Key: byte[]
    /// MESSAGE-INTEGRITY-SHA256, RFC 8489 §14.6.
    | HmacSha256 of Key: byte[]

/// A message that leaves: what it says, how it is protected, and whether a FINGERPRINT closes it.
[<NoComparison>]
type Outgoing =
    { Message: Message
      Integrity: Integrity
      Fingerprint: bool }

/// CRC-32 of ISO 3309, as FINGERPRINT has it, RFC 8489 §14.7.
[<RequireQualifiedAccess>]
module internal Crc32 =
    let private table =
        Array.init 256 (fun i ->
            let mutable crc = uint32 i

            for _ in 1..8 do
                crc <-
                    if crc &&& 1u <> 0u then
                        0xedb88320u ^^^ (crc >>> 1)
                    else
                        crc >>> 1

            crc)

    let compute (bytes: ReadOnlySpan<byte>) : uint32 =
        let mutable crc = 0xffffffffu

        for b in bytes do
            crc <- table[int (byte crc ^^^ b)] ^^^ (crc >>> 8)

        ~~~crc

/// Messages: reading, verifying, and asking what is in them.
[<RequireQualifiedAccess>]
module Message =
    [<Literal>]
    let internal HeaderSize = 20

    [<Literal>]
    let internal MagicCookie = 0x2112a442u

    /// RFC 8489 §14.7.
    [<Literal>]
    let internal FingerprintMask = 0x5354554eu

    /// More attributes than this in one message is no STUN that anyone speaks.
    [<Literal>]
    let private MaxAttributes = 64

    /// Whether a datagram is STUN by its header alone, RFC 8489 §5 and RFC 7983 §7: cheap enough for every packet.
    [<CompiledName "IsStun">]
    let isStun (datagram: ReadOnlySpan<byte>) : bool =
        datagram.Length >= HeaderSize
        && datagram[0] < 4uy
        && BinaryPrimitives.ReadUInt32BigEndian(datagram.Slice 4) = MagicCookie
        && datagram[3] &&& 3uy = 0uy
        && int (BinaryPrimitives.ReadUInt16BigEndian(datagram.Slice 2)) = datagram.Length - HeaderSize

    // The type interleaves class and method, RFC 8489 §5: M11-M7 C1 M6-M4 C0 M3-M0.
    let internal typeOf (kind: Class) (method: Method) : uint16 =
        let m = uint16 method

        let c =
            match kind with
            | Class.Request -> 0us
            | Class.Indication -> 0x0010us
            | Class.Success -> 0x0100us
            | Class.Error -> 0x0110us

        ((m &&& 0xf80us) <<< 2) ||| ((m &&& 0x070us) <<< 1) ||| (m &&& 0x00fus) ||| c

    let private classOf (kind: uint16) : Class =
        match kind &&& 0x0110us with
        | 0us -> Class.Request
        | 0x0010us -> Class.Indication
        | 0x0100us -> Class.Success
        | _ -> Class.Error

    let private methodOf (kind: uint16) : Method =
        LanguagePrimitives.EnumOfValue(((kind >>> 2) &&& 0xf80us) ||| ((kind >>> 1) &&& 0x070us) ||| (kind &&& 0x00fus))

    /// Whether a STUN message is about Binding, by its type alone.
    let internal isBinding (message: ReadOnlySpan<byte>) : bool =
        (BinaryPrimitives.ReadUInt16BigEndian message &&& ~~~0x0110us) = uint16 Method.Binding

    /// Whether a datagram is a Binding request, by its header alone.
    let internal isBindingRequest (datagram: ReadOnlySpan<byte>) : bool =
        isStun datagram
        && BinaryPrimitives.ReadUInt16BigEndian datagram = typeOf Class.Request Method.Binding

    let private transactionOf (message: ReadOnlySpan<byte>) : TransactionId =
        { High = BinaryPrimitives.ReadUInt32BigEndian(message.Slice 8)
          Low = BinaryPrimitives.ReadUInt64BigEndian(message.Slice 12) }

    /// Where the first attribute of this type begins (its header); -1 where there is none, or the attributes overrun.
    let private find (kind: uint16) (message: ReadOnlySpan<byte>) : int =
        let mutable at = HeaderSize
        let mutable found = -1

        while found < 0 && at + 4 <= message.Length do
            let length = int (BinaryPrimitives.ReadUInt16BigEndian(message.Slice(at + 2)))

            if at + 4 + length > message.Length then
                at <- message.Length
            elif BinaryPrimitives.ReadUInt16BigEndian(message.Slice at) = kind then
                found <- at
            else
                at <- at + 4 + Attribute.padded length

        found

    let private valueAt (at: int) (message: ReadOnlySpan<byte>) : ReadOnlySpan<byte> =
        message.Slice(at + 4, int (BinaryPrimitives.ReadUInt16BigEndian(message.Slice(at + 2))))

    // RFC 8489 §14.7: over all before the attribute, which is the last.
    let private fingerprintFits (message: ReadOnlySpan<byte>) (at: int) : bool =
        at + 8 = message.Length
        && BinaryPrimitives.ReadUInt32BigEndian(message.Slice(at + 4)) =
            (Crc32.compute (message.Slice(0, at)) ^^^ FingerprintMask)

    /// Reads a datagram that is one STUN message. ValueNone: not STUN, attributes that overrun or cannot be what they
    /// claim, more than 64 of them, or a FINGERPRINT that does not fit. Integrity is not looked at: see `verify`.
    /// What follows MESSAGE-INTEGRITY is passed over, RFC 8489 §14.5.
    [<CompiledName "Read">]
    let read (datagram: ReadOnlySpan<byte>) : Message voption =
        if not (isStun datagram) then
            ValueNone
        else
            let kind = BinaryPrimitives.ReadUInt16BigEndian datagram
            let id = transactionOf datagram
            let attributes = ResizeArray()
            let mutable reader = Reader(datagram.Slice HeaderSize)
            let mutable sealedOff = false
            let mutable ok = true

            while ok && not reader.AtEnd do
                let at = datagram.Length - reader.Remaining
                let attribute = reader.UInt16()
                let length = int (reader.UInt16())
                let value = reader.Bytes length
                reader.Skip(Attribute.padded length - length)

                if not reader.Ok then
                    ok <- false
                else
                    match attribute with
                    | Attribute.Fingerprint -> ok <- length = 4 && fingerprintFits datagram at
                    | Attribute.MessageIntegrity
                    | Attribute.MessageIntegritySha256 -> sealedOff <- true
                    | _ when sealedOff -> ()
                    | _ ->
                        match Attribute.read id attribute value with
                        | ValueSome a when attributes.Count < MaxAttributes -> attributes.Add a
                        | _ -> ok <- false

            if ok then
                ValueSome
                    { Class = classOf kind
                      Method = methodOf kind
                      Transaction = id
                      Attributes = attributes.ToArray() }
            else
                ValueNone

    // RFC 8489 §14.5: the HMAC is over all before the attribute, the header's length counting up to its end.
    let private matches
        (ciphers: ICiphers)
        algorithm
        (key: ReadOnlySpan<byte>)
        (at: int)
        (message: ReadOnlySpan<byte>)
        =
        let sent = valueAt at message
        let covered = message.Slice(0, at).ToArray()
        BinaryPrimitives.WriteUInt16BigEndian(Span(covered, 2, 2), uint16 (at + 4 + sent.Length - HeaderSize))
        let computed = Ciphers.hmac ciphers algorithm key (ReadOnlySpan covered)

        // SHA-256's may be cut down to 16 octets, RFC 8489 §14.6.
        let fits =
            sent.Length = computed.Length
            || (algorithm = HashAlgorithm.Sha256
                && sent.Length >= 16
                && sent.Length < 32
                && sent.Length % 4 = 0)

        fits
        && Ciphers.equal sent (ReadOnlySpan<byte>(computed, 0, min sent.Length computed.Length))

    /// Checks the integrity of a datagram that `read` accepted, in a time that does not depend on the key.
    /// Where both attributes are there, the stronger decides, RFC 8489 §9.1.3.
    let verify (ciphers: ICiphers) (key: ReadOnlySpan<byte>) (datagram: ReadOnlySpan<byte>) : Verification =
        let judge right =
            if right then Verification.Right else Verification.Wrong

        match find Attribute.MessageIntegritySha256 datagram with
        | -1 ->
            match find Attribute.MessageIntegrity datagram with
            | -1 -> Verification.Absent
            | at -> judge (matches ciphers HashAlgorithm.Sha1 key at datagram)
        | at -> judge (matches ciphers HashAlgorithm.Sha256 key at datagram)

    /// Whether MESSAGE-INTEGRITY-SHA256 is there: who sent it can read it.
    let internal hasSha256 (datagram: ReadOnlySpan<byte>) : bool =
        find Attribute.MessageIntegritySha256 datagram >= 0

    /// Whether MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 is there.
    let internal hasIntegrity (datagram: ReadOnlySpan<byte>) : bool =
        hasSha256 datagram || find Attribute.MessageIntegrity datagram >= 0

    /// Whether a FINGERPRINT is there.
    let internal hasFingerprint (datagram: ReadOnlySpan<byte>) : bool =
        find Attribute.Fingerprint datagram >= 0

    /// The first half of USERNAME, up to the colon: the receiver's username fragment in an ICE check, RFC 8445 §7.1.3
    /// (RFC 8445 §7.2.2). Empty where there is none. Reads no further than it must, and allocates nothing: for a
    /// demultiplexer of a port that many connections share, which strangers may flood.
    let internal fragmentOctets (datagram: ReadOnlySpan<byte>) : ReadOnlySpan<byte> =
        if not (isStun datagram) then
            ReadOnlySpan.Empty
        else
            match find Attribute.UsernameType datagram with
            | -1 -> ReadOnlySpan.Empty
            | at ->
                let value = valueAt at datagram
                let colon = value.IndexOf 58uy

                // RFC 8839 §5.4: a fragment has 4 to 256 characters.
                if colon > 0 && colon <= 256 then
                    value.Slice(0, colon)
                else
                    ReadOnlySpan.Empty

    /// The same as text.
    [<CompiledName "UsernameFragment">]
    let usernameFragment (datagram: ReadOnlySpan<byte>) : string voption =
        let octets = fragmentOctets datagram

        if octets.IsEmpty then
            ValueNone
        else
            ValueSome(Encoding.UTF8.GetString octets)

    /// The comprehension-required attributes that this library does not know: what a 420 lists, RFC 8489 §6.3.1.
    let unknownRequired (message: Message) : uint16[] =
        message.Attributes
        |> Array.choose (fun attribute ->
            match attribute with
            | Unknown(kind, _) when Attribute.isComprehensionRequired kind -> Some kind
            | _ -> None)

    /// The first attribute for which `choose` answers.
    let inline internal pick ([<InlineIfLambda>] choose: Attribute -> 'a voption) (message: Message) : 'a voption =
        let mutable found = ValueNone
        let mutable i = 0

        while found.IsNone && i < message.Attributes.Length do
            found <- choose message.Attributes[i]
            i <- i + 1

        found

    /// USERNAME.
    let username (message: Message) : string voption =
        pick
            (function
            | Username text -> ValueSome text
            | _ -> ValueNone)
            message

    /// XOR-MAPPED-ADDRESS, or the MAPPED-ADDRESS of an old server.
    let mappedAddress (message: Message) : Endpoint voption =
        match
            pick
                (function
                | XorMappedAddress e -> ValueSome e
                | _ -> ValueNone)
                message
        with
        | ValueSome e -> ValueSome e
        | ValueNone ->
            pick
                (function
                | MappedAddress e -> ValueSome e
                | _ -> ValueNone)
                message

    /// ERROR-CODE: its number and its text.
    let errorCode (message: Message) : struct (int * string) voption =
        pick
            (function
            | ErrorCode(code, reason) -> ValueSome(struct (code, reason))
            | _ -> ValueNone)
            message

    /// PRIORITY.
    let priority (message: Message) : uint32 voption =
        pick
            (function
            | Priority p -> ValueSome p
            | _ -> ValueNone)
            message

    /// NOMINATION's number; 0 where it is not there.
    let nomination (message: Message) : uint32 =
        pick
            (function
            | Nomination number -> ValueSome(number &&& 0xffffffu)
            | _ -> ValueNone)
            message
        |> ValueOption.defaultValue 0u

    /// Whether USE-CANDIDATE is there.
    let usesCandidate (message: Message) : bool =
        (pick
            (function
            | UseCandidate -> ValueSome()
            | _ -> ValueNone)
            message)
            .IsSome

    /// A request.
    let request (method: Method) (id: TransactionId) (attributes: Attribute[]) : Message =
        { Class = Class.Request
          Method = method
          Transaction = id
          Attributes = attributes }

    /// The success response to a request.
    let success (request: Message) (attributes: Attribute[]) : Message =
        { request with
            Class = Class.Success
            Attributes = attributes }

    /// An error response to a request, RFC 8489 §6.3.1.1.
    let error (request: Message) (code: int) (reason: string) (more: Attribute[]) : Message =
        { request with
            Class = Class.Error
            Attributes = Array.append [| ErrorCode(code, reason) |] more }

/// Messages that leave.
[<RequireQualifiedAccess>]
module Outgoing =
    let private integritySize (integrity: Integrity) =
        match integrity with
        | Unprotected -> 0
        | HmacSha1 _ -> 24
        | HmacSha256 _ -> 36

    /// Octets on the wire; a multiple of 4.
    [<CompiledName "Size">]
    let size (outgoing: Outgoing) : int =
        let mutable total = Message.HeaderSize

        for attribute in outgoing.Message.Attributes do
            total <- total + Attribute.size attribute

        total
        + integritySize outgoing.Integrity
        + (if outgoing.Fingerprint then 8 else 0)

    /// Whether it tells somebody that they are not known, RFC 8489 §9.1.3.
    let internal isRefusal (outgoing: Outgoing) : bool =
        match outgoing.Message.Class, outgoing.Integrity with
        | Class.Error, Unprotected -> true
        | _ -> false

    let private seal (ciphers: ICiphers) algorithm (kind: uint16) (key: byte[]) (into: Span<byte>) (at: int) =
        let digest = Ciphers.hashSize algorithm
        // The length as if the message ended here, RFC 8489 §14.5.
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 2, uint16 (at + 4 + digest - Message.HeaderSize))
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice at, kind)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice(at + 2), uint16 digest)
        ciphers.Hmac(algorithm, ReadOnlySpan key, Span.op_Implicit (into.Slice(0, at)), into.Slice(at + 4, digest))
        at + 4 + digest

    /// Encodes and protects into lent memory of at least `size`; answers the octets written.
    [<CompiledName "Write">]
    let write (ciphers: ICiphers) (into: Span<byte>) (outgoing: Outgoing) : int =
        let message = outgoing.Message
        let mutable writer = Writer into
        writer.UInt16(Message.typeOf message.Class message.Method)
        writer.UInt16 0us
        writer.UInt32 Message.MagicCookie
        writer.UInt32 message.Transaction.High
        writer.UInt64 message.Transaction.Low

        for attribute in message.Attributes do
            Attribute.write &writer message.Transaction attribute

        let at = writer.Written

        let at =
            match outgoing.Integrity with
            | Unprotected -> at
            | HmacSha1 key -> seal ciphers HashAlgorithm.Sha1 Attribute.MessageIntegrity key into at
            | HmacSha256 key -> seal ciphers HashAlgorithm.Sha256 Attribute.MessageIntegritySha256 key into at

        let total = if outgoing.Fingerprint then at + 8 else at
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 2, uint16 (total - Message.HeaderSize))

        if outgoing.Fingerprint then
            let crc = Crc32.compute (Span.op_Implicit (into.Slice(0, at)))
            BinaryPrimitives.WriteUInt16BigEndian(into.Slice at, Attribute.Fingerprint)
            BinaryPrimitives.WriteUInt16BigEndian(into.Slice(at + 2), 4us)
            BinaryPrimitives.WriteUInt32BigEndian(into.Slice(at + 4), crc ^^^ Message.FingerprintMask)

        total

/// Keys of MESSAGE-INTEGRITY, RFC 8489 §9.
[<RequireQualifiedAccess>]
module Key =
    /// Short-term: the password itself, RFC 8489 §9.1.1. (ICE passwords are ASCII, which OpaqueString leaves alone.)
    let shortTerm (password: string) : byte[] = Encoding.UTF8.GetBytes password

    let private joined (username: string) (realm: string) (password: string) =
        Encoding.UTF8.GetBytes(String.Join(':', username, realm, password))

    /// Long-term with MD5, RFC 8489 §9.2.2 and §18.5.1.1. `password` after OpaqueString.
    let longTerm (ciphers: ICiphers) (username: string) (realm: string) (password: string) : byte[] =
        Ciphers.hash ciphers HashAlgorithm.Md5 (ReadOnlySpan(joined username realm password))

    /// Long-term with SHA-256, RFC 8489 §18.5.1.2.
    let longTermSha256 (ciphers: ICiphers) (username: string) (realm: string) (password: string) : byte[] =
        Ciphers.hash ciphers HashAlgorithm.Sha256 (ReadOnlySpan(joined username realm password))

    /// USERHASH, RFC 8489 §14.4.
    let userHash (ciphers: ICiphers) (username: string) (realm: string) : byte[] =
        Ciphers.hash ciphers HashAlgorithm.Sha256 (ReadOnlySpan(Encoding.UTF8.GetBytes(username + ":" + realm)))
