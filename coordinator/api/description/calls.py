"""Every public address of a node, in the order in which people read of them."""

from coordinator.api.description import (
    administration,
    audit,
    demonstration,
    documents,
    imports,
    operations,
    sequence,
)
from coordinator.api.description.call import Call, Tag

CALLS: tuple[Call, ...] = (
    *sequence.CALLS,
    *documents.CALLS,
    *administration.CALLS,
    *imports.CALLS,
    *audit.CALLS,
    *demonstration.CALLS,
    *operations.CALLS,
)

TAGS: dict[Tag, str] = {
    Tag.SEQUENCE: "Invoice numbers: take, give back, count, prove.",
    Tag.DOCUMENTS: "Document numbers in two steps: reserve, then confirm or cancel.",
    Tag.ADMINISTRATION: (
        "What operators decide: series, counts, single numbers, numbers from elsewhere. The "
        "ledger notes who did it and why."
    ),
    Tag.AUDIT: "Everything that ever happened, to search and to check.",
    Tag.DEMONSTRATION: "Loads and failures to watch. Only in the demonstration profile.",
    Tag.OPERATIONS: "For operators and their tools.",
}

ABOUT = """\
Gapless sequential numbers for invoices and documents: a number is answered only after it is \
committed, and a hash-chained ledger accounts for each. Any node may be asked.

**Safe to repeat.** Every call that takes an `Idempotency-Key` answers the same request with the \
same key once and for all, from any node, and then says `Idempotent-Replayed: true`. The same key \
with another request is refused (NB013).

**Refusals** are `application/problem+json` (RFC 9457) with a code. 503 says that nothing was \
allocated: ask again, or another node. 504 says that the outcome is unknown: repeat with the same \
key. What can be repeated says `Retry-After`.

**Names.** Unknown fields are refused, and so is a field given twice. Bodies are JSON in UTF-8, \
64 KiB at most, plain or compressed by gzip or deflate. Each GET that only reads takes HEAD too. \
Answers are not to be cached.

There is no authentication: who reaches a node may use it. What changes something is refused when \
a page of another web site has a browser ask for it (NB055).
"""
"""What holds for all of them."""
