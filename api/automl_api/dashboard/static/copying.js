// Buttons that copy the text of an element; where the browser allows no clipboard, it is selected.

export function copyOnClick() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      say(button, "Copied");
    } catch {
      window.getSelection().selectAllChildren(source);
      say(button, "Selected");
    }
  });
}

function say(button, text) {
  const usual = button.textContent;
  button.textContent = text;
  setTimeout(() => (button.textContent = usual), 1500);
}
