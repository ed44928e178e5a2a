"""The calls about document numbers."""

from coordinator.api import problems as p
from coordinator.api.description.call import CHANGING, READING, USER, Answer, Body, Call, Tag
from coordinator.api.description.document_answers import (
    Cancelled,
    Confirmed,
    NumberShown,
    OpenReservations,
    Preview,
    Reserved,
)
from coordinator.api.document_inputs import (
    CancelBody,
    ConfirmBody,
    PreviewBody,
    ReservationsQuery,
    ReserveBody,
)
from coordinator.api.inputs import NothingQuery

ROOT = "/api/v1/document-numbering"
TOKEN = "the-token-of-the-reservation"  # noqa: S105 - an example, and no password

CALLS = (
    Call(
        Tag.DOCUMENTS,
        "reserve",
        "POST",
        f"{ROOT}/reserve",
        "Reserve the next number",
        "Keeps the next number for who has the token, until `expires_at`. Confirm or cancel it "
        "before. What is not confirmed in time is void, or free again: as its series says. Which "
        "count it is of follows from the document type, the scope and the issue date, in the time "
        "zone of the series; without `issue_date` the document is of now.",
        (Answer(201, "The number and the token.", Reserved, in_data=True),),
        (p.UNKNOWN_NAME, p.BAD_FORMAT, p.EXHAUSTED, p.CLOSED, *CHANGING),
        bodies=(
            Body(
                ReserveBody,
                {"document_type": "RFA", "scope_value": "LCBP3", "issue_date": "2026-01-31"},
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.DOCUMENTS,
        "confirm",
        "POST",
        f"{ROOT}/confirm",
        "Confirm a reservation",
        "The number is its caller's for good. Confirming twice answers the same.",
        (Answer(200, "The number is confirmed.", Confirmed, in_data=True),),
        (p.UNKNOWN_NAME, p.NO_RESERVATION, *CHANGING),
        bodies=(Body(ConfirmBody, {"token": TOKEN}),),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.DOCUMENTS,
        "cancel",
        "POST",
        f"{ROOT}/cancel",
        "Cancel a reservation",
        "The number is void, or free again: as its series says. Cancelling twice answers the same; "
        "one that is confirmed can be voided only.",
        (Answer(200, "How the reservation ended.", Cancelled),),
        (p.UNKNOWN_NAME, p.NO_RESERVATION, p.CONFIRMED, *CHANGING),
        bodies=(Body(CancelBody, {"token": TOKEN, "reason": "written twice"}),),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.DOCUMENTS,
        "preview",
        "POST",
        f"{ROOT}/preview",
        "See how the next numbers would read",
        "Of a series as it is, or of a `template` that is only tried out, with all that a new "
        "series may say. Nothing is allocated, and nothing is stored.",
        (Answer(200, "The next three numbers.", Preview, in_data=True),),
        (p.UNKNOWN_NAME, p.BAD_FORMAT, p.BAD_SERIES, p.OTHER_SITE, *READING),
        bodies=(
            Body(
                PreviewBody,
                {"document_type": "RFA", "scope_value": "LCBP3", "issue_date": "2026-01-31"},
            ),
        ),
    ),
    Call(
        Tag.DOCUMENTS,
        "number",
        "GET",
        f"{ROOT}/numbers/{{document_number}}",
        "One number: its state, history and replacements",
        "What the number is now, what replaced it or was replaced by it (the whole chain), and "
        "everything that ever happened to it. Slashes in a number may be sent as `%2F` or as they "
        "are.",
        (Answer(200, "The number.", NumberShown, in_data=True),),
        (p.NEVER_ISSUED, p.TRIMMED, *READING),
        query=NothingQuery,
        in_path={"document_number": str},
        asked={"document_number": "RFA-LCBP3-2026-00001"},
    ),
    Call(
        Tag.DOCUMENTS,
        "reservations",
        "GET",
        f"{ROOT}/reservations",
        "Open reservations",
        "The soonest deadline first, without their tokens: who has the token may settle one, and "
        "nobody else. The 10,000 first found at most; `all_seen` says whether there are more.",
        (Answer(200, "A page of them.", OpenReservations, in_data=True),),
        (p.UNKNOWN_NAME, *READING),
        query=ReservationsQuery,
        asked={"document_type": "RFA"},
    ),
)
