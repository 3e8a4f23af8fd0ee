import { button, camera, connect, say, showAll, tile } from "/common/page.js";

const { pc } = connect();
const publishes = new URLSearchParams(location.search).has("publish");

if (publishes) {
  say("You publish here, once you have pressed the button.");
  const start = button("Publish the camera", async () => {
    const stream = await camera();
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
    tile(stream, "What you publish").muted = true;
    start.remove();
  });
} else {
  showAll(pc, "From the publisher");
  button("Publish instead", () => (location.search = "?publish"));
}
