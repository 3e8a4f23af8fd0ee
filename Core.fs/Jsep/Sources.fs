namespace Hybrid.WebRtc.Core

open System

/// What a section says of its SSRCs and of its tracks: `a=ssrc` and `a=ssrc-group` (RFC 5576), `a=msid` (RFC 8830).
[<NoComparison>]
type internal SourceFacts =
    {
        /// Primary sources in order, with their RTX and FEC; of `SIM` groups the lowest layer first.
        Sources: RemoteSource[]
        /// Ids of the streams that the track belongs to.
        Streams: string[]
        /// The track's id: of `a=msid`; ValueNone where nothing names it.
        Track: string voption
        Cname: string voption
    }

/// Sources and tracks of media sections.
module internal Sources =
    /// SSRCs of a section beyond these are passed over.
    [<Literal>]
    let MaxSources = 64

    let ofMedia (media: SdpMedia) : SourceFacts = Unchecked.defaultof<_>

    /// `a=msid` lines of ours: `-` where the track is in no stream, RFC 9429 §5.2.1.
    let msids (streams: string[]) (track: string) : SdpAttribute[] = Unchecked.defaultof<_>

    /// `a=ssrc-group` and `a=ssrc` lines of what we send; none with rids, RFC 9429 §5.2.1.
    let attributes (cname: string) (encodings: SendEncoding[]) : SdpAttribute[] = Unchecked.defaultof<_>
