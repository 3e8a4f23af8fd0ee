namespace Hybrid.WebRtc.Core

/// What a description of the peer's must hold, beyond its syntax: RFC 8829 §5.8.3, RFC 3264 §6 and §8, RFC 9143 §7.
/// A mistake is an InvalidAccessError, as in browsers.
module internal Checks =
    let private refused message =
        Error(Mistake.create ErrorName.InvalidAccessError message)

    /// The first refusal in order.
    let private every (checks: (unit -> Result<unit, Mistake>) seq) : Result<unit, Mistake> =
        Seq.fold (fun sofar check -> Result.bind check sofar) (Ok()) checks

    let private need (holds: bool) (message: string) = if holds then Ok() else refused message

    let private name (at: int) (m: SdpMedia) =
        "media section "
        + string at
        + " ("
        + m.Kind
        + (match Section.mid m with
           | ValueSome mid -> ", mid " + mid
           | ValueNone -> "")
        + ")"

    let private unique (words: string[]) =
        (Array.distinct words).Length = words.Length

    /// Mids are unique, and BUNDLE groups name sections that are there, each at most once.
    let private names (sdp: Sdp) =
        every
            [ fun () -> need (unique (Section.mids sdp)) "two media sections have the same a=mid, RFC 5888 §4"
              fun () ->
                  need
                      (unique (Array.concat (Section.bundles sdp)))
                      "a mid stands twice in a=group:BUNDLE, RFC 9143 §7.1"
              fun () ->
                  need
                      (Array.isEmpty (Array.except (Section.mids sdp) (Array.concat (Section.bundles sdp))))
                      "a=group:BUNDLE names a mid that no media section has, RFC 5888 §5" ]

    /// The mandatory transport attributes of the sections that are not turned down.
    let private transports (sdp: Sdp) : Result<unit, Mistake> =
        let within least most (text: string) =
            text.Length >= least && text.Length <= most

        let transport at (struct (credentials: IceParameters voption, fingerprints: Fingerprint[], setup)) =
            let m = sdp.Media[at]

            if Section.isRejected m then
                Ok()
            else
                match credentials with
                | ValueNone ->
                    refused (
                        name at m
                        + " has no a=ice-ufrag and a=ice-pwd, of its own, its session or its BUNDLE group"
                    )
                | ValueSome credentials when
                    not (within 4 256 credentials.UsernameFragment && within 22 256 credentials.Password)
                    ->
                    refused (
                        name at m
                        + ": a=ice-ufrag has 4 to 256 characters and a=ice-pwd 22 to 256, RFC 8839 §5.4"
                    )
                | ValueSome _ when fingerprints.Length = 0 ->
                    refused (
                        name at m
                        + " has no a=fingerprint, of its own, its session or its BUNDLE group, RFC 8122 §5"
                    )
                | ValueSome _ when setup = ValueSome SdpSetup.HoldConn ->
                    refused (name at m + ": a=setup:holdconn cannot open DTLS, RFC 8842 §5.2")
                | ValueSome _ -> Ok()

        Section.transports sdp |> Seq.mapi (fun at t () -> transport at t) |> every

    let private each (count: int) (check: int -> Result<unit, Mistake>) =
        every (Seq.init count (fun i () -> check i))

    /// The payload types of sections of media that are not turned down.
    let private formats (sdp: Sdp) : Result<unit, Mistake> =
        each sdp.Media.Length (fun at ->
            let m = sdp.Media[at]

            if Section.isRejected m || (Section.mediaKind m).IsNone then
                Ok()
            else
                match Codecs.mistake m with
                | ValueSome mistake -> refused (name at m + ": " + mistake)
                | ValueNone -> Ok())

    /// Any description of the peer's.
    let description (sdp: Sdp) : Result<unit, Mistake> =
        every
            [ fun () -> names sdp
              fun () -> transports sdp
              fun () -> formats sdp ]

    /// An offer of the peer's against the sections negotiated so far: each keeps its place, a live one its kind and mid,
    /// RFC 3264 §8 and RFC 8829 §5.2.2.
    let offer (slots: Slot[]) (sdp: Sdp) : Result<unit, Mistake> =
        let kept at =
            let slot = slots[at]
            let m = sdp.Media[at]

            if not slot.Live then
                Ok()
            else
                every
                    [ fun () ->
                          need
                              (m.Kind = slot.Kind)
                              (name at m + " was " + slot.Kind + "; sections keep their order, RFC 3264 §8")
                      fun () ->
                          match slot.Mid, Section.mid m with
                          | ValueSome former, ValueSome now when former <> now ->
                              refused (name at m + " had the mid " + former + ", which it keeps, RFC 8829 §5.2.2")
                          | _ -> Ok() ]

        every
            [ fun () ->
                  need
                      (sdp.Media.Length >= slots.Length)
                      ("the offer has "
                       + string sdp.Media.Length
                       + " media sections; "
                       + string slots.Length
                       + " were negotiated, and none goes away, RFC 3264 §8")
              fun () -> each slots.Length kept ]

    /// An answer of the peer's against our offer, RFC 3264 §6 and RFC 9143 §7.3.
    let answer (offer: Sdp) (sdp: Sdp) : Result<unit, Mistake> =
        let fits at =
            let ours = offer.Media[at]
            let m = sdp.Media[at]

            every
                [ fun () ->
                      need
                          (m.Kind = ours.Kind
                           && (m.Protocol = ours.Protocol
                               // Old peers write one profile of RTP for another, RFC 8829 §5.1.2.
                               || (Section.mediaKind ours).IsSome && (Section.mediaKind m).IsSome))
                          (name at m
                           + " answers one of "
                           + ours.Kind
                           + " "
                           + ours.Protocol
                           + ": an answer keeps the offer's order, RFC 3264 §6")
                  fun () ->
                      match Section.mid ours, Section.mid m with
                      | ValueSome offered, ValueSome answered when offered <> answered ->
                          refused (name at m + " was offered with the mid " + offered + ", RFC 5888 §9.1")
                      | _ -> Ok()
                  fun () ->
                      need
                          (Section.isRejected m || not (Section.isRejected ours))
                          (name at m + " was offered with port zero and must be answered so, RFC 3264 §6") ]

        let bundled (group: string[]) =
            Section.bundles offer
            |> Array.exists (fun offered -> Array.forall (fun mid -> Array.contains mid offered) group)

        every
            [ fun () ->
                  need
                      (sdp.Media.Length = offer.Media.Length)
                      ("the answer has "
                       + string sdp.Media.Length
                       + " media sections, the offer "
                       + string offer.Media.Length
                       + "; they are as many, RFC 3264 §6")
              fun () -> each sdp.Media.Length fits
              fun () ->
                  need
                      (Section.bundles sdp |> Array.forall (fun g -> g.Length = 0 || bundled g))
                      "a=group:BUNDLE names mids that the offer did not bundle, RFC 9143 §7.3" ]
