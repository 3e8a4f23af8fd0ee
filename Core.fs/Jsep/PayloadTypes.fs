namespace Hybrid.WebRtc.Core

open System

/// What the payload types of one BUNDLE group mean, RFC 9143 §9.1: none means two things, and a codec keeps the one that it
/// was first given. Immutable; at most 128 entries.
[<Sealed>]
type internal PayloadTypes private (meanings: RtpCodec voption[], order: int[]) =
    /// Nothing taken.
    static member val None = PayloadTypes(Array.create Fmtp.MaxPayloadTypes ValueNone, [||])

    /// What a payload type from 0 to 127 means.
    member _.At(payloadType: int) : RtpCodec voption = meanings[payloadType]

    /// Payload types in the order in which they were given.
    member _.Order: int[] = order

    /// With more payload types; those that mean something already go on to mean it.
    member _.With(codecs: RtpCodecParameters[]) : PayloadTypes =
        let meanings = Array.copy meanings
        let added = ResizeArray(order)

        for c in codecs do
            if meanings[c.PayloadType].IsNone then
                meanings[c.PayloadType] <- ValueSome c.Codec
                added.Add c.PayloadType

        PayloadTypes(meanings, added.ToArray())

/// Which payload types there are to give.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module internal PayloadTypes =
    /// Whether two codecs mean the same to a payload type. RTX, RED and FEC by what they stand for, so their parameters.
    let meansSame (a: RtpCodec) (b: RtpCodec) : bool =
        Fmtp.matches a b && (not (Fmtp.isRtx a || Fmtp.isRed a) || a.Fmtp = b.Fmtp)

    /// Where dynamic payload types are looked for: 96 to 127, then those that RFC 3551 left unassigned. 64 to 95 would be taken
    /// for RTCP, RFC 5761 §4.
    let dynamicTypes = Array.append [| 96..127 |] [| 35..63 |]

    /// The payload type that RTX would like: the one behind its codec's.
    let next (pt: int) : int voption =
        if Array.contains (pt + 1) dynamicTypes then
            ValueSome(pt + 1)
        else
            ValueNone

/// Gives payload types out in one section.
[<Sealed>]
type internal PayloadTypeAllotment(taken: PayloadTypes, preferred: bool[]) =
    let used = Array.zeroCreate<bool> Fmtp.MaxPayloadTypes
    let isFree pt = not used[pt] && (taken.At pt).IsNone

    /// The type of a codec: that which it has, else the one it would like, else a free one, at best one that no other codec
    /// would like.
    member _.Give(codec: RtpCodec, wish: int voption) : int voption =
        let had =
            Array.FindIndex(taken.Order, (fun pt -> not used[pt] && PayloadTypes.meansSame (taken.At pt).Value codec))

        let pt =
            if had >= 0 then
                taken.Order[had]
            else
                match wish with
                | ValueSome pt when isFree pt -> pt
                | _ ->
                    match Array.FindIndex(PayloadTypes.dynamicTypes, (fun pt -> isFree pt && not preferred[pt])) with
                    | -1 ->
                        match Array.FindIndex(PayloadTypes.dynamicTypes, Predicate isFree) with
                        | -1 -> -1
                        | at -> PayloadTypes.dynamicTypes[at]
                    | at -> PayloadTypes.dynamicTypes[at]

        if pt < 0 then
            ValueNone
        else
            used[pt] <- true
            ValueSome pt
