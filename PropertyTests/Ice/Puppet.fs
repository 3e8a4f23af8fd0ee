namespace Hybrid.WebRtc.PropertyTests.Ice

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// One agent alone, and hand-made messages of a peer that does as the test says.
[<RequireQualifiedAccess>]
module Puppet =
    let local: IceParameters = World.credentials "ours"
    let remote: IceParameters = World.credentials "them"
    let start: Instant = Duration.seconds 1L

    let socket: Endpoint =
        { Address = Address.v4 10uy 0uy 0uy 1uy
          Port = 4000us }

    let at (octet: byte) : Endpoint =
        { Address = Address.v4 10uy 0uy 0uy octet
          Port = 5000us }

    let path (from: Endpoint) : Path = { Local = 1<port>; Remote = from }

    /// Feeds inputs one after the other; the outputs of all.
    let feed (now: Instant) (inputs: Ice.Input list) (agent: Ice.State) : struct (Ice.State * Ice.Output list) =
        let mutable agent = agent
        let mutable all = []

        for input in inputs do
            let struct (next, outputs) = Ice.step now input agent
            agent <- next
            all <- all @ outputs

        struct (agent, all)

    /// An agent with one socket and its own credentials.
    let created (role: IceRole) : Ice.State =
        let struct (agent, _) =
            Ice.create IceOptions.defaults (Entropy.ofNumber 5L) World.ciphers
            |> feed
                start
                [ Ice.SetRole role
                  Ice.SetLocal local
                  Ice.Gather
                  Ice.PortOpened(1<port>, socket, 60000)
                  Ice.PortsComplete ]

        agent

    let candidate (endpoint: Endpoint) (priority: uint32) : Candidate =
        { Foundation = "1"
          Component = 1
          Transport = CandidateTransport.Udp
          Priority = priority
          Host = CandidateHost.Ip endpoint.Address
          Port = endpoint.Port
          Type = CandidateType.Host
          Related = ValueNone
          Extensions = [||] }

    let id (n: int) : TransactionId = { High = 7u; Low = uint64 n }

    let sealedWith (password: string) (message: Message) : byte[] =
        World.written
            { Message = message
              Integrity = HmacSha1(Key.shortTerm password)
              Fingerprint = true }

    /// A check of the peer's.
    let check (n: int) (attributes: Attribute list) : Message =
        Message.request
            Method.Binding
            (id n)
            (Array.append
                [| Username(local.UsernameFragment + ":" + remote.UsernameFragment)
                   Priority 1845501695u |]
                (List.toArray attributes))

    /// The peer's check, as it arrives.
    let receive (from: Endpoint) (bytes: byte[]) : Ice.Input =
        Ice.Received(path from, ReadOnlyMemory bytes)

    let checkFrom (from: Endpoint) (n: int) (attributes: Attribute list) : Ice.Input =
        receive from (sealedWith local.Password (check n attributes))

    let sent (outputs: Ice.Output list) : struct (Path * Outgoing) list =
        outputs
        |> List.choose (fun output ->
            match output with
            | Ice.Transmit(path, message) -> Some(struct (path, message))
            | _ -> None)

    let requests outputs : struct (Path * Message) list =
        [ for struct (path, outgoing: Outgoing) in sent outputs do
              if outgoing.Message.Class.IsRequest then
                  struct (path, outgoing.Message) ]

    let errors outputs : int list =
        [ for struct (_, outgoing: Outgoing) in sent outputs do
              match Message.errorCode outgoing.Message with
              | ValueSome(struct (code, _)) -> code
              | ValueNone -> () ]

    let drops outputs : Drop list =
        outputs
        |> List.choose (fun output ->
            match output with
            | Ice.Ignored drop -> Some drop
            | _ -> None)

    let selections outputs : Path list =
        outputs
        |> List.choose (fun output ->
            match output with
            | Ice.Selected(_, _, path) -> Some path
            | _ -> None)

    /// The peer's success response to a check of ours.
    let answerTo (message: Message) : byte[] =
        sealedWith remote.Password (Message.success message [| XorMappedAddress socket |])

    /// The peer answers everything, over and over, until nothing is asked any more or `rounds` are over.
    let rec obey
        rounds
        now
        (struct (agent: Ice.State, outputs: Ice.Output list))
        : struct (Ice.State * Ice.Output list) =
        match requests outputs with
        | [] -> struct (agent, outputs)
        | asked when rounds > 0 ->
            let answers =
                [ for struct (path, message) in asked -> receive path.Remote (answerTo message) ]

            let struct (agent, more) = feed now answers agent |> obey (rounds - 1) now
            struct (agent, outputs @ more)
        | _ -> struct (agent, outputs)
