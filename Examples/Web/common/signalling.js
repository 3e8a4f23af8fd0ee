// Joins a peer connection to the program. Signalling is JSON over one WebSocket, the same both ways:
//   { description: { type, sdp } }          an offer or an answer
//   { candidate: { candidate, sdpMid, … } } a trickled candidate; an empty line ends the generation
//   { message: … }                          the example's own
// and from the program alone:
//   { hello: { page, runtime } }            once, at first
//   { error: "…" }                          what went wrong, for a person to read
//
// Either side may offer, at any time: this is perfect negotiation, WebRTC 1.0 §10.7, and the page is the polite side.

export class Signalling extends EventTarget {
  #pc;
  #socket;
  #makingOffer = false;
  #ended = false;

  /**
   * Raises `open`, `hello`, `offered`, `described` (a description has come, and is set), `candidate` ({ by, line }), `message`, and
   * at last `end`, whose detail is an error for a person to read, or null where the program went away.
   */
  constructor(pc, query = "") {
    super();
    this.#pc = pc;
    this.#socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/signal${query}`);
    this.#socket.onopen = () => this.#raise("open");
    this.#socket.onclose = () => this.#end(null);
    // One after the other: a candidate must not overtake its description.
    let last = Promise.resolve();
    this.#socket.onmessage = (e) => {
      last = last.then(() => this.#receive(JSON.parse(e.data))).catch((error) => this.#end(`Negotiation failed: ${error.message}`));
    };

    pc.addEventListener("negotiationneeded", async () => {
      try {
        this.#makingOffer = true;
        await pc.setLocalDescription();
        this.#say({ description: pc.localDescription });
        this.#raise("offered");
      } catch (error) {
        this.#end(`The offer could not be made: ${error.message}`);
      } finally {
        this.#makingOffer = false;
      }
    });

    pc.addEventListener("icecandidate", ({ candidate }) => {
      this.#say({ candidate: candidate?.toJSON() ?? { candidate: "" } });
      if (candidate?.candidate) this.#raise("candidate", { by: "browser", line: candidate.candidate });
    });
  }

  /** Tells the program something beside signalling. */
  send(message) {
    this.#say({ message });
  }

  close() {
    this.#ended = true;
    this.#socket.close();
  }

  #raise(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #end(error) {
    if (this.#ended) return;
    this.close();
    this.#raise("end", error);
  }

  #say(signal) {
    const send = () => this.#socket.send(JSON.stringify(signal));

    if (this.#socket.readyState === WebSocket.OPEN) send();
    else if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.addEventListener("open", send, { once: true });
  }

  async #receive({ hello, description, candidate, message, error }) {
    const pc = this.#pc;

    if (hello) this.#raise("hello", hello);
    if (message !== undefined) this.#raise("message", message);
    if (error) this.#end(error);

    if (description) {
      const collision = description.type === "offer" && (this.#makingOffer || pc.signalingState !== "stable");
      // We are polite: our own offer is rolled back, implicitly.
      if (collision) console.info("offers collided; ours gives way");
      await pc.setRemoteDescription(description);
      this.#raise("described");

      if (description.type === "offer") {
        await pc.setLocalDescription();
        this.#say({ description: pc.localDescription });
      }
    }

    if (candidate) {
      if (candidate.candidate) this.#raise("candidate", { by: "program", line: candidate.candidate });
      await pc.addIceCandidate(candidate);
    }
  }
}
