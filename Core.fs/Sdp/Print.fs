namespace Hybrid.WebRtc.Core

open System.Text

/// Writes a session description as RFC 8866 §5 orders its lines, each ended by CRLF.
[<RequireQualifiedAccess>]
module SdpPrinter =
    let private line (letter: char) (value: string) (into: StringBuilder) =
        into.Append(letter).Append('=').Append(value).Append("\r\n") |> ignore

    let private optional (letter: char) (value: string voption) (into: StringBuilder) =
        match value with
        | ValueSome value -> line letter value into
        | ValueNone -> ()

    let private attribute (a: SdpAttribute) (into: StringBuilder) =
        match a.Value with
        | ValueSome value ->
            into.Append("a=").Append(a.Name).Append(':').Append(value).Append("\r\n")
            |> ignore
        | ValueNone -> line 'a' a.Name into

    let private connections (level: SdpLevel) (into: StringBuilder) =
        for c in level.Connections do
            line 'c' (c.NetType + " " + c.AddrType + " " + c.Address) into

    let private bandwidths (level: SdpLevel) (into: StringBuilder) =
        for b in level.Bandwidths do
            line 'b' (b.Type + ":" + b.Value) into

    let private keyAndAttributes (level: SdpLevel) (into: StringBuilder) =
        optional 'k' level.Key into

        for a in level.Attributes do
            attribute a into

    let private media (m: SdpMedia) (into: StringBuilder) =
        into.Append("m=").Append(m.Kind).Append(' ').Append(m.Port) |> ignore

        match m.PortCount with
        | ValueSome count -> into.Append('/').Append(count) |> ignore
        | ValueNone -> ()

        into.Append(' ').Append(m.Protocol) |> ignore

        for format in m.Formats do
            into.Append(' ').Append(format) |> ignore

        into.Append("\r\n") |> ignore
        optional 'i' m.Level.Information into
        connections m.Level into
        bandwidths m.Level into
        keyAndAttributes m.Level into

    let private time (t: SdpTime) (into: StringBuilder) =
        line 't' (t.Start + " " + t.Stop) into

        for r in t.Repeats do
            line 'r' r into

        optional 'z' t.Zones into

    /// The text of a description.
    [<CompiledName "Print">]
    let print (sdp: Sdp) : string =
        let into = StringBuilder(1024)
        let o = sdp.Origin
        line 'v' "0" into

        line
            'o'
            (String.concat
                " "
                [| o.Username
                   o.SessionId
                   o.SessionVersion
                   o.NetType
                   o.AddrType
                   o.Address |])
            into

        line 's' sdp.Name into
        optional 'i' sdp.Level.Information into
        optional 'u' sdp.Contact.Uri into

        for e in sdp.Contact.Emails do
            line 'e' e into

        for p in sdp.Contact.Phones do
            line 'p' p into

        connections sdp.Level into
        bandwidths sdp.Level into

        for t in sdp.Times do
            time t into

        keyAndAttributes sdp.Level into

        for m in sdp.Media do
            media m into

        into.ToString()
