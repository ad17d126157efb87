/** The token of a service that asks for one: kept for this tab alone, asked for when refused. */

const KEY = "pointsman-token";

/** What session_init says of it: nothing, as long as nobody has given one. */
export function tokenInit() {
  const token = sessionStorage.getItem(KEY);
  return token ? { token } : {};
}

/**
 * Show the form when the service refuses this page for its token, and begin anew with what is given.
 * @param {EventTarget} session @param {HTMLFormElement} form @param {HTMLInputElement} field
 * @param {HTMLElement} why
 */
export function askForToken(session, form, field, why) {
  session.addEventListener("error", (event) => {
    const { error } = /** @type {CustomEvent} */ (event).detail;
    if (error.code !== "UNAUTHORIZED") return;
    why.textContent = error.message;
    form.hidden = false;
    field.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, field.value.trim());
    location.reload();
  });
}
