// Files, echoed. Each file has a channel of its own:
//   page    → { name, size }, then the bytes in binary messages
//   program → the same bytes as they come, then { sha256, size } of what it received
// The page hashes what it sent and what came back. Three equal hashes, and the file went there and back unharmed.

import { bytes, duration } from "./format.js";
import { Sha256 } from "./sha256.js";

const messageSize = 64 * 1024;
const readSize = 1024 * 1024;
const enough = 1024 * 1024; // in the channel's buffer
const ahead = 8 * 1024 * 1024; // sent but not yet echoed: neither end ever holds more of a file than this

export class Files {
  #input = document.getElementById("file-input");
  #drop = document.getElementById("drop");
  #sample = document.getElementById("file-sample");
  #list = document.getElementById("file-list");
  #session;

  constructor() {
    this.#input.onchange = () => {
      this.#take(this.#input.files);
      this.#input.value = "";
    };

    this.#sample.onclick = () => this.#take([randomFile(16_000_000)]);

    // A file dropped beside the field must not replace the page.
    for (const type of ["dragover", "drop"]) addEventListener(type, (e) => e.preventDefault());
    this.#drop.ondragover = () => this.#drop.classList.toggle("over", !this.#input.disabled);
    this.#drop.ondragleave = () => this.#drop.classList.remove("over");
    this.#drop.ondrop = (e) => {
      this.#drop.classList.remove("over");
      if (!this.#input.disabled) this.#take(e.dataTransfer.files);
    };
  }

  attach(session) {
    this.#session = session;
    session.addEventListener("open", () => this.#enable(true));
    session.addEventListener("end", () => this.#enable(false));
  }

  #enable(on) {
    this.#input.disabled = this.#sample.disabled = !on;
  }

  #take(files) {
    for (const file of files) {
      const row = new Row(file);
      this.#list.prepend(row.element);
      row.again = () => this.#send(file, row);
      this.#send(file, row);
    }
  }

  async #send(file, row) {
    if (this.#session.ended) return row.fail("There is no connection to send it over.");

    const channel = this.#session.file();
    const transfer = new Transfer(file, channel);
    row.begin(transfer);

    try {
      row.done(await transfer.run());
    } catch (error) {
      if (!transfer.cancelled) row.fail(error.message);
    } finally {
      channel.close();
    }
  }
}

class Transfer {
  sent = 0;
  echoed = 0;
  began = 0;
  cancelled = false;
  #file;
  #channel;
  #sentHash = new Sha256();
  #echoHash = new Sha256();
  #pieces = [];
  #wake = () => {};

  constructor(file, channel) {
    this.#file = file;
    this.#channel = channel;
  }

  cancel() {
    this.cancelled = true;
    this.#channel.close();
  }

  run() {
    const channel = this.#channel;

    return new Promise((resolve, reject) => {
      channel.bufferedAmountLowThreshold = enough / 2;
      channel.onbufferedamountlow = () => this.#wake();
      channel.onclose = () => {
        reject(new Error(`The channel closed after ${bytes(this.echoed)} of ${bytes(this.#file.size)} had come back.`));
        this.#wake();
      };
      channel.onmessage = ({ data }) => {
        if (typeof data === "string") {
          resolve(this.#judge(JSON.parse(data)));
        } else {
          this.#echoHash.update(new Uint8Array(data));
          this.#pieces.push(data);
          // Blobs may live on disk: a large file does not stay in memory.
          if (this.#pieces.length >= 256) this.#pieces = [new Blob(this.#pieces)];
          this.echoed += data.byteLength;
          this.#wake();
        }
      };

      const push = () => this.#push().catch(reject);
      if (channel.readyState === "open") push();
      else channel.onopen = push;
    });
  }

  async #push() {
    const channel = this.#channel;
    const size = this.#file.size;
    this.began = performance.now();
    channel.send(JSON.stringify({ name: this.#file.name, size }));

    for (let offset = 0; offset < size; offset += readSize) {
      const piece = new Uint8Array(await this.#file.slice(offset, offset + readSize).arrayBuffer());
      this.#sentHash.update(piece);

      for (let at = 0; at < piece.length; at += messageSize) {
        while (channel.readyState === "open" && (channel.bufferedAmount > enough || this.sent - this.echoed > ahead)) {
          await new Promise((resolve) => (this.#wake = resolve));
        }

        if (channel.readyState !== "open") return;
        const message = piece.subarray(at, at + messageSize);
        channel.send(message);
        this.sent += message.length;
      }
    }
  }

  #judge({ sha256, size, error }) {
    if (error) throw new Error(error);
    const took = performance.now() - this.began;
    const sent = this.#sentHash.hex();
    const echo = this.#echoHash.hex();
    return {
      took,
      sent,
      program: sha256,
      echo,
      equal: sent === sha256 && sent === echo && size === this.#file.size && this.echoed === this.#file.size,
      blob: new Blob(this.#pieces, { type: this.#file.type || "application/octet-stream" }),
    };
  }
}

/** A file in the list: its name, two thin bars (sent, come back), and what became of it. */
class Row {
  element = document.createElement("li");
  again = () => {};
  #file;
  #timer;
  #transfer;

  constructor(file) {
    this.#file = file;
    this.element.innerHTML = `<span class="title"></span><span class="size"></span>
      <div class="track" role="progressbar" aria-valuemin="0" aria-valuemax="100"><i class="sent"></i><i class="echoed"></i></div>
      <p class="progress-text"><span class="verdict"></span> <span class="say"></span> <span class="tools"></span><span class="hash"></span></p>`;
    this.#part("title").textContent = file.name;
    this.#part("title").title = file.name;
    this.#part("size").textContent = bytes(file.size);
    this.#part("track").setAttribute("aria-label", file.name);
  }

  begin(transfer) {
    this.#transfer = transfer;
    this.#verdict("", "");
    this.#part("hash").textContent = "";
    this.#part("track").hidden = false;
    this.#tools(tool("Cancel", () => {
      transfer.cancel();
      this.fail("Cancelled.");
    }));
    this.#timer = setInterval(() => this.#progress(), 100);
    this.#progress();
  }

  done({ took, sent, program, echo, equal, blob }) {
    this.#end();
    const rate = this.#file.size === 0 ? "" : `, ${bytes((this.#file.size / took) * 1000)}/s each way`;
    this.#verdict(equal ? "good" : "bad", equal ? "Came back unharmed" : "Came back changed");
    this.#part("say").textContent = `in ${duration(took)}${rate}.`;
    this.#part("hash").textContent = equal ? `SHA-256 ${sent}` : `SHA-256 sent ${sent}, received ${program}, echoed ${echo}`;

    const save = document.createElement("a");
    save.href = URL.createObjectURL(blob);
    save.download = this.#file.name;
    save.textContent = "Save the echo";
    this.#tools(save);
    this.#part("track").hidden = true;
  }

  fail(reason) {
    this.#end();
    this.#verdict("bad", "Did not arrive.");
    this.#part("say").textContent = reason;
    this.#tools(tool("Send again", () => this.again()));
  }

  #end() {
    clearInterval(this.#timer);
    if (this.#transfer) this.#progress();
  }

  #progress() {
    const size = Math.max(1, this.#file.size);
    const { sent, echoed, began } = this.#transfer;
    const percent = Math.round((echoed / size) * 100);
    this.element.querySelector("i.sent").style.width = `${(sent / size) * 100}%`;
    this.element.querySelector("i.echoed").style.width = `${(echoed / size) * 100}%`;
    this.#part("track").setAttribute("aria-valuenow", percent);
    const rate = began ? (echoed / (performance.now() - began)) * 1000 : 0;
    this.#part("say").textContent = `${bytes(sent)} sent, ${bytes(echoed)} back${rate > 0 ? ` · ${bytes(rate)}/s` : ""}`;
  }

  #verdict(kind, text) {
    this.#part("verdict").className = `verdict ${kind}`;
    this.#part("verdict").textContent = text;
  }

  #tools(...tools) {
    this.#part("tools").replaceChildren(...tools);
  }

  #part(name) {
    return this.element.querySelector(`.${name}`);
  }
}

function tool(text, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link";
  button.textContent = text;
  button.onclick = action;
  return button;
}

function randomFile(size) {
  const content = new Uint8Array(size);
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(content.subarray(i, Math.min(size, i + 65536)));
  return new File([content], "random.bin", { type: "application/octet-stream" });
}
