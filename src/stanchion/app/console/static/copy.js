// Copies what a button names. Where the clipboard is closed to us, the text is selected instead.
export function startCopy() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      const status = document.querySelector("[data-copy-status]");
      const text = button.querySelector("[data-copy-text]");
      try {
        await navigator.clipboard.writeText(source.textContent);
        text.textContent = "Copied";
        status.textContent = "Copied to the clipboard";
      } catch {
        getSelection().selectAllChildren(source);
        status.textContent = "Selected; copy it with the keyboard";
      }
    });
  }
}
