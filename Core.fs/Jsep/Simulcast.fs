namespace Hybrid.WebRtc.Core

open System

/// `a=rid`, RFC 8851 §10.
[<NoComparison>]
type internal Rid =
    {
        Id: string
        /// The describer sends it; else it receives.
        Send: bool
        /// Payload types it is limited to; empty: any of the section.
        Formats: int[]
        /// `max-width=1280`… in order, as they stand.
        Restrictions: string[]
    }

/// An alternative of a simulcast stream.
[<Struct; NoComparison>]
type internal SimulcastRid = { Rid: string; Paused: bool }

/// `a=simulcast`, RFC 8853 §5.1: streams, each with its alternatives, the preferred one first.
[<NoComparison>]
type internal SimulcastStreams =
    { Send: SimulcastRid[][]
      Receive: SimulcastRid[][] }

/// Simulcast, RFC 8853, and rids, RFC 8851.
module internal Simulcast =
    /// Streams beyond these are not taken: a browser sends three.
    [<Literal>]
    let MaxStreams = 16

    let none: SimulcastStreams = { Send = [||]; Receive = [||] }

    /// Well-formed `a=rid` lines of a section, those that name an id and direction twice left out, RFC 8851 §6.
    let rids (attributes: SdpAttribute[]) : Rid[] = Unchecked.defaultof<_>

    /// The first well-formed `a=simulcast`, without what no `a=rid` of its direction backs, RFC 8853 §5.2. `none` where there is none.
    let ofAttributes (attributes: SdpAttribute[]) : SimulcastStreams = Unchecked.defaultof<_>

    /// Our answer: we receive what they send, up to `MaxStreams`; we send what they receive, of `sending` (the rids of our encodings), in
    /// their order. Pauses of theirs are kept.
    let answer (sending: string[]) (offered: SimulcastStreams) : SimulcastStreams = Unchecked.defaultof<_>

    /// Our offer: to send these encodings, those not active being paused.
    let offer (encodings: EncodingParameters[]) : SimulcastStreams = Unchecked.defaultof<_>

    /// Which of the rids that we sent an answer takes, RFC 8853 §5.3.3; the bool says that it is paused there. Empty: no simulcast.
    let accepted (answered: SimulcastStreams) : SimulcastRid[] = Unchecked.defaultof<_>

    /// `a=rid` and `a=simulcast`; empty for `none`.
    let attributes (streams: SimulcastStreams) : SdpAttribute[] = Unchecked.defaultof<_>
