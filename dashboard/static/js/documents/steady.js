// Lists that stand still: nothing comes or goes while a person points at them or is in them.

import { keyed } from "../dom.js";

const pointerHovers = matchMedia("(hover: hover)"); // after a tap, telephones hover for ever

/**
 * Returns `show(items, {force})`, which says how many rows wait to come or go. Rows that are there
 * are kept up to date all the time; the others are shown when the list is left.
 */
export function steady(list, { keyOf, build, update, held = () => {} }) {
  let waiting;
  const inUse = () =>
    (pointerHovers.matches && list.matches(":hover")) || list.contains(document.activeElement);
  const show = (items, { force = false } = {}) => {
    const wait = !force && list.childElementCount > 0 && inUse();
    waiting = wait ? items : undefined;
    held(wait ? updatePresent(items) : 0);
    if (!wait) keyed(list, items, keyOf, build, update);
  };
  const updatePresent = (items) => {
    const rows = new Map(items.map((item) => [String(keyOf(item)), item]));
    let changes = rows.size;
    for (const row of list.children) {
      const item = rows.get(row.dataset.key);
      if (item) update(row, item);
      changes += item ? -1 : 1;
    }
    return changes;
  };
  const left = () => setTimeout(() => waiting && show(waiting));
  list.addEventListener("pointerleave", left);
  list.addEventListener("focusout", left);
  return show;
}
