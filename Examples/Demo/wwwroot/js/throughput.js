// Bulk data both ways. What counts is what arrived: the browser counts its own, and the program reports its count by telemetry.

import { bytes, megabytes, trim } from "./format.js";
import { Plot } from "./plot.js";

const seconds = 5;
const messageSize = 64 * 1024;
const enough = 1024 * 1024; // in the browser's buffer: two round trips' worth on a fast path

export class Throughput {
  #session;
  #plot = new Plot(document.getElementById("plot"), 1e6, (rate) => `${trim(rate / 1e6)} MB/s`);
  #buttons = [...document.querySelectorAll("[data-run]")];
  #up = meter("up");
  #down = meter("down");
  #running = null;
  #payload = new Uint8Array(messageSize);

  constructor() {
    for (let i = 0; i < messageSize; i += 65536) crypto.getRandomValues(this.#payload.subarray(i, i + 65536));
    for (const button of this.#buttons) button.onclick = () => (this.#running ? this.#stop() : this.#run(button.dataset.run));
    setInterval(() => this.#sample(), 250);
  }

  attach(session) {
    this.#session = session;
    this.#up.start(0);
    this.#down.start(0);
    session.bulk.bufferedAmountLowThreshold = enough / 2;
    session.bulk.onmessage = (e) => this.#down.count(e.data.byteLength ?? e.data.length);

    // The rate is taken on the program's own clock, so a late report does not look like a dip.
    session.addEventListener("telemetry", ({ detail }) => this.#up.report(detail.received, detail.at));
    session.addEventListener("open", () => this.#enable(true));
    session.addEventListener("end", () => {
      this.#stop();
      this.#enable(false);
      this.#up.zero();
      this.#down.zero();
    });
  }

  /** Bytes a second, both ways, for the moving line between the two ends. */
  get rates() {
    return { up: this.#up.rate, down: this.#down.rate };
  }

  #enable(on) {
    for (const button of this.#buttons) button.disabled = !on;
  }

  #run(way) {
    const run = { until: performance.now() + seconds * 1000 };
    this.#running = run;

    for (const button of this.#buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.run === way));
      button.disabled = button.dataset.run !== way;
    }

    this.#buttons.find((b) => b.dataset.run === way).dataset.name ??= this.#buttons.find((b) => b.dataset.run === way).textContent;
    this.#buttons.find((b) => b.dataset.run === way).textContent = "Stop";

    if (way !== "up") this.#session.bulk.send(JSON.stringify({ run: seconds }));
    if (way !== "down") this.#push(run);
    run.timer = setTimeout(() => this.#running === run && this.#stop(), seconds * 1000);
  }

  /** Fills the channel's buffer, and again each time half of it is gone. */
  #push(run) {
    const channel = this.#session.bulk;

    const fill = () => {
      if (this.#running !== run || channel.readyState !== "open") return;
      while (channel.bufferedAmount < enough && performance.now() < run.until) channel.send(this.#payload);
    };

    channel.onbufferedamountlow = fill;
    fill();
  }

  #stop() {
    if (!this.#running) return;
    clearTimeout(this.#running.timer);
    this.#running = null;
    this.#session.bulk.onbufferedamountlow = null;
    if (this.#session.bulk.readyState === "open") this.#session.bulk.send(JSON.stringify({ run: 0 }));

    for (const button of this.#buttons) {
      button.removeAttribute("aria-pressed");
      button.disabled = this.#session.ended;
      button.textContent = button.dataset.name ?? button.textContent;
    }
  }

  #sample() {
    this.#down.tick();
    this.#plot.add(this.#up.rate, this.#down.rate);
    this.#up.show();
    this.#down.show();
    const { up, down } = this.rates;
    document
      .getElementById("plot")
      .setAttribute(
        "aria-label",
        `Throughput of the last 30 seconds. Now ${megabytes(up)} MB/s to the program, ${megabytes(down)} MB/s to the browser; ` +
          `at most ${megabytes(this.#up.peak)} and ${megabytes(this.#down.peak)}.`,
      );
  }
}

/** Counts one direction: a running total, the present rate, and the highest. */
function meter(name) {
  const now = document.getElementById(`${name}-now`);
  const sub = document.getElementById(`${name}-sub`);
  let total = 0;
  let last = null; // { total, at }

  return {
    rate: 0,
    peak: 0,
    start() {
      total = 0;
      last = null;
      this.rate = 0;
    },
    zero() {
      this.rate = 0;
    },
    count(n) {
      total += n;
    },
    report(newTotal, at) {
      if (last && at > last.at) this.rate = ((newTotal - last.total) / (at - last.at)) * 1000;
      total = newTotal;
      last = { total, at };
      this.peak = Math.max(this.peak, this.rate);
    },
    tick() {
      this.report(total, performance.now());
    },
    show() {
      now.textContent = megabytes(this.rate);
      sub.textContent = `peak ${megabytes(this.peak)} · ${bytes(total)} in all`;
    },
  };
}
