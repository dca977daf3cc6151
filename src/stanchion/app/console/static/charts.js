// Says what a chart shows under the pointer. The same figures stand in the table of each chart.
export function startCharts() {
  const said = new WeakMap();
  document.addEventListener("pointerover", (event) => {
    const chart = event.target.closest?.("[data-chart]");
    if (!chart) return;
    const line = chart.querySelector("p[data-readout]");
    if (!said.has(line)) said.set(line, line.textContent);
    const text = event.target.dataset?.readout;
    line.textContent = event.target.matches(".column") ? text : said.get(line);
    line.classList.toggle("on", event.target.matches(".column"));
  });
  document.addEventListener("pointerout", (event) => {
    const chart = event.target.closest?.("[data-chart]");
    const line = chart?.querySelector("p[data-readout]");
    if (line && said.has(line) && !chart.contains(event.relatedTarget)) {
      line.textContent = said.get(line);
      line.classList.remove("on");
    }
  });
}
