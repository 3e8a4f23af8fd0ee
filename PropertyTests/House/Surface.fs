/// The core's public surface as text, compared with Core.api.txt: a change of it is seen in review, never by accident.
module Hybrid.WebRtc.PropertyTests.House.Surface

open System
open System.IO
open System.Reflection
open System.Runtime.CompilerServices
open Expecto
open FSharp.Reflection
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests

let private everything =
    BindingFlags.Public
    ||| BindingFlags.Instance
    ||| BindingFlags.Static
    ||| BindingFlags.DeclaredOnly

let private keywords =
    dict
        [ typeof<bool>, "bool"
          typeof<byte>, "byte"
          typeof<uint16>, "uint16"
          typeof<uint32>, "uint32"
          typeof<uint64>, "uint64"
          typeof<int16>, "int16"
          typeof<int>, "int"
          typeof<int64>, "int64"
          typeof<float>, "float"
          typeof<string>, "string"
          typeof<obj>, "obj"
          typeof<unit>, "unit"
          typeof<Void>, "unit" ]

/// A type as F# would write it, without namespaces.
let rec private written (t: Type) : string =
    let bare (name: string) = name.Split('`')[0]

    let arguments () =
        t.GetGenericArguments() |> Array.map written |> String.concat ", "

    if keywords.ContainsKey t then
        keywords[t]
    elif t.IsGenericParameter then
        "'" + t.Name
    elif t.IsByRef then
        "byref<" + written (nonNull (t.GetElementType())) + ">"
    elif t.IsArray then
        written (nonNull (t.GetElementType())) + "[]"
    elif FSharpType.IsTuple t then
        let parts =
            FSharpType.GetTupleElements t |> Array.map written |> String.concat " * "

        if t.IsValueType then $"struct ({parts})" else $"({parts})"
    elif FSharpType.IsFunction t then
        let from, into = FSharpType.GetFunctionElements t
        $"({written from} -> {written into})"
    else
        let name =
            match t.DeclaringType with
            | null -> bare t.Name
            | outer -> bare outer.Name + "." + bare t.Name

        if t.IsGenericType then $"{name}<{arguments ()}>" else name

let private isGenerated (m: MemberInfo) =
    m.IsDefined(typeof<CompilerGeneratedAttribute>, false)

let private parameters (m: MethodBase) =
    m.GetParameters()
    |> Array.map (fun p -> $"{p.Name}: {written p.ParameterType}")
    |> String.concat ", "
    |> sprintf "(%s)"

let private fields (properties: PropertyInfo[]) =
    properties
    |> Array.map (fun p -> $"{p.Name}: {written p.PropertyType}")
    |> String.concat "; "

/// The cases of a union, the fields of a record, or the values of an enumeration, in their order.
let private shape (t: Type) =
    if FSharpType.IsUnion t then
        FSharpType.GetUnionCases t
        |> Array.map (fun case ->
            match case.GetFields() with
            | [||] -> $"| {case.Name}"
            | of' -> $"| {case.Name} of {fields of'}")
    elif FSharpType.IsRecord t then
        FSharpType.GetRecordFields t
        |> Array.map (fun p -> $"{p.Name}: {written p.PropertyType}")
    elif t.IsEnum then
        Enum.GetNames t
        |> Array.map (fun name -> $"| {name} = {Convert.ToInt64(Enum.Parse(t, name))}")
    else
        [||]

let private members (t: Type) =
    let hasShape = FSharpType.IsUnion t || FSharpType.IsRecord t

    // A record's fields, a union's case tests: `shape` tells of them.
    let isOfShape (p: PropertyInfo) =
        FSharpType.IsRecord t && FSharpType.GetRecordFields t |> Array.contains p
        || isGenerated (p.GetAccessors()[0])

    let line (m: MemberInfo) =
        match m with
        | m when isGenerated m -> None
        | :? ConstructorInfo as c when not hasShape -> Some $"new{parameters c}"
        | :? MethodInfo as f when not f.IsSpecialName || f.Name.StartsWith "op_" ->
            let prefix = if f.IsStatic then "" else "this."
            Some $"{prefix}{f.Name}{parameters f}: {written f.ReturnType}"
        | :? PropertyInfo as p when not (isOfShape p) -> Some $"{p.Name}: {written p.PropertyType}"
        | :? FieldInfo as f when not t.IsEnum ->
            if f.IsLiteral then
                Some $"{f.Name}: {written f.FieldType} = {f.GetRawConstantValue()}"
            else
                Some $"{f.Name}: {written f.FieldType}"
        | _ -> None

    if t.IsEnum then
        [||]
    else
        t.GetMembers everything
        |> Array.choose line
        |> Array.distinct
        |> Array.sortWith (fun a b -> String.CompareOrdinal(a, b))

let private kind (t: Type) =
    if FSharpType.IsModule t then "module"
    elif FSharpType.IsUnion t then "union"
    elif FSharpType.IsRecord t then "record"
    elif t.IsEnum then "enum"
    elif t.IsInterface then "interface"
    elif t.IsValueType then "struct"
    else "class"

/// Classes that the compiler nests in a union for its cases.
let private isOfUnion (t: Type) =
    match t.DeclaringType with
    | null -> false
    | outer -> FSharpType.IsUnion outer && not (FSharpType.IsModule outer)

let private describe (assembly: Assembly) =
    let lines =
        assembly.GetExportedTypes()
        |> Array.filter (fun t -> not (isOfUnion t) && not (isGenerated t))
        |> Array.sortWith (fun a b -> String.CompareOrdinal(a.FullName, b.FullName))
        |> Array.collect (fun t ->
            let head = $"{kind t} {t.FullName}"
            Array.append [| ""; head |] (Array.append (shape t) (members t) |> Array.map (fun line -> "    " + line)))

    String.Join("\n", Array.skip 1 lines) + "\n"

let tests =
    testList
        "Core's public surface"
        [ testCase "the surface is the one in PropertyTests/House/Core.api.txt" (fun () ->
              let file = Path.Combine(Outside.root, "PropertyTests", "House", "Core.api.txt")
              let present = describe typeof<Drop>.Assembly

              if Outside.variable "HYBRID_UPDATE_SNAPSHOTS" = ValueSome "1" then
                  File.WriteAllText(file, present)

              let kept = File.ReadAllText file

              if kept <> present then
                  let before, after = Set.ofArray (kept.Split '\n'), Set.ofArray (present.Split '\n')
                  let gone = before - after |> Seq.map (fun line -> "-" + line)
                  let added = after - before |> Seq.map (fun line -> "+" + line)
                  let changes = Seq.append gone added |> String.concat "\n"
                  failtest $"the core's public surface changed; accept it with `dotnet fsi build.fsx api`\n{changes}") ]
