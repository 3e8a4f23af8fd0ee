namespace Hybrid.WebRtc.Core.Turn

open System
open System.Text
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// PASSWORD-ALGORITHMS' numbers, IANA "STUN Password Algorithms".
[<RequireQualifiedAccess>]
module PasswordAlgorithm =
    /// RFC 8489 §18.5.1.1.
    [<Literal>]
    let Md5 = 0x0001us

    /// RFC 8489 §18.5.1.2.
    [<Literal>]
    let Sha256 = 0x0002us

    /// What this library can do, best first; neither has parameters.
    let all: struct (uint16 * byte[])[] =
        [| struct (Sha256, Array.Empty()); struct (Md5, Array.Empty()) |]

    /// The HMAC key of a long-term credential by this algorithm; ValueNone where it is not known.
    let key (ciphers: ICiphers) algorithm (username: string) (realm: string) (password: string) : byte[] voption =
        match algorithm with
        | Md5 -> ValueSome(Key.longTerm ciphers username realm password)
        | Sha256 -> ValueSome(Key.longTermSha256 ciphers username realm password)
        | _ -> ValueNone

/// The 13 characters that a nonce may begin with, RFC 8489 §9.2: which features the server has, out of reach of whoever would
/// have the client believe in fewer.
[<Struct; NoComparison>]
type NonceFeatures =
    {
        /// Bit 0: the server has PASSWORD-ALGORITHMS.
        PasswordAlgorithms: bool
        /// Bit 1: USERHASH takes USERNAME's place.
        UsernameAnonymity: bool
    }

/// Nonce cookies.
[<RequireQualifiedAccess>]
module NonceFeatures =
    /// RFC 8489 §9.2.
    let private prefix = "obMatJos2"

    /// Characters of the cookie: 9, and 4 for 24 bits in base64.
    [<Literal>]
    let CookieSize = 13

    let none =
        { PasswordAlgorithms = false
          UsernameAnonymity = false }

    /// The features that a nonce tells of; `none` where it has no cookie.
    let ofNonce (nonce: string) : NonceFeatures =
        let bits: byte[] = Array.zeroCreate 3
        let mutable written = 0

        if
            nonce.Length >= CookieSize
            && nonce.StartsWith(prefix, StringComparison.Ordinal)
            && Convert.TryFromBase64Chars(nonce.AsSpan(9, 4), Span bits, &written)
            && written = 3
        then
            { PasswordAlgorithms = bits[0] &&& 0x80uy <> 0uy
              UsernameAnonymity = bits[0] &&& 0x40uy <> 0uy }
        else
            none

    /// The cookie that tells of these features.
    let cookie (features: NonceFeatures) : string =
        let first =
            (if features.PasswordAlgorithms then 0x80uy else 0uy)
            ||| (if features.UsernameAnonymity then 0x40uy else 0uy)

        prefix + Convert.ToBase64String [| first; 0uy; 0uy |]

/// Credentials that a web service hands out and a TURN server checks without asking anyone, draft-uberti-behave-turn-rest-00:
/// the two share a secret.
[<RequireQualifiedAccess>]
module RestCredentials =
    /// `expiry:name`: Unix seconds, and whom it is for; the name may be empty, and then there is no colon.
    [<CompiledName "Username">]
    let username (expiry: int64) (name: string) : string =
        let digits = expiry.ToString Globalization.CultureInfo.InvariantCulture

        if name = "" then
            digits
        else
            String.Concat(digits, ":", name)

    /// base64 of HMAC-SHA1 of the username under the secret, §2.2.
    [<CompiledName "Password">]
    let password (ciphers: ICiphers) (secret: string) (username: string) : string =
        Ciphers.hmac
            ciphers
            HashAlgorithm.Sha1
            (ReadOnlySpan(Encoding.UTF8.GetBytes secret))
            (ReadOnlySpan(Encoding.UTF8.GetBytes username))
        |> Convert.ToBase64String

    /// The Unix seconds and the name that a username is made of; ValueNone where it does not begin with digits alone.
    let read (username: string) : struct (int64 * string) voption =
        let colon = username.IndexOf ':'

        let digits =
            if colon < 0 then
                username.AsSpan()
            else
                username.AsSpan(0, colon)

        let mutable expiry = 0L

        if
            Int64.TryParse(digits, Globalization.NumberStyles.None, Globalization.CultureInfo.InvariantCulture, &expiry)
        then
            ValueSome(struct (expiry, if colon < 0 then "" else username.Substring(colon + 1)))
        else
            ValueNone
