/// Media over a path that loses packets: what is lost is asked for, and sent again, both ways.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaLoss

open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

/// The pictures of both sides are seen at 5 % loss, repaired by NACK and RTX.
let lossy (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        use relay = new LossyRelay(0.05, 0L, 7)
        let tracks = heard ours
        use picture = Player.Vp8()
        ours.Pc.AddTrack picture.Track |> ignore
        let! _ = page.Call(sends, {| colour = blue; sound = false |})

        do!
            negotiateBy
                (fun description -> relay.Pass(0, description))
                (fun description -> relay.Pass(1, description))
                Ours
                ours
                page

        do! sees page red
        picture.Second <- 2
        do! sees page blue
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows blue "video/VP8" tracks[0]
        let! _ = page.Call("(colour) => sent.paint(colour)", green)
        do! shows green "video/VP8" tracks[0]

        // Each side asks, is answered, and is asked.
        do!
            eventually (fun () ->
                task {
                    let! theirs =
                        page.Call
                            """async () => {
                                const [inbound] = await stats(pc, "inbound-rtp", "video");
                                const [outbound] = await stats(pc, "outbound-rtp", "video");
                                return [inbound.nackCount, inbound.retransmittedPacketsReceived ?? 0, outbound.nackCount, outbound.retransmittedPacketsSent];
                            }"""

                    let! report = ours.Pc.GetStatsAsync()
                    let inbound = report.OfType<RTCInboundRtpStreamStats>() |> Seq.exactlyOne
                    let outbound = report.OfType<RTCOutboundRtpStreamStats>() |> Seq.exactlyOne

                    let counts =
                        [ for n in theirs.EnumerateArray() do
                              n.GetInt64()
                          inbound.NackCount
                          inbound.RetransmittedPacketsReceived
                          outbound.NackCount
                          outbound.RetransmittedPacketsSent ]

                    return
                        if List.forall (fun n -> n >= 3L) counts then
                            Ok()
                        else
                            Error $"asked and sent again, there and here: {counts}; lost: {relay.Dropped}"
                })

        // Frames that came, complete, of those that were sent: the rest may be on its way, all the more where either side is busy.
        do!
            eventually (fun () ->
                task {
                    let! sent =
                        page.Call "async () => (await stats(pc, 'outbound-rtp', 'video'))[0].framesEncoded"

                    let came = tracks[0].Frames

                    return
                        if came * 20 > sent.GetInt32() * 17 then
                            Ok()
                        else
                            Error $"of {sent} frames {came} are whole"
                })
    }

/// FlexFEC-03, where the browser is told to have it: either side sends it, and the other makes use of it.
let flexFec (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        use relay = new LossyRelay(0.05, 25L, 11)
        let tracks = heard ours
        use picture = Player.Vp8()
        let transceiver = ours.Pc.AddTransceiver picture.Track

        // It costs: who sends it has to ask for it.
        RTCRtpSender.GetCapabilities(MediaKind.Video).Codecs
        |> Seq.filter (fun c -> List.contains c.MimeType [ "video/VP8"; "video/rtx"; "video/flexfec-03" ])
        |> transceiver.SetCodecPreferences

        let! _ = page.Call(sends, {| colour = blue; sound = false |})

        do!
            negotiateBy
                (fun description -> relay.Pass(0, description))
                (fun description -> relay.Pass(1, description))
                Ours
                ours
                page

        do! sees page red
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows blue "video/VP8" tracks[0]

        do!
            eventually (fun () ->
                task {
                    let! theirs =
                        page.Call
                            """async () => {
                                const [inbound] = await stats(pc, "inbound-rtp", "video");
                                return [inbound.fecPacketsReceived ?? 0, inbound.fecPacketsDiscarded ?? 0];
                            }"""

                    let! report = ours.Pc.GetStatsAsync()
                    let inbound = report.OfType<RTCInboundRtpStreamStats>() |> Seq.exactlyOne
                    let outbound = report.OfType<RTCOutboundRtpStreamStats>() |> Seq.exactlyOne

                    let counts =
                        [ theirs[0].GetInt64(); inbound.FecPacketsReceived; outbound.FecPacketsSent ]


                    return
                        if
                            List.forall (fun n -> n >= 5L) counts
                            && inbound.FecPacketsDiscarded < inbound.FecPacketsReceived
                        then
                            Ok()
                        else
                            Error
                                $"FEC received there and here, and sent here: {counts}; of no use here: {inbound.FecPacketsDiscarded}; lost: {relay.Dropped}"
                })
    }
