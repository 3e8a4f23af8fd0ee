// One connection to the program, from the signalling socket to the last channel. A lost session is over: main.js starts another.
//
// Signalling is JSON over one WebSocket, the same both ways:
//   { description: { type, sdp } }          an offer or an answer
//   { candidate: { candidate, sdpMid, … } } a trickled candidate; an empty line ends the generation
// and from the program alone:
//   { hello: { page, runtime } }            once, at first
//   { error: "…" }                          what went wrong, for a person to read
//
// The page offers, and is the polite side of perfect negotiation; the program may offer too.

const openWithin = 15_000;

export class Session extends EventTarget {
  /** When things happened, in milliseconds since the session began: [["Signalling open", 3.1], …] */
  marks = [];
  candidates = [];
  /** @type {RTCDataChannel[]} */
  channels = [];
  ended = false;
  #began = performance.now();
  #makingOffer = false;
  #socket;
  #timeout;

  constructor(url) {
    super();
    this.pc = new RTCPeerConnection();
    this.#watch();
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.mark("Signalling open");
    this.#socket.onmessage = (e) => this.#receive(JSON.parse(e.data)).catch((error) => this.#end(`Negotiation failed: ${error.message}`));
    this.#socket.onclose = () => this.#end(this.wasConnected ? "The program has gone." : "The program does not answer.");

    // Each channel shows another way of delivery. They exist before the offer, so one handshake carries them all.
    this.chat = this.#channel("chat");
    this.bulk = this.#channel("throughput", { ordered: false });
    this.ping = this.#channel("ping", { ordered: false, maxRetransmits: 0 });

    this.#timeout = setTimeout(() => {
      const how = this.marks.some(([name]) => name === "Answer received") ? `ICE is ${this.pc.iceConnectionState}` : "there was no answer";
      this.#end(`No connection within ${openWithin / 1000} seconds: ${how}.`);
    }, openWithin);
  }

  get wasConnected() {
    return this.marks.some(([name]) => name === "Channels open");
  }

  /** A channel of its own for each file. */
  file() {
    return this.#channel("file");
  }

  restart() {
    this.pc.restartIce();
  }

  close() {
    this.#end("You hung up.", true);
  }

  mark(name) {
    if (this.ended || this.marks.some(([n]) => n === name)) return;
    this.marks.push([name, performance.now() - this.#began]);
    this.#raise("mark");
  }

  #raise(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #channel(label, init) {
    return this.#adopt(this.pc.createDataChannel(label, init));
  }

  #adopt(channel) {
    channel.binaryType = "arraybuffer";
    this.channels.push(channel);
    for (const event of ["open", "closing", "close"]) channel.addEventListener(event, () => this.#raise("channels"));
    channel.addEventListener("error", (e) => console.info(`channel ${channel.label}:`, e.error?.message));
    return channel;
  }

  #watch() {
    const pc = this.pc;

    pc.onnegotiationneeded = async () => {
      try {
        this.#makingOffer = true;
        await pc.setLocalDescription();
        this.#say({ description: pc.localDescription });
        this.mark("Offer made");
      } catch (error) {
        this.#end(`The offer could not be made: ${error.message}`);
      } finally {
        this.#makingOffer = false;
      }
    };

    pc.onicecandidate = ({ candidate }) => {
      this.#say({ candidate: candidate?.toJSON() ?? { candidate: "" } });
      if (candidate?.candidate) this.#found("browser", candidate.candidate);
    };

    pc.oniceconnectionstatechange = () => {
      if (pc.iceConnectionState === "connected" || pc.iceConnectionState === "completed") this.mark("Path found (ICE)");
      this.#raise("state");
    };

    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed") this.#end("The connection failed: no path carries packets any longer.");
      this.#raise("state");
    };

    pc.onsignalingstatechange = pc.onicegatheringstatechange = () => this.#raise("state");

    // The program opens one channel itself, and tells on it how things look from its side.
    pc.ondatachannel = ({ channel }) => {
      this.#adopt(channel);
      if (channel.label === "telemetry") channel.onmessage = (e) => this.#raise("telemetry", JSON.parse(e.data));
      this.#raise("channels");
    };

    this.addEventListener("channels", () => {
      if (!this.wasConnected && [this.chat, this.bulk, this.ping].every((c) => c.readyState === "open")) {
        clearTimeout(this.#timeout);
        this.mark("Channels open");
        this.#raise("open");
      }
    });
  }

  /** `pc.sctp` is there once the answer is. */
  #watchDtls() {
    const dtls = this.pc.sctp?.transport;
    if (!dtls || dtls.onstatechange) return;

    dtls.onstatechange = () => {
      if (dtls.state === "connected") this.mark("Secured (DTLS)");
      this.#raise("state");
    };
  }

  #found(by, line) {
    this.candidates.push({ by, line, at: performance.now() - this.#began });
    this.#raise("candidates");
  }

  #say(message) {
    const send = () => this.#socket.send(JSON.stringify(message));

    if (this.#socket.readyState === WebSocket.OPEN) send();
    else if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.addEventListener("open", send, { once: true });
  }

  async #receive({ hello, description, candidate, error }) {
    const pc = this.pc;

    if (hello) this.#raise("hello", hello);
    if (error) this.#end(error);

    if (description) {
      // Perfect negotiation, WebRTC 1.0 §10.7. We are polite: on a collision our own offer is rolled back, implicitly.
      const collision = description.type === "offer" && (this.#makingOffer || pc.signalingState !== "stable");
      if (collision) console.info("offers collided; ours gives way");
      this.mark("Answer received");
      await pc.setRemoteDescription(description);
      this.#watchDtls();

      if (description.type === "offer") {
        await pc.setLocalDescription();
        this.#say({ description: pc.localDescription });
      }
    }

    if (candidate) {
      if (candidate.candidate) this.#found("program", candidate.candidate);
      await pc.addIceCandidate(candidate);
    }
  }

  #end(reason, wanted = false) {
    if (this.ended) return;
    const connected = this.wasConnected;
    this.ended = true;
    clearTimeout(this.#timeout);
    this.#socket.onclose = null;
    this.#socket.close();
    this.pc.close();
    this.#raise("end", { reason, wanted, connected });
  }
}
