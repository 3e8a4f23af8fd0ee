/// Files that real peers wrote, copied into `Fixtures/` beside this source.
module Hybrid.WebRtc.PropertyTests.Fixtures

open System.IO

let private root = Path.Combine(__SOURCE_DIRECTORY__, "Fixtures")

/// The text of one file, by its path under `Fixtures/`.
let read (path: string) : string =
    File.ReadAllText(Path.Combine(root, path))

/// The paths under `Fixtures/` of the files in `folder` and below whose names end so, in order.
let list (folder: string) (ending: string) : string list =
    Directory.GetFiles(Path.Combine(root, folder), "*" + ending, SearchOption.AllDirectories)
    |> Array.map (fun path -> Path.GetRelativePath(root, path).Replace('\\', '/'))
    |> Array.sort
    |> Array.toList
