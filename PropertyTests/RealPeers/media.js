// What the test page does with media, in every browser. Values that come from here are plain, so that they become JSON.

// A track of the (fake) camera or microphone.
const device = async (kind) => {
  const wanted = kind === "video" ? { video: { width: 320, height: 240, frameRate: 30 } } : { audio: true };
  return (await navigator.mediaDevices.getUserMedia(wanted)).getTracks()[0];
};

// A video track of one colour, `[red, green, blue]`, that can be changed by `track.paint(colour)`.
const painted = (colour, width = 320, height = 240) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  let n = 0;
  const draw = () => {
    context.fillStyle = `rgb(${colour.join()})`;
    context.fillRect(0, 0, width, height);
    // A dot that moves, so that every frame differs from the one before.
    context.fillStyle = "white";
    context.fillRect((n++ * 4) % width, 0, 4, 4);
  };
  draw();
  const timer = setInterval(draw, 40);
  const track = canvas.captureStream(25).getVideoTracks()[0];
  track.paint = (next) => { colour = next; };
  track.unpaint = () => { clearInterval(timer); track.stop(); };
  return track;
};

// An audio track of a tone, in Hz.
const tone = (frequency = 440) => {
  const context = new AudioContext();
  const source = new OscillatorNode(context, { frequency });
  const sink = context.createMediaStreamDestination();
  source.connect(sink);
  source.start();
  return sink.stream.getAudioTracks()[0];
};

// Shows tracks in an element of their kind; answers it once it plays.
const show = async (...tracks) => {
  const element = document.createElement(tracks.some((t) => t.kind === "video") ? "video" : "audio");
  Object.assign(element, { muted: true, autoplay: true, playsInline: true, srcObject: new MediaStream(tracks) });
  document.body.append(element);
  await element.play().catch(() => {});
  return element;
};

// The mean colour of the picture that a video element shows, `[red, green, blue]`; null before there is one.
const colourOf = (video) => {
  if (!video.videoWidth) return null;
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 24 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0, 32, 24);
  const { data } = context.getImageData(0, 0, 32, 24);
  const sum = [0, 0, 0];
  for (let i = 0; i < data.length; i++) if (i % 4 < 3) sum[i % 4] += data[i];
  return sum.map((s) => Math.round(s / (32 * 24)));
};

// Waits until `read()` answers something that is neither null, undefined nor false; asks 20 times a second.
const until = async (read) => {
  for (;;) {
    const value = await read();
    if (value) return value;
    await new Promise((go) => setTimeout(go, 50));
  }
};

// Whether two colours are the same but for what encoding does to them.
const alike = (a, b, tolerance = 24) => a.every((v, i) => Math.abs(v - b[i]) <= tolerance);

// Waits until a video element shows this colour; answers what it showed.
const shows = (video, colour, tolerance) =>
  until(() => {
    const seen = colourOf(video);
    return seen && alike(seen, colour, tolerance) && seen;
  });

// Statistics of one type, of a connection, sender or receiver, as plain objects; codecs are put in their place.
const stats = async (source, type, kind) => {
  const report = await source.getStats();
  return [...report.values()]
    .filter((s) => s.type === type && (!kind || s.kind === kind))
    .map((s) => ({ ...s, codec: report.get(s.codecId)?.mimeType }));
};

// Waits until a connection has decoded this many frames of a kind (video), or played this many samples (audio); answers the
// statistics of the inbound stream that did.
const decoded = (pc, kind, count) =>
  until(async () => {
    const streams = await stats(pc, "inbound-rtp", kind);
    return streams.find((s) => (kind === "video" ? s.framesDecoded : s.totalSamplesReceived) >= count);
  });

// MIME types that the browser sends and receives.
const codecsOf = (kind) => [
  ...new Set(
    RTCRtpSender.getCapabilities(kind).codecs.map((c) => c.mimeType)
      .filter((m) => RTCRtpReceiver.getCapabilities(kind).codecs.some((c) => c.mimeType === m))),
];

// Has a transceiver negotiate these MIME types only, with what repairs them.
const prefer = (transceiver, ...mimeTypes) => {
  const kind = transceiver.receiver.track.kind;
  const wanted = [...mimeTypes, `${kind}/rtx`].map((m) => m.toLowerCase());
  const known = RTCRtpReceiver.getCapabilities(kind).codecs;
  transceiver.setCodecPreferences(known.filter((c) => wanted.includes(c.mimeType.toLowerCase())));
};

// Listens for the keys of a telephone on an audio track: answers an object whose `keys` grows by each that is
// another one than that before it.
const keysOf = async (track) => {
  const context = new AudioContext();
  const processor = `registerProcessor("keys", class extends AudioWorkletProcessor {
    samples = new Float32Array(1024);
    filled = 0;
    // The square of a frequency's amplitude, by Goertzel's algorithm.
    power(frequency) {
      const k = 2 * Math.cos((2 * Math.PI * frequency) / sampleRate);
      let a = 0, b = 0;
      for (const s of this.samples) [a, b] = [s + k * a - b, a];
      return (4 * (a * a + b * b - k * a * b)) / this.samples.length ** 2;
    }
    // The key whose two frequencies are most of what is heard; empty: none.
    key() {
      const all = (2 * this.samples.reduce((sum, s) => sum + s * s, 0)) / this.samples.length;
      const powers = [697, 770, 852, 941, 1209, 1336, 1477, 1633].map((f) => this.power(f));
      const [low, high] = [powers.slice(0, 4), powers.slice(4)].map((p) => p.indexOf(Math.max(...p)));
      const isKey = all > 1e-5 && powers[low] > 0.2 * all && powers[4 + high] > 0.2 * all;
      return isKey ? "123A456B789C*0#D"[4 * low + high] : "";
    }
    process([input]) {
      for (const s of input[0] ?? []) {
        this.samples[this.filled++] = s;
        if (this.filled === this.samples.length) { this.port.postMessage(this.key()); this.filled = 0; }
      }
      return true;
    }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([processor], { type: "text/javascript" })));
  const node = new AudioWorkletNode(context, "keys");
  context.createMediaStreamSource(new MediaStream([track])).connect(node).connect(context.destination);
  const heard = { keys: "", context };
  // A busy machine tears a tone apart: the same key again is none.
  node.port.onmessage = ({ data }) => { if (!heard.keys.endsWith(data)) heard.keys += data; };
  return heard;
};
