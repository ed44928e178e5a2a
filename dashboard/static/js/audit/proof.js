// The proof of one ledger entry, done here: this browser computes the hashes itself.
//
//     hash = SHA-256(hash of the entry before, bytes of the entry)
//
// The next entry names this hash; of the newest one the ledger's head does. So who changes an entry
// would have to change everything that was committed after it, too.

const ZEROS = "0".repeat(64);
const HASH = /^[0-9a-f]{64}$/;

/** Browsers have SHA-256 for pages from https and from localhost only. */
export const canProve = () => Boolean(globalThis.crypto?.subtle);

/**
 * Proves that the entry of an audit record holds its number and stands in the chain.
 * `entryAt(index)` reads an entry, or returns null where there is none any more.
 * Returns `steps`, each with `ok` (null: cannot be told) and `text`; the entry's `content`; and which
 * entries are to `blame`.
 */
export async function proveEntry({ entryIndex: index, entryHash }, number, entryAt) {
  const entry = await entryAt(index);
  if (!entry) return failed(index, `Entry ${index} is not in the store.`);
  const bytes = bytesOf(entry);
  const { fields, content } = readingOf(bytes);
  if (!fields) return failed(index, `The bytes of entry ${index} cannot be read.`, content);
  const own = await hashOf(fields.p, bytes);
  const before = await stepBefore(index, fields.p, entry.trimmedThrough, entryAt);
  const others = [
    step(
      fields.i === index && fields.r.some((record) => names(record, number)),
      [`The ${bytes.length} bytes of entry ${index} name number ${number}`],
      [`The ${bytes.length} bytes of entry ${index} do not name number ${number}`],
    ),
    step(
      own === entryHash,
      ["SHA-256 of that hash and these bytes is the hash of the record", own],
      ["SHA-256 of that hash and these bytes is not the hash of the record", own, entryHash],
    ),
    await stepAfter(entry, own, entryAt),
  ];
  const steps = [others[0], before, ...others.slice(1)];
  return { steps, content, blame: blamed(index, before, others) };
}

/** Where two neighbours do not fit, the entry after both tells which of them was altered. */
function blamed(index, before, others) {
  const other = others.find((each) => each.blame);
  if (other) return [other.blame];
  if (others.some(({ ok }) => ok === false)) return [index];
  return before.ok === false ? [Math.max(1, index - 1)] : [];
}

const step = (ok, good, bad) => ({ ok, text: (ok ? good : bad)[0], hashes: (ok ? good : bad).slice(1) });

const failed = (index, text, content = "") =>
  ({ steps: [{ ok: false, text, hashes: [] }], content, blame: [index] });

async function stepBefore(index, named, trimmedThrough, entryAt) {
  if (index === 1) {
    const good = ["It is the first entry: the hash before it is 64 zeros"];
    return step(named === ZEROS, good, ["It is the first entry, but names one before it", named]);
  }
  const before = index - 1;
  if (before <= trimmedThrough) {
    const text = `Entry ${before} has left the store: its hash is taken as entry ${index} names it`;
    return { ok: null, text, hashes: [named] };
  }
  const entry = await entryAt(before);
  if (!entry) return step(false, [], [`Entry ${before} is missing`]);
  const bytes = bytesOf(entry);
  const { fields } = readingOf(bytes);
  const computed = fields ? await hashOf(fields.p, bytes) : "";
  const good = [`It names the hash of entry ${before}, computed from its bytes`, computed];
  const bad = [`It names another hash than the bytes of entry ${before} have`, computed, named];
  return step(computed === named, good, bad);
}

async function stepAfter({ index, recordedHash, recordedIn }, own, entryAt) {
  const where = recordedIn === "head" ? "The head of the ledger" : `Entry ${recordedIn}`;
  if (recordedHash !== own && recordedIn !== "head" && (await isAltered(recordedIn, entryAt))) {
    const text = `${where} names another hash, but was altered itself`;
    return { ok: null, text, hashes: [recordedHash ?? "none"], blame: recordedIn };
  }
  const good = [`${where} names the same hash`, recordedHash];
  const bad = [`${where} names another hash for entry ${index}`, recordedHash ?? "none"];
  return step(recordedHash === own, good, bad);
}

/** Tells whether an entry has another hash than what was committed after it says. */
async function isAltered(index, entryAt) {
  const entry = await entryAt(index);
  if (!entry) return true;
  const bytes = bytesOf(entry);
  const { fields } = readingOf(bytes);
  return !fields || (await hashOf(fields.p, bytes)) !== entry.recordedHash;
}

/** Tells whether a record of the ledger is about a number (`coordinator/core/ledger.py`). */
function names(record, number) {
  const within = (first, many) => number >= first && number < first + many;
  switch (record.o) {
    case "issues":
      return within(record.f, record.q.length);
    case "issue":
      return within(record.f, record.n ?? 1)
        || (record.g ?? []).some(([first, , , many = 1]) => within(first, many));
    case "pass":
      return within(record.f, record.n);
    case "import": // what lies between its numbers is void from then on
      return within(record.f, Math.max(...record.n.map(([first, many]) => first + many)) - record.f)
        || record.n.some(([first, many]) => within(first, many));
    default:
      return record.u === number;
  }
}

const bytesOf = ({ contentBase64 }) =>
  Uint8Array.from(atob(contentBase64), (character) => character.charCodeAt(0));

/** Returns the fields, null when these bytes are no entry, and the text as far as it can be read. */
function readingOf(bytes) {
  const content = new TextDecoder().decode(bytes);
  try {
    const fields = JSON.parse(content);
    const isEntry = HASH.test(fields.p) && Array.isArray(fields.r);
    return { fields: isEntry ? fields : null, content };
  } catch {
    return { fields: null, content };
  }
}

async function hashOf(previous, bytes) {
  const before = Uint8Array.from(previous.match(/../g), (pair) => parseInt(pair, 16));
  const both = new Uint8Array(before.length + bytes.length);
  both.set(before);
  both.set(bytes, before.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", both));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
