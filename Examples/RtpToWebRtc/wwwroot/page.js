import { connect, log, showAll } from "/common/page.js";

// The program sends, so it makes the offer: the page only has to show what comes.
const { pc, signalling } = connect();
showAll(pc, "From the program");
signalling.addEventListener("message", ({ detail: { video, audio, codec } }) => {
  const encoder = { VP8: "libvpx -deadline realtime", VP9: "libvpx-vp9 -deadline realtime", H264: "libx264 -tune zerolatency -bf 0", AV1: "libaom-av1 -usage realtime" }[codec];
  log(`ffmpeg -re -f lavfi -i testsrc2=size=640x480:rate=30 -c:v ${encoder} -b:v 1M -g 60 -f rtp "rtp://127.0.0.1:${video}?pkt_size=1200"`);
  log(`ffmpeg -re -f lavfi -i sine -c:a libopus -f rtp rtp://127.0.0.1:${audio}`);
});
