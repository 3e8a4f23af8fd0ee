/// The DTLS that two RTCPeerConnections of this process are told to speak.
module Hybrid.WebRtc.PropertyTests.Interop.DtlsLoopbackTests

open System
open System.IO
open System.Linq
open System.Net
open System.Net.Security
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests

let private loopback =
    WebRtcOptions(IncludeLoopback = true, AddressFilter = Func<IPAddress, bool>(IPAddress.IsLoopback))

/// Connects two by whole descriptions, calls back, and closes them.
let private between (options: WebRtcOptions) (body: RTCPeerConnection -> RTCPeerConnection -> Task<unit>) : Task<unit> =
    task {
        use caller = new RTCPeerConnection(null, options)
        use callee = new RTCPeerConnection(null, options)
        let channel = caller.CreateDataChannel "chat"

        let announced =
            TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

        use _ = callee.OnDataChannel.Subscribe(fun _ -> announced.TrySetResult() |> ignore)
        do! caller.SetLocalDescriptionAsync()
        do! caller.GatheringCompleteAsync()
        do! callee.SetRemoteDescriptionAsync(nonNull caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! callee.GatheringCompleteAsync()
        do! caller.SetRemoteDescriptionAsync(nonNull callee.LocalDescription)
        do! channel.WaitForOpenAsync().WaitAsync(TimeSpan.FromSeconds Outside.Patience)
        // In order: whatever either has told of its handshake has been heard.
        do! announced.Task.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
        do! body caller callee
    }

let private transportOf (pc: RTCPeerConnection) : Task<RTCTransportStats> =
    task {
        let! report = pc.GetStatsAsync()
        return report.OfType<RTCTransportStats>() |> Seq.exactlyOne
    }

let private scratch () =
    Path.Combine(Path.GetTempPath(), "hybrid-keys-" + Guid.NewGuid().ToString "N")

/// The exception's W3C name and its message.
let private refusal (options: WebRtcOptions) : struct (string * string) =
    try
        (new RTCPeerConnection(null, options)).DisposeAsync() |> ignore
        struct ("", "")
    with :? RTCException as refused ->
        struct (refused.Name, refused.Message)

let private v12 = WebRtcDtlsVersion.Dtls12
let private v13 = WebRtcDtlsVersion.Dtls13

let private nameOf (version: WebRtcDtlsVersion) =
    if version = v13 then "DTLS 1.3" else "DTLS 1.2"

/// As IANA registers it.
let private groupName (group: WebRtcDtlsGroup) =
    match group with
    | WebRtcDtlsGroup.X25519MLKEM768 -> "X25519MLKEM768"
    | WebRtcDtlsGroup.X25519 -> "x25519"
    | WebRtcDtlsGroup.Secp256r1 -> "secp256r1"
    | _ -> "secp384r1"

/// Both ends tell it, by their transports and their statistics.
let private agreesOn version (suite: TlsCipherSuite) group (caller: RTCPeerConnection) (callee: RTCPeerConnection) =
    task {
        for pc, role in [ caller, "server"; callee, "client" ] do
            let dtls = (nonNull pc.Sctp).Transport
            Expect.equal dtls.Version (nameOf version) "version"
            Expect.equal dtls.CipherSuite (string suite) "suite"
            Expect.equal dtls.Group (groupName group) "group"
            let! transport = transportOf pc
            Expect.equal transport.TlsVersion (if version = v13 then "FEFC" else "FEFD") "version's code"
            Expect.equal transport.DtlsCipher (string suite) "statistics' suite"
            Expect.equal transport.TlsGroup (groupName group) "statistics' group"
            Expect.equal transport.DtlsRole role "role"
    }

let tests =
    testList
        "DTLS on loopback"
        [ for version, suites, groups in
              [ v12,
                [ TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                  TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                  TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ],
                [ WebRtcDtlsGroup.X25519; WebRtcDtlsGroup.Secp256r1; WebRtcDtlsGroup.Secp384r1 ]
                v13,
                [ TlsCipherSuite.TLS_AES_128_GCM_SHA256
                  TlsCipherSuite.TLS_AES_256_GCM_SHA384
                  TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256 ],
                [ WebRtcDtlsGroup.X25519MLKEM768
                  WebRtcDtlsGroup.X25519
                  WebRtcDtlsGroup.Secp256r1
                  WebRtcDtlsGroup.Secp384r1 ] ] do
              for suite in suites do
                  for group in groups do
                      testCaseTask $"{nameOf version} with {suite} and {groupName group}, as both are told" (fun () ->
                          between
                              (WebRtcOptions(
                                  IncludeLoopback = true,
                                  AddressFilter = loopback.AddressFilter,
                                  MinDtlsVersion = version,
                                  MaxDtlsVersion = version,
                                  DtlsCipherSuites = [| suite |],
                                  DtlsGroups = [| group |]
                              ))
                              (agreesOn version suite group))

          testCaseTask "DTLS 1.3 with AES-128 and X25519MLKEM768, where nobody is told anything" (fun () ->
              between loopback (agreesOn v13 TlsCipherSuite.TLS_AES_128_GCM_SHA256 WebRtcDtlsGroup.X25519MLKEM768))

          testCaseTask "the transport tells nothing before the handshake, and of it after the end" (fun () ->
              task {
                  let fresh = new RTCPeerConnection(null, loopback)
                  fresh.CreateDataChannel "chat" |> ignore
                  do! fresh.SetLocalDescriptionAsync()
                  let! transport = transportOf fresh
                  Expect.isNull transport.TlsVersion "version"
                  Expect.isNull transport.TlsGroup "group"
                  do! fresh.CloseAsync()

                  do!
                      between loopback (fun caller _ ->
                          task {
                              let dtls = (nonNull caller.Sctp).Transport
                              let group = dtls.Group
                              Expect.isNotNull group "group"
                              do! caller.CloseAsync()
                              Expect.equal dtls.Group group "as it was"
                          })
              })

          testCaseTask "a key log is its owner's, the same on both sides, and holds one handshake" (fun () ->
              task {
                  let path = scratch ()

                  try
                      do!
                          between
                              (WebRtcOptions(
                                  IncludeLoopback = true,
                                  AddressFilter = loopback.AddressFilter,
                                  KeyLogPath = path
                              ))
                              (fun _ _ -> Task.FromResult())

                      let lines = File.ReadAllLines path
                      Expect.isGreaterThan lines.Length 1 "both sides"

                      for _, same in Array.groupBy id lines do
                          Expect.equal same.Length 2 "each line is both sides'"

                      for line in lines do
                          let words = line.Split ' '
                          Expect.equal words.Length 3 "label, random, secret"
                          Expect.equal words[1].Length 64 "32 octets"

                      if not (OperatingSystem.IsWindows()) then
                          Expect.equal
                              (File.GetUnixFileMode path)
                              (UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
                              "nobody else reads it"
                  finally
                      File.Delete path
              })

          testCaseTask "SSLKEYLOGFILE logs nothing" (fun () ->
              task {
                  let path = scratch ()
                  let before = Environment.GetEnvironmentVariable "SSLKEYLOGFILE"
                  Environment.SetEnvironmentVariable("SSLKEYLOGFILE", path)

                  try
                      do! between loopback (fun _ _ -> Task.FromResult())
                      Expect.isFalse (File.Exists path) "who did not ask in code gets none"
                  finally
                      Environment.SetEnvironmentVariable("SSLKEYLOGFILE", before)
                      File.Delete path
              })

          testCase "options that cannot work are refused by W3C's names, and say what would" (fun () ->
              let refused =
                  [ WebRtcOptions(MinDtlsVersion = v13, MaxDtlsVersion = v12), "RangeError", "minimum version"
                    WebRtcOptions(MinDtlsVersion = v13, MaxDtlsVersion = v13, DtlsCipherSuites = [||]),
                    "NotSupportedError",
                    "TLS_AES_128_GCM_SHA256"
                    WebRtcOptions(DtlsCipherSuites = [| TlsCipherSuite.TLS_AES_128_GCM_SHA256 |]),
                    "NotSupportedError",
                    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
                    WebRtcOptions(DtlsGroups = [||]), "NotSupportedError", "X25519"
                    WebRtcOptions(DtlsGroups = [| WebRtcDtlsGroup.X25519MLKEM768 |]), "NotSupportedError", "add X25519"
                    WebRtcOptions(DtlsGroups = [| WebRtcDtlsGroup.X25519; WebRtcDtlsGroup.X25519 |]),
                    "TypeError",
                    "twice" ]

              for options, name, words in refused do
                  let struct (is, message) = refusal options
                  Expect.equal is name message
                  Expect.stringContains message words "what is wrong or what would be right") ]
