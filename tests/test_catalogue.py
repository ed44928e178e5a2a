"""Which series may be: each change is safe beside all that was ever defined."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core import catalogue as catalogues
from coordinator.core.catalogue import (
    KEYS_REMEMBERED,
    SERIES_MAX,
    BadSeries,
    Catalogue,
    Exists,
    GapPolicy,
    Outdated,
    Series,
    UnknownSeries,
)
from coordinator.core.documents import counter_of, given_by, place_of, values_of
from coordinator.core.starter import STARTER
from coordinator.core.templates import BadValue, Scope, could_read_alike, render
from coordinator.core.unreadable import Unreadable

EMPTY = Catalogue(0, ())
NCR = Series("NCR", "{PREFIX}-{YYYY}-{SEQ:5}", "NCR", (Scope.YEARLY,))


def refused(series: Series, before: Catalogue = EMPTY) -> dict[str, str]:
    with pytest.raises(BadSeries) as bad:
        before.with_new(series)
    return dict(bad.value.wrong)


def test_the_starter_set_is_legal_and_no_two_of_it_read_alike() -> None:
    built = EMPTY
    for series in STARTER.series:
        built = built.with_new(series)
    assert built.series == STARTER.series
    reused = [s.document_type for s in built.series if s.gap_policy is GapPolicy.REUSE]
    assert reused == ["invoice"]
    assert {series.reservation_s for series in built.series} == {300}


def test_a_correspondence_reads_as_the_older_system_wrote_it() -> None:
    series = STARTER.of("COR")
    values = values_of(series, {}, 2026, 3)
    assert counter_of(series, values) == "documents/COR/yearly=2026"
    assert render(series.format, values, 42) == "COR-2026-00042"


def test_a_series_is_defined_once_and_changed_from_the_version_that_was_seen() -> None:
    first = EMPTY.with_new(NCR, "k1")
    with pytest.raises(Exists):
        first.with_new(NCR)
    second = first.with_changed(replace(NCR, max_value=99_999), "k2")
    assert (second.version, second.of("NCR").version, second.of("NCR").max_value) == (2, 2, 99_999)
    assert (second.changed_by("k1"), second.changed_by("k2"), second.changed_by("k3")) == (1, 2, 0)
    with pytest.raises(Outdated, match="2"):
        second.with_changed(replace(NCR, max_value=5))
    with pytest.raises(UnknownSeries):
        second.with_changed(replace(NCR, document_type="ABC"))
    assert first.of("NCR").max_value == 999_999, "a catalogue never changes"


WRONG = {
    "no type": ({"document_type": ""}, "document_type", "1 to 20 letters"),
    "a type no address can name": ({"document_type": ".."}, "document_type", "not dots alone"),
    "a slash in the type": ({"document_type": "A/B"}, "document_type", "1 to 20 letters"),
    "start at 0": ({"start": 0}, "max_value", "numbers go up"),
    "start above the end": ({"start": 9, "max_value": 8}, "max_value", "numbers go up"),
    "beyond all numbers": ({"max_value": 10**16}, "max_value", "at most"),
    "no time to confirm": ({"reservation_s": 0}, "reservation_s", "1 to 604800 seconds"),
    "held for a year": ({"reservation_s": 31_536_000}, "reservation_s", "a week"),
    "no month": ({"fiscal_month": 13}, "fiscal_month", "1 to 12"),
    "much metadata": ({"metadata": f'"{"x" * 2_000}"'}, "metadata", "at most 1024 bytes"),
    "unknown token": ({"template": "{PREFIX}-{YEAR}-{SEQ:5}"}, "template", "{YEAR}"),
    "no number": ({"template": "{PREFIX}-{YYYY}-12345"}, "template", "{SEQ:n}"),
    "two numbers": ({"template": "{YYYY}-{SEQ:5}-{SEQ:5}"}, "template", "second"),
    "scope not shown": ({"scopes": (Scope.PROJECT,)}, "template", "{PROJECT}"),
    "too short": ({"template": "{SEQ:1}", "scopes": ()}, "template", "10 at least"),
    "bad kind": ({"tokens": (("DISCIPLINE", "WORDS"),)}, "template", "no kind of token"),
}


@pytest.mark.parametrize(("other", "field", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_definition_is_refused_by_its_field(
    other: dict[str, Any], field: str, said: str
) -> None:
    wrong = refused(replace(NCR, **other))
    assert said in wrong[field], wrong


def test_what_could_read_alike_is_refused_with_an_example() -> None:
    one = EMPTY.with_new(NCR)
    other = replace(NCR, document_type="NCX", template="NCR-{YYYY}-{SEQ:5}")
    said = refused(other, one)["template"]
    assert "NCR-" in said
    assert "could be a number of NCR" in said


def test_former_definitions_are_not_forgotten() -> None:
    changed = EMPTY.with_new(NCR).with_changed(replace(NCR, prefix="NC"))
    back = replace(NCR, document_type="OLD", template="NCR-{YYYY}-{SEQ:5}")
    assert "NCR, version 1" in refused(back, changed)["template"]
    # The same series may have its own former template back: its numbers stay the same numbers.
    again = changed.with_changed(replace(NCR, version=2))
    assert again.of("NCR").prefix == "NCR"


def test_a_change_that_keeps_the_format_makes_no_former_definition() -> None:
    changed = EMPTY.with_new(NCR).with_changed(replace(NCR, reservation_s=600))
    assert changed.former == ()


def test_other_scopes_need_another_text() -> None:
    """The new counters begin anew, and would write the numbers of the old ones again."""
    before = EMPTY.with_new(NCR)
    wrong = replace(NCR, scopes=())
    with pytest.raises(BadSeries, match="could be a number of NCR"):
        before.with_changed(wrong)
    before.with_changed(replace(wrong, prefix="NCRX"))


def test_there_is_an_end_to_definitions() -> None:
    many = tuple(replace(NCR, document_type=f"T{n}", prefix=f"T{n}") for n in range(SERIES_MAX))
    with pytest.raises(BadSeries, match="no more fit"):
        Catalogue(1, many).with_new(replace(NCR, template="X" + NCR.template))


def test_keys_of_the_latest_changes_are_remembered() -> None:
    catalogue = EMPTY.with_new(NCR, "first")
    for n in range(KEYS_REMEMBERED):
        series = catalogue.of("NCR")
        catalogue = catalogue.with_changed(replace(series, reservation_s=1 + n), f"k{n}")
    assert (catalogue.changed_by("first"), catalogue.changed_by("k0")) == (0, 2)


def test_a_catalogue_comes_back_from_its_bytes() -> None:
    rich = replace(
        *(NCR,),
        metadata='{"owner":"QA"}',
        tokens=(("DISCIPLINE", "LETTERS:2"), ("SITE", ("site-1", "site-2"))),
        manual_override=True,
        gap_policy=GapPolicy.REUSE,
    )
    catalogue = STARTER.with_new(rich, "k").with_changed(replace(rich, prefix="NCS"), None)
    assert catalogues.decode(catalogues.encode(catalogue)) == catalogue


@given(st.binary())
def test_what_is_no_catalogue_is_called_so(content: bytes) -> None:
    with pytest.raises(Unreadable):
        catalogues.decode(content)


# --- a document's counter and values -------------------------------------------------------------

RFA = STARTER.of("RFA")


def test_counters_are_told_apart_by_the_values_of_the_scopes() -> None:
    def counter(project: str, year: int, month: int) -> str:
        return counter_of(RFA, values_of(RFA, {"PROJECT": project}, year, month))

    assert (
        counter("LCBP3", 2026, 1)
        == counter("LCBP3", 2026, 12)
        == "documents/RFA/project=LCBP3/yearly=2026"
    )
    assert counter("LCBP3", 2025, 12) == "documents/RFA/project=LCBP3/yearly=2025"
    monthly = replace(RFA, scopes=(Scope.MONTHLY,), template="{PREFIX}-{YYYY}{MM}-{SEQ:5}")
    assert counter_of(monthly, values_of(monthly, {}, 2026, 3)) == "documents/RFA/monthly=2026-03"
    fiscal = replace(
        *(RFA,), scopes=(Scope.FISCAL,), template="{PREFIX}-{FY}-{SEQ:5}", fiscal_month=10
    )
    assert counter_of(fiscal, values_of(fiscal, {}, 2025, 10)) == "documents/RFA/fiscal=2026"
    assert counter_of(fiscal, values_of(fiscal, {}, 2025, 9)) == "documents/RFA/fiscal=2025"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a value for PROJECT"),
        ({"PROJECT": "LCBP3", "SITE": "site-1"}, "has no SITE: it takes PROJECT"),
        ({"PROJECT": "LC-BP3"}, "cannot be 'LC-BP3'"),
        ({"PROJECT": "LCBP3", "YYYY": "2020"}, "comes from the issue date"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        values_of(RFA, given, 2026, 1)


def test_the_value_of_the_only_scope_needs_no_name() -> None:
    assert given_by(RFA, "LCBP3", {}) == given_by(RFA, None, {"project": "LCBP3"})
    with pytest.raises(BadValue, match="one scope"):
        given_by(STARTER.of("COR"), "LCBP3", {})
    with pytest.raises(BadValue, match="twice"):
        given_by(RFA, None, {"project": "a", "PROJECT": "b"})


@given(st.permutations(STARTER.series))
def test_no_two_starter_series_read_alike_in_any_order(some: list[Series]) -> None:
    one, other, *_ = some
    assert could_read_alike(one.format, other.format) is None


def test_counters_of_other_values_or_other_scopes_have_other_names() -> None:
    series = Series(
        *("SL", "{SITE}:{PROJECT}:{SEQ:6}", "SL", (Scope.SITE, Scope.PROJECT)),
        tokens=(("SITE", ("a", "a/b")), ("PROJECT", ("c", "b/c"))),
    )
    EMPTY.with_new(series)
    places = [{"SITE": site, "PROJECT": p} for site in ("a", "a/b") for p in ("c", "b/c")]
    names = {counter_of(series, values_of(series, place, 2026, 1)) for place in places}
    assert len(names) == 4
    for scope, template in ((Scope.YEARLY, "A{YYYY}-{SEQ:5}"), (Scope.FISCAL, "B{FY}-{SEQ:5}")):
        one = replace(NCR, scopes=(scope,), template=template)
        names.add(counter_of(one, values_of(one, {}, 2026, 1)))
    assert len(names) == 6
    assert all(name.startswith("documents/") for name in names)


def test_a_token_that_comes_twice_and_one_that_is_longer_read_alike() -> None:
    twice = replace(
        NCR,
        template="{PROJECT}{PROJECT}-{SEQ:6}",
        scopes=(Scope.PROJECT,),
        tokens=(("PROJECT", "DIGITS:2"),),
    )
    before = EMPTY.with_new(twice)
    once = replace(twice, template="{PROJECT}-{SEQ:6}", tokens=(("PROJECT", "DIGITS:4"),))
    with pytest.raises(BadSeries, match="could be a number of NCR, version 1"):
        before.with_changed(once)


def test_a_template_that_comes_back_takes_no_further_place() -> None:
    catalogue = EMPTY.with_new(NCR)
    for n in range(6):
        series = replace(catalogue.of("NCR"), prefix=("NCX", "NCR")[n % 2])
        catalogue = catalogue.with_changed(series)
    assert [each.prefix for each in catalogue.former] == ["NCR", "NCX"]


def test_capitals_make_no_other_type_and_large_definitions_are_refused() -> None:
    other = replace(NCR, document_type="Ncr", prefix="X")
    assert "NCR already" in refused(other, EMPTY.with_new(NCR))["document_type"]
    many = (("PROJECT", tuple(f"P{n}" for n in range(900))),)
    assert "more than 4096 bytes" in refused(replace(NCR, tokens=many))["tokens"]


def test_a_document_number_is_found_among_all_definitions_that_ever_were() -> None:
    changed = replace(STARTER.of("COR"), template="CORR-{YYYY}-{SEQ:5}")
    catalogue = STARTER.with_changed(changed)
    for text, template in (
        ("CORR-2026-00007", changed.template),
        ("COR-2026-00007", STARTER.of("COR").template),
    ):
        place = place_of(catalogue, text)
        assert place is not None
        assert (place.counter, place.number) == ("documents/COR/yearly=2026", 7)
        assert (place.series.template, place.values["YYYY"]) == (template, "2026")
    assert place_of(catalogue, "CORRR-2026-00007") is None
