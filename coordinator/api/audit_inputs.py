"""What callers may ask of the audit: which records, which number, which entry, whose gaps."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from coordinator.api.inputs import (
    NUMBER_MAX,
    CounterName,
    Name,
    Operation,
    Query,
    Text,
    Token,
    WhichQuery,
    Whole,
)
from coordinator.api.wording import CURSOR

CSV_RECORDS_MAX = 100_000
USER_MAX = 100
CursorText = Annotated[str, StringConstraints(pattern=CURSOR)]
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _moment(value: object, days: int) -> object:
    if not isinstance(value, str):
        return value
    try:
        if _DAY.fullmatch(value):
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC) + timedelta(days)
        else:
            moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        message = "must be like 2026-01-31T09:30:00Z, with its zone (+ is written %2B), or a day"
        raise ValueError(message) from None


def _begins(value: object) -> object:
    return _moment(value, 0)


def _ends(value: object) -> object:
    return _moment(value, 1)


class SearchQuery(WhichQuery):
    """Which audit records are wanted. A moment is RFC 3339 with its zone, or a day in UTC:
    ``from`` it on, ``to`` before it; a day is in both of them.
    """

    number: Annotated[Whole, Field(ge=1, le=NUMBER_MAX)] | None = None
    documentNumber: Text | None = None
    cursor: CursorText | None = None
    siteId: Name | None = None
    partitionId: Name | None = None
    invoiceType: Name | None = None
    operationType: Operation | None = None
    requestId: Token | None = None
    user: Annotated[Text, StringConstraints(max_length=USER_MAX)] | None = None
    from_ms: Annotated[
        int | None, BeforeValidator(_begins, json_schema_input_type=str), Field(alias="from")
    ] = None
    to_ms: Annotated[
        int | None, BeforeValidator(_ends, json_schema_input_type=str), Field(alias="to")
    ] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        places = (self.number, self.counter or self.documentType)
        if self.documentNumber is not None and any(places):
            raise ValueError("documentNumber: says its counter and number itself; leave them out")
        if self.from_ms is not None and self.to_ms is not None and self.from_ms >= self.to_ms:
            raise ValueError("from: must be before to")
        return self


class AuditQuery(SearchQuery):
    """``GET /api/v1/sequence/audit``."""

    limit: Annotated[Whole, Field(ge=1, le=1_000)] = 100


class AuditCsvQuery(SearchQuery):
    """``GET /api/v1/sequence/audit.csv``."""

    limit: Annotated[Whole, Field(ge=1, le=CSV_RECORDS_MAX)] = CSV_RECORDS_MAX


class EntryQuery(Query):
    """``GET /api/v1/sequence/entries/{index}``: of which counter, where there are several."""

    index: Annotated[Whole, Field(ge=1, le=NUMBER_MAX)]
    counter: CounterName | None = None


class GapLivesQuery(WhichQuery):
    """``GET /api/v1/sequence/gaps/life``: the beginnings of both lists, or more of one of them."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 20
    open: CursorText | None = None
    refilled: CursorText | None = None

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.open is not None and self.refilled is not None:
            raise ValueError("open and refilled: go on with one of them at a time")
        return self


class LifeQuery(WhichQuery):
    """``GET /api/v1/sequence/audit/{number}``: whose number, where several counters have it."""

    siteId: Name | None = None
    partitionId: Name | None = None


class NumberPath(Query):
    """``GET /api/v1/sequence/audit/{number}``."""

    number: Annotated[Whole, Field(ge=1, le=NUMBER_MAX)]
