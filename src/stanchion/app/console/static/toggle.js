// The colour theme: light, dark, or what the system says. Remembered in this browser only.
const NAMES = { system: "follow the system", light: "light", dark: "dark" };
const NEXT = { system: "light", light: "dark", dark: "system" };
const root = document.documentElement;

function apply(choice, button) {
  root.dataset.choice = choice;
  if (choice === "system") delete root.dataset.theme;
  else root.dataset.theme = choice;
  try {
    localStorage.setItem("stanchion-theme", choice);
  } catch {
    // The choice then lasts until the page is left.
  }
  label(choice, button);
}

function label(choice, button) {
  button.setAttribute("aria-label", `Colour theme: ${NAMES[choice]}`);
  button.title = `Colour theme: ${NAMES[choice]}`;
}

export function startTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  label(root.dataset.choice, button);
  button.addEventListener("click", () => apply(NEXT[root.dataset.choice], button));
}
