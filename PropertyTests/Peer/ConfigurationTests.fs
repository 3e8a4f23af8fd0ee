module Hybrid.WebRtc.PropertyTests.ConfigurationTests

open Expecto
open Hybrid.WebRtc.Core

let private server urls =
    { Urls = urls
      Username = ValueNone
      Credential = ValueNone }

let private withServer server =
    { Configurations.defaults with
        IceServers = [| server |] }

let private name (mistake: Mistake voption) =
    mistake |> ValueOption.map (fun m -> m.Name)

let tests =
    testList
        "Configuration"
        [ testCase "URLs of RFC 7064 and RFC 7065 parse to host, port and transport" (fun () ->
              let cases =
                  [ "stun:example.org", (false, ServerTransport.Udp, "example.org", 3478us)
                    "STUN:example.org:19302", (false, ServerTransport.Udp, "example.org", 19302us)
                    "stuns:192.0.2.1", (false, ServerTransport.Tls, "192.0.2.1", 5349us)
                    "turn:[2001:db8::1]:3479?transport=tcp", (true, ServerTransport.Tcp, "2001:db8::1", 3479us)
                    "turn:a.b?transport=udp", (true, ServerTransport.Udp, "a.b", 3478us)
                    "turns:a.b", (true, ServerTransport.Tls, "a.b", 5349us) ]

              for text, expected in cases do
                  let parsed =
                      ServerUrl.parse text
                      |> ValueOption.map (fun u -> u.IsTurn, u.Transport, u.Host, u.Port)

                  Expect.equal parsed (ValueSome expected) text)

          testCase "a lite agent cannot have relays alone" (fun () ->
              let relays =
                  { Configurations.defaults with
                      IceTransportPolicy = IceTransportPolicy.Relay }

              Expect.equal (name (Configurations.check true relays)) (ValueSome ErrorName.NotSupportedError) "lite"
              Expect.equal (name (Configurations.check false relays)) ValueNone "full"
              Expect.equal (name (Configurations.check true Configurations.defaults)) ValueNone "lite, of all")

          testCase "other texts are SyntaxErrors, a TURN server without credentials an InvalidAccessError" (fun () ->
              for text in
                  [ ""
                    "stun"
                    "stun:"
                    "http:a.b"
                    "stun:a.b?transport=udp"
                    "turn:a.b?transport=sctp"
                    "stun:a b"
                    "stun:a.b:0"
                    "stun:a.b:70000"
                    "stun:[::1"
                    "stun:[1.2.3.4]"
                    "stun://a.b" ] do
                  Expect.equal
                      (name (Configurations.check false (withServer (server [| text |]))))
                      (ValueSome ErrorName.SyntaxError)
                      text

              Expect.equal
                  (name (Configurations.check false (withServer (server [||]))))
                  (ValueSome ErrorName.SyntaxError)
                  "no URL"

              Expect.equal
                  (name (Configurations.check false (withServer (server [| "turn:a.b" |]))))
                  (ValueSome ErrorName.InvalidAccessError)
                  "no credentials"

              Expect.equal
                  (Configurations.check
                      false
                      (withServer
                          { server [| "turn:a.b"; "stun:a.b" |] with
                              Username = ValueSome "u"
                              Credential = ValueSome "c" }))
                  ValueNone
                  "complete")

          testCase
              "setConfiguration refuses what a constructor would, and what nobody may change; else it answers"
              (fun () ->
                  let world = World.create Weather.fair 1L
                  let present = World.config.Configuration

                  let answer next =
                      match World.ask 'a' (fun c -> SetConfiguration(c, next)) world with
                      | _, Ok _ -> ValueNone
                      | _, Error mistake -> ValueSome mistake.Name

                  let cases =
                      [ { present with
                            IceServers = [| server [| "http:a.b" |] |] },
                        ValueSome ErrorName.SyntaxError
                        { present with
                            BundlePolicy = BundlePolicy.MaxBundle },
                        ValueSome ErrorName.InvalidModificationError
                        { present with
                            Certificates = [| "other" |] },
                        ValueSome ErrorName.InvalidModificationError
                        { present with
                            IceCandidatePoolSize = 1 },
                        ValueNone
                        { present with
                            IceTransportPolicy = IceTransportPolicy.Relay },
                        ValueNone
                        { present with
                            IceServers = [| server [| "stun:a.b" |] |] },
                        ValueNone ]

                  for next, expected in cases do
                      Expect.equal (answer next) expected (string expected)) ]
