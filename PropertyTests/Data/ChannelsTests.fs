module Hybrid.WebRtc.PropertyTests.ChannelsTests

open System
open System.Text
open Expecto
open Hybrid.WebRtc.Core

/// Two ends over an association that loses nothing and takes no time: what one queues, the other receives.
type private Pair =
    {
        A: Channels.State
        B: Channels.State
        /// Newest first: who was told, and what.
        Told: (char * Channels.Output) list
    }

let private create () =
    { A = Channels.create 1_000
      B = Channels.create 1_000
      Told = [] }

let rec private feed (who: char) (input: Channels.Input) (pair: Pair) : Pair =
    let struct (state, outputs) =
        Channels.step 0L<us> input (if who = 'a' then pair.A else pair.B)

    let pair =
        if who = 'a' then
            { pair with A = state }
        else
            { pair with B = state }

    let other = if who = 'a' then 'b' else 'a'

    (pair, outputs)
    ||> List.fold (fun pair output ->
        let pair =
            { pair with
                Told = (who, output) :: pair.Told }

        match output with
        | Channels.Queue m ->
            pair
            |> feed who (Channels.Transmitted(m.Stream, m.Payload.Length))
            |> feed other (Channels.Received(m.Stream, m.Ppid, m.Payload))
        | Channels.Reset streams ->
            pair
            |> feed who (Channels.OutgoingReset streams)
            |> feed other (Channels.IncomingReset streams)
        | _ -> pair)

let private up pair =
    pair
    |> feed 'b' (Channels.Established(Channels.Odd, 1024))
    |> feed 'a' (Channels.Established(Channels.Even, 1024))

let private init label =
    { Label = label
      Protocol = ""
      Ordered = true
      MaxPacketLifeTime = ValueNone
      MaxRetransmits = ValueNone
      Negotiated = false
      Id = ValueNone
      Priority = Priority.Low }

let private told who pick pair =
    List.rev pair.Told
    |> List.choose (fun (w, output) -> if w = who then pick output else None)

let private announced =
    function
    | Channels.Announced info -> Some info
    | _ -> None

let private delivered =
    function
    | Channels.Deliver(_, text, payload) -> Some(text, payload.ToArray())
    | _ -> None

let private opened =
    function
    | Channels.Opened(handle, id) -> Some(handle, id)
    | _ -> None

let private closed =
    function
    | Channels.Closed(handle, fault) -> Some(handle, fault.IsSome)
    | _ -> None

let private refused =
    function
    | Channels.Refused(_, mistake) -> Some mistake.Name
    | _ -> None

let private fell =
    function
    | Channels.BufferedAmountFell(_, octets) -> Some octets
    | _ -> None

let private bytes (text: string) =
    ReadOnlyMemory(Encoding.UTF8.GetBytes text)

let tests =
    testList
        "Channels"
        [ testCase "a channel made before the association opens with it, and the peer is told of it" (fun () ->
              let pair =
                  create ()
                  |> feed 'a' (Channels.Create(1L, { init "chat" with Ordered = false }))
                  |> up

              Expect.equal (told 'a' opened pair) [ 1, 0 ] "opened on the first even stream"

              match told 'b' announced pair with
              | [ info ] ->
                  Expect.equal info.Init.Label "chat" "label"
                  Expect.isFalse info.Init.Ordered "unordered"
                  Expect.equal info.Init.Id (ValueSome 0) "id"
              | other -> failtestf "announced %d channels" other.Length)

          testCase "client and server choose even and odd streams" (fun () ->
              let pair =
                  create ()
                  |> up
                  |> feed 'a' (Channels.Create(1L, init "a0"))
                  |> feed 'b' (Channels.Create(1L, init "b1"))
                  |> feed 'a' (Channels.Create(2L, init "a2"))

              Expect.equal (told 'a' opened pair |> List.map snd) [ 0; 2 ] "even"
              Expect.equal (told 'b' opened pair |> List.map snd) [ 1 ] "odd")

          testCase "strings, binary and empty messages arrive as they were sent" (fun () ->
              let pair = create () |> up |> feed 'a' (Channels.Create(1L, init ""))

              let pair =
                  pair
                  |> feed 'a' (Channels.Send(1, true, bytes "häl"))
                  |> feed 'a' (Channels.Send(1, false, bytes "bin"))
                  |> feed 'a' (Channels.Send(1, true, ReadOnlyMemory.Empty))
                  |> feed 'a' (Channels.Send(1, false, ReadOnlyMemory.Empty))

              Expect.equal
                  (told 'b' delivered pair)
                  [ true, Encoding.UTF8.GetBytes "häl"; false, "bin"B; true, [||]; false, [||] ]
                  "in order")

          testCase "the buffered amount falls by the user's octets only" (fun () ->
              let pair = create () |> up |> feed 'a' (Channels.Create(1L, init "label"))

              let pair =
                  pair
                  |> feed 'a' (Channels.Send(1, true, ReadOnlyMemory.Empty))
                  |> feed 'a' (Channels.Send(1, true, bytes "12345"))

              Expect.equal (told 'a' fell pair) [ 5 ] "neither the OPEN nor the empty message's octet counts")

          testCase
              "a message that overtakes the acknowledgement of our OPEN leaves the buffered amount right"
              (fun () ->
                  let run inputs state =
                      (struct (state, []), inputs)
                      ||> List.fold (fun (struct (state, told)) input ->
                          let struct (state, outputs) = Channels.step 0L<us> input state
                          struct (state, told @ outputs))

                  let unordered = { init "u" with Ordered = false }

                  let struct (state, told) =
                      Channels.create 1_000
                      |> run [ Channels.Established(Channels.Even, 1024); Channels.Create(1L, unordered) ]

                  let opening =
                      told
                      |> List.pick (function
                          | Channels.Queue m -> Some m.Payload.Length
                          | _ -> None)

                  let handle =
                      told
                      |> List.pick (function
                          | Channels.Opened(handle, _) -> Some handle
                          | _ -> None)

                  let struct (_, told) =
                      state
                      |> run
                          [ Channels.Send(handle, false, ReadOnlyMemory(Array.zeroCreate 100))
                            Channels.Transmitted(0us, opening)
                            Channels.Received(0us, Ppid.Binary, bytes "hello")
                            Channels.Transmitted(0us, 100) ]

                  let fell =
                      told
                      |> List.sumBy (function
                          | Channels.BufferedAmountFell(_, octets) -> octets
                          | _ -> 0)

                  Expect.equal fell 100 "the user's octets, all of them")

          testCase "until the OPEN is acknowledged an unordered channel sends in order, RFC 8832 §6" (fun () ->
              let quiet input (state, sent) =
                  let struct (state, outputs) = Channels.step 0L<us> input state

                  state,
                  sent
                  @ (outputs
                     |> List.choose (function
                         | Channels.Queue m -> Some m.Ordered
                         | _ -> None))

              let _, ordered =
                  (Channels.create 1_000, [])
                  |> quiet (Channels.Established(Channels.Even, 16))
                  |> quiet (Channels.Create(1L, { init "" with Ordered = false }))
                  |> quiet (Channels.Send(1, true, bytes "early"))
                  |> quiet (Channels.Received(0us, Ppid.Dcep, ReadOnlyMemory(Dcep.write Ack)))
                  |> quiet (Channels.Send(1, true, bytes "late"))

              Expect.equal ordered [ true; true; false ] "OPEN, early, late")

          testCase "a negotiated channel announces nothing and works both ways" (fun () ->
              let negotiated =
                  { init "n" with
                      Negotiated = true
                      Id = ValueSome 7 }

              let pair =
                  create ()
                  |> feed 'a' (Channels.Create(1L, negotiated))
                  |> feed 'b' (Channels.Create(1L, negotiated))
                  |> up
                  |> feed 'a' (Channels.Send(1, true, bytes "x"))
                  |> feed 'b' (Channels.Send(1, true, bytes "y"))

              Expect.isEmpty (told 'b' announced pair) "not announced"
              Expect.equal (told 'b' delivered pair) [ true, "x"B ] "a to b"
              Expect.equal (told 'a' delivered pair) [ true, "y"B ] "b to a")

          testCase "closing from either side resets both ways, closes both, and frees the stream" (fun () ->
              for closer in [ 'a'; 'b' ] do
                  let pair =
                      create ()
                      |> up
                      |> feed 'a' (Channels.Create(1L, init ""))
                      |> feed closer (Channels.Close 1)

                  Expect.equal (told 'a' closed pair) [ 1, false ] "a closed"
                  Expect.equal (told 'b' closed pair) [ 1, false ] "b closed"
                  let pair = feed 'a' (Channels.Create(2L, init "again")) pair
                  Expect.equal (told 'a' opened pair) [ 1, 0; 2, 0 ] "the stream serves again")

          testCase "a lost association closes every channel with its fault, and terminal states absorb" (fun () ->
              let fault = Fault.create Layer.Sctp ErrorDetail.SctpFailure "gone"

              let pair =
                  create ()
                  |> up
                  |> feed 'a' (Channels.Create(1L, init "x"))
                  |> feed 'a' (Channels.Create(2L, init "y"))
                  |> feed 'a' (Channels.AssociationLost(ValueSome fault))

              Expect.equal (told 'a' closed pair) [ 1, true; 2, true ] "both"

              let struct (_, after) =
                  Channels.step 0L<us> (Channels.Send(1, true, bytes "x")) pair.A

              Expect.equal after.Length 1 "only counted")

          testCase "callers' mistakes carry the W3C's names" (fun () ->
              let bad =
                  [ { init "" with
                        MaxPacketLifeTime = ValueSome 1
                        MaxRetransmits = ValueSome 1 },
                    ErrorName.TypeError
                    { init "" with Negotiated = true }, ErrorName.TypeError
                    { init "" with
                        Negotiated = true
                        Id = ValueSome 65_535 },
                    ErrorName.TypeError
                    init (String('x', 65_536)), ErrorName.TypeError
                    { init "" with
                        Protocol = String('ä', 40_000) },
                    ErrorName.TypeError
                    { init "" with
                        Negotiated = true
                        Id = ValueSome 0 },
                    ErrorName.OperationError
                    { init "" with
                        Negotiated = true
                        Id = ValueSome 2_000 },
                    ErrorName.OperationError ]

              let pair = create () |> up |> feed 'a' (Channels.Create(1L, init "taken"))

              for channel, name in bad do
                  let after = feed 'a' (Channels.Create(9L, channel)) { pair with Told = [] }
                  Expect.equal (told 'a' refused after) [ name ] (string name))

          testCase "deprecated partial messages are joined, and bounded" (fun () ->
              let feedB ppid text =
                  feed 'b' (Channels.Received(0us, ppid, bytes text))

              let pair = create () |> up |> feed 'a' (Channels.Create(1L, init ""))
              let joined = pair |> feedB 54u "ab" |> feedB 54u "cd" |> feedB 51u "e"
              Expect.equal (told 'b' delivered joined) [ true, "abcde"B ] "joined in order"
              let flood = pair |> feedB 52u (String('x', 900)) |> feedB 52u (String('x', 900))

              let tooMany =
                  function
                  | Channels.Ignored Drop.TooMany -> Some()
                  | _ -> None

              Expect.equal (told 'b' tooMany flood) [ () ] "no more than the largest message is kept")

          testCase "labels that the peer makes us keep are bounded" (fun () ->
              let message =
                  Dcep.Open
                      { Ordered = true
                        Reliability = Reliable
                        Priority = 256us
                        Label = String('x', 65_535)
                        Protocol = String('y', 65_535) }

              let payload = ReadOnlyMemory(Dcep.write message)

              let flooded =
                  (create () |> up, [ 0..200 ])
                  ||> List.fold (fun pair id ->
                      feed 'b' (Channels.Received(uint16 (2 * id), Ppid.Dcep, payload)) { pair with Told = [] })

              Expect.isLessThan flooded.B.Book.PeersText 4_300_000 "octets kept")

          testPropertyWithConfig
              Laws.config
              "any message on any stream with any PPID never throws, and nothing of the window is lost"
          <| fun (messages: (uint16 * byte * byte[]) list) ->
              let pair = create () |> up

              messages
              |> List.forall (fun (stream, ppid, payload) ->
                  let struct (_, outputs) =
                      Channels.step
                          0L<us>
                          (Channels.Received(stream % 4us, 48u + uint32 (ppid % 12uy), ReadOnlyMemory payload))
                          pair.B

                  outputs
                  |> List.exists (function
                      | Channels.Deliver _
                      | Channels.Discarded _ -> true
                      | _ -> false)) ]
