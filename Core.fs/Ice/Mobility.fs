namespace Hybrid.WebRtc.Core

/// When the connection itself asks for an ICE restart, as the application may by restartIce(): `negotiationneeded` follows.
type IceRestartPolicy =
    /// Only the application does, as the W3C has it.
    | Never = 0
    /// When ICE has failed: consent has run out, or no pair works.
    | OnFailed = 1
    /// As soon as the peer is not heard any more.
    | OnDisconnected = 2

/// What a connection does about networks that change.
[<NoComparison>]
type MobilityOptions =
    {
        /// Whether candidates of addresses that appear later are gathered, too, and told in the same generation: gathering
        /// never completes then (RFC 8838 §13). Default false.
        ContinualGathering: bool
        /// Whether the controlling side may nominate another pair later, where the peer says that it may, too:
        /// draft-thatcher-ice-renomination. Default true.
        Renomination: bool
        /// Default `Never`.
        Restart: IceRestartPolicy
    }

[<RequireQualifiedAccess>]
module internal MobilityOptions =
    let defaults: MobilityOptions =
        { ContinualGathering = false
          Renomination = true
          Restart = IceRestartPolicy.Never }
