// Times in the viewer's zone and language. The server writes them in UTC; the exact ones are in the title.

const LANGUAGE = preferredLanguage();

const STYLES = {
  minute: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  second: { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" },
  date: { dateStyle: "medium" },
  day: { month: "short", day: "numeric" },
  time: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
};

const LOCAL = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "full", timeStyle: "long", hourCycle: "h23" });
const RELATIVE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const formats = new Map();

/** Units of a relative time: where each begins and how long it is, in seconds. */
const UNITS = [
  ["year", 365 * 86400],
  ["month", 30 * 86400],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const REWORD_EVERY = 20_000;

export function start() {
  render(document);
  document.addEventListener("parts:renewed", ({ detail }) => detail.forEach(render));
  setInterval(() => {
    if (!document.hidden) document.querySelectorAll("time[data-at][data-relative]").forEach(write);
  }, REWORD_EVERY);
}

function render(root) {
  root.querySelectorAll("time[data-at]").forEach(write);
}

function write(element) {
  const at = new Date(element.dataset.at);
  if (Number.isNaN(at.getTime())) return;
  const text = "relative" in element.dataset ? relative(at) : format(element.dataset.style).format(at);
  if (element.textContent !== text) element.textContent = text;
  element.title = `${at.toISOString().replace("T", " ").replace("Z", " UTC")}\n${LOCAL.format(at)}`;
}

function format(style) {
  const name = Object.hasOwn(STYLES, style ?? "") ? style : "minute";
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat(LANGUAGE, STYLES[name]));
  return formats.get(name);
}

function relative(at) {
  const seconds = (at.getTime() - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  // Seconds would change at every look; the nearest ten of them is as good.
  const amount = unit === "second" ? Math.trunc(seconds / 10) * 10 : Math.trunc(seconds / length);
  return RELATIVE.format(amount === 0 ? 0 : amount, unit);
}

// The page's language decides; the viewer's own variant of it (en-GB, zh-TW) decides the order of day and month.
function preferredLanguage() {
  const page = document.documentElement.lang || "en";
  const primary = page.split("-")[0].toLowerCase();
  const own = (navigator.languages ?? []).find((language) => language.split("-")[0].toLowerCase() === primary);
  return [own, page].find((language) => supported(language)) ?? "en";
}

function supported(language) {
  try {
    return Boolean(language) && Intl.DateTimeFormat.supportedLocalesOf(language).length > 0;
  } catch {
    return false;
  }
}
