// On a small screen the navigation and the tabs scroll: where one is, is brought into view. The page itself stays.

export function start() {
  // It tells at once, and again when the screen is turned.
  const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => show(target)));
  document.querySelectorAll("nav.main, .tabs").forEach((links) => observer.observe(links));
}

function show(links) {
  const current = links.querySelector("[aria-current]");
  if (!current) return;
  const [outer, inner] = [links.getBoundingClientRect(), current.getBoundingClientRect()];
  links.scrollLeft += inner.left + inner.width / 2 - (outer.left + outer.width / 2);
}
