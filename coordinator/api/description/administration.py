"""The calls of operators: series, their counters, and what is decided about single numbers."""

from coordinator.api import problems as p
from coordinator.api.description.call import CHANGING, READING, USER, Answer, Body, Call, Tag
from coordinator.api.description.document_answers import (
    Accepted,
    Adjusted,
    ClosedCount,
    CounterList,
    Named,
    SeriesHistory,
    SeriesList,
    SeriesShown,
    VoidAnswer,
)
from coordinator.api.document_inputs import ChangedSeries, HistoryQuery, NewSeries, SequencesQuery
from coordinator.api.inputs import AcceptBody, NothingQuery
from coordinator.api.operator_inputs import AdjustBody, CloseBody, OverrideBody, VoidBody

ROOT = "/api/v1/admin/document-numbering"
_NEW = {
    "document_type": "MEM",
    "template": "{PREFIX}-{YYYY}-{SEQ:5}",
    "scopes": ["YEARLY"],
    "allow_manual_override": True,
    "reason": "memoranda",
}
_CHANGED = {
    "version": 1,
    "template": "{PREFIX}-{YYYY}-{SEQ:5}",
    "scopes": ["YEARLY"],
    "allow_manual_override": True,
    "reservation_s": 900,
    "reason": "writers need a quarter of an hour",
}

CALLS = (
    Call(
        Tag.ADMINISTRATION,
        "templates",
        "GET",
        f"{ROOT}/templates",
        "All series",
        "Every kind of document number as it is defined now.",
        (Answer(200, "The series.", SeriesList, in_data=True),),
        READING,
        query=NothingQuery,
    ),
    Call(
        Tag.ADMINISTRATION,
        "createTemplate",
        "POST",
        f"{ROOT}/templates",
        "Define a series",
        "The template has `{SEQ:n}` exactly once, and any of `{PREFIX} {SITE} {PARTITION} "
        "{PROJECT} {CONTRACT} {YYYY} {YY} {MM} {FY}` or tokens that the series declares. A "
        "definition that could write a number which another series writes, now or formerly, is "
        "refused with an example.",
        (Answer(201, "The series as it is stored.", SeriesShown, in_data=True),),
        (p.BAD_SERIES, p.SERIES_EXISTS, *CHANGING),
        bodies=(Body(NewSeries, _NEW),),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "template",
        "GET",
        f"{ROOT}/templates/{{document_type}}",
        "One series and its changes",
        "The definition, and each change of it, newest first: who, when and why.",
        (Answer(200, "The series.", SeriesHistory, in_data=True),),
        (p.UNKNOWN_NAME, *READING),
        query=HistoryQuery,
        in_path={"document_type": str},
        asked={"document_type": "RFA"},
    ),
    Call(
        Tag.ADMINISTRATION,
        "changeTemplate",
        "PUT",
        f"{ROOT}/templates/{{document_type}}",
        "Change a series",
        "All of the definition as it shall be, in place of the version that you have read. Numbers "
        "that it has written stay as they are; all nodes know the change within a second.",
        (Answer(200, "The series as it is stored.", SeriesShown, in_data=True),),
        (p.UNKNOWN_NAME, p.BAD_SERIES, p.SERIES_CHANGED, *CHANGING),
        in_path={"document_type": str},
        bodies=(Body(ChangedSeries, _CHANGED),),
        asked={"document_type": "MEM"},
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "sequences",
        "GET",
        f"{ROOT}/sequences",
        "Counters: how full, how fast, until when",
        "Counters of documents that have given out a number, by name, with a forecast from the "
        "last 30 days.",
        (Answer(200, "A page of the counters.", CounterList, in_data=True),),
        (p.UNKNOWN_NAME, *READING),
        query=SequencesQuery,
        asked={"document_type": "RFA"},
    ),
    Call(
        Tag.ADMINISTRATION,
        "adjust",
        "POST",
        f"{ROOT}/sequences/adjust",
        "Let a count go on with a higher number",
        "Numbers that are passed over are void for ever, so more than 1,000 of them take "
        "`pass_over_max`. Give one of `next_value`, `current_value` and `new_value`.",
        (Answer(200, "The count goes on with `next_value`.", Adjusted, in_data=True),),
        (
            *(p.UNKNOWN_NAME, p.BAD_FORMAT, p.NOT_AHEAD, p.FAR_AHEAD, p.EXHAUSTED, p.CLOSED),
            *CHANGING,
        ),
        bodies=(
            Body(
                AdjustBody,
                {
                    "document_type": "MEM",
                    "issue_date": "2026-01-31",
                    "next_value": 100,
                    "reason": "taken over from the old system",
                },
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "close",
        "POST",
        f"{ROOT}/sequences/close",
        "Close a count for good",
        "No number goes out or comes back any more; the answer tells what its numbers came to. "
        "Reservations must have ended before. A count by year or month is named by `issue_date`, "
        "any day of it.",
        (Answer(200, "The count is closed.", ClosedCount, in_data=True),),
        (
            *(p.UNKNOWN_NAME, p.BAD_FORMAT, p.ENDLESS, p.CLOSED, p.OPEN_RESERVATIONS),
            *CHANGING,
        ),
        bodies=(
            Body(
                CloseBody,
                {
                    "document_type": "MEM",
                    "issue_date": "2025-12-31",
                    "reason": "the books are closed",
                },
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "override",
        "POST",
        f"{ROOT}/manual-override",
        "Give out a number that you name",
        "It must read like one of its series, which must allow it, and lie ahead of the count; "
        "what it passes over is void. `skip_validation` is taken from older clients, and not "
        "obeyed.",
        (Answer(201, "The number is issued.", Named, in_data=True),),
        (
            *(p.UNKNOWN_NAME, p.DUPLICATE, p.BAD_FORMAT, p.NO_OVERRIDE, p.FAR_AHEAD),
            *(p.EXHAUSTED, p.CLOSED),
            *CHANGING,
        ),
        bodies=(
            Body(
                OverrideBody,
                {
                    "document_type": "MEM",
                    "document_number": "MEM-2026-00200",
                    "reason": "printed on the letter already",
                },
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "voidAndReplace",
        "POST",
        f"{ROOT}/void-and-replace",
        "Void a number, and replace it",
        "The number is never issued again; the next one of its count takes its place, in the same "
        "commit, and each names the other. `replace: false` voids it alone.",
        (Answer(200, "The void number and the one in its place.", VoidAnswer),),
        (
            *(p.NEVER_ISSUED, p.ALREADY_FREE, p.HELD, p.OTHER_TEXT, p.TRIMMED, p.BAD_FORMAT),
            *(p.EXHAUSTED, p.CLOSED, p.UNKNOWN_NAME),
            *CHANGING,
        ),
        bodies=(
            Body(
                VoidBody,
                {
                    "document_number": "MEM-2026-00200",
                    "reason": "the customer was another one",
                },
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.ADMINISTRATION,
        "acceptRewind",
        "POST",
        "/api/v1/admin/accept-rewind",
        "Accept that the store went back",
        "For a node that refuses a restored backup because it has seen more: find out which "
        "invoices carry the lost numbers, then accept the loss by its hash, which `rewinds` of "
        "`/api/v1/cluster` has. The ledger notes who did it and why. Each node that refuses needs "
        "this once.",
        (Answer(200, "This node serves again.", Accepted),),
        (p.NOTHING_LOST, *CHANGING),
        bodies=(
            Body(
                AcceptBody,
                {"lostHash": "0123456789abcdef", "reason": "restored the backup of Monday"},
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
)
