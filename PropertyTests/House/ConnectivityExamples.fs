/// The examples about connectivity.
module Hybrid.WebRtc.PropertyTests.House.ConnectivityExamples

open System
open System.Net
open System.Net.Sockets
open System.Text.RegularExpressions
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

/// A STUN Binding request without attributes, RFC 8489 §5.
let private bindingRequest: byte[] =
    Convert.FromHexString "000100002112a442b7e7a701bc34d686fa87dfae"

let tests =
    testSequenced
    <| testList
        "the examples about connectivity"
        [ Outside.needing (Examples.built "Examples/TurnServer") "TurnServer serves until it is stopped" (fun program ->
              task {
                  use server =
                      Examples.converse program [ "--port"; "0"; "--tls-port"; "0"; "--relay-ports"; "50000-50999" ]

                  let! guest = Examples.await server "user: guest, password: ([0-9a-f]{16})$"
                  Expect.isTrue guest.Success "there is always a password"
                  let! udp = Examples.await server @"listening: turn:127\.0\.0\.1:(\d+)$"
                  let! _ = Examples.await server @"listening: turn:127\.0\.0\.1:\d+\?transport=tcp$"
                  let! _ = Examples.await server @"listening: turns:127\.0\.0\.1:\d+\?transport=tcp$"
                  use client = new UdpClient(IPEndPoint(IPAddress.Loopback, 0))
                  client.Client.ReceiveTimeout <- int (1_000.0 * Outside.Patience)
                  let there = IPEndPoint(IPAddress.Loopback, int udp.Groups[1].Value)
                  client.Send(bindingRequest, bindingRequest.Length, there) |> ignore
                  let mutable from = IPEndPoint(IPAddress.Any, 0)
                  let answer = client.Receive &from
                  Expect.equal answer[0..1] [| 1uy; 1uy |] "a Binding success"
              })

          Outside.needing
              (Examples.built "Examples/TurnServer")
              "TurnServer makes credentials that its like accept"
              (fun program ->
                  task {
                      let! struct (code, output) =
                          Examples.run
                              Outside.Patience
                              program
                              [ "credential"; "--secret"; "north"; "--name"; "alice"; "--hours"; "1" ]

                      Expect.equal code 0 output
                      let username = Regex.Match(output, @"username: +(\d+:alice)")
                      Expect.isTrue username.Success output

                      Expect.stringContains
                          output
                          (Convert.ToBase64String(
                              Security.Cryptography.HMACSHA1.HashData(
                                  "north"B,
                                  Text.Encoding.UTF8.GetBytes username.Groups[1].Value
                              )
                          ))
                          "the password"
                  })

          Outside.needing
              (Examples.built "Examples/TurnServer"
               |> fun server () ->
                   Result.bind
                       (fun server -> Examples.built "Examples/Doctor" () |> Result.map (fun doctor -> server, doctor))
                       (server ()))
              "Doctor says what works and why the rest does not"
              (fun (serving, program) ->
                  task {
                      use server =
                          Examples.converse
                              serving
                              [ "--port"
                                "0"
                                "--tls-port"
                                "0"
                                "--user"
                                "alice:wonderland"
                                "--relay-ports"
                                "50000-50999" ]

                      let! udp = Examples.await server @"listening: turn:127\.0\.0\.1:(\d+)$"

                      let! tcp =
                          Examples.await server @"listening: (turn:127\.0\.0\.1:\d+\?transport=tcp)$"

                      let! tls =
                          Examples.await server @"listening: (turns:127\.0\.0\.1:\d+\?transport=tcp)$"

                      let port = udp.Groups[1].Value

                      let doctor password more =
                          Examples.run
                              Outside.Patience
                              program
                              ([ "--stun"
                                 $"stun:127.0.0.1:{port}"
                                 "--turn"
                                 $"turn:127.0.0.1:{port}"
                                 "--turn"
                                 tcp.Groups[1].Value
                                 "--turn"
                                 tls.Groups[1].Value
                                 "--username"
                                 "alice"
                                 "--credential"
                                 password
                                 "--loopback" ]
                               @ more)

                      let! struct (code, output) = doctor "wonderland" [ "--json"; "--any-certificate" ]
                      Expect.equal code 0 output
                      use json = Text.Json.JsonDocument.Parse output
                      let root = json.RootElement
                      let nat = root.GetProperty("nats")[0]
                      Expect.equal (nat.GetProperty("mapping").GetString()) "none" "no NAT on loopback"

                      for i in 0..2 do
                          let relay = root.GetProperty("relays")[i]

                          Expect.isGreaterThan
                              (relay.GetProperty("roundTripMilliseconds").GetDouble())
                              0.0
                              "a round trip by each"

                      // Nobody listens on port 9, and a certificate that nobody has signed is refused.
                      let! struct (code, output) =
                          doctor "wrong" [ "--stun"; "stun:127.0.0.1:9"; "--seconds"; "10" ]

                      let said = Regex.Replace(output, @"\s+", " ")
                      Expect.equal code 0 output
                      Expect.stringContains said "refuses the name or password (401)" "the password"
                      Expect.stringContains said "certificate" "the certificate"
                      Expect.stringContains said "stun:127.0.0.1:9 (127.0.0.1:9): no answer." "who is silent"
                      Expect.stringContains said "Works with most peers" "the verdict"

                      let! struct (code, output) =
                          Examples.run Outside.Patience program [ "--stun"; "stun:127.0.0.1:9"; "--loopback" ]

                      Expect.equal code 1 output
                      Expect.stringContains output "Does not work" "the verdict"

                      let! struct (code, output) =
                          Examples.run Outside.Patience program [ "--stun"; "turn:127.0.0.1" ]

                      Expect.equal code 2 output
                      Expect.stringContains output "SyntaxError" "what is wrong"
                  })

          Outside.needing
              (Examples.built "Examples/TurnServer")
              "TurnServer says what is wrong, and exits with 1"
              (fun program ->
                  task {
                      for arguments, said in
                          [ [ "--user"; "alice" ], "name:password"
                            [ "credential" ], "--secret"
                            [ "--port"; "0"; "--address"; "192.0.2.77" ], "192.0.2.77" ] do
                          let! struct (code, output) = Examples.run Outside.Patience program arguments
                          Expect.equal code 1 output
                          Expect.stringContains output said "what it prints"
                  }) ]
