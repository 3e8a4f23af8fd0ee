module Hybrid.WebRtc.PropertyTests.SerialTests

open Expecto
open FsCheck
open Hybrid.WebRtc.Core

let tests =
    testList
        "Serial"
        [ testPropertyWithConfig Laws.config "unwrap near a number undoes wrap, as far as 2³¹ away"
          <| fun (near: uint32) (offset: int) ->
              let near = Tsn.first (Tsn near)
              let unwrapped = near + int64 offset
              Tsn.unwrap near (Tsn.wrap unwrapped) = unwrapped

          testPropertyWithConfig Laws.config "isAfter says what the distance says, and never both ways"
          <| fun (a: uint32) (step: int) ->
              let b = Tsn(a + uint32 step)

              Tsn.isAfter (Tsn a) b = (step > 0)
              && not (Tsn.isAfter (Tsn a) b && Tsn.isAfter b (Tsn a))

          testPropertyWithConfig Laws.config "an SSN is ahead of another by the steps of next between them"
          <| fun (a: uint16) (steps: byte) ->
              let b = List.fold (fun s _ -> Ssn.next s) (Ssn a) [ 1 .. int steps ]
              Ssn.ahead (Ssn a) b = int steps && (Ssn.isAfter (Ssn a) b = (steps > 0uy))

          testCase "the numbers wrap where RFC 9260 has them wrap" (fun () ->
              Expect.equal (Tsn.value (Tsn.next (Tsn 0xffffffffu))) 0u "TSN, §1.6"
              Expect.equal (Ssn.value (Ssn.next (Ssn 0xffffus))) 0us "SSN, §6.5") ]
