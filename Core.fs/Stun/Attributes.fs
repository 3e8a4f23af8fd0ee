namespace Hybrid.WebRtc.Core.Stun

open System
open System.Text
open Hybrid.WebRtc.Core

/// 96 random bits that tie a response to its request, RFC 8489 §5.
[<Struct; CustomEquality; NoComparison>]
type TransactionId =
    { High: uint32
      Low: uint64 }

    /// Same 96 bits.
    member a.Equals(b: TransactionId) = a.High = b.High && a.Low = b.Low

    override a.Equals(other: objnull) =
        match other with
        | :? TransactionId as b -> a.Equals b
        | _ -> false

    override a.GetHashCode() = HashCode.Combine(a.High, a.Low)

    interface IEquatable<TransactionId> with
        member a.Equals b = a.Equals b

/// Drawing transaction ids.
[<RequireQualifiedAccess>]
module TransactionId =
    /// A fresh one; RFC 8489 §5 wants it uniformly random and hard to guess.
    let draw (entropy: Entropy) : struct (TransactionId * Entropy) =
        let struct (drawn, rest) = Entropy.bytes 12 entropy
        let mutable reader = Reader(ReadOnlySpan drawn)
        let high = reader.UInt32()
        let low = reader.UInt64()
        struct ({ High = high; Low = low }, rest)

/// A STUN attribute, RFC 8489 §14, with those of ICE (RFC 8445 §16.1), TURN (RFC 8656 §18) and behaviour discovery (RFC 5780 §7).
/// MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT are not among them: they belong to the
/// bytes and not to what is said (`Message.verify`, `Outgoing`).
[<NoComparison>]
type Attribute =
    | MappedAddress of Endpoint
    | XorMappedAddress of Endpoint
    | XorPeerAddress of Endpoint
    | XorRelayedAddress of Endpoint
    | AlternateServer of Endpoint
    | AlternateDomain of string
    | Username of string
    /// SHA-256 of `username:realm`, 32 octets.
    | UserHash of byte[]
    | Realm of string
    | Nonce of string
    | Software of string
    /// Code 300 to 699 and a reason for a person to read.
    | ErrorCode of Code: int * Reason: string
    /// The comprehension-required attributes that a 420 is about.
    | UnknownAttributes of uint16[]
    /// Algorithm numbers (1 = MD5, 2 = SHA-256) and their parameters.
    | PasswordAlgorithms of struct (uint16 * byte[])[]
    | PasswordAlgorithm of Algorithm: uint16 * Parameters: byte[]
    | Priority of uint32
    | UseCandidate
    /// Which nomination this is, 24 bits: the greatest counts. draft-thatcher-ice-renomination §4.
    | Nomination of uint32
    /// The tie-breaker of a controlled agent.
    | IceControlled of uint64
    /// The tie-breaker of a controlling agent.
    | IceControlling of uint64
    | ChannelNumber of uint16
    /// Seconds.
    | Lifetime of uint32
    | Data of byte[]
    /// 0x01 for IPv4, 0x02 for IPv6.
    | RequestedAddressFamily of byte
    | AdditionalAddressFamily of byte
    | AddressErrorCode of Family: byte * Code: int * Reason: string
    | Icmp of Type: byte * Code: byte * Data: uint32
    /// Whether the next higher port is to be reserved, too.
    | EvenPort of Reserve: bool
    /// A protocol number: 17 for UDP.
    | RequestedTransport of byte
    | DontFragment
    | ReservationToken of uint64
    | ConnectionId of uint32
    /// Whether the answer is to come from the server's other address, and from its other port, RFC 5780 §7.2.
    | ChangeRequest of Address: bool * Port: bool
    /// Where the answer was sent from, RFC 5780 §7.3.
    | ResponseOrigin of Endpoint
    /// The server's other address and port, RFC 5780 §7.4.
    | OtherAddress of Endpoint
    /// An attribute that this library has no name for.
    | Unknown of Type: uint16 * Value: byte[]

/// Attributes on the wire.
///
///      0                   1                   2                   3
///     |         Type                  |            Length             |
///     |                         Value (variable)                ....
[<RequireQualifiedAccess>]
module Attribute =
    [<Literal>]
    let internal MessageIntegrity = 0x0008us

    [<Literal>]
    let internal MessageIntegritySha256 = 0x001cus

    [<Literal>]
    let internal Fingerprint = 0x8028us

    [<Literal>]
    let internal UsernameType = 0x0006us

    [<Literal>]
    let internal ChangeRequestType = 0x0003us

    /// Length of a value with its padding to a multiple of 4.
    let internal padded (length: int) = (length + 3) &&& ~~~3

    /// The type number, IANA "STUN Attributes".
    let typeOf (attribute: Attribute) : uint16 =
        match attribute with
        | MappedAddress _ -> 0x0001us
        | ChangeRequest _ -> ChangeRequestType
        | Username _ -> UsernameType
        | ErrorCode _ -> 0x0009us
        | UnknownAttributes _ -> 0x000aus
        | ChannelNumber _ -> 0x000cus
        | Lifetime _ -> 0x000dus
        | XorPeerAddress _ -> 0x0012us
        | Data _ -> 0x0013us
        | Realm _ -> 0x0014us
        | Nonce _ -> 0x0015us
        | XorRelayedAddress _ -> 0x0016us
        | RequestedAddressFamily _ -> 0x0017us
        | EvenPort _ -> 0x0018us
        | RequestedTransport _ -> 0x0019us
        | DontFragment -> 0x001aus
        | PasswordAlgorithm _ -> 0x001dus
        | UserHash _ -> 0x001eus
        | XorMappedAddress _ -> 0x0020us
        | ReservationToken _ -> 0x0022us
        | Priority _ -> 0x0024us
        | UseCandidate -> 0x0025us
        | ConnectionId _ -> 0x002aus
        | AdditionalAddressFamily _ -> 0x8000us
        | AddressErrorCode _ -> 0x8001us
        | PasswordAlgorithms _ -> 0x8002us
        | AlternateDomain _ -> 0x8003us
        | Icmp _ -> 0x8004us
        | Software _ -> 0x8022us
        | AlternateServer _ -> 0x8023us
        | IceControlled _ -> 0x8029us
        | IceControlling _ -> 0x802aus
        | ResponseOrigin _ -> 0x802bus
        | OtherAddress _ -> 0x802cus
        | Nomination _ -> 0xc001us
        | Unknown(kind, _) -> kind

    /// Whether a receiver that does not know this type must refuse the message, RFC 8489 §14.
    let isComprehensionRequired (kind: uint16) : bool = kind < 0x8000us

    /// Octets of the value, without header and padding.
    let length (attribute: Attribute) : int =
        match attribute with
        | MappedAddress e
        | XorMappedAddress e
        | XorPeerAddress e
        | XorRelayedAddress e
        | AlternateServer e
        | ResponseOrigin e
        | OtherAddress e -> 4 + Address.size e.Address
        | AlternateDomain text
        | Username text
        | Realm text
        | Nonce text
        | Software text -> Encoding.UTF8.GetByteCount text
        | ErrorCode(_, reason)
        | AddressErrorCode(_, _, reason) -> 4 + Encoding.UTF8.GetByteCount reason
        | UnknownAttributes types -> 2 * types.Length
        | PasswordAlgorithms all ->
            let mutable length = 0

            for struct (_, parameters) in all do
                length <- length + 4 + padded parameters.Length

            length
        | PasswordAlgorithm(_, parameters) -> 4 + padded parameters.Length
        | UserHash bytes
        | Data bytes
        | Unknown(_, bytes) -> bytes.Length
        | UseCandidate
        | DontFragment -> 0
        | EvenPort _ -> 1
        | Priority _
        | ChannelNumber _
        | Lifetime _
        | RequestedAddressFamily _
        | AdditionalAddressFamily _
        | RequestedTransport _
        | ConnectionId _
        | Nomination _
        | ChangeRequest _ -> 4
        | IceControlled _
        | IceControlling _
        | ReservationToken _
        | Icmp _ -> 8

    /// Octets on the wire, header and padding included; a multiple of 4.
    let size (attribute: Attribute) : int = 4 + padded (length attribute)

    // The magic cookie and the transaction id, as they stand in the header: what XOR addresses are hidden with.
    let private mask (id: TransactionId) (address: Address) : Address =
        if address.IsV4 then
            { address with
                Low = address.Low ^^^ 0x2112a442UL }
        else
            { High = address.High ^^^ ((0x2112a442UL <<< 32) ||| uint64 id.High)
              Low = address.Low ^^^ id.Low }

    let private writeAddress (writer: byref<Writer>) (port: uint16) (family: byte) (octets: int) (address: Address) =
        writer.Byte 0uy
        writer.Byte family
        writer.UInt16 port
        Address.write (writer.Take octets) address

    let private writePlain (writer: byref<Writer>) (e: Endpoint) =
        writeAddress &writer e.Port (if e.Address.IsV4 then 1uy else 2uy) (Address.size e.Address) e.Address

    let private writeXored (writer: byref<Writer>) (id: TransactionId) (e: Endpoint) =
        let hidden = mask id e.Address
        writer.Byte 0uy
        writer.Byte(if e.Address.IsV4 then 1uy else 2uy)
        writer.UInt16(e.Port ^^^ 0x2112us)

        if e.Address.IsV4 then
            writer.UInt32(uint32 hidden.Low)
        else
            writer.UInt64 hidden.High
            writer.UInt64 hidden.Low

    let private writeText (writer: byref<Writer>) (text: string) =
        Encoding.UTF8.GetBytes(text.AsSpan(), writer.Take(Encoding.UTF8.GetByteCount text))
        |> ignore

    let private writeError (writer: byref<Writer>) (family: byte) (code: int) (reason: string) =
        writer.Byte family
        writer.Byte 0uy
        writer.Byte(byte (code / 100))
        writer.Byte(byte (code % 100))
        writeText &writer reason

    let private writeAlgorithm (writer: byref<Writer>) (algorithm: uint16) (parameters: byte[]) =
        writer.UInt16 algorithm
        writer.UInt16(uint16 parameters.Length)
        writer.Bytes(ReadOnlySpan parameters)
        writer.Zeros(padded parameters.Length - parameters.Length)

    /// Encodes with header and padding: exactly `size` octets.
    let internal write (writer: byref<Writer>) (id: TransactionId) (attribute: Attribute) : unit =
        let valueLength = length attribute
        writer.UInt16(typeOf attribute)
        writer.UInt16(uint16 valueLength)

        match attribute with
        | MappedAddress e
        | AlternateServer e
        | ResponseOrigin e
        | OtherAddress e -> writePlain &writer e
        | XorMappedAddress e
        | XorPeerAddress e
        | XorRelayedAddress e -> writeXored &writer id e
        | AlternateDomain text
        | Username text
        | Realm text
        | Nonce text
        | Software text -> writeText &writer text
        | ErrorCode(code, reason) -> writeError &writer 0uy code reason
        | AddressErrorCode(family, code, reason) -> writeError &writer family code reason
        | UnknownAttributes types ->
            for kind in types do
                writer.UInt16 kind
        | PasswordAlgorithms all ->
            for struct (algorithm, parameters) in all do
                writeAlgorithm &writer algorithm parameters
        | PasswordAlgorithm(algorithm, parameters) -> writeAlgorithm &writer algorithm parameters
        | UserHash bytes
        | Data bytes
        | Unknown(_, bytes) -> writer.Bytes(ReadOnlySpan bytes)
        | UseCandidate
        | DontFragment -> ()
        | EvenPort reserve -> writer.Byte(if reserve then 0x80uy else 0uy)
        | Priority value
        | Lifetime value
        | Nomination value
        | ConnectionId value -> writer.UInt32 value
        | ChannelNumber number ->
            writer.UInt16 number
            writer.UInt16 0us
        | RequestedAddressFamily octet
        | AdditionalAddressFamily octet
        | RequestedTransport octet ->
            writer.Byte octet
            writer.Zeros 3
        | ChangeRequest(address, port) -> writer.UInt32((if address then 4u else 0u) ||| (if port then 2u else 0u))
        | IceControlled value
        | IceControlling value
        | ReservationToken value -> writer.UInt64 value
        | Icmp(kind, code, data) ->
            writer.UInt16 0us
            writer.Byte kind
            writer.Byte code
            writer.UInt32 data

        writer.Zeros(padded valueLength - valueLength)

    let private readAddress (value: ReadOnlySpan<byte>) : Endpoint voption =
        let mutable reader = Reader value
        reader.Skip 1
        let family = reader.Byte()
        let port = reader.UInt16()

        // RFC 8489 §14.1: family 1 has 32 bits, family 2 has 128.
        if
            reader.Ok
            && reader.Remaining = (if family = 1uy then 4 else 16)
            && (family = 1uy || family = 2uy)
        then
            Address.ofBytes (reader.ToEnd())
            |> ValueOption.map (fun address -> { Address = address; Port = port })
        else
            ValueNone

    let internal readXored (id: TransactionId) (value: ReadOnlySpan<byte>) : Endpoint voption =
        let mutable reader = Reader value
        reader.Skip 1
        let family = reader.Byte()
        let port = reader.UInt16() ^^^ 0x2112us

        match family, reader.Remaining with
        | 1uy, 4 ->
            let hidden = reader.UInt32()

            ValueSome
                { Address =
                    { High = 0UL
                      Low = 0xffff00000000UL ||| uint64 (hidden ^^^ 0x2112a442u) }
                  Port = port }
        | 2uy, 16 ->
            let high = reader.UInt64() ^^^ ((0x2112a442UL <<< 32) ||| uint64 id.High)
            let low = reader.UInt64() ^^^ id.Low

            ValueSome
                { Address = { High = high; Low = low }
                  Port = port }
        | _ -> ValueNone

    // RFC 8489 §14.3, §14.9: fewer than 763 octets.
    let private text (value: ReadOnlySpan<byte>) : string voption =
        if value.Length <= 763 then
            ValueSome(Encoding.UTF8.GetString value)
        else
            ValueNone

    let private readError (value: ReadOnlySpan<byte>) : struct (byte * int * string) voption =
        let mutable reader = Reader value
        let family = reader.Byte()
        reader.Skip 1
        let hundreds = int (reader.Byte()) &&& 7
        let number = int (reader.Byte())

        if reader.Ok && hundreds >= 3 && hundreds <= 6 && number < 100 then
            text (reader.ToEnd())
            |> ValueOption.map (fun reason -> struct (family, hundreds * 100 + number, reason))
        else
            ValueNone

    let private readAlgorithm (reader: byref<Reader>) : struct (uint16 * byte[]) voption =
        let algorithm = reader.UInt16()
        let length = int (reader.UInt16())
        let parameters = reader.Bytes(length).ToArray()
        reader.Skip(padded length - length)

        if reader.Ok then
            ValueSome(struct (algorithm, parameters))
        else
            ValueNone

    let private readAlgorithms (value: ReadOnlySpan<byte>) : struct (uint16 * byte[])[] voption =
        let mutable reader = Reader value
        let all = ResizeArray()

        while not reader.AtEnd && all.Count < 16 do
            match readAlgorithm &reader with
            | ValueSome algorithm -> all.Add algorithm
            | ValueNone -> ()

        if reader.Ok && reader.Remaining = 0 then
            ValueSome(all.ToArray())
        else
            ValueNone

    let private uint32Of (value: ReadOnlySpan<byte>) : uint32 voption =
        let mutable reader = Reader value
        let number = reader.UInt32()

        if reader.Ok && reader.Remaining = 0 then
            ValueSome number
        else
            ValueNone

    let private uint64Of (value: ReadOnlySpan<byte>) : uint64 voption =
        let mutable reader = Reader value
        let number = reader.UInt64()

        if reader.Ok && reader.Remaining = 0 then
            ValueSome number
        else
            ValueNone

    // An octet and three that are reserved, RFC 8656 §18.
    let private firstOctet (value: ReadOnlySpan<byte>) : byte voption =
        if value.Length = 4 then ValueSome value[0] else ValueNone

    /// The attribute of a type and its value; ValueNone where the value cannot be one of this type.
    let internal read (id: TransactionId) (kind: uint16) (value: ReadOnlySpan<byte>) : Attribute voption =
        match kind with
        | 0x0001us -> readAddress value |> ValueOption.map MappedAddress
        | ChangeRequestType ->
            uint32Of value
            |> ValueOption.map (fun flags -> ChangeRequest(flags &&& 4u <> 0u, flags &&& 2u <> 0u))
        | UsernameType -> text value |> ValueOption.map Username
        | 0x0009us ->
            readError value
            |> ValueOption.map (fun struct (_, code, reason) -> ErrorCode(code, reason))
        | 0x000aus ->
            if value.Length % 2 = 0 && value.Length <= 128 then
                let mutable reader = Reader value
                let types = Array.zeroCreate (value.Length / 2)

                for i in 0 .. types.Length - 1 do
                    types[i] <- reader.UInt16()

                ValueSome(UnknownAttributes types)
            else
                ValueNone
        | 0x000cus ->
            uint32Of value
            |> ValueOption.map (fun number -> ChannelNumber(uint16 (number >>> 16)))
        | 0x000dus -> uint32Of value |> ValueOption.map Lifetime
        | 0x0012us -> readXored id value |> ValueOption.map XorPeerAddress
        | 0x0013us -> ValueSome(Data(value.ToArray()))
        | 0x0014us -> text value |> ValueOption.map Realm
        | 0x0015us -> text value |> ValueOption.map Nonce
        | 0x0016us -> readXored id value |> ValueOption.map XorRelayedAddress
        | 0x0017us -> firstOctet value |> ValueOption.map RequestedAddressFamily
        | 0x0018us ->
            if value.Length = 1 then
                ValueSome(EvenPort(value[0] &&& 0x80uy <> 0uy))
            else
                ValueNone
        | 0x0019us -> firstOctet value |> ValueOption.map RequestedTransport
        | 0x001aus -> if value.IsEmpty then ValueSome DontFragment else ValueNone
        | 0x001dus ->
            let mutable reader = Reader value

            match readAlgorithm &reader with
            | ValueSome(struct (algorithm, parameters)) when reader.Remaining = 0 ->
                ValueSome(PasswordAlgorithm(algorithm, parameters))
            | _ -> ValueNone
        | 0x001eus ->
            if value.Length = 32 then
                ValueSome(UserHash(value.ToArray()))
            else
                ValueNone
        | 0x0020us -> readXored id value |> ValueOption.map XorMappedAddress
        | 0x0022us -> uint64Of value |> ValueOption.map ReservationToken
        | 0x0024us -> uint32Of value |> ValueOption.map Priority
        | 0x0025us -> if value.IsEmpty then ValueSome UseCandidate else ValueNone
        | 0x002aus -> uint32Of value |> ValueOption.map ConnectionId
        | 0x8000us -> firstOctet value |> ValueOption.map AdditionalAddressFamily
        | 0x8001us ->
            readError value
            |> ValueOption.map (fun struct (family, code, reason) -> AddressErrorCode(family, code, reason))
        | 0x8002us -> readAlgorithms value |> ValueOption.map PasswordAlgorithms
        | 0x8003us -> text value |> ValueOption.map AlternateDomain
        | 0x8004us ->
            uint64Of value
            |> ValueOption.map (fun all -> Icmp(byte (all >>> 40), byte (all >>> 32), uint32 all))
        | 0x8022us -> text value |> ValueOption.map Software
        | 0x8023us -> readAddress value |> ValueOption.map AlternateServer
        | 0x8029us -> uint64Of value |> ValueOption.map IceControlled
        | 0x802aus -> uint64Of value |> ValueOption.map IceControlling
        | 0x802bus -> readAddress value |> ValueOption.map ResponseOrigin
        | 0x802cus -> readAddress value |> ValueOption.map OtherAddress
        | 0xc001us -> uint32Of value |> ValueOption.map Nomination
        | _ -> ValueSome(Unknown(kind, value.ToArray()))
