// Keeps parts of a page fresh: asks for the fragment while somebody looks, and swaps it in only if it changed.
const EVERY_MS = 5000;
const SLOWEST_MS = 60000;
// Without a hand on the page for this long it stops asking, so that an unattended session can end.
const IDLE_MS = 15 * 60 * 1000;

class Live {
  #element;
  #etag = "";
  #shown = "";
  #every = EVERY_MS;
  #wait = EVERY_MS;
  #timer = 0;
  #touched = performance.now();
  #say;
  #leaving = new AbortController();

  constructor(element, say) {
    this.#element = element;
    // What is dear to compute and slow to change says itself how often it is worth asking for.
    this.#every = Number(element.dataset.liveEvery ?? 0) * 1000 || EVERY_MS;
    this.#wait = this.#every;
    this.#shown = element.innerHTML.trim();
    this.#say = say;
  }

  start() {
    const { signal } = this.#leaving;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.#ask()), { signal });
    for (const kind of ["pointerdown", "pointermove", "keydown", "wheel"]) {
      document.addEventListener(kind, () => this.#touch(), { passive: true, signal });
    }
    this.#later();
  }

  #touch() {
    const idle = performance.now() - this.#touched > IDLE_MS;
    this.#touched = performance.now();
    if (idle && this.#timer === 0) this.#ask();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #later() {
    this.#stop();
    if (performance.now() - this.#touched > IDLE_MS) {
      this.#say("paused", "Paused");
      return;
    }
    this.#timer = setTimeout(() => this.#ask(), this.#wait);
  }

  async #ask() {
    this.#stop();
    if (!this.#element.isConnected) this.#leaving.abort();
    if (document.hidden || !this.#element.isConnected) return;
    try {
      const answer = await fetch(this.#element.dataset.live, {
        headers: this.#etag ? { "If-None-Match": this.#etag } : {},
        cache: "no-store",
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || answer.status === 401) {
        location.reload();
        return;
      }
      if (answer.status === 200) this.#swap(await answer.text(), answer.headers.get("ETag") ?? "");
      else if (answer.status !== 304) throw new Error(`status ${answer.status}`);
      this.#wait = this.#every;
      this.#say("", "Live");
    } catch {
      this.#wait = Math.min(this.#wait * 2, Math.max(SLOWEST_MS, this.#every));
      this.#say("lost", "No connection; trying again");
    }
    this.#later();
  }

  // The fragment is the server's own escaped markup, from the same origin and under the same policy as the page.
  #swap(markup, etag) {
    const selection = getSelection();
    if (!selection.isCollapsed && this.#element.contains(selection.anchorNode)) return;
    const focused = this.#element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const open = [...this.#element.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key);
    const scrolled = [...this.#element.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const parsed = new DOMParser().parseFromString(markup, "text/html");
    this.#etag = etag;
    // The first answer is most often what the page came with: a box that was ticked meanwhile stays ticked.
    const fresh = parsed.body.innerHTML.trim();
    if (fresh === this.#shown) return;
    this.#shown = fresh;
    this.#element.replaceChildren(...parsed.body.childNodes);
    for (const key of open) this.#find(`details[data-key="${CSS.escape(key)}"]`)?.setAttribute("open", "");
    if (focused) this.#find(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.#element.querySelectorAll(".scroll").forEach((one, i) => (one.scrollLeft = scrolled[i] ?? 0));
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }
}

export function startLive(root = document) {
  const state = document.querySelector("[data-live-state]");
  const say = (kind, text) => {
    if (!state) return;
    state.classList.remove("paused", "lost");
    if (kind) state.classList.add(kind);
    state.querySelector("[data-live-text]").textContent = text;
  };
  for (const element of root.querySelectorAll("[data-live]")) {
    new Live(element, say).start();
  }
}
