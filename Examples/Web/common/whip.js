// WHIP, RFC 9725, and WHEP, draft-ietf-wish-whep, as a page speaks them: the offer is the body of a POST, the answer its response, and the
// session has a URL of its own, where candidates and ICE restarts go by PATCH, and DELETE ends it.

const fragmentType = "application/trickle-ice-sdpfrag";
const of = (sdp, name) => sdp.match(new RegExp(`^a=${name}:(.*?)\r?$`, "m"))?.[1];

export class HttpSession {
  #pc;
  #headers;
  #location;
  #tag = null;
  #waiting = [];
  #sending = null;

  /** Opens a session for what was added to the connection before; throws an error that says why the server refuses. */
  static async open(pc, endpoint, token = null) {
    const session = new HttpSession();
    session.#pc = pc;
    session.#headers = token ? { Authorization: `Bearer ${token}` } : {};
    // It is sent before it is set: candidates are gathered only then, by the servers that the response names.
    const offer = await pc.createOffer();
    const response = await session.#fetch("POST", endpoint, "application/sdp", offer.sdp);
    session.#location = new URL(response.headers.get("Location"), response.url);
    session.#tag = response.headers.get("ETag");
    const iceServers = serversOf(response.headers.get("Link") ?? "");
    if (iceServers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
    pc.addEventListener("icecandidate", ({ candidate }) => session.#trickle(candidate));
    // A page that is closed says so, and its server need not wait for silence.
    addEventListener("pagehide", () => session.close());
    await pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
    return session;
  }

  get location() {
    return this.#location;
  }

  /** Other paths for the same session: only ICE's part of the descriptions is exchanged. */
  async restartIce() {
    await this.#sending;
    const offer = await this.#pc.createOffer({ iceRestart: true });
    const response = await this.#fetch("PATCH", this.#location, fragmentType, this.#fragment(offer.sdp, ""), "*");
    this.#tag = response.headers.get("ETag");
    const fragment = await response.text();
    const candidates = fragment.match(/^a=candidate:.*$/gm) ?? [];
    await this.#pc.setLocalDescription(offer);
    await this.#pc.setRemoteDescription({
      type: "answer",
      sdp: this.#pc.currentRemoteDescription.sdp
        .replace(/^a=(candidate|end-of-candidates).*\r?\n/gm, "")
        .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${of(fragment, "ice-ufrag")}`)
        .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${of(fragment, "ice-pwd")}`)
        // Those of the first media section, whose transport all share.
        .replace(/^a=mid:.*\r?\n/m, (mid) => mid + candidates.map((line) => `${line.trim()}\r\n`).join("")),
    });
  }

  /** Ends the session at the server; the connection stays the caller's to close. */
  async close() {
    if (!this.#location) return;
    const location = this.#location;
    this.#location = null;
    await fetch(location, { method: "DELETE", headers: this.#headers, keepalive: true }).catch(() => {});
  }

  /** Those that are gathered while a request is under way go in the next one, together. */
  #trickle(candidate) {
    this.#waiting.push(candidate?.candidate ? `a=${candidate.candidate}\r\n` : "a=end-of-candidates\r\n");
    this.#sending ??= (async () => {
      await null;
      while (this.#waiting.length && this.#location) {
        const fragment = this.#fragment(this.#pc.localDescription.sdp, this.#waiting.splice(0).join(""));
        // A server may do without: its own candidates may be enough.
        await this.#fetch("PATCH", this.#location, fragmentType, fragment, this.#tag ?? "*").catch(console.warn);
      }
      this.#sending = null;
    })();
  }

  #fragment(sdp, candidates) {
    const credentials = `a=ice-ufrag:${of(sdp, "ice-ufrag")}\r\na=ice-pwd:${of(sdp, "ice-pwd")}\r\n`;
    return candidates ? `${credentials}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${of(sdp, "mid")}\r\n${candidates}` : credentials;
  }

  async #fetch(method, url, type, body, match = null) {
    const headers = { ...this.#headers, "Content-Type": type, ...(match && { "If-Match": match }) };
    const response = await fetch(url, { method, headers, body });
    if (response.ok) return response;
    const problem = await response.json().catch(() => null);
    throw new Error(problem?.detail ?? `The server answers ${response.status} ${response.statusText}.`);
  }
}

/** STUN and TURN servers of `Link` headers, RFC 9725 §4.6. */
function serversOf(links) {
  return [...links.matchAll(/<([^>]+)>((?:[^",]|"[^"]*")*)/g)]
    .filter(([, , rest]) => /rel="?ice-server"?/.test(rest))
    .map(([, urls, rest]) => {
      const parameter = (name) => rest.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1];
      return { urls, username: parameter("username"), credential: parameter("credential") };
    });
}
