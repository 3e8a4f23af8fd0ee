/// Nominations after the first, draft-thatcher-ice-renomination.
module Hybrid.WebRtc.PropertyTests.Ice.RenominationTests

open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests

let private worse, better = Puppet.at 2uy, Puppet.at 3uy

/// A controlled agent both of whose pairs work.
let private controlled (agreed: bool) =
    let struct (agent, _) =
        Puppet.created IceRole.Controlled
        |> Puppet.feed
            Puppet.start
            [ Ice.SetRemote(Puppet.remote, false)
              if agreed then
                  Ice.SetRenomination true
              Ice.AddRemote(Puppet.candidate worse 1000u, ValueNone)
              Ice.AddRemote(Puppet.candidate better 2000u, ValueNone) ]
        |> Puppet.obey 4 Puppet.start

    agent

let private nominate (remote: Endpoint) n (number: uint32 voption) =
    Puppet.checkFrom
        remote
        n
        [ IceControlling 1UL
          UseCandidate
          match number with
          | ValueSome number -> Nomination number
          | ValueNone -> () ]

let private selected (agent: Ice.State) =
    Ice.selectedPair agent |> ValueOption.map _.Path.Remote

let private follow agreed nominations =
    let struct (agent, _) =
        controlled agreed
        |> Puppet.feed
            Puppet.start
            (nominations
             |> List.mapi (fun i (remote, number) -> nominate remote (100 + i) number))
        |> Puppet.obey 4 Puppet.start

    selected agent

/// A controlling agent that has selected the worse of two pairs, and what it asked since.
let private controlling (agreed: bool) =
    let struct (agent, _) =
        Puppet.created IceRole.Controlling
        |> Puppet.feed
            Puppet.start
            [ Ice.SetRemote(Puppet.remote, false)
              if agreed then
                  Ice.SetRenomination true
              Ice.AddRemote(Puppet.candidate worse 1000u, ValueNone) ]
        |> Puppet.obey 8 Puppet.start

    let now = Ice.deadline agent
    Puppet.feed now [ Ice.Tick ] agent |> Puppet.obey 8 now

let private numbers outputs =
    Puppet.requests outputs
    |> List.choose (fun (struct (_, message)) ->
        match Message.nomination message with
        | 0u -> None
        | number -> Some number)

let tests =
    testList
        "Renomination"
        [ testCase
              "the controlled side follows the greatest number, whatever the pairs' priorities and the order of arrival"
              (fun () ->
                  Expect.equal
                      (follow true [ better, ValueSome 4u; worse, ValueSome 5u ])
                      (ValueSome worse)
                      "the later"

                  Expect.equal
                      (follow true [ worse, ValueSome 5u; better, ValueSome 4u ])
                      (ValueSome worse)
                      "overtaken"

                  Expect.equal
                      (follow true [ worse, ValueSome 5u; better, ValueSome 4u; better, ValueSome 6u ])
                      (ValueSome better)
                      "and later still")

          testCase "a nomination without a number does not count where there was one" (fun () ->
              Expect.equal (follow true [ worse, ValueSome 1u; better, ValueNone ]) (ValueSome worse) "§4")

          testCase "numbers count only where both sides have said so" (fun () ->
              Expect.equal
                  (follow false [ better, ValueSome 4u; worse, ValueSome 5u ])
                  (ValueSome better)
                  "by priority")

          testCase "the controlling side numbers its nominations only where both sides have said so" (fun () ->
              let struct (_, outputs) = controlling true
              Expect.contains (numbers outputs) 1u "the first"
              let struct (_, outputs) = controlling false
              Expect.isEmpty (numbers outputs) "none")

          testCase
              "a relay that was nominated in the beginning gives way to a direct pair that works later, and only where the peer can follow"
              (fun () ->
                  for agreed in [ true; false ] do
                      let relayed =
                          { Puppet.candidate worse 10u with
                              Type = CandidateType.Relayed }

                      let struct (agent, _) =
                          Puppet.created IceRole.Controlling
                          |> Puppet.feed
                              Puppet.start
                              [ Ice.SetRemote(Puppet.remote, false)
                                if agreed then
                                    Ice.SetRenomination true
                                Ice.AddRemote(relayed, ValueNone) ]
                          |> Puppet.obey 8 Puppet.start

                      let now = Puppet.start + Duration.seconds 2L
                      let struct (agent, _) = Puppet.feed now [ Ice.Tick ] agent |> Puppet.obey 8 now
                      Expect.equal (selected agent) (ValueSome worse) "the relay"

                      // It is news: checked, where better pairs still are.
                      let struct (agent, outputs) =
                          Puppet.feed now [ Ice.AddRemote(Puppet.candidate better 2130706431u, ValueNone) ] agent
                          |> Puppet.obey 8 now

                      if agreed then
                          Expect.equal (selected agent) (ValueSome better) "moved"
                          Expect.contains (numbers outputs) 2u "by the second nomination"
                      else
                          Expect.equal (selected agent) (ValueSome worse) "stays") ]
