namespace Hybrid.WebRtc.Core

open System

/// Reads a session description by the grammar of RFC 8866 §9.
///
/// Lines end in CRLF, or LF alone; the last one's end may be missing. Three things are taken more strictly than the
/// grammar has them, so that nothing changes on the way back to text: ports carry no leading zeros, and the
/// attributes that JSEP reads must be well-formed (RFC 8829 §5.8). One is taken more loosely: `s=` may be empty.
/// Work and memory are linear in the text's length, which `MaxLength` bounds.
[<RequireQualifiedAccess>]
module SdpParser =
    /// Characters in a description. A browser's with a hundred sections has some 300,000.
    [<Literal>]
    let MaxLength = 1_048_576

    /// Media sections in a description: far beyond use, and a bound for what compares sections pairwise.
    [<Literal>]
    let MaxMedia = 1_000

    /// Attributes, or other lines of one letter, of a session or of one media section. Browsers write some 300.
    [<Literal>]
    let MaxLines = 4_000

    /// Formats of a media section: RTP has 128 payload types.
    [<Literal>]
    let MaxFormats = 256

    let private order =
        "lines come as v o s [i] [u] *e *p [c] *b, then t with *r [z], then [k] *a, then media sections as m [i] *c *b [k] *a, RFC 8866 §5"

    /// Reads lines straight on. The first mistake is kept, and from then on nothing matches; so the parser asks once.
    [<Sealed>]
    type private Cursor(lines: string[]) =
        let mutable at = 0
        let mutable error: SdpError voption = ValueNone

        member _.Error = error

        member _.Fail(line: int, message: string) =
            if error.IsNone then
                error <- ValueSome { Line = line; Message = message }

        /// The number, from 1, of the line that is next.
        member _.Line = at + 1

        /// The letter of the next line; NUL at the end.
        member _.Letter =
            if error.IsSome || at >= lines.Length then
                '\000'
            else
                lines[at][0]

        /// The value of the next line if it is of this letter, through `read`.
        member c.Optional(letter: char, read: string -> Result<'a, string>) : 'a voption =
            if c.Letter <> letter then
                ValueNone
            else
                let line = lines[at]
                at <- at + 1

                match read (line.Substring 2) with
                | Ok value -> ValueSome value
                | Error expected ->
                    c.Fail(at, "`" + line.Substring(0, min line.Length 80) + "`: " + expected)
                    ValueNone

        /// The values of the lines of this letter that are next.
        member c.Many(letter: char, read: string -> Result<'a, string>) : 'a[] =
            let found = ResizeArray()

            while c.Letter = letter do
                match c.Optional(letter, read) with
                | ValueSome value -> found.Add value
                | ValueNone -> ()

                if found.Count > MaxLines then
                    c.Fail(
                        at,
                        "at most "
                        + string MaxLines
                        + " lines `"
                        + string letter
                        + "=` are taken at one level"
                    )

            found.ToArray()

        /// The value of the next line, which must be of this letter.
        member c.Required(letter: char, read: string -> Result<'a, string>, instead: 'a) : 'a =
            if c.Letter <> letter then
                let found =
                    if at < lines.Length then
                        "found `" + lines[at].Substring(0, min lines[at].Length 80) + "`"
                    else
                        "the description ends"

                c.Fail(at + 1, "expected a line `" + string letter + "=`, but " + found + "; " + order)

            c.Optional(letter, read) |> ValueOption.defaultValue instead

    let private text (value: string) =
        if value = "" then
            Error "a value of at least one character is expected"
        else
            Ok value

    let private version (value: string) =
        if value = "0" then
            Ok value
        else
            Error "the version is 0, RFC 8866 §5.1"

    let private origin (value: string) : Result<SdpOrigin, string> =
        match value.Split ' ' with
        | [| username; id; version; net; addr; address |] when
            SdpGrammar.isVisible username
            && SdpGrammar.isDigits id
            && SdpGrammar.isDigits version
            && SdpGrammar.isToken net
            && SdpGrammar.isToken addr
            && SdpGrammar.isVisible address
            ->
            Ok
                { Username = username
                  SessionId = id
                  SessionVersion = version
                  NetType = net
                  AddrType = addr
                  Address = address }
        | _ -> Error "expected `o=username id version IN IP4 address`, id and version being digits, RFC 8866 §5.2"

    let private connection (value: string) : Result<SdpConnection, string> =
        match value.Split ' ' with
        | [| net; addr; address |] when
            SdpGrammar.isToken net
            && SdpGrammar.isToken addr
            && SdpGrammar.isVisible address
            ->
            Ok
                { NetType = net
                  AddrType = addr
                  Address = address }
        | _ -> Error "expected `c=IN IP4 address` or `c=IN IP6 address`, RFC 8866 §5.7"

    let private bandwidth (value: string) : Result<SdpBandwidth, string> =
        match value.Split ':' with
        | [| kind; digits |] when SdpGrammar.isToken kind && SdpGrammar.isDigits digits ->
            Ok { Type = kind; Value = digits }
        | _ -> Error "expected `b=type:number`, RFC 8866 §5.8"

    let private times (value: string) : Result<struct (string * string), string> =
        match value.Split ' ' with
        | [| start; stop |] when SdpGrammar.isDigits start && SdpGrammar.isDigits stop -> Ok(struct (start, stop))
        | _ -> Error "expected `t=start stop`, both digits, RFC 8866 §5.9"

    let private repeat (value: string) =
        let words = value.Split ' '

        if
            words.Length >= 3
            && Array.forall SdpGrammar.isTypedTime words
            && words[0][0] <> '0'
        then
            Ok value
        else
            Error "expected `r=interval duration offset…`, digits with d, h, m or s, RFC 8866 §5.10"

    let private zones (value: string) =
        let fits at (word: string) =
            if at % 2 = 0 then
                SdpGrammar.isDigits word
            else
                SdpGrammar.isTypedTime (if word.StartsWith '-' then word.Substring 1 else word)

        let words = value.Split ' '

        if words.Length % 2 = 0 && Array.forall2 fits [| 0 .. words.Length - 1 |] words then
            Ok value
        else
            Error "expected `z=time offset time offset…`, RFC 8866 §5.11"

    let private attribute (value: string) : Result<SdpAttribute, string> =
        let colon = value.IndexOf ':'

        let parsed: SdpAttribute =
            if colon < 0 then
                SdpAttribute.flag value
            else
                SdpAttribute.create (value.Substring(0, colon)) (value.Substring(colon + 1))

        if not (SdpGrammar.isToken parsed.Name) then
            Error "an attribute's name is a token, RFC 8866 §5.13"
        else
            match SdpAttributes.mistake parsed with
            | ValueSome expected -> Error expected
            | ValueNone -> Ok parsed

    /// The port and, behind a slash, how many of them.
    let private port (value: string) : struct (uint16 * int voption) voption =
        match value.Split '/' with
        | [| port |] ->
            SdpGrammar.number 65535L port
            |> ValueOption.map (fun port -> struct (uint16 port, ValueNone))
        | [| port; count |] ->
            match SdpGrammar.number 65535L port, SdpGrammar.number 65535L count with
            | ValueSome port, ValueSome count when count > 0L -> ValueSome(struct (uint16 port, ValueSome(int count)))
            | _ -> ValueNone
        | _ -> ValueNone

    let private mediaLine (value: string) : Result<SdpMedia, string> =
        let words = value.Split ' '
        let formats = Array.skip (min 3 words.Length) words

        if
            formats.Length = 0
            || not (SdpGrammar.isToken words[0])
            || not (SdpGrammar.isProtocol words[2])
            || not (Array.forall SdpGrammar.isToken formats)
        then
            Error "expected `m=media port protocol format…`, parted by single spaces, RFC 8866 §5.14"
        elif formats.Length > MaxFormats then
            Error("at most " + string MaxFormats + " formats of a media section are taken")
        else
            match port words[1] with
            | ValueNone -> Error "a media section's port is a number from 0 to 65535 without leading zeros"
            | ValueSome(struct (port, count)) ->
                Ok
                    { Kind = words[0]
                      Port = port
                      PortCount = count
                      Protocol = words[2]
                      Formats = formats
                      Level = SdpLevel.ofAttributes [||] }

    let private time (c: Cursor) : SdpTime =
        let struct (start, stop) = c.Required('t', times, struct ("0", "0"))
        let repeats = c.Many('r', repeat)

        { Start = start
          Stop = stop
          Repeats = repeats
          Zones =
            if repeats.Length = 0 then
                ValueNone
            else
                c.Optional('z', zones) }

    let private media (c: Cursor) (m: SdpMedia) : SdpMedia =
        let information = c.Optional('i', text)
        let connections = c.Many('c', connection)
        let bandwidths = c.Many('b', bandwidth)
        let key = c.Optional('k', text)

        { m with
            Level =
                { Information = information
                  Connections = connections
                  Bandwidths = bandwidths
                  Key = key
                  Attributes = c.Many('a', attribute) } }

    let private sections (c: Cursor) : SdpMedia[] =
        let found = ResizeArray()

        while c.Letter = 'm' do
            let line = c.Line

            match c.Optional('m', mediaLine) with
            | ValueSome m ->
                found.Add(media c m)

                if found.Count > MaxMedia then
                    c.Fail(line, "at most " + string MaxMedia + " media sections are taken")
            | ValueNone -> ()

        found.ToArray()

    let private session (c: Cursor) : Sdp =
        c.Required('v', version, "0") |> ignore

        let blank =
            { Username = "-"
              SessionId = "0"
              SessionVersion = "0"
              NetType = "IN"
              AddrType = "IP4"
              Address = "0.0.0.0" }

        let origin = c.Required('o', origin, blank)
        let name = c.Required('s', Ok, "")
        let information = c.Optional('i', text)
        let uri = c.Optional('u', text)
        let emails = c.Many('e', text)
        let phones = c.Many('p', text)

        let connections =
            match c.Optional('c', connection) with
            | ValueSome connection -> [| connection |]
            | ValueNone -> [||]

        let bandwidths = c.Many('b', bandwidth)
        let times = ResizeArray [ time c ]

        while c.Letter = 't' do
            times.Add(time c)

        let key = c.Optional('k', text)
        let attributes = c.Many('a', attribute)
        let media = sections c

        // A letter that RFC 8866 does not know makes the whole description invalid, its §5.
        match c.Letter with
        | '\000' -> ()
        | letter when "vosiuepcbtrzkam".Contains letter ->
            c.Fail(c.Line, "`" + string letter + "=` stands out of order; " + order)
        | letter -> c.Fail(c.Line, "no line begins with `" + string letter + "=`; " + order)

        { Origin = origin
          Name = name
          Contact =
            { Uri = uri
              Emails = emails
              Phones = phones }
          Times = times.ToArray()
          Level =
            { Information = information
              Connections = connections
              Bandwidths = bandwidths
              Key = key
              Attributes = attributes }
          Media = media }

    /// The lines without their ends; the empty ones behind the last line are passed over.
    let private split (text: string) : string[] =
        let lines = text.TrimEnd('\r', '\n').Split '\n'

        lines
        |> Array.map (fun line ->
            if line.EndsWith '\r' then
                line.Substring(0, line.Length - 1)
            else
                line)

    let private misshapen (line: string) =
        line.Length < 2
        || line[1] <> '='
        || not (Char.IsAsciiLetter line[0])
        || line.Contains '\r'
        || line.Contains '\000'

    /// The description that a text holds, or the first line that is wrong.
    [<CompiledName "Parse">]
    let parse (text: string) : Result<Sdp, SdpError> =
        if text.Length > MaxLength then
            Error
                { Line = 1
                  Message = "a description of at most " + string MaxLength + " characters is taken" }
        else
            let lines = split text

            match Array.tryFindIndex misshapen lines with
            | Some at ->
                Error
                    { Line = at + 1
                      Message =
                        "expected a line like `v=0`: a letter, an equals sign and a value without CR or NUL, but found `"
                        + lines[at].Substring(0, min lines[at].Length 80).Replace('\r', ' ').Replace('\000', ' ')
                        + "`" }
            | None ->
                let cursor = Cursor lines
                let sdp = session cursor

                match cursor.Error with
                | ValueSome error -> Error error
                | ValueNone -> Ok sdp
