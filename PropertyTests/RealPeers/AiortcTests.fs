/// Our library and aiortc, each as offerer and as answerer.
module Hybrid.WebRtc.PropertyTests.RealPeers.AiortcTests

open System.Text
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests

let private echoes (line: Line) : Task =
    task {
        do! line.Opened()
        line.Channel.Send "hello"
        let! struct (isText, octets) = line.Next()
        Expect.isTrue isText "a string came back"
        Expect.equal (Encoding.UTF8.GetString octets) "hello" "the string"
        let big = Array.init 60_000 (fun i -> byte (i >>> 2))
        line.Channel.Send big
        let! struct (isText, octets) = line.Next()
        Expect.isFalse isText "binary came back"
        Expect.isTrue (octets = big) "the octets"
    }

let private weOffer (python: string) : Task =
    task {
        use aiortc = new Aiortc(python, "answer")
        use ours = new OurPeer()
        let line = ours.Create "ours"
        let! offered = ours.Describe()
        do! aiortc.Give offered
        let! answered = aiortc.Next()
        do! ours.Accept answered
        do! echoes line
        do! ours.Grows line
    }

let private aiortcOffers (python: string) : Task =
    task {
        use aiortc = new Aiortc(python, "offer")
        use ours = new OurPeer()
        let! offered = aiortc.Next()
        do! ours.Accept offered
        let! answered = ours.Describe()
        do! aiortc.Give answered
        let! line = ours.Incoming "aiortc"
        do! echoes line
    }

let tests =
    testSequenced
    <| testList
        "aiortc"
        [ Outside.needing Peers.aiortc "echoes strings and binary, we offer" weOffer
          Outside.needing Peers.aiortc "echoes strings and binary, aiortc offers" aiortcOffers ]
