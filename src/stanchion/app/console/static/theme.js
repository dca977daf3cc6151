// Runs before the first paint, so that the chosen theme never flashes. Not a module: those run after parsing.
(() => {
  const root = document.documentElement;
  let choice = "system";
  try {
    choice = localStorage.getItem("stanchion-theme") || "system";
  } catch {
    // Storage may be forbidden; the system's theme is followed then.
  }
  root.classList.add("js");
  root.dataset.choice = ["light", "dark"].includes(choice) ? choice : "system";
  if (root.dataset.choice !== "system") root.dataset.theme = choice;
})();
