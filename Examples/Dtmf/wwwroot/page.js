import { button, connect, log, showAll } from "/common/page.js";

const { pc, signalling } = connect();
showAll(pc, "The line");

// A key of this pad has the program play its tone, into the page's ear.
for (const tone of "123A456B789C*0#D") button(tone, () => signalling.send({ dial: tone }));

signalling.addEventListener("message", ({ detail: { playing, left, refused } }) => {
  if (refused) log(`Refused: ${refused}`);
  else if (playing) log(`The program plays ${playing}${left ? `, then ${left}` : ""}`);
});
