import { button, camera, connect, field, log, say, showAll } from "/common/page.js";

const worker = new Worker("worker.js");
const key = field("Key", "correct horse", (value) => worker.postMessage({ key: value }));
worker.postMessage({ key });

const { pc, signalling } = connect();
showAll(pc, "Opened, sealed again, and back from the program");
say("Press the button: your camera goes to the program sealed, and comes back sealed.");

const start = button("Start the camera", async () => {
  if (!("RTCRtpScriptTransform" in window)) throw new Error("This browser has no RTCRtpScriptTransform.");
  const stream = await camera();
  for (const track of stream.getTracks()) pc.addTrack(track, stream);

  // At once, for both ends of each: a browser does without for good where there is none when frames begin to go or come.
  for (const { sender, receiver } of pc.getTransceivers()) {
    sender.transform = new RTCRtpScriptTransform(worker, { seals: true });
    receiver.transform = new RTCRtpScriptTransform(worker, { seals: false });
  }

  start.remove();
});

signalling.addEventListener("message", ({ detail }) => log(`The program opened ${detail.opened}.`));
