namespace Hybrid.WebRtc.Core

open System

/// Who made a transceiver: `addTrack`'s own are the only ones that a remote offer takes for its sections, RFC 8829 §5.10.
type internal TransceiverMaker =
    | ByAddTransceiver
    | ByAddTrack
    /// A remote description. `Taken`: `addTrack` has used its sender since.
    | ByRemote of Taken: bool

/// W3C WebRTC 1.0 §5.4: live ──stop()──▶ stopping ──description──▶ stopped; a rejected section stops at once.
type internal TransceiverLife =
    | Live
    | Stopping
    | Stopped

/// The sources of one encoding, drawn once: they stay the same for the transceiver's life.
[<Struct; NoComparison>]
type internal EncodingSources =
    { Ssrc: uint32
      RtxSsrc: uint32
      FecSsrc: uint32 }

/// RTCRtpSender, W3C WebRTC 1.0 §5.2.
[<NoComparison>]
type internal SenderSide =
    {
        Track: string voption
        /// The track's id in `a=msid`: that of the first track, else one made up, RFC 8829 §5.2.1.
        Msid: string
        Streams: string[]
        Encodings: EncodingParameters[]
        /// One for each encoding.
        Sources: EncodingSources[]
        /// [[CurrentDirection]] was once `sendrecv` or `sendonly`.
        EverSent: bool
    }

/// RTCRtpReceiver, W3C WebRTC 1.0 §5.3.
[<NoComparison>]
type internal ReceiverSide =
    {
        Track: string
        /// [[AssociatedRemoteMediaStreams]].
        Streams: string[]
        /// [[FiredDirection]] is `sendrecv` or `recvonly`: the application was told of the track.
        Fired: bool
    }

/// What the peer's description says of what it sends and takes.
[<NoComparison>]
type internal RemoteFacts =
    {
        Sources: RemoteSource[]
        /// Those that the peer sends, paused ones too.
        Rids: string[]
        /// Ours that it takes; empty: no simulcast.
        Taken: string[]
        /// Ours that it wants paused, RFC 8853 §5.3.3.
        Paused: string[]
    }

/// What the descriptions say of a transceiver's section, from our side.
[<NoComparison; NoEquality>]
type internal Agreement =
    {
        /// What may flow now.
        Flow: Direction
        SendCodecs: RtpCodecParameters[]
        ReceiveCodecs: RtpCodecParameters[]
        Extensions: Extmap[]
        ReducedSize: bool
        ReceiverRoundTrip: bool
        HeaderEncryption: bool
        /// Our description names sources of FlexFEC: we send some.
        DeclaresFec: bool
        Remote: RemoteFacts
    }

/// Where a transceiver's section is.
[<NoComparison>]
type internal Place =
    {
        /// Of the section in the descriptions.
        Index: int
        /// Ours where the peer's section has none.
        Mid: string
    }

/// What the application asked of negotiation.
[<NoComparison>]
type internal TransceiverOptions =
    {
        /// setCodecPreferences(); empty: none.
        Codecs: RtpCodec[]
        /// setHeaderExtensionsToNegotiate(); ValueNone: those of the capabilities.
        Extensions: ExtensionCapability[] voption
    }

/// RTCRtpTransceiver, W3C WebRTC 1.0 §5.4.
[<NoComparison; NoEquality>]
type internal Transceiver =
    {
        Id: TransceiverId
        Kind: MediaKind
        Maker: TransceiverMaker
        Life: TransceiverLife
        /// ValueNone: of no section.
        Place: Place voption
        /// [[Direction]]: what the application wants.
        Direction: Direction
        CurrentDirection: Direction voption
        Sender: SenderSide
        Receiver: ReceiverSide
        Options: TransceiverOptions
        /// ValueNone before a description that speaks of it.
        Agreed: Agreement voption
    }

/// The set of transceivers, W3C WebRTC 1.0 §5.1, in the order of their making.
[<NoComparison; NoEquality>]
type internal TransceiverSet =
    {
        Items: Transceiver[]
        /// The id of the next one.
        Next: TransceiverId
        /// Drawn when the connection was made, RFC 7022 §4.2.
        Cname: string
        Entropy: Entropy
    }

/// Directions as two flags.
module internal Directions =
    let sends (direction: Direction) =
        direction = Direction.SendRecv || direction = Direction.SendOnly

    let receives (direction: Direction) =
        direction = Direction.SendRecv || direction = Direction.RecvOnly

    let create (sends: bool) (receives: bool) : Direction =
        match sends, receives with
        | true, true -> Direction.SendRecv
        | true, false -> Direction.SendOnly
        | false, true -> Direction.RecvOnly
        | false, false -> Direction.Inactive

    /// The same way, seen from the other side.
    let reversed (direction: Direction) : Direction =
        create (receives direction) (sends direction)

    /// What both allow.
    let intersect (a: Direction) (b: Direction) : Direction =
        create (sends a && sends b) (receives a && receives b)

    /// A section's, sendrecv where it has none, RFC 8866 §6.7; inactive where it is turned down.
    let ofSection (m: SdpMedia) : Direction =
        if Section.isRejected m then
            Direction.Inactive
        else
            match SdpAttributes.direction m.Level.Attributes with
            | ValueSome SdpDirection.SendOnly -> Direction.SendOnly
            | ValueSome SdpDirection.RecvOnly -> Direction.RecvOnly
            | ValueSome SdpDirection.Inactive -> Direction.Inactive
            | _ -> Direction.SendRecv

    let attribute (direction: Direction) : SdpAttribute =
        SdpAttribute.flag (
            match direction with
            | Direction.SendRecv -> "sendrecv"
            | Direction.SendOnly -> "sendonly"
            | Direction.RecvOnly -> "recvonly"
            | _ -> "inactive"
        )

/// Looking into the set, and changing one of it.
module internal Transceivers =
    /// An empty set with a stream of randomness of its own.
    let create (entropy: Entropy) : TransceiverSet =
        // 96 bits, RFC 7022 §4.2.
        let struct (cname, entropy) = Entropy.bytes 12 entropy

        { Items = [||]
          Next = 0
          Cname = Convert.ToBase64String cname
          Entropy = entropy }

    let tryFind (id: TransceiverId) (set: TransceiverSet) : Transceiver voption =
        let at = Array.FindIndex(set.Items, (fun t -> t.Id = id))
        if at < 0 then ValueNone else ValueSome set.Items[at]

    let replace (changed: Transceiver) (set: TransceiverSet) : TransceiverSet =
        { set with
            Items = set.Items |> Array.map (fun t -> if t.Id = changed.Id then changed else t) }

    /// An SSRC that none of ours has; 0 is kept for "none".
    let rec private ssrc (taken: uint32 -> bool) (entropy: Entropy) : struct (uint32 * Entropy) =
        let struct (drawn, entropy) = Entropy.uint32 entropy

        if drawn = 0u || taken drawn then
            ssrc taken entropy
        else
            struct (drawn, entropy)

    /// Sources for encodings `0` to `count - 1`, of which some may be there.
    let private sources (count: int) (present: EncodingSources[]) (set: TransceiverSet) =
        let mutable entropy = set.Entropy
        let mutable found = present

        let isTaken (n: uint32) =
            let within (s: EncodingSources) =
                s.Ssrc = n || s.RtxSsrc = n || s.FecSsrc = n

            Array.exists within found
            || Array.exists (fun t -> Array.exists within t.Sender.Sources) set.Items

        let draw () =
            let struct (n, next) = ssrc isTaken entropy
            entropy <- next
            n

        while found.Length < count do
            let fresh =
                { Ssrc = draw ()
                  RtxSsrc = draw ()
                  FecSsrc = draw () }

            found <- Array.append found [| fresh |]

        struct (found, { set with Entropy = entropy })

    /// The transceiver with these encodings, and sources for each: those that it had stay.
    let withEncodings (encodings: EncodingParameters[]) (t: Transceiver) (set: TransceiverSet) : TransceiverSet =
        let struct (sources, set) = sources encodings.Length t.Sender.Sources set

        replace
            { t with
                Sender =
                    { t.Sender with
                        Encodings = encodings
                        Sources = sources } }
            set

    /// With one more at the end.
    let add
        (maker: TransceiverMaker)
        (kind: MediaKind)
        (direction: Direction)
        (track: string voption)
        (streams: string[])
        (encodings: EncodingParameters[])
        (set: TransceiverSet)
        : struct (Transceiver * TransceiverSet) =
        let struct (receiverTrack, entropy) = Entropy.uuid set.Entropy
        let struct (senderTrack, entropy) = Entropy.uuid entropy

        let struct (sources, set) =
            sources encodings.Length [||] { set with Entropy = entropy }

        let made =
            { Id = set.Next
              Kind = kind
              Maker = maker
              Life = Live
              Place = ValueNone
              Direction = direction
              CurrentDirection = ValueNone
              Sender =
                { Track = track
                  Msid = ValueOption.defaultValue senderTrack track
                  Streams = Array.distinct streams
                  Encodings = encodings
                  Sources = sources
                  EverSent = false }
              Receiver =
                { Track = receiverTrack
                  Streams = [||]
                  Fired = false }
              Options =
                { Codecs = [||]
                  Extensions = ValueNone }
              Agreed = ValueNone }

        struct (made,
                { set with
                    Items = Array.append set.Items [| made |]
                    Next = set.Next + 1 })

    /// Which transceiver's section is at each index; -1: none's.
    let places (count: int) (set: TransceiverSet) : int[] =
        let found = Array.create count -1

        for i in 0 .. set.Items.Length - 1 do
            match set.Items[i].Place with
            | ValueSome place when place.Index < count -> found[place.Index] <- i
            | _ -> ()

        found

    /// "Stop sending and receiving", then the rest of stopping, W3C WebRTC 1.0 §5.4.
    let stopped (t: Transceiver) : Transceiver =
        { t with
            Life = Stopped
            Direction = Direction.Inactive
            Receiver =
                { t.Receiver with
                    Streams = [||]
                    Fired = false }
            Agreed = ValueNone }

    let isLive (t: Transceiver) = t.Life = Live

    /// As its user sees it.
    let info (cname: string) (t: Transceiver) : TransceiverInfo =
        let agreed (pick: Agreement -> 'a) (otherwise: 'a) =
            match t.Agreed with
            | ValueSome agreement -> pick agreement
            | ValueNone -> otherwise

        { Id = t.Id
          Kind = t.Kind
          Mid = t.Place |> ValueOption.map _.Mid
          Direction =
            match t.Life with
            | Live -> t.Direction
            | Stopping
            | Stopped -> Direction.Stopped
          CurrentDirection =
            if t.Life = Stopped then
                ValueSome Direction.Stopped
            else
                t.CurrentDirection
          Stopping = (t.Life = Stopping)
          Encodings = t.Sender.Encodings
          SendCodecs = agreed _.SendCodecs [||]
          ReceiveCodecs = agreed _.ReceiveCodecs [||]
          Extensions = agreed (fun a -> Extmaps.parameters a.Extensions) [||]
          ReceiverTrack = t.Receiver.Track
          RemoteStreams = t.Receiver.Streams
          ReducedSize = agreed _.ReducedSize false
          Cname = cname
          HeaderEncryption = agreed _.HeaderEncryption false
          CreatedByAddTrack = (t.Maker = ByAddTrack)
          Ssrcs = t.Sender.Sources |> Array.map _.Ssrc }
