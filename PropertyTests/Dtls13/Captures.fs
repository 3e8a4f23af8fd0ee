/// Handshakes of DTLS 1.3 that real browsers had, with their secrets: the first letter is who offered, Chromium or Firefox.
module Hybrid.WebRtc.PropertyTests.Dtls13.Captures

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests

/// A record as it was sent; `Plain` and `Sequence` where it was sealed.
type CapturedRecord =
    { From: char
      Epoch: int
      Sequence: uint64
      Type: byte
      Bytes: byte[]
      Plain: byte[] }

type internal Capture =
    { Name: string
      Suite: CipherSuite
      Secrets: IReadOnlyDictionary<string, string>
      Records: CapturedRecord list }

/// A handshake message, whole.
type CapturedMessage =
    { Type: byte
      Sequence: int
      Body: byte[] }

    /// As it goes into the transcript, RFC 9147 §5.2.
    member m.AsTls: byte[] =
        Array.concat
            [| [| m.Type
                  byte (m.Body.Length >>> 16)
                  byte (m.Body.Length >>> 8)
                  byte m.Body.Length |]
               m.Body |]

let private read (path: string) : Capture =
    use json = JsonDocument.Parse(Fixtures.read path)
    let root = json.RootElement

    let text (e: JsonElement) (name: string) =
        string (e.GetProperty(name).GetString())

    { Name = string (Path.GetFileNameWithoutExtension path)
      Suite = LanguagePrimitives.EnumOfValue(root.GetProperty("suite").GetInt32())
      Secrets =
        dict
            [ for secret in root.GetProperty("secrets").EnumerateObject() do
                  secret.Name, string (secret.Value.GetString()) ]
        |> Dictionary
      Records =
        [ for record in root.GetProperty("records").EnumerateArray() do
              let found, plain = record.TryGetProperty "plain"

              { From = (text record "from")[0]
                Epoch = record.GetProperty("epoch").GetInt32()
                Sequence =
                  (if found then
                       uint64 (record.GetProperty("seq").GetInt64())
                   else
                       0UL)
                Type = byte (record.GetProperty("type").GetInt32())
                Bytes = Convert.FromHexString(text record "record")
                Plain =
                  (if found then
                       Convert.FromHexString(string (plain.GetString()))
                   else
                       [||]) } ] }

let internal captures: Capture list =
    Fixtures.list "dtls13" ".json" |> List.map read

let internal schedule (capture: Capture) : KeySchedule =
    KeySchedule.create SystemCiphers.Shared capture.Suite

/// The handshake's messages in the order of the transcript: whole ones, each once.
let internal messages (capture: Capture) : CapturedMessage list =
    let number (bytes: byte[]) at count =
        Seq.fold (fun n i -> (n <<< 8) ||| int bytes[at + i]) 0 [ 0 .. count - 1 ]

    let rec fragments (from: char) (bytes: byte[]) =
        [ if bytes.Length > 0 then
              let length = number bytes 9 3
              yield struct (from, bytes[.. 11 + length])
              yield! fragments from bytes[12 + length ..] ]

    [ for record in capture.Records do
          if record.Type = 22uy then
              // In the clear the header tells the sender by the hello that it carries.
              let clear = record.Epoch = 0
              let body = if clear then record.Bytes[13..] else record.Plain

              let from =
                  if clear then
                      (if body[0] = 1uy then 'C' else 'S')
                  else
                      record.From

              yield! fragments from body ]
    |> List.groupBy (fun (struct (from, f)) -> from, number f 4 2)
    |> List.map (fun ((_, sequence), parts) ->
        let struct (_, first) = parts.Head
        let body: byte[] = Array.zeroCreate (number first 1 3)

        for struct (_, part) in parts do
            Array.blit part 12 body (number part 6 3) (number part 9 3)

        { Type = first[0]
          Sequence = sequence
          Body = body })
    // CertificateRequest, Certificate and so on keep the order in which they came; the client's are after all of the server's.
