// Tokens of what this tab has reserved: kept for the session, never shown, forgotten when settled.

const PLACE = "documents.reservations";
let memory = {}; // where a browser keeps nothing

function all() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
  } catch {
    return memory;
  }
}

function keep(tokens) {
  memory = tokens;
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(tokens));
  } catch {
    // the memory has them, until the page is left
  }
}

export const tokenOf = (number) => all()[number]?.token;

export function remember({ document_number, token, expires_at }) {
  keep({ ...all(), [document_number]: { token, expires_at } });
}

export function forget(number) {
  const { [number]: _, ...others } = all();
  keep(others);
}
