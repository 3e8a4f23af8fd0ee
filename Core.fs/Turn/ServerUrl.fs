namespace Hybrid.WebRtc.Core

open System

/// How a STUN or TURN server is reached, RFC 7064 §3.2, RFC 7065 §3.2.
type ServerTransport =
    | Udp = 0
    | Tcp = 1
    | Tls = 2
    | Dtls = 3

/// A `stun:`, `stuns:`, `turn:` or `turns:` URI, RFC 7064 §3.1 and RFC 7065 §3.1.
[<NoComparison>]
type ServerUrl =
    {
        IsTurn: bool
        Transport: ServerTransport
        /// A name or an address, IPv6 without its brackets.
        Host: string
        /// The URI's, or 3478; 5349 for the secure schemes.
        Port: uint16
    }

/// URIs of STUN and TURN servers.
[<RequireQualifiedAccess>]
module ServerUrl =
    let private split (text: string) =
        match text.IndexOf ':' with
        | -1 -> struct ("", "")
        | at -> struct (text.Substring(0, at).ToLowerInvariant(), text.Substring(at + 1))

    let private isHost (host: string) =
        host <> ""
        && host
           |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '.' || c = '-' || c = '_')

    /// `host`, `host:port`, `[v6]`, `[v6]:port`.
    let private authority (text: string) (fallback: uint16) : struct (string * uint16) voption =
        let port (digits: string) =
            let mutable value = 0us

            if
                UInt16.TryParse(digits, Globalization.NumberStyles.None, null, &value)
                && value > 0us
            then
                ValueSome value
            else
                ValueNone

        let withPort host (rest: string) =
            if rest = "" then
                ValueSome(struct (host, fallback))
            elif rest[0] = ':' then
                port (rest.Substring 1) |> ValueOption.map (fun p -> struct (host, p))
            else
                ValueNone

        if text.StartsWith '[' then
            match text.IndexOf ']' with
            | -1 -> ValueNone
            | close ->
                let host = text.Substring(1, close - 1)

                if (Address.parse host).IsSome && host.Contains ':' then
                    withPort host (text.Substring(close + 1))
                else
                    ValueNone
        else
            match text.IndexOf ':' with
            | -1 when isHost text -> ValueSome(struct (text, fallback))
            | at when at > 0 && isHost (text.Substring(0, at)) -> withPort (text.Substring(0, at)) (text.Substring at)
            | _ -> ValueNone

    /// ValueNone where the text is not such a URI.
    [<CompiledName "Parse">]
    let parse (text: string) : ServerUrl voption =
        let struct (scheme, rest) = split text

        let struct (place, query) =
            match rest.IndexOf '?' with
            | -1 -> struct (rest, "")
            | at -> struct (rest.Substring(0, at), rest.Substring(at + 1).ToLowerInvariant())

        let secure = scheme = "stuns" || scheme = "turns"

        let transport =
            match scheme, query with
            | ("stun" | "turn"), ""
            | "turn", "transport=udp" -> ValueSome ServerTransport.Udp
            | "turn", "transport=tcp" -> ValueSome ServerTransport.Tcp
            | ("stuns" | "turns"), ""
            | "turns", "transport=tcp" -> ValueSome ServerTransport.Tls
            | "turns", "transport=udp" -> ValueSome ServerTransport.Dtls
            | _ -> ValueNone

        match transport, authority place (if secure then 5349us else 3478us) with
        | ValueSome transport, ValueSome(struct (host, port)) ->
            ValueSome
                { IsTurn = scheme.StartsWith "turn"
                  Transport = transport
                  Host = host
                  Port = port }
        | _ -> ValueNone
