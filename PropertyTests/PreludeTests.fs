module Hybrid.WebRtc.PropertyTests.PreludeTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let tests =
    testList
        "Prelude"
        [ testCase "ChaCha20's block is RFC 8439 §2.3.2's" (fun () ->
              let key = Array.init 32 byte
              let into = Array.zeroCreate 64
              Entropy.block key [| 1u; 0x09000000u; 0x4a000000u; 0u |] into

              let expected =
                  hex (
                      "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                      + "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
                  )

              Expect.sequenceEqual into expected "the block")

          testCase "a split stream is not its parent's, and not another name's" (fun () ->
              let parent = Entropy.ofNumber 1L

              let draw e =
                  let struct (b, _) = Entropy.bytes 16 e in b

              let ice = draw (Entropy.split "ice" parent)
              Expect.notEqual ice (draw parent) "parent"
              Expect.notEqual ice (draw (Entropy.split "dtls" parent)) "sibling"
              Expect.equal ice (draw (Entropy.split "ice" parent)) "the same story twice")

          testPropertyWithConfig Laws.config "below stays below"
          <| fun (seed: int64) (FsCheck.PositiveInt bound) ->
              let struct (n, _) = Entropy.below bound (Entropy.ofNumber seed)
              n >= 0 && n < bound

          testPropertyWithConfig Laws.config "parse (toText address) = address"
          <| fun (high: uint64) (low: uint64) (zeros: byte) ->
              // Masks make runs of zero words likely.
              let mask shift =
                  if int zeros &&& (1 <<< shift) <> 0 then
                      0xffff0000ffff0000UL
                  else
                      UInt64.MaxValue

              let address =
                  { High = high &&& mask 0
                    Low = low &&& mask 1 }

              Address.parse (Address.toText address) = ValueSome address

          testCase "addresses print as RFC 5952 has them" (fun () ->
              for text in
                  [ "192.0.2.1"
                    "::"
                    "::1"
                    "2001:db8::1"
                    "2001:db8::1:0:0:1"
                    "fe80::1"
                    "1:2:3:4:5:6:7:8"
                    "2001:db8:0:1:1:1:1:1" ] do
                  let read = Address.parse text
                  Expect.equal (read |> ValueOption.map Address.toText) (ValueSome text) text)

          testCase "malformed addresses are refused" (fun () ->
              for text in
                  [ ""
                    "1.2.3"
                    "1.2.3.256"
                    "1.2.3.4.5"
                    ":::"
                    "1::2::3"
                    "12345::"
                    "g::1"
                    "1:2:3"
                    "::1%eth0" ] do
                  Expect.equal (Address.parse text) ValueNone text)

          testPropertyWithConfig Laws.config "a reader past the end answers zeros and is not ok"
          <| fun (bytes: byte[]) ->
              let mutable reader = Reader(ReadOnlySpan bytes)
              reader.Skip bytes.Length
              let within = reader.Ok
              within && reader.UInt32() = 0u && not reader.Ok && reader.Byte() = 0uy

          testCase "a route keeps the order of outputs" (fun () ->
              let struct (state, outputs) =
                  Step.route (fun o s -> struct (s + 1, [ o; o * 10 ])) [ 1; 2; 3 ] 0

              Expect.equal state 3 "each output acted"
              Expect.equal outputs [ 1; 10; 2; 20; 3; 30 ] "in order") ]
