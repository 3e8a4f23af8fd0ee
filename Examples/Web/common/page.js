// What the examples' pages do alike: connect, say how things stand, show tracks, ask for the camera.

import { Signalling } from "./signalling.js";

const $ = (id) => document.getElementById(id);

/** A sentence on how things stand; `mood` is "", "good" or "bad". */
export function say(sentence, mood = "") {
  $("status").textContent = sentence;
  $("status").className = `status ${mood}`;
}

/** A connection to the program; what the page's address asks for (`?…`) goes along. */
export function connect(configuration) {
  const pc = new RTCPeerConnection(configuration);
  const signalling = new Signalling(pc, location.search);
  signalling.addEventListener("hello", ({ detail }) => ($("runtime").textContent = detail.runtime));

  pc.addEventListener("connectionstatechange", () => {
    document.body.dataset.state = pc.connectionState;
    if (pc.connectionState === "connected") say("Connected.", "good");
    if (pc.connectionState === "disconnected") say("The path has gone quiet. WebRTC keeps trying for half a minute.");
    if (pc.connectionState === "failed") say("The connection failed: no path carries packets any longer.", "bad");
  });

  signalling.addEventListener("end", ({ detail }) => {
    say(detail ?? "The program has gone. Start it again, and reload this page.", "bad");
    pc.close();
  });

  return { pc, signalling };
}

/** Shows a track or stream under a title; answers its element. */
export function tile(media, title) {
  const stream = media instanceof MediaStream ? media : new MediaStream([media]);
  const figure = document.createElement("figure");
  const element = document.createElement(stream.getVideoTracks().length > 0 ? "video" : "audio");
  Object.assign(element, { autoplay: true, playsInline: true, controls: true, srcObject: stream });
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(element, caption);
  $("tiles").append(figure);

  // Browsers let a page make noise only after its user has touched it: until then the picture plays alone.
  element.play().catch(() => {
    element.muted = true;
    element.play().catch(() => {});
    addEventListener("pointerdown", () => (element.muted = false), { once: true });
  });
  return element;
}

/** Shows every stream that comes, for as long as it has tracks. */
export function showAll(pc, title = "From the program") {
  const shown = new Map();

  pc.addEventListener("track", ({ track, streams: [stream = new MediaStream([track])] }) => {
    // Sound may come first: its element makes way for one that shows the picture, too.
    if (track.kind === "video" || !shown.has(stream)) {
      shown.get(stream)?.closest("figure").remove();
      shown.set(stream, tile(stream, title));
    }

    stream.addEventListener("removetrack", () => {
      if (stream.getTracks().length > 0) return;
      shown.get(stream)?.closest("figure").remove();
      shown.delete(stream);
    });
  });
}

/** A button; it is disabled while what it does is under way. */
export function button(text, action) {
  const element = document.createElement("button");
  Object.assign(element, { type: "button", textContent: text });
  element.onclick = async () => {
    element.disabled = true;
    try {
      await action(element);
    } catch (error) {
      say(error.message, "bad");
    } finally {
      element.disabled = false;
    }
  };
  $("actions").append(element);
  return element;
}

/** Writes a line to the list of what happened. */
export function log(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("log").append(item);
  item.scrollIntoView({ block: "nearest" });
}

/** The camera's and microphone's stream; throws an error that says to a person what to do. */
export async function camera(constraints = { video: { width: 640, height: 480 }, audio: true }) {
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new Error(
      {
        NotAllowedError: "The browser was not allowed to use the camera or microphone. Allow it in the address bar, and try again.",
        NotFoundError: "This machine has no camera or microphone that the browser can see.",
        NotReadableError: "The camera or microphone is in use by another program.",
      }[error.name] ?? `The camera or microphone cannot be used: ${error.message}`,
    );
  }
}

/** A field of text under a title; `changed` hears each new value. Answers the first value. */
export function field(title, value, changed) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "text", value, size: 20 });
  label.className = "field";
  label.append(title, input);
  input.oninput = () => changed(input.value);
  $("actions").append(label);
  return value;
}
