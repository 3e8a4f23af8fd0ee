// Sends the camera and the microphone; where they go to is the program's to say. `?picture` sends a picture of the page's own instead.

import { button, connect, log, say, tile } from "/common/page.js";
import { source } from "/common/picture.js";

const { pc, signalling } = connect();
signalling.addEventListener("message", ({ detail: { video, audio } }) => {
  log(`Pictures go to ${video}, sound to ${audio}.`);
  say("Forwarding.", "good");
});
say("The camera's packets will go where the program was told.");

const start = button("Send the camera", async () => {
  const stream = await source({ text: "RTP forwarder" });
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  stream.getVideoTracks().forEach((track) => tile(track, "What is sent"));
  start.hidden = true;
});
