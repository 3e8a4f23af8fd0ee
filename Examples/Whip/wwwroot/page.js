// Publishes and watches a channel: `?channel=…`, `live` by default; `?token=…` where the server wants one.

import { button, camera, log, say, showAll, tile } from "/common/page.js";
import { testPicture } from "/common/picture.js";
import { HttpSession } from "/common/whip.js";

const query = new URLSearchParams(location.search);
const channel = encodeURIComponent(query.get("channel") ?? "live");
const colour = `#${query.get("picture") || "2a5bd7"}`;
const sessions = [];

say(`Publish on the channel “${decodeURIComponent(channel)}”, or watch what another page, or another program, publishes there.`);

button("Publish the camera", async () => publish(await camera()));
button("Publish a test picture", () => publish(testPicture({ colour, text: decodeURIComponent(channel) })));
button("Watch", watch);
const restart = button("Restart ICE", async () => {
  await Promise.all(sessions.map((session) => session.restartIce()));
  log("ICE was restarted: other credentials, the same session.");
});
const leave = button("Leave", async () => {
  await Promise.all(sessions.splice(0).map((session) => session.leave()));
  document.getElementById("tiles").replaceChildren();
  restart.hidden = leave.hidden = true;
  say("Left. The server was told by DELETE.");
});
restart.hidden = leave.hidden = true;

async function publish(stream) {
  const pc = connection("Published");
  for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  const end = () => stream.getTracks().forEach((track) => track.stop());
  await enter(pc, `/whip/${channel}`, end);
  for (const track of stream.getVideoTracks()) tile(track, "What is published");
}

async function watch() {
  const pc = connection("Watching");
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  showAll(pc, `Channel “${decodeURIComponent(channel)}”`);
  await enter(pc, `/whep/${channel}`, () => {});
}

/** WHIP and WHEP bundle all media on one transport. */
function connection(what) {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  pc.addEventListener("connectionstatechange", () => {
    if (pc.connectionState === "connected") say(`${what}.`, "good");
    if (pc.connectionState === "failed") say("The connection failed: no path carries packets any longer.", "bad");
  });
  return pc;
}

async function enter(pc, endpoint, end) {
  try {
    const session = await HttpSession.open(pc, endpoint, query.get("token"));
    session.leave = async () => {
      await session.close();
      pc.close();
      end();
    };
    sessions.push(session);
    log(`Session ${session.location.pathname}`);
    restart.hidden = leave.hidden = false;
  } catch (error) {
    pc.close();
    end();
    throw error;
  }
}
