namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core

/// Addresses that begin with the same bits: `10.0.0.0/8`, `fc00::/7`.
[<Struct; NoComparison>]
type Prefix =
    internal
        {
            Base: Address
            /// Of the 128 that an `Address` has; an IPv4 prefix counts the 96 in front of it.
            Bits: int
        }

/// Prefixes of addresses.
[<RequireQualifiedAccess>]
module Prefix =
    let private maskOf (bits: int) : struct (uint64 * uint64) =
        let ones n =
            if n <= 0 then 0UL
            elif n >= 64 then UInt64.MaxValue
            else UInt64.MaxValue <<< (64 - n)

        struct (ones bits, ones (bits - 64))

    /// Whether an address begins with it. No IPv4 address is within an IPv6 prefix of fewer than 97 bits.
    let contains (address: Address) (prefix: Prefix) : bool =
        let struct (high, low) = maskOf prefix.Bits

        (address.High &&& high) = (prefix.Base.High &&& high)
        && (address.Low &&& low) = (prefix.Base.Low &&& low)
        && address.IsV4 = prefix.Base.IsV4

    /// Of `10.0.0.0/8`, `fc00::/7`, or an address, which is a prefix of its own; ValueNone for anything else.
    [<CompiledName "Parse">]
    let parse (text: string) : Prefix voption =
        let slash = text.IndexOf '/'
        let mutable bits = 0

        match Address.parse (if slash < 0 then text else text.Substring(0, slash)) with
        | ValueNone -> ValueNone
        | ValueSome address ->
            let width = if address.IsV4 then 32 else 128

            if slash < 0 then
                ValueSome { Base = address; Bits = 128 }
            elif
                Int32.TryParse(
                    text.AsSpan(slash + 1),
                    Globalization.NumberStyles.None,
                    Globalization.CultureInfo.InvariantCulture,
                    &bits
                )
                && bits <= width
            then
                ValueSome
                    { Base = address
                      Bits = 128 - width + bits }
            else
                ValueNone

    /// As `parse` reads it.
    [<CompiledName "ToText">]
    let toText (prefix: Prefix) : string =
        let bits = if prefix.Base.IsV4 then prefix.Bits - 96 else prefix.Bits

        Address.toText prefix.Base
        + "/"
        + bits.ToString Globalization.CultureInfo.InvariantCulture

    let internal ofText (text: string) : Prefix =
        match parse text with
        | ValueSome prefix -> prefix
        | ValueNone ->
            { Base = { High = 0UL; Low = 0UL }
              Bits = 128 }

/// Which peers clients may exchange data with by the server, RFC 8656 §21.2.1: a relay that reaches what its operator's network
/// hides is a way into that network.
[<NoComparison; NoEquality>]
type PeerFilter =
    {
        /// Let through, whatever `Denied` says.
        Allowed: Prefix[]
        Denied: Prefix[]
    }

/// Deciding over peers.
[<RequireQualifiedAccess>]
module PeerFilter =
    let private prefixes = Array.map Prefix.ofText

    /// This host: RFC 1122 §3.2.1.3, RFC 4291 §2.5.
    [<CompiledName "Loopback">]
    let loopback = prefixes [| "127.0.0.0/8"; "::1" |]

    /// RFC 1918, RFC 6598, RFC 4193, RFC 3879.
    [<CompiledName "PrivateUse">]
    let privateUse =
        prefixes
            [| "10.0.0.0/8"
               "172.16.0.0/12"
               "192.168.0.0/16"
               "100.64.0.0/10"
               "fc00::/7"
               "fec0::/10" |]

    /// RFC 3927, RFC 4291 §2.5.6.
    [<CompiledName "LinkLocal">]
    let linkLocal = prefixes [| "169.254.0.0/16"; "fe80::/10" |]

    /// RFC 5771, RFC 4291 §2.7.
    [<CompiledName "Multicast">]
    let multicast = prefixes [| "224.0.0.0/4"; "ff00::/8" |]

    /// Addresses of no host: "this network", RFC 6890's reserved ones and broadcast.
    [<CompiledName "Reserved">]
    let reserved = prefixes [| "0.0.0.0/8"; "192.0.0.0/24"; "240.0.0.0/4"; "::" |]

    /// The standard: all of the above are denied.
    [<CompiledName "Standard">]
    let standard: PeerFilter =
        { Allowed = Array.Empty()
          Denied = Array.concat [ loopback; privateUse; linkLocal; multicast; reserved ] }

    let private within (address: Address) (prefixes: Prefix[]) =
        let mutable found = false
        let mutable i = 0

        while not found && i < prefixes.Length do
            found <- Prefix.contains address prefixes[i]
            i <- i + 1

        found

    let private v4Of (low: uint64) : Address =
        { High = 0UL
          Low = 0xffff00000000UL ||| (low &&& 0xffffffffUL) }

    /// The IPv4 address that a translator would send to in place of an IPv6 one: NAT64 (64:ff9b::/96, RFC 6052 §2.1), 6to4
    /// (2002::/16, RFC 3056 §2), IPv4-compatible (RFC 4291 §2.5.5.1). Else the address itself.
    let private embedded (a: Address) : Address =
        if a.IsV4 then
            a
        elif a.High = 0x0064ff9b00000000UL && (a.Low >>> 32) = 0UL then
            v4Of a.Low
        elif (a.High >>> 48) = 0x2002UL then
            v4Of (a.High >>> 16)
        elif a.High = 0UL && (a.Low >>> 32) = 0UL && a.Low > 1UL then
            v4Of a.Low
        else
            a

    /// Whether clients may reach this address.
    [<CompiledName "Allows">]
    let allows (filter: PeerFilter) (address: Address) : bool =
        within address filter.Allowed
        || not (within address filter.Denied || within (embedded address) filter.Denied)
