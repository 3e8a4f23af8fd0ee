namespace Hybrid.WebRtc.PropertyTests

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

/// An allocation of `SmallServer`.
[<NoComparison>]
type SmallAllocation =
    {
        Holder: Endpoint
        Relayed: Endpoint list
        ExpiresAt: Instant
        /// Of the request that made it, so that its repetition is answered alike.
        Transaction: TransactionId
        Permissions: (struct (Address * Instant)) list
        Channels: (struct (uint16 * Endpoint * Instant)) list
    }

/// A TURN server as a value, as simple as RFC 8656 lets it be and strict with clients: what it would refuse, it refuses.
/// Its faults are fields.
[<NoComparison; NoEquality>]
type SmallServer =
    {
        At: Endpoint
        /// Addresses that it relays from, at most one of a family.
        Relays: Address list
        Realm: string
        Password: string
        /// Whether it names SHA-256 and asks for USERHASH, RFC 8489 §9.2.
        IsModern: bool
        Nonce: string
        Lifetime: Duration
        Allocations: SmallAllocation list
        NextPort: int
        /// Refusals: the method, the code, and how often.
        Refusals: (struct (Method * int * int)) list
        Alternate: Endpoint voption
        /// Where it takes nothing but DTLS.
        Dtls: TurnDtls voption
        /// Requests that it answered, last first.
        Served: Method list
    }

[<RequireQualifiedAccess>]
module SmallServer =
    let private ciphers = SystemCiphers.Shared
    let username = "user"

    let create (at: Endpoint) (relays: Address list) : SmallServer =
        { At = at
          Relays = relays
          Realm = "example.org"
          Password = "secret"
          IsModern = false
          Nonce = "nonce-1"
          Lifetime = Duration.seconds 600L
          Allocations = []
          NextPort = 49152
          Refusals = []
          Alternate = ValueNone
          Dtls = ValueNone
          Served = [] }

    let modern (server: SmallServer) : SmallServer =
        { server with
            IsModern = true
            Nonce =
                NonceFeatures.cookie
                    { PasswordAlgorithms = true
                      UsernameAnonymity = true }
                + "1" }

    /// Another nonce: whoever uses the present one is told that it is stale.
    let renonce (server: SmallServer) : SmallServer =
        { server with
            Nonce = server.Nonce + "1" }

    /// All allocations are gone, and nonces too.
    let restart (server: SmallServer) : SmallServer =
        renonce { server with Allocations = [] }

    let refusing (method: Method) (code: int) (times: int) (server: SmallServer) : SmallServer =
        { server with
            Refusals = struct (method, code, times) :: server.Refusals }

    let written (message: Outgoing) : byte[] =
        let bytes = Array.zeroCreate (Outgoing.size message)
        Outgoing.write ciphers (Span bytes) message |> ignore
        bytes

    let private key (server: SmallServer) =
        if server.IsModern then
            Key.longTermSha256 ciphers username server.Realm server.Password
        else
            Key.longTerm ciphers username server.Realm server.Password

    let private find choose (message: Message) =
        message.Attributes |> Array.tryPick choose

    let private peer =
        find (function
            | XorPeerAddress e -> Some e
            | _ -> None)

    let private protected' (server: SmallServer) (message: Message) : byte[] =
        written
            { Message = message
              Integrity =
                if server.IsModern then
                    HmacSha256(key server)
                else
                    HmacSha1(key server)
              Fingerprint = true }

    let private plain (message: Message) : byte[] =
        written
            { Message = message
              Integrity = Unprotected
              Fingerprint = true }

    let private challenge (server: SmallServer) =
        [| Realm server.Realm
           Nonce server.Nonce
           if server.IsModern then
               PasswordAlgorithms PasswordAlgorithm.all |]

    let private families (server: SmallServer) (request: Message) : Result<Address list, int> =
        let v4 = server.Relays |> List.filter _.IsV4
        let v6 = server.Relays |> List.filter (fun a -> not a.IsV4)

        let asked =
            request
            |> find (function
                | RequestedAddressFamily family -> Some family
                | _ -> None)

        let more =
            request
            |> find (function
                | AdditionalAddressFamily family -> Some family
                | _ -> None)

        match asked, more with
        | Some 2uy, _ -> if v6.IsEmpty then Error 440 else Ok v6
        | _, Some _ -> if v4.IsEmpty then Error 440 else Ok(v4 @ v6)
        | _ -> if v4.IsEmpty then Error 440 else Ok v4

    let private set (allocation: SmallAllocation) (server: SmallServer) =
        { server with
            Allocations =
                allocation
                :: (server.Allocations
                    |> List.filter (fun a -> not (a.Holder.Equals allocation.Holder))) }

    let private seconds (d: Duration) = uint32 (d / Duration.seconds 1L)

    let private permitted now (address: Address) (allocation: SmallAllocation) =
        { allocation with
            Permissions =
                struct (address, now + Duration.seconds 300L)
                :: (allocation.Permissions
                    |> List.filter (fun (struct (a, _)) -> not (a.Equals address))) }

    /// What an authentic request does: the answer's attributes or a code, and the server that follows.
    let private serve now (client: Endpoint) (request: Message) (server: SmallServer) =
        let allocation =
            server.Allocations
            |> List.tryFind (fun a -> a.Holder.Equals client && a.ExpiresAt > now)

        let lifetime =
            request
            |> find (function
                | Attribute.Lifetime s -> Some s
                | _ -> None)

        match request.Method, allocation with
        | Method.Allocate, Some held when not (held.Transaction.Equals request.Transaction) -> Error 437, server
        | Method.Allocate, _ ->
            match families server request with
            | Error code -> Error code, server
            | Ok addresses ->
                let relayed =
                    match allocation with
                    | Some held -> held.Relayed
                    | None ->
                        addresses
                        |> List.mapi (fun i address ->
                            { Address = address
                              Port = uint16 (server.NextPort + i) })

                Ok
                    [| for e in relayed do
                           XorRelayedAddress e
                       XorMappedAddress client
                       Attribute.Lifetime(seconds server.Lifetime) |],
                set
                    { Holder = client
                      Relayed = relayed
                      ExpiresAt = now + server.Lifetime
                      Transaction = request.Transaction
                      Permissions = []
                      Channels = [] }
                    { server with
                        NextPort = server.NextPort + 2 }
        | Method.Refresh, None -> Error 437, server
        | Method.Refresh, Some held when lifetime = Some 0u ->
            Ok [| Attribute.Lifetime 0u |],
            { server with
                Allocations = server.Allocations |> List.filter (fun a -> not (a.Holder.Equals held.Holder)) }
        | Method.Refresh, Some held ->
            Ok [| Attribute.Lifetime(seconds server.Lifetime) |],
            set
                { held with
                    ExpiresAt = now + server.Lifetime }
                server
        | (Method.CreatePermission | Method.ChannelBind), None -> Error 437, server
        | Method.CreatePermission, Some held ->
            match peer request with
            | Some e when held.Relayed |> List.exists (fun r -> r.Address.IsV4 = e.Address.IsV4) ->
                Ok [||], set (permitted now e.Address held) server
            | Some _ -> Error 443, server
            | None -> Error 400, server
        | Method.ChannelBind, Some held ->
            let number =
                request
                |> find (function
                    | ChannelNumber n -> Some n
                    | _ -> None)

            match number, peer request with
            | Some number, Some e when
                ChannelData.isChannel number
                && held.Channels
                   |> List.forall (fun (struct (n, p, _)) -> (n = number) = p.Equals e)
                ->
                Ok [||],
                set
                    { permitted now e.Address held with
                        Channels =
                            struct (number, e, now + Duration.seconds 600L)
                            :: (held.Channels |> List.filter (fun (struct (n, _, _)) -> n <> number)) }
                    server
            | _ -> Error 400, server
        | _ -> Error 400, server

    let private authentic (request: Message) (datagram: byte[]) (server: SmallServer) : Result<unit, int> =
        let named =
            request.Attributes
            |> Array.exists (fun attribute ->
                match attribute with
                | Username name -> not server.IsModern && name = username
                | UserHash hash -> server.IsModern && hash = Key.userHash ciphers username server.Realm
                | _ -> false)

        let nonce =
            request
            |> find (function
                | Nonce n -> Some n
                | _ -> None)

        match Message.verify ciphers (ReadOnlySpan(key server)) (ReadOnlySpan datagram) with
        | Verification.Absent -> Error 401
        | _ when nonce <> Some server.Nonce -> Error 438
        | Verification.Right when named -> Ok()
        | _ -> Error 401

    let private request now (client: Endpoint) (message: Message) (datagram: byte[]) (server: SmallServer) =
        let server =
            { server with
                Served = message.Method :: server.Served }

        let back bytes = [ struct (server.At, client, bytes) ]

        if message.Method = Method.Binding then
            server, back (plain (Message.success message [| XorMappedAddress client |]))
        else
            match server.Alternate, authentic message datagram server with
            | ValueSome other, _ ->
                server, back (plain (Message.error message 300 "Try Alternate" [| AlternateServer other |]))
            | _, Error code -> server, back (plain (Message.error message code "Unauthorized" (challenge server)))
            | _, Ok() ->
                let refusal =
                    server.Refusals
                    |> List.tryFind (fun (struct (m, _, n)) -> m = message.Method && n > 0)

                match refusal with
                | Some(struct (m, code, n)) ->
                    let rest =
                        server.Refusals
                        |> List.map (fun r ->
                            if r = struct (m, code, n) then
                                struct (m, code, n - 1)
                            else
                                r)

                    { server with Refusals = rest },
                    back (protected' server (Message.error message code "Refused" [||]))
                | None ->
                    match serve now client message server with
                    | Ok attributes, server -> server, back (protected' server (Message.success message attributes))
                    | Error code, server -> server, back (protected' server (Message.error message code "Error" [||]))

    let private hasPermission now (address: Address) (allocation: SmallAllocation) =
        allocation.Permissions
        |> List.exists (fun (struct (a, until)) -> a.Equals address && until > now)

    let private relay now (allocation: SmallAllocation) (e: Endpoint) (data: byte[]) =
        match allocation.Relayed |> List.tryFind (fun r -> r.Address.IsV4 = e.Address.IsV4) with
        | Some from when hasPermission now e.Address allocation -> [ struct (from, e, data) ]
        | _ -> []

    let private fromClient now (client: Endpoint) (datagram: byte[]) (server: SmallServer) =
        let allocation =
            server.Allocations
            |> List.tryFind (fun a -> a.Holder.Equals client && a.ExpiresAt > now)

        match ChannelData.read (ReadOnlySpan datagram), Message.read (ReadOnlySpan datagram), allocation with
        | ValueSome(struct (number, length)), _, Some allocation ->
            match allocation.Channels |> List.tryFind (fun (struct (n, _, _)) -> n = number) with
            | Some(struct (_, e, until)) when until > now ->
                server, relay now allocation e datagram[ChannelData.HeaderSize .. ChannelData.HeaderSize + length - 1]
            | _ -> server, []
        | _, ValueSome message, _ when message.Class.IsRequest -> request now client message datagram server
        | _, ValueSome message, Some allocation when message.Method = Method.Send ->
            let data =
                message
                |> find (function
                    | Data bytes -> Some bytes
                    | _ -> None)

            match peer message, data with
            | Some e, Some data -> server, relay now allocation e data
            | _ -> server, []
        | _ -> server, []

    let private fromPeer now (source: Endpoint) (destination: Endpoint) (datagram: byte[]) (server: SmallServer) =
        server.Allocations
        |> List.tryFind (fun a ->
            a.ExpiresAt > now
            && a.Relayed |> List.exists (fun r -> r.Equals destination)
            && hasPermission now source.Address a)
        |> function
            | None -> []
            | Some allocation ->
                match
                    allocation.Channels
                    |> List.tryFind (fun (struct (_, e, until)) -> e.Equals source && until > now)
                with
                | Some(struct (number, _, _)) ->
                    let bytes = Array.zeroCreate (ChannelData.HeaderSize + datagram.Length)
                    ChannelData.writeHeader (Span bytes) number datagram.Length
                    Array.blit datagram 0 bytes ChannelData.HeaderSize datagram.Length
                    [ struct (server.At, allocation.Holder, bytes) ]
                | None ->
                    let indication =
                        { Class = Class.Indication
                          Method = Method.Data
                          Transaction =
                            { High = 1u
                              Low = uint64 datagram.Length }
                          Attributes = [| XorPeerAddress source; Data datagram |] }

                    [ struct (server.At, allocation.Holder, plain indication) ]

    /// Whether it listens there.
    let owns (e: Endpoint) (server: SmallServer) : bool =
        e.Equals server.At || server.Relays |> List.exists (fun a -> a.Equals e.Address)

    /// A datagram arrives: what the server sends, from where and to whom.
    let receive now (source: Endpoint) (destination: Endpoint) (datagram: byte[]) (server: SmallServer) =
        let server, answers, sent =
            match server.Dtls with
            | ValueSome front when destination.Equals server.At ->
                let front, plain, answers = TurnDtls.receive now source datagram front
                let server = { server with Dtls = ValueSome front }

                ((server, answers, []), plain)
                ||> List.fold (fun (server, answers, sent) bytes ->
                    let server, more = fromClient now source bytes server
                    server, answers, sent @ more)
            | _ when destination.Equals server.At ->
                let server, sent = fromClient now source datagram server
                server, [], sent
            | _ -> server, [], fromPeer now source destination datagram server

        // What is for a client goes into its records.
        (((server, [ for bytes in answers -> struct (server.At, source, bytes) ]), sent)
         ||> List.fold (fun (server, all) (struct (from, target, bytes)) ->
             match server.Dtls with
             | ValueSome front when from.Equals server.At ->
                 let front, bytes = TurnDtls.seal now target bytes front
                 { server with Dtls = ValueSome front }, struct (from, target, bytes) :: all
             | _ -> server, struct (from, target, bytes) :: all))
        |> fun (server, all) -> server, List.rev all
