namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun

/// Who we are in every check, RFC 8445 §7.1.
[<NoComparison; NoEquality>]
type internal Agent =
    { Role: IceRole
      TieBreaker: uint64
      Scope: IceScope }

/// Credentials with the key they make.
[<NoComparison; NoEquality>]
type internal Secret =
    { Credentials: IceParameters
      Key: byte[] }

/// The messages of connectivity checks, RFC 8445 §7.
[<RequireQualifiedAccess>]
module internal Binding =
    let secret (credentials: IceParameters) : Secret =
        { Credentials = credentials
          Key = Key.shortTerm credentials.Password }

    /// Whether they are the ones known.
    let isSame (credentials: IceParameters) (secret: Secret voption) =
        match secret with
        | ValueSome known -> known.Credentials = credentials
        | ValueNone -> false

    /// A check, RFC 8445 §7.2.2: named for both, signed with the password of the one who is asked. `number`: of the nomination; 0:
    /// it is not numbered.
    let request
        id
        (asControlling: bool)
        tieBreaker
        priority
        nominating
        (number: uint32)
        (local: Secret)
        (remote: Secret)
        : Outgoing =
        let attributes =
            [| Username(remote.Credentials.UsernameFragment + ":" + local.Credentials.UsernameFragment)
               Priority priority
               if asControlling then
                   IceControlling tieBreaker
               else
                   IceControlled tieBreaker
               if nominating then
                   UseCandidate

                   if number > 0u then
                       Nomination number |]

        { Message = Message.request Method.Binding id attributes
          Integrity = HmacSha1 remote.Key
          Fingerprint = true }

    /// RFC 8445 §7.3.1.2: where the request seemed to come from, signed with our password.
    let success (local: Secret) (request: Message) (source: Endpoint) : Outgoing =
        { Message = Message.success request [| XorMappedAddress source |]
          Integrity = HmacSha1 local.Key
          Fingerprint = true }

    /// An error that the peer can trust.
    let error (local: Secret) (request: Message) (code: int) (reason: string) (more: Attribute[]) : Outgoing =
        { Message = Message.error request code reason more
          Integrity = HmacSha1 local.Key
          Fingerprint = true }

    /// The answer to one who has not shown the password, RFC 8489 §9.1.3: 400 without integrity, else 401.
    /// ValueNone where it would be longer than what was sent: we are nobody's amplifier.
    let refuse (request: Message) (code: int) (received: int) : Outgoing voption =
        let refusal =
            { Message = Message.error request code (if code = 400 then "Bad Request" else "Unauthenticated") [||]
              Integrity = Unprotected
              Fingerprint = true }

        if Outgoing.size refusal <= received then
            ValueSome refusal
        else
            ValueNone

    /// How the roles of a request and ours go together, RFC 8445 §7.3.1.1.
    [<RequireQualifiedAccess; NoComparison>]
    type Roles =
        | Agree
        /// We keep our role: the peer gets a 487.
        | PeerYields
        /// We take the other role.
        | WeYield

    /// RFC 8445 §7.3.1.1: the larger tie-breaker is or becomes controlling.
    let compareRoles (agent: Agent) (request: Message) : Roles =
        let theirs =
            Message.pick
                (function
                | IceControlling t -> ValueSome(struct (true, t))
                | IceControlled t -> ValueSome(struct (false, t))
                | _ -> ValueNone)
                request

        match theirs with
        | ValueSome(struct (true, t)) when agent.Role = IceRole.Controlling ->
            if agent.TieBreaker >= t then
                Roles.PeerYields
            else
                Roles.WeYield
        | ValueSome(struct (false, t)) when agent.Role = IceRole.Controlled ->
            if agent.TieBreaker >= t then
                Roles.WeYield
            else
                Roles.PeerYields
        | _ -> Roles.Agree
