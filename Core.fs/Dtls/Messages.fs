namespace Hybrid.WebRtc.Core.Tls

open System
open System.Runtime.CompilerServices
open Hybrid.WebRtc.Core

/// Alert levels and descriptions, RFC 5246 §7.2, RFC 8446 §6.
[<RequireQualifiedAccess>]
module internal Alert =
    [<Literal>]
    let Warning = 1uy

    [<Literal>]
    let Fatal = 2uy

    [<Literal>]
    let CloseNotify = 0uy

    [<Literal>]
    let UnexpectedMessage = 10uy

    [<Literal>]
    let HandshakeFailure = 40uy

    [<Literal>]
    let BadCertificate = 42uy

    [<Literal>]
    let IllegalParameter = 47uy

    [<Literal>]
    let DecodeError = 50uy

    [<Literal>]
    let DecryptError = 51uy

    [<Literal>]
    let ProtocolVersion = 70uy

    [<Literal>]
    let UserCanceled = 90uy

    [<Literal>]
    let NoRenegotiation = 100uy

    [<Literal>]
    let MissingExtension = 109uy

    [<Literal>]
    let UnsupportedExtension = 110uy

    /// As the RFCs name it, for a person to read.
    let name (description: byte) : string =
        match description with
        | CloseNotify -> "close_notify"
        | UnexpectedMessage -> "unexpected_message"
        | 20uy -> "bad_record_mac"
        | HandshakeFailure -> "handshake_failure"
        | BadCertificate -> "bad_certificate"
        | 43uy -> "unsupported_certificate"
        | 45uy -> "certificate_expired"
        | 46uy -> "certificate_unknown"
        | IllegalParameter -> "illegal_parameter"
        | 48uy -> "unknown_ca"
        | DecodeError -> "decode_error"
        | DecryptError -> "decrypt_error"
        | ProtocolVersion -> "protocol_version"
        | 71uy -> "insufficient_security"
        | 80uy -> "internal_error"
        | UserCanceled -> "user_canceled"
        | NoRenegotiation -> "no_renegotiation"
        | MissingExtension -> "missing_extension"
        | UnsupportedExtension -> "unsupported_extension"
        | other -> "alert " + other.ToString()

/// Handshake messages, RFC 6347 §4.3.2, and those of 1.3, RFC 9147 §5.2.
type internal MessageType =
    | HelloRequest = 0uy
    | ClientHello = 1uy
    | ServerHello = 2uy
    | HelloVerifyRequest = 3uy
    | NewSessionTicket = 4uy
    | EncryptedExtensions = 8uy
    | Certificate = 11uy
    | ServerKeyExchange = 12uy
    | CertificateRequest = 13uy
    | ServerHelloDone = 14uy
    | CertificateVerify = 15uy
    | ClientKeyExchange = 16uy
    | Finished = 20uy
    | KeyUpdate = 24uy

/// A whole handshake message.
[<NoComparison; NoEquality>]
type internal Message =
    {
        Type: MessageType
        /// message_seq, RFC 6347 §4.2.2.
        Sequence: int
        /// Owned, never changed.
        Body: byte[]
    }

/// A part of a handshake message as it lies in a record, RFC 6347 §4.2.2.
///
///      0        1            4             6                 9                 12
///     |  type  |   length   | message_seq | fragment_offset | fragment_length | …
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type internal Fragment =
    {
        Type: MessageType
        /// Octets of the whole message.
        Length: int
        Sequence: int
        Offset: int
        /// Lent.
        Bytes: ReadOnlySpan<byte>
    }

/// An extension of a hello, RFC 5246 §7.4.1.4.
[<Struct; NoComparison>]
type internal Extension = { Type: uint16; Data: byte[] }

[<NoComparison>]
type internal ClientHello =
    {
        Version: uint16
        Random: byte[]
        SessionId: byte[]
        /// Echoes a HelloVerifyRequest; empty before, RFC 6347 §4.2.1.
        Cookie: byte[]
        Suites: uint16[]
        Extensions: Extension[]
    }

[<NoComparison>]
type internal ServerHello =
    { Version: uint16
      Random: byte[]
      SessionId: byte[]
      Suite: uint16
      Extensions: Extension[] }

/// ServerKeyExchange of ECDHE, RFC 8422 §5.4: an ephemeral key, signed with the certificate's.
[<NoComparison>]
type internal ServerKeyExchange =
    { Group: uint16
      Public: byte[]
      Scheme: uint16
      Signature: byte[] }

/// CertificateRequest, RFC 5246 §7.4.4, without the names of authorities, which WebRTC has no use for.
[<NoComparison>]
type internal CertificateRequest = { Types: byte[]; Schemes: uint16[] }

/// CertificateVerify, RFC 5246 §7.4.8.
[<NoComparison>]
type internal CertificateVerify = { Scheme: uint16; Signature: byte[] }

/// TLS presentation language, RFC 5246 §4, for messages of the handshake: cold, so arrays joined.
[<RequireQualifiedAccess>]
module internal Octets =
    let u16 (n: int) : byte[] = [| byte (n >>> 8); byte n |]

    let u16s (ns: uint16[]) : byte[] =
        ns |> Array.collect (fun n -> u16 (int n))

    /// opaque<0..2^8-1>
    let vector8 (bytes: byte[]) : byte[] =
        Array.append [| byte bytes.Length |] bytes

    /// opaque<0..2^16-1>
    let vector16 (bytes: byte[]) : byte[] = Array.append (u16 bytes.Length) bytes

    /// opaque<0..2^24-1>
    let vector24 (bytes: byte[]) : byte[] =
        Array.append [| byte (bytes.Length >>> 16); byte (bytes.Length >>> 8); byte bytes.Length |] bytes

    /// Numbers of 16 bits that fill `bytes`; ValueNone where one is cut.
    let readU16s (bytes: ReadOnlySpan<byte>) : uint16[] voption =
        if bytes.Length % 2 <> 0 then
            ValueNone
        else
            let mutable r = Reader bytes
            let ns = Array.zeroCreate (bytes.Length / 2)

            for i in 0 .. ns.Length - 1 do
                ns[i] <- r.UInt16()

            ValueSome ns

[<RequireQualifiedAccess>]
module internal Fragment =
    [<Literal>]
    let HeaderSize = 12

    let writeHeader (into: Span<byte>) (message: Message) (offset: int) (length: int) : unit =
        let mutable w = Writer into
        w.Byte(byte message.Type)
        w.UInt24 message.Body.Length
        w.UInt16(uint16 message.Sequence)
        w.UInt24 offset
        w.UInt24 length

[<RequireQualifiedAccess>]
module internal Message =
    /// The largest message that is put together, octets: room for certificates of any sensible size.
    [<Literal>]
    let MaxSize = 16384

    /// More extensions than any client has; a bound on work.
    [<Literal>]
    let private MaxExtensions = 64

    /// The random of a hello.
    [<Literal>]
    let RandomSize = 32

    /// The message as the transcript has it: in one piece, RFC 6347 §4.2.6.
    let encode (message: Message) : byte[] =
        let bytes = Array.zeroCreate (Fragment.HeaderSize + message.Body.Length)
        Fragment.writeHeader (Span bytes) message 0 message.Body.Length
        message.Body.CopyTo(bytes, Fragment.HeaderSize)
        bytes

    let writeExtensions (extensions: Extension[]) : byte[] =
        extensions
        |> Array.collect (fun e -> Array.append (Octets.u16 (int e.Type)) (Octets.vector16 e.Data))
        |> Octets.vector16

    /// An empty rest is no extensions, RFC 5246 §7.4.1.2. ValueNone where one is malformed or comes twice.
    let readExtensions (rest: ReadOnlySpan<byte>) : Extension[] voption =
        if rest.IsEmpty then
            ValueSome [||]
        else
            let mutable r = Reader rest
            let length = int (r.UInt16())
            let mutable ok = length = r.Remaining
            let found = ResizeArray<Extension>()

            while ok && not r.AtEnd do
                let kind = r.UInt16()
                let data = r.Bytes(int (r.UInt16())).ToArray()

                ok <-
                    r.Ok
                    && found.Count < MaxExtensions
                    && not (found.Exists(fun e -> e.Type = kind))

                found.Add { Type = kind; Data = data }

            if ok && r.Ok then ValueSome(found.ToArray()) else ValueNone

    /// The one compression method, null.
    let private noCompression = [| 0uy |]

    let writeClientHello (hello: ClientHello) : byte[] =
        Array.concat
            [ Octets.u16 (int hello.Version)
              hello.Random
              Octets.vector8 hello.SessionId
              Octets.vector8 hello.Cookie
              Octets.vector16 (Octets.u16s hello.Suites)
              Octets.vector8 noCompression
              writeExtensions hello.Extensions ]

    /// RFC 6347 §4.2.1.
    let readClientHello (body: byte[]) : ClientHello voption =
        let mutable r = Reader(ReadOnlySpan body)
        let version = r.UInt16()
        let random = r.Bytes(RandomSize).ToArray()
        let session = r.Bytes(int (r.Byte())).ToArray()
        let cookie = r.Bytes(int (r.Byte())).ToArray()
        let suites = Octets.readU16s (r.Bytes(int (r.UInt16())))
        let compressions = r.Bytes(int (r.Byte()))
        let nullOffered = compressions.Contains 0uy
        let ok = r.Ok && session.Length <= 32 && nullOffered

        match suites, readExtensions (r.ToEnd()) with
        | ValueSome suites, ValueSome extensions when ok ->
            ValueSome
                { Version = version
                  Random = random
                  SessionId = session
                  Cookie = cookie
                  Suites = suites
                  Extensions = extensions }
        | _ -> ValueNone

    let writeServerHello (hello: ServerHello) : byte[] =
        Array.concat
            [ Octets.u16 (int hello.Version)
              hello.Random
              Octets.vector8 hello.SessionId
              Octets.u16 (int hello.Suite)
              noCompression
              writeExtensions hello.Extensions ]

    /// RFC 5246 §7.4.1.3.
    let readServerHello (body: byte[]) : ServerHello voption =
        let mutable r = Reader(ReadOnlySpan body)
        let version = r.UInt16()
        let random = r.Bytes(RandomSize).ToArray()
        let session = r.Bytes(int (r.Byte())).ToArray()
        let suite = r.UInt16()
        let compression = r.Byte()
        let ok = r.Ok && session.Length <= 32 && compression = 0uy

        match readExtensions (r.ToEnd()) with
        | ValueSome extensions when ok ->
            ValueSome
                { Version = version
                  Random = random
                  SessionId = session
                  Suite = suite
                  Extensions = extensions }
        | _ -> ValueNone

    let writeHelloVerifyRequest (cookie: byte[]) : byte[] =
        // The version is 1.0's, whatever is negotiated later, RFC 6347 §4.2.1.
        Array.append (Octets.u16 (int Record.OldestVersion)) (Octets.vector8 cookie)

    /// The cookie, RFC 6347 §4.2.1.
    let readHelloVerifyRequest (body: byte[]) : byte[] voption =
        let mutable r = Reader(ReadOnlySpan body)
        r.Skip 2
        let cookie = r.Bytes(int (r.Byte())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome cookie
        else
            ValueNone

    let writeCertificate (chain: byte[][]) : byte[] =
        chain |> Array.collect Octets.vector24 |> Octets.vector24

    /// DER, the leaf first; empty where the client has none, RFC 5246 §7.4.2.
    let readCertificate (body: byte[]) : byte[][] voption =
        let mutable r = Reader(ReadOnlySpan body)
        let length = r.UInt24()
        let mutable ok = length = r.Remaining
        let chain = ResizeArray<byte[]>()

        while ok && not r.AtEnd do
            let certificate = r.Bytes(r.UInt24()).ToArray()
            ok <- r.Ok && certificate.Length > 0
            chain.Add certificate

        if ok && r.Ok then ValueSome(chain.ToArray()) else ValueNone

    /// curve_type named_curve, RFC 8422 §5.4.
    [<Literal>]
    let private NamedCurve = 3uy

    /// ServerECDHParams: what is signed together with both randoms.
    let keyExchangeParameters (group: uint16) (share: byte[]) : byte[] =
        Array.concat [ [| NamedCurve |]; Octets.u16 (int group); Octets.vector8 share ]

    let writeServerKeyExchange (exchange: ServerKeyExchange) : byte[] =
        Array.concat
            [ keyExchangeParameters exchange.Group exchange.Public
              Octets.u16 (int exchange.Scheme)
              Octets.vector16 exchange.Signature ]

    let readServerKeyExchange (body: byte[]) : ServerKeyExchange voption =
        let mutable r = Reader(ReadOnlySpan body)
        let curveType = r.Byte()
        let group = r.UInt16()
        let share = r.Bytes(int (r.Byte())).ToArray()
        let scheme = r.UInt16()
        let signature = r.Bytes(int (r.UInt16())).ToArray()

        if r.Ok && r.Remaining = 0 && curveType = NamedCurve then
            ValueSome
                { Group = group
                  Public = share
                  Scheme = scheme
                  Signature = signature }
        else
            ValueNone

    let writeCertificateRequest (request: CertificateRequest) : byte[] =
        Array.concat
            [ Octets.vector8 request.Types
              Octets.vector16 (Octets.u16s request.Schemes)
              Octets.vector16 [||] ]

    let readCertificateRequest (body: byte[]) : CertificateRequest voption =
        let mutable r = Reader(ReadOnlySpan body)
        let types = r.Bytes(int (r.Byte())).ToArray()
        let schemes = Octets.readU16s (r.Bytes(int (r.UInt16())))
        r.Skip(int (r.UInt16()))

        match schemes with
        | ValueSome schemes when r.Ok && r.Remaining = 0 -> ValueSome { Types = types; Schemes = schemes }
        | _ -> ValueNone

    let writeCertificateVerify (verify: CertificateVerify) : byte[] =
        Array.append (Octets.u16 (int verify.Scheme)) (Octets.vector16 verify.Signature)

    let readCertificateVerify (body: byte[]) : CertificateVerify voption =
        let mutable r = Reader(ReadOnlySpan body)
        let scheme = r.UInt16()
        let signature = r.Bytes(int (r.UInt16())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome
                { Scheme = scheme
                  Signature = signature }
        else
            ValueNone

    let writeClientKeyExchange (share: byte[]) : byte[] = Octets.vector8 share

    /// The client's share, RFC 8422 §5.7.
    let readClientKeyExchange (body: byte[]) : byte[] voption =
        let mutable r = Reader(ReadOnlySpan body)
        let share = r.Bytes(int (r.Byte())).ToArray()

        if r.Ok && r.Remaining = 0 then
            ValueSome share
        else
            ValueNone
