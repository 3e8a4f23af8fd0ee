/// Who plays an end of DTLS 1.3 message by message, and may lie in any of them.
module internal Hybrid.WebRtc.PropertyTests.Dtls13.Impostor

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls13
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.DtlsWorld

let internal now = Duration.milliseconds 1L
let internal fits = [| fingerprint "sha-256" (certificate P256) |]

/// The party that a machine with this entropy is.
let internal partyOf (config: DtlsConfig) role (entropy: Entropy) : Party =
    let struct (random, entropy) = Entropy.bytes Message.RandomSize entropy
    let struct (seed, _) = Entropy.bytes 64 entropy

    { Config = config
      Role = role
      Trust = Trust.Fingerprints fits
      Random = random
      Seed = seed }

let internal ofServer = Entropy.ofNumber 1L
let internal ofClient = Entropy.ofNumber 2L

let internal begin' (config: DtlsConfig) role entropy =
    Dtls.step 0L<us> (Dtls.Start(role, fits)) (Dtls.create config entropy)

let internal feed (datagrams: byte[] list) (state: Dtls.State) =
    (struct (state, []), datagrams)
    ||> List.fold (fun (struct (state, outputs)) bytes ->
        let struct (state, more) =
            Dtls.step now (Dtls.Received(Memory(Array.copy bytes))) state

        struct (state, outputs @ more))

/// The alert that a step has sent; 255 where it has sent none.
let internal alertOf (struct (_, outputs: Dtls.Output list)) : byte =
    outputs
    |> List.tryPick (fun output ->
        match output with
        | Dtls.Failed fault -> fault.SentAlert |> ValueOption.toOption
        | _ -> None)
    |> Option.defaultValue 255uy

let internal clear: WriteEpoch = WriteEpoch.clear 0UL

/// Epoch 2 of whoever writes with this secret.
let internal sealedWith k (secret: byte[]) : WriteEpoch =
    { Epoch = 2UL
      Sealing = Sealing.Dtls13(Protection13.create k secret)
      Next = 0UL }

let internal datagrams (writes: WriteEpoch list) (messages: Message list) : byte[] list =
    let placed =
        messages
        |> List.map (fun m -> struct (m, Flight13.epochOf m.Type |> ValueOption.defaultValue 0UL))

    let struct (_, _, sent) =
        Flight13.create -1 placed |> Flight13.say 1200 now (Duration.seconds 1L) writes

    sent |> List.map encode

let internal ok name (result: Result<'a, Refusal>) : 'a =
    match result with
    | Ok value -> value
    | Error refusal -> failtest $"{name}: {refusal.Reason}"

let internal said (demands: Demand13 list) : Message list =
    demands
    |> List.collect (fun demand ->
        match demand with
        | Demand13.Say messages -> messages
        | _ -> [])

let internal keysOf (demands: Demand13 list) =
    demands
    |> List.tryPick (fun demand ->
        match demand with
        | Demand13.HandshakeKeys(k, _, write) -> Some(sealedWith k write)
        | _ -> None)
    |> Option.toList

let internal of' kind (change: byte[] -> byte[]) (messages: Message list) : Message list =
    messages
    |> List.map (fun m -> if m.Type = kind then { m with Body = change m.Body } else m)

let internal without kind (messages: Message list) : Message list =
    messages
    |> List.filter (fun m -> m.Type <> kind)
    |> List.mapi (fun i m -> { m with Sequence = i })

let internal flip (body: byte[]) =
    let body = Array.copy body
    body[body.Length - 1] <- body[body.Length - 1] ^^^ 1uy
    body

let internal cut (body: byte[]) = body[.. body.Length - 2]
let internal longer (body: byte[]) = Array.append body [| 0uy |]

let internal serverHello (change: ServerHello -> ServerHello) (body: byte[]) =
    match Message.readServerHello body with
    | ValueSome hello -> Message.writeServerHello (change hello)
    | ValueNone -> failtest "a ServerHello"

let internal clientHello (change: ClientHello -> ClientHello) (body: byte[]) =
    match Message.readClientHello body with
    | ValueSome hello -> Message.writeClientHello (change hello)
    | ValueNone -> failtest "a ClientHello"

let internal extension kind data : Extension = { Type = kind; Data = data }

let internal replacing kind (data: byte[]) (extensions: Extension[]) =
    extensions
    |> Array.filter (fun e -> e.Type <> kind)
    |> Array.append [| extension kind data |]

let internal removing kind (extensions: Extension[]) =
    extensions |> Array.filter (fun e -> e.Type <> kind)
