// Forms: a second press of the button sends nothing, and amounts are checked while they are typed. What is said about
// a wrong amount comes from the server, in data-says-… attributes; the server checks everything again.

import { announce } from "./announce.js";

const sent = new Set();

export function start() {
  document.addEventListener("submit", onSubmit);
  // A page that comes back from the browser's memory shows its forms as they were left: busy.
  addEventListener("pageshow", () => [...sent].forEach(release));

  document.addEventListener("focusout", ({ target }) => isAmount(target) && target.value !== "" && check(target));
  document.addEventListener("input", ({ target }) => {
    if (!isAmount(target)) return;
    // While a first value is being typed it is not wrong yet, but a wrong one is to be seen getting right.
    check(target, target.getAttribute("aria-invalid") === "true");
    amountsOf(target.form).filter((other) => other.dataset.atMost === target.id && other.value).forEach((other) => check(other));
  });
  document.addEventListener(
    "invalid",
    (event) => {
      if (!isAmount(event.target)) return;
      // The text below the field takes the place of the browser's bubble.
      event.preventDefault();
      check(event.target);
      if (event.target === amountsOf(event.target.form).find((amount) => !amount.validity.valid)) event.target.focus();
    },
    true,
  );
  for (const form of document.forms) amountsOf(form).forEach((amount) => check(amount, false));
  document.addEventListener("parts:renewed", ({ detail }) =>
    detail.forEach((part) => part.querySelectorAll("input[data-amount]").forEach((amount) => check(amount, false))),
  );
}

function onSubmit(event) {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (sent.has(form)) {
    event.preventDefault();
    return;
  }
  // The answer to such a form is a file: the page stays, and the button with it.
  if ("stays" in form.dataset) return;
  sent.add(form);
  const button = event.submitter ?? form.querySelector("button:not([type=button])");
  if (!button) return;
  button.setAttribute("aria-busy", "true");
  announce(button.dataset.busy);
  // Only after the browser has gathered the form's data: a disabled button's own name and value would be left out.
  setTimeout(() => sent.has(form) && (button.disabled = true));
}

function release(form) {
  sent.delete(form);
  for (const button of form.querySelectorAll("[aria-busy]")) {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

function isAmount(element) {
  return element instanceof HTMLInputElement && "amount" in element.dataset;
}

function amountsOf(form) {
  return form ? [...form.querySelectorAll("input[data-amount]")] : [];
}

// Tells the browser whether the amount will do; `show` also tells the person.
function check(input, show = true) {
  const says = wrong(input);
  input.setCustomValidity(says);
  if (!show) return;
  if (says) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  const field = input.closest(".field");
  field?.classList.toggle("is-wrong", Boolean(says));
  const error = field?.querySelector(".error");
  if (!error) return;
  error.textContent = says;
  error.hidden = !says;
}

function wrong(input) {
  const { decimals = "2", min, max, atMost, saysAmount, saysMin, saysMax, saysRequired, saysAtMost } = input.dataset;
  const digits = Number(decimals);
  const text = input.value.trim();
  if (text === "") return input.required ? (saysRequired ?? saysAmount ?? "") : "";
  const amount = units(text, digits);
  if (amount === null) return saysAmount ?? "";
  // A limit that is missing, or no amount itself while somebody types it, limits nothing.
  const [least, most, other] = [min, max, document.getElementById(atMost ?? "")?.value].map((limit) => units(limit, digits));
  if (least !== null && amount < least) return saysMin ?? saysAmount ?? "";
  if (most !== null && amount > most) return saysMax ?? saysAmount ?? "";
  if (other !== null && amount > other) return saysAtMost ?? "";
  return "";
}

/** The amount in the smallest unit, exactly, or null where the text is no amount with at most so many decimals. */
function units(text, decimals) {
  const typed = text?.trim() ?? "";
  // Commas only where they group thousands: what else they may mean is asked.
  const plain = /^\d{1,3}(,\d{3})+(\.\d*)?$/.test(typed) ? typed.replaceAll(",", "") : typed;
  const match = /^(\d{1,15})(?:\.(\d*))?$/.exec(plain);
  const fraction = match?.[2] ?? "";
  if (!match || fraction.length > decimals) return null;
  return BigInt(match[1] + fraction.padEnd(decimals, "0"));
}
