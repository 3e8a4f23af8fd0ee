namespace Hybrid.WebRtc.Core

open System
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

/// What the ids of one BUNDLE group mean, RFC 9143 §9.2: an id never means two URIs, and a URI keeps its id. Immutable.
[<Sealed>]
type internal ExtensionIds(uris: string[]) =
    static member val None = ExtensionIds(Array.create 256 "")
    member _.At(id: int) : string = uris[id]

/// Negotiation of header extensions, RFC 8285 §5 and §6.
module internal Extmaps =
    /// Those of the session and of the section at `at`; the section's own first. Ids out of range and doubled ones are passed over.
    let ofSection (at: int) (sdp: Sdp) : Extmap[] = Unchecked.defaultof<_>

    /// Whether one- and two-byte elements may be mixed, RFC 8285 §6: said at session level or in the section.
    let allowsMixed (at: int) (sdp: Sdp) : bool = Unchecked.defaultof<_>

    let remember (extmaps: Extmap[]) (ids: ExtensionIds) : ExtensionIds = Unchecked.defaultof<_>

    /// The extensions of an offer's section, without those stopped. `twoByte`: ids above 14 may be given; else what finds no id
    /// is left out.
    let offer
        (capabilities: ExtensionCapability[])
        (twoByte: bool)
        (ids: ExtensionIds)
        : struct (Extmap[] * ExtensionIds) =
        Unchecked.defaultof<_>

    /// The answer to what was offered: ids as they were, directions seen from here. `twoByte`: the offer allows to mix.
    let answer (capabilities: ExtensionCapability[]) (twoByte: bool) (offered: Extmap[]) : Extmap[] =
        Unchecked.defaultof<_>

    /// What a local and a remote description have in common: same id and URI, one direction at least.
    let agreed (local: Extmap[]) (remote: Extmap[]) : Extmap[] = Unchecked.defaultof<_>

    let attributes (extmaps: Extmap[]) : SdpAttribute[] = Unchecked.defaultof<_>
    let toMap (extmaps: Extmap[]) : ExtensionMap = Unchecked.defaultof<_>
    let parameters (extmaps: Extmap[]) : ExtensionParameters[] = Unchecked.defaultof<_>
