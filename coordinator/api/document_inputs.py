"""What callers may send about series of documents, in the names of the older system."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from coordinator.api.inputs import CounterName, Input, Query, Text, Token, Whole
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.templates import Scope
from coordinator.import_files.values import shallow

Word = Annotated[str, StringConstraints(max_length=200)]
"""Judged by the catalogue, whose reasons are better than a pattern's."""

Words = dict[Word, Word]
Tokens = Annotated[dict[Word, Word | list[Word]], Field(max_length=12)]
ScopeName = Literal[
    "GLOBAL", "SITE", "PARTITION", "PROJECT", "CONTRACT", "YEARLY", "MONTHLY", "FISCAL"
]
Scopes = Annotated[list[ScopeName], Field(max_length=8)] | ScopeName
Listed = Mapping[str, tuple[str, ...]]
"""Values of tokens that the installation knows, such as its sites. A series that shows such a token
takes these values, unless it declares others."""

TRIED_OUT = "TRY"
"""The document type of a template that is only tried out."""


class _Format(Input):
    """How a series counts and writes."""

    prefix: Word | None = None
    scopes: Scopes = "GLOBAL"
    start: int = 1
    max_value: int = 999_999
    time_zone: Word = "UTC"
    fiscal_month: int = 1
    tokens: Tokens = Field(default_factory=dict)

    @field_validator("scopes")
    @classmethod
    def _global_stands_alone(cls, scopes: list[str] | str) -> list[str] | str:
        if "GLOBAL" in scopes and not isinstance(scopes, str) and len(scopes) > 1:
            raise ValueError("GLOBAL is no scope beside others: leave it out")
        return scopes

    def formatted(self, document_type: str, template: str, listed: Listed) -> Series:
        """Return a series that counts and writes like this; nothing of it is judged yet."""
        tokens: dict[str, str | tuple[str, ...]] = {
            name: values for name, values in listed.items() if f"{{{name}}}" in template
        }
        for name, given in self.tokens.items():
            tokens[name] = given if isinstance(given, str) else tuple(sorted(set(given)))
        names = [self.scopes] if isinstance(self.scopes, str) else self.scopes
        return Series(
            document_type=document_type,
            template=template,
            prefix=document_type if self.prefix is None else self.prefix,
            scopes=tuple(scope for scope in Scope if scope.value in names),
            start=self.start,
            max_value=self.max_value,
            time_zone=self.time_zone,
            fiscal_month=self.fiscal_month,
            tokens=tuple(tokens.items()),
        )


class _Definition(_Format):
    """A whole definition, and why it is made."""

    template: Word
    gap_policy: Literal["reuse", "void"] = "void"
    allow_manual_override: bool = False
    reservation_s: int = 300
    metadata: Annotated[dict[str, Any], AfterValidator(shallow)] | None = None
    reason: Text
    requestId: Token | None = None

    def defined(self, document_type: str, version: int, listed: Listed) -> Series:
        """Return what is asked for; nothing of it is judged yet."""
        metadata = None if self.metadata is None else orjson.dumps(self.metadata).decode()
        return replace(
            self.formatted(document_type, self.template, listed),
            gap_policy=GapPolicy(self.gap_policy),
            manual_override=self.allow_manual_override,
            reservation_s=self.reservation_s,
            metadata=metadata,
            version=version,
        )


class NewSeries(_Definition):
    """``POST …/templates``."""

    document_type: Word


class ChangedSeries(_Definition):
    """``PUT …/templates/{document_type}``: all of the definition, as it shall be instead of this
    version.
    """

    version: Annotated[int, Field(ge=1)]


class HistoryQuery(Query):
    """``GET …/templates/{document_type}``."""

    limit: Annotated[Whole, Field(ge=1, le=1_000)] = 100


class SequencesQuery(Query):
    """``GET …/sequences``: counters of documents, after the one that ``cursor`` names."""

    document_type: Word | None = None
    cursor: CounterName | None = None
    limit: Annotated[Whole, Field(ge=1, le=200)] = 50


class ReservationsQuery(Query):
    """``GET …/reservations``."""

    document_type: Word | None = None
    cursor: CounterName | None = None
    limit: Annotated[Whole, Field(ge=1, le=500)] = 100


class ReserveBody(Input):
    """``POST …/reserve``."""

    document_type: Word
    scope_value: Word | None = None
    scope: Words = Field(default_factory=dict)
    issue_date: Word | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(shallow)] | None = None
    requestId: Token | None = None


class ConfirmBody(Input):
    """``POST …/confirm``."""

    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,400}$")]
    requestId: Token | None = None


class CancelBody(ConfirmBody):
    """``POST …/cancel``."""

    reason: Text = "cancelled"


class PreviewBody(_Format):
    """``POST …/preview``: of a series as it is defined, or of a template that is only tried out.

    ``scope`` gives values for the template's tokens; ``scope_value`` that of the only scope.
    """

    document_type: Word | None = None
    template: Word | None = None
    scope: Words = Field(default_factory=dict)
    scope_value: Word | None = None
    issue_date: Word | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        beside = self.model_fields_set & set(_Format.model_fields)
        if self.template is None and beside:
            only = ", ".join(sorted(beside))
            raise ValueError(f"{only}: only with a template that is tried out")
        return self
