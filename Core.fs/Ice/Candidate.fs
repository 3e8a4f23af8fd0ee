namespace Hybrid.WebRtc.Core

open System
open System.Globalization
open System.Text

/// How a candidate was learnt, RFC 8445 §4; RTCIceCandidateType.
[<RequireQualifiedAccess; NoComparison>]
type CandidateType =
    | Host
    | ServerReflexive
    | PeerReflexive
    | Relayed

/// RFC 6544 §4.5: who opens the connection.
[<RequireQualifiedAccess; NoComparison>]
type TcpType =
    | Active
    | Passive
    | SimultaneousOpen

/// What a candidate is reached over.
[<RequireQualifiedAccess; NoComparison>]
type CandidateTransport =
    | Udp
    | Tcp of TcpType
    /// A transport that this library does not speak, in the words of the line.
    | OtherTransport of string

/// Where a candidate is.
[<RequireQualifiedAccess; NoComparison>]
type CandidateHost =
    | Ip of Address
    /// A name to be resolved: `….local` by mDNS (draft-ietf-mmusic-mdns-ice-candidates), or any other, which is not used.
    | Name of string

/// The base of a reflexive or relayed candidate, `raddr` and `rport`, RFC 8839 §5.1.
[<NoComparison>]
type RelatedAddress = { Host: CandidateHost; Port: uint16 }

/// A transport address that a peer may be reached at, RFC 8445 §4, in the terms of `candidate-attribute`, RFC 8839 §5.1.
[<NoComparison>]
type Candidate =
    {
        /// 1 to 32 ice-chars; equal for candidates likely to work or fail together, RFC 8445 §5.1.1.3.
        Foundation: string
        /// 1 is RTP, 2 is RTCP.
        Component: int
        Transport: CandidateTransport
        Priority: uint32
        Host: CandidateHost
        Port: uint16
        Type: CandidateType
        Related: RelatedAddress voption
        /// `generation 0`, `ufrag abcd`, `network-id 1`, `network-cost 999` and whatever else stood at the end, in order.
        Extensions: struct (string * string)[]
    }

/// Username fragments and passwords.
[<RequireQualifiedAccess>]
module IceCredentials =
    /// Fresh ones: 4 and 24 characters as browsers have them, RFC 8445 §5.3 (24 and 128 bits at least).
    let draw (entropy: Entropy) : struct (IceParameters * Entropy) =
        let struct (fragment, entropy) = Entropy.iceChars 4 entropy
        let struct (password, entropy) = Entropy.iceChars 24 entropy

        struct ({ UsernameFragment = fragment
                  Password = password },
                entropy)

/// Candidates: priority, foundation, text.
[<RequireQualifiedAccess>]
module Candidate =
    /// Type preference, RFC 8445 §5.1.2.2.
    let typePreference (kind: CandidateType) : uint32 =
        match kind with
        | CandidateType.Host -> 126u
        | CandidateType.PeerReflexive -> 110u
        | CandidateType.ServerReflexive -> 100u
        | CandidateType.Relayed -> 0u

    /// RFC 8445 §5.1.2.1: 2²⁴ type preference + 2⁸ local preference + 256 - component.
    let priority (kind: CandidateType) (localPreference: uint16) (componentId: int) : uint32 =
        (typePreference kind <<< 24)
        ||| (uint32 localPreference <<< 8)
        ||| (uint32 (256 - componentId) &&& 0xffu)

    // RFC 6544 §4.2 leaves open how far TCP is behind. Browsers have it behind every direct path of UDP and before a relay.
    let private tcpTypePreference (kind: CandidateType) : uint32 =
        match kind with
        | CandidateType.Host -> 90u
        | CandidateType.PeerReflexive -> 80u
        | CandidateType.ServerReflexive -> 70u
        | CandidateType.Relayed -> 0u

    /// The priority of a candidate of TCP, RFC 6544 §4.2: the local preference is 2¹³ direction preference + other
    /// preference, the latter the upper 13 bits of `localPreference`.
    let tcpPriority (kind: CandidateType) (tcp: TcpType) (localPreference: uint16) (componentId: int) : uint32 =
        let direction =
            match tcp with
            | TcpType.Active -> 6u
            | TcpType.Passive -> 4u
            | TcpType.SimultaneousOpen -> 2u

        (tcpTypePreference kind <<< 24)
        ||| (((direction <<< 13) ||| (uint32 localPreference >>> 3)) <<< 8)
        ||| (uint32 (256 - componentId) &&& 0xffu)

    /// Whether two are reached over the same protocol.
    let sameProtocol (a: CandidateTransport) (b: CandidateTransport) : bool =
        match a, b with
        | CandidateTransport.Udp, CandidateTransport.Udp
        | CandidateTransport.Tcp _, CandidateTransport.Tcp _ -> true
        | _ -> false

    /// RFC 8445 §5.1.1.3: the same type, base address, protocol and server make the same foundation. `salt` keeps
    /// the text from telling the address.
    let foundation (salt: uint32) (kind: CandidateType) (baseAddress: Address) (server: string) : string =
        // FNV-1a, 32 bits.
        let mutable hash = 0x811c9dc5u ^^^ salt

        let mix (octet: byte) =
            hash <- (hash ^^^ uint32 octet) * 0x01000193u

        mix (byte (typePreference kind))

        for shift in 0..8..56 do
            mix (byte (baseAddress.High >>> shift))
            mix (byte (baseAddress.Low >>> shift))

        for c in server do
            mix (byte c)

        hash.ToString CultureInfo.InvariantCulture

    /// The endpoint of a candidate that names an address; ValueNone while it is a name.
    let endpoint (candidate: Candidate) : Endpoint voption =
        match candidate.Host with
        | CandidateHost.Ip address ->
            ValueSome
                { Address = address
                  Port = candidate.Port }
        | CandidateHost.Name _ -> ValueNone

    /// The value of an extension attribute; ValueNone where it is not there.
    let extension (name: string) (candidate: Candidate) : string voption =
        let mutable found = ValueNone

        for struct (key, value) in candidate.Extensions do
            if found.IsNone && String.Equals(key, name, StringComparison.Ordinal) then
                found <- ValueSome value

        found

    /// The `ufrag` extension, RFC 8839 §5.1 and RFC 8838 §4: which generation it belongs to.
    [<CompiledName "UsernameFragment">]
    let usernameFragment (candidate: Candidate) : string voption = extension "ufrag" candidate

    /// `host`, `srflx`, `prflx`, `relay`.
    let typeText (kind: CandidateType) : string =
        match kind with
        | CandidateType.Host -> "host"
        | CandidateType.ServerReflexive -> "srflx"
        | CandidateType.PeerReflexive -> "prflx"
        | CandidateType.Relayed -> "relay"

    /// `active`, `passive`, `so`.
    let tcpTypeText (kind: TcpType) : string =
        match kind with
        | TcpType.Active -> "active"
        | TcpType.Passive -> "passive"
        | TcpType.SimultaneousOpen -> "so"

    let private hostText (host: CandidateHost) =
        match host with
        | CandidateHost.Ip address -> Address.toText address
        | CandidateHost.Name name -> name

    /// `candidate:` and what follows, without `a=`, RFC 8839 §5.1.
    [<CompiledName "ToText">]
    let toText (candidate: Candidate) : string =
        let number (n: uint32) = n.ToString CultureInfo.InvariantCulture

        let text = StringBuilder "candidate:"

        let transport =
            match candidate.Transport with
            | CandidateTransport.Udp -> "udp"
            | CandidateTransport.Tcp _ -> "tcp"
            | CandidateTransport.OtherTransport other -> other

        let add (word: string) = text.Append(' ').Append word |> ignore
        text.Append candidate.Foundation |> ignore
        add (number (uint32 candidate.Component))
        add transport
        add (number candidate.Priority)
        add (hostText candidate.Host)
        add (number (uint32 candidate.Port))
        add "typ"
        add (typeText candidate.Type)

        match candidate.Related with
        | ValueSome related ->
            add "raddr"
            add (hostText related.Host)
            add "rport"
            add (number (uint32 related.Port))
        | ValueNone -> ()

        match candidate.Transport with
        | CandidateTransport.Tcp kind ->
            add "tcptype"
            add (tcpTypeText kind)
        | CandidateTransport.Udp
        | CandidateTransport.OtherTransport _ -> ()

        for struct (key, value) in candidate.Extensions do
            add key
            add value

        text.ToString()

    let private isIceChar (c: char) =
        Char.IsAsciiLetterOrDigit c || c = '+' || c = '/'

    let private isFoundation (word: string) =
        word.Length >= 1 && word.Length <= 32 && String.forall isIceChar word

    // What a name may hold, so that a line can never carry more than a name to a resolver.
    let private isNameChar (c: char) =
        Char.IsAsciiLetterOrDigit c || c = '-' || c = '.' || c = '_'

    let private hostOf (word: string) : CandidateHost voption =
        match Address.parse word with
        | ValueSome address -> ValueSome(CandidateHost.Ip address)
        | ValueNone when word.Length >= 1 && word.Length <= 253 && String.forall isNameChar word ->
            ValueSome(CandidateHost.Name word)
        | ValueNone -> ValueNone

    let private portOf (word: string) : uint16 voption =
        match UInt16.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, port -> ValueSome port
        | _ -> ValueNone

    let private priorityOf (word: string) : uint32 voption =
        match UInt32.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, priority -> ValueSome priority
        | _ -> ValueNone

    let private componentOf (word: string) : int voption =
        match Byte.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, number when number >= 1uy -> ValueSome(int number)
        | _ -> ValueNone

    let private kindOf (word: string) : CandidateType voption =
        match word with
        | "host" -> ValueSome CandidateType.Host
        | "srflx" -> ValueSome CandidateType.ServerReflexive
        | "prflx" -> ValueSome CandidateType.PeerReflexive
        | "relay" -> ValueSome CandidateType.Relayed
        | _ -> ValueNone

    let private tcpTypeOf (word: string) : TcpType voption =
        match word with
        | "active" -> ValueSome TcpType.Active
        | "passive" -> ValueSome TcpType.Passive
        | "so" -> ValueSome TcpType.SimultaneousOpen
        | _ -> ValueNone

    let private equalsIgnoringCase (a: string) (b: string) =
        String.Equals(a, b, StringComparison.OrdinalIgnoreCase)

    // RFC 6544 §4.5: TCP has a tcptype; where it is missing, the peer waits to be called (RFC 4145's default for old peers).
    let private transportOf (word: string) (extensions: ResizeArray<struct (string * string)>) =
        if equalsIgnoringCase word "udp" then
            CandidateTransport.Udp
        elif equalsIgnoringCase word "tcp" then
            match extensions.FindIndex(fun struct (key, _) -> key = "tcptype") with
            | -1 -> CandidateTransport.Tcp TcpType.Passive
            | i ->
                let struct (_, value) = extensions[i]

                match tcpTypeOf value with
                | ValueSome kind ->
                    extensions.RemoveAt i
                    CandidateTransport.Tcp kind
                | ValueNone -> CandidateTransport.OtherTransport word
        else
            CandidateTransport.OtherTransport word

    let private relatedOf (words: string[]) : struct (RelatedAddress voption * int) =
        if words.Length >= 12 && words[8] = "raddr" && words[10] = "rport" then
            match hostOf words[9], portOf words[11] with
            | ValueSome host, ValueSome port -> struct (ValueSome { Host = host; Port = port }, 12)
            | _ -> struct (ValueNone, 12)
        else
            struct (ValueNone, 8)

    /// Longer lines than this are no candidate; a bound on what a peer can make us read.
    [<Literal>]
    let private MaxLength = 2048

    let private prefix (line: string) =
        let line = line.Trim()

        let line =
            if line.StartsWith("a=", StringComparison.Ordinal) then
                line.Substring 2
            else
                line

        if line.StartsWith("candidate:", StringComparison.OrdinalIgnoreCase) then
            line.Substring 10
        else
            line

    /// Reads a line, with or without `a=` and `candidate:`, RFC 8839 §5.1. ValueNone where it does not follow the grammar.
    [<CompiledName "Parse">]
    let parse (line: string) : Candidate voption =
        if line.Length > MaxLength then
            ValueNone
        else
            let words = (prefix line).Split([| ' ' |], StringSplitOptions.RemoveEmptyEntries)

            if words.Length < 8 || words[6] <> "typ" || not (isFoundation words[0]) then
                ValueNone
            else
                let struct (related, rest) = relatedOf words
                let extensions = ResizeArray()

                for i in rest..2 .. words.Length - 2 do
                    extensions.Add(struct (words[i], words[i + 1]))

                match
                    struct (componentOf words[1], priorityOf words[3], hostOf words[4], portOf words[5], kindOf words[7])
                with
                | ValueSome componentId, ValueSome priority, ValueSome host, ValueSome port, ValueSome kind ->
                    let transport = transportOf words[2] extensions

                    ValueSome
                        { Foundation = words[0]
                          Component = componentId
                          Transport = transport
                          Priority = priority
                          Host = host
                          Port = port
                          Type = kind
                          Related = related
                          Extensions = extensions.ToArray() }
                | _ -> ValueNone
