namespace Hybrid.WebRtc.Core

open System
open JsepSession

/// Candidates that are signalled, and those that ICE gathered. W3C WebRTC 1.0 §4.4.2, addIceCandidate.
module internal Candidates =

    /// Candidates of a peer's that one section of its description keeps; ICE has a bound of its own.
    let private maxCandidates = 200

    /// Characters of a candidate line: the longest that peers write is some 250.
    let private maxCandidateLength = 2_048

    /// The value of a candidate line, the part behind `candidate:`.
    let value (line: string) : Result<string, Mistake> =
        let line =
            if line.StartsWith("a=", StringComparison.Ordinal) then
                line.Substring 2
            else
                line

        if not (line.StartsWith("candidate:", StringComparison.Ordinal)) then
            refuse ErrorName.OperationError "a candidate begins with `candidate:`, RFC 8839 §5.1"
        elif line.Length > maxCandidateLength || Seq.exists Char.IsControl line then
            refuse ErrorName.OperationError "a candidate is one line of at most 2,048 characters"
        else
            let value = line.Substring "candidate:".Length

            match SdpCandidate.mistake value with
            | ValueSome expected -> refuse ErrorName.OperationError ("the candidate does not parse: " + expected)
            | ValueNone -> Ok value

    /// The username fragment of each section.
    let private fragments (applied: Applied voption) : string voption[] =
        match applied with
        | ValueSome applied -> Section.fragments applied.Sdp
        | ValueNone -> [||]

    let private has (fragment: string) (fragments: string voption[]) (at: int) =
        at < fragments.Length && fragments[at] = ValueSome fragment

    /// The sections of the remote description that a candidate is for: the one named, or all. W3C §4.4.2.
    let private sectionsFor (init: CandidateInit) (description: Sdp) : Result<int[], Mistake> =
        match init.SdpMid, init.SdpMLineIndex with
        | ValueSome mid, _ ->
            match Section.tryIndex mid description with
            | ValueSome at -> Ok [| at |]
            | ValueNone -> refuse ErrorName.OperationError ("the remote description has no section with the mid " + mid)
        | ValueNone, ValueSome at when at >= 0 && at < description.Media.Length -> Ok [| at |]
        | ValueNone, ValueSome at ->
            refuse
                ErrorName.OperationError
                ("sdpMLineIndex "
                 + string at
                 + " is beyond the remote description's "
                 + string description.Media.Length
                 + " sections")
        | ValueNone, ValueNone -> Ok [| 0 .. description.Media.Length - 1 |]

    /// Both remote descriptions with an attribute more, in the sections of `at` that are of this generation.
    let private noted (attribute: SdpAttribute) (at: int[]) (fragment: string) (held: Held) : Held =
        let into (applied: Applied voption) =
            let isOfIt = has fragment (fragments applied)

            applied
            |> ValueOption.map (fun applied ->
                let add (sdp: Sdp) i =
                    if
                        isOfIt i
                        && not (Section.isRejected sdp.Media[i])
                        && not (Array.contains attribute sdp.Media[i].Level.Attributes)
                    then
                        Section.add attribute i sdp
                    else
                        sdp

                { applied with
                    Sdp = Array.fold add applied.Sdp at })

        { held with
            CurrentRemote = into held.CurrentRemote
            PendingRemote = into held.PendingRemote }

    /// Whether ICE is to hear of a candidate in one of these sections: it is of the generation that ICE has, and over our
    /// transport.
    let private concernsIce (at: int[]) (fragment: string) (session: JsepSession) : bool =
        let within (applied: Applied voption) =
            match applied, session.Ordered.Owner with
            | ValueSome applied, ValueSome owner when has fragment (Section.fragments applied.Sdp) owner ->
                let sharing = Section.sharing owner applied.Sdp
                at |> Array.exists (fun i -> i < sharing.Length && sharing[i])
            | _ -> false

        match session.Ordered.Remote with
        | ValueSome peer when peer.Credentials.UsernameFragment = fragment ->
            within session.Held.PendingRemote || within session.Held.CurrentRemote
        | _ -> false

    let add
        (init: CandidateInit)
        (session: JsepSession)
        : Result<struct (JsepSession * Result<JsepOrder list, Drop>), Mistake> =
        let isEnd = init.Candidate = ""

        match remote session.Held with
        | _ when not isEnd && init.SdpMid.IsNone && init.SdpMLineIndex.IsNone ->
            refuse ErrorName.TypeError "a candidate needs sdpMid or sdpMLineIndex"
        | _ when session.Signaling = SignalingState.Closed -> wrongState "addIceCandidate" session
        | ValueNone -> refuse ErrorName.InvalidStateError "there is no remote description to add a candidate to"
        | ValueSome described ->
            let latest = fragments (ValueSome described)
            let settled = fragments session.Held.CurrentRemote

            let known fragment i =
                has fragment latest i || has fragment settled i

            // A section that was turned down meanwhile has no fragment to go by; its candidates are late, and no mistake.
            let isOver (at: int[]) =
                Array.forall (fun i -> Section.isRejected described.Sdp.Media[i]) at

            let checkFragment at =
                match init.UsernameFragment with
                | ValueSome fragment when not (isOver at) && not (Array.exists (known fragment) at) ->
                    refuse
                        ErrorName.OperationError
                        ("no remote description has the usernameFragment "
                         + fragment
                         + " in that section")
                | _ -> Ok at

            let text = if isEnd then Ok "" else value init.Candidate

            sectionsFor init described.Sdp
            |> Result.bind checkFragment
            |> Result.bind (fun at -> text |> Result.map (fun text -> struct (at, text)))
            |> Result.map (fun (struct (at, text)) ->
                let fragment =
                    init.UsernameFragment
                    |> ValueOption.orElse (SdpCandidate.usernameFragment text)
                    |> ValueOption.orElseWith (fun () ->
                        // The latest generation, of any section where none is named.
                        at
                        |> Array.map (fun i -> latest[i])
                        |> Array.tryFind _.IsSome
                        |> Option.defaultValue ValueNone)
                    |> ValueOption.defaultValue ""

                let isFull i =
                    (SdpAttributes.candidates described.Sdp.Media[i].Level.Attributes).Length
                    >= maxCandidates

                if isOver at then
                    // The section's transport is gone, or never was.
                    struct (session, Ok [])
                elif not (Array.exists (known fragment) at) then
                    struct (session, Error Drop.Stale)
                elif not isEnd && Array.forall isFull at then
                    struct (session, Error Drop.TooMany)
                else
                    let attribute =
                        if isEnd then
                            SdpAttribute.flag "end-of-candidates"
                        else
                            SdpAttribute.create "candidate" text

                    struct ({ session with
                                Held = noted attribute at fragment session.Held },
                            Ok
                                [ if concernsIce at fragment session then
                                      if isEnd then
                                          JsepOrder.EndOfRemoteCandidates fragment
                                      else
                                          JsepOrder.AddRemoteCandidate("candidate:" + text, fragment) ]))

    /// With what ICE gathered, or withdrew, in our descriptions of that generation; ValueNone: there are none. `edit` is
    /// `Drafts.withIce` or `Drafts.withoutCandidate`.
    let gathered (edit: Sdp -> Sdp voption) (session: JsepSession) : JsepSession voption =
        let into (applied: Applied voption) =
            match applied with
            | ValueSome applied -> edit applied.Sdp |> ValueOption.map (fun sdp -> { applied with Sdp = sdp })
            | ValueNone -> ValueNone

        match into session.Held.CurrentLocal, into session.Held.PendingLocal with
        | ValueNone, ValueNone -> ValueNone
        | current, pending ->
            ValueSome
                { session with
                    Held =
                        { session.Held with
                            CurrentLocal = ValueOption.orElse session.Held.CurrentLocal current
                            PendingLocal = ValueOption.orElse session.Held.PendingLocal pending } }
