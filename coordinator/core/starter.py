"""The series that an installation has before anybody defines one."""

from coordinator.core.catalogue import MAX_VALUE_MAX, Catalogue, GapPolicy, Series
from coordinator.core.documents import INVOICE
from coordinator.core.templates import Scope

_BY_YEAR = "{PREFIX}-{YYYY}-{SEQ:5}"
_BY_PROJECT = "{PREFIX}-{PROJECT}-{YYYY}-{SEQ:5}"

STARTER = Catalogue(
    version=0,
    series=(
        Series("COR", _BY_YEAR, "COR", (Scope.YEARLY,)),
        Series(
            "DRW",
            "{PREFIX}-{PROJECT}-{CONTRACT}-{SEQ:6}",
            "DRW",
            (Scope.PROJECT, Scope.CONTRACT),
            tokens=(("PROJECT", "TEXT:16"), ("CONTRACT", "TEXT:16")),
        ),
        Series("RFA", _BY_PROJECT, "RFA", (Scope.PROJECT, Scope.YEARLY)),
        Series("TRN", _BY_PROJECT, "TRN", (Scope.PROJECT, Scope.YEARLY)),
        Series(
            INVOICE,
            "{PREFIX}-{SEQ:8}",
            "INV",
            max_value=MAX_VALUE_MAX,
            gap_policy=GapPolicy.REUSE,
        ),
    ),
)
"""Correspondence by year, as the clients of the older system expect it; requests for approval and
transmittals by project and year; drawings by project and contract, for as long as these last.
Invoices are those of the sequence API, without gaps: a number that is not confirmed goes to the
next caller."""
