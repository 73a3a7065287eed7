// On a small screen the navigation and the tabs scroll: where one is, is brought into view. The page itself stays.

export function start() {
  for (const links of document.querySelectorAll("nav.main, .tabs")) {
    const current = links.querySelector("[aria-current]");
    if (!current) continue;
    const [outer, inner] = [links.getBoundingClientRect(), current.getBoundingClientRect()];
    links.scrollLeft += inner.left + inner.width / 2 - (outer.left + outer.width / 2);
  }
}
