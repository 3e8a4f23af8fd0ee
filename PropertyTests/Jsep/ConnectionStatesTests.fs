module Hybrid.WebRtc.PropertyTests.ConnectionStatesTests

open Expecto
open Hybrid.WebRtc.Core

/// Every list of up to two states.
let private upToTwo (states: 'state list) : 'state[] list =
    [ [||] ]
    @ [ for a in states -> [| a |] ]
    @ [ for a in states do
            for b in states -> [| a; b |] ]

let private iceStates: IceTransportState list =
    [ IceTransportState.New
      IceTransportState.Checking
      IceTransportState.Connected
      IceTransportState.Completed
      IceTransportState.Disconnected
      IceTransportState.Failed
      IceTransportState.Closed ]

let private dtlsStates: DtlsTransportState list =
    [ DtlsTransportState.New
      DtlsTransportState.Connecting
      DtlsTransportState.Connected
      DtlsTransportState.Closed
      DtlsTransportState.Failed ]

let private gatheringStates: IceGatheringState list =
    [ IceGatheringState.New
      IceGatheringState.Gathering
      IceGatheringState.Complete ]

let private only (among: 'state list) (states: 'state[]) =
    Array.forall (fun s -> List.contains s among) states

/// The rows of W3C's tables, each with its own condition; the first that holds is the state.
let private first (rows: (bool * 'state) list) : 'state = rows |> List.find fst |> snd

let tests =
    testList
        "ConnectionStates"
        [ testCase "one transport of each kind: the literal table" (fun () ->
              let table =
                  [ IceTransportState.New, "NNNNF"
                    IceTransportState.Checking, "CCCCF"
                    IceTransportState.Connected, "CCYYF"
                    IceTransportState.Completed, "CCYYF"
                    IceTransportState.Disconnected, "DDDDF"
                    IceTransportState.Failed, "FFFFF"
                    IceTransportState.Closed, "NCYNF" ]

              for ice, row in table do
                  for dtls, expected in List.zip dtlsStates (List.ofSeq row) do
                      let expected =
                          // ICE new under a DTLS that is on its way or done is neither new nor connected.
                          match ice, dtls, expected with
                          | IceTransportState.New, (DtlsTransportState.Connecting | DtlsTransportState.Connected), _ ->
                              PeerConnectionState.Connecting
                          | _, _, 'N' -> PeerConnectionState.New
                          | _, _, 'C' -> PeerConnectionState.Connecting
                          | _, _, 'Y' -> PeerConnectionState.Connected
                          | _, _, 'D' -> PeerConnectionState.Disconnected
                          | _ -> PeerConnectionState.Failed

                      let found = ConnectionStates.peerConnection false [| ice |] [| dtls |]
                      Expect.equal found expected (string ice + ", " + string dtls))

          testCase "connectionState is the first row of §4.3.3 that holds, for any two transports" (fun () ->
              for ice in upToTwo iceStates do
                  for dtls in upToTwo dtlsStates do
                      let expected =
                          first
                              [ Array.contains IceTransportState.Failed ice
                                || Array.contains DtlsTransportState.Failed dtls,
                                PeerConnectionState.Failed
                                Array.contains IceTransportState.Disconnected ice, PeerConnectionState.Disconnected
                                only [ IceTransportState.New; IceTransportState.Closed ] ice
                                && only [ DtlsTransportState.New; DtlsTransportState.Closed ] dtls,
                                PeerConnectionState.New
                                only
                                    [ IceTransportState.Connected
                                      IceTransportState.Completed
                                      IceTransportState.Closed ]
                                    ice
                                && only [ DtlsTransportState.Connected; DtlsTransportState.Closed ] dtls,
                                PeerConnectionState.Connected
                                true, PeerConnectionState.Connecting ]

                      Expect.equal (ConnectionStates.peerConnection false ice dtls) expected "open"

                      Expect.equal
                          (ConnectionStates.peerConnection true ice dtls)
                          PeerConnectionState.Closed
                          "closed whatever the transports do")

          testCase "iceConnectionState is the first row of §4.3.4 that holds, for any two transports" (fun () ->
              for ice in upToTwo iceStates do
                  let expected =
                      first
                          [ Array.contains IceTransportState.Failed ice, IceTransportState.Failed
                            Array.contains IceTransportState.Disconnected ice, IceTransportState.Disconnected
                            only [ IceTransportState.New; IceTransportState.Closed ] ice, IceTransportState.New
                            Array.contains IceTransportState.New ice
                            || Array.contains IceTransportState.Checking ice,
                            IceTransportState.Checking
                            only [ IceTransportState.Completed; IceTransportState.Closed ] ice,
                            IceTransportState.Completed
                            true, IceTransportState.Connected ]

                  Expect.equal (ConnectionStates.iceConnection false ice) expected "open"
                  Expect.equal (ConnectionStates.iceConnection true ice) IceTransportState.Closed "closed")

          testCase "iceConnectionState of one transport is that transport's, save closed" (fun () ->
              for ice in iceStates do
                  let expected =
                      if ice = IceTransportState.Closed then
                          IceTransportState.New
                      else
                          ice

                  Expect.equal (ConnectionStates.iceConnection false [| ice |]) expected (string ice))

          testCase "iceGatheringState is §4.3.2's, for any two transports" (fun () ->
              for states in upToTwo gatheringStates do
                  let expected =
                      first
                          [ Array.contains IceGatheringState.Gathering states, IceGatheringState.Gathering
                            states.Length = 0 || Array.contains IceGatheringState.New states, IceGatheringState.New
                            true, IceGatheringState.Complete ]

                  Expect.equal (ConnectionStates.iceGathering states) expected "the first row that holds") ]
