// The records that fit a search, newest first, a page at a time.

import { readPage } from "../api.js";
import { announce, byId, element, setText } from "../dom.js";
import * as format from "../format.js";
import { operationName } from "../operations.js";
import { showProblem } from "../problems.js";
import { callFor } from "./address.js";

const PAGE = 50;
const SEARCH_MS_MAX = 30_000; // a filter that takes little reads many entries
const PATH = "/api/v1/sequence/audit";

export class Records {
  #query = {};
  #cursor = null;
  #shown = 0;
  #serial = 0;
  #linkOf;

  /** `linkOf(number, counter, text)` makes what opens a number's history. */
  constructor(linkOf) {
    this.#linkOf = linkOf;
    byId("more").addEventListener("click", () => void this.#load(this.#cursor));
  }

  search(query) {
    this.#query = query;
    byId("csv").href = callFor(`${PATH}.csv`, query);
    byId("curl-text").hidden = true;
    return this.#load(null);
  }

  /** Returns the address of this search at the API. */
  get call() {
    return callFor(PATH, this.#query, { limit: PAGE });
  }

  async #load(cursor) {
    const serial = ++this.#serial;
    const scroll = byId("records-scroll");
    scroll.setAttribute("aria-busy", "true"); // what was there stays until the answer comes
    try {
      const more = cursor ? { limit: PAGE, cursor } : { limit: PAGE };
      const page = await readPage(callFor(PATH, this.#query, more), SEARCH_MS_MAX);
      if (serial === this.#serial) this.#show(page, cursor !== null);
    } catch (problem) {
      if (serial !== this.#serial) return; // another search was made meanwhile
      showProblem(byId("records-problems"), problem, () => void this.#load(cursor));
      if (cursor === null) this.#showNone();
    } finally {
      if (serial === this.#serial) scroll.setAttribute("aria-busy", "false");
    }
  }

  #show({ body: records, headers }, isMore) {
    const table = byId("records");
    const rows = records.map((record) => this.#row(record));
    if (isMore) table.append(...rows);
    else {
      table.replaceChildren(...rows);
      byId("records-scroll").scrollTop = 0;
    }
    this.#shown = isMore ? this.#shown + records.length : records.length;
    this.#cursor = headers.get("X-Next-Cursor");
    const isEnd = this.#cursor === null;
    const found = format.plural(this.#shown, "record", "records");
    const how = isEnd ? `${found}, all that fit` : `the newest ${found}`;
    const when = isMore ? "" : ` · as of ${format.clock(Date.now())}`;
    setText(byId("records-count"), this.#shown ? `${how}, newest first${when}` : `none${when}`);
    byId("more").hidden = isEnd;
    setText(byId("records-note"), noteOf(headers));
    const isEmpty = this.#shown === 0 && isEnd;
    byId("records-empty").hidden = !isEmpty;
    if (isEmpty) setText(byId("records-empty"), emptyText(this.#query));
    announce(isMore ? `${format.count(records.length)} more` : found);
    // The button may have gone from under the person who pressed it.
    if (isMore && isEnd) byId("records-scroll").focus({ preventScroll: true });
  }

  #showNone() {
    byId("records").replaceChildren();
    setText(byId("records-count"), "the search did not come to an end");
    byId("more").hidden = byId("records-empty").hidden = true;
    setText(byId("records-note"), "");
  }

  #row(record) {
    const { siteId: site, partitionId: partition, reason, requestId, status } = record;
    const tag = { class: "tag", "data-operation": record.operationType };
    const operation = element("span", tag, operationName(record.operationType));
    const cells = [
      ["Time", format.dayAndClock(record.timestamp), { title: format.full(record.timestamp) }],
      ["Number", this.#numberOf(record), { class: "num" }],
      ["Operation", operation],
      ["Now", status.toLowerCase(), { class: "now", "data-status": status }],
      ["Site / partition", site ? `${site} / ${partition}` : format.NONE],
      ["Type", record.invoiceType],
      ["User", record.user, { class: "cut", title: record.user }],
      ["Reason", reason, { class: "cut reason", title: reason }],
      ["Request", requestId, { class: "cut code", title: requestId }],
      ["Entry", format.count(record.entryIndex), { class: "num", title: record.counter }],
    ];
    return element("tr", { "data-audit": record.auditId }, ...cells.map(cell));
  }

  #numberOf({ sequenceNumber: number, quantity = 1, documentNumber, counter }) {
    if (number == null) return format.NONE;
    const last = number + quantity - 1;
    const text = quantity > 1 ? `${format.count(number)}–${format.count(last)}` : format.count(number);
    return this.#linkOf(number, counter, documentNumber ?? text);
  }
}

/** One cell of a row; its label is shown on telephones, where a row is a card. */
export function cell([label, content, attributes = {}]) {
  const shown = content || format.NONE;
  return element("td", { ...attributes, "data-label": label, "data-none": !content }, shown);
}

function noteOf(headers) {
  const narrow = headers.get("X-Narrow-By");
  const trimmed = headers.get("X-Trimmed-Through");
  const back = headers.get("X-Looked-Back-To");
  const looked = Number(headers.get("X-Entries-Read"));
  const notes = [];
  if (narrow) notes.push(`There are too many counters for a listing with more: choose by ${narrow}.`);
  if (trimmed) notes.push(`Entries up to ${trimmed} have left the store, and are not searched.`);
  if (back) {
    const entries = `${format.count(looked)} entries were looked through`;
    notes.push(`${entries}, back to ${format.dayAndClock(back)}; older ones come with More.`);
  }
  return notes.join(" ");
}

function emptyText(query) {
  const hasFields = Object.keys(query).length > 0;
  return hasFields
    ? "No record fits. Leave a field out, or widen the time."
    : "The ledger is empty. Issue the first number on the page Numbers.";
}
