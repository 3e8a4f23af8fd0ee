/// What every committed file keeps to.
module Hybrid.WebRtc.PropertyTests.House.Hygiene

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Hybrid.WebRtc.PropertyTests

let private notOurs =
    set
        [ ".git"
          ".paket"
          "paket-files"
          "bin"
          "obj"
          "out"
          "artifacts"
          "node_modules"
          ".vs"
          ".idea"
          ".vscode"
          ".ionide"
          "__pycache__"
          "BenchmarkDotNet.Artifacts"
          "TestResults" ]

/// Every file of ours, by its path from the root.
let private files =
    let rec under (folder: string) : string seq =
        seq {
            yield! Directory.GetFiles folder

            yield!
                Directory.GetDirectories folder
                |> Seq.filter (fun inner -> not (notOurs.Contains(string (Path.GetFileName inner))))
                |> Seq.collect under
        }

    lazy
        (under Outside.root
         |> Seq.map (fun path -> Path.GetRelativePath(Outside.root, path))
         |> Seq.sort
         |> Seq.toList)

let private full (file: string) = Path.Combine(Outside.root, file)

let private ends (extensions: string list) (file: string) =
    List.exists (fun (e: string) -> file.EndsWith(e, StringComparison.Ordinal)) extensions

let private text =
    ends
        [ ".fs"
          ".fsi"
          ".fsx"
          ".cs"
          ".py"
          ".js"
          ".ts"
          ".html"
          ".css"
          ".md"
          ".json"
          ".props"
          ".targets"
          "proj"
          ".sln"
          ".lock"
          ".dependencies"
          ".references"
          ".editorconfig"
          ".yml"
          "/run" ]

/// `file:line: text` of each line that matches.
let private matches (pattern: string) (chosen: string -> bool) =
    let regex = Regex(pattern, RegexOptions.CultureInvariant)

    [ for file in files.Value do
          if chosen file then
              for number, line in Seq.indexed (File.ReadLines(full file)) do
                  if regex.IsMatch line then
                      $"{file}:{number + 1}: {line.Trim()}" ]

let private none (pattern: string) (chosen: string -> bool) =
    let found = matches pattern chosen
    Expect.isEmpty found (String.Join("\n", found))

/// The examples' folders; what they share is none.
let private examples () =
    match full "Examples" with
    | folder when Directory.Exists folder ->
        Directory.GetDirectories folder
        |> Array.filter (fun inner -> File.Exists(Path.Combine(inner, "Program.cs")))
        |> Array.map (fun inner -> string (Path.GetFileName inner))
        |> Array.toList
    | _ -> []

// Each pattern is written so that it does not match its own line.
let tests =
    testList
        "the repository"
        [ testCase "no file names a package registry" (fun () ->
              none @"n[u]get\.org|n[p]mjs|p[y]pi\.org|crates[.]io|d[e]b\.debian|pkgs[.]dev\.azure|c[d]n\.|unp[k]g" text)

          testCase "no file names a path of somebody's machine" (fun () ->
              none @"/h[o]me/\w|/r[o]ot/|/U[s]ers/\w|[A-Z]:\\U[s]ers|(^|[\s""'`(])/w[o]rk/" text)

          testCase "nothing is left unfinished by its own words" (fun () ->
              none @"\bTO[D]O\b|\bFIX[M]E\b|\bX[X]X\b|NotImpl[e]mented" text)

          testCase "no test is focused or set aside" (fun () ->
              none @"\b[fp]test(Case|List|Property|Task|Async|Theory|Param|Fixture)" (fun file ->
                  file.StartsWith "PropertyTests" && ends [ ".fs" ] file))

          testCase "no source file is longer than 600 lines" (fun () ->
              let long =
                  [ for file in files.Value do
                        if ends [ ".fs"; ".fsi"; ".cs" ] file then
                            let lines = Seq.length (File.ReadLines(full file))

                            if lines > 600 then
                                $"{file}: {lines} lines" ]

              Expect.isEmpty long (String.Join("\n", long)))

          testCase "every project is in Hybrid.sln" (fun () ->
              let solution = (File.ReadAllText(full "Hybrid.sln")).Replace('\\', '/')

              for file in files.Value |> List.filter (ends [ ".csproj"; ".fsproj" ]) do
                  Expect.isTrue (solution.Contains(file.Replace('\\', '/'))) $"Hybrid.sln holds {file}")

          testCase "every example has a paragraph and a line on how to run it" (fun () ->
              for example in examples () do
                  let told =
                      [ "README.md"; "Examples/README.md"; $"Examples/{example}/README.md" ]
                      |> List.filter (full >> File.Exists)
                      |> List.map (full >> File.ReadAllText)
                      |> String.concat "\n"

                  let run = $"--project Examples/{example}"
                  let isTheDemo = example = "Demo" && told.Contains "build.fsx run"
                  Expect.isTrue (isTheDemo || told.Contains run) $"a README says `{run}`") ]

// ---------------------------------------------------------------------------------------------------------------------

/// Where a Markdown heading's link leads: lower case, spaces as hyphens, punctuation gone.
let private anchor (heading: string) =
    Regex.Replace(heading.Trim().ToLowerInvariant().Replace(' ', '-'), @"[^\w\-]", "")

let private anchors (file: string) =
    File.ReadLines file
    |> Seq.filter (fun line -> line.StartsWith '#')
    |> Seq.map (fun line -> anchor (line.TrimStart '#'))
    |> Set.ofSeq

let docs =
    testList
        "Docs"
        [ testCase "every link from one document to another leads somewhere" (fun () ->
              let dead =
                  [ for file in files.Value |> List.filter (ends [ ".md" ]) do
                        for link in Regex.Matches(File.ReadAllText(full file), @"\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)") do
                            let path, fragment = link.Groups[1].Value, link.Groups[2].Value.TrimStart '#'

                            let target =
                                if path = "" then
                                    full file
                                else
                                    Path.Combine(string (Path.GetDirectoryName(full file)), path)

                            if not (Path.Exists target) then
                                $"{file}: {path}"
                            elif fragment <> "" && not ((anchors target).Contains fragment) then
                                $"{file}: {path}#{fragment}" ]

              Expect.isEmpty dead (String.Join("\n", dead))) ]
