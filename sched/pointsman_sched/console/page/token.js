/** The token of a service that asks for one: kept for this tab alone, asked for when refused. */

const KEY = "pointsman-token";

/** What session_init says of it: nothing, as long as nobody has given one. */
export function tokenInit() {
  const token = sessionStorage.getItem(KEY);
  return token ? { token } : {};
}

/**
 * Show the form when the service refuses this page for its token, and begin anew with what is given.
 * Until then `page`, which can do nothing, is not shown.
 * @param {EventTarget} session
 * @param {{form: HTMLFormElement, field: HTMLInputElement, why: HTMLElement, page: HTMLElement}} places
 */
export function askForToken(session, { form, field, why, page }) {
  session.addEventListener("error", (event) => {
    const { error } = /** @type {CustomEvent} */ (event).detail;
    if (error.code !== "UNAUTHORIZED") return;
    why.textContent = sessionStorage.getItem(KEY) ? `That token is not taken: ${error.message}` : "";
    form.hidden = false;
    page.hidden = true;
    field.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, field.value.trim());
    location.reload();
  });
}
