import { button, connect, log, say, showAll } from "/common/page.js";

const { pc, signalling } = connect();
showAll(pc, "What the program plays");

// Tones are sent in the place of a track's sound. Silence will do: no microphone is needed.
const context = new AudioContext();
const silence = context.createMediaStreamDestination();
const source = new ConstantSourceNode(context, { offset: 0 });
source.connect(silence);
source.start();
const sender = pc.addTrack(silence.stream.getAudioTracks()[0], silence.stream);

for (const tone of "123A456B789C*0#D") {
  button(tone, async () => {
    // Browsers keep a page silent until its user has touched it, and what is silent so sends not even silence.
    await context.resume();
    if (!sender.dtmf.canInsertDTMF) return say("There is no connection to send tones on.", "bad");
    // What is still to be sent goes before: insertDTMF takes the place of it.
    sender.dtmf.insertDTMF(sender.dtmf.toneBuffer + tone, 150);
  });
}

signalling.addEventListener("message", ({ detail: { heard, milliseconds, playing, left } }) => {
  if (heard) log(`The program heard ${heard}, ${Math.round(milliseconds)} ms long.`);
  else if (playing) log(`The program plays ${playing}${left ? `, then ${left}` : ""}.`);
});
