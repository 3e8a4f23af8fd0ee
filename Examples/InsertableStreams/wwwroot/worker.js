// Seals what the browser's encoder puts out and opens what goes to its decoder, away from the page's thread. `Cipher.cs` is the
// same in C#, and says why the first octets stay as they are.

let key = new Uint8Array(0);

onmessage = ({ data }) => (key = new TextEncoder().encode(data.key));

onrtctransform = ({ transformer }) => {
  const { readable, writable } = transformer;

  readable
    .pipeThrough(
      new TransformStream({
        transform(frame, controller) {
          const data = new Uint8Array(frame.data);
          // A picture has a type, "key" or "delta"; sound has none.
          const clear = frame instanceof RTCEncodedVideoFrame ? (frame.type === "key" ? 10 : 3) : 1;
          if (key.length > 0) for (let i = clear; i < data.length; i++) data[i] ^= key[i % key.length];
          frame.data = data.buffer;
          controller.enqueue(frame);
        },
      }),
    )
    .pipeTo(writable);
};
