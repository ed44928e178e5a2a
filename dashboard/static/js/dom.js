// The few ways in which the page changes. Nothing here replaces a node that a person may be using.

export const byId = (id) => document.getElementById(id);

/** Builds one element; `children` are nodes or text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Writes text only when it differs, so that selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/**
 * Makes the children of `parent` match `items` by key: rows that stay are the same elements.
 * `build(item)` makes a row; `update(row, item)` is called for all of them.
 */
export function keyed(parent, items, keyOf, build, update = () => {}) {
  const present = new Map();
  const seen = new Map();
  for (const row of parent.children) present.set(row.dataset.key, row);
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const key = distinct(String(keyOf(item)), seen);
    let row = present.get(key);
    present.delete(key);
    if (!row) {
      row = build(item);
      row.dataset.key = key;
    }
    update(row, item);
    if (row === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(row, cursor);
  }
  for (const row of present.values()) row.remove();
}

/** The same key twice (two counters may share a number) is two rows. */
function distinct(key, seen) {
  const before = seen.get(key) ?? 0;
  seen.set(key, before + 1);
  return before ? `${key} ${before}` : key;
}

/** Says something to a screen reader; the page shows it elsewhere. */
export function announce(text) {
  setText(byId("announcer"), text);
}
