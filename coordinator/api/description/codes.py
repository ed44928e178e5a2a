"""What each code means to a caller, and the way on."""

from typing import NamedTuple

from coordinator.api import problems as p
from coordinator.api.problems import Kind


class Meaning(NamedTuple):
    """Why a request is refused with a code, and what to do next."""

    means: str
    way_on: str


_SAY = "Correct what `detail` and `errors` name, and ask again."
_NOTHING = "Nothing needs to be done."
_LIST = "`GET /api/v1/admin/document-numbering/templates` lists the series."
_EXPORT = "An export of the ledger from before has it."

MEANINGS: dict[Kind, Meaning] = {
    p.UNKNOWN_NAME: Meaning(
        "A site, partition, type, counter, series or process of this name is not configured.",
        f"Use one of the names in `detail`. {_LIST}",
    ),
    p.EXHAUSTED: Meaning(
        "The series ends before as many numbers as were asked for.",
        "Ask for fewer, or raise the series' `max_value`.",
    ),
    p.BUSY: Meaning(
        "Too many wait already, or it could not be done in time. Nothing was allocated.",
        "Ask again after `Retry-After` seconds, or ask another node; best with a key.",
    ),
    p.NO_RESERVATION: Meaning(
        "The token is of no open reservation: it has expired, was cancelled, or is none of ours.",
        "Reserve a new number.",
    ),
    p.DUPLICATE: Meaning(
        "The number is issued, reserved, void or free already.",
        "Choose another one, or void and replace the one that is in use.",
    ),
    p.BAD_FORMAT: Meaning(
        "A number, a value of a scope or a date does not fit the series.",
        f"{_SAY} `POST /api/v1/document-numbering/preview` shows how numbers read.",
    ),
    p.NO_OVERRIDE: Meaning(
        "The series does not let operators name numbers.",
        "Reserve a number, or change the series to `allow_manual_override`.",
    ),
    p.STORE_UNAVAILABLE: Meaning(
        "etcd does not answer, has no space left, or went back. Nothing was allocated.",
        "Ask again, or another node. If it stays, look at `/readyz?verbose`: it says what to do.",
    ),
    p.MALFORMED: Meaning("The request is not as this address takes it.", _SAY),
    p.NEVER_ISSUED: Meaning(
        "No such number was ever issued.",
        "Check the number; `GET /api/v1/sequence/stats` tells the highest one.",
    ),
    p.ALREADY_FREE: Meaning("The number is a gap already, and will be issued again.", _NOTHING),
    p.OTHER_OWNER: Meaning(
        "The number belongs to another site or partition, or to a document.",
        "Have its owner release it; void a number of a document.",
    ),
    p.KEY_REUSED: Meaning(
        "The idempotency key has done something else.",
        "Send a new key with a new request, and the old key only with the request it was for.",
    ),
    p.OUTCOME_UNKNOWN: Meaning(
        "The store did not say whether it was done.",
        "Repeat the same request with the same key: you get the one answer. Without a key, look "
        "in the audit for the request's id.",
    ),
    p.FORBIDDEN: Meaning(
        "This is for the demonstration profile only. Nothing was changed.",
        "Use a node that was started with `--profile demonstration`.",
    ),
    p.NO_SUCH_ROUTE: Meaning("There is nothing at this address.", "`/docs` has all of them."),
    p.WRONG_METHOD: Meaning(
        "The address takes other methods.", "Use one of those in the `Allow` header."
    ),
    p.TOO_LARGE: Meaning(
        "The body is too large, or so many numbers do not fit into one commit.",
        "Ask for fewer at a time, or send the file in parts.",
    ),
    p.UNSUPPORTED: Meaning(
        "The body is of a media type, encoding or compression that is not taken here.",
        "Send JSON in UTF-8, plain or compressed by gzip or deflate; files as `detail` says.",
    ),
    p.SWITCHED_OFF: Meaning(
        "Invoices of this type get no numbers here.", "Leave it, or have it switched on."
    ),
    p.HEAD_TOO_LARGE: Meaning(
        "The address or the headers are too long.", "Send less, or send it in the body."
    ),
    p.TOO_SLOW: Meaning(
        "The request did not arrive in time. Nothing was changed.", "Send it again, at once."
    ),
    p.EXPECTATION: Meaning(
        "The `Expect` header asks for something else than `100-continue`.", "Leave it out."
    ),
    p.NOTHING_LOST: Meaning(
        "This node misses no entry with that hash.",
        "`GET /api/v1/cluster` shows what it misses, as `rewinds`.",
    ),
    p.TRIMMED: Meaning("The ledger entries about it have left the store.", _EXPORT),
    p.NOT_A_NODE: Meaning("This address is for other nodes only.", "Use the others: `/docs`."),
    p.DECLINED: Meaning(
        "One node tells another that it does not commit for it now.", "Callers never see this."
    ),
    p.BAD_SERIES: Meaning(
        "The definition contradicts itself, or could write a number that another series writes.",
        _SAY,
    ),
    p.SERIES_EXISTS: Meaning(
        "There is a series of this type.", "Change it by PUT, or choose another type."
    ),
    p.SERIES_CHANGED: Meaning(
        "Somebody has changed the series since you read it.",
        "Read it again, decide again, and send its present `version`.",
    ),
    p.CONFIRMED: Meaning(
        "The reservation is confirmed, so it cannot be cancelled.",
        "Void the number, with another in its place if you like.",
    ),
    p.HELD: Meaning(
        "The number is reserved, or void.",
        "Confirm or cancel the reservation first. A void number stays void.",
    ),
    p.CLOSED: Meaning(
        "The count is closed for good: no number goes out or comes back.",
        "Take a number of a period that is open.",
    ),
    p.OPEN_RESERVATIONS: Meaning(
        "Numbers of the count are reserved.",
        "Confirm or cancel them, or wait until they expire; then close.",
    ),
    p.NOT_AHEAD: Meaning(
        "Lower numbers would go out twice: a count only goes up.",
        "Ask for a higher one than `detail` names.",
    ),
    p.FAR_AHEAD: Meaning(
        "More numbers would become void than you allow, perhaps by a slip of the pen.",
        "If it is meant, ask again with `pass_over_max` as `detail` says.",
    ),
    p.OTHER_TEXT: Meaning(
        "The number was issued under another text.", "Write it as it was issued."
    ),
    p.ENDLESS: Meaning("This count has no period that ends.", "It cannot be closed."),
    p.ROWS_REFUSED: Meaning(
        "Rows of the file are wrong. Nothing was changed.",
        "Correct the rows that `errors` names, or leave them out with `rows`.",
    ),
    p.BAD_FILE: Meaning(
        "The file as a whole cannot be read. Nothing was changed.", "`detail` says what to mend."
    ),
    p.IMPORT_TOO_LARGE: Meaning(
        "The file touches more than one commit can hold. Nothing was changed.",
        "Import it in parts, as `detail` says.",
    ),
    p.STREAMS_FULL: Meaning(
        "Too many event streams are open on this node, or it stops.",
        "Close one, ask another node, or read the statistics now and then.",
    ),
    p.DEMO_BUSY: Meaning(
        "A demonstration runs on this node.", "Wait for its end, or cancel it, then start again."
    ),
    p.NO_SUCH_JOB: Meaning(
        "No node keeps a demonstration of this id.",
        "List them; nodes keep the newest twenty, until they restart.",
    ),
    p.CANNOT_STRIKE: Meaning(
        "It would stop all numbers or end a running load, or the process cannot be reached.",
        "`detail` says what it would mean; send `force: true` to do it all the same.",
    ),
    p.OUT_OF_REACH: Meaning(
        "Another node, or the launcher, does not answer.", "Ask again in a moment."
    ),
    p.NO_SUCH_ENTRY: Meaning(
        "The ledger has no entry with this index.", "`detail` tells how many there are."
    ),
    p.NO_SUCH_IMPORT: Meaning(
        "No node keeps an import of this id.",
        "What was imported is in the ledger: repeat the upload with its key to hear of it.",
    ),
    p.OTHER_SITE: Meaning(
        "A page of another web site had a browser ask for this. Nothing was done.",
        "Use the dashboard, or a tool like curl.",
    ),
    p.NO_ROOM: Meaning(
        "The node's disk or temporary folder has no room for the file. Nothing was changed.",
        "Make room there, or send the file to another node.",
    ),
    p.INTERNAL: Meaning("An error in the program.", "Report it with the request's id."),
}
"""Every code, lowest first but for the ones of the older system."""
