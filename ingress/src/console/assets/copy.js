// Buttons that copy an id. The style sheet keeps them invisible until app.js has marked the page as scripted.

import { announce } from "./announce.js";

const SHOWN_FOR = 1600;

export function start() {
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (!button) return;
    const source = button.closest(".copy")?.querySelector("code");
    const text = button.dataset.copy || source?.textContent.trim();
    if (!text || !(await copied(text, source))) return;
    button.classList.add("is-copied");
    setTimeout(() => button.classList.remove("is-copied"), SHOWN_FOR);
    announce(button.dataset.done);
  });
}

async function copied(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard without HTTPS: what is to be copied is selected instead, and a key press copies it.
    if (source) getSelection()?.selectAllChildren(source);
    return false;
  }
}
