/// Values of the boundary's types, made from their shape: a union case or a field that is added later is tested at once.
[<RequireQualifiedAccess>]
module Hybrid.WebRtc.PropertyTests.Stack.Samples

open System
open System.Collections.Generic
open Microsoft.FSharp.Reflection
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.Core

/// Builds one value of a type, every option present, every array of one element. `leaf ()` numbers its leaves.
let rec private build (leaf: unit -> int) (shape: Type) : objnull =
    let generic =
        if shape.IsGenericType then
            shape.GetGenericTypeDefinition()
        else
            shape

    if shape = typeof<int> then
        box (leaf ())
    elif shape = typeof<int64> then
        box (int64 (leaf ()))
    elif shape = typeof<uint64> then
        box (uint64 (leaf ()))
    elif shape = typeof<uint16> then
        box (uint16 (leaf ()))
    elif shape = typeof<uint32> then
        box (uint32 (leaf ()))
    elif shape = typeof<float> then
        box (float (leaf ()))
    elif shape = typeof<int16> then
        box (int16 (leaf ()))
    elif shape = typeof<ExtensionMap> then
        box (ExtensionMap [| KeyValuePair(1 + leaf () % 2, "urn:test") |])
    elif shape = typeof<ReadOnlyMemory<RtpPacket>> then
        box (ReadOnlyMemory [| unbox<RtpPacket>(nonNull (build leaf typeof<RtpPacket>)) |])
    elif shape = typeof<Rtcp[]> then
        // As they are on the wire, where they have tests of their own.
        box [| PictureLossIndication(uint32 (leaf ()), uint32 (leaf ())) |]
    elif shape = typeof<TrackChange> then
        box (TrackAdded(leaf (), [| "stream" |]))
    elif shape = typeof<byte> then
        box (byte (leaf ()))
    elif shape = typeof<bool> then
        box (leaf () % 2 = 0)
    elif shape = typeof<string> then
        box ("text \uD800 " + string (leaf ()))
    elif shape = typeof<Candidate> then
        // Its line is what is written, and lines have tests of their own.
        box
            { Foundation = "f" + string (leaf ())
              Component = 1
              Transport = CandidateTransport.Udp
              Priority = uint32 (leaf ())
              Host = CandidateHost.Name("n" + string (leaf ()) + ".local")
              Port = uint16 (leaf ())
              Type = CandidateType.Host
              Related = ValueNone
              Extensions = [||] }
    elif shape.IsEnum then
        Enum.ToObject(shape, leaf ())
    elif shape = typeof<Memory<byte>> then
        box (Memory [| 7uy; byte (leaf ()) |])
    elif shape = typeof<ReadOnlyMemory<byte>> then
        box (ReadOnlyMemory [| 7uy; byte (leaf ()) |])
    elif shape.IsArray then
        let element = nonNull (shape.GetElementType())
        let values = Array.CreateInstance(element, 1)
        values.SetValue(build leaf element, 0)
        box values
    elif generic = typedefof<ValueOption<_>> then
        let some =
            FSharpType.GetUnionCases shape |> Array.find (fun c -> c.Name = "ValueSome")

        FSharpValue.MakeUnion(some, [| build leaf (some.GetFields()[0]).PropertyType |])
    elif FSharpType.IsTuple shape then
        FSharpValue.MakeTuple([| for element in FSharpType.GetTupleElements shape -> build leaf element |], shape)
    elif FSharpType.IsRecord shape then
        FSharpValue.MakeRecord(
            shape,
            [| for field in FSharpType.GetRecordFields shape -> build leaf field.PropertyType |]
        )
    else
        invalidOp ("no sample of " + shape.FullName)

/// Every case of a union, each once with all leaves 1, and once for each leaf with that one 2.
let cases<'union> () : (string * 'union list) list =
    [ for case in FSharpType.GetUnionCases typeof<'union> ->
          let make (odd: int) =
              let mutable count = 0

              let leaf () =
                  count <- count + 1
                  if count = odd then 2 else 1

              let fields = [| for field in case.GetFields() -> build leaf field.PropertyType |]
              struct (unbox<'union>(nonNull (FSharpValue.MakeUnion(case, fields))), count)

          let struct (plain, leaves) = make 0

          case.Name,
          plain
          :: [ for odd in 1..leaves ->
                   let struct (value, _) = make odd
                   value ] ]
