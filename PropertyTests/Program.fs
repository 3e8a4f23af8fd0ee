module Hybrid.WebRtc.PropertyTests.Program

open Expecto

let private runTests args =
    // One to a line, so that two changes to the list merge.
    [ House.Purity.tests
      House.Surface.tests
      House.Hygiene.tests
      House.Hygiene.docs
      House.Package.tests
      RealPeers.PeersTests.tests
      RealPeers.MediaPeersTests.tests
      RealPeers.ChromiumTests.tests
      RealPeers.ChromiumTcpTests.tests
      RealPeers.MediaBrowserTests.tests
      RealPeers.AiortcTests.tests
      RealPeers.TurnServerPeersTests.tests
      RealPeers.NamespaceTests.tests
      House.Examples.tests
      House.MediaExamples.tests
      House.RelayExamples.tests
      House.ConnectivityExamples.tests
      House.Benchmarks.tests
      PreludeTests.tests
      SlotsTests.tests
      SerialTests.tests
      RangesTests.tests
      LogTests.tests
      StunTests.tests
      TurnCodecTests.tests
      TurnClientTests.tests
      Turn.TurnServerTests.tests
      Turn.TurnServerDataTests.tests
      Turn.TurnServerCostTests.tests
      Turn.TurnServerShellTests.tests
      Ice.CandidateTests.tests
      Ice.IceTests.tests
      Ice.RulesTests.tests
      Ice.IceTcpTests.tests
      Ice.RenominationTests.tests
      SdpTests.tests
      ConnectionStatesTests.tests
      SignallingTableTests.tests
      JsepTests.tests
      JsepCandidateTests.tests
      JsepSectionTests.tests
      JsepFixtureTests.tests
      JsepLaws.tests
      JsepMediaTests.tests
      JsepTransceiverTests.tests
      JsepMediaFixtureTests.tests
      JsepMediaLaws.tests
      FmtpTests.tests
      CodecsTests.tests
      ExtmapTests.tests
      SimulcastTests.tests
      Sctp.ChunkTests.tests
      Sctp.SctpTests.tests
      Sctp.SctpStreamsTests.tests
      Sctp.InterleavingTests.tests
      Sctp.TurnsTests.tests
      Sctp.ReassemblyTests.tests
      Sctp.PathMtuTests.tests
      Sctp.ZeroChecksumTests.tests
      Sctp.AllocationTests.tests
      Sctp.PacketCostTests.tests
      Sctp.OutstandingTests.tests
      Sctp.CongestionTests.tests
      Sctp.LossTests.tests
      Sctp.CostTests.tests
      Sctp.SctpLawsTests.tests
      Sctp.SctpLawsTests.attackTests
      Interceptors.CongestionTests.tests
      Interceptors.MediaPacerTests.tests
      Interceptors.BottleneckTests.tests
      CiphersTests.tests
      IntrinsicTests.tests
      Crc32cTests.tests
      DtlsTests.tests
      DtlsMessagesTests.tests
      OpenSslTests.tests
      Rtp.PacketTests.tests
      Rtp.ExtensionTests.tests
      Rtp.RtcpTests.tests
      Rtp.RtcpVectorTests.tests
      Rtp.SrtpVectorTests.tests
      Rtp.SrtpTests.tests
      Stack.LoopTests.tests
      Stack.PortTests.tests
      Stack.JournalTests.tests
      Stack.NamesTests.tests
      Stack.HostTests.tests
      Stack.NetworkTests.tests
      Stack.PortFaultTests.tests
      Stack.StreamTests.tests
      Stack.StreamServersTests.tests
      Interop.ValuesTests.tests
      Interop.ContextTests.tests
      Interop.ScriptTests.tests
      Interop.ScriptDataTests.tests
      Interop.ScriptMediaTests.tests
      Interop.ScriptParametersTests.tests
      Interop.TrackTests.tests
      Interop.ForwardTests.tests
      Interop.MediaStatsTests.tests
      Interop.SentSimulcastTests.tests
      Interop.LoopbackTests.tests
      Interop.StreamLoopbackTests.tests
      Interop.TurnLoopbackTests.tests
      Interop.CoturnTests.tests
      DcepTests.tests
      ChannelsTests.tests
      ConfigurationTests.tests
      PeerTests.tests
      Interceptors.ReceptionTests.tests
      Interceptors.NackTests.tests
      Interceptors.RtxTests.tests
      Interceptors.JitterBufferTests.tests
      Interceptors.FlexFecTests.tests
      Interceptors.DtmfTests.tests
      PathTests.tests
      PublicationTests.tests
      RelayTests.tests
      ConnectivityTests.tests
      StreamPeerTests.tests
      MobilityTests.tests
      Media.FormatsTests.tests
      Media.SampleBuilderTests.tests
      Media.FilesTests.tests
      Media.BitstreamTests.tests
      Media.PeersTests.tests
      Media.RelayedMediaTests.tests
      Media.SentSimulcastTests.tests
      Media.SectionEndTests.tests
      Media.ForwardingCostTests.tests
      Media.PathTests.tests
      Media.BandwidthTests.tests
      Media.ShareTests.tests
      Media.ReceivingTests.tests
      Media.RepairTests.tests
      Media.ReceiverTests.tests
      Media.FecTests.tests
      Media.RedTests.tests
      Media.SendingTests.tests ]
    |> testList "Hybrid"
    |> runTestsWithCLIArgs [] args

[<EntryPoint>]
let main args =
    if args |> Array.tryHead = Some RealPeers.NamespacePeer.Argument then
        RealPeers.NamespacePeer.run args[1..]
    else
        runTests args
