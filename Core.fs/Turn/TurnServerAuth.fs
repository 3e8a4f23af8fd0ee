namespace Hybrid.WebRtc.Core.Turn

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// Nonces that are made and checked without remembering any: a cookie (RFC 8489 §9.2), and in base64 the second in which it was
/// made and the HMAC-SHA256 of that and of the 5-tuple it is good for, cut down to 112 bits.
[<RequireQualifiedAccess>]
module internal Nonces =
    /// Seconds and HMAC: 24 characters of base64.
    [<Literal>]
    let private SealedSize = 18

    let private secondsOf (now: Instant) : uint32 = uint32 (now / Duration.seconds 1L)

    let private tag (s: TurnServerState) (seconds: uint32) (path: Path) : byte[] =
        let covered: byte[] = Array.zeroCreate 26
        let mutable writer = Writer(Span covered)
        writer.UInt32 seconds
        writer.UInt32(uint32 path.Local)
        writer.UInt64 path.Remote.Address.High
        writer.UInt64 path.Remote.Address.Low
        writer.UInt16 path.Remote.Port
        Ciphers.hmac s.Config.Ciphers HashAlgorithm.Sha256 (ReadOnlySpan s.NonceKey) (ReadOnlySpan covered)

    let private features (s: TurnServerState) : NonceFeatures =
        { PasswordAlgorithms = true
          // REST credentials' names are made elsewhere, so that none could be found by its hash.
          UsernameAnonymity = s.Credentials.Secrets.Length = 0 }

    let make (now: Instant) (path: Path) (s: TurnServerState) : string =
        let plain: byte[] = Array.zeroCreate SealedSize
        let seconds = secondsOf now
        BinaryPrimitives.WriteUInt32BigEndian(Span plain, seconds)
        ReadOnlySpan(tag s seconds path, 0, SealedSize - 4).CopyTo(Span(plain, 4, SealedSize - 4))
        String.Concat(NonceFeatures.cookie (features s), Convert.ToBase64String plain)

    /// Whether it was made here for this 5-tuple, and not too long ago.
    let isGood (now: Instant) (path: Path) (nonce: string) (s: TurnServerState) : bool =
        let plain: byte[] = Array.zeroCreate SealedSize
        let mutable written = 0

        if
            nonce.Length = NonceFeatures.CookieSize + 24
            && Convert.TryFromBase64Chars(nonce.AsSpan NonceFeatures.CookieSize, Span plain, &written)
            && written = SealedSize
        then
            let seconds = BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan plain)
            let age = int64 (secondsOf now) - int64 seconds

            age >= 0L
            && Duration.seconds age <= s.Config.Limits.NonceLifetime
            && Ciphers.equal
                (ReadOnlySpan(plain, 4, SealedSize - 4))
                (ReadOnlySpan(tag s seconds path, 0, SealedSize - 4))
        else
            false

/// Long-term credentials, RFC 8489 §9.2.4.
[<RequireQualifiedAccess>]
module internal Auth =
    /// Tables of the users, their keys made.
    let prepare (config: TurnServerConfig) (credentials: TurnCredentials) : Credentials =
        let ciphers = config.Ciphers

        let users =
            credentials.Users
            |> Array.map (fun struct (name, password) ->
                { Name = name
                  Md5 = Key.longTerm ciphers name config.Realm password
                  Sha256 = Key.longTermSha256 ciphers name config.Realm password })

        let by (key: UserKeys -> string) =
            (Trie.empty, users)
            ||> Array.fold (fun trie user -> Trie.set (key user) user trie)

        { ByName = by _.Name
          ByHash = by (fun user -> Convert.ToBase64String(Key.userHash ciphers user.Name config.Realm))
          Secrets = credentials.Secrets }

    let private keyOf (algorithm: uint16) (user: UserKeys) : byte[] =
        if algorithm = PasswordAlgorithm.Sha256 then
            user.Sha256
        else
            user.Md5

    let private text choose (request: Request) : string voption = Message.pick choose request.Message

    /// The name that USERNAME or USERHASH stands for; ValueNone where neither is there, empty where nobody has that hash.
    let private nameIn (request: Request) (s: TurnServerState) : string voption =
        match Message.username request.Message with
        | ValueSome name -> ValueSome name
        | ValueNone ->
            request.Message
            |> Message.pick (function
                | UserHash hash -> ValueSome hash
                | _ -> ValueNone)
            |> ValueOption.map (fun hash ->
                match Trie.tryFind (Convert.ToBase64String hash) s.Credentials.ByHash with
                | ValueSome user -> user.Name
                | ValueNone -> "")

    /// PASSWORD-ALGORITHM, by the rules of RFC 8489 §9.2.4; ValueNone: 400. Our nonces always have the bit.
    let private algorithmIn (request: Request) : uint16 voption =
        let listed =
            request.Message
            |> Message.pick (function
                | PasswordAlgorithms all -> ValueSome all
                | _ -> ValueNone)

        let chosen =
            request.Message
            |> Message.pick (function
                | Attribute.PasswordAlgorithm(algorithm, _) -> ValueSome algorithm
                | _ -> ValueNone)

        let isOurs (all: struct (uint16 * byte[])[]) =
            all.Length = PasswordAlgorithm.all.Length
            && Array.forall2
                (fun struct (a: uint16, parameters: byte[]) struct (b: uint16, _) -> a = b && parameters.Length = 0)
                all
                PasswordAlgorithm.all

        match listed, chosen with
        | ValueNone, ValueNone -> ValueSome PasswordAlgorithm.Md5
        | ValueSome all, ValueSome algorithm when
            isOurs all
            && (algorithm = PasswordAlgorithm.Md5 || algorithm = PasswordAlgorithm.Sha256)
            ->
            ValueSome algorithm
        | _ -> ValueNone

    /// The name that allocations of a REST username are counted for.
    let private userOf (username: string) : string =
        match RestCredentials.read username with
        | ValueSome(struct (_, "")) -> username
        | ValueSome(struct (_, name)) -> name
        | ValueNone -> username

    /// The allocation's client that a request is about: its own, and of a ConnectionBind the one that the connection belongs to.
    let private holderOf (request: Request) (s: TurnServerState) : Path =
        let connection =
            if request.Message.Method <> Method.ConnectionBind then
                ValueNone
            else
                request.Message
                |> Message.pick (function
                    | ConnectionId id -> ValueSome id
                    | _ -> ValueNone)
                |> ValueOption.bind (fun id -> Trie.tryFind id s.Held.Pending)
                |> ValueOption.bind (fun number -> Trie.tryFind number s.Held.Connections)

        match connection with
        | ValueSome connection -> connection.Owner
        | ValueNone -> request.Path

    /// Who might be asking: each with a key to try.
    let private candidates now (algorithm: uint16) (name: string) (request: Request) (s: TurnServerState) =
        let candidate user key : struct (string * byte[]) = struct (user, key)

        match Trie.tryFind (holderOf request s) s.Held.Flows with
        // The credentials that an allocation was made with are good for it until it ends, even when they expire.
        | ValueSome(Flow.Open { Caller = caller }) when caller.Username = name && caller.Algorithm = algorithm ->
            [ candidate caller.User caller.Key ]
        | _ ->
            match Trie.tryFind name s.Credentials.ByName with
            | ValueSome user -> [ candidate name (keyOf algorithm user) ]
            | ValueNone ->
                match RestCredentials.read name with
                // Milliseconds of clocks that do not agree are not worth a refusal: the second of the expiry counts in.
                | ValueSome(struct (expiry, _)) when (s.Config.Epoch + int64 now) / 1_000_000L <= expiry ->
                    s.Credentials.Secrets
                    |> Array.toList
                    |> List.choose (fun secret ->
                        let password = RestCredentials.password s.Config.Ciphers secret name

                        match PasswordAlgorithm.key s.Config.Ciphers algorithm name s.Config.Realm password with
                        | ValueSome key -> Some(candidate (userOf name) key)
                        | ValueNone -> None)
                | _ -> []

    /// 401 and 438 say what to try with.
    let private challenge code reason now (request: Request) (s: TurnServerState) =
        Answering.refuseWith
            code
            reason
            [| Realm s.Config.Realm
               Nonce(Nonces.make now request.Path s)
               PasswordAlgorithms PasswordAlgorithm.all |]
            request
            s

    /// Which protection the answers have: SHA-256 for who used it or chose an algorithm, else the older.
    let private protection (datagram: ReadOnlySpan<byte>) (request: Request) (key: byte[]) : Integrity =
        let choseOne =
            request.Message
            |> Message.pick (function
                | Attribute.PasswordAlgorithm _ -> ValueSome()
                | _ -> ValueNone)

        if choseOne.IsSome || Message.hasSha256 datagram then
            HmacSha256 key
        else
            HmacSha1 key

    /// Who asks; ValueNone with the answer that says what is wrong.
    let require
        (now: Instant)
        (datagram: ReadOnlySpan<byte>)
        (request: Request)
        (s: TurnServerState)
        : struct (Caller voption * Step<TurnServerState, TurnServerOutput>) =
        let refused step = struct (ValueNone, step)
        let ciphers = s.Config.Ciphers

        if not (Message.hasIntegrity datagram) then
            refused (challenge 401 "Unauthenticated" now request s)
        else
            let realm =
                request
                |> text (function
                    | Realm text -> ValueSome text
                    | _ -> ValueNone)

            let nonce =
                request
                |> text (function
                    | Nonce text -> ValueSome text
                    | _ -> ValueNone)

            match nameIn request s, realm, nonce, algorithmIn request with
            | ValueSome name, ValueSome _, ValueSome nonce, ValueSome algorithm ->
                let mutable found = ValueNone

                for struct (user, key) in candidates now algorithm name request s do
                    if found.IsNone then
                        match Message.verify ciphers (ReadOnlySpan key) datagram with
                        | Verification.Right -> found <- ValueSome(struct (user, key))
                        | Verification.Wrong
                        | Verification.Absent -> ()

                match found with
                | ValueNone -> refused (challenge 401 "Unauthenticated" now request s)
                | ValueSome _ when not (Nonces.isGood now request.Path nonce s) ->
                    refused (challenge 438 "Stale Nonce" now request s)
                | ValueSome(struct (user, key)) ->
                    struct (ValueSome
                                { Username = name
                                  User = user
                                  Algorithm = algorithm
                                  Key = key
                                  Integrity = protection datagram request key },
                            Step.only s)
            | _ ->
                refused (
                    Answering.refuse
                        400
                        "USERNAME, REALM, NONCE or PASSWORD-ALGORITHM is missing or does not fit"
                        request
                        s
                )
