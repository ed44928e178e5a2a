// The public HTTP API, and what can go wrong with it.

const READ_MS_MAX = 5_000;
const CHANGE_MS_MAX = 35_000;
const UPLOAD_MS_MAX = 180_000;

/** An answer that is not the one asked for, or no answer at all. */
export class Problem extends Error {
  constructor({ title, detail, status, code, requestId, retryable, errors, body }) {
    super(detail || title);
    Object.assign(this, { title, detail, status, code, requestId, retryable, body });
    this.errors = Array.isArray(errors) ? errors : [];
  }
}

/** Names one change, so that sending it again cannot do it twice. */
export function newKey() {
  // randomUUID exists on secure origins only; a node on a private network is plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const read = (path, milliseconds = READ_MS_MAX) =>
  send(path, {}, milliseconds, noReplyToRead);

/** A page of a listing: `headers` say where it goes on. */
export const readPage = (path, milliseconds = READ_MS_MAX) =>
  send(path, {}, milliseconds, noReplyToRead, (body, headers) => ({ body, headers }));

/** A change with its key: an outcome that stayed unknown is settled by the same call once more. */
export function change(path, body, key, method = "POST") {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const options = { method, headers, body: JSON.stringify(body) };
  return send(path, options, CHANGE_MS_MAX, noReplyToChange);
}

/** A file with its key, and the fields beside it. */
export function upload(path, form, key) {
  const options = { method: "POST", headers: { "Idempotency-Key": key }, body: form };
  return send(path, options, UPLOAD_MS_MAX, noReplyToChange);
}

/** A demonstration, or a question too long for an address: no number hangs on it, so no key. */
export function act(path, body) {
  const headers = { "Content-Type": "application/json" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) }, READ_MS_MAX, noReplyToRead);
}

async function send(path, options, milliseconds, noReply, taking = (body) => body) {
  const requestId = newKey(); // named here, so that what was never answered can be looked for too
  let response;
  let text;
  try {
    const signal = AbortSignal.timeout(milliseconds);
    const headers = { Accept: "application/json", "X-Request-Id": requestId, ...options.headers };
    response = await fetch(path, { ...options, headers, signal, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    throw noReply(error.name === "TimeoutError" ? milliseconds : null, requestId);
  }
  const body = parse(text);
  if (!response.ok) throw asProblem(response, body);
  if (body === undefined) throw asProblem(response, { title: "The answer is not JSON" });
  return taking(body, response.headers);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asProblem(response, body = {}) {
  return new Problem({
    title: body.title || response.statusText || "The request failed",
    detail: body.detail || body.error,
    status: response.status,
    code: body.code,
    requestId: body.request_id || response.headers.get("X-Request-Id"),
    retryable: body.retryable === true,
    errors: body.errors,
    body, // some say more: what a file would come to, say
  });
}

function noReplyToRead(milliseconds, requestId) {
  const detail = milliseconds
    ? `The node did not answer within ${milliseconds / 1000} s.`
    : "The node cannot be reached.";
  return new Problem({ title: "No answer", detail, requestId });
}

function noReplyToChange(milliseconds, requestId) {
  const { detail } = noReplyToRead(milliseconds, requestId);
  return new Problem({
    requestId,
    title: "No answer: the outcome is unknown",
    detail: `${detail} Trying again sends the same request key, so nothing happens twice.`,
    retryable: true,
  });
}
