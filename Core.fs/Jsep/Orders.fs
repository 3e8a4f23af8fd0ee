namespace Hybrid.WebRtc.Core

/// From one transport to the next.
module internal Orders =
    /// The candidates of a remote description for ICE, without those that the former one of the same generation had.
    let private candidateOrders (former: Sdp voption) (description: Sdp) (at: int) (fragment: string) : JsepOrder list =
        let struct (candidates, complete) = Section.candidates at description

        let known =
            match former with
            | ValueSome former when at < former.Media.Length ->
                let struct (known, _) = Section.candidates at former
                known
            | _ -> [||]

        [ for candidate in Array.except known candidates do
              JsepOrder.AddRemoteCandidate("candidate:" + candidate, fragment)
          if complete then
              JsepOrder.EndOfRemoteCandidates fragment ]

    /// What turns the transport that is into the one that is agreed, in the order that its layers take it.
    let between (former: Sdp voption) (remote: Sdp voption) (was: JsepTransport) (now: JsepTransport) =
        let localChanged =
            match was.Local, now.Local with
            | ValueSome a, ValueSome b -> a.Credentials <> b.Credentials
            | ValueNone, ValueSome _ -> true
            | _ -> false

        let remoteChanged =
            match was.Remote, now.Remote with
            | ValueSome a, ValueSome b -> a.Credentials <> b.Credentials || a.Lite <> b.Lite
            | ValueNone, ValueSome _ -> true
            | _ -> false

        let dtlsChanged =
            match was.Dtls, now.Dtls with
            // A role that has turned round is that of another association.
            | ValueSome a, ValueSome b ->
                a.Role <> b.Role || not (JsepTransport.continues b.Fingerprints b.RemoteTlsId a)
            | ValueNone, ValueSome _ -> true
            | _ -> false

        let isMoved =
            match was.Dtls, now.Dtls with
            | ValueSome a, ValueSome b -> a.Moves <> b.Moves
            | _ -> false

        let sctpChanged =
            match was.Sctp, now.Sctp with
            | ValueSome a, ValueSome b -> a.RemotePort <> b.RemotePort || a.MaxMessageSize <> b.MaxMessageSize
            | ValueNone, ValueSome _ -> true
            | _ -> false

        match now.Local with
        | ValueNone -> if was.Local.IsSome then [ JsepOrder.Close ] else []
        | ValueSome side ->
            [ match now.Controlling with
              | ValueSome controlling when was.Controlling <> now.Controlling -> JsepOrder.SetIceRole controlling
              | _ -> ()
              if localChanged then
                  JsepOrder.SetIceLocal side.Credentials
              match now.Remote, remote with
              | ValueSome peer, ValueSome description ->
                  if remoteChanged then
                      JsepOrder.SetIceRemote(peer.Credentials, peer.Lite)

                      if peer.Renominates then
                          JsepOrder.SetIceRenomination true

                  match now.Owner with
                  | ValueSome at ->
                      let former = if remoteChanged then ValueNone else former
                      yield! candidateOrders former description at peer.Credentials.UsernameFragment
                  | ValueNone -> ()
              | _ -> ()
              if localChanged then
                  JsepOrder.Gather
              match now.Dtls with
              | ValueSome dtls when dtlsChanged -> JsepOrder.StartDtls(dtls.Role, dtls.Fingerprints)
              | ValueSome dtls when isMoved -> JsepOrder.RenewDtls(dtls.Role, dtls.Fingerprints)
              | _ -> ()
              match now.Sctp with
              | ValueSome sctp when dtlsChanged || sctpChanged ->
                  JsepOrder.StartSctp(sctp.RemotePort, sctp.MaxMessageSize)
              | ValueNone when was.Sctp.IsSome -> JsepOrder.CloseSctp
              | _ -> () ]
