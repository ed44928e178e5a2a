"""The series of documents: what they are, and which changes of them are safe.

All document numbers of an installation are one namespace: no two of them may read alike, whatever
series they are of. So a definition is never forgotten. One that was in force stays among the
``former`` ones, and a new one must not be able to write what any of them could have written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from coordinator.core.template_check import check
from coordinator.core.templates import Scope, SeriesFormat, Template, could_read_alike
from coordinator.core.tokens import BadTemplate, kind_of, one_of
from coordinator.core.unreadable import Unreadable, text, text_or_none, whole

SERIES_MAX = 300
"""Series and former definitions together."""

SERIES_BYTES_MAX = 4_096
BYTES_MAX = 600_000
"""A change sends the catalogue twice, as it was and as it is to be: etcd takes 1.5 MB at a time."""

KEYS_REMEMBERED = 300
"""Idempotency keys of the latest changes."""

TYPE_LENGTH_MAX = 20
MAX_VALUE_MAX = 10**15
RESERVATION_S_MAX = 7 * 86_400
METADATA_BYTES_MAX = 1_024
MONTHS = 12


class GapPolicy(StrEnum):
    """What becomes of a number that was cancelled or has expired."""

    REUSE = "reuse"
    """It is issued again, before any fresh one."""
    VOID = "void"
    """It is void for ever, with its reason."""


@dataclass(frozen=True, slots=True)
class Series:
    """The definition of one kind of document number. ``version`` counts its changes, from 1 on.

    One counter runs for each combination of values of its ``scopes``, from ``start`` to
    ``max_value``. ``tokens`` declares parts of the template: each has a name, and what its values
    are, a kind in words (``coordinator.core.tokens.kind_of``) or a list of all that there are.
    ``metadata`` is JSON text of the operator's own. A reservation lasts ``reservation_s`` seconds.
    """

    document_type: str
    template: str
    prefix: str
    scopes: tuple[Scope, ...] = ()
    start: int = 1
    max_value: int = 999_999
    gap_policy: GapPolicy = GapPolicy.VOID
    manual_override: bool = False
    reservation_s: int = 300
    time_zone: str = "UTC"
    fiscal_month: int = 1
    tokens: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    metadata: str | None = None
    version: int = 1

    @property
    def format(self) -> SeriesFormat:
        """Return how its numbers are written and read. Raises BadTemplate."""
        return _format_of(self)


@lru_cache(maxsize=2 * SERIES_MAX)
def _format_of(series: Series) -> SeriesFormat:
    declared = {
        name: kind_of(values) if isinstance(values, str) else one_of(values)
        for name, values in series.tokens
    }
    return SeriesFormat(
        Template.parse(series.template, declared),
        series.prefix,
        frozenset(series.scopes),
        series.start,
        series.max_value,
        series.fiscal_month,
    )


class Wrong(NamedTuple):
    """One field of a definition that is wrong, and a sentence that says how."""

    field: str
    message: str


class BadSeries(ValueError):
    """A definition that is refused, for these reasons."""

    def __init__(self, *wrong: Wrong) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in wrong))
        self.wrong = wrong


class Exists(Exception):
    """There is a series of this document type already."""


class UnknownSeries(Exception):
    """There is no series of this document type."""


class Outdated(Exception):
    """The series has another version than the one that was to be changed: the message names it."""


class Catalogue(NamedTuple):
    """All series. ``version`` counts the changes of all of them together.

    ``keys`` maps idempotency keys of the latest changes to the version that each has made.
    """

    version: int
    series: tuple[Series, ...]
    former: tuple[Series, ...] = ()
    keys: tuple[tuple[str, int], ...] = ()

    def of(self, document_type: str) -> Series:
        """Return the series of a document type. Raises UnknownSeries."""
        for series in self.series:
            if series.document_type == document_type:
                return series
        raise UnknownSeries(document_type)

    def changed_by(self, key: str) -> int:
        """Return the version that the change under this idempotency key has made; 0: none has."""
        return dict(self.keys).get(key, 0)

    def with_new(self, series: Series, key: str | None = None) -> "Catalogue":
        """Return the catalogue with one more series. Raises Exists or BadSeries."""
        if any(other.document_type == series.document_type for other in self.series):
            raise Exists(series.document_type)
        self.check(series)
        return self._next((*self.series, series), self.former, key)

    def with_changed(self, series: Series, key: str | None = None) -> "Catalogue":
        """Return the catalogue with another definition of a series; it names the version that it
        replaces. Raises UnknownSeries, Outdated or BadSeries.
        """
        before = self.of(series.document_type)
        if series.version != before.version:
            raise Outdated(str(before.version))
        self.check(series)
        former = self.former
        is_kept = any(
            other.format == before.format and other.document_type == before.document_type
            for other in former
        )
        if before.format != series.format and not is_kept:
            former = (*former, before)
        after = replace(series, version=before.version + 1)
        others = tuple(after if other is before else other for other in self.series)
        return self._next(others, former, key)

    def _next(
        self, series: tuple[Series, ...], former: tuple[Series, ...], key: str | None
    ) -> "Catalogue":
        if len(series) + len(former) > SERIES_MAX:
            full = f"there are {SERIES_MAX} definitions already, former ones included: no more fit"
            raise BadSeries(Wrong("document_type", full))
        version = self.version + 1
        keys = self.keys if key is None else (*self.keys, (key, version))[-KEYS_REMEMBERED:]
        in_order = tuple(sorted(series, key=lambda each: each.document_type))
        after = Catalogue(version, in_order, former, keys)
        if len(encode(after)) > BYTES_MAX:
            raise BadSeries(Wrong("document_type", "the catalogue is full: no definition fits in"))
        return after

    def check(self, series: Series) -> None:
        """Raise BadSeries for a definition that is wrong by itself, or beside the others."""
        wrong = list(_wrong_with(series))
        for other in self.series:
            alike = other.document_type.lower() == series.document_type.lower()
            if alike and other.document_type != series.document_type:
                said = f"there is {other.document_type} already; capitals make no other type"
                wrong.append(Wrong("document_type", said))
        if not wrong:
            wrong = list(self._alike(series))
        if wrong:
            raise BadSeries(*wrong)

    def _alike(self, series: Series) -> Iterator[Wrong]:
        for other in (*self.series, *self.former):
            same = other.document_type == series.document_type and other.scopes == series.scopes
            example = could_read_alike(other.format, series.format, same_series=same)
            if example is not None:
                whose = f"{other.document_type}, version {other.version}, {other.template}"
                said = f"{example!r} could be a number of {whose} too; change a fixed part of it"
                yield Wrong("template", said)
                return


def _wrong_with(series: Series) -> Iterator[Wrong]:
    """Yield what is wrong with a definition by itself."""
    if not re.fullmatch(f"(?!\\.+$)[A-Za-z0-9_.]{{1,{TYPE_LENGTH_MAX}}}", series.document_type):
        said = f"must be 1 to {TYPE_LENGTH_MAX} letters, digits, '_' or '.', not dots alone"
        yield Wrong("document_type", said)
    if len(orjson.dumps(series)) > SERIES_BYTES_MAX:
        yield Wrong("tokens", f"the definition takes more than {SERIES_BYTES_MAX} bytes of JSON")
        return
    if not 1 <= series.start <= series.max_value <= MAX_VALUE_MAX:
        said = f"from start to max_value numbers go up, from 1 at least to {MAX_VALUE_MAX} at most"
        yield Wrong("max_value", said)
        return
    if not 1 <= series.reservation_s <= RESERVATION_S_MAX:
        yield Wrong("reservation_s", f"must be 1 to {RESERVATION_S_MAX} seconds, a week")
    if len((series.metadata or "").encode()) > METADATA_BYTES_MAX:
        yield Wrong("metadata", f"must be at most {METADATA_BYTES_MAX} bytes of JSON")
    if not 1 <= series.fiscal_month <= MONTHS:
        yield Wrong("fiscal_month", "must be the number of a month, 1 to 12")
        return
    try:
        check(series.format)
    except BadTemplate as bad:
        yield Wrong("template", str(bad))


def encode(catalogue: Catalogue) -> bytes:
    """Return the catalogue's bytes for the store."""
    return orjson.dumps(catalogue._asdict())


def decode(content: bytes) -> Catalogue:
    """Return the catalogue that these bytes hold. Raises Unreadable when they hold none."""
    try:
        fields = orjson.loads(content)
        return Catalogue(
            whole(fields["version"]),
            tuple(map(decode_series, fields["series"])),
            tuple(map(decode_series, fields["former"])),
            tuple((text(key), whole(version)) for key, version in fields["keys"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as broken:
        raise Unreadable(f"the catalogue of series: {broken}") from broken


def decode_series(fields: dict[str, Any]) -> Series:
    """Return the definition in these fields. Raises ValueError, TypeError or KeyError."""
    scopes = tuple(Scope(text(scope)) for scope in fields.pop("scopes"))
    tokens = tuple(
        (text(name), text(values) if isinstance(values, str) else tuple(map(text, values)))
        for name, values in fields.pop("tokens")
    )
    policy = GapPolicy(text(fields.pop("gap_policy")))
    metadata, override = text_or_none(fields.pop("metadata")), fields.pop("manual_override")
    if type(override) is not bool:
        raise Unreadable(f"manual_override is {override!r}")
    return Series(
        text(fields.pop("document_type")),
        text(fields.pop("template")),
        text(fields.pop("prefix")),
        scopes,
        gap_policy=policy,
        manual_override=override,
        tokens=tokens,
        metadata=metadata,
        time_zone=text(fields.pop("time_zone")),
        **{name: whole(number) for name, number in fields.items()},
    )
