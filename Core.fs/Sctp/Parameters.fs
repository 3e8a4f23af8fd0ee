namespace Hybrid.WebRtc.Core.Association

open System
open System.Text
open Hybrid.WebRtc.Core

/// A parameter of INIT, a cause of ERROR and ABORT, a request of RE-CONFIG: they share one shape, RFC 9260 §3.2.1.
///
///      0                              16                             31
///     |        Parameter Type         |       Parameter Length        |
///     |                        Parameter Value                        |
[<Struct; NoComparison; NoEquality>]
type internal Tlv =
    { Kind: uint16
      Value: ReadOnlyMemory<byte> }

[<RequireQualifiedAccess>]
module internal Tlv =
    /// Octets up to the next multiple of 4.
    let inline padded (length: int) = (length + 3) &&& ~~~3

    let ofBytes (kind: uint16) (value: byte[]) : Tlv =
        { Kind = kind
          Value = ReadOnlyMemory value }

    /// Octets on the wire, padding included.
    let size (tlv: Tlv) : int = padded (4 + tlv.Value.Length)

    let sizeOfAll (tlvs: Tlv list) : int =
        let mutable total = 0

        for tlv in tlvs do
            total <- total + size tlv

        total

    let writeAll (writer: byref<Writer>) (tlvs: Tlv list) : unit =
        for tlv in tlvs do
            writer.UInt16 tlv.Kind
            writer.UInt16(uint16 (4 + tlv.Value.Length))
            writer.Bytes tlv.Value.Span
            writer.Zeros(padded tlv.Value.Length - tlv.Value.Length)

    /// All of `bytes` as parameters, lent. ValueNone where one is shorter than its header or longer than what is left;
    /// the padding of the last may be missing.
    let readAll (bytes: ReadOnlyMemory<byte>) : Tlv list voption =
        let mutable rest = bytes
        let mutable reversed = []
        let mutable ok = true

        while ok && rest.Length > 0 do
            let mutable reader = Reader(rest.Span)
            let kind = reader.UInt16()
            let length = int (reader.UInt16())

            if reader.Ok && length >= 4 && length <= rest.Length then
                reversed <-
                    { Kind = kind
                      Value = rest.Slice(4, length - 4) }
                    :: reversed

                rest <- rest.Slice(min rest.Length (padded length))
            else
                ok <- false

        if ok then ValueSome(List.rev reversed) else ValueNone

    /// The same in memory of its own.
    let own (tlv: Tlv) : Tlv =
        { tlv with
            Value = ReadOnlyMemory(tlv.Value.ToArray()) }

/// Parameter types that this library knows.
[<RequireQualifiedAccess>]
module internal Parameter =
    /// RFC 9260 §3.3.5.
    [<Literal>]
    let HeartbeatInfo = 1us

    /// RFC 9260 §3.3.3.1.1.
    [<Literal>]
    let StateCookie = 7us

    /// RFC 9260 §3.3.3.1.2.
    [<Literal>]
    let Unrecognized = 8us

    /// RFC 6525 §4.1.
    [<Literal>]
    let OutgoingSsnReset = 13us

    /// RFC 6525 §4.2.
    [<Literal>]
    let IncomingSsnReset = 14us

    /// RFC 6525 §4.3.
    [<Literal>]
    let SsnTsnReset = 15us

    /// RFC 6525 §4.4.
    [<Literal>]
    let ReconfigurationResponse = 16us

    /// RFC 6525 §4.5.
    [<Literal>]
    let AddOutgoingStreams = 17us

    /// RFC 6525 §4.6.
    [<Literal>]
    let AddIncomingStreams = 18us

    /// RFC 9653 §4: its value names what detects errors in the checksum's place.
    [<Literal>]
    let ZeroChecksumAcceptable = 0x8001us

    /// A list of chunk types, RFC 5061 §4.2.7.
    [<Literal>]
    let SupportedExtensions = 0x8008us

    /// RFC 3758 §3.1.
    [<Literal>]
    let ForwardTsnSupported = 0xc000us

    /// The value of the first parameter of a kind.
    let find (kind: uint16) (parameters: Tlv list) : ReadOnlyMemory<byte> voption =
        let mutable rest = parameters
        let mutable found = ValueNone

        while found.IsNone && not rest.IsEmpty do
            if rest.Head.Kind = kind then
                found <- ValueSome rest.Head.Value

            rest <- rest.Tail

        found

    /// Known in INIT and INIT ACK. IPv4 and IPv6 addresses (5, 6), the cookie preservative (9), the host name (11),
    /// supported address types (12) and ECN (0x8000) are known and mean nothing over DTLS, RFC 8261 §6.
    let private known (kind: uint16) =
        match kind with
        | StateCookie
        | Unrecognized
        | SupportedExtensions
        | ForwardTsnSupported
        | ZeroChecksumAcceptable
        | 5us
        | 6us
        | 9us
        | 11us
        | 12us
        | 0x8000us -> true
        | _ -> false

    /// The parameters to be processed, and those to be reported, RFC 9260 §3.2.1: the two highest bits of an unknown
    /// type say whether to go on (10, 11) and whether to report (01, 11). At most `limit` are reported.
    let sift (limit: int) (parameters: Tlv list) : struct (Tlv list * Tlv list) =
        let mutable rest = parameters
        let mutable kept = []
        let mutable reported = []
        let mutable left = limit

        while not rest.IsEmpty do
            let tlv = rest.Head
            rest <- rest.Tail

            if known tlv.Kind then
                kept <- tlv :: kept
            else
                if tlv.Kind &&& 0x4000us <> 0us && left > 0 then
                    reported <- tlv :: reported
                    left <- left - 1

                if tlv.Kind &&& 0x8000us = 0us then
                    rest <- []

        struct (List.rev kept, List.rev reported)

    /// A parameter, header included, as the value of another kind: `Unrecognized` and its like.
    let enclose (kind: uint16) (tlv: Tlv) : Tlv =
        let whole = Array.zeroCreate (Tlv.size tlv)
        let mutable writer = Writer(Span whole)
        Tlv.writeAll &writer [ tlv ]
        Tlv.ofBytes kind whole

/// Error causes, RFC 9260 §3.3.10.
[<RequireQualifiedAccess>]
module internal Cause =
    /// RFC 9260 §3.3.10.1.
    [<Literal>]
    let InvalidStreamIdentifier = 1us

    /// RFC 9260 §3.3.10.3.
    [<Literal>]
    let StaleCookie = 3us

    /// RFC 9260 §3.3.10.6.
    [<Literal>]
    let UnrecognizedChunkType = 6us

    /// RFC 9260 §3.3.10.7.
    [<Literal>]
    let InvalidMandatoryParameter = 7us

    /// RFC 9260 §3.3.10.8.
    [<Literal>]
    let UnrecognizedParameters = 8us

    /// RFC 9260 §3.3.10.9.
    [<Literal>]
    let NoUserData = 9us

    /// RFC 9260 §3.3.10.10.
    [<Literal>]
    let CookieWhileShuttingDown = 10us

    /// RFC 9260 §3.3.10.12.
    [<Literal>]
    let UserInitiatedAbort = 12us

    /// RFC 9260 §3.3.10.13.
    [<Literal>]
    let ProtocolViolation = 13us

    let private ofText (kind: uint16) (text: string) : Tlv =
        Tlv.ofBytes kind (Encoding.UTF8.GetBytes text)

    /// The upper layer's reason in UTF-8, RFC 9260 §3.3.10.12.
    let userInitiatedAbort (reason: string) : Tlv = ofText UserInitiatedAbort reason

    /// What was violated, in words, RFC 9260 §3.3.10.13.
    let protocolViolation (what: string) : Tlv = ofText ProtocolViolation what

    /// A stream beyond those that were agreed on.
    let invalidStream (stream: uint16) : Tlv =
        Tlv.ofBytes InvalidStreamIdentifier [| byte (stream >>> 8); byte stream; 0uy; 0uy |]

    let private ofTsn (kind: uint16) (Tsn tsn) : Tlv =
        Tlv.ofBytes kind [| byte (tsn >>> 24); byte (tsn >>> 16); byte (tsn >>> 8); byte tsn |]

    /// The DATA chunk of this TSN was empty.
    let noUserData (tsn: Tsn) : Tlv = ofTsn NoUserData tsn

    /// By how many microseconds the cookie was too late.
    let staleCookie (staleness: uint32) : Tlv = ofTsn StaleCookie (Tsn staleness)

    /// For a person to read: what an ABORT of the peer says.
    let describe (causes: Tlv list) : string =
        match causes with
        | [] -> "The peer aborted the association."
        | cause :: _ ->
            match cause.Kind with
            | UserInitiatedAbort -> "The peer aborted the association: " + Encoding.UTF8.GetString(cause.Value.Span)
            | ProtocolViolation ->
                "The peer aborted the association for a protocol violation: "
                + Encoding.UTF8.GetString(cause.Value.Span)
            | code -> "The peer aborted the association with cause " + string code + "."

/// A request or a response of RE-CONFIG, RFC 6525 §4.
[<NoComparison; NoEquality>]
type internal Reconfiguration =
    /// RFC 6525 §4.1. No streams means all of them.
    ///
    ///     |     Parameter Type = 13       | Parameter Length = 16 + 2 * N |
    ///     |           Re-configuration Request Sequence Number            |
    ///     |           Re-configuration Response Sequence Number           |
    ///     |                Sender's Last Assigned TSN                     |
    ///     |  Stream Number 1 (optional)   |    Stream Number 2 (optional) |
    | OutgoingSsnReset of request: uint32 * response: uint32 * lastAssigned: Tsn * streams: uint16[]
    /// RFC 6525 §4.4. The optional TSNs belong to SSN/TSN resets only and are not kept.
    ///
    ///     |     Parameter Type = 16       |      Parameter Length         |
    ///     |         Re-configuration Response Sequence Number             |
    ///     |                            Result                             |
    | Response of response: uint32 * result: uint32
    /// Any other request, RFC 6525 §4.2, §4.3, §4.5, §4.6: we deny those.
    | Other of kind: uint16 * request: uint32

/// Results of a re-configuration, RFC 6525 §4.4.
[<RequireQualifiedAccess>]
module internal Result =
    [<Literal>]
    let NothingToDo = 0u

    [<Literal>]
    let Performed = 1u

    [<Literal>]
    let Denied = 2u

    [<Literal>]
    let WrongSsn = 3u

    [<Literal>]
    let AlreadyInProgress = 4u

    [<Literal>]
    let BadSequenceNumber = 5u

    [<Literal>]
    let InProgress = 6u

[<RequireQualifiedAccess>]
module internal Reconfiguration =
    /// The parameter that says it.
    let toTlv (reconfiguration: Reconfiguration) : Tlv =
        match reconfiguration with
        | OutgoingSsnReset(request, response, lastAssigned, streams) ->
            let value = Array.zeroCreate (12 + 2 * streams.Length)
            let mutable writer = Writer(Span value)
            writer.UInt32 request
            writer.UInt32 response
            writer.UInt32(Tsn.value lastAssigned)

            for stream in streams do
                writer.UInt16 stream

            Tlv.ofBytes Parameter.OutgoingSsnReset value
        | Response(response, result) ->
            let value = Array.zeroCreate 8
            let mutable writer = Writer(Span value)
            writer.UInt32 response
            writer.UInt32 result
            Tlv.ofBytes Parameter.ReconfigurationResponse value
        | Other(kind, request) ->
            let value = Array.zeroCreate 4
            let mutable writer = Writer(Span value)
            writer.UInt32 request
            Tlv.ofBytes kind value

    /// ValueNone: too short, or not a parameter of RE-CONFIG.
    let ofTlv (tlv: Tlv) : Reconfiguration voption =
        let mutable reader = Reader(tlv.Value.Span)

        match tlv.Kind with
        | Parameter.OutgoingSsnReset ->
            let request = reader.UInt32()
            let response = reader.UInt32()
            let lastAssigned = Tsn(reader.UInt32())
            let streams = Array.zeroCreate (reader.Remaining / 2)

            for i in 0 .. streams.Length - 1 do
                streams[i] <- reader.UInt16()

            if reader.Ok then
                ValueSome(OutgoingSsnReset(request, response, lastAssigned, streams))
            else
                ValueNone
        | Parameter.ReconfigurationResponse ->
            let response = reader.UInt32()
            let result = reader.UInt32()

            if reader.Ok then
                ValueSome(Response(response, result))
            else
                ValueNone
        | Parameter.IncomingSsnReset
        | Parameter.SsnTsnReset
        | Parameter.AddOutgoingStreams
        | Parameter.AddIncomingStreams ->
            let request = reader.UInt32()

            if reader.Ok then
                ValueSome(Other(tlv.Kind, request))
            else
                ValueNone
        | _ -> ValueNone
