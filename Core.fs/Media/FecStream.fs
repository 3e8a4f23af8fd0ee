namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// FlexFEC that goes with one sent source, in a source of its own.
///
/// How much of it: four times the loss that the peer's reports tell of, smoothed, and half of the media at most
/// (`FlexFecSender.protection`). None where little is lost, and none where whoever misses a packet asks for it and has it sooner
/// than a group of packets is full.
[<NoComparison; NoEquality>]
type internal FecStream =
    {
        /// Negotiated, and not only once: numbers go on where they were when it is negotiated again, or the encryption breaks.
        IsOpen: bool
        Own: SenderExtensions
        Machine: FlexFecSender.State
        /// The SRTP index of the next packet.
        Next: uint64
        /// From 0 to 1, smoothed.
        Loss: float
        Packets: int64
        Octets: int64
        HeaderOctets: int64
    }

[<RequireQualifiedAccess>]
module internal FecStream =
    /// FEC packets for each packet, at most. libwebrtc's.
    [<Literal>]
    let private Budget = 0.5

    /// A retransmission that takes no longer beats FEC. libwebrtc's `kLowRttNackMs`.
    let private shortTrip: Duration = Duration.milliseconds 20L

    /// The part that the last report has in the loss.
    [<Literal>]
    let private Weight = 0.5

    let create (payloadType: byte) (ssrc: uint32) (own: SenderExtensions) : FecStream =
        // In the lower half: an early packet that is lost does not hide a wrap, RFC 3711 §3.3.1.
        let first = uint16 (ssrc >>> 16) &&& 0x7FFFus

        { IsOpen = true
          Own = own
          Machine = FlexFecSender.create payloadType ssrc first
          Next = uint64 first
          Loss = 0.0
          Packets = 0L
          Octets = 0L
          HeaderOctets = 0L }

    /// With what descriptions say now.
    let opened (payloadType: byte) (own: SenderExtensions) (fec: FecStream) : FecStream =
        { fec with
            IsOpen = true
            Own = own
            Machine =
                { fec.Machine with
                    PayloadType = payloadType } }

    /// Not sent any more.
    let closed (fec: FecStream) : FecStream =
        { fec with
            IsOpen = false
            Machine = FlexFecSender.create fec.Machine.PayloadType fec.Machine.Ssrc fec.Machine.Next }

    /// Under other keys indices begin anew.
    let rekeyed (fec: FecStream) : FecStream =
        { fec with
            Next = fec.Next &&& 0x7FFFUL }

    /// After a report of a loss (0 to 1). `isAskedAgain`: lost packets may be asked for, and take a round trip.
    let reported (loss: float) (isAskedAgain: bool) (roundTrip: Duration) (fec: FecStream) : FecStream =
        let loss = fec.Loss + Weight * (loss - fec.Loss)

        let protection =
            if not fec.IsOpen || isAskedAgain && roundTrip < shortTrip then
                0.0
            else
                FlexFecSender.protection loss Budget

        { fec with
            Loss = loss
            Machine = FlexFecSender.protecting protection fec.Machine }

    /// What becomes of the protected packets as the network has them. `rewrite`: as the packet is sent.
    let protect
        (now: Instant)
        (index: uint64)
        (map: ExtensionMap)
        (packet: inref<RtpPacket>)
        (rewrite: inref<RtpRewrite>)
        (size: int)
        (fec: FecStream)
        : struct (FecStream * RtpPacket[]) =
        if fec.Machine.Protection <= 0.0 && fec.Machine.Group.IsEmpty then
            struct (fec, Array.Empty())
        else
            let bytes: byte[] = Array.zeroCreate size
            RtpWriter.write &packet &rewrite (Span bytes) |> ignore

            let struct (machine, made) =
                FlexFecSender.sent now (int64 index) map (ReadOnlySpan bytes) fec.Machine

            struct ({ fec with Machine = machine }, made)

    let deadline (fec: FecStream | null) : Instant =
        match fec with
        | null -> Instant.never
        | fec -> FlexFecSender.deadline fec.Machine

    /// The part of what is sent that is left for media, from 0 to 1.
    let share (fec: FecStream | null) : float =
        match fec with
        | null -> 1.0
        | fec -> 1.0 / (1.0 + fec.Machine.Protection)
