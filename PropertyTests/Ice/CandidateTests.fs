module Hybrid.WebRtc.PropertyTests.Ice.CandidateTests

open System
open System.Text.Json
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests

/// The candidate lines of a fixture: an array of RTCIceCandidateInit, with null for the end.
let private lines (file: string) : string list =
    use document = JsonDocument.Parse(Fixtures.read file)

    [ for entry in document.RootElement.EnumerateArray() do
          if entry.ValueKind = JsonValueKind.Object then
              match entry.GetProperty("candidate").GetString() with
              | null
              | "" -> ()
              | line -> line ]

let private parsed (line: string) : Candidate =
    match Candidate.parse line with
    | ValueSome candidate -> candidate
    | ValueNone -> failtest ("reads: " + line)

let private genHost: Gen<CandidateHost> =
    Gen.oneof
        [ Gen.map2
              (fun (high: uint64) low -> CandidateHost.Ip { High = high ||| 1UL; Low = low })
              (ArbMap.generate ArbMap.defaults)
              (ArbMap.generate ArbMap.defaults)
          Gen.map
              (fun (n: uint32) -> CandidateHost.Ip(Address.v4 (byte n) (byte (n >>> 8)) (byte (n >>> 16)) 1uy))
              (ArbMap.generate ArbMap.defaults)
          Gen.elements
              [ CandidateHost.Name "b4880a91-64f5-44c7-966e-4b6d6f9d5292.local"
                CandidateHost.Name "example.org" ] ]

let private genCandidate: Gen<Candidate> =
    gen {
        let! foundation = Gen.elements [ "1"; "abc+/9"; "3547894360" ]
        let! number = Gen.choose (1, 255)

        let! transport =
            Gen.elements
                [ CandidateTransport.Udp
                  CandidateTransport.Tcp TcpType.Active
                  CandidateTransport.Tcp TcpType.Passive
                  CandidateTransport.Tcp TcpType.SimultaneousOpen
                  CandidateTransport.OtherTransport "sctp" ]

        let! priority = ArbMap.defaults |> ArbMap.generate<uint32>
        let! host = genHost
        let! port = ArbMap.defaults |> ArbMap.generate<uint16>

        let! kind =
            Gen.elements
                [ CandidateType.Host
                  CandidateType.ServerReflexive
                  CandidateType.PeerReflexive
                  CandidateType.Relayed ]

        let! related =
            Gen.oneof
                [ Gen.constant ValueNone
                  Gen.map2
                      (fun host port -> ValueSome { Host = host; Port = port })
                      genHost
                      (ArbMap.generate ArbMap.defaults) ]

        let! extensions =
            Gen.elements
                [ [||]
                  [| struct ("generation", "0"); struct ("ufrag", "vbHp") |]
                  [| struct ("network-id", "2")
                     struct ("network-cost", "999")
                     struct ("x-more", "y") |] ]

        return
            { Foundation = foundation
              Component = number
              Transport = transport
              Priority = priority
              Host = host
              Port = port
              Type = kind
              Related = related
              Extensions = extensions }
    }

let tests =
    testList
        "Candidate"
        [ testCase "every candidate of both browsers reads, and prints as it was" (fun () ->
              let mutable count = 0

              for file in Fixtures.list "ice" "candidates.json" do
                  for line in lines file do
                      count <- count + 1
                      // Firefox writes the transport in capitals; RFC 8839 §5.1 does not care.
                      Expect.equal
                          (Candidate.toText (parsed line))
                          (line.Replace(" UDP ", " udp ").Replace(" TCP ", " tcp "))
                          file

              Expect.isGreaterThan count 20 "fixtures are there")

          testCase "a candidate of Chromium has its parts" (fun () ->
              let c =
                  parsed
                      "a=candidate:1052353102 1 tcp 1509957375 192.168.1.7 9 typ srflx raddr 10.0.0.1 rport 9 tcptype active generation 0 ufrag x1Yz network-id 1"

              Expect.equal c.Type CandidateType.ServerReflexive "type"
              Expect.equal c.Transport (CandidateTransport.Tcp TcpType.Active) "transport"
              Expect.equal (Candidate.usernameFragment c) (ValueSome "x1Yz") "fragment"
              Expect.equal c.Priority 1509957375u "priority"

              Expect.equal
                  c.Related
                  (ValueSome
                      { Host = CandidateHost.Ip(Address.v4 10uy 0uy 0uy 1uy)
                        Port = 9us })
                  "related")

          testCase "what does not follow the grammar is refused" (fun () ->
              for line in
                  [ ""
                    "candidate:"
                    "candidate:1 1 udp 1 192.0.2.1 1 typ"
                    "candidate:1 0 udp 1 192.0.2.1 1 typ host"
                    "candidate:1 1 udp 4294967296 192.0.2.1 1 typ host"
                    "candidate:1 1 udp 1 192.0.2.1 65536 typ host"
                    "candidate:1 1 udp 1 a/b 1 typ host"
                    "candidate:1 1 udp 1 192.0.2.1 1 typ other"
                    "candidate:1 1 udp 1 192.0.2.1 1 tip host"
                    "candidate:!! 1 udp 1 192.0.2.1 1 typ host"
                    "candidate:1 1 udp 1 192.0.2.1 -1 typ host" ] do
                  Expect.isTrue (Candidate.parse line).IsNone line)

          testPropertyWithConfig Laws.config "parse (toText candidate) = candidate"
          <| Prop.forAll (Arb.fromGen genCandidate) (fun c -> parsed (Candidate.toText c) = c)

          testPropertyWithConfig Laws.config "any text ends without throwing"
          <| fun (text: string | null) ->
              match text with
              | null -> true
              | text ->
                  Candidate.parse text |> ignore
                  Candidate.parse ("candidate:1 1 udp 1 192.0.2.1 1 typ host " + text) |> ignore
                  true

          testCase "priorities are RFC 8445 §5.1.2.1's" (fun () ->
              Expect.equal (Candidate.priority CandidateType.Host 65535us 1) 2130706431u "host"
              Expect.equal (Candidate.priority CandidateType.Relayed 65535us 1) 16777215u "relay"
              // Browsers' own: local preference 32542.
              Expect.equal (Candidate.priority CandidateType.Host 32542us 1) 2122260223u "Chromium's") ]
