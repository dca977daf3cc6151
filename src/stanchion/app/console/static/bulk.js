// Many items in hand: x chooses the row in focus, Shift X all of them; the leases are prolonged while the page is open.
const BEAT_MS = 45_000;

const typing = (target) => target.closest?.("select, textarea, [contenteditable], input:not([type=checkbox])") !== null;

function boxes(form) {
  return [...form.querySelectorAll("input[type=checkbox][name^=item-]")];
}

async function beat(form) {
  const line = form.querySelector("[data-bulk-state]");
  const tickets = boxes(form).map((box) => box.value);
  const body = new URLSearchParams({ csrf: form.csrf.value, tickets: tickets.join("\n") });
  try {
    const headers = { Accept: "application/json" };
    const answer = await fetch(form.dataset.bulk, { method: "POST", body, headers, redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    const told = await answer.json();
    if (told.kept < tickets.length) line.textContent = `${tickets.length - told.kept} leases have ended; reload the page.`;
  } catch {
    line.textContent = "No connection; the leases may end.";
  }
}

function choose(form, event) {
  if (event.key === "X") {
    const all = boxes(form);
    const on = !all.every((box) => box.checked);
    for (const box of all) box.checked = on;
    return true;
  }
  const row = document.activeElement?.closest?.("[data-bulk] tbody tr");
  const box = row?.querySelector("input[type=checkbox]");
  if (!box) return false;
  box.checked = !box.checked;
  return true;
}

export function startBulk() {
  const form = document.querySelector("form[data-bulk]");
  if (!form) return;
  setInterval(() => beat(form), BEAT_MS);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key.toLowerCase() === "x" && choose(form, event)) event.preventDefault();
  });
}
