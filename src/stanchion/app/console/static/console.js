// Starts what makes the pages livelier. Every page works without any of it.
import { startBulk } from "./bulk.js";
import { startCharts } from "./charts.js";
import { startCopy } from "./copy.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startPlayground } from "./playground.js";
import { startReview } from "./review.js";
import { startTheme } from "./toggle.js";

startTheme();
startKeys();
startCopy();
startCharts();
startLive();
startPlayground();
startReview();
startBulk();

// A click elsewhere or Escape closes the account menu, as people expect of menus.
const menu = document.querySelector("[data-menu]");
document.addEventListener("click", (event) => {
  if (menu?.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu?.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
