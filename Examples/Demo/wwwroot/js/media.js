// Picture and sound: the clip that the program plays, the camera and microphone that come back from it, and how both fare.

import { camera } from "/common/page.js";
import { bits, duration, trim } from "./format.js";
import { Plot } from "./plot.js";

const $ = (id) => document.getElementById(id);

export class Media {
  #session;
  #mine = {}; // of "video" and "audio": { track, sender }
  #stream; // what ours are sent in: by its name they are known again when they come back
  #clip = null;
  #vitals = new Vitals();

  constructor() {
    $("camera").onclick = () => this.#toggle("video", { video: { width: 640, height: 480 } });
    $("microphone").onclick = () => this.#toggle("audio", { audio: { echoCancellation: true } });
    $("clip-sound").onclick = () => {
      $("clip").muted = !$("clip").muted;
      this.#show();
    };
    setInterval(() => this.#level(), 100);
  }

  attach(session) {
    this.#session = session;
    this.#stream = new MediaStream();
    this.#vitals.attach(session);
    session.addEventListener("open", () => this.#enable(true));
    session.addEventListener("end", () => this.#end());

    session.pc.addEventListener("track", ({ track, streams: [stream] }) => {
      if (stream?.id !== this.#stream.id) {
        this.#clip = stream;
        // Anew, so that the element takes in what the stream has by now.
        $("clip").srcObject = stream;
      } else if (track.kind === "video") {
        $("echo").srcObject = new MediaStream([track]);
      } else {
        $("echo-sound").srcObject = new MediaStream([track]);
      }
      this.#show();
    });
  }

  async #toggle(kind, constraints) {
    const button = kind === "video" ? $("camera") : $("microphone");
    const mine = (this.#mine[kind] ??= {});
    button.disabled = true;
    $("media-note").textContent = "";
    $("media-note").className = "note";

    try {
      if (mine.track) {
        await this.#stop(mine);
      } else {
        const session = this.#session;
        const [track] = (await camera(constraints)).getTracks();
        if (session.ended || session !== this.#session) return track.stop();
        mine.track = track;
        // Unplugged, or taken back by the user.
        track.onended = () => this.#stop(mine).then(() => this.#show());
        // The first time it is negotiated; after that another track takes the place, and nothing is to be said.
        if (mine.sender) await mine.sender.replaceTrack(track);
        else mine.sender = session.pc.addTrack(track, this.#stream);
      }
    } catch (error) {
      $("media-note").textContent = error.message;
      $("media-note").className = "note bad";
    } finally {
      button.disabled = this.#session.ended;
      this.#show();
    }
  }

  async #stop(mine) {
    mine.track?.stop();
    mine.track = null;
    await mine.sender?.replaceTrack(null);
  }

  #enable(on) {
    $("camera").disabled = $("microphone").disabled = !on;
  }

  #end() {
    for (const mine of Object.values(this.#mine)) mine.track?.stop();
    this.#mine = {};
    this.#clip = null;
    for (const id of ["clip", "echo", "echo-sound"]) $(id).srcObject = null;
    this.#enable(false);
    this.#show();
  }

  #show() {
    const sends = (kind) => Boolean(this.#mine[kind]?.track);
    $("camera").textContent = sends("video") ? "Stop my camera" : "Send my camera";
    $("microphone").textContent = sends("audio") ? "Stop the echo" : "Echo my microphone";
    $("camera").setAttribute("aria-pressed", String(sends("video")));
    $("microphone").setAttribute("aria-pressed", String(sends("audio")));
    $("echo").hidden = !sends("video");
    $("echo-empty").hidden = sends("video");
    $("echo-sound").muted = !sends("audio");
    $("level").hidden = !sends("audio");
    $("echo-sub").textContent = sends("video") ? "Your camera, to the program and back" : "Nothing of yours is shown";
    $("clip-sound").hidden = !this.#clip?.getAudioTracks().length;
    $("clip-sound").textContent = $("clip").muted ? "Sound on" : "Sound off";
    if (sends("audio") && !$("media-note").textContent) $("media-note").textContent = "Your voice comes back: use headphones, or it howls.";
  }

  /** How loud the echo is that comes back. */
  #level() {
    if ($("level").hidden) return;
    const back = $("echo-sound").srcObject?.getAudioTracks()[0];
    const receiver = this.#session.pc.getReceivers().find((r) => r.track.id === back?.id);
    const level = receiver?.getSynchronizationSources()[0]?.audioLevel ?? 0;
    $("level").firstElementChild.style.width = `${Math.round(Math.min(1, Math.sqrt(level)) * 100)}%`;
  }
}

/** Four small plots. What goes to the program is measured there, as far as it can be, and comes by telemetry. */
class Vitals {
  #session;
  #program = null; // { media, at, rate, lost }
  #before = null; // of the browser: { at, received, lost }
  #plots = {
    bitrate: plot("bitrate", 300_000, bits),
    available: plot("available", 1_000_000, bits),
    trip: plot("trip", 2, (ms) => `${trim(ms)} ms`, duration),
    lost: plot("lost", 4, (n) => `${trim(n)} a second`),
  };

  constructor() {
    setInterval(() => this.#sample(), 1000);
  }

  attach(session) {
    this.#session = session;
    this.#program = this.#before = null;

    session.addEventListener("telemetry", ({ detail: { at, media } }) => {
      if (!media) return;
      const last = this.#program;
      const seconds = last ? (at - last.at) / 1000 : 0;
      this.#program = {
        at,
        media,
        rate: last ? ((media.received - last.media.received) * 8) / seconds : null,
        lost: last ? Math.max(0, media.lost - last.media.lost) / seconds : null,
      };
    });
  }

  async #sample() {
    const session = this.#session;
    if (!session || session.ended) return this.#add({}, {});

    const report = await session.pc.getStats();
    if (session !== this.#session || session.ended) return;
    const all = [...report.values()];
    const inbound = all.filter((s) => s.type === "inbound-rtp");
    const pair = report.get(all.find((s) => s.type === "transport")?.selectedCandidatePairId);
    const sum = (name) => inbound.reduce((total, s) => total + (s[name] ?? 0), 0);
    const now = { at: performance.now(), received: sum("bytesReceived"), lost: sum("packetsLost") };
    const last = this.#before;
    const seconds = last ? (now.at - last.at) / 1000 : 0;
    this.#before = now;

    this.#add(
      {
        bitrate: this.#program?.rate,
        lost: this.#program?.lost,
        trip: pair && pair.currentRoundTripTime * 1000,
        available: pair?.availableOutgoingBitrate,
      },
      {
        bitrate: last && ((now.received - last.received) * 8) / seconds,
        lost: last && Math.max(0, now.lost - last.lost) / seconds,
        trip: this.#program?.media.roundTripTime,
        available: this.#program?.media.availableBitrate,
      },
    );
  }

  #add(up, down) {
    for (const [name, add] of Object.entries(this.#plots)) add(up[name] ?? null, down[name] ?? null);
  }
}

/** A plot and the two figures above it. */
function plot(name, least, label, figure = label) {
  const drawn = new Plot($(`${name}-plot`), least, label);

  return (up, down) => {
    drawn.add(up, down);
    $(`${name}-up`).textContent = up === null ? "" : figure(up);
    $(`${name}-down`).textContent = down === null ? "" : figure(down);
  };
}
