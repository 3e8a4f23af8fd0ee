namespace Hybrid.WebRtc.Core.Turn

open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// That the server lets an address' packets through, RFC 8656 §9.
[<Struct; NoComparison; NoEquality>]
type internal Permission =
    {
        Address: Address
        /// `never` while it is asked for, and where it is denied.
        RenewAt: Instant
        IsDenied: bool
    }

/// A channel, RFC 8656 §12. It keeps its number, and nobody else gets it (§12.1).
[<Struct; NoComparison; NoEquality>]
type internal ChannelBinding =
    {
        Peer: Endpoint
        /// `never` while it is asked for, and where it is denied.
        RenewAt: Instant
        /// Whether our data may use it.
        IsBound: bool
    }

/// What a client remembers of its allocation, RFC 8656 §5.
[<NoComparison; NoEquality>]
type internal ClientAllocation =
    {
        /// One, or one of each family.
        Relayed: Endpoint[]
        /// `never` while it is asked for.
        RefreshAt: Instant
        ExpiresAt: Instant
        Permissions: Permission[]
        /// The channel 0x4000 + n is the n-th.
        Channels: ChannelBinding[]
    }

/// Allocations: their peers, and how data reaches them.
[<RequireQualifiedAccess>]
module internal ClientAllocation =
    /// Addresses with permission, and peers with a channel; as many as ICE has remote candidates.
    [<Literal>]
    let private MaxPeers = 100

    // A minute before it expires, RFC 8656 §8; half-way through where it is that short.
    let private refreshAt (now: Instant) (lifetime: Duration) : Instant =
        if lifetime > Duration.seconds 120L then
            now + lifetime - Duration.seconds 60L
        else
            now + lifetime / 2L

    let create (now: Instant) (relayed: Endpoint[]) (lifetime: Duration) : ClientAllocation =
        { Relayed = relayed
          RefreshAt = refreshAt now lifetime
          ExpiresAt = now + lifetime
          Permissions = [||]
          Channels = [||] }

    let refreshed (now: Instant) (lifetime: Duration) (allocation: ClientAllocation) : ClientAllocation =
        { allocation with
            RefreshAt = refreshAt now lifetime
            ExpiresAt = now + lifetime }

    /// When something of it must be renewed, or it expires.
    let deadline (allocation: ClientAllocation) : Instant =
        let mutable due = Instant.min allocation.RefreshAt allocation.ExpiresAt

        for permission in allocation.Permissions do
            due <- Instant.min due permission.RenewAt

        for channel in allocation.Channels do
            due <- Instant.min due channel.RenewAt

        due

    let private permissionOf (address: Address) (allocation: ClientAllocation) : int =
        let mutable i = 0

        while i < allocation.Permissions.Length
              && not (allocation.Permissions[i].Address.Equals address) do
            i <- i + 1

        if i < allocation.Permissions.Length then i else -1

    let private channelOf (peer: Endpoint) (allocation: ClientAllocation) : int =
        let mutable i = 0

        while i < allocation.Channels.Length && not (allocation.Channels[i].Peer.Equals peer) do
            i <- i + 1

        if i < allocation.Channels.Length then i else -1

    /// Whether packets of this address were asked for.
    let isPermitted (address: Address) (allocation: ClientAllocation) : bool = permissionOf address allocation >= 0

    /// Whether it has a relayed address of the family.
    let reaches (address: Address) (allocation: ClientAllocation) : bool =
        allocation.Relayed |> Array.exists (fun e -> e.Address.IsV4 = address.IsV4)

    /// The n-th channel's number.
    let numberOf (n: int) : uint16 = ChannelData.FirstChannel + uint16 n

    let private indexOf (channel: uint16) : int =
        int channel - int ChannelData.FirstChannel

    /// Whose data a channel carries. The server may have bound it before we are told.
    let peerOf (channel: uint16) (allocation: ClientAllocation) : Endpoint voption =
        let n = indexOf channel

        if n >= 0 && n < allocation.Channels.Length then
            ValueSome allocation.Channels[n].Peer
        else
            ValueNone

    /// What a packet to this peer is wrapped in; ValueNone where none may go.
    let wrap
        (peer: Endpoint)
        (entropy: Entropy)
        (allocation: ClientAllocation)
        : struct (RelayHeader voption * Entropy) =
        match channelOf peer allocation with
        | n when n >= 0 && allocation.Channels[n].IsBound ->
            struct (ValueSome(RelayHeader.Channel(numberOf n)), entropy)
        | _ ->
            match permissionOf peer.Address allocation with
            | n when n >= 0 && not allocation.Permissions[n].IsDenied ->
                let struct (id, entropy) = TransactionId.draw entropy
                struct (ValueSome(RelayHeader.Indication(peer, id)), entropy)
            | _ -> struct (ValueNone, entropy)

    /// Octets around a packet to this peer as `wrap` has it now, padding included.
    let overhead (peer: Endpoint) (allocation: ClientAllocation) : int =
        match channelOf peer allocation with
        | n when n >= 0 && allocation.Channels[n].IsBound -> ChannelData.HeaderSize
        | _ -> (RelayHeader.Indication(peer, { High = 0u; Low = 0UL })).Offset + 3

    /// With a permission that is being asked for; ValueNone where there is no room.
    let addPermission (address: Address) (allocation: ClientAllocation) : ClientAllocation voption =
        if allocation.Permissions.Length >= MaxPeers then
            ValueNone
        else
            ValueSome
                { allocation with
                    Permissions =
                        Array.append
                            allocation.Permissions
                            [| { Address = address
                                 RenewAt = Instant.never
                                 IsDenied = false } |] }

    /// With a channel that is being asked for, and its number; ValueNone where there is no room.
    let addChannel (peer: Endpoint) (allocation: ClientAllocation) : struct (uint16 * ClientAllocation) voption =
        if allocation.Channels.Length >= MaxPeers then
            ValueNone
        else
            ValueSome(
                struct (numberOf allocation.Channels.Length,
                        { allocation with
                            Channels =
                                Array.append
                                    allocation.Channels
                                    [| { Peer = peer
                                         RenewAt = Instant.never
                                         IsBound = false } |] })
            )

    /// Whether our data may use a channel.
    let isBound (number: uint16) (allocation: ClientAllocation) : bool =
        allocation.Channels[indexOf number].IsBound

    let hasChannel (peer: Endpoint) (allocation: ClientAllocation) : bool = channelOf peer allocation >= 0

    let setPermission
        (address: Address)
        (renewAt: Instant)
        (denied: bool)
        (allocation: ClientAllocation)
        : ClientAllocation =
        match permissionOf address allocation with
        | -1 -> allocation
        | n ->
            { allocation with
                Permissions =
                    allocation.Permissions
                    |> Array.updateAt
                        n
                        { Address = address
                          RenewAt = renewAt
                          IsDenied = denied } }

    let setChannel (number: uint16) (renewAt: Instant) (bound: bool) (allocation: ClientAllocation) : ClientAllocation =
        let n = indexOf number

        { allocation with
            Channels =
                allocation.Channels
                |> Array.updateAt
                    n
                    { allocation.Channels[n] with
                        RenewAt = renewAt
                        IsBound = bound } }
