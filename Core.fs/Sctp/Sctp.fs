namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.Core.Association.Endpoint

[<NoComparison>]
type SctpFigures =
    { SmoothedRoundTripTime: Duration voption
      CongestionWindow: int
      PeerReceiverWindow: int
      FlightSize: int
      Retransmissions: int64
      ReceiverWindow: int }

type SctpState =
    | Closed = 0
    | CookieWait = 1
    | CookieEchoed = 2
    | Established = 3
    | ShutdownPending = 4
    | ShutdownSent = 5
    | ShutdownReceived = 6
    | ShutdownAckSent = 7
    | Ended = 8

[<RequireQualifiedAccess>]
module Sctp =
    type State = SctpAssociation

    type Input = SctpInput

    type Output = SctpOutput

    let create (entropy: Entropy) (config: SctpConfig) : State =
        { Own = Handshake.create entropy config
          Phase = Closed
          Streams = Streams.empty
          Wanted = [] }

    let deadline (state: State) : Instant =
        match state.Phase with
        | Closed
        | Ended _ -> Instant.never
        | CookieWait timer
        | CookieEchoed(_, timer, _) -> timer.At
        | Established a
        | ShutdownPending a
        | ShutdownReceived a -> Association.deadline a
        | ShutdownSent(timer, a)
        | ShutdownAckSent(timer, a) -> Instant.min timer.At (Association.deadline a)

    // ---- Ticks ----

    let private unreachable (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        failed "The peer does not answer." ValueNone &outputs state

    /// T1 or T2 expired; `chunks` are sent again.
    let private again
        (now: Instant)
        (limit: int)
        (timer: Timer)
        (packet: SctpOutput)
        (phase: Timer -> Phase)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        if timer.Attempts >= limit then
            unreachable &outputs state
        else
            outputs.Add packet

            { state with
                Phase = phase (restarted now state.Own.Config.Times.RtoMax timer) }

    let private tickAssociation
        (now: Instant)
        (a: Association)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        if Association.deadline a > now then
            state
        else
            match Association.tick now state.Own.Config.CongestionControl &outputs state.Streams a with
            | ValueSome(struct (streams, a)) ->
                settle
                    now
                    &outputs
                    { state with
                        Phase = withAssociation a state.Phase
                        Streams = streams }
            | ValueNone -> unreachable &outputs state

    /// T2-shutdown, RFC 9260 §9.2.
    let private tickShutdown (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        let limit = state.Own.Config.Limits.MaxRetransmissions

        match state.Phase with
        | ShutdownSent(timer, a) when timer.At <= now ->
            let packet =
                Link.packet [ Shutdown(Tsn.wrap a.Receiving.Cumulative) ] (Array.Empty()) a.Link

            again now limit timer packet (fun t -> ShutdownSent(t, a)) &outputs state
        | ShutdownAckSent(timer, a) when timer.At <= now ->
            let packet = Link.packet [ ShutdownAck ] (Array.Empty()) a.Link
            again now limit timer packet (fun t -> ShutdownAckSent(t, a)) &outputs state
        | _ -> state

    let private tick (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        let limits = state.Own.Config.Limits

        match state.Phase with
        | CookieWait timer ->
            again now limits.MaxInitRetransmits timer (Handshake.init false state.Own) CookieWait &outputs state
        | CookieEchoed(cookie, timer, a) ->
            let echo = Link.packet [ CookieEcho(ReadOnlyMemory cookie) ] (Array.Empty()) a.Link
            again now limits.MaxInitRetransmits timer echo (fun t -> CookieEchoed(cookie, t, a)) &outputs state
        | Established a
        | ShutdownPending a
        | ShutdownReceived a -> tickAssociation now a &outputs state
        | ShutdownSent(_, a)
        | ShutdownAckSent(_, a) ->
            let state = tickAssociation now a &outputs state
            tickShutdown now &outputs state
        | Closed
        | Ended _ -> state

    // ---- The application ----

    let private toMessage (now: Instant) (message: OutgoingMessage) : Message =
        { Stream = message.Stream
          Ppid = message.Ppid
          Ordered = message.Ordered
          Priority = message.Priority
          ExpiresAt =
            match message.Reliability with
            | MaxLifetime lifetime -> Instant.add lifetime now
            | Reliable
            | MaxRetransmits _ -> Instant.never
          MaxRetransmits =
            match message.Reliability with
            | MaxRetransmits times -> max 0 times
            | Reliable
            | MaxLifetime _ -> Int32.MaxValue
          Payload = message.Payload }

    let private send
        (now: Instant)
        (message: OutgoingMessage)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        match state.Phase with
        | _ when message.Payload.IsEmpty -> ignored Drop.Malformed &outputs state
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            { state with
                Streams = Streams.enqueue (toMessage now message) state.Streams }
        | Established a ->
            let streams = Streams.enqueue (toMessage now message) state.Streams
            let flushing = Association.queued now streams.Buffered a

            { state with
                Phase =
                    if Object.ReferenceEquals(flushing, a) then
                        state.Phase
                    else
                        Established flushing
                Streams = streams }
        // No new data once shutdown has begun, §9.2.
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private reset (now: Instant) (wanted: uint16[]) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        let closed (streams: Streams) =
            Array.fold (fun streams stream -> Streams.close stream streams) streams wanted

        match state.Phase with
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            { state with
                Streams = closed state.Streams
                Wanted = state.Wanted @ List.ofArray wanted }
        | Established a ->
            let struct (streams, a) =
                Association.reset now wanted &outputs (closed state.Streams) a

            { state with
                Phase = Established a
                Streams = streams }
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private shutdown (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        match state.Phase with
        | Established a -> settle now &outputs { state with Phase = ShutdownPending a }
        // Nothing to take leave of.
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            outputs.Add SctpOutput.Closed
            ended state
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private abort (reason: string) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        if state.Phase.IsEnded then
            ignored Drop.Unexpected &outputs state
        else
            match association state with
            | ValueSome a -> Association.reply [ Abort(false, [ Cause.userInitiatedAbort reason ]) ] &outputs a
            | ValueNone -> ()

            outputs.Add SctpOutput.Closed
            ended state

    let step (now: Instant) (input: SctpInput) (state: State) : Step<State, SctpOutput> =
        let mutable outputs = ListCollector<SctpOutput>()

        let next =
            match input with
            | SctpInput.Tick when now < deadline state -> state
            | SctpInput.Tick -> tick now &outputs state
            | SctpInput.Received packet -> Packets.received now packet &outputs state
            | SctpInput.Send message -> send now message &outputs state
            | SctpInput.Consumed bytes ->
                match association state with
                | ValueSome a ->
                    let receiving =
                        Receiving.consumed state.Own.Config a.Sending.Trip.Smoothed now bytes a.Receiving

                    { state with
                        Phase = withAssociation { a with Receiving = receiving } state.Phase }
                | ValueNone -> state
            | SctpInput.PathChanged overhead ->
                match association state with
                | ValueSome a ->
                    let config =
                        { state.Own.Config with
                            Overhead = overhead }

                    { state with
                        Phase = withAssociation (Association.rerouted now config a) state.Phase }
                | ValueNone -> state
            | SctpInput.Wrapped overhead ->
                match association state with
                | ValueSome a ->
                    let config =
                        { state.Own.Config with
                            Overhead = overhead }

                    { state with
                        Phase = withAssociation (Association.wrapped config a) state.Phase }
                | ValueNone -> state
            | SctpInput.Beside until ->
                match association state with
                | ValueSome a ->
                    { state with
                        Phase = withAssociation (Association.beside now until a) state.Phase }
                | ValueNone -> state
            | SctpInput.Reset streams -> reset now streams &outputs state
            | SctpInput.Connect when state.Phase.IsClosed ->
                outputs.Add(Handshake.init true state.Own)

                { state with
                    Phase = CookieWait(startTimer now state.Own.Config.Times.RtoInitial) }
            | SctpInput.Connect -> ignored Drop.Unexpected &outputs state
            | SctpInput.Shutdown -> shutdown now &outputs state
            | SctpInput.Abort reason -> abort reason &outputs state

        struct (next, outputs.Close())

    // ---- Views ----

    let state (state: State) : SctpState =
        match state.Phase with
        | Closed -> SctpState.Closed
        | CookieWait _ -> SctpState.CookieWait
        | CookieEchoed _ -> SctpState.CookieEchoed
        | Established _ -> SctpState.Established
        | ShutdownPending _ -> SctpState.ShutdownPending
        | ShutdownSent _ -> SctpState.ShutdownSent
        | ShutdownReceived _ -> SctpState.ShutdownReceived
        | ShutdownAckSent _ -> SctpState.ShutdownAckSent
        | Ended _ -> SctpState.Ended

    let bufferedAmount (state: State) : int64 = state.Streams.Buffered

    let bufferedAmountOf (stream: uint16) (state: State) : int64 = Streams.buffered stream state.Streams

    let outboundStreams (state: State) : int voption =
        association state |> ValueOption.map (fun a -> a.Link.OutboundStreams)

    let mtu (state: State) : int =
        match association state with
        | ValueSome a -> a.Link.Mtu
        | ValueNone -> state.Own.Config.Mtu

    let yieldsUntil (state: State) : Instant =
        match association state with
        | ValueSome a -> a.Upkeep.YieldsUntil
        | ValueNone -> Instant.never

    let gives (state: State) : bool =
        match association state with
        | ValueSome a ->
            a.Upkeep.YieldsUntil > 0L<us>
            && a.Sending.Outstanding.FlightSize > 0
            && Congestion.hasToGive a.Link.Segment a.Sending.Congestion
        | ValueNone -> false

    let figures (state: State) : SctpFigures voption =
        match association state with
        | ValueNone -> ValueNone
        | ValueSome a ->
            ValueSome
                { SmoothedRoundTripTime = a.Sending.Trip.Smoothed
                  CongestionWindow = Congestion.window a.Sending.Congestion
                  PeerReceiverWindow = int (max 0L (min (int64 Int32.MaxValue) a.Sending.Window))
                  FlightSize = a.Sending.Outstanding.FlightSize
                  Retransmissions = a.Sending.Repair.Resent
                  ReceiverWindow = int (Receiving.window a.Link.Config a.Receiving) }
