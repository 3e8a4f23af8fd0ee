// A room: one connection to the program carries what this page sends and all that the others do.

import { button, connect, say } from "/common/page.js";
import { source } from "/common/picture.js";

const $ = (id) => document.getElementById(id);
const room = new URLSearchParams(location.search).get("room") || "lobby";
const tiles = new Map(); // by the id of a participant's stream
$("room").textContent = room === "lobby" ? "Lobby" : room;
document.title = `${$("room").textContent} · Hybrid WebRTC`;
$("name").value = new URLSearchParams(location.search).get("name") ?? sessionStorage.getItem("name") ?? "";
say("Enter, and everybody in the room sees and hears you.");

$("door").addEventListener("submit", async (e) => {
  e.preventDefault();
  $("enter").disabled = true;
  try {
    const name = $("name").value.trim();
    sessionStorage.setItem("name", name);
    enter(name, await source());
  } catch (error) {
    say(error.message, "bad");
    $("enter").disabled = false;
  }
});

// Only now: without this script it would send the form to the server.
$("enter").disabled = false;

function enter(name, stream) {
  const { pc, signalling } = connect();
  $("door").hidden = true;
  $("actions").hidden = false;
  say("Entering.");

  // Three sizes of the picture: the program gives each of the others the one that fits.
  for (const track of stream.getTracks())
    pc.addTransceiver(track, {
      direction: "sendonly",
      streams: [stream],
      ...(track.kind === "video" && {
        sendEncodings: [
          { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 60_000 },
          { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
          { rid: "f", maxBitrate: 600_000 },
        ],
      }),
    });
  signalling.send({ name });

  const own = tile("you", name);
  own.classList.add("you");
  // People know themselves from mirrors; a picture of the page's own has writing in it.
  own.classList.toggle("mirrored", !new URLSearchParams(location.search).has("picture"));
  own.querySelector("video").srcObject = new MediaStream(stream.getVideoTracks());

  // A track may come before the list that says whose it is, or behind it: both find the tile by the stream's id.
  pc.addEventListener("track", ({ track, streams: [from] }) => {
    const figure = tile(from.id, "");
    const element = figure.querySelector(track.kind);
    element.srcObject = new MediaStream([track]);
    element.play().catch(() => addEventListener("pointerdown", () => element.play(), { once: true }));
  });

  let me;
  signalling.addEventListener("message", ({ detail: { you, members, speaker } }) => {
    if (members) {
      me = you;
      for (const member of members) show(member, you);
      for (const id of tiles.keys()) if (id !== "you" && !members.some((member) => member.id === id)) remove(id);
      say(members.length === 1 ? "Nobody else is here. Open this page in another tab, or on another browser." : `${members.length} people are here.`);
    }
    if (speaker !== undefined) for (const [id, figure] of tiles) figure.classList.toggle("speaks", speaker !== null && (id === "you" ? me : id) === speaker);
  });

  // How wide the tiles are, in the screen's own pixels: more than that nobody sees.
  const tell = () =>
    signalling.send({
      tiles: Object.fromEntries(
        [...tiles].filter(([id]) => id !== "you").map(([id, figure]) => [id, Math.round(figure.clientWidth * devicePixelRatio)]),
      ),
    });
  let waiting;
  widths = new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(tell, 100);
  });
  for (const figure of tiles.values()) widths.observe(figure);

  toggle("Microphone", (on) => {
    for (const track of stream.getAudioTracks()) track.enabled = on;
    signalling.send({ muted: !on });
    own.classList.toggle("muted", !on);
  });
  toggle("Camera", (on) => {
    for (const track of stream.getVideoTracks()) track.enabled = on;
    own.classList.toggle("off", !on);
  });
  button("Leave", () => {
    signalling.close();
    pc.close();
    for (const track of stream.getTracks()) track.stop();
    location.reload();
  });
}

let widths = null;

function show({ id, name, isMuted }, you) {
  const figure = tile(id === you ? "you" : id, name);
  figure.querySelector("figcaption").textContent = id === you ? `${name} (you)` : name;
  figure.classList.toggle("muted", isMuted);
}

/** The tile of somebody, made where there is none yet. */
function tile(id, name) {
  if (tiles.has(id)) return tiles.get(id);
  const figure = document.createElement("figure");
  figure.className = "person";
  const video = Object.assign(document.createElement("video"), { autoplay: true, playsInline: true, muted: true });
  const audio = Object.assign(document.createElement("audio"), { autoplay: true });
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  figure.append(video, audio, caption);
  $("people").append(figure);
  tiles.set(id, figure);
  widths?.observe(figure);
  arrange();
  return figure;
}

function remove(id) {
  tiles.get(id)?.remove();
  tiles.delete(id);
  arrange();
}

/** The more there are, the smaller each. */
function arrange() {
  $("people").style.setProperty("--least", `${tiles.size <= 2 ? 24 : tiles.size <= 6 ? 18 : 13}rem`);
}

function toggle(what, change) {
  let on = true;
  const element = button(`${what} off`, () => {
    on = !on;
    element.textContent = `${what} ${on ? "off" : "on"}`;
    change(on);
  });
}
