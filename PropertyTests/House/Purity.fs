/// Proves over its compiled code that the core is pure: it knows FSharp.Core and the base library, and of the latter no clock,
/// random source, thread, lock, socket, file, console, environment, reflection or cipher.
module Hybrid.WebRtc.PropertyTests.House.Purity

open System
open System.IO
open System.Reflection.Emit
open System.Reflection.Metadata
open System.Reflection.Metadata.Ecma335
open System.Reflection.PortableExecutable
open Expecto

/// A use of a member (or, without a place in the code, of a type) that belongs to another assembly.
[<Struct>]
type private Use =
    {
        /// The method that uses it; "a signature" where only the metadata names it.
        By: string
        Type: string
        Member: string
    }

/// Namespaces that the core has no business in; those within them too.
let private closedNamespaces =
    [ "System.IO"
      "System.Net"
      "System.Threading"
      "System.Timers"
      "System.Security"
      "System.Reflection"
      "System.Diagnostics"
      "System.Runtime.Loader"
      "System.Linq.Expressions"
      "Microsoft.Win32"
      "Microsoft.FSharp.Control"
      "Microsoft.FSharp.Reflection" ]

/// Closed types of namespaces that are open.
let private closedTypes =
    [ "throw"
      "System.DateTime"
      "System.DateTimeOffset"
      "System.DateOnly"
      "System.TimeOnly"
      "System.TimeZoneInfo"
      "System.TimeProvider"
      "System.Random"
      "System.Environment"
      "System.Console"
      "System.AppContext"
      "System.AppDomain"
      "System.OperatingSystem"
      "System.Activator"
      "System.GC"
      "System.Lazy`1"
      "System.Buffers.ArrayPool`1"
      "Microsoft.FSharp.Core.PrintfModule"
      "Microsoft.FSharp.Core.ExtraTopLevelOperators"
      "Microsoft.FSharp.Core.PrintfFormat`4"
      "Microsoft.FSharp.Core.PrintfFormat`5" ]

/// Closed members of types that are open.
let private closedMembers =
    [ "System.Guid", "NewGuid"
      "System.Guid", "CreateVersion7"
      "System.HashCode", "Combine"
      "Microsoft.FSharp.Core.Operators", "Failure"
      "Microsoft.FSharp.Core.Operators", "Lock"
      "Microsoft.FSharp.Core.Operators", "Exit"
      "Microsoft.FSharp.Core.Operators", "ConsoleIn"
      "Microsoft.FSharp.Core.Operators", "ConsoleOut"
      "Microsoft.FSharp.Core.Operators", "ConsoleError" ]

/// Attributes say something about code and do nothing.
let private isAttribute (typeName: string) = typeName.EndsWith "Attribute"

/// The log's claim of a slot, where it is written and where the compiler copies it to.
let private claims =
    [ "Hybrid.WebRtc.Core.Segment`1.Claim"; "Hybrid.WebRtc.Core.Log.append" ]

/// What is allowed against the lists above, and only there.
let private isAllowed (u: Use) =
    let inSignature = u.By = "a signature"

    // The compiler writes `%+A` into what a union or record says of itself.
    (u.Type.StartsWith "Microsoft.FSharp.Core."
     && (inSignature || u.By.EndsWith ".ToString" || u.By.EndsWith ".__DebugDisplay"))
    // Seeded at random, once a process; but no output of ours may hang on the order within a hash table.
    || (u.Type = "System.HashCode" && u.By.EndsWith ".GetHashCode")
    // Log.fs claims the slot after the last of its array; a lost race copies (data-path.md).
    || (u.Type = "System.Threading.Interlocked"
        && (inSignature || u.Member = "CompareExchange" && List.contains u.By claims))
    // Memory that is written before it is shown needs no clearing.
    || (u.Type = "System.GC" && (inSignature || u.Member = "AllocateUninitializedArray"))
    // What attributes are given, and what the compiler opens of itself in every file.
    || (inSignature
        && List.exists
            (fun (name: string) -> u.Type.StartsWith name)
            [ "System.Diagnostics.Debugg"
              "System.Diagnostics.CodeAnalysis."
              "Microsoft.FSharp.Control.TaskBuilderExtensions" ])

let private isClosed (u: Use) =
    let within (name: string) = u.Type.StartsWith(name + ".")

    not (isAttribute u.Type)
    && not (isAllowed u)
    && (List.exists within closedNamespaces
        || List.contains u.Type closedTypes
        || List.contains (u.Type, u.Member) closedMembers)

// ---------------------------------------------------------------------------------------------------------------------
// Reading an assembly
// ---------------------------------------------------------------------------------------------------------------------

let private opcodes =
    typeof<OpCodes>.GetFields()
    |> Seq.choose (fun field ->
        match field.GetValue null with
        | :? OpCode as code -> Some(code.Value, code)
        | _ -> None)
    |> dict

/// Stands among the tokens for the instruction that throws.
let private throws = 0

/// The tokens of the members and types that a method's code names.
let private tokens (il: byte[]) =
    let found = ResizeArray<int>()
    let mutable at = 0

    while at < il.Length do
        let value =
            if il[at] = 0xFEuy then
                at <- at + 2
                int16 (0xFE00us ||| uint16 il[at - 1])
            else
                at <- at + 1
                int16 il[at - 1]

        if value = OpCodes.Throw.Value then
            found.Add throws

        match opcodes[value].OperandType with
        | OperandType.InlineNone -> ()
        | OperandType.ShortInlineBrTarget
        | OperandType.ShortInlineI
        | OperandType.ShortInlineVar -> at <- at + 1
        | OperandType.InlineVar -> at <- at + 2
        | OperandType.InlineI8
        | OperandType.InlineR -> at <- at + 8
        | OperandType.InlineSwitch -> at <- at + 4 + 4 * BitConverter.ToInt32(il, at)
        | OperandType.InlineMethod
        | OperandType.InlineField
        | OperandType.InlineType
        | OperandType.InlineTok ->
            found.Add(BitConverter.ToInt32(il, at))
            at <- at + 4
        | _ -> at <- at + 4

    found

let private joined (ns: string) (name: string) =
    if ns = "" then name else ns + "." + name

let rec private referencedName (reader: MetadataReader) (handle: TypeReferenceHandle) =
    let t = reader.GetTypeReference handle
    let name = reader.GetString t.Name

    if t.ResolutionScope.Kind = HandleKind.TypeReference then
        referencedName reader (TypeReferenceHandle.op_Explicit t.ResolutionScope)
        + "+"
        + name
    else
        joined (reader.GetString t.Namespace) name

let rec private definedName (reader: MetadataReader) (handle: TypeDefinitionHandle) =
    let t = reader.GetTypeDefinition handle
    let name = reader.GetString t.Name
    let outer = t.GetDeclaringType()

    if outer.IsNil then
        joined (reader.GetString t.Namespace) name
    else
        definedName reader outer + "+" + name

/// The foreign type that a generic instance such as `Lazy<int>` is made of.
let private instantiated (reader: MetadataReader) (handle: TypeSpecificationHandle) =
    let mutable blob =
        reader.GetBlobReader((reader.GetTypeSpecification handle).Signature)

    if blob.ReadSignatureTypeCode() = SignatureTypeCode.GenericTypeInstance then
        blob.ReadCompressedInteger() |> ignore // class or value type
        let generic = blob.ReadTypeHandle()

        if generic.Kind = HandleKind.TypeReference then
            ValueSome(referencedName reader (TypeReferenceHandle.op_Explicit generic))
        else
            ValueNone
    else
        ValueNone

let rec private foreign (reader: MetadataReader) (by: string) (handle: EntityHandle) : Use voption =
    match handle.Kind with
    | HandleKind.TypeReference ->
        ValueSome
            { By = by
              Type = referencedName reader (TypeReferenceHandle.op_Explicit handle)
              Member = "" }
    | HandleKind.TypeSpecification ->
        instantiated reader (TypeSpecificationHandle.op_Explicit handle)
        |> ValueOption.map (fun name -> { By = by; Type = name; Member = "" })
    | HandleKind.MemberReference ->
        let m = reader.GetMemberReference(MemberReferenceHandle.op_Explicit handle)

        foreign reader by m.Parent
        |> ValueOption.map (fun u ->
            { u with
                Member = reader.GetString m.Name })
    | HandleKind.MethodSpecification ->
        foreign reader by (reader.GetMethodSpecification(MethodSpecificationHandle.op_Explicit handle)).Method
    | _ -> ValueNone

/// Every use of another assembly's types and members, with the method that makes it.
let private uses (image: PEReader) =
    let reader = image.GetMetadataReader()

    let named by token =
        foreign reader by (MetadataTokens.EntityHandle token) |> ValueOption.toOption

    // What FSharp.Core puts into its callers: the argument check of `Array.map` and its like.
    let isNullCheck by token =
        token <> throws
        && named by token
           |> Option.exists (fun u -> u.Type = "System.ArgumentNullException")

    let ofMethod (by: string) (code: ResizeArray<int>) =
        code
        |> Seq.indexed
        |> Seq.choose (fun (i, token) ->
            if token <> throws then named by token
            elif i > 0 && isNullCheck by code[i - 1] then None
            else Some { By = by; Type = "throw"; Member = "" })

    let inCode =
        reader.MethodDefinitions
        |> Seq.collect (fun handle ->
            let m = reader.GetMethodDefinition handle

            if m.RelativeVirtualAddress = 0 then
                Seq.empty
            else
                let by = definedName reader (m.GetDeclaringType()) + "." + reader.GetString m.Name

                match (image.GetMethodBody m.RelativeVirtualAddress).GetILBytes() with
                | null -> Seq.empty
                | il -> ofMethod by (tokens il))

    let inSignatures =
        reader.TypeReferences
        |> Seq.map (fun handle ->
            { By = "a signature"
              Type = referencedName reader handle
              Member = "" })

    Seq.append inCode inSignatures |> Seq.distinct |> Seq.toList

let private scan (path: string) = uses (new PEReader(File.OpenRead path))

let private offences path = scan path |> List.filter isClosed

let private said u =
    if u.Member = "" then
        $"{u.By} uses {u.Type}"
    else
        $"{u.By} uses {u.Type}.{u.Member}"

let private beside (name: string) =
    Path.Combine(AppContext.BaseDirectory, name)

let private referencedAssemblies (path: string) =
    use image = new PEReader(File.OpenRead path)
    let reader = image.GetMetadataReader()

    [ for handle in reader.AssemblyReferences -> reader.GetString (reader.GetAssemblyReference handle).Name ]

/// Whether an assembly belongs to the base library, which comes with the runtime.
let private isBaseLibrary (name: string) =
    match Path.GetDirectoryName typeof<obj>.Assembly.Location with
    | null -> false
    | runtime -> File.Exists(Path.Combine(runtime, name + ".dll"))

let tests =
    testList
        "the core's purity"
        [ testCase "the core references FSharp.Core and the base library, nothing else" (fun () ->
              let others =
                  referencedAssemblies (beside "Hybrid.WebRtc.Core.dll")
                  |> List.filter (fun name -> name <> "FSharp.Core" && not (isBaseLibrary name))

              Expect.isEmpty others "assemblies that the core may not know")

          testCase
              "the core uses no clock, randomness, thread, lock, socket, file, console, environment or cipher, and throws nothing"
              (fun () ->
                  let found = offences (beside "Hybrid.WebRtc.Core.dll") |> List.map said
                  Expect.isEmpty found (String.Join("\n", found)))

          testCase "each planted fault is found, where it is" (fun () ->
              let found = offences (beside "PropertyTests.dll")
              let planted = nameof PlantedFaults

              for (fault: string), (typeName: string) in PlantedFaults.all do
                  Expect.exists
                      found
                      (fun u -> u.By.Contains planted && u.By.Contains fault && u.Type.StartsWith typeName)
                      $"{fault} uses {typeName}"

              Expect.exists found (fun u -> u.Type = "System.Threading.Interlocked") "the claim of Log.fs is its alone")

          testCase "the shell, which may do all this, would not pass" (fun () ->
              Expect.isNonEmpty (offences (beside "Hybrid.WebRtc.Stack.dll")) "the shell has a clock") ]
