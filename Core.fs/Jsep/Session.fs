namespace Hybrid.WebRtc.Core

/// A description that was set.
[<NoComparison>]
type internal Applied = { Type: SdpType; Sdp: Sdp }

/// The four descriptions, W3C WebRTC 1.0 §4.4.1.
[<NoComparison>]
type internal Held =
    { CurrentLocal: Applied voption
      PendingLocal: Applied voption
      CurrentRemote: Applied voption
      PendingRemote: Applied voption }

/// What createOffer or createAnswer answered last.
[<NoComparison>]
type internal Draft =
    {
        Text: string
        Sdp: Sdp
        /// Of an offer: whose section is at each index; -1: no transceiver's.
        Transceivers: TransceiverId[]
        /// `State.Stamp` when it was made: another one now means that it may be out of date.
        Stamp: int
    }

/// Descriptions of ours, as they are made.
[<NoComparison>]
type internal Drafted =
    {
        /// [[LastCreatedOffer]].
        Offer: Draft voption
        /// [[LastCreatedAnswer]].
        Answer: Draft voption
        /// Of the last description made, whichever it was.
        Version: uint64
        /// Its text with version 0: the version counts changes of content, RFC 8829 §5.2.2.
        Content: string
    }

/// What the application wants that negotiation has not yet given it.
[<NoComparison>]
type internal Wishes =
    {
        /// A data channel was created, and no peer has turned its section down since.
        Data: bool
        /// [[LocalIceCredentialsToReplace]]: restartIce() was called while these were in use.
        Replace: IceParameters[]
        /// In use when other servers or another policy were configured: the next offer replaces them, RFC 8829 §5.2.2.
        Outdated: IceParameters[]
        /// [[NegotiationNeeded]].
        Told: bool
    }

/// What negotiation knows of media.
[<NoComparison; NoEquality>]
type internal JsepMedia =
    {
        Capabilities: MediaCapabilities
        Set: TransceiverSet
        /// As they were when an offer was set in `stable`: what a rollback returns to.
        Stable: Transceiver[]
    }

/// A session between two steps.
[<NoComparison; NoEquality>]
type internal JsepSession =
    {
        Facts: LocalFacts
        Configuration: Configuration
        Entropy: Entropy
        Signaling: SignalingState
        Held: Held
        Drafted: Drafted
        Wishes: Wishes
        Media: JsepMedia
        /// What has been ordered of the transport, and what of it a rollback returns to.
        Ordered: JsepTransport
        Settled: JsepTransport
        /// Credentials for the next generation, until a description that bears them is set.
        Proposed: LocalSide voption
        /// Counts what may change the next description.
        Stamp: int
    }

/// Looking into a session.
module internal JsepSession =
    /// Before anything was asked of it.
    let create
        (configuration: Configuration)
        (fingerprints: Fingerprint[])
        (maxMessageSize: int64)
        (sctpPort: uint16)
        (renomination: bool)
        (iceLite: bool)
        (capabilities: MediaCapabilities)
        (entropy: Entropy)
        : JsepSession =
        let struct (id, entropy) = Entropy.uint64 entropy

        { Facts =
            { // 63 bits, RFC 8829 §5.2.1.
              SessionId = string (id >>> 1)
              Fingerprints = fingerprints
              SctpPort = sctpPort
              IceLite = iceLite
              MaxMessageSize = maxMessageSize
              Renomination = renomination }
          Configuration = configuration
          Entropy = entropy
          Signaling = SignalingState.Stable
          Held =
            { CurrentLocal = ValueNone
              PendingLocal = ValueNone
              CurrentRemote = ValueNone
              PendingRemote = ValueNone }
          Drafted =
            { Offer = ValueNone
              Answer = ValueNone
              Version = 0UL
              Content = "" }
          Wishes =
            { Data = false
              Replace = [||]
              Outdated = [||]
              Told = false }
          Media =
            { Capabilities = capabilities
              Set = Transceivers.create (Entropy.split "transceivers" entropy)
              Stable = [||] }
          Ordered = JsepTransport.none
          Settled = JsepTransport.none
          Proposed = ValueNone
          Stamp = 0 }

    let refuse name message = Error(Mistake.create name message)

    let wrongState (operation: string) (session: JsepSession) =
        let name =
            match session.Signaling with
            | SignalingState.HaveLocalOffer -> "have-local-offer"
            | SignalingState.HaveRemoteOffer -> "have-remote-offer"
            | SignalingState.HaveLocalPranswer -> "have-local-pranswer"
            | SignalingState.HaveRemotePranswer -> "have-remote-pranswer"
            | SignalingState.Closed -> "closed"
            | _ -> "stable"

        refuse ErrorName.InvalidStateError (operation + " is not possible in signaling session " + name)

    let sdpOf (applied: Applied voption) = applied |> ValueOption.map _.Sdp

    let local (held: Held) =
        ValueOption.orElse held.CurrentLocal held.PendingLocal

    let remote (held: Held) =
        ValueOption.orElse held.CurrentRemote held.PendingRemote

    let changed (session: JsepSession) =
        { session with
            Stamp = session.Stamp + 1 }

    let withSet (set: TransceiverSet) (session: JsepSession) =
        { session with
            Media = { session.Media with Set = set } }

    /// Which sections of an offer of the peer's we can take, and which of them owns the transport.
    let accepted (offer: Sdp) (session: JsepSession) : struct (bool[] * int voption) =
        Acceptance.ofOffer
            session.Media.Capabilities
            session.Configuration.HeaderEncryption
            session.Settled.Owner
            session.Media.Set
            offer

    /// The answer of the last finished exchange; ValueNone before one.
    let lastAnswer (held: Held) : Sdp voption =
        match held.CurrentLocal, held.CurrentRemote with
        | ValueSome { Type = SdpType.Answer; Sdp = sdp }, _
        | _, ValueSome { Type = SdpType.Answer; Sdp = sdp } -> ValueSome sdp
        | _ -> ValueNone

    /// Whether the section at `at` has port zero in a current description: it may be recycled, RFC 8829 §5.2.2.
    let isDead (held: Held) (at: int) : bool =
        let dead (applied: Applied voption) =
            match applied with
            | ValueSome a -> at < a.Sdp.Media.Length && Section.isRejected a.Sdp.Media[at]
            | ValueNone -> false

        dead held.CurrentLocal || dead held.CurrentRemote

    /// The descriptions as texts.
    let descriptions (session: JsepSession) : Descriptions =
        let shown (applied: Applied voption) : Description voption =
            applied
            |> ValueOption.map (fun a ->
                { Type = a.Type
                  Sdp = SdpPrinter.print a.Sdp })

        { CurrentLocal = shown session.Held.CurrentLocal
          PendingLocal = shown session.Held.PendingLocal
          CurrentRemote = shown session.Held.CurrentRemote
          PendingRemote = shown session.Held.PendingRemote
          CanTrickle =
            remote session.Held
            |> ValueOption.map (fun a -> Array.contains "trickle" (Section.iceOptions a.Sdp)) }

    /// The sections of the exchange under way, else of the last one.
    let slots (held: Held) : Slot[] =
        match held.PendingLocal, held.CurrentLocal with
        | ValueSome offer, _ -> Drafts.slots offer.Sdp ValueNone
        | ValueNone, ValueSome settled -> Drafts.slots settled.Sdp (sdpOf held.CurrentRemote)
        | ValueNone, ValueNone -> [||]
