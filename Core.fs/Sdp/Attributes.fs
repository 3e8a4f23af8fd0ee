namespace Hybrid.WebRtc.Core

open System

/// Who opens the DTLS association, `a=setup`, RFC 4145 §4 and RFC 8842 §5.2.
type SdpSetup =
    /// Will be the DTLS client.
    | Active = 0
    /// Will be the DTLS server.
    | Passive = 1
    /// Either: the answerer chooses.
    | ActPass = 2
    /// Neither, for now. RFC 8842 §5.2 forbids it where DTLS is used.
    | HoldConn = 3

/// Which way media flows, RFC 8866 §6.7.
type SdpDirection =
    | SendRecv = 0
    | SendOnly = 1
    | RecvOnly = 2
    | Inactive = 3

/// `a=group`, RFC 5888 §5: `BUNDLE` and the mids of the sections in it, the tagged one first.
[<NoComparison>]
type SdpGroup = { Semantics: string; Mids: string[] }

/// Fingerprints, from text and to it.
[<RequireQualifiedAccess>]
module SdpFingerprint =
    /// Octets of each hash that RFC 8122 §5 names.
    let private sizes =
        [| struct ("sha-1", 20)
           struct ("sha-224", 28)
           struct ("sha-256", 32)
           struct ("sha-384", 48)
           struct ("sha-512", 64)
           struct ("md5", 16)
           struct ("md2", 16) |]

    let private sizeFits (algorithm: string) (size: int) =
        Array.forall (fun struct (name, octets) -> name <> algorithm || octets = size) sizes

    /// `hash-func SP 2HEX *(":" 2HEX)`. ValueNone: another shape, or not the hash's size.
    let parse (text: string) : Fingerprint voption =
        match text.Split ' ' with
        | [| algorithm; digits |] when
            SdpGrammar.isToken algorithm
            && Array.forall
                (fun (pair: string) -> pair.Length = 2 && Char.IsAsciiHexDigit pair[0] && Char.IsAsciiHexDigit pair[1])
                (digits.Split ':')
            ->
            let value = Convert.FromHexString(digits.Replace(":", ""))
            let algorithm = algorithm.ToLowerInvariant()

            if sizeFits algorithm value.Length then
                ValueSome { Algorithm = algorithm; Value = value }
            else
                ValueNone
        | _ -> ValueNone

    /// As RFC 8122 §5 writes it: upper-case pairs between colons.
    let toText (fingerprint: Fingerprint) : string =
        fingerprint.Algorithm
        + " "
        + String.Join(":", Array.map (fun (b: byte) -> b.ToString "X2") fingerprint.Value)

    /// The same hash of the same certificate.
    let same (a: Fingerprint) (b: Fingerprint) =
        a.Algorithm = b.Algorithm
        && ReadOnlySpan(a.Value).SequenceEqual(ReadOnlySpan b.Value)

/// `a=candidate`, RFC 8839 §5.1, as text: what it means is ICE's to say.
[<RequireQualifiedAccess>]
module SdpCandidate =
    let private isShort (least: int) (most: int) (text: string) =
        text.Length >= least && text.Length <= most

    /// What is wrong with a candidate's value, the part behind `candidate:`; ValueNone when nothing is.
    /// Transports, types, addresses and extensions that are not known are no mistake: ICE passes over them.
    let mistake (value: string) : string voption =
        let expected =
            "expected `foundation component transport priority address port typ type`, RFC 8839 §5.1"

        let words = value.TrimEnd(' ').Split ' '

        if words.Length < 8 || words[6] <> "typ" then
            ValueSome expected
        elif not (isShort 1 32 words[0] && SdpGrammar.isVisible words[0]) then
            ValueSome "the foundation is 1 to 32 characters"
        elif not (isShort 1 3 words[1] && SdpGrammar.isDigits words[1]) then
            ValueSome "the component is 1 to 3 digits"
        elif not (SdpGrammar.isToken words[2]) then
            ValueSome "the transport is a token, such as udp"
        elif (SdpGrammar.number 0xFFFFFFFFL words[3]).IsNone then
            ValueSome "the priority is a number below 2³²"
        elif not (SdpGrammar.isVisible words[4]) then
            ValueSome expected
        elif (SdpGrammar.number 65535L words[5]).IsNone then
            ValueSome "the port is a number from 0 to 65535"
        elif not (SdpGrammar.isToken words[7]) then
            ValueSome "the type is a token, such as host"
        else
            ValueNone

    /// The username fragment in a candidate's extensions, RFC 8839 §5.1 and W3C WebRTC §4.8.1.
    let usernameFragment (value: string) : string voption =
        let words = value.Split ' '

        let rec find at =
            if at + 1 >= words.Length then ValueNone
            elif words[at] = "ufrag" then ValueSome words[at + 1]
            else find (at + 2)

        find 8

/// What the attributes of a level say. Each view reads the list anew: descriptions are small and seldom.
[<RequireQualifiedAccess>]
module SdpAttributes =
    /// Whether there is an attribute of this name.
    [<CompiledName "Has">]
    let has (name: string) (attributes: SdpAttribute[]) : bool =
        Array.exists (fun (a: SdpAttribute) -> a.Name = name) attributes

    /// The value of the first attribute of this name.
    [<CompiledName "TryValue">]
    let tryValue (name: string) (attributes: SdpAttribute[]) : string voption =
        let at = Array.FindIndex(attributes, (fun a -> a.Name = name && a.Value.IsSome))
        if at < 0 then ValueNone else attributes[at].Value

    /// The values of all attributes of this name, in order.
    [<CompiledName "Values">]
    let values (name: string) (attributes: SdpAttribute[]) : string[] =
        attributes
        |> Array.filter (fun a -> a.Name = name && a.Value.IsSome)
        |> Array.map (fun a -> a.Value.Value)

    let private tryNumber name most attributes =
        tryValue name attributes |> ValueOption.bind (SdpGrammar.number most)

    let private words (text: string) =
        text.Split([| ' '; ',' |], StringSplitOptions.RemoveEmptyEntries)

    /// The section's name, RFC 5888 §4.
    let mid attributes = tryValue "mid" attributes

    /// Groups of sections, RFC 5888 §5.
    let groups attributes : SdpGroup[] =
        values "group" attributes
        |> Array.map words
        |> Array.filter (fun parts -> parts.Length > 0)
        |> Array.map (fun parts ->
            { Semantics = parts[0]
              Mids = parts[1..] })

    /// RFC 8839 §5.4.
    let iceUfrag attributes = tryValue "ice-ufrag" attributes

    /// RFC 8839 §5.4.
    let icePwd attributes = tryValue "ice-pwd" attributes

    /// `trickle`, `ice2`, `renomination`… RFC 8839 §5.6. Some peers part them with commas.
    let iceOptions attributes : string[] =
        values "ice-options" attributes |> Array.collect words

    /// The peer is a lite implementation, RFC 8839 §5.3.
    let iceLite attributes = has "ice-lite" attributes

    /// The text of each candidate behind `candidate:`, RFC 8839 §5.1.
    let candidates attributes = values "candidate" attributes

    /// No more candidates will come, RFC 8840 §8.1.
    let endOfCandidates attributes = has "end-of-candidates" attributes

    /// RFC 8122 §5.
    let fingerprints attributes : Fingerprint[] =
        values "fingerprint" attributes
        |> Array.map SdpFingerprint.parse
        |> Array.filter _.IsSome
        |> Array.map _.Value

    let internal setupOf (text: string) : SdpSetup voption =
        match text with
        | "active" -> ValueSome SdpSetup.Active
        | "passive" -> ValueSome SdpSetup.Passive
        | "actpass" -> ValueSome SdpSetup.ActPass
        | "holdconn" -> ValueSome SdpSetup.HoldConn
        | _ -> ValueNone

    /// RFC 4145 §4.
    let setup attributes : SdpSetup voption =
        tryValue "setup" attributes |> ValueOption.bind setupOf

    /// The identity of the DTLS association, RFC 8842 §4.
    let tlsId attributes = tryValue "tls-id" attributes

    /// RFC 8841 §5.
    let sctpPort attributes : uint16 voption =
        tryNumber "sctp-port" 65535L attributes |> ValueOption.map uint16

    /// `sctpmap:port protocol streams`, the form before RFC 8841: the port of the first.
    let sctpMapPort attributes : uint16 voption =
        tryValue "sctpmap" attributes
        |> ValueOption.bind (fun value -> SdpGrammar.number 65535L (value.Split(' ')[0]))
        |> ValueOption.map uint16

    /// The largest message the peer takes, in octets; 0: any size. RFC 8841 §6.
    let maxMessageSize attributes : int64 voption =
        tryValue "max-message-size" attributes
        |> ValueOption.map (fun digits ->
            // More digits than a machine word holds are more octets than any message has.
            SdpGrammar.number Int64.MaxValue digits
            |> ValueOption.defaultValue Int64.MaxValue)

    /// The section's direction, RFC 8866 §6.7.
    let direction (attributes: SdpAttribute[]) : SdpDirection voption =
        let named (a: SdpAttribute) =
            match a.Name with
            | "sendrecv" -> ValueSome SdpDirection.SendRecv
            | "sendonly" -> ValueSome SdpDirection.SendOnly
            | "recvonly" -> ValueSome SdpDirection.RecvOnly
            | "inactive" -> ValueSome SdpDirection.Inactive
            | _ -> ValueNone

        attributes
        |> Array.map named
        |> Array.filter _.IsSome
        |> Array.tryHead
        |> function
            | Some found -> found
            | None -> ValueNone

    /// Stream and track, RFC 8830 §2.
    let msids attributes = values "msid" attributes

    /// RTP and RTCP share a transport, RFC 5761 §5.1.1.
    let rtcpMux attributes = has "rtcp-mux" attributes

    /// RFC 5506 §5.
    let rtcpRsize attributes = has "rtcp-rsize" attributes

    /// XR tells receivers the round trip, RFC 3611 §5.1: `rcvr-rtt`.
    let receiverRoundTrip attributes =
        values "rtcp-xr" attributes
        |> Array.exists (fun value ->
            words value
            |> Array.exists (fun format -> format.StartsWith("rcvr-rtt", StringComparison.Ordinal)))

    /// One- and two-byte header extensions may be mixed, RFC 8285 §6.
    let extmapAllowMixed attributes = has "extmap-allow-mixed" attributes

    /// The section is of use within its BUNDLE group only, RFC 8843 §6.
    let bundleOnly attributes = has "bundle-only" attributes

    /// What is wrong with an attribute that JSEP reads, RFC 8829 §5.8; ValueNone for all that it does not.
    let internal mistake (a: SdpAttribute) : string voption =
        let value = ValueOption.defaultValue "" a.Value

        let should (holds: bool) (text: string) =
            if holds then ValueNone else ValueSome text

        match a.Name with
        | "mid" -> should (SdpGrammar.isToken value) "a mid is one token, RFC 5888 §4"
        | "group" ->
            should
                (Array.forall SdpGrammar.isToken (value.Split ' '))
                "a group is its semantics and mids, parted by single spaces, RFC 5888 §5"
        | "ice-ufrag"
        | "ice-pwd" -> should (SdpGrammar.isVisible value) "ice-ufrag and ice-pwd are one word each, RFC 8839 §5.4"
        | "ice-options" -> should (words value <> [||]) "ice-options names at least one option, RFC 8839 §5.6"
        | "fingerprint" ->
            should
                (SdpFingerprint.parse value).IsSome
                "a fingerprint is a hash's name and its octets as hexadecimal pairs between colons, RFC 8122 §5"
        | "setup" -> should (setupOf value).IsSome "setup is active, passive, actpass or holdconn, RFC 4145 §4"
        | "tls-id" -> should (SdpGrammar.isVisible value) "a tls-id is one word, RFC 8842 §4"
        | "sctp-port" ->
            should
                (SdpGrammar.number 65535L value).IsSome
                "sctp-port is a number from 0 to 65535 without leading zeros, RFC 8841 §5.2"
        | "sctpmap" ->
            should (SdpGrammar.number 65535L (value.Split(' ')[0])).IsSome "sctpmap begins with a port from 0 to 65535"
        | "max-message-size" ->
            should
                (SdpGrammar.isDigits value && (value = "0" || value[0] <> '0'))
                "max-message-size is a number without leading zeros, RFC 8841 §6.2"
        | "candidate" -> SdpCandidate.mistake value
        | _ -> ValueNone
