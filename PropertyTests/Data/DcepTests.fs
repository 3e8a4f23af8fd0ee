module Hybrid.WebRtc.PropertyTests.DcepTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core

let private anyOpen =
    gen {
        let! ordered = ArbMap.defaults |> ArbMap.generate<bool>
        let! number = ArbMap.defaults |> ArbMap.generate<uint32>

        let reliabilities =
            [ Reliable
              MaxRetransmits(int (number >>> 1))
              MaxLifetime(Duration.milliseconds (int64 number)) ]

        let! reliability = Gen.elements reliabilities
        let! priority = ArbMap.defaults |> ArbMap.generate<uint16>
        let! label = Gen.elements [ ""; "chat"; "ä€𝄞"; String('x', 65_535) ]
        let! protocol = Gen.elements [ ""; "soap"; "日本語" ]

        return
            Dcep.Open
                { Ordered = ordered
                  Reliability = reliability
                  Priority = priority
                  Label = label
                  Protocol = protocol }
    }

let private sample =
    Dcep.write (
        Dcep.Open
            { Ordered = false
              Reliability = MaxRetransmits 3
              Priority = 256us
              Label = "label"
              Protocol = "proto" }
    )

let tests =
    testList
        "Dcep"
        [ testPropertyWithConfig Laws.config "read (write message) = message, and write fills exactly size"
          <| Prop.forAll (Arb.fromGen anyOpen) (fun message ->
              let bytes = Dcep.write message

              bytes.Length = Dcep.size message
              && Dcep.read (ReadOnlySpan bytes) = ValueSome message)

          testCase "an OPEN looks as RFC 8832 §5.1 draws it" (fun () ->
              let expected = Convert.FromHexString "0381010000000003000500056C6162656C70726F746F"
              Expect.sequenceEqual sample expected "unordered, at most 3 retransmissions, priority 256")

          testCase "an ACK is one octet" (fun () ->
              Expect.sequenceEqual (Dcep.write Ack) [| 2uy |] "written"
              Expect.equal (Dcep.read (ReadOnlySpan [| 2uy |])) (ValueSome Ack) "read")

          Laws.anyBytes "any bytes: read ends without throwing" (fun bytes ->
              match Dcep.read (ReadOnlySpan bytes) with
              | ValueSome message -> Dcep.size message > 0
              | ValueNone -> true)

          testCase "an OPEN that is cut short, or longer than it says, is refused" (fun () ->
              for length in 0 .. sample.Length - 1 do
                  Expect.equal (Dcep.read (ReadOnlySpan(sample, 0, length))) ValueNone "short"

              Expect.equal (Dcep.read (ReadOnlySpan(Array.append sample [| 0uy |]))) ValueNone "long") ]
