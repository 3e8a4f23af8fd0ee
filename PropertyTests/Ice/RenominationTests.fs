/// Nominations after the first, draft-thatcher-ice-renomination.
module Hybrid.WebRtc.PropertyTests.Ice.RenominationTests

open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests

let private worse, better = Puppet.at 2uy, Puppet.at 3uy

/// An agent whose checks of these candidates are answered for so many rounds, and what it asked.
let private agentFor rounds role (agreed: bool) (remotes: Candidate list) =
    Puppet.created role
    |> Puppet.feed
        Puppet.start
        [ Ice.SetRemote(Puppet.remote, false)
          if agreed then
              Ice.SetRenomination true
          for remote in remotes do
              Ice.AddRemote(remote, ValueNone) ]
    |> Puppet.obey rounds Puppet.start

let private agentOf role agreed remotes = agentFor 8 role agreed remotes

/// A controlled agent both of whose pairs work.
let private controlled (agreed: bool) =
    let struct (agent, _) =
        agentOf IceRole.Controlled agreed [ Puppet.candidate worse 1000u; Puppet.candidate better 2000u ]

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
        agentOf IceRole.Controlling agreed [ Puppet.candidate worse 1000u ]

    let now = Ice.deadline agent
    Puppet.feed now [ Ice.Tick ] agent |> Puppet.obey 8 now

let private relayed =
    { Puppet.candidate worse 10u with
        Type = CandidateType.Relayed }

/// A controlling agent of one working pair, by a relay, which it has just begun to nominate; and by what request.
let private nominating () =
    let struct (agent, outputs) = agentFor 1 IceRole.Controlling true [ relayed ]
    Expect.equal (selected agent) ValueNone "not yet"

    match List.rev (Puppet.requests outputs) with
    | struct (_, request) :: _ -> struct (Puppet.start, agent, request)
    | [] -> failtest "no request"

let private answer (from: Endpoint) request =
    Puppet.receive from (Puppet.answerTo request)

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
                      let struct (agent, _) = agentOf IceRole.Controlling agreed [ relayed ]
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
                          Expect.equal (selected agent) (ValueSome worse) "stays")

          testCase "a direct pair that answers while a relay is being nominated is nominated next" (fun () ->
              let struct (now, agent, first) = nominating ()

              let struct (agent, outputs) =
                  Puppet.feed now [ Ice.AddRemote(Puppet.candidate better 2130706431u, ValueNone) ] agent

              let direct =
                  match Puppet.requests outputs with
                  | [ struct (_, request) ] -> request
                  | other -> failtestf "requests: %A" other

              let struct (agent, outputs) = Puppet.feed now [ answer better direct ] agent
              Expect.isEmpty (numbers outputs) "one at a time"
              let struct (agent, outputs) = Puppet.feed now [ answer worse first ] agent
              Expect.equal (selected agent) (ValueSome worse) "the relay"
              Expect.equal (numbers outputs) [ 2u ] "the second nomination"
              let struct (agent, _) = Puppet.obey 1 now (struct (agent, outputs))
              Expect.equal (selected agent) (ValueSome better) "moved")

          testCase
              "a nomination that is not answered is asked anew every two round trips, 100 ms at least, and any answer counts"
              (fun () ->
                  let struct (start, agent, first) = nominating ()
                  let mutable agent = agent
                  let mutable asked = [ struct (start, first) ]

                  while Ice.deadline agent < start + Duration.seconds 1L do
                      let now = Ice.deadline agent
                      let struct (next, outputs) = Puppet.feed now [ Ice.Tick ] agent
                      agent <- next

                      for struct (_, request) in Puppet.requests outputs do
                          asked <- struct (now, request) :: asked

                  Expect.equal asked.Length 10 "ten in a second"

                  for struct (struct (later, _), struct (earlier, _)) in
                      List.pairwise asked |> List.map (fun (a, b) -> struct (a, b)) do
                      Expect.equal (later - earlier) (Duration.milliseconds 100L) "apart"

                  // No transaction is repeated within 500 ms, RFC 8445 §14.3.
                  let ids =
                      asked
                      |> List.map (fun (struct (_, request)) ->
                          struct (request.Transaction.High, request.Transaction.Low))

                  Expect.equal (List.distinct ids).Length 10 "each another"

                  for struct (_, request) in asked do
                      Expect.equal (Message.nomination request) 1u "the same nomination"

                  let struct (now, second) = asked[asked.Length - 3]

                  let struct (agent, _) =
                      Puppet.feed (now + Duration.seconds 1L) [ answer worse second ] agent

                  Expect.equal (selected agent) (ValueSome worse) "selected") ]
