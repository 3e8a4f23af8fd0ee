namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary

/// An IP address as 128 bits in network order. IPv4 is held as IPv4-mapped IPv6 (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2).
[<Struct; CustomEquality; NoComparison>]
type Address =
    { High: uint64
      Low: uint64 }

    /// Whether it is an IPv4 address.
    member a.IsV4 = a.High = 0UL && (a.Low >>> 32) = 0xffffUL

    /// Same address and family.
    member a.Equals(b: Address) = a.High = b.High && a.Low = b.Low

    override a.Equals(other: objnull) =
        match other with
        | :? Address as b -> a.Equals b
        | _ -> false

    override a.GetHashCode() = HashCode.Combine(a.High, a.Low)

    interface IEquatable<Address> with
        member a.Equals b = a.Equals b

/// Where datagrams come from or go to: an address and a port.
[<Struct; CustomEquality; NoComparison>]
type Endpoint =
    { Address: Address
      Port: uint16 }

    /// Same address and port.
    member a.Equals(b: Endpoint) =
        a.Address.Equals b.Address && a.Port = b.Port

    override a.Equals(other: objnull) =
        match other with
        | :? Endpoint as b -> a.Equals b
        | _ -> false

    override a.GetHashCode() =
        HashCode.Combine(a.Address.High, a.Address.Low, a.Port)

    interface IEquatable<Endpoint> with
        member a.Equals b = a.Equals b

/// Numbers a local port (a bound socket) of the shell. Erased: an `int` to C#.
[<Measure>]
type port

/// A local port, by number. Positive: a socket or listener that the shell has bound and told of. Negative: one that the core
/// has named, a stream (`Output.OpenStream`) or an address of ours on a TURN server. ICE names odd numbers, TURN even ones.
type PortId = int<port>

/// What a stream carries, and so how its datagrams are framed. The core sees whole frames, without their framing.
type StreamKind =
    /// A length of two octets before each, RFC 4571 §2; RFC 6544.
    | IceTcp = 0
    /// STUN messages and ChannelData, which tell their own length, the latter padded to four octets, RFC 8656 §12.5.
    | TurnTcp = 1
    /// The same in TLS.
    | TurnTls = 2
    /// As `TurnTcp` up to the success response to a ConnectionBind request, and as `IceTcp` from then on: RFC 6062 §4.3.
    | TurnData = 3
    /// The same in TLS.
    | TurnDataTls = 4

/// Where a datagram travels: from one of our sockets to a remote endpoint, or back.
[<Struct; CustomEquality; NoComparison>]
type Path =
    { Local: PortId
      Remote: Endpoint }

    /// Same socket and same remote endpoint.
    member a.Equals(b: Path) =
        a.Local = b.Local && a.Remote.Equals b.Remote

    override a.Equals(other: objnull) =
        match other with
        | :? Path as b -> a.Equals b
        | _ -> false

    override a.GetHashCode() =
        HashCode.Combine(int a.Local, a.Remote.GetHashCode())

    interface IEquatable<Path> with
        member a.Equals b = a.Equals b

/// Addresses: octets and text.
[<RequireQualifiedAccess>]
module Address =
    /// From 4 octets (IPv4) or 16 (IPv6); ValueNone for any other count. An IPv4-mapped IPv6 address is the IPv4 address.
    let ofBytes (bytes: ReadOnlySpan<byte>) : Address voption =
        match bytes.Length with
        | 4 ->
            ValueSome
                { High = 0UL
                  Low = 0xffff00000000UL ||| uint64 (BinaryPrimitives.ReadUInt32BigEndian bytes) }
        | 16 ->
            ValueSome
                { High = BinaryPrimitives.ReadUInt64BigEndian bytes
                  Low = BinaryPrimitives.ReadUInt64BigEndian(bytes.Slice 8) }
        | _ -> ValueNone

    /// From the four numbers of a dotted IPv4 address.
    let v4 (a: byte) (b: byte) (c: byte) (d: byte) : Address =
        { High = 0UL
          Low =
            0xffff00000000UL
            ||| (uint64 a <<< 24)
            ||| (uint64 b <<< 16)
            ||| (uint64 c <<< 8)
            ||| uint64 d }

    /// Octets that `write` fills: 4 or 16.
    let size (address: Address) = if address.IsV4 then 4 else 16

    /// Writes 4 or 16 octets.
    let write (into: Span<byte>) (address: Address) : unit =
        if address.IsV4 then
            BinaryPrimitives.WriteUInt32BigEndian(into, uint32 address.Low)
        else
            BinaryPrimitives.WriteUInt64BigEndian(into, address.High)
            BinaryPrimitives.WriteUInt64BigEndian(into.Slice 8, address.Low)

    /// `127.0.0.0/8` or `::1`.
    let isLoopback (a: Address) =
        if a.IsV4 then
            (a.Low >>> 24) &&& 0xffUL = 127UL
        else
            a.High = 0UL && a.Low = 1UL

    /// `169.254.0.0/16` or `fe80::/10`.
    [<CompiledName "IsLinkLocal">]
    let isLinkLocal (a: Address) =
        if a.IsV4 then
            (a.Low >>> 16) &&& 0xffffUL = 0xa9feUL
        else
            (a.High >>> 54) = 0x3faUL

    /// `0.0.0.0` or `::`.
    let isUnspecified (a: Address) =
        a.High = 0UL && (a.Low = 0UL || a.Low = 0xffff00000000UL)

    let private v6Text (a: Address) =
        let word i =
            if i < 4 then
                uint16 (a.High >>> (48 - 16 * i))
            else
                uint16 (a.Low >>> (48 - 16 * (i - 4)))
        // RFC 5952 §4.2: the longest run of two or more zero words, the first of equals, becomes `::`.
        let mutable best, bestLength, start = -1, 1, -1

        for i in 0..8 do
            if i < 8 && word i = 0us then
                if start < 0 then
                    start <- i
            else
                if start >= 0 && i - start > bestLength then
                    best <- start
                    bestLength <- i - start

                start <- -1

        let text = Text.StringBuilder()
        let mutable i = 0

        while i < 8 do
            if i = best then
                text.Append "::" |> ignore
                i <- i + bestLength
            else
                if i > 0 && i <> best + bestLength || (i > 0 && best < 0) then
                    text.Append ':' |> ignore

                text.Append((word i).ToString "x") |> ignore
                i <- i + 1

        text.ToString()

    /// `192.0.2.1`, or RFC 5952's canonical text of an IPv6 address.
    [<CompiledName "ToText">]
    let toText (a: Address) : string =
        if a.IsV4 then
            String.Join('.', byte (a.Low >>> 24), byte (a.Low >>> 16), byte (a.Low >>> 8), byte a.Low)
        else
            v6Text a

    let private parseV4 (text: string) : uint32 voption =
        let parts = text.Split '.'
        let mutable value = 0u
        let mutable ok = parts.Length = 4

        for part in parts do
            let mutable n = 0uy

            if
                ok
                && part.Length <= 3
                && Byte.TryParse(part, Globalization.NumberStyles.None, null, &n)
            then
                value <- (value <<< 8) ||| uint32 n
            else
                ok <- false

        if ok then ValueSome value else ValueNone

    let private words (text: string) : uint16 list voption =
        if text = "" then
            ValueSome []
        else
            let parts = text.Split ':'

            (ValueSome [], Array.indexed parts)
            ||> Array.fold (fun words (i, part) ->
                match words with
                | ValueNone -> ValueNone
                | ValueSome words ->
                    let mutable n = 0us

                    if i = parts.Length - 1 && part.Contains '.' then
                        match parseV4 part with
                        | ValueSome v -> ValueSome(uint16 v :: uint16 (v >>> 16) :: words)
                        | ValueNone -> ValueNone
                    elif
                        part.Length <= 4
                        && UInt16.TryParse(part, Globalization.NumberStyles.AllowHexSpecifier, null, &n)
                    then
                        ValueSome(n :: words)
                    else
                        ValueNone)
            |> ValueOption.map List.rev

    let private ofWords (words: uint16 list) : Address =
        let fold = List.fold (fun acc (w: uint16) -> (acc <<< 16) ||| uint64 w) 0UL

        { High = fold (List.take 4 words)
          Low = fold (List.skip 4 words) }

    /// From the text of an IPv4 or IPv6 address (RFC 4291 §2.2; no zone, no brackets); ValueNone for anything else.
    let parse (text: string) : Address voption =
        if text.Length > 45 then
            ValueNone
        elif not (text.Contains ':') then
            parseV4 text
            |> ValueOption.map (fun v ->
                { High = 0UL
                  Low = 0xffff00000000UL ||| uint64 v })
        else
            match text.IndexOf "::" with
            | -1 ->
                match words text with
                | ValueSome all when all.Length = 8 -> ValueSome(ofWords all)
                | _ -> ValueNone
            | gap ->
                match words (text.Substring(0, gap)), words (text.Substring(gap + 2)) with
                | ValueSome before, ValueSome after when before.Length + after.Length < 8 ->
                    let zeros = List.replicate (8 - before.Length - after.Length) 0us
                    ValueSome(ofWords (before @ zeros @ after))
                | _ -> ValueNone

/// Endpoints as text.
[<RequireQualifiedAccess>]
module Endpoint =
    /// `192.0.2.1:3478` or `[2001:db8::1]:3478`.
    [<CompiledName "ToText">]
    let toText (e: Endpoint) : string =
        if e.Address.IsV4 then
            Address.toText e.Address + ":" + e.Port.ToString()
        else
            "[" + Address.toText e.Address + "]:" + e.Port.ToString()
