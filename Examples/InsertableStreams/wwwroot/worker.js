// Seals what the browser's encoder puts out and opens what goes to its decoder, away from the page's thread. `Cipher.cs` is the
// same in C#, and says what a sealed frame looks like and why the first octets stay as they are.

const tag = 16;
const nonce = 12;
let key;

// The newest phrase counts, whichever digest is ready first.
onmessage = ({ data }) => (key = keyOf(data.key));

async function keyOf(phrase) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(phrase));
  return crypto.subtle.importKey("raw", digest, "AES-GCM", false, ["encrypt", "decrypt"]);
}

// A picture has a type, "key" or "delta"; sound has none.
const clearOctets = (frame) => (frame instanceof RTCEncodedVideoFrame ? (frame.type === "key" ? 10 : 3) : 1);

const parameters = (iv, clear) => ({ name: "AES-GCM", iv, additionalData: clear, tagLength: 8 * tag });

async function seal(frame) {
  const data = new Uint8Array(frame.data);
  const clear = data.subarray(0, clearOctets(frame));
  const iv = crypto.getRandomValues(new Uint8Array(nonce));
  const sealed = await crypto.subtle.encrypt(parameters(iv, clear), await key, data.subarray(clear.length));
  return join(clear, new Uint8Array(sealed), iv);
}

// Answers nothing where another key has sealed it.
async function open(frame) {
  const data = new Uint8Array(frame.data);
  const clear = data.subarray(0, clearOctets(frame));
  const iv = data.subarray(data.length - nonce);
  try {
    const opened = await crypto.subtle.decrypt(
      parameters(iv, clear),
      await key,
      data.subarray(clear.length, data.length - nonce),
    );
    return join(clear, new Uint8Array(opened));
  } catch {
    return undefined;
  }
}

function join(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all.buffer;
}

onrtctransform = ({ transformer }) => {
  const { readable, writable, options } = transformer;
  const change = options.seals ? seal : open;

  readable
    .pipeThrough(
      new TransformStream({
        async transform(frame, controller) {
          const data = await change(frame);
          if (!data) return;
          frame.data = data;
          controller.enqueue(frame);
        },
      }),
    )
    .pipeTo(writable);
};
