/// The package as its user meets it: installed from a folder into a new console project that holds the README's program.
module Hybrid.WebRtc.PropertyTests.House.Package

open System
open System.IO
open System.IO.Compression
open System.Runtime.InteropServices
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests

/// The package that `build.fsx test` made.
let private package () =
    match Outside.variable "HYBRID_PACKAGE" with
    | ValueSome path when File.Exists path -> Ok path
    | _ -> Error "no package: `dotnet fsi build.fsx test` makes one and names it in HYBRID_PACKAGE"

/// The README's first program, and what it says the program prints: the code fences between the two markers.
let private program () =
    let readme = File.ReadAllText(Path.Combine(Outside.root, "README.md"))

    let part =
        Regex.Match(readme, @"<!-- program -->(.*?)<!-- end of program -->", RegexOptions.Singleline)

    Expect.isTrue part.Success "README.md holds a program between its markers"

    let fence language =
        let m =
            Regex.Match(part.Groups[1].Value, $@"```{language}\n(.*?)```", RegexOptions.Singleline)

        Expect.isTrue m.Success $"README.md's program has a {language} fence"
        m.Groups[1].Value

    struct (fence "csharp", (fence "text").Split('\n', StringSplitOptions.RemoveEmptyEntries))

let private dotnet seconds folder arguments =
    task {
        let! struct (code, output) = Outside.execute seconds folder "dotnet" arguments
        Expect.equal code 0 $"""dotnet {String.Join(' ', arguments)}{"\n"}{output}"""
        return output
    }

/// A line as it is compared: figures, which differ from run to run, are worth one another.
let private shape (line: string) =
    Regex.Replace(line.Trim(), @"\d+([.,]\d+)*", "0")

let private expectPrinted (expected: string[]) (output: string) =
    let printed = output.Split '\n' |> Array.map shape

    for line in expected do
        Expect.contains printed (shape line) $"the program prints `{line}`; it printed\n{output}"

/// NuGet would install what its cache holds under the same version, from an earlier build.
let private forget (name: string) (version: string) folder =
    task {
        let! listed = dotnet 60.0 folder [ "nuget"; "locals"; "global-packages"; "--list" ]
        let cache = listed.Substring(listed.IndexOf(':') + 1).Trim()
        let cached = Path.Combine(cache, name.ToLowerInvariant(), version)

        if Directory.Exists cached then
            Directory.Delete(cached, true)
    }

/// A new console project in a folder of its own, with the package installed and the README's program in it.
let private project (package: string) (source: string) =
    task {
        let folder = Directory.CreateTempSubdirectory("hybrid-readme-").FullName

        let m =
            Regex.Match(string (Path.GetFileName package), @"^(.+?)\.(\d+\.\d+\.\d+.*)\.nupkg$")

        let name, version = m.Groups[1].Value, m.Groups[2].Value

        File.WriteAllText(
            Path.Combine(folder, "nuget.config"),
            $"""<configuration><packageSources><add key="ours" value="{Path.GetDirectoryName package}" /></packageSources></configuration>"""
        )

        do! forget name version folder

        let! _ =
            dotnet 120.0 folder [ "new"; "console"; "--name"; "Readme"; "--output"; "." ]

        let! _ = dotnet 240.0 folder [ "add"; "package"; name; "--version"; version ]
        File.WriteAllText(Path.Combine(folder, "Program.cs"), source)
        return folder
    }

/// The core in the program's output is the one in the package, not one that a cache kept.
let private expectOurs (package: string) (built: string) =
    use archive = ZipFile.OpenRead package

    for name in [ "Hybrid.WebRtc.dll"; "Hybrid.WebRtc.Stack.dll"; "Hybrid.WebRtc.Core.dll" ] do
        match archive.GetEntry $"lib/net10.0/{name}" with
        | null -> failtest $"{name} is not in the package"
        | entry ->
            use copy = new MemoryStream()
            use packed = entry.Open()
            packed.CopyTo copy
            let installed = File.ReadAllBytes(Path.Combine(built, name))
            Expect.isTrue (installed.AsSpan().SequenceEqual(copy.ToArray())) $"{name} is the package's"

let private withProject package (check: string -> string[] -> Task) : Task =
    task {
        let struct (source, expected) = program ()
        let! folder = project package source

        try
            do! check folder expected
        finally
            Directory.Delete(folder, true)
    }

let private linker () =
    match package (), Outside.program [ "clang"; "gcc" ] with
    | Error reason, _ -> Error reason
    | Ok _, ValueNone -> Error "Native AOT needs clang or gcc, and neither is here"
    | Ok path, ValueSome _ -> Ok path

let tests =
    testSequenced
    <| testList
        "the package"
        [ Outside.needing package "holds one library with its documents, and asks for four packages" (fun path ->
              task {
                  use archive = ZipFile.OpenRead path

                  let entries =
                      archive.Entries
                      |> Seq.map _.FullName
                      |> Seq.filter (fun name -> name.StartsWith "lib/" || name.EndsWith ".md" || name = "LICENSE")
                      |> Seq.sortWith (fun a b -> String.CompareOrdinal(a, b))
                      |> Seq.toList

                  let library = [ "Hybrid.WebRtc.Core"; "Hybrid.WebRtc.Stack"; "Hybrid.WebRtc" ]

                  let wanted =
                      "LICENSE"
                      :: "README.md"
                      :: [ for name in library do
                               $"lib/net10.0/{name}.dll"
                               $"lib/net10.0/{name}.xml" ]

                  Expect.equal entries wanted "its files"

                  let specification =
                      use stream = (nonNull (archive.GetEntry "Hybrid.WebRtc.nuspec")).Open()
                      use reader = new StreamReader(stream)
                      reader.ReadToEnd()

                  let dependencies =
                      [ for m in Regex.Matches(specification, "<dependency id=\"([^\"]+)\"") -> m.Groups[1].Value ]

                  Expect.equal
                      (List.sort dependencies)
                      [ "BouncyCastle.Cryptography"
                        "FSharp.Core"
                        "Microsoft.Extensions.Logging.Abstractions"
                        "System.Reactive" ]
                      "its dependencies"
              })

          Outside.needing
              package
              "the README's program, pasted into a new console project, prints what the README says"
              (fun path ->
                  withProject path (fun folder expected ->
                      task {
                          let! output = dotnet 300.0 folder [ "run"; "-c"; "Release" ]
                          expectPrinted expected output
                          expectOurs path (Path.Combine(folder, "bin", "Release", "net10.0"))
                      }))

          Outside.needing linker "the README's program, compiled ahead of time, prints the same" (fun path ->
              withProject path (fun folder expected ->
                  task {
                      let rid = RuntimeInformation.RuntimeIdentifier
                      let published = Path.Combine(folder, "published")

                      let! output =
                          dotnet
                              900.0
                              folder
                              [ "publish"; "-c"; "Release"; "-r"; rid; "-p:PublishAot=true"; "-o"; published ]

                      let ours = Regex.Matches(output, @".*warning IL\d+.*Hybrid\..*")
                      Expect.isEmpty ours $"""trimming and AOT warn of our code:{"\n"}{String.Join("\n", ours)}"""

                      let native =
                          if OperatingSystem.IsWindows() then
                              "Readme.exe"
                          else
                              "Readme"

                      let! struct (code, printed) =
                          Outside.execute 120.0 folder (Path.Combine(published, native)) []

                      Expect.equal code 0 printed
                      expectPrinted expected printed
                  })) ]
