namespace Hybrid.WebRtc.PropertyTests

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack

/// DTLS in front of a TURN server, as a value: an end for each client, which its datagrams pass through. No timer runs: a client
/// that repeats its flight is answered anew.
[<NoComparison; NoEquality>]
type TurnDtls =
    {
        Certificate: Certificate
        Ends: (struct (Endpoint * Dtls.State)) list
        Entropy: Entropy
        /// Handshakes that were done.
        Connected: int
        /// Clients that said goodbye.
        Closed: int
        /// Records of data that came, largest first.
        Largest: int
    }

[<RequireQualifiedAccess>]
module TurnDtls =
    let private p256 = Certificate.Create CertificateKind.EcdsaP256
    let private rsa = Certificate.Create CertificateKind.Rsa2048

    let create (certificate: Certificate) : TurnDtls =
        { Certificate = certificate
          Ends = []
          Entropy = Entropy.ofNumber 77L
          Connected = 0
          Closed = 0
          Largest = 0 }

    let ecdsa () : TurnDtls = create p256
    let withRsa () : TurnDtls = create rsa

    /// Of an impostor.
    let stranger () : TurnDtls =
        create (Certificate.Create CertificateKind.EcdsaP256)

    /// The only host that the two certificates are for.
    let host = "turn.example.org"

    /// What a platform would say of a chain.
    let refusal (name: string) (chain: byte[][]) : string voption =
        if name <> host then
            ValueSome "another name"
        elif [ p256; rsa ] |> List.exists (fun known -> known.Der = chain[0]) then
            ValueNone
        else
            ValueSome "nobody vouches for it"

    let private put (client: Endpoint) (state: Dtls.State) (front: TurnDtls) : TurnDtls =
        { front with
            Ends =
                struct (client, state)
                :: (front.Ends |> List.filter (fun (struct (other, _)) -> not (other.Equals client))) }

    let private find (client: Endpoint) (front: TurnDtls) : Dtls.State voption =
        match front.Ends |> List.tryFind (fun (struct (other, _)) -> other.Equals client) with
        | Some(struct (_, state)) -> ValueSome state
        | None -> ValueNone

    let private written (datagram: DtlsDatagram) : byte[] =
        let bytes = Array.zeroCreate datagram.Size
        datagram.Write(Span bytes) |> ignore
        bytes

    // A hello in the clear, of whoever has none, or a new one, RFC 6347 §4.2.8.
    let private isHello (datagram: byte[]) =
        datagram.Length > 14
        && datagram[0] = 22uy
        && datagram[4] = 0uy
        && datagram[13] = 1uy

    let private fresh now (client: Endpoint) (front: TurnDtls) : TurnDtls =
        let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize front.Entropy

        let config =
            DtlsConfig.create SystemCiphers.Shared front.Certificate.Der front.Certificate.Key

        let struct (state, _) =
            Dtls.create { config with SrtpProfiles = [||] } (Entropy.ofSeed (ReadOnlySpan seed))
            |> Dtls.step now (Dtls.StartWithChain(DtlsRole.Server, ""))

        put client state { front with Entropy = entropy }

    /// What a client's datagram says, and what it is answered.
    let receive now (client: Endpoint) (datagram: byte[]) (front: TurnDtls) : TurnDtls * byte[] list * byte[] list =
        let front =
            match find client front with
            | ValueNone when isHello datagram -> fresh now client front
            | _ -> front

        match find client front with
        | ValueNone -> front, [], []
        | ValueSome state ->
            let struct (state, outputs) =
                Dtls.step now (Dtls.Received(Memory(Array.copy datagram))) state

            ((put client state front, [], []), outputs)
            ||> List.fold (fun (front, plain, answers) output ->
                match output with
                | Dtls.Transmit datagram -> front, plain, answers @ [ written datagram ]
                | Dtls.Data bytes ->
                    { front with
                        Largest = max front.Largest datagram.Length },
                    plain @ [ bytes.ToArray() ],
                    answers
                | Dtls.Connected _ ->
                    { front with
                        Connected = front.Connected + 1 },
                    plain,
                    answers
                | Dtls.Closed ->
                    { front with
                        Closed = front.Closed + 1
                        Ends = front.Ends |> List.filter (fun (struct (other, _)) -> not (other.Equals client)) },
                    plain,
                    answers
                | _ -> front, plain, answers)

    /// In a record, for a client; as it is where it has no connection.
    let seal now (client: Endpoint) (plain: byte[]) (front: TurnDtls) : TurnDtls * byte[] =
        match find client front with
        | ValueNone -> front, plain
        | ValueSome state ->
            match Dtls.step now (Dtls.Seal 1) state with
            | struct (state, [ Dtls.Sealed seal ]) ->
                let bytes = Array.zeroCreate (plain.Length + seal.Overhead)
                plain.CopyTo(bytes, seal.PlaintextOffset)
                seal.Write(Span bytes, plain.Length) |> ignore
                put client state front, bytes
            | _ -> front, plain
