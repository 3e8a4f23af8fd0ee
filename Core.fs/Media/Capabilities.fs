namespace Hybrid.WebRtc.Core

/// What is negotiated unless the user says otherwise: what browsers have, in their order.
[<RequireQualifiedAccess>]
module Capabilities =
    /// Nothing: every media section is rejected.
    [<CompiledName "None">]
    let none: MediaCapabilities =
        { Audio = [||]
          Video = [||]
          AudioExtensions = [||]
          VideoExtensions = [||] }
