import { button, camera, connect, log, say, showAll } from "/common/page.js";

const { pc } = connect();
showAll(pc, "Back from the program");
say("Press the button: your camera goes to the program and comes back.");

const start = button("Start the camera", async () => {
  const stream = await camera();
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  start.remove();
  log("Use headphones: your own voice comes back.");
});
