namespace Hybrid.WebRtc.Core

open System

/// What the application asks of transceivers: W3C WebRTC 1.0 §5.1 to §5.4. Each request answers the set that follows, or
/// a mistake and nothing has changed.
module internal Requests =
    /// The transceiver that the request was about, and the set.
    type Outcome = Result<struct (TransceiverId * TransceiverSet), Mistake>

    let private refuse name message = Error(Mistake.create name message)

    let private find (id: TransceiverId) (set: TransceiverSet) : Result<Transceiver, Mistake> =
        match Transceivers.tryFind id set with
        | ValueSome t -> Ok t
        | ValueNone ->
            refuse ErrorName.InvalidAccessError ("the connection has no transceiver " + string id + ", or no more")

    let private changed (t: Transceiver) (set: TransceiverSet) : Outcome =
        Ok(struct (t.Id, Transceivers.replace t set))

    let private unchanged (t: Transceiver) (set: TransceiverSet) : Outcome = Ok(struct (t.Id, set))

    let private whileLive (operation: string) (t: Transceiver) : Result<Transceiver, Mistake> =
        if Transceivers.isLive t then
            Ok t
        else
            refuse ErrorName.InvalidStateError (operation + " came after the transceiver was stopped")

    /// An encoding's own codec is one of those that may be sent, W3C WebRTC 1.0 §5.2.6.
    let private checkCodecs (name: ErrorName) (among: RtpCodec[]) (encodings: EncodingParameters[]) =
        let isKnown (e: EncodingParameters) =
            match e.Codec with
            | ValueSome codec -> Codecs.isPrimary codec && Array.exists (Fmtp.same codec) among
            | ValueNone -> true

        if Array.forall isKnown encodings then
            Ok encodings
        else
            refuse name "an encoding's codec is not among those that the sender may send, W3C WebRTC 1.0 §5.2.6"

    let private capable (kind: MediaKind) (capabilities: MediaCapabilities) =
        Capabilities.codecsOf kind capabilities |> Array.map _.Codec

    let addTransceiver (capabilities: MediaCapabilities) (init: TransceiverInit) (set: TransceiverSet) : Outcome =
        if init.Direction = Direction.Stopped then
            refuse ErrorName.TypeError "a transceiver is not made stopped, W3C WebRTC 1.0 §5.1"
        else
            Encodings.ofInit init.Kind init.Encodings
            |> Result.bind (checkCodecs ErrorName.OperationError (capable init.Kind capabilities))
            |> Result.map (fun encodings ->
                let struct (made, set) =
                    Transceivers.add ByAddTransceiver init.Kind init.Direction init.Track init.Streams encodings set

                struct (made.Id, set))

    /// A sender that `addTrack` may use again, W3C WebRTC 1.0 §5.1 addTrack, step 7.
    let private isFree (kind: MediaKind) (t: Transceiver) =
        t.Kind = kind
        && Transceivers.isLive t
        && t.Sender.Track.IsNone
        && not t.Sender.EverSent

    let addTrack (kind: MediaKind) (track: string) (streams: string[]) (set: TransceiverSet) : Outcome =
        let isSent (t: Transceiver) =
            t.Life <> Stopped && t.Sender.Track = ValueSome track

        if Array.exists isSent set.Items then
            refuse ErrorName.InvalidAccessError "a sender has this track already, W3C WebRTC 1.0 §5.1 addTrack"
        else
            match set.Items |> Array.tryFind (isFree kind) with
            | Some t ->
                let maker =
                    match t.Maker with
                    | ByRemote _ -> ByRemote true
                    | maker -> maker

                changed
                    { t with
                        Maker = maker
                        Direction = Directions.create true (Directions.receives t.Direction)
                        Sender =
                            { t.Sender with
                                Track = ValueSome track
                                Msid = track
                                Streams = Array.distinct streams } }
                    set
            | None ->
                let encodings =
                    Encodings.ofInit kind [||] |> Result.defaultValue [| Encodings.plain |]

                let struct (made, set) =
                    Transceivers.add ByAddTrack kind Direction.SendRecv (ValueSome track) streams encodings set

                Ok(struct (made.Id, set))

    let removeTrack (id: TransceiverId) (set: TransceiverSet) : Outcome =
        find id set
        |> Result.bind (fun t ->
            if t.Life = Stopped || t.Sender.Track.IsNone then
                unchanged t set
            else
                changed
                    { t with
                        Direction = Directions.create false (Directions.receives t.Direction)
                        Sender = { t.Sender with Track = ValueNone } }
                    set)

    let replaceTrack (id: TransceiverId) (track: string voption) (set: TransceiverSet) : Outcome =
        find id set
        |> Result.bind (whileLive "replaceTrack")
        |> Result.bind (fun t ->
            changed
                { t with
                    Sender = { t.Sender with Track = track } }
                set)

    let setDirection (id: TransceiverId) (direction: Direction) (set: TransceiverSet) : Outcome =
        find id set
        |> Result.bind (whileLive "a direction")
        |> Result.bind (fun t ->
            if direction = Direction.Stopped then
                refuse
                    ErrorName.TypeError
                    "a direction is not set to stopped; stop the transceiver, W3C WebRTC 1.0 §5.4"
            elif direction = t.Direction then
                unchanged t set
            else
                changed { t with Direction = direction } set)

    let stop (id: TransceiverId) (set: TransceiverSet) : Outcome =
        find id set
        |> Result.bind (fun t ->
            if Transceivers.isLive t && t.Place.IsNone then
                // No description has ever spoken of it, so none needs to say that it is over.
                Ok(
                    struct (id,
                            { set with
                                Items = set.Items |> Array.filter (fun other -> other.Id <> id) })
                )
            elif Transceivers.isLive t then
                changed
                    { t with
                        Life = Stopping
                        Direction = Direction.Inactive }
                    set
            else
                unchanged t set)

    let setCodecPreferences
        (capabilities: MediaCapabilities)
        (id: TransceiverId)
        (codecs: RtpCodec[])
        (set: TransceiverSet)
        : Outcome =
        find id set
        |> Result.bind (fun t ->
            Codecs.checkPreferences (Capabilities.codecsOf t.Kind capabilities) codecs
            |> Result.bind (fun codecs ->
                changed
                    { t with
                        Options = { t.Options with Codecs = codecs } }
                    set))

    let setStreams (id: TransceiverId) (streams: string[]) (set: TransceiverSet) : Outcome =
        find id set
        |> Result.bind (fun t ->
            changed
                { t with
                    Sender =
                        { t.Sender with
                            Streams = Array.distinct streams } }
                set)

    let setParameters
        (capabilities: MediaCapabilities)
        (id: TransceiverId)
        (encodings: EncodingParameters[])
        (set: TransceiverSet)
        : Outcome =
        find id set
        |> Result.bind (whileLive "setParameters")
        |> Result.bind (fun t ->
            Encodings.changed t.Kind t.Sender.Encodings encodings
            |> Result.bind (
                checkCodecs
                    ErrorName.InvalidModificationError
                    (match t.Agreed with
                     | ValueSome agreed when agreed.SendCodecs.Length > 0 -> agreed.SendCodecs |> Array.map _.Codec
                     | _ -> capable t.Kind capabilities)
            )
            |> Result.bind (fun encodings ->
                changed
                    { t with
                        Sender = { t.Sender with Encodings = encodings } }
                    set))

    let setHeaderExtensions
        (capabilities: MediaCapabilities)
        (id: TransceiverId)
        (extensions: ExtensionCapability[])
        (set: TransceiverSet)
        : Outcome =
        find id set
        |> Result.bind (whileLive "setHeaderExtensionsToNegotiate")
        |> Result.bind (fun t ->
            let ours = Capabilities.extensionsOf t.Kind capabilities

            let fits =
                extensions.Length = ours.Length
                && Array.forall2
                    (fun (a: ExtensionCapability) (b: ExtensionCapability) -> a.Uri = b.Uri)
                    extensions
                    ours

            let mid =
                Hybrid.WebRtc.Rtp.HeaderExtensions.uri Hybrid.WebRtc.Rtp.HeaderExtension.Mid

            if not fits then
                refuse
                    ErrorName.InvalidModificationError
                    "the header extensions to negotiate are those of the capabilities, in their order; only directions change, webrtc-extensions §5"
            elif
                extensions
                |> Array.exists (fun e -> e.Uri = mid && e.Direction <> Direction.SendRecv)
            then
                refuse
                    ErrorName.InvalidModificationError
                    "the mid header extension is mandatory and stays sendrecv, webrtc-extensions §5"
            else
                changed
                    { t with
                        Options =
                            { t.Options with
                                Extensions = ValueSome extensions } }
                    set)
