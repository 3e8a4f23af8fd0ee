/// A session with its outputs, for tests to drive.
module Hybrid.WebRtc.PropertyTests.Signalling

open System
open Expecto
open Hybrid.WebRtc.Core

let configuration: Configuration =
    { IceServers = [||]
      IceTransportPolicy = IceTransportPolicy.All
      BundlePolicy = BundlePolicy.Balanced
      IceCandidatePoolSize = 0
      Certificates = [||]
      HeaderEncryption = HeaderEncryptionPolicy.Disable }

/// What one end of a negotiation is made with; the number tells ends apart.
let config (number: int64) : Jsep.Config =
    { Configuration = configuration
      Fingerprints =
        [| { Algorithm = "sha-256"
             Value = Array.init 32 (fun i -> byte (int number + i)) } |]
      MaxMessageSize = 262_144L
      SctpPort = 5000us
      Renomination = false
      IceLite = false
      Capabilities = Capabilities.none }

/// What the orders to the transport amount to.
type Orders =
    { Local: IceParameters voption
      Former: IceParameters voption list
      Remote: IceParameters voption
      Controlling: bool voption
      Dtls: JsepDtlsRole voption
      Sctp: struct (uint16 * int64) voption
      Candidates: string list
      Ended: string list
      Gathered: int
      Closed: int }

let private noOrders =
    { Local = ValueNone
      Former = []
      Remote = ValueNone
      Controlling = ValueNone
      Dtls = ValueNone
      Sctp = ValueNone
      Candidates = []
      Ended = []
      Gathered = 0
      Closed = 0 }

let private obey (orders: Orders) (order: JsepOrder) : Orders =
    match order with
    | JsepOrder.SetIceRole controlling ->
        { orders with
            Controlling = ValueSome controlling }
    | JsepOrder.SetIceLocal credentials ->
        { orders with
            Local = ValueSome credentials
            Former = orders.Local :: orders.Former }
    | JsepOrder.RollbackIceLocal former -> { orders with Local = former }
    | JsepOrder.SetIceRemote(credentials, _) ->
        { orders with
            Remote = ValueSome credentials }
    | JsepOrder.SetIceRenomination _ -> orders
    | JsepOrder.Gather ->
        { orders with
            Gathered = orders.Gathered + 1 }
    | JsepOrder.AddRemoteCandidate(candidate, _) ->
        { orders with
            Candidates = orders.Candidates @ [ candidate ] }
    | JsepOrder.EndOfRemoteCandidates fragment ->
        { orders with
            Ended = orders.Ended @ [ fragment ] }
    | JsepOrder.StartDtls(role, _) -> { orders with Dtls = ValueSome role }
    | JsepOrder.RenewDtls _ -> orders
    | JsepOrder.StartSctp(port, size) ->
        { orders with
            Sctp = ValueSome(struct (port, size)) }
    | JsepOrder.SetMedia _ -> orders
    | JsepOrder.CloseSctp -> { orders with Sctp = ValueNone }
    | JsepOrder.Close ->
        { noOrders with
            Closed = orders.Closed + 1 }

/// One end of a negotiation. Immutable: a test may go on from the same end twice.
[<NoComparison; NoEquality>]
type End =
    {
        Session: Jsep.State
        /// Of the last step, in order.
        Outputs: Jsep.Output list
        Orders: Orders
        /// How often negotiation was needed.
        Needed: int
        Signaling: SignalingState list
        /// As told last.
        Transceivers: TransceiverInfo list
        /// Of all steps, in order.
        Tracks: TrackChange list
        /// What media flow, as ordered last.
        Plan: SectionPlan list
    }

let startWith (config: Jsep.Config) (seed: int64) : End =
    { Session = Jsep.create config (Entropy.ofNumber seed)
      Outputs = []
      Orders = noOrders
      Needed = 0
      Signaling = []
      Transceivers = []
      Tracks = []
      Plan = [] }

/// One that knows of no media.
let start (seed: int64) : End = startWith (config seed) seed

let send (input: Jsep.Input) (e: End) : End =
    let struct (session, outputs) = Jsep.step input e.Session

    let tell (e: End) (output: Jsep.Output) =
        match output with
        | Jsep.Order(JsepOrder.SetMedia plan) ->
            { e with
                Plan = List.ofArray plan.Sections }
        | Jsep.Order order -> { e with Orders = obey e.Orders order }
        | Jsep.NegotiationNeeded -> { e with Needed = e.Needed + 1 }
        | Jsep.SignalingStateChanged state ->
            { e with
                Signaling = state :: e.Signaling }
        | Jsep.TransceiversChanged infos ->
            { e with
                Transceivers = List.ofArray infos }
        | Jsep.TracksChanged changes ->
            { e with
                Tracks = e.Tracks @ List.ofArray changes }
        | Jsep.Reply _
        | Jsep.DescriptionsChanged _
        | Jsep.Ignored _ -> e

    List.fold
        tell
        { e with
            Session = session
            Outputs = outputs }
        outputs

/// The reply among the last step's outputs.
let reply (e: End) : Result<Jsep.Answer, Mistake> =
    e.Outputs
    |> List.tryPick (fun output ->
        match output with
        | Jsep.Reply(_, result) -> Some result
        | _ -> None)
    |> Option.defaultWith (fun () -> failtest "no reply")

/// The step's error name; ValueNone when it succeeded.
let errorOf (e: End) : ErrorName voption =
    match reply e with
    | Ok _ -> ValueNone
    | Error mistake -> ValueSome mistake.Name

let must (what: string) (e: End) : End =
    match reply e with
    | Ok _ -> e
    | Error mistake -> failtest (what + ": " + mistake.Message)

let private created (e: End) : struct (Description * End) =
    match reply e with
    | Ok(Jsep.Created description) -> struct (description, e)
    | Ok _ -> failtest "a description was expected"
    | Error mistake -> failtest mistake.Message

let offer (restart: bool) (e: End) =
    send (Jsep.CreateOffer(1L, restart)) e |> created

let answer (e: End) =
    send (Jsep.CreateAnswer 2L) e |> created

let trySetLocal description e =
    send (Jsep.SetLocalDescription(3L, description)) e

let trySetRemote description e =
    send (Jsep.SetRemoteDescription(4L, description)) e

let setLocal description e =
    trySetLocal (ValueSome description) e |> must "setLocalDescription"

let setRemote description e =
    trySetRemote description e |> must "setRemoteDescription"

let describe kind sdp : Description = { Type = kind; Sdp = sdp }
let withData e = send Jsep.NeedDataSection e
let state (e: End) = Jsep.signalingState e.Session
let held (e: End) = Jsep.descriptions e.Session

/// Offers as the first, answers as the second; both stable afterwards.
let negotiate (restart: bool) (a: End) (b: End) : struct (End * End) =
    let struct (o, a) = offer restart a
    let a = setLocal o a
    let b = setRemote o b
    let struct (answered, b) = answer b
    let b = setLocal answered b
    let a = setRemote answered a
    struct (a, b)

let parsed (text: string) : Sdp =
    match SdpParser.parse text with
    | Ok sdp -> sdp
    | Error e -> failtest ("line " + string e.Line + ": " + e.Message)

let candidate (line: string) (mid: string voption) (index: int voption) (fragment: string voption) =
    Jsep.AddIceCandidate(
        5L,
        { Candidate = line
          SdpMid = mid
          SdpMLineIndex = index
          UsernameFragment = fragment }
    )

/// Text with one thing for another in it; fails where that is not there.
let replaced (part: string) (by: string) (text: string) =
    if not (text.Contains part) then
        failtest ("not in the text: " + part)

    text.Replace(part, by, StringComparison.Ordinal)

/// One that wants data, and its peer.
let pair () = struct (withData (start 1L), start 2L)

/// Both, once they have negotiated.
let connected () =
    let struct (a, b) = pair ()
    negotiate false a b

/// The attributes of the last section.
let section (description: Description) : SdpAttribute[] =
    let sdp = parsed description.Sdp
    sdp.Media[sdp.Media.Length - 1].Level.Attributes

/// The `o=` line's version.
let version (description: Description) =
    Int64.Parse (parsed description.Sdp).Origin.SessionVersion

/// The orders of the last step.
let orders (e: End) =
    e.Outputs
    |> List.choose (fun output ->
        match output with
        | Jsep.Order order -> Some order
        | _ -> None)

/// The names of the last step's outputs, in order.
let told (e: End) =
    e.Outputs
    |> List.map (fun output ->
        match output with
        | Jsep.Reply(_, Ok _) -> "reply"
        | Jsep.Reply(_, Error _) -> "refusal"
        | Jsep.DescriptionsChanged _ -> "descriptions"
        | Jsep.SignalingStateChanged state -> string state
        | Jsep.TransceiversChanged _ -> "transceivers"
        | Jsep.TracksChanged _ -> "tracks"
        | Jsep.NegotiationNeeded -> "needed"
        | Jsep.Ignored _ -> "ignored"
        | Jsep.Order order ->
            match order with
            | JsepOrder.SetIceRole controlling -> "role " + string controlling
            | JsepOrder.SetIceLocal _ -> "local"
            | JsepOrder.RollbackIceLocal former -> "rollback " + (if former.IsSome then "to former" else "to none")
            | JsepOrder.SetIceRemote _ -> "remote"
            | JsepOrder.SetIceRenomination _ -> "renomination"
            | JsepOrder.Gather -> "gather"
            | JsepOrder.AddRemoteCandidate _ -> "candidate"
            | JsepOrder.EndOfRemoteCandidates _ -> "end"
            | JsepOrder.StartDtls(role, _) -> "dtls " + string role
            | JsepOrder.RenewDtls(role, _) -> "renew " + string role
            | JsepOrder.StartSctp(port, size) -> "sctp " + string port + " " + string size
            | JsepOrder.SetMedia _ -> "media"
            | JsepOrder.CloseSctp -> "close sctp"
            | JsepOrder.Close -> "close")

/// A host candidate.
let host = "candidate:1 1 udp 2130706431 192.0.2.7 5555 typ host"

/// A head with the mandatory transport attributes at session level.
let head (setup: string) =
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    + "a=fingerprint:sha-256 "
    + String.Join(":", Array.create 32 "AB")
    + "\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    + (if setup = "" then "" else "a=setup:" + setup + "\r\n")

/// A data section's first lines.
let data =
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"

let theirOffer sdp = describe SdpType.Offer sdp
let theirAnswer sdp = describe SdpType.Answer sdp

/// Our answer to an offer, and the end that gave it.
let answered (sdp: string) : struct (Sdp * End) =
    let struct (ours, b) = answer (setRemote (theirOffer sdp) (start 3L))
    struct (parsed ours.Sdp, setLocal ours b)

/// The error that an offer meets.
let refusedOffer (sdp: string) =
    errorOf (trySetRemote (theirOffer sdp) (start 3L))

/// An end whose offer is set.
let offered () =
    let struct (ours, a) = offer false (withData (start 1L))
    setLocal ours a
