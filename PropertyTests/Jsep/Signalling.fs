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
      Certificates = [||] }

let private config (number: int64) : Jsep.Config =
    { Configuration = configuration
      Fingerprints =
        [| { Algorithm = "sha-256"
             Value = Array.init 32 (fun i -> byte (int number + i)) } |]
      MaxMessageSize = 262_144L
      SctpPort = 5000us }

/// What the orders to the transport amount to.
type Orders =
    { Local: JsepCredentials voption
      Former: JsepCredentials voption list
      Remote: JsepCredentials voption
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
    | JsepOrder.StartSctp(port, size) ->
        { orders with
            Sctp = ValueSome(struct (port, size)) }
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
    }

let start (seed: int64) : End =
    { Session = Jsep.create (config seed) (Entropy.ofNumber seed)
      Outputs = []
      Orders = noOrders
      Needed = 0
      Signaling = [] }

let send (input: Jsep.Input) (e: End) : End =
    let struct (session, outputs) = Jsep.step input e.Session

    let tell (e: End) (output: Jsep.Output) =
        match output with
        | Jsep.Order order -> { e with Orders = obey e.Orders order }
        | Jsep.NegotiationNeeded -> { e with Needed = e.Needed + 1 }
        | Jsep.SignalingStateChanged state ->
            { e with
                Signaling = state :: e.Signaling }
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

let private must (what: string) (e: End) : End =
    match reply e with
    | Ok _ -> e
    | Error mistake -> failtest (what + ": " + mistake.Message)

let private created (e: End) : struct (Description * End) =
    match reply e with
    | Ok(Jsep.Created description) -> struct (description, e)
    | Ok Jsep.Done -> failtest "a description was expected"
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
