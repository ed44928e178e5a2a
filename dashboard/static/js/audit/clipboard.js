// Copies text. Browsers keep the clipboard from pages on plain HTTP: there the older way is tried.

/** Returns whether it was copied. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

/** A command for a shell: nothing in a quoted word means anything there. */
export const curlOf = (address) => `curl '${address.replaceAll("'", "'\\''")}'`;
