namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What a server's challenge and our credentials make together, RFC 8489 §9.2: it goes with every request to this server.
[<NoComparison; NoEquality>]
type internal Login =
    {
        Realm: string
        Nonce: string
        /// The server's PASSWORD-ALGORITHMS, echoed as they came; empty where it named none.
        Algorithms: struct (uint16 * byte[])[]
        /// The one chosen from them.
        Algorithm: struct (uint16 * byte[]) voption
        /// USERNAME or USERHASH.
        Name: Attribute
        /// Of MESSAGE-INTEGRITY, or MESSAGE-INTEGRITY-SHA256 where the server named algorithms.
        Key: byte[]
    }

/// Long-term credentials, RFC 8489 §9.2, the client's side.
[<RequireQualifiedAccess>]
module internal LongTerm =
    let private realmOf (message: Message) =
        Message.pick
            (function
            | Realm text -> ValueSome text
            | _ -> ValueNone)
            message

    let private nonceOf (message: Message) =
        Message.pick
            (function
            | Nonce text -> ValueSome text
            | _ -> ValueNone)
            message

    let private algorithmsOf (message: Message) =
        Message.pick
            (function
            | PasswordAlgorithms all -> ValueSome all
            | _ -> ValueNone)
            message

    /// Whether a response takes back what its nonce promises, RFC 8489 §9.2.1, §9.2.5: somebody on the way wants weaker
    /// algorithms.
    let isBidDown (message: Message) : bool =
        match nonceOf message with
        | ValueSome nonce ->
            (NonceFeatures.ofNonce nonce).PasswordAlgorithms
            && (algorithmsOf message).IsNone
        | ValueNone -> false

    // Quotes and trailing nulls are no part of a realm, RFC 8489 §9.2.2.
    let private bare (realm: string) = realm.TrimEnd('\000').Trim('"')

    let private isKnown (struct (algorithm: uint16, _: byte[])) =
        algorithm = PasswordAlgorithm.Md5 || algorithm = PasswordAlgorithm.Sha256

    /// The answer to a 401, RFC 8489 §9.2.5. An error is for a person to read.
    let answer (ciphers: ICiphers) (username: string) (password: string) (challenge: Message) : Result<Login, string> =
        match realmOf challenge, nonceOf challenge with
        | ValueSome realm, ValueSome nonce when not (isBidDown challenge) ->
            let algorithms = algorithmsOf challenge |> ValueOption.defaultValue [||]

            let chosen =
                match Array.tryFind isKnown algorithms with
                | Some algorithm -> ValueSome algorithm
                | None -> ValueNone

            if chosen.IsNone && (algorithmsOf challenge).IsSome then
                Error "The server names no password algorithm that is supported."
            else
                let key =
                    match chosen with
                    | ValueSome(struct (PasswordAlgorithm.Sha256, _)) ->
                        Key.longTermSha256 ciphers username (bare realm) password
                    | _ -> Key.longTerm ciphers username (bare realm) password

                Ok
                    { Realm = realm
                      Nonce = nonce
                      Algorithms = algorithms
                      Algorithm = chosen
                      Name =
                        if (NonceFeatures.ofNonce nonce).UsernameAnonymity then
                            UserHash(Key.userHash ciphers username (bare realm))
                        else
                            Username username
                      Key = key }
        | ValueSome _, ValueSome _ ->
            Error "The server's nonce promises password algorithms, and its answer has none: it may have been altered."
        | _ -> Error "The server's challenge has no realm or no nonce."

    /// With the nonce of a 438, RFC 8489 §9.2.5; ValueNone where it has none, or was altered.
    let renew (stale: Message) (login: Login) : Login voption =
        match nonceOf stale with
        | ValueSome nonce when not (isBidDown stale) -> ValueSome { login with Nonce = nonce }
        | _ -> ValueNone

    /// Whether an answer is from whoever knows the key of what was asked.
    let verify (ciphers: ICiphers) (asked: Outgoing) (answer: ReadOnlyMemory<byte>) : Verification =
        match asked.Integrity with
        | Unprotected -> Verification.Right
        | HmacSha1 key
        | HmacSha256 key -> Message.verify ciphers (ReadOnlySpan key) answer.Span

    /// Errors that an older server does not protect are taken: who can guess the transaction id is on the path, and can do as
    /// much by losing our packets. Not so a 400, RFC 8489 §9.2.5.
    let isTrusted (code: int) (verification: Verification) : bool =
        match verification with
        | Verification.Right -> true
        | Verification.Absent -> code <> 400
        | Verification.Wrong -> false

    /// A request with credentials, RFC 8489 §9.2.3.2.
    let sign (login: Login) (request: Message) : Outgoing =
        let credentials =
            [| login.Name
               Realm login.Realm
               Nonce login.Nonce
               if login.Algorithms.Length > 0 then
                   PasswordAlgorithms login.Algorithms
               match login.Algorithm with
               | ValueSome(struct (algorithm, parameters)) -> PasswordAlgorithm(algorithm, parameters)
               | ValueNone -> () |]

        { Message =
            { request with
                Attributes = Array.append request.Attributes credentials }
          Integrity =
            if login.Algorithm.IsSome then
                HmacSha256 login.Key
            else
                HmacSha1 login.Key
          Fingerprint = true }
