// Sends the camera in three sizes (`?picture`: a picture of the page's own), and shows the one that comes back.

import { button, connect, tile } from "/common/page.js";
import { source } from "/common/picture.js";

// Named as RFC 8851's rids usually are: quarter, half, full.
const layers = [
  { rid: "q", text: "Small", scaleResolutionDownBy: 4, maxBitrate: 60_000 },
  { rid: "h", text: "Middle", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
  { rid: "f", text: "Large", maxBitrate: 600_000 },
];

const { pc, signalling } = connect();
let sent, received;

const start = button("Send the camera", async () => {
  const stream = await source({ audio: false, text: "Simulcast" });
  const [track] = stream.getVideoTracks();
  sent = tile(track, "").nextElementSibling;
  sent.style.whiteSpace = "pre-line";
  pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings: layers.map(({ text, ...encoding }) => encoding) });
  start.hidden = true;
  for (const choice of choices) choice.hidden = false;
});

const choices = layers.map(({ rid, text }, i) => {
  const choice = button(text, () => choose(rid));
  choice.hidden = true;
  choice.setAttribute("aria-pressed", i === 0);
  return choice;
});

function choose(rid) {
  signalling.send({ rid });
  layers.forEach((layer, i) => choices[i].setAttribute("aria-pressed", layer.rid === rid));
}

pc.addEventListener("track", ({ track }) => (received = tile(track, "").nextElementSibling));

// What goes out and what comes back, twice a second.
let before = new Map();
setInterval(async () => {
  if (!sent) return;
  const now = new Map((await pc.getStats()).entries());
  const rate = (s, name) => (8 * (s[name] - (before.get(s.id)?.[name] ?? s[name]))) / (s.timestamp - (before.get(s.id)?.timestamp ?? 0));
  const line = (s, name) =>
    `${s.frameWidth ?? 0} × ${s.frameHeight ?? 0}, ${s.framesPerSecond ?? 0} frames/s, ${Math.round(rate(s, name)) || 0} kbit/s`;
  const all = [...now.values()];
  const out = layers.map(({ rid, text }) => [text, all.find((s) => s.type === "outbound-rtp" && s.rid === rid)]);
  sent.textContent = out.map(([text, s]) => `${text}: ${s?.framesPerSecond ? line(s, "bytesSent") : "not sent for now"}`).join("\n");
  const back = all.find((s) => s.type === "inbound-rtp" && s.kind === "video");
  if (received) received.textContent = `Comes back: ${back ? line(back, "bytesReceived") : "nothing yet"}`;
  before = now;
}, 500);
