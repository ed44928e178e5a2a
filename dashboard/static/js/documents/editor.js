// Creating and changing a series: what is typed is tried out at once, and saved as a new version.

import { act, read } from "../api.js";
import { offerCurl } from "../curl.js";
import { announce, byId, element, keyed, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { isReadOnly } from "../mode.js";
import { ask } from "./ask.js";
import { ADMIN, DOCUMENTS, isJustServed, perform } from "./calls.js";
import { definition, fill, formatOf, same } from "./definition.js";
import { debounced, latest, scopeFields } from "./fields.js";
import { refusalsIn } from "./refusals.js";

const TEMPLATES = `${ADMIN}/templates`;
const CHANGES = 20;
const NOT_TRIED = new Set(["reason", "reservation_s", "gap_policy", "allow_manual_override", "metadata", "requestId"]);

/** Returns `edit(type)` and `create()`, which lead to the form. */
export function mountEditor(shelf) {
  const editor = new Editor(byId("editor"), shelf);
  shelf.on("templates", (templates) => editor.hear(templates));
  shelf.on("sequences", () => editor.refresh());
  return { edit: (type) => editor.lead(type), create: () => editor.lead("") };
}

class Editor {
  #form;
  #shelf;
  #base; // the version that is edited; none when a series is made
  #filled; // what the form was filled with
  #templates = [];
  #scope;
  #refusals;
  #asked = latest();
  #askedChanges = latest();
  #refused = []; // why it was not saved, as far as a preview does not say it too

  constructor(form, shelf) {
    this.#form = form;
    this.#shelf = shelf;
    this.#scope = scopeFields(form.querySelector("[data-scope]"), { examples: true });
    this.#refusals = refusalsIn(form);
    const { chosen } = form.elements;
    const preview = debounced(() => this.#preview());
    form.addEventListener("input", ({ target }) => {
      if (target === chosen) return;
      this.#refused = this.#refused.filter(({ field }) => field !== target.name);
      this.#shape();
      setAttribute(byId("preview"), "data-state", "waiting");
      preview();
    });
    chosen.addEventListener("change", () => this.#choose(chosen.value));
    form.querySelector("[data-revert]")?.addEventListener("click", () => this.#load(chosen.value));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!isReadOnly && !isJustServed(form)) this.#save();
    });
    offerCurl(form.querySelector("[data-curl]"), () => this.#request(), "save the series");
    this.#load("");
  }

  /** Goes to the form with this series, or a new one. */
  lead(type) {
    this.#choose(type, () => {
      byId("editor-title").scrollIntoView({ block: "start" });
      const { document_type: name, template } = this.#form.elements;
      (type ? template : name).focus({ preventScroll: true });
    });
  }

  /** What others have saved is shown, and never written over what is typed here. */
  hear(templates) {
    this.#templates = templates;
    const now = templates.find((each) => each.document_type === this.#base?.document_type);
    const isNewer = Boolean(this.#base && now && now.version > this.#base.version);
    if (isNewer && !this.#isDirty() && !this.#form.contains(document.activeElement)) {
      this.#load(now.document_type);
      return;
    }
    const notice = byId("newer");
    if (notice.hidden === !isNewer) return;
    notice.hidden = !isNewer;
    if (!isNewer) return;
    const load = element("button", { type: "button", class: "quiet small" }, `Load version ${now.version}`);
    load.addEventListener("click", () => this.lead(now.document_type));
    notice.replaceChildren(`Somebody has saved version ${now.version} meanwhile. Yours is of version ${this.#base.version} and would be refused. `, load);
  }

  /** The next numbers of a series as it is saved go on as others take them. */
  refresh() {
    if (this.#base && same(this.#body(), this.#filled)) this.#preview();
  }

  #isDirty() {
    return !same(this.#body(), this.#filled) || this.#form.elements.reason.value.trim() !== "";
  }

  #body() {
    const { document_type: name } = this.#form.elements;
    return { document_type: name.value.trim(), ...definition(this.#form, this.#base) };
  }

  #choose(type, then = () => {}) {
    const { chosen } = this.#form.elements;
    const before = this.#base?.document_type ?? "";
    const go = () => {
      this.#load(type);
      then();
    };
    if (!this.#isDirty()) {
      go();
      return;
    }
    chosen.value = before;
    ask({
      title: "Leave what you have typed?",
      lines: [`The changes of ${before || "the new series"} are not saved.`],
      yes: type ? `Leave it, and edit ${type}` : "Leave it, and begin anew",
    }, go);
  }

  #load(type) {
    const { chosen, reason } = this.#form.elements;
    this.#base = this.#templates.find((each) => each.document_type === type);
    chosen.value = this.#base ? type : "";
    fill(this.#form, this.#base);
    reason.value = "";
    this.#filled = this.#body();
    this.#form.querySelector("[data-only-new]").hidden = Boolean(this.#base);
    this.#form.querySelector("[data-problems]").replaceChildren();
    byId("newer").hidden = true;
    this.#refused = [];
    this.#refusals([]);
    setText(byId("editor-state"), this.#base ? `version ${this.#base.version}` : "not saved yet");
    this.#shape();
    this.#preview();
    this.#showChanges();
  }

  #shape() {
    const { template, scopes, tokens } = definition(this.#form, this.#base);
    this.#scope.show({ template, scopes, tokens });
  }

  #preview() {
    const body = this.#body();
    const { issue_date: date } = this.#form.elements;
    if (!body.template) {
      this.#show({ state: "empty", note: "Write a template, such as {PREFIX}-{YYYY}-{SEQ:5}, and they appear here." });
      return;
    }
    const isAsSaved = this.#base && same(formatOf(body), formatOf(this.#filled));
    const { document_type: type } = body;
    const question = {
      ...(type ? { document_type: type } : {}), ...(isAsSaved ? {} : formatOf(body)),
      scope: this.#scope.values(), ...(date.value ? { issue_date: date.value } : {}),
    };
    void this.#asked(
      () => act(`${DOCUMENTS}/preview`, question),
      ({ data }) => this.#show({ state: "good", numbers: data.numbers, note: this.#note(data, isAsSaved) }),
      (problem) => this.#show({ state: "bad", problem }),
    );
  }

  #note({ numbers, counter }, isAsSaved) {
    if (!numbers.length) return "None: this count has come to its last number.";
    if (isAsSaved) return `As ${counter} goes on now.`;
    const unnamed = this.#form.elements.document_type.value.trim() ? "" : " Until the series has a type, {PREFIX} reads TRY.";
    return `As a new count begins; counts under way keep their next number.${unnamed}`;
  }

  #show({ state, numbers = [], note = "", problem }) {
    setAttribute(byId("preview"), "data-state", state);
    keyed(byId("preview-numbers"), numbers, (text) => text, (text) => element("li", {}, text));
    setText(byId("preview-note"), note);
    const errors = problem ? (problem.errors.length ? problem.errors : [{ message: problem.detail ?? problem.title }]) : [];
    const rest = this.#refusals([...errors, ...this.#refused]);
    const told = problem && !rest.length ? [{ message: "Not like this: the reason stands beside its field." }] : rest;
    const sentence = ({ field, message }) => (field ? `${field}: ${message}` : message);
    keyed(byId("preview-refusals"), told.map(sentence), (text) => text, (text) => element("li", {}, text));
  }

  #request() {
    const { document_type: type, ...defined } = this.#body();
    const body = { ...defined, reason: this.#form.elements.reason.value.trim() };
    if (!this.#base) return { path: TEMPLATES, body: { document_type: type, ...body } };
    const path = `${TEMPLATES}/${encodeURIComponent(type)}`;
    return { path, method: "PUT", body: { ...body, version: this.#base.version } };
  }

  #save() {
    const { chosen } = this.#form.elements;
    const result = this.#form.querySelector("[data-result]");
    void perform(this.#form, this.#request(), ({ data }) => {
      const others = this.#templates.filter((each) => each.document_type !== data.document_type);
      this.#templates = [...others, data];
      if (![...chosen.options].some((option) => option.value === data.document_type)) {
        chosen.append(element("option", { value: data.document_type, "data-key": data.document_type }, data.document_type));
      }
      this.#load(data.document_type);
      setText(result, `${data.document_type} is saved as version ${data.version}, at ${format.clock(Date.now())}.`);
      announce(result.textContent);
      this.#shelf.poke();
    }, (problem) => {
      this.#refused = problem.errors.filter(({ field }) => NOT_TRIED.has(field));
      this.#refusals(problem.errors);
      this.#shelf.poke(); // it may be that somebody else has saved it
      return false;
    });
  }

  #showChanges() {
    const place = byId("changes");
    const base = this.#base;
    place.hidden = !base;
    if (!base) return;
    void this.#askedChanges(
      () => read(`${TEMPLATES}/${encodeURIComponent(base.document_type)}?limit=${CHANGES}`),
      ({ data }) => showChanges(place.querySelector("ol"), base, data.changes),
      () => place.querySelector("ol").replaceChildren(element("li", { class: "hint" }, "They cannot be read now.")),
    );
  }
}

function showChanges(list, base, changes) {
  const [newest] = changes;
  const by = newest && [newest.user && `by ${newest.user}`, format.full(newest.timestamp)].filter(Boolean).join(", ");
  setText(byId("editor-state"), `version ${base.version}${by ? ` · saved ${by}` : " · as it came"}`);
  const rows = changes.map(({ version, template, reason, user, timestamp, request_id: request }) =>
    element("li", {},
      element("p", {}, element("b", {}, `Version ${version}`), " ", element("code", {}, template.template)),
      element("p", {}, reason),
      element("p", { class: "hint" }, [format.full(timestamp), user && `by ${user}`, `request ${request}`].filter(Boolean).join(" · "))));
  list.replaceChildren(...(rows.length ? rows : [element("li", { class: "hint" }, "None: it is as the installation came.")]));
}
