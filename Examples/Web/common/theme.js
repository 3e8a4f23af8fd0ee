// The theme: the system's, or the visitor's own choice, kept for the next visit. A classic script, so that it runs before the first paint.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const choices = ["system", "light", "dark"];
  let choice = "system";

  try {
    choice = choices.find((c) => c === localStorage.getItem("theme")) ?? "system";
  } catch {
    // Storage may be forbidden: then the choice lasts as long as the page.
  }

  const show = () => {
    document.documentElement.dataset.theme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
    dispatchEvent(new Event("themechange"));
    const button = document.getElementById("theme");

    if (button) button.textContent = `Theme: ${choice}`;
  };

  show();
  system.addEventListener("change", show);

  addEventListener("DOMContentLoaded", () => {
    show();

    document.getElementById("theme")?.addEventListener("click", () => {
      choice = choices[(choices.indexOf(choice) + 1) % choices.length];

      try {
        localStorage.setItem("theme", choice);
      } catch {
        // As above.
      }

      show();
    });
  });
})();
