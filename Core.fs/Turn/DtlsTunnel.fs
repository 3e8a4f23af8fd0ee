namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core

/// A TURN server behind DTLS over UDP, RFC 7350 and RFC 8656 §2.1: what is said to it goes into records, and what comes out of
/// its records is from it. Nothing is said before its certificate was looked at, which is the shell's to do.
///
///     Greeting ──handshake done──▶ Judged ──accepted──▶ Open ──close_notify, alert──▶ Over
///         │                          │ refused                                         ▲
///         └──── refusal, time ───────┴─────────────────────────────────────────────────┘
[<RequireQualifiedAccess>]
module internal DtlsTunnel =
    [<RequireQualifiedAccess; NoComparison; NoEquality>]
    type private Phase =
        | Greeting
        | Judged
        | Open
        | Over

    [<NoComparison; NoEquality>]
    type State =
        private
            { Phase: Phase
              Dtls: Dtls.State }

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        /// Asks for a server of this name; empty where it is known by its address alone.
        | Start of ServerName: string
        /// A datagram of the server's, lent: its records are opened in place.
        | Received of Memory<byte>
        /// What the certificate was found to be: trusted, or not and why.
        | Verified of Refusal: string voption
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of DtlsDatagram
        /// Is this chain (DER, the leaf first) the server's? Answered by `Verified`.
        | Verify of Chain: byte[][]
        /// It carries.
        | Opened
        /// What the server says, a slice of what `Received` lent.
        | Data of Memory<byte>
        /// The end. Nothing follows.
        | Closed of Reason: string
        | Ignored of Drop

    /// Of a server that nobody has spoken to yet, RFC 8489 §6.2.1; it doubles, as STUN's do, and is given up when a gathering
    /// gives its servers up.
    let private timing: DtlsTiming =
        { First = Duration.milliseconds 500L
          Most = Duration.seconds 2L
          GiveUp = Duration.milliseconds 13_500L }

    let create (ciphers: ICiphers) (entropy: Entropy) : State =
        { Phase = Phase.Greeting
          Dtls =
            Dtls.create
                { DtlsConfig.anonymous ciphers with
                    // Servers prove an address before they keep anything of it, which takes a hello in one datagram.
                    MaxVersion = DtlsVersion.Dtls12
                    Timing = timing }
                entropy }

    let deadline (state: State) : Instant = Dtls.deadline state.Dtls

    /// Octets that a record adds at most: header, explicit nonce, tag.
    [<Literal>]
    let Overhead = 37

    /// Leave to say so many things, at least one; ValueNone before it is open, and after.
    let seal (now: Instant) (count: int) (state: State) : struct (DtlsSeal voption * State) =
        match state.Phase with
        | Phase.Open ->
            match Dtls.step now (Dtls.Seal count) state.Dtls with
            | struct (dtls, [ Dtls.Sealed first ]) -> struct (ValueSome first, { state with Dtls = dtls })
            | struct (dtls, _) -> struct (ValueNone, { state with Dtls = dtls })
        | Phase.Greeting
        | Phase.Judged
        | Phase.Over -> struct (ValueNone, state)

    let private onDtls (output: Dtls.Output) (state: State) : Step<State, Output> =
        match output, state.Phase with
        | Dtls.Transmit datagram, _ -> Step.one (Transmit datagram) state
        | Dtls.Data plain, Phase.Open -> Step.one (Data plain) state
        // Nobody has said yet that it is the server who speaks.
        | Dtls.Data _, (Phase.Greeting | Phase.Judged | Phase.Over) -> Step.one (Ignored Drop.Unexpected) state
        | Dtls.Connected connected, _ ->
            Step.one (Verify connected.RemoteCertificates) { state with Phase = Phase.Judged }
        | (Dtls.Failed _ | Dtls.Closed), Phase.Over -> Step.only state
        | Dtls.Failed fault, _ ->
            Step.one (Closed("DTLS with the server: " + fault.Reason)) { state with Phase = Phase.Over }
        | Dtls.Closed, _ -> Step.one (Closed "The server has closed the connection.") { state with Phase = Phase.Over }
        | Dtls.Ignored reason, _ -> Step.one (Ignored reason) state
        // Taken by `seal`; and nobody has asked for a key log.
        | (Dtls.Sealed _ | Dtls.KeyLog _), _ -> Step.only state

    let private dtls now (input: Dtls.Input) (state: State) : Step<State, Output> =
        match Dtls.step now input state.Dtls, state.Phase with
        // Nearly every datagram.
        | struct (part, [ Dtls.Data plain ]), Phase.Open -> Step.one (Data plain) { state with Dtls = part }
        | struct (part, outputs), _ -> { state with Dtls = part } |> Step.route onDtls outputs

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match state.Phase, input with
        | Phase.Greeting, Start name -> dtls now (Dtls.StartWithChain(DtlsRole.Client, name)) state
        | (Phase.Greeting | Phase.Judged | Phase.Open), Tick -> dtls now Dtls.Tick state
        | (Phase.Greeting | Phase.Judged | Phase.Open), Received datagram -> dtls now (Dtls.Received datagram) state
        | Phase.Judged, Verified ValueNone -> Step.one Opened { state with Phase = Phase.Open }
        | Phase.Judged, Verified(ValueSome reason) ->
            // The end is ours: its own telling of it is not passed on.
            { state with Phase = Phase.Over }
            |> dtls now Dtls.Close
            |> Step.bind (Step.one (Closed reason))
        | (Phase.Greeting | Phase.Judged | Phase.Open), Close -> dtls now Dtls.Close { state with Phase = Phase.Over }
        | Phase.Over, (Tick | Close) -> Step.only state
        | Phase.Over, (Start _ | Received _ | Verified _) -> Step.one (Ignored Drop.Stale) state
        | (Phase.Judged | Phase.Open), Start _
        | (Phase.Greeting | Phase.Open), Verified _ -> Step.one (Ignored Drop.Unexpected) state
