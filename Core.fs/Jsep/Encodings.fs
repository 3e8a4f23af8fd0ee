namespace Hybrid.WebRtc.Core

open System

/// What `sendEncodings` and `setParameters` may say, W3C WebRTC 1.0 §5.1 (addTransceiver, steps 7 to 9) and §5.2
/// (setParameters, steps 8 to 10).
module internal Encodings =
    /// Encodings of a video sender: what the W3C calls maxN. More are cut off.
    [<Literal>]
    let MaxVideo = 8

    /// Characters of a rid, W3C WebRTC 1.0 §5.1 step 8.
    [<Literal>]
    let MaxRidLength = 255

    let private refuse name message = Error(Mistake.create name message)

    /// One that says nothing.
    let plain: EncodingParameters =
        { Rid = ""
          Active = true
          Codec = ValueNone
          MaxBitrate = ValueNone
          MaxFramerate = ValueNone
          ScaleResolutionDownBy = ValueNone
          Priority = Priority.Low
          ScalabilityMode = ValueNone }

    /// 1*(alpha-numeric), RFC 8851 §10 as its erratum and the W3C have it.
    let isRid (rid: string) =
        rid.Length > 0
        && rid.Length <= MaxRidLength
        && Seq.forall Char.IsAsciiLetterOrDigit rid

    /// Numbers that are out of their ranges.
    let private checkRanges (encodings: EncodingParameters[]) : Result<unit, Mistake> =
        let any (bad: 'a -> bool) (pick: EncodingParameters -> 'a voption) =
            Array.exists
                (fun e ->
                    match pick e with
                    | ValueSome value -> bad value
                    | ValueNone -> false)
                encodings

        if any (fun s -> not (s >= 1.0)) _.ScaleResolutionDownBy then
            refuse ErrorName.RangeError "scaleResolutionDownBy is 1 or more, W3C WebRTC 1.0 §5.2.6"
        elif any (fun f -> not (f >= 0.0)) _.MaxFramerate then
            refuse ErrorName.RangeError "maxFramerate is 0 or more, W3C WebRTC 1.0 §5.2.6"
        elif any (fun b -> b < 0L) _.MaxBitrate then
            refuse ErrorName.RangeError "maxBitrate is 0 or more bits a second, W3C WebRTC 1.0 §5.2.6"
        else
            Ok()

    let private checkRids (encodings: EncodingParameters[]) : Result<unit, Mistake> =
        let rids = encodings |> Array.map _.Rid
        let given = rids |> Array.filter (fun rid -> rid <> "")

        if not (Array.forall isRid given) then
            refuse ErrorName.TypeError "a rid is 1 to 255 letters and digits, RFC 8851 §10"
        elif given.Length <> 0 && given.Length <> rids.Length then
            refuse ErrorName.TypeError "either every encoding has a rid or none, W3C WebRTC 1.0 §5.1"
        elif (Array.distinct given).Length <> given.Length then
            refuse ErrorName.TypeError "two encodings have the same rid, W3C WebRTC 1.0 §5.1"
        else
            Ok()

    /// Audio is not scaled, and has no frames.
    let private ofKind (kind: MediaKind) (encodings: EncodingParameters[]) =
        match kind with
        | MediaKind.Video -> encodings
        | _ ->
            encodings
            |> Array.map (fun e ->
                { e with
                    ScaleResolutionDownBy = ValueNone
                    MaxFramerate = ValueNone })

    /// Where nobody says, each encoding has half the width of the next; else those that do not say are not scaled.
    let private scaled (encodings: EncodingParameters[]) =
        let isGiven = encodings |> Array.exists _.ScaleResolutionDownBy.IsSome

        encodings
        |> Array.mapi (fun i e ->
            let scale =
                if isGiven then
                    1.0
                else
                    float (1 <<< (encodings.Length - i - 1))

            { e with
                ScaleResolutionDownBy = ValueOption.orElse (ValueSome scale) e.ScaleResolutionDownBy })

    /// Several encodings are told apart by rids: ours where the application gave none, RFC 8829 §5.2.1.
    let private named (encodings: EncodingParameters[]) =
        match encodings with
        | [| single |] -> [| { single with Rid = "" } |]
        | several ->
            several
            |> Array.mapi (fun i e -> if e.Rid = "" then { e with Rid = string i } else e)

    /// [[SendEncodings]] of a new sender.
    let ofInit (kind: MediaKind) (encodings: EncodingParameters[]) : Result<EncodingParameters[], Mistake> =
        checkRids encodings
        |> Result.bind (fun () -> checkRanges (ofKind kind encodings))
        |> Result.map (fun () ->
            let most = if kind = MediaKind.Video then MaxVideo else 1
            let kept = ofKind kind (Array.truncate most encodings)
            let kept = if kept.Length = 0 then [| plain |] else named kept

            if kind = MediaKind.Video then scaled kept else kept)

    /// [[SendEncodings]] after setParameters: as many, in their order, with their rids.
    let changed
        (kind: MediaKind)
        (present: EncodingParameters[])
        (encodings: EncodingParameters[])
        : Result<EncodingParameters[], Mistake> =
        if present.Length <> encodings.Length then
            refuse
                ErrorName.InvalidModificationError
                ("setParameters got "
                 + string encodings.Length
                 + " encodings and the sender has "
                 + string present.Length
                 + "; their number does not change, W3C WebRTC 1.0 §5.2")
        elif
            Array.exists2 (fun (a: EncodingParameters) (b: EncodingParameters) -> a.Rid <> b.Rid) present encodings
        then
            refuse
                ErrorName.InvalidModificationError
                "setParameters changes neither the rids nor the order of encodings, W3C WebRTC 1.0 §5.2"
        else
            let encodings = ofKind kind encodings

            checkRanges encodings
            |> Result.map (fun () ->
                if kind = MediaKind.Video then
                    encodings
                    |> Array.map (fun e ->
                        { e with
                            ScaleResolutionDownBy = ValueOption.orElse (ValueSome 1.0) e.ScaleResolutionDownBy })
                else
                    encodings)

    /// [[SendEncodings]] as a peer that takes these rids asks for them: an SFU's offer to receive simulcast, W3C WebRTC
    /// 1.0 §4.4.1.5.
    let ofRids (kind: MediaKind) (rids: string[]) (present: EncodingParameters[]) : EncodingParameters[] =
        let first = present[0]

        rids
        |> Array.distinct
        |> Array.truncate (if kind = MediaKind.Video then MaxVideo else 1)
        |> Array.map (fun rid ->
            { first with
                Rid = rid
                ScaleResolutionDownBy = ValueNone })
        |> fun several -> if kind = MediaKind.Video then scaled several else several
