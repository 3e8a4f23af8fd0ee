// One connection to the program, from the signalling socket to the last channel. A lost session is over: main.js starts another.
// The page makes the first offer; the program may offer, too.

import { Signalling } from "/common/signalling.js";

const openWithin = 15_000;

export class Session extends EventTarget {
  /** When things happened, in milliseconds since the session began: [["Signalling open", 3.1], …] */
  marks = [];
  candidates = [];
  /** @type {RTCDataChannel[]} */
  channels = [];
  ended = false;
  #began = performance.now();
  #signalling;
  #timeout;

  constructor() {
    super();
    this.pc = new RTCPeerConnection();
    this.#watch();
    const signalling = (this.#signalling = new Signalling(this.pc));
    signalling.addEventListener("open", () => this.mark("Signalling open"));
    signalling.addEventListener("hello", ({ detail }) => this.#raise("hello", detail));
    signalling.addEventListener("offered", () => this.mark("Offer made"));
    signalling.addEventListener("described", () => {
      this.mark("Answer received");
      this.#watchDtls();
    });
    signalling.addEventListener("candidate", ({ detail }) => this.#found(detail.by, detail.line));
    signalling.addEventListener("end", ({ detail }) => {
      this.#end(detail ?? (this.wasConnected ? "The program has gone." : "The program does not answer."));
    });

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

  #end(reason, wanted = false) {
    if (this.ended) return;
    const connected = this.wasConnected;
    this.ended = true;
    clearTimeout(this.#timeout);
    this.#signalling.close();
    this.pc.close();
    this.#raise("end", { reason, wanted, connected });
  }
}
