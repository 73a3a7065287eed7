// The page renews itself: the server says over an event stream that something changed, the page fetches itself again
// and puts the parts that differ in place, without disturbing whoever reads or types.

const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
const DEBOUNCE = 120;
const HIDDEN_TOO_LONG = 60_000;

const MOVING = "tr, li, .stat, .figure, .badge, .facts > div";
const FIELDS = "input:not([type=hidden]), select, textarea";

/** What the server last sent for each part, by its id. The page's own markup can't tell: time.js changes it. */
const served = new Map();
/** The `details` that the viewer has opened or closed. */
const touched = new WeakSet();
/** Where a finger or a button is down: what is exchanged under it would not be clicked. */
let pressed = null;

export function start() {
  const address = document.querySelector("main[data-live]")?.dataset.live;
  if (!address) return;
  for (const part of parts(document)) served.set(part.id, part.innerHTML);
  document.addEventListener("click", ({ target }) => {
    const summary = target instanceof Element ? target.closest("summary") : null;
    if (summary) touched.add(summary.parentElement);
  });
  // A page about everybody hears of everybody: it looks again less often.
  const refresh = refresher(address.includes("organization=") ? 800 : 5_000);
  document.addEventListener("pointerdown", ({ button, target }) => (pressed = button === 0 ? target : null), true);
  for (const end of ["click", "pointerup", "pointercancel"]) {
    document.addEventListener(end, () => setTimeout(() => ((pressed = null), refresh.ifOwed())), true);
  }
  document.addEventListener("focusout", () => refresh.ifOwed());
  follow(address, refresh);
}

// ------------------------------------------------------------------ the stream

function follow(address, refresh) {
  let source = null;
  let timer = 0;
  let hiding = 0;
  let failures = 0;

  const open = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(address);
    source.addEventListener("open", () => {
      failures = 0;
      show(true);
      // What changed before the stream was open was not told.
      refresh.soon();
    });
    source.addEventListener("changed", () => refresh.soon());
    source.addEventListener("bye", () => again(FIRST_DELAY * jitter()));
    source.addEventListener("error", () => {
      show(false);
      // The browser itself tries again after a lost connection, but not after a refusal.
      if (source?.readyState !== EventSource.CLOSED) return;
      failures += 1;
      again(Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures) * jitter());
      // A session that has ended refuses the stream; the page's own address then leads to where one signs in.
      refresh.soon();
    });
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const again = (delay) => {
    close();
    show(false);
    timer = setTimeout(open, delay);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_TOO_LONG);
    else if (!source) open();
  });
  addEventListener("online", () => document.hidden || open());
  addEventListener("pagehide", close);
  addEventListener("pageshow", ({ persisted }) => persisted && open());
  // Browsers have few connections for a site: what nobody has seen yet takes none.
  if (!document.hidden) open();
}

function jitter() {
  return 0.5 + Math.random() / 2;
}

function show(on) {
  for (const state of document.querySelectorAll("[data-live-state]")) {
    state.classList.toggle("is-on", on);
    state.classList.toggle("is-off", !on);
    state.textContent = (on ? state.dataset.on : state.dataset.off) ?? "";
    state.hidden = false;
  }
}

// ------------------------------------------------------------------ the page

// At most one fetch at a time, and one more where something came meanwhile.
function refresher(rest) {
  let last = -rest;
  let timer = 0;
  let busy = false;
  let onceMore = false;
  let owed = false;

  const run = async () => {
    if (busy) {
      onceMore = true;
      return;
    }
    busy = true;
    last = performance.now();
    try {
      owed = await renew();
    } catch (error) {
      // The server is away; the stream notices too, and asks again when it is back.
      console.debug(error);
    } finally {
      busy = false;
    }
    if (onceMore) {
      onceMore = false;
      soon();
    }
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(run, Math.max(DEBOUNCE, last + rest - performance.now()));
  };
  return { soon, ifOwed: () => owed && soon() };
}

/** Fetches the page and renews its parts; tells whether some could not be renewed because they are in use. */
async function renew() {
  const response = await fetch(location.pathname + location.search, {
    headers: { "X-Live": "1" },
    credentials: "same-origin",
    cache: "no-store",
  });
  if (response.redirected) {
    location.assign(response.url);
    return false;
  }
  if (response.status === 401) location.reload();
  if (!response.ok) return false;

  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const renewed = [];
  let owed = false;
  for (const next of parts(page)) {
    const part = document.getElementById(next.id);
    const html = next.innerHTML;
    if (!part || !("part" in part.dataset) || served.get(part.id) === html) continue;
    if (inUse(part) || !replace(part, next)) {
      owed = true;
      continue;
    }
    served.set(part.id, html);
    renewed.push(part);
  }
  if (renewed.length > 0) document.dispatchEvent(new CustomEvent("parts:renewed", { detail: renewed }));
  return owed;
}

function parts(root) {
  return root.querySelectorAll("[id][data-part]");
}

// Somebody types or presses in it, has typed in it, has marked text in it, or has opened something that could not be opened again.
function inUse(part) {
  const focused = document.activeElement;
  if (part.contains(focused) && focused.matches(FIELDS)) return true;
  if (pressed && part.contains(pressed)) return true;
  // It must not turn under the hand.
  if (part.querySelector("[role=switch]:hover, [role=switch]:focus-visible")) return true;
  // A form of it is on its way: the answer is a page of its own.
  if (part.querySelector("[aria-busy=true]")) return true;
  if ([...part.querySelectorAll(FIELDS)].some(isChanged)) return true;
  if ([...part.querySelectorAll("details[open]:not([id])")].some((details) => touched.has(details))) return true;
  const selection = getSelection();
  return Boolean(selection && !selection.isCollapsed && selection.containsNode(part, true));
}

function isChanged(field) {
  if (field instanceof HTMLSelectElement) {
    const chosen = [...field.options].some((option) => option.defaultSelected);
    return chosen ? [...field.options].some((option) => option.selected !== option.defaultSelected) : field.selectedIndex > 0;
  }
  return field.type === "checkbox" || field.type === "radio"
    ? field.checked !== field.defaultChecked
    : field.value !== field.defaultValue;
}

/** Puts the new content in place; false, and nothing done, where the focus would have nowhere to go. */
function replace(part, next) {
  const focused = part.contains(document.activeElement) && document.activeElement !== part ? document.activeElement : null;
  const heir = focused && [...next.querySelectorAll(focused.tagName)].find((candidate) => isSame(candidate, focused));
  if (focused && !heir) return false;

  for (const details of part.querySelectorAll("details[id]")) {
    const same = next.querySelector(`details[id="${CSS.escape(details.id)}"]`);
    if (!same || !touched.has(details)) continue;
    same.open = details.open;
    touched.add(same);
  }
  const before = new Set([...part.querySelectorAll(MOVING)].map(says));
  part.replaceChildren(...next.childNodes);
  heir?.focus({ preventScroll: true });
  const fresh = [...part.querySelectorAll(MOVING)].filter((element) => !before.has(says(element)));
  for (const element of fresh.length > 0 ? fresh : [part]) flash(element);
  return true;
}

function isSame(one, other) {
  if (other.id) return one.id === other.id;
  return ["href", "name", "value", "aria-label", "data-copy"].every((name) => one.getAttribute(name) === other.getAttribute(name))
    && one.closest("form")?.getAttribute("action") === other.closest("form")?.getAttribute("action")
    && says(one) === says(other);
}

// Times are left out: they are written anew on every page, and are no news.
function says(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("time").forEach((time) => time.remove());
  copy.classList.remove("is-fresh");
  return `${copy.className} ${copy.textContent}`;
}

function flash(element) {
  element.classList.add("is-fresh");
  element.addEventListener("animationend", () => element.classList.remove("is-fresh"), { once: true });
}
