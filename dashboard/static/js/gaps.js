// The open gaps, lowest first: the order in which they will be issued again.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { historyOf } from "./operations.js";

const SHOWN_MAX = 50;

export function mountGaps(feed) {
  feed.on("gaps", show);
}

function show({ gaps, count }) {
  const shown = gaps.slice(0, SHOWN_MAX);
  const list = byId("gaps");
  keyed(list, shown, (gap) => gap, build, (row, gap) =>
    setAttribute(row, "data-next", gap === shown[0]),
  );
  const many = format.plural(count, "number", "numbers");
  setText(byId("gaps-count"), count ? `${many}, lowest first` : "none");
  const rest = count - shown.length;
  byId("gaps-more").hidden = rest <= 0;
  setText(byId("gaps-more"), `and ${format.count(rest)} more`);
  byId("gaps-empty").hidden = count > 0;
}

const build = (gap) => element("li", {}, element("a", { href: historyOf(gap) }, format.count(gap)));
