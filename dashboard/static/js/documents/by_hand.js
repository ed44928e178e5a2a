// What operators decide about a count: the number itself, where the count goes on, and its end.

import { act } from "../api.js";
import { offerCurl } from "../curl.js";
import { announce, byId, setText } from "../dom.js";
import * as format from "../format.js";
import { ask } from "./ask.js";
import { ADMIN, DOCUMENTS, perform } from "./calls.js";
import { about, scopeFields } from "./fields.js";

const FAR_AHEAD = "NB036";

/** Asks, and sends a request that passes over nothing; if it would, asks again and names how many. */
function passOver(form, request, { title, yes }, done) {
  const upTo = (most) => ({ ...request, body: { ...request.body, pass_over_max: most } });
  const because = `Reason: ${request.body.reason}`;
  const passing = (problem) => {
    const many = Number(/pass_over_max: (\d+)/.exec(problem.detail ?? "")?.[1]);
    if (problem.code !== FAR_AHEAD || !many) return false;
    const voiding = { title, lines: [inWords(many), because], yes: `${yes}, void ${format.count(many)}`, curl: upTo(many) };
    ask(voiding, () => void perform(form, upTo(many), done));
    return true;
  };
  const first = { title, lines: ["If numbers before it would become void, you are asked once more.", because], yes, curl: upTo(0) };
  ask(first, () => void perform(form, upTo(0), done, passing));
}

const inWords = (many) =>
  `${format.plural(many, "number", "numbers")} before it would be passed over. ${many === 1 ? "It becomes" : "They become"} void: never issued, and this cannot be taken back.`;

function tell(form, text) {
  setText(form.querySelector("[data-result]"), text);
  announce(text);
}

export function mountOverride(shelf, lookUp) {
  const form = byId("override");
  const { document_type: type, document_number: number, reason } = form.elements;
  const path = `${ADMIN}/manual-override`;
  let templates = [];
  const request = () => ({
    path,
    body: { document_type: type.value, document_number: number.value.trim(), reason: reason.value.trim() },
  });
  const hint = () => {
    const series = templates.find((each) => each.document_type === type.value);
    if (!series) return;
    setText(byId("override-hint"), series.allow_manual_override
      ? `Written ${series.template}. It must lie ahead of the count; numbers that it passes over become void, and you are asked first.`
      : `${series.document_type} does not allow it: edit its template, and tick that operators may name a number.`);
  };
  shelf.on("templates", (value) => { templates = value; hint(); });
  type.addEventListener("input", hint);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = request();
    const name = wanted.body.document_number;
    const question = { title: `Give out ${name}?`, yes: `Give out ${name}` };
    passOver(form, wanted, question, ({ data }) => {
      const passed = data.passed_over;
      const span = passed ? ` Void now: ${spanOf(passed.first, passed.last)} (${format.count(passed.count)}).` : " Nothing was passed over.";
      tell(form, `${data.document_number} is given out.${span}`);
      number.value = "";
      reason.value = "";
      lookUp(data.document_number);
      shelf.poke();
    });
  });
  offerCurl(form.querySelector("[data-curl]"), request, "name a number");
}

const spanOf = (first, last) =>
  first === last ? format.count(first) : `${format.count(first)}–${format.count(last)}`;

/** Returns `adjust(counter)`, which leads to the form with that count filled in. */
export function mountCount(shelf) {
  const form = byId("count");
  const { document_type: type, issue_date: date, next_value: next, reason } = form.elements;
  const scope = scopeFields(form.querySelector("[data-scope]"), { ofScopesOnly: true });
  let templates = [];
  const place = () => about(type.value, scope.values(), date.value);
  const requests = {
    adjust: () => ({
      path: `${ADMIN}/sequences/adjust`,
      body: { ...place(), next_value: next.valueAsNumber || undefined, reason: reason.value.trim() },
    }),
    close: () => ({ path: `${ADMIN}/sequences/close`, body: { ...place(), reason: reason.value.trim() } }),
  };
  const shape = () => {
    const series = templates.find((each) => each.document_type === type.value);
    if (series) scope.show(series);
    const periods = series?.scopes.some((each) => ["YEARLY", "MONTHLY", "FISCAL"].includes(each));
    date.closest("label").hidden = !periods;
    if (!periods) date.value = "";
  };
  shelf.on("templates", (value) => { templates = value; shape(); });
  type.addEventListener("input", shape);
  form.addEventListener("input", () => {
    next.setCustomValidity("");
    setText(byId("count-hint"), "");
  });
  const finish = (text) => {
    tell(form, text);
    reason.value = "";
    next.value = "";
    shelf.poke();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const isClosing = event.submitter?.value === "close";
    if (!isClosing && Number.isNaN(next.valueAsNumber)) {
      next.setCustomValidity("Say which number comes next.");
      next.reportValidity();
      return;
    }
    const name = await nameOf(place());
    if (isClosing) confirmClose(form, requests.close(), name, finish);
    else passOver(form, requests.adjust(), {
      title: `Let ${name} go on with ${format.count(next.valueAsNumber)}?`,
      yes: `Go on with ${format.count(next.valueAsNumber)}`,
    }, ({ data }) => finish(`${data.counter} goes on with ${format.count(data.next_value)}.`));
  });
  offerCurl(form.querySelector("[data-curl]"), () => requests.adjust(), "adjust");
  return (counter) => {
    type.value = counter.document_type;
    shape();
    scope.fill(counter.scope);
    date.value = dayIn(counter.scope);
    setText(byId("count-hint"), `${counter.counter}: ${format.count(counter.current_value)} was the last number.`);
    byId("count-title").focus();
    byId("count-title").scrollIntoView({ block: "center" });
  };
}

function confirmClose(form, request, name, finish) {
  ask({
    title: `Close ${name}?`,
    lines: ["It gives out no number any more, and cannot be opened again.", `Reason: ${request.body.reason}`],
    yes: `Close ${name}`,
    curl: request,
  }, () => void perform(form, request, ({ data }) => {
    const { report } = data;
    const came = report
      ? ` ${format.count(report.issued)} numbers of ${spanOf(report.first, report.last)} are in use, ${format.count(report.void.total)} void, ${format.count(report.gaps.total)} free.`
      : "";
    finish(`${data.counter} is closed.${came}`);
  }));
}

/** The count's own name, as the server tells it; else what was said of it. */
async function nameOf(place) {
  try {
    return (await act(`${DOCUMENTS}/preview`, place)).data.counter;
  } catch {
    return [place.document_type, ...Object.values(place.scope ?? {}), place.issue_date].filter(Boolean).join(" ");
  }
}

/** A day of the period that a count is of. Fiscal years end in the year that names them. */
function dayIn({ yearly, monthly, fiscal }) {
  if (monthly) return `${monthly}-01`;
  const year = yearly ?? fiscal;
  return year ? `${year}-01-01` : "";
}
