// A file of numbers that were issued elsewhere: checked, rows chosen, imported; the report stays.

import { offerCurl } from "../curl.js";
import { announce, byId, element, keyed, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { showProblem } from "../problems.js";
import { ask } from "./ask.js";
import { ADMIN, perform } from "./calls.js";
import { mountRows } from "./import_rows.js";
import { saveReport } from "./report.js";
import { changed, chosen, inWords, rangesIn } from "./rows.js";

const PATH = `${ADMIN}/bulk-import`;
const BYTES_MAX = 64 * 1024 * 1024;
const LISTED = 1_000;
const ROWS_REFUSED = "NB043";
const FAR_AHEAD = "NB036";
const COUNTS_ASKED = 5;

export function mountImport(shelf) {
  const importer = new Import(byId("import"), byId("commit"), shelf);
  importer.mount();
}

class Import {
  #form;
  #commit;
  #shelf;
  #content; // the very bytes that were checked: a file may change on its disk
  #known = new Map(); // by row: what the checks of this file have told of it
  #checked; // the last check: its choice, its report, whether all of it can come in, if the void is meant
  #done; // what has come in
  #table;

  constructor(form, commit, shelf) {
    this.#form = form;
    this.#commit = commit;
    this.#shelf = shelf;
    this.#table = mountRows({
      stateOf: (row) => this.#stateOf(row),
      choose: (rows, isOut) => this.#leaveOut(rows, isOut),
    });
  }

  mount() {
    const { file, out } = this.#form.elements;
    file.addEventListener("change", () => this.#forget());
    out.addEventListener("input", () => this.#chose());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#check();
    });
    this.#commit.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#offer();
    });
    this.#form.querySelector("[data-without]").addEventListener("click", () => {
      this.#leaveOut(this.#wrongRows().map((row) => row.row), true);
      this.#form.querySelector("button[type=submit]").focus();
      void this.#check();
    });
    this.#form.querySelector("[data-report]").addEventListener("click", () =>
      saveReport(this.#rows(), (row) => this.#stateOf(row), this.#name()));
    offerCurl(this.#form.querySelector("[data-curl]"), () => ({ path: PATH, fields: this.#fields(true) }), "check the file");
    offerCurl(this.#commit.querySelector("[data-curl]"), () => ({ path: PATH, fields: this.#fields(false) }), "import the file");
  }

  #name = () => this.#form.elements.file.files[0]?.name ?? "numbers.csv";
  #out = () => rangesIn(this.#form.elements.out.value) ?? [];
  #rows = () => [...this.#known.values()].sort((a, b) => a.row - b.row);
  #wrongRows = () => this.#rows().filter((row) => this.#stateOf(row) === "wrong");

  #fields(dryRun, voidMost) {
    const rows = chosen(this.#out());
    const reason = this.#commit.elements.reason.value.trim();
    return [
      `file=@"${this.#name().replaceAll(/["\\]/g, "\\$&")}"`,
      ...(rows ? [`rows=${rows}`] : []),
      ...(dryRun ? ["dry_run=true"] : [`reason=${reason}`]),
      ...(voidMost ? [`pass_over_max=${voidMost}`] : []),
    ];
  }

  #body(dryRun, voidMost) {
    const form = new FormData();
    form.append("dry_run", String(dryRun));
    if (dryRun) form.append("list_rows", String(LISTED));
    else form.append("reason", this.#commit.elements.reason.value.trim());
    if (voidMost) form.append("pass_over_max", String(voidMost));
    const rows = chosen(this.#out());
    if (rows) form.append("rows", rows);
    form.append("file", this.#content, this.#name());
    return form;
  }

  /** Another file is another story. */
  #forget() {
    this.#content = undefined;
    this.#checked = undefined;
    this.#done = undefined;
    this.#known.clear();
    this.#form.elements.out.value = "";
    this.#form.querySelector("[data-problems]").replaceChildren();
    this.#commit.querySelector("[data-problems]").replaceChildren();
    setText(byId("import-result"), "");
    this.#show();
  }

  #leaveOut(rows, isOut) {
    this.#form.elements.out.value = inWords(changed(this.#out(), rows, isOut));
    this.#chose();
  }

  #chose() {
    const { out } = this.#form.elements;
    const isClear = rangesIn(out.value) !== null;
    out.setCustomValidity(isClear ? "" : "Write rows as their spreadsheet numbers them, such as 4, 10-20.");
    this.#show();
  }

  /** Reads the file once, and has the server check it; `then` runs when all chosen rows can come in. */
  async #check(then = () => {}) {
    const slot = this.#form.querySelector("[data-problems]");
    const [file] = this.#form.elements.file.files;
    if (!file) return;
    if (file.size > BYTES_MAX) {
      const detail = "It is larger than 64 MiB. Split it, with the header in each part.";
      showProblem(slot, { title: "The file is too large", detail });
      return;
    }
    try {
      this.#content ??= new Blob([await file.arrayBuffer()]);
    } catch {
      const detail = "It was changed or moved since it was chosen. Choose it again.";
      showProblem(slot, { title: "The file cannot be read", detail });
      return;
    }
    this.#done = undefined;
    setText(byId("import-verdict"), "Checking…");
    setAttribute(byId("import-verdict"), "data-state", "running");
    const choice = chosen(this.#out());
    const took = (report, isGood, requestId) => {
      this.#checked = { choice, report, isGood, requestId };
      this.#learn(report);
      this.#show();
      announce(byId("import-verdict").textContent);
      if (isGood) then();
    };
    await perform(this.#form, { path: PATH, form: this.#body(true) }, (answer) => took(answer, true), (problem) => {
      const isTold = [ROWS_REFUSED, FAR_AHEAD].includes(problem.code);
      if (isTold) took(problem.body, problem.code === FAR_AHEAD, problem.requestId);
      else this.#show();
      return isTold;
    });
  }

  #learn({ rows = [], errors }) {
    for (const row of this.#known.values()) if (this.#stateOf(row) !== "left out") row.errors = [];
    for (const row of rows) this.#known.set(row.row, { ...row, errors: [] });
    for (const error of errors) {
      const row = this.#known.get(error.row) ?? { row: error.row, line: error.line, errors: [] };
      if (error.column === "document_number") row.document_number ??= error.value;
      if (error.column === "document_type") row.document_type ??= error.value;
      row.errors.push(error);
      this.#known.set(error.row, row);
    }
  }

  #stateOf(row) {
    if (rangesIn(this.#form.elements.out.value)?.some(([first, last]) => first <= row.row && row.row <= last)) return "left out";
    if (this.#done) return "imported";
    return row.errors.length ? "wrong" : "comes in";
  }

  /** Whoever commits a choice has seen what it comes to: it is checked before the question. */
  async #offer() {
    if (this.#checked?.isGood && this.#checked.choice === chosen(this.#out())) this.#ask();
    else await this.#check(() => this.#ask());
  }

  /** Many numbers become void only when a person has read how many, and has said so. */
  #ask() {
    const { counters: found, pass_over_max: voidMost } = this.#checked.report;
    const counters = voidMost ? [...found].sort((a, b) => b.missing_total - a.missing_total) : found;
    const numbers = counters.reduce((sum, each) => sum + each.numbers, 0);
    const more = counters.length - COUNTS_ASKED;
    const many = format.plural(numbers, "number", "numbers");
    const request = { path: PATH, fields: this.#fields(false, voidMost) };
    ask({
      title: `Import ${many} of ${this.#name()}?`,
      lines: [
        ...(voidMost ? [`${format.count(missingIn(counters))} numbers would become void: never issued, and this cannot be taken back. Look for a slipped digit.`] : []),
        ...counters.slice(0, COUNTS_ASKED).map(countInWords),
        ...(more > 0 ? [`and ${format.plural(more, "count", "counts")} more.`] : []),
        "An import cannot be taken back; single numbers can be voided.",
      ],
      yes: `Import ${many}${voidMost ? `, void ${format.count(missingIn(counters))}` : ""}`,
      curl: request,
    }, () => this.#import(voidMost));
  }

  #import(voidMost) {
    void perform(this.#commit, { path: PATH, form: this.#body(false, voidMost) }, (answer) => {
      this.#done = answer;
      const counts = answer.counters.map((each) => `${each.counter} goes on with ${format.count(each.next_value)}`).join("; ");
      const came = answer.imported === 1 ? "1 number came in" : `${format.count(answer.imported)} numbers came in`;
      setText(byId("import-result"), `${came} at ${format.clock(answer.timestamp)}, as import ${answer.import}. ${counts}.`);
      announce(byId("import-result").textContent);
      this.#show();
      if (document.activeElement === document.body) byId("import-result").focus(); // its form has gone
      this.#shelf.poke();
    }, (problem) => {
      const isFar = problem.code === FAR_AHEAD;
      if (problem.code !== ROWS_REFUSED && !isFar) return false;
      this.#checked = { choice: chosen(this.#out()), report: problem.body, isGood: isFar, requestId: problem.requestId };
      this.#learn(problem.body);
      this.#show();
      if (isFar) this.#ask();
      return isFar;
    });
  }

  #show() {
    const [isChecked, isDone] = [Boolean(this.#checked), Boolean(this.#done)];
    const isCurrent = isChecked && this.#checked.choice === chosen(this.#out());
    const { state, text } = this.#verdict(isCurrent);
    setText(byId("import-verdict"), text);
    setAttribute(byId("import-verdict"), "data-state", state);
    this.#commit.hidden = !isChecked || isDone;
    this.#form.querySelector("[data-report]").hidden = !isChecked;
    this.#form.querySelector("[data-without]").hidden = isDone || this.#wrongRows().length === 0;
    const counters = this.#checked?.report.counters ?? [];
    byId("import-counters").hidden = counters.length === 0;
    keyed(byId("import-counters").querySelector("tbody"), counters,
      (each) => JSON.stringify(each), (each) => countRow(each));
    this.#table.show(this.#rows());
  }

  #verdict(isCurrent) {
    if (this.#done) return { state: "good", text: `Imported: ${counted(this.#done, "have come in", "left out")}.` };
    if (!this.#checked) return { state: "none", text: "" };
    const { report, isGood, requestId } = this.#checked;
    if (!isCurrent) return { state: "gap", text: "The choice of rows has changed. It is checked again before anything comes in." };
    const { pass_over_max: isFar, counters } = report;
    if (isFar) return { state: "bad", text: `Checked: ${counted(report, "can come in", "left out")}, but ${format.count(missingIn(counters))} numbers would become void: ${farIn(report)}. Look for a slipped digit. Nothing is imported yet. (request ${requestId})` };
    if (isGood) return { state: "good", text: `Checked: ${counted(report, "can come in", "left out")}. Nothing is imported yet.` };
    const errors = format.plural(report.errors_total, "error", "errors");
    const more = report.errors_total > report.errors.length ? `, of which the first ${format.count(report.errors.length)} are shown` : "";
    return { state: "bad", text: `${errors}${more}: nothing comes in until these rows are mended or left out. (request ${requestId})` };
  }
}

function counted({ rows_total: total, counters }, come, stay) {
  const numbers = counters.reduce((sum, each) => sum + each.numbers, 0);
  const out = total - numbers;
  return `${format.count(numbers)} of ${format.plural(total, "row", "rows")} ${come}${out ? `, ${format.count(out)} ${stay}` : ""}`;
}

const missingIn = (counters) => counters.reduce((sum, each) => sum + each.missing_total, 0);

/** The largest runs that would become void, of the first counters of which there are too many. */
const farIn = ({ passed_over: far }) => far.slice(0, 3)
  .map(({ counter, largest }) => `${counter} ${runsOf({ missing: largest })}`).join("; ");

const spanOf = ({ lowest, highest }, to) =>
  lowest === highest ? format.count(lowest) : `${format.count(lowest)}${to}${format.count(highest)}`;

function runsOf({ missing }) {
  const shown = missing.slice(0, 8).map(({ first, last }) =>
    (first === last ? format.count(first) : `${format.count(first)}–${format.count(last)}`));
  return `${shown.join(", ")}${missing.length > 8 ? ", …" : ""}`;
}

function countInWords(each) {
  const span = spanOf(each, " to ");
  const gaps = each.missing_total ? ` ${format.plural(each.missing_total, "missing one becomes", "missing ones become")} void: ${runsOf(each)}.` : "";
  return `${each.counter}: ${format.plural(each.numbers, "number", "numbers")}, ${span}. It goes on with ${format.count(each.next_value)}.${gaps}`;
}

function countRow(each) {
  const cell = (text, kind = "num") => element("td", { class: kind }, text);
  return element("tr", {},
    element("th", { scope: "row" }, each.counter),
    cell(format.count(each.numbers)),
    cell(spanOf(each, " – ")),
    cell(format.count(each.next_value)),
    cell(each.missing_total ? `${format.count(each.missing_total)}: ${runsOf(each)}` : "none", "wide-cell"));
}
