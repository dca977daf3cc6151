// Deciding by keyboard: a approves, r rejects, e edits, j goes on to the next item, k goes back, u undoes.
// The lease is prolonged while the page is open, and the next item's page is fetched before it is wanted.
import { startLive } from "./live.js";

const LONGEST_BEAT_MS = 60_000;

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]") !== null;
const find = (selector) => document.querySelector(selector);

class Review {
  #timer = 0;
  #ahead = null;

  get item() {
    return find("[data-case]");
  }

  get form() {
    return find("form[data-decide]");
  }

  start() {
    this.#beatLater(Number(this.item.dataset.seconds ?? 0));
    this.#ahead = this.#fetchAhead();
  }

  // Asks the server, as the form would, and gives its JSON; throws with the words of a refusal.
  async #post(address, fields) {
    const body = new URLSearchParams(fields);
    body.set("csrf", find("input[name=csrf]").value);
    const headers = { Accept: "application/json" };
    const answer = await fetch(address, { method: "POST", body, headers, redirect: "manual" });
    if (answer.type === "opaqueredirect") {
      location.reload();
      throw new Error("You are signed out.");
    }
    const told = await answer.json().catch(() => ({ detail: `It was refused (${answer.status}).` }));
    if (answer.ok) return told;
    throw new Error([told.detail, told.hint].filter(Boolean).join(". "));
  }

  #say(text) {
    const line = this.form?.querySelector("[data-problem]");
    if (line) line.textContent = text;
  }

  #lease(text) {
    const line = this.form?.querySelector("[data-lease]");
    if (line) line.textContent = text;
  }

  // Takes the item, unless it is held already. What was shown must be what is taken.
  async #claim(item = this.item) {
    const form = item.querySelector("form[data-decide]");
    if (form.token.value) return;
    const lease = await this.#post(`${item.dataset.address}/claim`, {});
    if (lease.digest !== item.dataset.digest || String(lease.version) !== item.dataset.version) {
      throw new Error("The item has changed since this page showed it. Reload the page and look at it anew.");
    }
    for (const field of item.querySelectorAll("input[name=token]")) field.value = lease.token;
    form.querySelector("[data-lease]").textContent = "Yours; the lease is prolonged while this page is open.";
    this.#beatLater(lease.seconds);
  }

  #beatLater(seconds) {
    clearTimeout(this.#timer);
    if (seconds > 0) this.#timer = setTimeout(() => this.#beat(), Math.min(LONGEST_BEAT_MS, (seconds * 1000) / 3));
  }

  async #beat() {
    const { form, item } = this;
    if (!form?.token.value) return;
    try {
      const { seconds } = await this.#post(`${item.dataset.address}/heartbeat`, { token: form.token.value });
      this.#beatLater(seconds);
    } catch (error) {
      if (error instanceof TypeError) {
        this.#lease("No connection; the lease may end.");
        this.#beatLater(15);
        return;
      }
      for (const field of item.querySelectorAll("input[name=token]")) field.value = "";
      this.#lease("The lease has ended; deciding takes the item again.");
    }
  }

  async decide(button) {
    const { form, item } = this;
    const reasons = (button.dataset.reasons ?? "").split(",").filter(Boolean);
    if (reasons.length && !reasons.includes(form.reason.value)) {
      this.#say(`Choose a reason: ${reasons.join(", ")}.`);
      form.reason.focus();
      return;
    }
    const buttons = [...form.querySelectorAll("button")];
    if (buttons.some((one) => one.disabled)) return;
    this.#say("");
    for (const one of buttons) one.disabled = true;
    try {
      await this.#claim();
      const fields = new FormData(form);
      fields.set("verdict", button.value);
      const told = await this.#post(`${item.dataset.address}/decide`, fields);
      await this.#goOn(told, item.dataset.title);
    } catch (error) {
      this.#say(error.message);
      for (const one of buttons) one.disabled = false;
    }
  }

  async #fetchAhead() {
    if (!this.form) return null;
    const { address, queue } = this.item.dataset;
    try {
      const answer = await fetch(`${address}/ahead?queue=${encodeURIComponent(queue)}`, { redirect: "manual" });
      if (answer.status !== 200) return null;
      return new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return null;
    }
  }

  // The next item's page stands ready; it is taken now, and shown if it is still what was fetched.
  async #goOn(told, title) {
    clearTimeout(this.#timer);
    const page = await this.#ahead;
    const item = page?.querySelector("[data-case]");
    if (item?.querySelector("form[data-decide]")) {
      try {
        await this.#claim(item);
        this.#show(page, item.dataset.address);
        if (told?.undo) this.#offerUndo(told, title);
        return;
      } catch {
        // Somebody was quicker, or it has changed: the server finds another.
      }
    }
    const next = find("form[data-next]");
    next.done.value = told?.undo ? told.done : "";
    next.submit();
  }

  #show(page, address) {
    history.pushState(null, "", address);
    document.title = page.title;
    find("main").replaceChildren(...page.querySelector("main").childNodes);
    startLive(find("main"));
    scrollTo(0, 0);
    find("main h1").focus({ preventScroll: true });
    this.#ahead = this.#fetchAhead();
  }

  #offerUndo(told, title) {
    const undo = find("form[data-undo]");
    undo.action = `${find("form[data-next]").action}/${encodeURIComponent(told.done)}/undo`;
    undo.querySelector("[data-undo-text]").textContent = `${title}: ${told.said}. Nobody has heard of it yet.`;
    undo.hidden = false;
  }

  // Putting an item off needs its lease as well.
  async hold(form, button) {
    try {
      await this.#claim();
      form.requestSubmit(button);
    } catch (error) {
      this.#say(error.message);
    }
  }

  async skip() {
    const { form, item } = this;
    const token = form?.token.value;
    if (token) await this.#post(`${item.dataset.address}/leave`, { token, what: "release" }).catch(() => null);
    await this.#goOn(null, "");
  }

  edit() {
    const edit = find("[data-edit]");
    if (!edit) return;
    edit.open = true;
    edit.querySelector("textarea").focus();
  }

  undo() {
    const undo = find("form[data-undo]");
    if (undo && !undo.hidden) undo.requestSubmit();
  }
}

export function startReview() {
  const review = new Review();
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || find("dialog[open]")) return;
    const editing = event.target.closest?.("[data-edit] textarea");
    if (editing && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      review.decide(find("[data-edit] button"));
      return;
    }
    if (event.ctrlKey || event.metaKey || typing(event.target)) return;
    const button = find(`button[data-letter="${CSS.escape(event.key)}"]`);
    const acts = { e: () => review.edit(), j: () => review.skip(), k: () => history.back() };
    if (event.key === "u") review.undo();
    else if (!review.item) return;
    else if (button) review.decide(button);
    else if (Object.hasOwn(acts, event.key)) acts[event.key]();
    else return;
    event.preventDefault();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("form[data-decide]")) {
      event.preventDefault();
      review.decide(event.submitter);
    } else if (form.matches("form[data-hold]") && !form.token.value) {
      event.preventDefault();
      review.hold(form, event.submitter);
    }
  });
  // What was swapped in has no entry of its own to go back to: the browser fetches it.
  addEventListener("popstate", () => review.item && location.reload());
  if (review.item) review.start();
}
