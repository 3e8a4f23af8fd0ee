// What to send: the camera, or a picture of the page's own, for who has no camera, or has another page use it.

import { camera } from "./page.js";

/**
 * The stream to send. The page's address may ask for a picture in place of the camera: `?picture`, or `?picture=2a5bd7` for its colour.
 * `video` says how large.
 */
export async function source({ video = { width: 640, height: 480 }, audio = true, text = "" } = {}) {
  const wanted = new URLSearchParams(location.search).get("picture");
  return wanted === null ? camera({ video, audio }) : testPicture({ ...video, audio, text, colour: `#${wanted || "2a5bd7"}` });
}

/** A stream of a colour with a clock in it, and of a tone that beats as the clock does. */
export function testPicture({ colour = "#2a5bd7", text = "", width = 640, height = 480, audio = true } = {}) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  const radius = height / 9;
  const draw = () => {
    const now = new Date();
    context.fillStyle = colour;
    context.fillRect(0, 0, width, height);
    // A hand that goes round once a second: a frozen picture shows as such.
    const angle = (now.getMilliseconds() / 500) * Math.PI - Math.PI / 2;
    context.strokeStyle = "#ffffffcc";
    context.lineWidth = height / 90;
    context.beginPath();
    context.arc(radius * 1.6, radius * 1.6, radius, 0, 2 * Math.PI);
    context.moveTo(radius * 1.6, radius * 1.6);
    context.lineTo(radius * 1.6 + radius * 0.8 * Math.cos(angle), radius * 1.6 + radius * 0.8 * Math.sin(angle));
    context.stroke();
    context.fillStyle = "#ffffffcc";
    context.font = `500 ${height / 14}px system-ui, sans-serif`;
    context.fillText(now.toLocaleTimeString(), radius * 3, radius * 1.85);
    if (text) context.fillText(text, radius * 0.6, height - radius * 0.6, width - radius * 1.2);
  };
  draw();
  const timer = setInterval(draw, 40);
  const stream = canvas.captureStream(25);
  const [picture] = stream.getVideoTracks();
  picture.addEventListener("ended", () => clearInterval(timer));

  if (audio) {
    const sound = new AudioContext();
    const out = sound.createMediaStreamDestination();
    const volume = new GainNode(sound, { gain: 0.04 });
    const beat = new GainNode(sound, { gain: 0.04 });
    const tone = new OscillatorNode(sound, { frequency: 330 });
    const beats = new OscillatorNode(sound, { frequency: 1 });
    tone.connect(volume).connect(out);
    beats.connect(beat).connect(volume.gain);
    tone.start();
    beats.start();
    stream.addTrack(out.stream.getAudioTracks()[0]);
    // Browsers let a page begin to sound only after its user has touched it.
    addEventListener("pointerdown", () => sound.resume(), { once: true });
  }

  return stream;
}
