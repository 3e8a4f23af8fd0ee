// Watches what the program plays. All signalling is HTTP; the page needs no socket to the program.

import { button, log, say, showAll } from "/common/page.js";
import { HttpSession } from "/common/whip.js";

let current = null;

const watching = button("Watch", watch);
const restart = button("Restart ICE", async () => {
  await current.session.restartIce();
  log("ICE was restarted: other credentials, the same session.");
});
const leaving = button("Leave", leave);
await watch().catch((error) => say(error.message, "bad"));

async function watch() {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  current = { pc };
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  showAll(pc, "From the server");
  pc.addEventListener("connectionstatechange", () => {
    if (pc.connectionState === "connected") say("Watching.", "good");
    if (pc.connectionState === "failed") say("The connection failed: no path carries packets any longer.", "bad");
  });
  current.session = await HttpSession.open(pc, "/whep", new URLSearchParams(location.search).get("token"));
  log(`Session ${current.session.location.pathname}`);
  show(true);
}

async function leave() {
  await current.session.close();
  current.pc.close();
  document.getElementById("tiles").replaceChildren();
  show(false);
  say("Left. The server was told by DELETE.");
}

function show(isWatching) {
  watching.hidden = isWatching;
  restart.hidden = leaving.hidden = !isWatching;
}
