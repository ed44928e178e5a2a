// Whether this page may change anything. It was rendered without the controls that do if not.

export const isReadOnly = "readOnly" in document.documentElement.dataset;

const ASKED = "read-only";

/** Returns an address of these pages so that it is read as this one is: a wall display stays one. */
export function sameMode(address) {
  if (!new URLSearchParams(location.search).has(ASKED)) return address;
  const there = new URL(address, location.href);
  there.searchParams.set(ASKED, "");
  return there.origin === location.origin ? there.pathname + there.search + there.hash : there.href;
}
