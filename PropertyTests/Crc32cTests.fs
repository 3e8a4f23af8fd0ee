/// CRC32c in three streams against its definition, one bit at a time.
module Hybrid.WebRtc.PropertyTests.Crc32cTests

open System
open Expecto
open Hybrid.WebRtc.Core

/// RFC 3720 §12.1: the polynomial 1edc6f41, reflected.
let private byBits (crc: uint32) (bytes: byte[]) : uint32 =
    let mutable crc = crc

    for b in bytes do
        crc <- crc ^^^ uint32 b

        for _ in 1..8 do
            crc <-
                if crc &&& 1u = 1u then
                    (crc >>> 1) ^^^ 0x82f63b78u
                else
                    crc >>> 1

    crc

let private random (seed: int) (size: int) =
    let bytes = Array.zeroCreate<byte> size
    Random(seed).NextBytes bytes
    bytes

let tests =
    testList
        "Crc32c"
        [ testCase "the vectors of RFC 3720 §B.4" (fun () ->
              let read =
                  Convert.FromHexString(
                      "01c00000000000000000000000000000"
                      + "14000000000004000000001400000018"
                      + "28000000000000000200000000000000"
                  )

              for name, bytes, expected in
                  [ "zeros", Array.zeroCreate 32, 0x8a9136aau
                    "ones", Array.create 32 0xffuy, 0x62a8ab43u
                    "ascending", Array.init 32 byte, 0x46dd794eu
                    "descending", Array.init 32 (fun i -> byte (31 - i)), 0x113fdb5cu
                    "an iSCSI read command", read, 0xd9963a56u ] do
                  Expect.equal (~~~(Crc32c.add UInt32.MaxValue (ReadOnlySpan bytes))) expected name)

          testCase
              "every length from 0 to 2,000, and on past three whole blocks: as bit by bit, and as serially"
              (fun () ->
                  for size in Seq.append [ 0..2000 ] [ 4607..4612 ] do
                      let bytes = random size size
                      let from = uint32 (size * 0x9e3779b1)
                      let expected = byBits from bytes
                      Expect.equal (Crc32c.add from (ReadOnlySpan bytes)) expected $"{size} octets"
                      Expect.equal (Crc32c.serial from (ReadOnlySpan bytes)) expected $"{size} octets, serially")

          testCase "one octet set, anywhere: each stream is moved past just what follows it" (fun () ->
              let bytes = Array.zeroCreate<byte> 1600

              for at in 0 .. bytes.Length - 1 do
                  bytes[at] <- 0x80uy
                  let expected = byBits 0u bytes[at..]
                  Expect.equal (Crc32c.add 0u (ReadOnlySpan bytes)) expected $"octet {at}"
                  bytes[at] <- 0uy)

          testCase "carried on at any place, at any alignment" (fun () ->
              let bytes = random 1 1500
              let expected = byBits UInt32.MaxValue bytes

              for at in 0 .. bytes.Length do
                  let first = Crc32c.add UInt32.MaxValue (ReadOnlySpan(bytes, 0, at))
                  Expect.equal (Crc32c.add first (ReadOnlySpan(bytes, at, bytes.Length - at))) expected $"cut at {at}")

          testCase "nothing is allocated" (fun () ->
              let bytes = random 2 1160
              Crc32c.add 0u (ReadOnlySpan bytes) |> ignore
              let before = GC.GetAllocatedBytesForCurrentThread()
              let mutable crc = 0u

              for _ in 1..100 do
                  crc <- Crc32c.add crc (ReadOnlySpan bytes)

              let allocated = GC.GetAllocatedBytesForCurrentThread() - before
              Expect.equal allocated 0L $"octets (the checksum is {crc})") ]
