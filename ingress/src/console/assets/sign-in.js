// A link that signs in: …/sign-in#token=… What stands after the # never reaches the server, nor its logs; it is taken
// out of the address before anything else, so that it doesn't stay in the history either.

export function start() {
  take();
  addEventListener("hashchange", take);
}

function take() {
  const form = document.querySelector("form[data-sign-in]");
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!form || !token) return;
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = token;
  form.requestSubmit();
}
