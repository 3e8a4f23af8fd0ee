// What the connection is made of, live: the path in use, how set-up went, states at both ends, candidates, channels.

import { bytes, candidate, candidateType, duration, endpoint } from "./format.js";

const $ = (id) => document.getElementById(id);

const states = [
  ["Signalling", (pc) => pc.signalingState, "signaling"],
  ["Gathering", (pc) => pc.iceGatheringState, "gathering"],
  ["ICE", (pc) => pc.iceConnectionState, "ice"],
  ["DTLS", (pc) => pc.sctp?.transport.state ?? "new", "dtls"],
  ["SCTP", (pc) => pc.sctp?.state ?? "new", "sctp"],
  ["Connection", (pc) => pc.connectionState, "connection"],
];

export class ConnectionView {
  #session;
  #program = {};
  #selected = [];
  #wire = new Wire($("wire"));
  #pings = new Map();
  #roundTrip = null;
  #rates;

  /** `rates` answers the bytes a second both ways. */
  constructor(rates) {
    this.#rates = rates;
    setInterval(() => this.#poll(), 500);
    $("origin").textContent = location.host;
  }

  attach(session) {
    this.#session = session;
    this.#program = {};
    this.#selected = [];
    this.#roundTrip = null;
    this.#transport = undefined;
    this.#noPath();
    session.addEventListener("mark", () => this.#marks());
    session.addEventListener("state", () => this.#states());
    session.addEventListener("candidates", () => this.#candidates());
    session.addEventListener("channels", () => this.#poll());
    session.addEventListener("telemetry", ({ detail }) => {
      this.#program = detail;
      this.#states();
      this.#security();
    });
    session.addEventListener("open", () => this.#poll());
    session.addEventListener("end", () => {
      this.#program = {};
      this.#noPath();
      this.#states();
      this.#poll();
    });
    session.ping.onmessage = (e) => this.#pong(e.data);
    this.#marks();
    this.#states();
    this.#candidates();
    this.#poll();
  }

  #marks() {
    const marks = this.#session.marks;
    const end = Math.max(1, marks.at(-1)?.[1] ?? 0);

    if (marks.length === 0) {
      $("marks").replaceChildren(element("li", "empty", ""));
      return;
    }

    $("marks").replaceChildren(
      ...marks.map(([name, at], i) => {
        const item = element("li");
        const from = i === 0 ? 0 : marks[i - 1][1];
        const span = element("span", "span");
        const bar = element("i");
        bar.style.left = `${(from / end) * 100}%`;
        bar.style.width = `${((at - from) / end) * 100}%`;
        span.append(bar);
        item.append(element("span", "", name), span, element("span", "at", duration(at)));
        return item;
      }),
    );
  }

  #states() {
    const pc = this.#session.pc;

    $("states").replaceChildren(
      ...states.map(([name, browser, key]) => {
        const row = element("tr");
        const head = element("th", "", name);
        head.scope = "row";
        row.append(head, state(browser(pc)), state(this.#program.states?.[key]));
        return row;
      }),
    );
  }

  #candidates() {
    const rows = this.#session.candidates.map(({ by, line, at }) => {
      const c = candidate(line);
      const selected = this.#selected.includes(`${by} ${c.protocol} ${endpoint(c)}`);
      const row = element("tr", selected ? "selected" : "");
      const via = c.tcpType ? `TCP ${c.tcpType}` : c.protocol.toUpperCase();
      row.append(
        element("td", "", by),
        element("td", "", (candidateType[c.type] ?? c.type) + (selected ? " · in use" : "")),
        element("td", "mono", endpoint(c)),
        element("td", "", via),
        element("td", "number", duration(at)),
      );
      return row;
    });

    $("candidates").replaceChildren(...(rows.length > 0 ? rows : [empty(5, "None yet.")]));
  }

  async #poll() {
    const session = this.#session;
    if (!session) return;
    const { up, down } = this.#rates();
    this.#wire.set(session.wasConnected && !session.ended, up, down);

    if (session.ended) {
      this.#channels(new Map());
      return;
    }

    this.#sendPing();
    const report = await session.pc.getStats();
    if (session !== this.#session || session.ended) return;
    const all = [...report.values()];
    const transport = all.find((s) => s.type === "transport");
    const pair = report.get(transport?.selectedCandidatePairId);

    if (pair) {
      const local = report.get(pair.localCandidateId);
      const remote = report.get(pair.remoteCandidateId);
      this.#path(local, remote, pair);
      this.#security(transport);
      this.#states();
    }

    this.#channels(new Map(all.filter((s) => s.type === "data-channel").map((s) => [s.dataChannelIdentifier, s])));
  }

  #noPath() {
    $("path").dataset.live = "false";
    for (const id of ["path-local", "path-remote"]) {
      $(id).textContent = "no path yet";
      $(`${id}-kind`).textContent = "";
    }
    $("path-rtt").textContent = $("path-security").textContent = "";
  }

  #path(local, remote, pair) {
    $("path").dataset.live = "true";
    const show = (id, c) => {
      // An address that the browser hides (mDNS) is empty in its statistics.
      $(id).textContent = c.address ? endpoint(c) : `port ${c.port}, address hidden`;
      $(`${id}-kind`).textContent = `${candidateType[c.candidateType] ?? c.candidateType}, ${c.protocol.toUpperCase()}`;
    };
    show("path-local", local);
    show("path-remote", remote);

    const trip = this.#roundTrip ?? (pair.currentRoundTripTime ?? 0) * 1000;
    $("path-rtt").textContent = trip > 0 ? `${duration(trip)} there and back` : "";

    const mine = this.#session.candidates.find(
      (c) => c.by === "browser" && candidate(c.line).port === local.port && candidate(c.line).protocol === local.protocol,
    );
    const theirs = this.#session.candidates.find(
      (c) => c.by === "program" && candidate(c.line).port === remote.port && candidate(c.line).address === remote.address,
    );
    const key = (by, c) => (c ? [`${by} ${candidate(c.line).protocol} ${endpoint(candidate(c.line))}`] : []);
    const selected = [...key("browser", mine), ...key("program", theirs)];

    if (selected.join() !== this.#selected.join()) {
      this.#selected = selected;
      this.#candidates();
    }
  }

  #security(transport = this.#transport) {
    this.#transport = transport;
    const version = { FEFD: "DTLS 1.2", FEFC: "DTLS 1.3" }[transport?.tlsVersion] ?? this.#program.dtls?.version;
    const cipher = (transport?.dtlsCipher ?? this.#program.dtls?.cipher ?? "").replace(/^TLS_/, "").replace(/_/g, "-");
    $("path-security").textContent = [version, cipher].filter(Boolean).join(", ");
  }

  #transport;

  #channels(stats) {
    const rows = this.#session.channels
      .filter((c) => c.label !== "file" || c.readyState !== "closed")
      .map((c) => {
        const s = stats.get(c.id);
        const row = element("tr", c.readyState === "closed" ? "closed" : "");
        const head = element("th", "", c.label);
        head.scope = "row";
        row.append(
          head,
          element("td", "", delivery(c)),
          state(c.readyState),
          element("td", "number", s ? bytes(s.bytesSent) : ""),
          element("td", "number", s ? bytes(s.bytesReceived) : ""),
        );
        return row;
      });

    $("channels").replaceChildren(...(rows.length > 0 ? rows : [empty(5, "None yet.")]));
  }

  #sendPing() {
    const channel = this.#session.ping;
    if (channel.readyState !== "open") return;
    const id = String(Math.random());
    this.#pings.set(id, performance.now());
    // A lost ping is never answered: forget the oldest.
    if (this.#pings.size > 16) this.#pings.delete(this.#pings.keys().next().value);
    channel.send(id);
  }

  #pong(id) {
    const sent = this.#pings.get(id);
    if (sent === undefined) return;
    this.#pings.delete(id);
    const trip = performance.now() - sent;
    this.#roundTrip = this.#roundTrip === null ? trip : this.#roundTrip * 0.75 + trip * 0.25;
  }
}

/** The line between the two ends: still while nothing moves, dots along it while something does. */
class Wire {
  #canvas;
  #live = false;
  #up = 0;
  #down = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  #last = 0;
  #phase = { up: 0, down: 0 };

  constructor(canvas) {
    this.#canvas = canvas;
    addEventListener("themechange", () => this.#paint(0));
    new ResizeObserver(() => this.#paint(0)).observe(canvas);
  }

  set(live, up, down) {
    const moved = this.#moving;
    [this.#live, this.#up, this.#down] = [live, up, down];
    if (this.#moving && !moved) requestAnimationFrame((now) => ((this.#last = now), this.#step(now)));
    if (!this.#moving) this.#paint(0);
  }

  get #moving() {
    return this.#live && !this.#still.matches && this.#up + this.#down > 20_000;
  }

  #step(now) {
    this.#paint(now - this.#last);
    this.#last = now;
    if (this.#moving) requestAnimationFrame((next) => this.#step(next));
  }

  #paint(elapsed) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0) return;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const g = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const middle = height / 2;
    g.scale(scale, scale);

    g.strokeStyle = colour(this.#live ? "--ink" : "--hair");
    g.lineWidth = 1.5;
    g.setLineDash(this.#live ? [] : [3, 5]);
    g.beginPath();
    g.moveTo(10, middle);
    g.lineTo(width - 10, middle);
    g.stroke();

    for (const [at, name] of [
      [5, "--up"],
      [width - 5, "--down"],
    ]) {
      g.fillStyle = colour(this.#live ? name : "--hair");
      g.beginPath();
      g.arc(at, middle, 5, 0, 7);
      g.fill();
    }

    if (this.#moving) {
      this.#dots(g, "up", this.#up, elapsed, width, middle, colour("--up"), 1);
      this.#dots(g, "down", this.#down, elapsed, width, middle, colour("--down"), -1);
    }
  }

  #dots(g, key, rate, elapsed, width, middle, colour, way) {
    if (rate < 20_000) return;
    const gap = 22;
    // Speed grows with the logarithm of the rate: 20 kB/s crawls, 200 MB/s runs.
    this.#phase[key] = (this.#phase[key] + (elapsed / 1000) * 28 * Math.log10(rate / 2_000)) % gap;
    g.fillStyle = colour;

    for (let d = 14 + this.#phase[key]; d < width - 14; d += gap) {
      g.beginPath();
      g.arc(way > 0 ? d : width - d, middle + way * 3, 2, 0, 7);
      g.fill();
    }
  }
}

function delivery(channel) {
  const order = channel.ordered ? "in order" : "any order";
  if (channel.maxRetransmits !== null) return `${order}, ${channel.maxRetransmits === 0 ? "sent once" : `${channel.maxRetransmits} retries`}`;
  if (channel.maxPacketLifeTime !== null) return `${order}, for ${channel.maxPacketLifeTime} ms`;
  return `${order}, reliable`;
}

const good = ["stable", "complete", "connected", "completed", "open"];
const bad = ["failed", "closed", "disconnected"];

function state(value) {
  return element("td", good.includes(value) ? "good" : bad.includes(value) ? "bad" : "", value ?? "");
}

function empty(columns, text) {
  const row = element("tr");
  const cell = element("td", "empty", text);
  cell.colSpan = columns;
  row.append(cell);
  return row;
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}
