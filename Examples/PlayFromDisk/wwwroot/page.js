import { connect, showAll } from "/common/page.js";

// The program sends, so it makes the offer: the page only has to show what comes.
const { pc } = connect();
showAll(pc);
