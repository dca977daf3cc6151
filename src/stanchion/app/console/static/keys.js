// The keyboard: g and a letter go to a page, / searches, j and k walk rows, ? lists all of it.
const AFTER_G_MS = 1200;

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") !== null;
}

function rowLinks() {
  return [...document.querySelectorAll("[data-rows] tbody td:first-child a")];
}

function walk(step) {
  const links = rowLinks();
  if (links.length === 0) return false;
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
  return true;
}

function go(letter) {
  const link = document.querySelector(`[data-go="${CSS.escape(letter)}"]`);
  link?.click();
  return link !== null;
}

export function startKeys() {
  const dialog = document.getElementById("shortcuts");
  const search = document.getElementById("search");
  let pressedG = -Infinity;
  document.querySelector("[data-shortcuts]")?.addEventListener("click", () => dialog.showModal());

  const single = {
    "/": () => search?.focus() ?? true,
    "?": () => dialog?.showModal() ?? true,
    t: () => document.querySelector("[data-theme-toggle]")?.click() ?? true,
    j: () => walk(1),
    k: () => walk(-1),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const inTable = event.target.closest?.("[data-rows]");
    if (inTable && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      if (walk(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
      return;
    }
    if (event.timeStamp - pressedG < AFTER_G_MS) {
      pressedG = -Infinity;
      // Whatever the letter: after g it must not mean what it means alone.
      go(event.key);
      event.preventDefault();
    } else if (event.key === "g") {
      pressedG = event.timeStamp;
    } else if (Object.hasOwn(single, event.key) && single[event.key]() !== false) {
      event.preventDefault();
    }
  });
}
