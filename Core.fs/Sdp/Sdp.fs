namespace Hybrid.WebRtc.Core

open System

/// Why a description was refused. `Line` counts from 1; `Message` says what was wrong and what would be right.
[<Struct; NoComparison>]
type SdpError = { Line: int; Message: string }

/// `o=`, RFC 8866 §5.2. Numbers are kept as digits: they may be longer than any machine word.
[<NoComparison>]
type SdpOrigin =
    {
        Username: string
        SessionId: string
        /// Increases when the session's data change.
        SessionVersion: string
        NetType: string
        AddrType: string
        Address: string
    }

/// `c=`, RFC 8866 §5.7.
[<NoComparison>]
type SdpConnection =
    {
        NetType: string
        AddrType: string
        /// An address or a name, with `/ttl` and `/count` where multicast.
        Address: string
    }

/// `b=`, RFC 8866 §5.8.
[<NoComparison>]
type SdpBandwidth =
    {
        /// `CT`, `AS`, `TIAS`, or one that is not known.
        Type: string
        /// Digits; the unit depends on the type.
        Value: string
    }

/// `t=` with the `r=` and `z=` lines that belong to it, RFC 8866 §5.9 to §5.11.
[<NoComparison>]
type SdpTime =
    { Start: string
      Stop: string
      Repeats: string[]
      Zones: string voption }

/// `a=`, RFC 8866 §5.13: a flag, or a name with a value.
[<Struct; NoComparison>]
type SdpAttribute = { Name: string; Value: string voption }

/// The lines that a session and a media section have in common.
[<NoComparison>]
type SdpLevel =
    {
        /// `i=`.
        Information: string voption
        /// `c=`: at most one at session level.
        Connections: SdpConnection[]
        Bandwidths: SdpBandwidth[]
        /// `k=`, obsolete.
        Key: string voption
        /// In order, unknown ones included.
        Attributes: SdpAttribute[]
    }

/// `u=`, `e=` and `p=`, RFC 8866 §5.5 and §5.6.
[<NoComparison>]
type SdpContact =
    { Uri: string voption
      Emails: string[]
      Phones: string[] }

/// A media section: `m=` and what follows it, RFC 8866 §5.14.
[<NoComparison>]
type SdpMedia =
    {
        /// `audio`, `video`, `application`…
        Kind: string
        /// Zero rejects the section, or leaves it to its BUNDLE group (RFC 8843 §6).
        Port: uint16
        /// `/count` behind the port.
        PortCount: int voption
        /// `UDP/TLS/RTP/SAVPF`, `UDP/DTLS/SCTP`…
        Protocol: string
        /// Payload types, or `webrtc-datachannel`.
        Formats: string[]
        Level: SdpLevel
    }

/// A session description, RFC 8866. Printing gives back the very bytes that were parsed.
[<NoComparison>]
type Sdp =
    {
        Origin: SdpOrigin
        /// `s=`.
        Name: string
        Contact: SdpContact
        /// One at least.
        Times: SdpTime[]
        Level: SdpLevel
        Media: SdpMedia[]
    }

/// Attributes as they are made.
[<RequireQualifiedAccess>]
module SdpAttribute =
    /// `a=name`.
    let flag (name: string) : SdpAttribute = { Name = name; Value = ValueNone }

    /// `a=name:value`.
    let create (name: string) (value: string) : SdpAttribute =
        { Name = name; Value = ValueSome value }

/// Levels as they are made.
[<RequireQualifiedAccess>]
module SdpLevel =
    /// Attributes and nothing else.
    let ofAttributes (attributes: SdpAttribute[]) : SdpLevel =
        { Information = ValueNone
          Connections = [||]
          Bandwidths = [||]
          Key = ValueNone
          Attributes = attributes }

/// The classes of characters and numbers of RFC 8866 §9.
module internal SdpGrammar =
    let private tokenMarks = "!#$%&'*+-.^_`{|}~"

    let private isTokenChar (c: char) =
        Char.IsAsciiLetterOrDigit c || tokenMarks.Contains c

    let private all (holds: char -> bool) (text: string) =
        let mutable i = 0

        while i < text.Length && holds text[i] do
            i <- i + 1

        i = text.Length

    /// 1*(token-char).
    let isToken (text: string) = text <> "" && all isTokenChar text

    /// token *("/" token).
    let isProtocol (text: string) = Array.forall isToken (text.Split '/')

    /// non-ws-string.
    let isVisible (text: string) =
        text <> "" && all (fun c -> c > ' ' && c <> '\127') text

    /// 1*DIGIT.
    let isDigits (text: string) =
        text <> "" && all Char.IsAsciiDigit text

    /// 1*DIGIT with d, h, m or s behind it, perhaps.
    let isTypedTime (text: string) =
        text <> ""
        && isDigits (
            if "dhms".Contains text[text.Length - 1] then
                text[.. text.Length - 2]
            else
                text
        )

    /// A number from 0 to `most`, written without leading zeros, so that it prints as it was read.
    let number (most: int64) (text: string) : int64 voption =
        if not (isDigits text) || text.Length > 18 || (text.Length > 1 && text[0] = '0') then
            ValueNone
        else
            let mutable value = 0L

            for c in text do
                value <- value * 10L + int64 (int c - int '0')

            if value <= most then ValueSome value else ValueNone
