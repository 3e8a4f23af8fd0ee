namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// The payload of a telephone event, RFC 4733 §2.3:
///
///      0               8              16                              31
///     |     Event     |E|R|  Volume   |           Duration            |
[<Struct; NoComparison>]
type internal TelephoneEvent =
    {
        /// 0 to 9: the digits, 10 `*`, 11 `#`, 12 to 15 `A` to `D`, RFC 4733 §3.2.
        Event: byte
        /// The last packet of the event, sent three times.
        End: bool
        /// In -dBm0, 0 to 63.
        Volume: byte
        /// In units of the clock.
        Duration: uint16
    }

/// Telephone events, RFC 4733.
[<RequireQualifiedAccess>]
module internal TelephoneEvent =
    [<Literal>]
    let private tones = "0123456789*#ABCD"

    /// The event of a tone, upper or lower case; ValueNone: no tone.
    let ofTone (tone: char) : byte voption =
        match tones.IndexOf(Char.ToUpperInvariant tone) with
        | -1 -> ValueNone
        | event -> ValueSome(byte event)

    /// The tone of an event; ValueNone: it is not DTMF.
    let toTone (event: byte) : char voption =
        if int event < tones.Length then
            ValueSome tones[int event]
        else
            ValueNone

    /// The four octets.
    let write (event: TelephoneEvent) : byte[] =
        [| event.Event
           (if event.End then 0x80uy else 0uy) ||| (event.Volume &&& 0x3Fuy)
           byte (event.Duration >>> 8)
           byte event.Duration |]

    /// ValueNone: too short.
    let read (payload: ReadOnlySpan<byte>) : TelephoneEvent voption =
        if payload.Length < 4 then
            ValueNone
        else
            ValueSome
                { Event = payload[0]
                  End = payload[1] &&& 0x80uy <> 0uy
                  Volume = payload[1] &&& 0x3Fuy
                  Duration = (uint16 payload[2] <<< 8) ||| uint16 payload[3] }

/// Sends DTMF tones, W3C WebRTC 1.0 §7.2, as telephone events, RFC 4733 §2.5.
///
///     Silent ──insert──▶ Between ──at the gap's end──▶ Playing ──every 50 ms: a longer duration──▶ Playing
///       ▲                   │  ▲                           │
///       └── no tone left ◀──┘  └── at the tone's end: ─────┘
///                                  the last packet, three times
[<RequireQualifiedAccess>]
module internal DtmfSender =
    /// A tone that sounds.
    [<Struct; NoComparison>]
    type Playing =
        {
            Event: byte
            StartedAt: Instant
            EndsAt: Instant
            /// The RTP timestamp at its start: that of all its packets.
            Timestamp: uint32
            UpdateAt: Instant
        }

    [<NoComparison; NoEquality>]
    type State =
        {
            /// W3C `toneBuffer`: what is still to be played.
            Tones: string
            Length: Duration
            Gap: Duration
            /// Of the telephone-event payload type, Hz.
            ClockRate: int
            /// When the next tone begins; `Instant.never` while one sounds, and when none is left.
            NextAt: Instant
            Playing: Playing voption
            /// The timestamp behind the last event; -1: there was none. The sound's clock falls back where an application pauses and then
            /// goes on from where it was, but an event of the past would not be heard, RFC 4733 §2.5.2.1.
            Behind: int64
        }

    [<NoComparison>]
    type Output =
        /// To be sent with the next sequence number of the audio's stream. `Marker`: the event begins.
        | Send of Marker: bool * Timestamp: uint32 * Payload: byte[]
        /// W3C `tonechange`: a tone begins; empty: all have ended. `Buffer` is what is left.
        | ToneChange of Tone: string * Buffer: string

    /// Between packets of an event, RFC 4733 §2.5.1.2 advises 50 ms.
    let private update: Duration = Duration.milliseconds 50L

    /// A comma's pause, W3C §7.2.
    let private pause: Duration = Duration.seconds 2L

    /// How loud tones are, -dBm0.
    [<Literal>]
    let private Volume = 10uy

    let create (clockRate: int) : State =
        { Tones = ""
          Length = Duration.milliseconds 100L
          Gap = Duration.milliseconds 70L
          ClockRate = clockRate
          NextAt = Instant.never
          Playing = ValueNone
          Behind = -1L }

    /// Whether a string may be inserted: 0-9, A-D, #, * and the comma, in either case, W3C §7.2.
    let isValid (tones: string) : bool =
        tones
        |> Seq.forall (fun tone -> tone = ',' || (TelephoneEvent.ofTone tone).IsSome)

    /// Another payload type, with its clock; a tone that sounds goes on with its own.
    let retimed (clockRate: int) (state: State) : State = { state with ClockRate = clockRate }

    /// Plays `tones` in place of what was still to be played, W3C §7.2 `insertDTMF`; a tone that sounds ends in its time. `tones` are
    /// valid. Durations are clamped: 40 to 6,000 ms, and a gap of 30 ms and more.
    let insert (now: Instant) (tones: string) (length: Duration) (gap: Duration) (state: State) : State =
        { state with
            Tones = tones.ToUpperInvariant()
            Length = max (Duration.milliseconds 40L) (min (Duration.milliseconds 6000L) length)
            Gap = max (Duration.milliseconds 30L) (min (Duration.milliseconds 6000L) gap)
            NextAt =
                (match state.Playing with
                 | ValueSome _ -> Instant.never
                 // The gap behind the last tone is kept; an empty string ends all at once.
                 | ValueNone when state.NextAt = Instant.never -> if tones = "" then Instant.never else now
                 | ValueNone -> state.NextAt) }

    /// When `tick` has something to send or to tell.
    let deadline (state: State) : Instant =
        match state.Playing with
        | ValueSome playing -> Instant.min playing.UpdateAt playing.EndsAt
        | ValueNone -> state.NextAt

    /// Units of the clock; an event of more than 65,535 does not occur within 6 s at 8,000 Hz, at 48,000 Hz it stops counting.
    let private units (clockRate: int) (length: Duration) : uint16 =
        uint16 (max 1L (min 65_535L (length * int64 clockRate / 1_000_000L<us>)))

    let private packet clockRate (playing: Playing) (at: Instant) (ends: bool) : byte[] =
        TelephoneEvent.write
            { Event = playing.Event
              End = ends
              Volume = Volume
              Duration = units clockRate (at - playing.StartedAt) }

    /// `timestamp`: what the clock of the audio's stream says now.
    let tick (now: Instant) (timestamp: uint32) (state: State) : Step<State, Output> =
        if now < deadline state then
            Step.only state
        else
            match state.Playing with
            | ValueSome playing when now >= playing.EndsAt ->
                let last = packet state.ClockRate playing playing.EndsAt true
                let send = Send(false, playing.Timestamp, last)

                // Three times, RFC 4733 §2.5.1.4.
                struct ({ state with
                            Playing = ValueNone
                            NextAt = playing.EndsAt + state.Gap
                            Behind =
                                int64 playing.Timestamp
                                + int64 (units state.ClockRate (playing.EndsAt - playing.StartedAt)) },
                        [ send; send; send ])
            | ValueSome playing ->
                let playing = { playing with UpdateAt = now + update }

                Step.one
                    (Send(false, playing.Timestamp, packet state.ClockRate playing now false))
                    { state with
                        Playing = ValueSome playing }
            | ValueNone when state.Tones = "" -> Step.one (ToneChange("", "")) { state with NextAt = Instant.never }
            | ValueNone ->
                let tone = state.Tones[0]
                let rest = state.Tones.Substring 1

                match TelephoneEvent.ofTone tone with
                | ValueNone ->
                    Step.one
                        (ToneChange(string tone, rest))
                        { state with
                            Tones = rest
                            NextAt = now + pause }
                | ValueSome event ->
                    let behind = uint32 state.Behind

                    let timestamp =
                        if state.Behind >= 0L && int32 (timestamp - behind) < 0 then
                            behind
                        else
                            timestamp

                    let playing =
                        { Event = event
                          StartedAt = now
                          EndsAt = now + state.Length
                          Timestamp = timestamp
                          UpdateAt = now + update }

                    // The first packet says how long it has sounded when the next is due.
                    let first =
                        packet state.ClockRate playing (Instant.min playing.UpdateAt playing.EndsAt) false

                    struct ({ state with
                                Tones = rest
                                NextAt = Instant.never
                                Playing = ValueSome playing },
                            [ ToneChange(string tone, rest); Send(true, timestamp, first) ])

/// Notices DTMF tones of the other side, RFC 4733 §2.5.2. Each event has a timestamp of its own; all its packets, and repetitions, share
/// it. One that lasts longer than its duration can say goes on under another timestamp, §2.5.1.3.
///
///     Silent ──a packet of a new event──▶ Sounding ──its end, a new event, or no packet for a while──▶ Silent
[<RequireQualifiedAccess>]
module internal DtmfReceiver =
    [<Struct; NoComparison>]
    type State =
        {
            /// The tone that sounds; ValueNone: none does.
            Sounding: char voption
            /// The timestamp of the last event; -1: none.
            Timestamp: int64
            /// Of the last event, in units of the clock: what segments before this one came to, and this one.
            Before: int64
            Duration: uint16
            /// When a tone of which nothing more comes is over; `Instant.never` where none sounds.
            SilentAt: Instant
        }

    [<NoComparison>]
    type Output =
        | ToneStarted of Tone: char
        /// `Duration` in units of the clock.
        | ToneEnded of Tone: char * Duration: int64

    /// Updates come every 50 ms, and a tone is not to be drawn out by more than three of them, RFC 4733 §2.5.2.2; what the network delays
    /// gets as much again.
    let patience: Duration = Duration.milliseconds 300L

    let create () : State =
        { Sounding = ValueNone
          Timestamp = -1L
          Before = 0L
          Duration = 0us
          SilentAt = Instant.never }

    /// When `tick` has an end to tell of.
    let deadline (state: State) : Instant = state.SilentAt

    let private silent (state: State) : State =
        { state with
            Sounding = ValueNone
            SilentAt = Instant.never }

    /// Of a tone whose end did not come.
    let tick (now: Instant) (state: State) : Step<State, Output> =
        match state.Sounding with
        | ValueSome tone when now >= state.SilentAt ->
            Step.one (ToneEnded(tone, state.Before + int64 state.Duration)) (silent state)
        | _ -> Step.only state

    /// A packet of the event that is known.
    let private again (now: Instant) (tone: char) (event: TelephoneEvent) (state: State) : Step<State, Output> =
        // It is over, or the peer gives one timestamp to two events.
        if state.Sounding <> ValueSome tone then
            Step.only state
        else
            let state =
                { state with
                    Duration = max state.Duration event.Duration
                    SilentAt = now + patience }

            if event.End then
                Step.one (ToneEnded(tone, state.Before + int64 event.Duration)) (silent state)
            else
                Step.only state

    /// Takes the payload of a telephone-event packet. One of an event before the last, or that is no DTMF, changes nothing.
    let received
        (now: Instant)
        (marker: bool)
        (timestamp: uint32)
        (payload: ReadOnlySpan<byte>)
        (state: State)
        : Step<State, Output> =
        match TelephoneEvent.read payload with
        | ValueNone -> Step.only state
        | ValueSome event ->
            match TelephoneEvent.toTone event.Event with
            | ValueNone -> Step.only state
            | ValueSome tone ->
                let age = int32 (timestamp - uint32 state.Timestamp)

                if state.Timestamp >= 0L && age < 0 then
                    Step.only state
                elif state.Timestamp >= 0L && age = 0 then
                    again now tone event state
                elif
                    not marker
                    && state.Sounding = ValueSome tone
                    && state.Duration = UInt16.MaxValue
                then
                    // The next segment of a long tone, RFC 4733 §2.5.1.3.
                    again
                        now
                        tone
                        event
                        { state with
                            Timestamp = int64 timestamp
                            Before = state.Before + int64 state.Duration
                            Duration = 0us }
                else
                    // The end of the one before was lost.
                    let before =
                        match state.Sounding with
                        | ValueSome sounding -> [ ToneEnded(sounding, state.Before + int64 state.Duration) ]
                        | ValueNone -> []

                    let next =
                        { Sounding = ValueSome tone
                          Timestamp = int64 timestamp
                          Before = 0L
                          Duration = event.Duration
                          SilentAt = now + patience }

                    if event.End then
                        struct (silent next, before @ [ ToneStarted tone; ToneEnded(tone, int64 event.Duration) ])
                    else
                        struct (next, before @ [ ToneStarted tone ])
