namespace Hybrid.WebRtc.Core.Turn

open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// Which relayed transport addresses an allocation is asked for, RFC 8656 §7.1.
[<RequireQualifiedAccess; NoComparison>]
type internal RelayFamilies =
    | V4
    | V6
    /// ADDITIONAL-ADDRESS-FAMILY: one of each. A server that does not know it answers with IPv4's alone.
    | Both

/// What an allocation is made with.
[<NoComparison; NoEquality>]
type internal TurnConfig =
    {
        Ciphers: ICiphers
        Username: string
        Password: string
        /// TCP and TLS: requests are sent once, RFC 8489 §6.2.2.
        IsReliable: bool
        Families: RelayFamilies
        /// Whether relayed addresses of TCP are asked for, RFC 6062, and not of UDP.
        RelaysTcp: bool
    }

/// What a request of a TURN client is about.
[<RequireQualifiedAccess; NoComparison>]
type internal TurnRequest =
    | Allocate of RelayFamilies
    /// Refresh with a lifetime of 0, of an allocation that somebody before us left behind on this 5-tuple.
    | Clear of RelayFamilies
    | Refresh
    /// Refresh with a lifetime of 0: the allocation is given back.
    | Leave
    | CreatePermission of Address
    | ChannelBind of Channel: uint16 * Peer: Endpoint

[<RequireQualifiedAccess>]
module internal TurnRequest =
    /// The lifetime that is asked for, seconds; RFC 8656 §7.2's default.
    [<Literal>]
    let Lifetime = 600u

    /// The message, without credentials.
    let message (relaysTcp: bool) (id: TransactionId) (request: TurnRequest) : Message =
        // RFC 8656 §18.8, RFC 6062 §4.1.
        let relayed = RequestedTransport(if relaysTcp then 6uy else 17uy)

        match request with
        | TurnRequest.Allocate RelayFamilies.V4 -> Message.request Method.Allocate id [| relayed |]
        | TurnRequest.Allocate RelayFamilies.V6 ->
            Message.request Method.Allocate id [| relayed; RequestedAddressFamily 2uy |]
        | TurnRequest.Allocate RelayFamilies.Both ->
            Message.request Method.Allocate id [| relayed; AdditionalAddressFamily 2uy |]
        | TurnRequest.Leave
        | TurnRequest.Clear _ -> Message.request Method.Refresh id [| Attribute.Lifetime 0u |]
        | TurnRequest.Refresh -> Message.request Method.Refresh id [| Attribute.Lifetime Lifetime |]
        | TurnRequest.CreatePermission address ->
            Message.request Method.CreatePermission id [| XorPeerAddress { Address = address; Port = 0us } |]
        | TurnRequest.ChannelBind(channel, peer) ->
            Message.request Method.ChannelBind id [| ChannelNumber channel; XorPeerAddress peer |]

    /// As gathering asks STUN servers, see `Gathering`: given up after 13.5 s.
    let private gathering =
        { Transaction.standard with
            Steady = 4
            Longest = Duration.seconds 1L
            Requests = 16
            LastWait = 2 }

    /// Of a farewell: whoever closes a connection waits for it.
    let private leaving =
        { Rto = Duration.milliseconds 250L
          Steady = 0
          Longest = Duration.milliseconds 500L
          Requests = 4
          LastWait = 2 }

    /// How it is repeated; over a reliable transport it is not, RFC 8489 §6.2.2.
    let timing (reliable: bool) (request: TurnRequest) : Timing =
        match request, reliable with
        | TurnRequest.Leave, true -> Transaction.once (Duration.milliseconds 1_750L)
        | TurnRequest.Leave, false -> leaving
        | (TurnRequest.Allocate _ | TurnRequest.Clear _), true -> Transaction.once (Duration.milliseconds 13_500L)
        | (TurnRequest.Allocate _ | TurnRequest.Clear _), false -> gathering
        | (TurnRequest.Refresh | TurnRequest.CreatePermission _ | TurnRequest.ChannelBind _), true ->
            Transaction.once Transaction.ti
        | (TurnRequest.Refresh | TurnRequest.CreatePermission _ | TurnRequest.ChannelBind _), false ->
            Transaction.standard

    /// LIFETIME of an answer, RFC 8656 §18.2.
    let lifetimeOf (message: Message) : Duration =
        let seconds =
            Message.pick
                (function
                | Attribute.Lifetime seconds -> ValueSome seconds
                | _ -> ValueNone)
                message
            |> ValueOption.defaultValue Lifetime

        Duration.seconds (int64 seconds)

    /// XOR-RELAYED-ADDRESS of an answer: those that were asked for.
    let relayedAddresses (families: RelayFamilies) (message: Message) : Endpoint[] =
        message.Attributes
        |> Array.choose (fun attribute ->
            match attribute, families with
            | XorRelayedAddress e, RelayFamilies.V4 when e.Address.IsV4 -> Some e
            | XorRelayedAddress e, RelayFamilies.V6 when not e.Address.IsV4 -> Some e
            | XorRelayedAddress e, RelayFamilies.Both -> Some e
            | _ -> None)
        // One of each family, RFC 8656 §7.2.
        |> Array.distinctBy _.Address.IsV4
