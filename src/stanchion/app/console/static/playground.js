// Asks two models at once and writes down what they say as it comes. Words go in as text, never as markup.
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

class Side {
  #element;

  constructor(element) {
    this.#element = element;
  }

  get model() {
    return this.#element.querySelector("select").value;
  }

  #part(name) {
    return this.#element.querySelector(`[data-${name}]`);
  }

  #figure(name, text) {
    this.#element.querySelector(`[data-figure="${name}"]`).textContent = text;
  }

  async ask(address, fields, signal) {
    this.#part("words").textContent = "";
    this.#part("problem").textContent = "";
    for (const name of ["first", "total", "tokens", "cost"]) this.#figure(name, "–");
    this.#figure("who", this.model ? "asking" : "");
    if (!this.model) return;
    const body = new URLSearchParams(fields);
    body.set("model", this.model);
    try {
      await this.#read(await fetch(address, { method: "POST", body, signal, redirect: "manual" }));
    } catch (error) {
      this.#problem(error.name === "AbortError" ? "Stopped." : "The connection broke before the answer was whole.");
    }
  }

  async #read(answer) {
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) return this.#problem(`It was refused (${answer.status}). Reload the page and look at the message.`);
    let whole = false;
    for await (const line of lines(answer.body)) {
      if (line.who) this.#figure("who", line.who);
      if (line.text) this.#part("words").append(line.text);
      if (line.problem) this.#problem(line.problem);
      for (const [name, text] of Object.entries(line.done ?? {})) {
        if (text && this.#element.querySelector(`[data-figure="${name}"]`)) this.#figure(name, text);
      }
      whole ||= Boolean(line.done || line.problem);
    }
    if (!whole) this.#problem("The connection broke before the answer was whole.");
  }

  #problem(text) {
    this.#part("problem").textContent = text;
    this.#figure("who", "");
  }
}

export function startPlayground() {
  const form = document.querySelector("form[data-playground]");
  if (!form) return;
  const stop = form.querySelector("[data-stop]");
  const sides = [...form.querySelectorAll("[data-side]")].map((one) => new Side(one));
  let asking = null;
  stop.addEventListener("click", () => asking?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    asking?.abort();
    asking = new AbortController();
    const mine = asking;
    stop.hidden = false;
    const fields = new FormData(form);
    await Promise.all(sides.map((side) => side.ask(form.dataset.playground, fields, mine.signal)));
    if (asking === mine) stop.hidden = true;
  });
}
