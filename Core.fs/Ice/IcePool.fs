namespace Hybrid.WebRtc.Core

/// Candidates that are gathered before a description asks for them, W3C WebRTC 1.0 §4.4.1.6 and RFC 9429 §3.5.4: there is one transport, so
/// the pool is one deep, whatever size it has.
///
///     Idle ──wanted──▶ Held ──a description is set──▶ Idle
[<NoComparison; NoEquality>]
type internal IcePool =
    {
        /// The first generation gathers as soon as there is time.
        Wanted: bool
        /// What was found and not told yet, last first; ValueNone: nothing is held back.
        Held: GatheringOutput list voption
    }

[<RequireQualifiedAccess>]
module internal IcePool =
    let none: IcePool = { Wanted = false; Held = ValueNone }

    let isHeld (pool: IcePool) : bool = pool.Held.IsSome

    /// Keeps what may not be told yet; answers what is to be done at once.
    let hold (outputs: GatheringOutput list) (pool: IcePool) : struct (IcePool * GatheringOutput list) =
        match pool.Held with
        | ValueNone -> struct (pool, outputs)
        | ValueSome held ->
            let isTold output =
                match output with
                | GatheringOutput.Found _
                | GatheringOutput.Withdrawn _
                | GatheringOutput.Failed _ -> true
                | _ -> false

            let told, rest = List.partition isTold outputs

            struct ({ pool with
                        Held = ValueSome(List.rev told @ held) },
                    rest)

    /// Everything that was held back, in order; from now on nothing is.
    let release (pool: IcePool) : struct (IcePool * GatheringOutput list) =
        struct (none,
                match pool.Held with
                | ValueSome held -> List.rev held
                | ValueNone -> [])
