// The page: one sentence that says how things stand, a session at a time, and another one when it is lost.

import { Chat } from "./chat.js";
import { ConnectionView } from "./connection.js";
import { Files } from "./files.js";
import { duration } from "./format.js";
import { Media } from "./media.js";
import { Session } from "./session.js";
import { Throughput } from "./throughput.js";

const $ = (id) => document.getElementById(id);
const waits = [1, 2, 4, 8, 15]; // seconds between attempts

const throughput = new Throughput();
const chat = new Chat();
const files = new Files();
const media = new Media();
const view = new ConnectionView(() => throughput.rates);

let session = null;
let attempt = 0;
let countdown = 0;

function say(phase, sentence, detail = "") {
  document.body.dataset.phase = phase;
  // A live region speaks each change: write only what is new.
  if ($("status").textContent !== sentence) $("status").textContent = sentence;
  $("detail").textContent = detail;
}

function connect() {
  clearInterval(countdown);
  $("reconnect").hidden = true;

  if (!("RTCPeerConnection" in window)) {
    return say("lost", "This browser has no WebRTC.", "RTCPeerConnection is missing: it is switched off, or the browser is too old.");
  }

  say("connecting", "Connecting to the program.", "Exchanging descriptions over a WebSocket; candidates follow one by one.");
  const s = (session = new Session());
  $("hangup").disabled = false;

  s.addEventListener("hello", ({ detail }) => ($("runtime").textContent = detail.runtime));

  s.addEventListener("open", () => {
    attempt = 0;
    $("restart").disabled = false;
    connected(s);
  });

  s.addEventListener("state", () => {
    if (!s.wasConnected || s.ended) return;
    if (s.pc.connectionState === "disconnected") {
      say("waiting", "The path has gone quiet.", "No answer to the last checks. WebRTC keeps trying for half a minute before it gives up.");
    } else if (s.pc.connectionState === "connected") {
      connected(s);
    }
  });

  s.addEventListener("end", ({ detail }) => lost(detail));
  for (const part of [throughput, chat, files, media, view]) part.attach(s);
}

function connected(s) {
  const took = s.marks.find(([name]) => name === "Channels open")[1];
  say(
    "connected",
    `Connected to the program in ${duration(took)}.`,
    "Your browser's own WebRTC on this side, Hybrid WebRTC for .NET on the other. Everything below is live.",
  );
}

function lost({ reason, wanted, connected: was }) {
  $("restart").disabled = $("hangup").disabled = true;
  $("reconnect").hidden = false;

  if (wanted) {
    $("reconnect").textContent = "Connect again";
    return say("idle", "Not connected.", reason);
  }

  let left = waits[Math.min(attempt++, waits.length - 1)];
  const sentence = was ? "The connection was lost." : "There is no connection.";
  $("reconnect").textContent = "Try now";

  const show = () => say("lost", sentence, `${reason} Trying again in ${left}\u00a0s. Is the program still running in its terminal?`);
  show();
  clearInterval(countdown);
  countdown = setInterval(() => (--left > 0 ? show() : connect()), 1000);
}

$("reconnect").onclick = () => {
  attempt = 0;
  connect();
};
$("restart").onclick = () => session.restart();
$("hangup").onclick = () => session.close();

connect();
