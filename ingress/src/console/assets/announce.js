/** Says a text to screen readers, in the page's own live region. */
export function announce(text) {
  const region = document.querySelector("[data-announce]");
  if (!region || !text) return;
  // Emptied first: the same text twice would be said once.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}
