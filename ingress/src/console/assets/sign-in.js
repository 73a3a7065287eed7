// A link that brings its token along: …/sign-in#token=… One press signs in. What stands after the # never reaches the server, nor its logs; it is taken
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
  // Whose token it is, nobody knows: a link must not sign somebody in to another's organization unasked.
  form.querySelector("button")?.focus();
}
