// Two curves over the last half minute, drawn on a canvas, in the colours of the two ways: up to the program, down to the browser.

const seconds = 30;

export class Plot {
  #canvas;
  #samples = []; // { at, up, down }; null where nothing is known
  #least;
  #label;
  #top;
  #frame = 0;

  /** The scale ends at `least` or above; `label` writes a value beside it. */
  constructor(canvas, least, label) {
    this.#canvas = canvas;
    this.#least = this.#top = least;
    this.#label = label;
    new ResizeObserver(() => this.draw()).observe(canvas);
    addEventListener("themechange", () => this.draw());
  }

  add(up, down) {
    const now = performance.now();
    this.#samples.push({ at: now, up, down });
    while (this.#samples.length > 2 && this.#samples[1].at < now - (seconds + 1) * 1000) this.#samples.shift();
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0) return;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);

    const g = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    g.scale(scale, scale);
    g.font = `12px ${style.fontFamily}`;
    g.textBaseline = "middle";

    const now = performance.now();
    const highest = Math.max(0, ...this.#samples.map((s) => Math.max(s.up, s.down)));
    this.#top = nice(Math.max(this.#least, highest * 1.08));

    const left = 0;
    const right = width - 1;
    const ceiling = 18;
    const floor = height - 20;
    const x = (at) => right - ((now - at) / (seconds * 1000)) * (right - left);
    const y = (rate) => floor - (rate / this.#top) * (floor - ceiling);

    g.lineWidth = 1;
    g.textAlign = "left";

    for (const part of [0, 0.5, 1]) {
      const line = Math.round(y(this.#top * part)) + 0.5;
      g.strokeStyle = colour(part === 0 ? "--soft" : "--hair");
      g.beginPath();
      g.moveTo(left, line);
      g.lineTo(right, line);
      g.stroke();
      g.fillStyle = colour("--soft");
      if (part > 0) g.fillText(this.#label(this.#top * part), left, line - 9);
    }

    g.fillStyle = colour("--soft");
    for (const ago of width < 320 ? [30, 0] : [30, 20, 10, 0]) {
      g.textAlign = ago === 30 ? "left" : ago === 0 ? "right" : "center";
      g.fillText(ago === 0 ? "now" : `${ago} s ago`, x(now - ago * 1000), height - 7);
    }

    g.save();
    g.beginPath();
    g.rect(left, 0, right - left + 1, floor + 2);
    g.clip();
    this.#curve(g, "up", colour("--up"), x, y, floor);
    this.#curve(g, "down", colour("--down"), x, y, floor);
    g.restore();
  }

  #curve(g, key, colour, x, y, floor) {
    const samples = this.#samples.filter((s) => s[key] !== null);
    if (samples.length < 2) return;

    const trace = () => {
      g.beginPath();
      samples.forEach((s, i) => (i === 0 ? g.moveTo(x(s.at), y(s[key])) : g.lineTo(x(s.at), y(s[key]))));
    };

    trace();
    g.lineTo(x(samples.at(-1).at), floor);
    g.lineTo(x(samples[0].at), floor);
    g.globalAlpha = 0.1;
    g.fillStyle = colour;
    g.fill();
    g.globalAlpha = 1;

    trace();
    g.strokeStyle = colour;
    g.lineWidth = 1.75;
    g.lineJoin = "round";
    g.stroke();
  }
}

/** The next round figure, so that the scale changes seldom. */
function nice(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * power).find((m) => m >= n);
}
