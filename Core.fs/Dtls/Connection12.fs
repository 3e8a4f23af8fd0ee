/// The states of a connection of 1.2, RFC 6347; see `Dtls` for what becomes of them.
module internal Hybrid.WebRtc.Core.Tls.Connection12

open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13

[<NoComparison; NoEquality>]
type Side =
    | ClientSide of Client.State
    | ServerSide of Server.State

/// The record layer while keys change.
[<NoComparison; NoEquality>]
type Line =
    {
        /// Of epoch 1, once they are known.
        Read: struct (Protection * ReplayWindow) voption
        /// Our epochs: 0, and 1 once there are keys.
        Writes: WriteEpoch list
    }

[<NoComparison; NoEquality>]
type Handshaking =
    {
        Party: Party
        Side: Side
        Inbox: Reassembly
        /// ValueNone until we have spoken.
        Flight: Flight voption
        Line: Line
        Early: Early
        ExpiresAt: Instant
    }

/// What stays the same from packet to packet.
[<NoComparison; NoEquality>]
type Session =
    {
        Config: DtlsConfig
        Read: Protection
        Write: Sealing
        /// Our last flight, which the peer may ask for again; of a server only.
        Last: Flight voption
        /// The next record in the clear, for the ChangeCipherSpec in it.
        Plain: uint64
    }

/// Small: a packet makes a new one.
[<NoComparison; NoEquality>]
type Open =
    {
        Session: Session
        Window: ReplayWindow
        /// Of our next record.
        Next: uint64
    }

/// Nothing is said or heard.
let beginning (now: Instant) (party: Party) : Handshaking =
    { Party = party
      Side = ServerSide Server.AwaitClientHello
      Inbox = Reassembly.empty
      Flight = ValueNone
      Line =
        { Read = ValueNone
          Writes = [ WriteEpoch.clear 0UL ] }
      Early = Early.nothing
      ExpiresAt = Instant.add party.Config.Timing.GiveUp now }

/// What one who would have spoken 1.3 leaves to 1.2: the peer's hello is due in it.
let ofOlder (older: Connection13.Older) : Handshaking =
    let side, flight =
        match older.Hello with
        | ValueNone -> ServerSide Server.AwaitClientHello, ValueNone
        | ValueSome hello ->
            let struct (_, transcript) =
                Transcript.say hello.Type hello.Body (Transcript.start hello.Sequence)

            ClientSide(Client.said transcript),
            ValueSome
                { Items = [ Whole hello ]
                  Answers = -1
                  SentAt = older.SentAt
                  Timeout = older.Timeout }

    { beginning 0L<us> older.Party with
        Side = side
        Inbox = older.Inbox
        Flight = flight
        Line =
            { Read = ValueNone
              Writes = [ WriteEpoch.clear older.Plain ] }
        Early = older.Early
        ExpiresAt = older.ExpiresAt }
