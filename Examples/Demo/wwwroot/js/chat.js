// The chat: every open page and the program share one room. Messages are JSON on an ordered, reliable channel.

const most = 500; // messages kept on the page

export class Chat {
  #log = document.getElementById("chat-log");
  #form = document.getElementById("chat-form");
  #text = document.getElementById("chat-text");
  #session;

  constructor() {
    this.#form.onsubmit = (e) => {
      e.preventDefault();
      const text = this.#text.value.trim();
      if (!text || this.#session?.chat.readyState !== "open") return;
      this.#session.chat.send(JSON.stringify({ text }));
      this.#show({ from: "You", text, kind: "mine" });
      this.#text.value = "";
    };
  }

  attach(session) {
    this.#session = session;

    session.chat.onmessage = (e) => {
      const { from, text } = JSON.parse(e.data);
      this.#show({ from, text, kind: from === "Program" ? "program" : "other" });
    };

    session.addEventListener("open", () => this.#enable(true));
    session.addEventListener("end", () => this.#enable(false));
  }

  #enable(on) {
    for (const control of this.#form.elements) control.disabled = !on;
  }

  #show({ from, text, kind }) {
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
    const now = new Date();
    const item = document.createElement("li");
    item.className = kind;

    const who = item.appendChild(document.createElement("span"));
    who.className = "who";
    who.textContent = from;
    const time = item.appendChild(document.createElement("time"));
    time.dateTime = now.toISOString();
    time.textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const body = item.appendChild(document.createElement("span"));
    body.className = "text";
    body.textContent = text;

    this.#log.append(item);
    while (this.#log.children.length > most) this.#log.firstChild.remove();
    if (atEnd || kind === "mine") this.#log.scrollTop = this.#log.scrollHeight;
  }
}
