namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// Who we are before we know the peer.
[<NoComparison; NoEquality>]
type internal Own =
    {
        Config: SctpConfig
        /// Of cookies, RFC 9260 §5.1.3.
        CookieKey: byte[]
        Tag: uint32
        InitialTsn: Tsn
        /// For the tags of restarts.
        Entropy: Entropy
    }

/// INIT, INIT ACK and what they carry, RFC 9260 §5.
[<RequireQualifiedAccess>]
module internal Handshake =
    /// Parameters of a peer that are reported as unknown to us.
    [<Literal>]
    let private MaxReported = 4

    /// A tag is any number but 0, RFC 9260 §5.3.1.
    let private drawTag (entropy: Entropy) : struct (uint32 * Entropy) =
        let struct (drawn, entropy) = Entropy.uint32 entropy
        struct ((if drawn = 0u then 1u else drawn), entropy)

    let create (entropy: Entropy) (config: SctpConfig) : Own =
        let struct (key, _) = Entropy.bytes 32 (Entropy.split "cookie" entropy)
        let struct (tag, entropy) = drawTag entropy
        let struct (tsn, entropy) = Entropy.uint32 entropy

        { Config =
            { config with
                // No message may be larger than the window that it has to fit in.
                ReceiveWindow = max config.ReceiveWindow (2 * config.MaxMessageSize) }
          CookieKey = key
          Tag = tag
          InitialTsn = Tsn tsn
          Entropy = entropy }

    /// Another tag and TSN, RFC 9260 §5.2.2.
    let renewed (own: Own) : struct (uint32 * Tsn * Own) =
        let struct (tag, entropy) = drawTag own.Entropy
        let struct (tsn, entropy) = Entropy.uint32 entropy
        struct (tag, Tsn tsn, { own with Entropy = entropy })

    /// A packet to someone who is not (yet) the peer of an association: always with its checksum, RFC 9653 §5.2.
    let packet (config: SctpConfig) (tag: uint32) (control: Chunk list) : SctpOutput =
        SctpOutput.Transmit
            { SourcePort = config.LocalPort
              DestinationPort = config.RemotePort
              VerificationTag = tag
              Control = control
              Data = Array.Empty()
              ZeroChecksum = false
              MayFragment = false }

    /// What we can do, RFC 3758 §3.1, RFC 6525 §5.1.1, RFC 8260 §2.2.1. Firefox says the same.
    let private abilities (config: SctpConfig) : Tlv list =
        let extensions =
            if config.Interleaving then
                [| Kind.Reconfig; Kind.ForwardTsn; Kind.IData; Kind.IForwardTsn |]
            else
                [| Kind.Reconfig; Kind.ForwardTsn |]

        [ Tlv.ofBytes Parameter.ForwardTsnSupported (Array.Empty())
          Tlv.ofBytes Parameter.SupportedExtensions extensions ]

    /// SCTP over DTLS, the one alternate error detection method there is, RFC 9653 §6.
    [<Literal>]
    let private OverDtls = 1u

    /// What we say where the peer may leave out checksums, RFC 9653 §4.
    let private zeroChecksum: Tlv list =
        [ Tlv.ofBytes Parameter.ZeroChecksumAcceptable [| 0uy; 0uy; 0uy; byte OverDtls |] ]

    /// Whether the peer takes packets without a checksum, and for our reason.
    let private takesZeroChecksum (parameters: Tlv list) : bool =
        match Parameter.find Parameter.ZeroChecksumAcceptable parameters with
        | ValueSome value ->
            let mutable reader = Reader(value.Span)
            let methodId = reader.UInt32()
            reader.Ok && reader.AtEnd && methodId = OverDtls
        | ValueNone -> false

    let private introduce
        (config: SctpConfig)
        (tag: uint32)
        (tsn: Tsn)
        (unchecked: bool)
        (parameters: Tlv list)
        : Init =
        { InitiateTag = tag
          AdvertisedReceiverWindow = uint32 config.ReceiveWindow
          OutboundStreams = config.Limits.Streams
          InboundStreams = config.Limits.Streams
          InitialTsn = tsn
          Parameters =
            parameters
            @ (if unchecked && config.ZeroChecksum then
                   zeroChecksum @ abilities config
               else
                   abilities config) }

    /// The packet that opens an association: its verification tag is 0, RFC 9260 §8.5.1. Zero checksum is offered in the
    /// `first` alone: there are peers (pion's before 2024) that drop an INIT with a parameter that they do not know.
    let init (first: bool) (own: Own) : SctpOutput =
        packet own.Config 0u [ Init(introduce own.Config own.Tag own.InitialTsn first []) ]

    /// Whether an INIT or INIT ACK may be answered, RFC 9260 §3.3.2.
    let isValid (init: Init) : bool =
        init.InitiateTag <> 0u
        && init.AdvertisedReceiverWindow >= 1500u
        && init.OutboundStreams > 0us
        && init.InboundStreams > 0us

    /// What a valid INIT or INIT ACK says of its sender; `parameters` are those that are to be processed.
    let introduction (config: SctpConfig) (init: Init) (parameters: Tlv list) : Introduction =
        let extensions =
            match Parameter.find Parameter.SupportedExtensions parameters with
            | ValueSome listed -> listed.ToArray()
            | ValueNone -> Array.Empty()

        let interleaves = config.Interleaving && Array.contains Kind.IData extensions

        { Tag = init.InitiateTag
          InitialTsn = init.InitialTsn
          Window = init.AdvertisedReceiverWindow
          OutboundStreams = init.OutboundStreams
          InboundStreams = init.InboundStreams
          Interleaves = interleaves
          ForwardTsn =
            if interleaves then
                Array.contains Kind.IForwardTsn extensions
            else
                (Parameter.find Parameter.ForwardTsnSupported parameters).IsSome
                || Array.contains Kind.ForwardTsn extensions
          Reconfig = Array.contains Kind.Reconfig extensions
          ZeroChecksum = takesZeroChecksum parameters }

    /// Answers an INIT, RFC 9260 §5.1, §5.2.1, §5.2.2: all that there is to remember goes into the cookie.
    let initAck
        (now: Instant)
        (own: Own)
        (tag: uint32)
        (tsn: Tsn)
        (tieTag: uint64)
        (init: Init)
        (outputs: byref<ListCollector<SctpOutput>>)
        : unit =
        if isValid init then
            let struct (parameters, unknown) = Parameter.sift MaxReported init.Parameters

            let peer = introduction own.Config init parameters

            let cookie =
                { OwnTag = tag
                  OwnInitialTsn = tsn
                  Peer = peer
                  TieTag = tieTag
                  CreatedAt = now }

            let state =
                Tlv.ofBytes Parameter.StateCookie (Cookie.write own.Config.Ciphers own.CookieKey cookie)

            let reported = unknown |> List.map (Parameter.enclose Parameter.Unrecognized)

            // Zero checksum is offered to those who know it, see `init`.
            let introduce = introduce own.Config tag tsn peer.ZeroChecksum
            let answer = InitAck(introduce (state :: reported))

            // What does not fit is not reported.
            let answer =
                if Chunk.size answer <= own.Config.Mtu - SctpPacket.HeaderSize then
                    answer
                else
                    InitAck(introduce [ state ])

            outputs.Add(packet own.Config init.InitiateTag [ answer ])
        else
            outputs.Add(SctpOutput.Ignored Drop.Malformed)

            if init.InitiateTag <> 0u then
                let cause = Tlv.ofBytes Cause.InvalidMandatoryParameter (Array.Empty())
                outputs.Add(packet own.Config init.InitiateTag [ Abort(false, [ cause ]) ])

    /// What an INIT ACK brings, RFC 9260 §5.1.4: the peer, our cookie in memory of our own, and what to report of it.
    let acknowledged (config: SctpConfig) (init: Init) : struct (Introduction * byte[] * Chunk list) voption =
        let struct (parameters, unknown) = Parameter.sift MaxReported init.Parameters

        match Parameter.find Parameter.StateCookie parameters with
        | ValueSome cookie when isValid init ->
            let report =
                if unknown.IsEmpty then
                    []
                else
                    [ Error(unknown |> List.map (Parameter.enclose Cause.UnrecognizedParameters)) ]

            ValueSome(struct (introduction config init parameters, cookie.ToArray(), report))
        | _ -> ValueNone

    /// The 64 bits that tie a restart to an association, RFC 9260 §5.2.2: never zero, and known to the two ends alone.
    let tieTag (ownTag: uint32) (peerTag: uint32) : uint64 =
        (uint64 ownTag <<< 32) ||| uint64 peerTag
