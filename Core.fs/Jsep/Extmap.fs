namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic
open Hybrid.WebRtc.Rtp

/// `a=extmap`, RFC 8285 §5 and §8.
[<Struct; NoComparison>]
type internal Extmap =
    {
        /// 1 to 255.
        Id: int
        Uri: string
        /// Of the extension, as the describer sees it.
        Direction: Direction
    }

/// What the ids of one BUNDLE group mean, RFC 9143 §9.2: an id never means two URIs, and a URI keeps the id that it was first
/// given. Immutable; at most 255 entries.
[<Sealed>]
type internal ExtensionIds private (uris: string[], order: int[]) =
    /// Nothing taken.
    static member val None = ExtensionIds(Array.create 256 "", [||])

    /// The URI of an id from 0 to 255; empty: none.
    member _.At(id: int) : string = uris[id]

    /// The id that a URI was first given; 0: none.
    member _.IdOf(uri: string) : int =
        match Array.FindIndex(order, (fun id -> uris[id] = uri)) with
        | -1 -> 0
        | at -> order[at]

    /// With more ids; those that mean something already go on to mean it.
    member _.With(extmaps: Extmap[]) : ExtensionIds =
        let uris = Array.copy uris
        let added = ResizeArray(order)

        for e in extmaps do
            if uris[e.Id] = "" then
                uris[e.Id] <- e.Uri
                added.Add e.Id

        ExtensionIds(uris, added.ToArray())

/// Negotiation of header extensions, RFC 8285 §5 and §6.
module internal Extmaps =
    /// The most that one-byte elements number, RFC 8285 §4.2; 15 means something else there.
    [<Literal>]
    let private MaxOneByte = 14

    /// Of a description's section; browsers know some twenty. With the session's.
    [<Literal>]
    let MaxExtmaps = 255

    let private sends (d: Direction) =
        d = Direction.SendRecv || d = Direction.SendOnly

    let private receives (d: Direction) =
        d = Direction.SendRecv || d = Direction.RecvOnly

    let private direction (sends: bool) (receives: bool) : Direction =
        match sends, receives with
        | true, true -> Direction.SendRecv
        | true, false -> Direction.SendOnly
        | false, true -> Direction.RecvOnly
        | false, false -> Direction.Inactive

    /// As the other side sees it.
    let private reversed (d: Direction) = direction (receives d) (sends d)

    let private both (a: Direction) (b: Direction) =
        direction (sends a && sends b) (receives a && receives b)

    let private directionOf (text: string) : Direction voption =
        match text with
        | "sendrecv" -> ValueSome Direction.SendRecv
        | "sendonly" -> ValueSome Direction.SendOnly
        | "recvonly" -> ValueSome Direction.RecvOnly
        | "inactive" -> ValueSome Direction.Inactive
        | _ -> ValueNone

    /// `id[/direction] uri [attributes]`, RFC 8285 §8. ValueNone: another shape, an id out of range (RFC 8285 §5 lets an
    /// offer number what it would like to have from 4096 on), or an encrypted one (RFC 6904), which goes unanswered.
    let private parse (value: string) : Extmap voption =
        match value.Split(' ', 3) with
        | [| id; uri |]
        | [| id; uri; _ |] when uri <> "" && uri <> "urn:ietf:params:rtp-hdrext:encrypt" ->
            let struct (id, direction) =
                match id.IndexOf '/' with
                | -1 -> struct (id, ValueSome Direction.SendRecv)
                | at -> struct (id.Substring(0, at), directionOf (id.Substring(at + 1)))

            match SdpGrammar.number 255L id, direction with
            | ValueSome id, ValueSome direction when id > 0L ->
                ValueSome
                    { Id = int id
                      Uri = uri
                      Direction = direction }
            | _ -> ValueNone
        | _ -> ValueNone

    /// Those of a section and of its session; the section's own come first. Ids out of range are passed over, and of doubled
    /// ids and URIs all but the first.
    let ofMedia (media: SdpMedia) (session: SdpLevel) : Extmap[] =
        let ids = Array.zeroCreate<bool> 256
        let uris = HashSet<string>()
        let found = ResizeArray()

        let read (attributes: SdpAttribute[]) =
            for a in attributes do
                if a.Name = "extmap" && a.Value.IsSome && found.Count < MaxExtmaps then
                    match parse a.Value.Value with
                    | ValueSome e when not ids[e.Id] && uris.Add e.Uri ->
                        ids[e.Id] <- true
                        found.Add e
                    | _ -> ()

        read media.Level.Attributes
        read session.Attributes
        found.ToArray()

    /// Whether one- and two-byte elements may be mixed, RFC 8285 §6: said at session level or in the section.
    let allowsMixed (media: SdpMedia) (session: SdpLevel) : bool =
        SdpAttributes.extmapAllowMixed media.Level.Attributes
        || SdpAttributes.extmapAllowMixed session.Attributes

    /// With the ids of a section: those given first stay.
    let remember (extmaps: Extmap[]) (ids: ExtensionIds) : ExtensionIds = ids.With extmaps

    /// The extensions of an offer's section, without those stopped, and the ids with them. `twoByte`: ids above 14 may be
    /// given, because the peer takes them; else what finds no id is left out.
    let offer
        (capabilities: ExtensionCapability[])
        (twoByte: bool)
        (ids: ExtensionIds)
        : struct (Extmap[] * ExtensionIds) =
        let most = if twoByte then 255 else MaxOneByte
        let given = ResizeArray()
        let mutable ids = ids
        let mutable below = MaxOneByte
        let mutable above = MaxOneByte + 2

        // Chromium's way: its place in the list, where that is free, else from 14 down. Where offers collide Chromium holds the ids
        // of its own against ours, rolled back or not, once a transport is there; of the same sections the ids are the same.
        for i in 0 .. capabilities.Length - 1 do
            let c = capabilities[i]

            if c.Direction <> Direction.Stopped && c.Direction <> Direction.Inactive then
                let had = ids.IdOf c.Uri

                let id =
                    if had > 0 then
                        had
                    elif i < MaxOneByte && ids.At(i + 1) = "" then
                        i + 1
                    else
                        while below > 0 && ids.At below <> "" do
                            below <- below - 1

                        while below = 0 && above <= most && ids.At above <> "" do
                            above <- above + 1

                        if below > 0 then below else above

                if id <= most then
                    let e =
                        { Id = id
                          Uri = c.Uri
                          Direction = c.Direction }

                    given.Add e

                    if had = 0 then
                        ids <- ids.With [| e |]

        struct (given.ToArray(), ids)

    /// The answer to what was offered: ids as they were, directions as seen from here. `twoByte`: the offer allows to mix.
    let answer (capabilities: ExtensionCapability[]) (twoByte: bool) (offered: Extmap[]) : Extmap[] =
        let most = if twoByte then 255 else MaxOneByte

        offered
        |> Array.map (fun o ->
            match Array.FindIndex(capabilities, (fun c -> c.Uri = o.Uri)) with
            | -1 ->
                { o with
                    Direction = Direction.Inactive }
            | at ->
                { o with
                    Direction = both (reversed o.Direction) capabilities[at].Direction })
        |> Array.filter (fun e -> e.Direction <> Direction.Inactive && e.Id <= most)

    /// What a local and a remote description have in common, as the local has it: same id and URI, one direction at least.
    let agreed (local: Extmap[]) (remote: Extmap[]) : Extmap[] =
        local
        |> Array.map (fun l ->
            match Array.FindIndex(remote, (fun r -> r.Id = l.Id && r.Uri = l.Uri)) with
            | -1 ->
                { l with
                    Direction = Direction.Inactive }
            | at ->
                { l with
                    Direction = both l.Direction (reversed remote[at].Direction) })
        |> Array.filter (fun e -> e.Direction <> Direction.Inactive)

    /// `a=extmap` of each.
    let attributes (extmaps: Extmap[]) : SdpAttribute[] =
        extmaps
        |> Array.map (fun e ->
            let direction =
                match e.Direction with
                | Direction.SendOnly -> "/sendonly"
                | Direction.RecvOnly -> "/recvonly"
                | Direction.Inactive
                | Direction.Stopped -> "/inactive"
                | _ -> ""

            SdpAttribute.create "extmap" (string e.Id + direction + " " + e.Uri))

    /// What the media session reads and writes packets by.
    let toMap (extmaps: Extmap[]) : ExtensionMap =
        extmaps |> Array.map (fun e -> KeyValuePair(e.Id, e.Uri)) |> ExtensionMap

    /// What getParameters() shows.
    let parameters (extmaps: Extmap[]) : ExtensionParameters[] =
        extmaps
        |> Array.map (fun e ->
            { Uri = e.Uri
              Id = e.Id
              Encrypted = false })
