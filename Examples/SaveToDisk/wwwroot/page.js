import { button, camera, connect, say, tile } from "/common/page.js";

const { pc, signalling } = connect();
say("Press the button: what your camera and microphone send is written to disk.");

const start = button("Start recording", async () => {
  const stream = await camera();
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  tile(stream, "What is recorded").muted = true;
  start.remove();

  button("Stop", (stop) => {
    // The files are complete once the program sees the page go.
    signalling.close();
    pc.close();
    for (const track of stream.getTracks()) track.stop();
    stop.remove();
    say("Recorded. The program's terminal says where the files are.", "good");
  });
});
