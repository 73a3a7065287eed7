// Starts the parts of the page's script. Each is optional: without it the page works, only less comfortably, so a
// part that can't be loaded or that fails must not stop the others.

// live.js is first because it notes the server's markup before the others change it.
const PARTS = ["live", "time", "copy", "forms", "navigation", "sign-in"];

document.documentElement.classList.add("js");

// The parts carry the version of this module's own address, if it has one, so that caches can't mix two versions.
const { search } = new URL(import.meta.url);
const loaded = await Promise.allSettled(PARTS.map((name) => import(new URL(`${name}.js${search}`, import.meta.url))));

for (const part of loaded) {
  try {
    if (part.status === "rejected") throw part.reason;
    part.value.start();
  } catch (error) {
    console.error(error);
  }
}
