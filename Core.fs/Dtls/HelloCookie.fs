namespace Hybrid.WebRtc.Core.Tls

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core

/// The cookies of RFC 6347 §4.2.1: a client shows that it is where it says before anything is kept of it, or much is sent there.
[<RequireQualifiedAccess>]
module internal HelloCookie =
    /// Octets: when it was made, and a seal.
    [<Literal>]
    let private Size = 17

    /// Where the body of a hello stands in a datagram that begins with one.
    [<Literal>]
    let private BodyAt = Record.HeaderSize + Fragment.HeaderSize

    /// How long one is good for, from one to two of these.
    let private epoch: Duration = Duration.seconds 60L

    /// Of a whole ClientHello in the first record of a datagram: where its cookie stands, how long that is, and where the hello ends.
    /// ValueNone where there is no such hello.
    let private cookieOf (datagram: Memory<byte>) : struct (int * int * int) voption =
        match Record.first datagram with
        | ValueSome record when record.Type = ContentType.Handshake && record.Epoch = 0us ->
            let mutable r = Reader(Span.op_Implicit (Record.fragment record).Span)
            let hello = Reassembly.readFragment &r
            // Version, random, session.
            let mutable body = Reader hello.Bytes
            body.Skip(2 + Message.RandomSize)
            body.Skip(int (body.Byte()))
            let cookie = int (body.Byte())
            let at = record.Bytes.Length - body.Remaining
            body.Skip cookie

            if
                r.Ok
                && r.Remaining = 0
                && body.Ok
                && hello.Type = MessageType.ClientHello
                && hello.Offset = 0
                && hello.Bytes.Length = hello.Length
            then
                ValueSome(struct (at, cookie, record.Bytes.Length))
            else
                ValueNone
        | _ -> ValueNone

    /// The client's random, which tells one connection from another by the same way.
    let randomOf (hello: Memory<byte>) : byte[] =
        hello.Slice(BodyAt + 2, Message.RandomSize).ToArray()

    /// Whether a datagram begins with a ClientHello in the clear.
    let isHello (datagram: Memory<byte>) : bool = (cookieOf datagram).IsSome

    // Of everything that the second hello repeats, and of whence it comes.
    let private make (ciphers: ICiphers) (secret: byte[]) (era: byte) (client: Endpoint) (hello: Memory<byte>) =
        match cookieOf hello with
        | ValueNone -> [||]
        | ValueSome(struct (at, length, finish)) ->
            let before = hello.Slice(BodyAt, at - 1 - BodyAt)
            let behind = hello.Slice(at + length, finish - at - length)
            let text = Array.zeroCreate (19 + before.Length + behind.Length)
            text[0] <- era
            BinaryPrimitives.WriteUInt64BigEndian(Span(text, 1, 8), client.Address.High)
            BinaryPrimitives.WriteUInt64BigEndian(Span(text, 9, 8), client.Address.Low)
            BinaryPrimitives.WriteUInt16BigEndian(Span(text, 17, 2), client.Port)
            before.CopyTo(Memory(text, 19, before.Length))
            behind.CopyTo(Memory(text, 19 + before.Length, behind.Length))

            let seal =
                Ciphers.hmac ciphers HashAlgorithm.Sha256 (ReadOnlySpan secret) (ReadOnlySpan text)

            Array.append [| era |] (Array.sub seal 0 (Size - 1))

    let private eraOf (now: Instant) : byte = byte (now / epoch)

    /// Whether a hello has a cookie that was made for it, not long ago.
    let isProved ciphers (secret: byte[]) (now: Instant) (client: Endpoint) (hello: Memory<byte>) : bool =
        match cookieOf hello with
        | ValueSome(struct (at, Size, _)) ->
            let cookie = hello.Slice(at, Size).Span
            let era = cookie[0]

            (era = eraOf now || era = eraOf now - 1uy)
            && Ciphers.equal (Span.op_Implicit cookie) (ReadOnlySpan(make ciphers secret era client hello))
        | _ -> false

    /// The HelloVerifyRequest to a hello, a whole datagram of 44 octets: less than what it answers. Its record has the hello's number.
    let request ciphers (secret: byte[]) (now: Instant) (client: Endpoint) (hello: Memory<byte>) : byte[] =
        let body =
            Message.writeHelloVerifyRequest (make ciphers secret (eraOf now) client hello)

        let message =
            Message.encode
                { Type = MessageType.HelloVerifyRequest
                  Sequence = 0
                  Body = body }

        let bytes = Array.zeroCreate (Record.HeaderSize + message.Length)

        let number =
            BinaryPrimitives.ReadUInt64BigEndian(Span.op_Implicit (hello.Span.Slice 3))

        Record.writeHeader (Span bytes) ContentType.Handshake Record.OldestVersion 0us number message.Length

        message.CopyTo(bytes, Record.HeaderSize)
        bytes
