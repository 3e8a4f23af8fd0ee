/// Whole handshakes and connections of DTLS 1.3 in virtual time, RFC 9147.
module Hybrid.WebRtc.PropertyTests.Dtls13.SessionTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let private exported (fin: End) =
    match fin.Connected with
    | ValueSome { SrtpKeys = ValueSome keys } ->
        Convert.ToHexString(Array.concat [ keys.ClientKey; keys.ServerKey; keys.ClientSalt; keys.ServerSalt ])
    | ValueSome _ -> "none"
    | ValueNone -> "not connected"

let private told (world: World) =
    String.Join(
        "; ",
        [ for side in [ Side.Client; Side.Server ] do
              let fin = get side world
              string side
              string fin.Fault
              String.Join(",", fin.Drops |> List.map string) ]
    )

let private expectConnected (world: World) =
    Expect.isTrue (bothConnected world) ("both connected: " + told world)
    Expect.equal (exported world.Client) (exported world.Server) "equal exported keys"
    Expect.notEqual (exported world.Client) "none" "keys"

/// Both say something, and hear it.
let private talk (world: World) : World =
    let before side = (get side world).Data.Length
    let client, server = before Side.Client, before Side.Server
    let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B

    let world =
        runUntil (world.Now + minute) (fun w -> w.Client.Data.Length > client && w.Server.Data.Length > server) world

    Expect.equal (List.head world.Server.Data) "ping"B "the server hears"
    Expect.equal (List.head world.Client.Data) "pong"B "the client hears"
    world

let private fair (client: DtlsConfig) (server: DtlsConfig) =
    handshake Weather.fair 1L (client, P256) (server, P256)

let private octets (fin: End) = fin.Sent |> List.sumBy Array.length

let private agreement =
    testList
        "agreement"
        [ testCase "fair weather: one round trip and a half, the hybrid group, and keys that are alike" (fun () ->
              let world = fair (both P256) (both P256)
              expectConnected world
              Expect.equal world.Client.ConnectedAt (Duration.milliseconds 20L) "the client after two flights"
              Expect.equal world.Server.ConnectedAt (Duration.milliseconds 30L) "the server after three"
              Expect.isEmpty world.Client.Drops "nothing ignored"
              Expect.isEmpty world.Server.Drops "nothing ignored"

              for fin in [ world.Client; world.Server ] do
                  let c = fin.Connected.Value
                  Expect.equal c.Version "DTLS 1.3" "version"
                  Expect.equal c.SuiteName "TLS_AES_128_GCM_SHA256" "suite"
                  Expect.equal c.Group NamedGroup.X25519MLKEM768 "group"
                  Expect.equal c.SrtpProfile (ValueSome SrtpProfile.AeadAes256Gcm) "profile"
                  Expect.equal c.RemoteCertificates [| (certificate P256).Der |] "certificate"

              // A hello of two datagrams, a flight of two, a flight of one, and its ACK.
              let world = talk world
              Expect.hasLength world.Client.Sent 4 "the client's datagrams"
              Expect.hasLength world.Server.Sent 4 "the server's datagrams") ]

let tests = testList "DTLS 1.3 sessions" [ agreement ]
