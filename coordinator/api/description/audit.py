"""The calls that tell what happened."""

from coordinator.api import problems as p
from coordinator.api.audit_inputs import (
    AuditCsvQuery,
    AuditQuery,
    EntryQuery,
    GapLivesQuery,
    LifeQuery,
    NumberPath,
)
from coordinator.api.description.call import READING, Answer, Call, Tag
from coordinator.api.description.sequence_answers import AuditRecord, EntryBytes, GapLives

ROOT = "/api/v1/sequence"
_SEARCH = (p.UNKNOWN_NAME, p.NEVER_ISSUED, *READING)

CALLS = (
    Call(
        Tag.AUDIT,
        "audit",
        "GET",
        f"{ROOT}/audit",
        "Search the audit",
        "Records of everything that happened, newest first. One call looks through about 2,000 "
        "entries and then gives a cursor with what it has found: a short page, even an empty one, "
        "is not the end while `X-Next-Cursor` is there. Without `counter` or `documentType` it is "
        "about invoices.",
        (
            Answer(
                200,
                "Records, newest first.",
                list[AuditRecord],
                headers=(
                    *("X-Next-Cursor", "X-Entries-Read", "X-Looked-Back-To"),
                    *("X-Trimmed-Through", "X-Narrow-By"),
                ),
            ),
        ),
        _SEARCH,
        query=AuditQuery,
        asked={"operationType": "GENERATE", "limit": 20},
    ),
    Call(
        Tag.AUDIT,
        "auditCsv",
        "GET",
        f"{ROOT}/audit.csv",
        "Export the audit as CSV",
        "The same search, streamed, up to 100,000 records. UTF-8 with a byte order mark; cells "
        "that a spreadsheet would calculate begin with an apostrophe. The last line begins with "
        "`# Complete`, or says where to go on; a file without that line was cut off.",
        (
            Answer(
                200,
                "Records as CSV, newest first.",
                media="text/csv",
                headers=("Content-Disposition",),
                example='"timestamp","sequenceNumber",...\r\n"# Complete: 0 records."\r\n',
            ),
        ),
        _SEARCH,
        query=AuditCsvQuery,
        asked={"from": "2026-01-31"},
    ),
    Call(
        Tag.AUDIT,
        "auditOfNumber",
        "GET",
        f"{ROOT}/audit/{{number}}",
        "A number's whole life",
        "Everything that ever happened to a number, oldest first. Where several counters have the "
        "number, they are all told, at most 32; name `siteId` and `partitionId` where there are "
        "more.",
        (Answer(200, "Records, oldest first.", list[AuditRecord], headers=("X-Trimmed-Through",)),),
        (p.UNKNOWN_NAME, p.NEVER_ISSUED, p.TRIMMED, *READING),
        query=LifeQuery,
        in_path={"number": NumberPath},
        asked={"number": 1},
    ),
    Call(
        Tag.AUDIT,
        "entry",
        "GET",
        f"{ROOT}/entries/{{index}}",
        "One ledger entry, byte by byte",
        "SHA-256 of the previous hash (its hexadecimal text decoded) and of these bytes is the "
        "entry's hash. `hash` is computed from them now, `recordedHash` was written down with the "
        "next commit: they differ when anybody has changed the entry.",
        (Answer(200, "The entry.", EntryBytes),),
        (p.UNKNOWN_NAME, p.NO_SUCH_ENTRY, p.TRIMMED, *READING),
        query=EntryQuery,
        in_path={"index": EntryQuery},
        asked={"index": 1},
    ),
    Call(
        Tag.AUDIT,
        "gapLives",
        "GET",
        f"{ROOT}/gaps/life",
        "What became of gaps",
        "The lowest open gaps, with who released them, when and why; and those that were refilled "
        "last, with who got them. Of many counters those that changed last are looked at.",
        (Answer(200, "Open and refilled gaps.", GapLives),),
        (p.UNKNOWN_NAME, *READING),
        query=GapLivesQuery,
        asked={"limit": 20},
    ),
)
