/// OpenSSL's s_server and s_client against ours, over real UDP on the loopback: both roles, equal exported keys, data.
module Hybrid.WebRtc.PropertyTests.OpenSslTests

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.DtlsWorld
open Hybrid.WebRtc.PropertyTests.RealPeers

/// One of our ends, on a socket of its own.
type private Driver(config: DtlsConfig) =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

    do socket.Bind(IPEndPoint(IPAddress.Loopback, 0))
    let clock = Stopwatch.StartNew()
    let buffer: byte[] = Array.zeroCreate 65536
    let entropy = Array.zeroCreate Entropy.SeedSize
    do Security.Cryptography.RandomNumberGenerator.Fill(Span entropy)

    let mutable state = Dtls.create config (Entropy.ofSeed (ReadOnlySpan entropy))
    let mutable peer: EndPoint = IPEndPoint(IPAddress.Loopback, 9)

    let now () =
        clock.ElapsedTicks * 1_000_000L / Stopwatch.Frequency * 1L<us>

    member val Connected: DtlsConnected voption = ValueNone with get, set
    member val Heard = StringBuilder()
    member val Closed = false with get, set
    member _.Port = (nonNull socket.LocalEndPoint :?> IPEndPoint).Port

    member _.Peer
        with set value = peer <- value

    member this.Step(input: Dtls.Input, plaintext: string) =
        let struct (next, outputs) = Dtls.step (now ()) input state
        state <- next

        for output in outputs do
            match output with
            | Dtls.Transmit datagram -> socket.SendTo(encode datagram, peer) |> ignore
            | Dtls.Sealed record ->
                socket.SendTo(sealData record (Encoding.ASCII.GetBytes plaintext), peer)
                |> ignore
            | Dtls.Data bytes -> this.Heard.Append(Encoding.ASCII.GetString bytes.Span) |> ignore
            | Dtls.Connected connected -> this.Connected <- ValueSome connected
            | Dtls.Failed fault -> failtest fault.Reason
            | Dtls.Closed -> this.Closed <- true
            | Dtls.KeyLog _
            | Dtls.Ignored _ -> ()

    /// Receives and ticks until `isDone`; fails after `Outside.Patience`.
    member this.Until(what: string, isDone: unit -> bool) =
        let limit = now () + Duration.seconds (int64 Outside.Patience)

        while not (isDone ()) do
            if now () > limit then
                failtest (what + ": nothing within a minute")

            // Never asleep for longer than until the next deadline, or so long that `isDone` would wait.
            let sleep = Instant.min (Dtls.deadline state - now ()) (Duration.milliseconds 20L)

            if socket.Poll(int (max 0L (int64 sleep)), SelectMode.SelectRead) then
                let mutable from: EndPoint = IPEndPoint(IPAddress.Any, 0)
                let length = socket.ReceiveFrom(buffer, &from)
                peer <- from
                this.Step(Dtls.Received(Memory(buffer, 0, length)), "")

            this.Step(Dtls.Tick, "")

    member this.Until(what: string, task: Task<'a>) : 'a =
        this.Until(what, (fun () -> task.IsCompleted))
        task.GetAwaiter().GetResult()

    interface IDisposable with
        member _.Dispose() = socket.Dispose()

/// Lines up to and including the first with `text`.
let rec private readTo (text: string) (talk: Outside.Conversation) : Task<string> =
    task {
        let! line = talk.Read Outside.Patience

        return!
            if line.Contains text then
                Task.FromResult line
            else
                readTo text talk
    }

let private profiles =
    [ SrtpProfile.AeadAes128Gcm, "SRTP_AEAD_AES_128_GCM", 56
      SrtpProfile.AeadAes256Gcm, "SRTP_AEAD_AES_256_GCM", 88
      SrtpProfile.Aes128CmHmacSha1_80, "SRTP_AES128_CM_SHA1_80", 60 ]

/// What is agreed on in a test, by OpenSSL's names.
type private Setting =
    {
        Ours: Kind
        Theirs: Kind
        Profile: SrtpProfile
        /// OpenSSL's further arguments.
        More: string list
    }

let private common (setting: Setting) (pem: string) =
    let _, name, length = profiles |> List.find (fun (p, _, _) -> p = setting.Profile)

    [ "-dtls1_2"
      "-cert"
      pem
      "-key"
      pem
      "-use_srtp"
      name
      "-keymatexport"
      "EXTRACTOR-dtls_srtp"
      "-keymatexportlen"
      string length ]
    @ setting.More

let private withPem kind (body: string -> unit) =
    let pem = Path.GetTempFileName()

    try
        File.WriteAllText(pem, (certificate kind).ToPem())
        body pem
    finally
        File.Delete pem

/// Once both are there: equal keys, a line each way, a goodbye.
let private talk (setting: Setting) (driver: Driver) (openssl: Outside.Conversation) (goodbye: string) =
    let keys = readTo "Keying material: " openssl
    driver.Until("our handshake", (fun () -> driver.Connected.IsSome))
    let line = driver.Until("OpenSSL's keys", keys)
    let connected = driver.Connected.Value
    Expect.equal connected.SrtpProfile (ValueSome setting.Profile) "profile"
    Expect.equal connected.RemoteCertificates[0] (certificate setting.Theirs).Der "its certificate"
    let ours = connected.SrtpKeys.Value

    let exported =
        Array.concat [ ours.ClientKey; ours.ServerKey; ours.ClientSalt; ours.ServerSalt ]

    Expect.equal (line.Split(' ') |> Array.last) (Convert.ToHexString exported) "equal exported keys"

    openssl.Write("a line of theirs").Wait()
    driver.Until("a line of theirs", (fun () -> driver.Heard.ToString().Contains "a line of theirs\n"))
    let heard = readTo "a line of ours" openssl
    driver.Step(Dtls.Seal 1, "a line of ours\n")
    driver.Until("a line of ours", heard) |> ignore

    let ended = readTo goodbye openssl
    driver.Step(Dtls.Close, "")
    Expect.isTrue driver.Closed "closed"
    driver.Until("its goodbye", ended) |> ignore

let private theirServer (setting: Setting) (path: string) =
    withPem setting.Theirs (fun pem ->
        let port = Outside.freePort ()

        use openssl =
            new Outside.Conversation(
                path,
                [ "s_server"; "-accept"; "127.0.0.1:" + string port; "-Verify"; "1" ]
                @ common setting pem
            )

        (readTo "ACCEPT" openssl).Wait()
        use driver = new Driver(config setting.Ours)
        driver.Peer <- IPEndPoint(IPAddress.Loopback, port)
        driver.Step(Dtls.Start(DtlsRole.Client, [| fingerprint "sha-256" (certificate setting.Theirs) |]), "")
        talk setting driver openssl "DONE")

let private theirClient (setting: Setting) (path: string) =
    withPem setting.Theirs (fun pem ->
        use driver = new Driver(config setting.Ours)
        driver.Step(Dtls.Start(DtlsRole.Server, [| fingerprint "sha-256" (certificate setting.Theirs) |]), "")

        use openssl =
            new Outside.Conversation(
                path,
                [ "s_client"; "-connect"; "127.0.0.1:" + string driver.Port ]
                @ common setting pem
            )

        talk setting driver openssl "closed")

let private settings =
    let plain ours theirs profile =
        { Ours = ours
          Theirs = theirs
          Profile = profile
          More = [] }

    let gcm = SrtpProfile.AeadAes128Gcm

    [ "ECDSA both", plain P256 P256 gcm
      "RSA both, SHA-1 SRTP", plain Rsa Rsa SrtpProfile.Aes128CmHmacSha1_80
      "ours ECDSA P-384, theirs RSA", plain P384 Rsa gcm
      "ours RSA, theirs ECDSA P-384", plain Rsa P384 gcm
      "ChaCha20-Poly1305 on P-256",
      { plain P256 P256 gcm with
          More =
              [ "-cipher"
                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
                "-groups"
                "P-256" ] }
      "AES-256 with SHA-384 on P-384",
      { plain P384 Rsa gcm with
          More =
              [ "-cipher"
                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
                "-groups"
                "P-384" ] }
      "messages in fragments",
      { plain Rsa Rsa gcm with
          More = [ "-mtu"; "300" ] } ]

let tests =
    // Each has processes and sockets of its own; two cores serve them best one after the other.
    testSequencedGroup "OpenSSL"
    <| testList
        "OpenSsl"
        [ for name, setting in settings do
              Outside.needing Peers.openssl ("OpenSSL serves: " + name) (fun path ->
                  Task.Run(fun () -> theirServer setting path))

              Outside.needing Peers.openssl ("OpenSSL calls: " + name) (fun path ->
                  Task.Run(fun () -> theirClient setting path))

          Outside.needing Peers.openssl "OpenSSL serves: with a cookie (HelloVerifyRequest)" (fun path ->
              let setting =
                  { Ours = P256
                    Theirs = P256
                    Profile = SrtpProfile.AeadAes128Gcm
                    More = [ "-listen" ] }

              Task.Run(fun () -> theirServer setting path)) ]
