"""Tiny series of which every number is written down: what reads alike is what must be found.

They are written by a deliberately simple model: it puts values in the places of tokens, for all
values, dates and numbers there are.
"""

import itertools
from collections import Counter, defaultdict
from typing import NamedTuple
from unittest.mock import patch

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from coordinator.core import template_check
from coordinator.core.periods import period_values
from coordinator.core.template_check import check
from coordinator.core.templates import (
    PERIOD_OF,
    Extracted,
    Scope,
    SeriesFormat,
    Template,
    could_read_alike,
    extract,
    matches,
    render,
)
from coordinator.core.tokens import TEXT, BadTemplate, Chars, Kind, OneOf, kind_of

KINDS = [
    Chars("1", 1, 2),
    Chars("1_", 1, 2),
    Chars("12", 1, 1),
    Chars("0A", 2, 2),
    OneOf(("-", "1", "1-1", "A")),
    OneOf(("-1", "1", "11", "1_")),
]
DATES = list(itertools.product((2025, 2026, 2027), range(1, 13)))


class Says(NamedTuple):
    """What a text says: the counter, the number, and the values that it shows."""

    counter: tuple[object, ...]
    number: int
    shown: tuple[tuple[str, str], ...]


def ends_in(year: int, month: int, first: int) -> int:
    """The calendar year of the last month of a fiscal year, by counting months."""
    begins = (year * 12 + month - first) // 12 * 12 + first - 1
    return (begins + 11) // 12


def values_of(kind: Kind) -> list[str]:
    if isinstance(kind, OneOf):
        return list(kind.values)
    lengths = range(kind.shortest, kind.longest + 1)
    return ["".join(c) for n in lengths for c in itertools.product(kind.alphabet, repeat=n)]


def all_numbers(series: SeriesFormat, kinds: dict[str, Kind]) -> dict[str, set[Says]]:
    """Write every number of a series, in the simplest way."""
    written = defaultdict(set)
    text, seq = series.template.text.replace("{PREFIX}", series.prefix), ""
    for part in series.template.parts:
        seq = part.written if part.name == "SEQ" else seq
    with_dates = set(series.tokens) & {"YYYY", "MM", "FY"} or series.scopes & {*PERIOD_OF}
    for year, month in DATES if with_dates else DATES[:1]:
        fiscal = ends_in(year, month, series.fiscal_month)
        shown = {"YYYY": str(year), "MM": str(month).zfill(2), "FY": str(fiscal)}
        period = {Scope.YEARLY: year, Scope.MONTHLY: (year, month), Scope.FISCAL: fiscal}
        for chosen in itertools.product(*map(values_of, kinds.values())):
            values = shown | dict(zip(kinds, chosen, strict=True))
            said = tuple((name, values[name]) for name in sorted(series.tokens))
            counter = tuple(period.get(s) or values.get(s) for s in sorted(series.scopes))
            unnumbered = text
            for name, value in values.items():
                unnumbered = unnumbered.replace(f"{{{name}}}", value)
            for number in range(1, series.max_value + 1):
                digits = str(number).zfill(int(seq[5:-1]))
                written[unnumbered.replace(seq, digits)].add(Says(counter, number, said))
    return written


literals = st.just("") | st.sampled_from(["1", "_", "-", "A", "0", "/"])
places = st.sampled_from(["{PROJECT}", "{PROJECT}", "{SITE}", "{PREFIX}"])
PAIRS = [("{PROJECT}", "{SITE}"), ("{PROJECT}", "{PREFIX}"), ("{PROJECT}", "{PROJECT}")]
periods = st.sampled_from(["{YYYY}", "{MM}", "{FY}", "{FY}-{MM}", "{YYYY}{MM}"])


class Tiny(NamedTuple):
    series: SeriesFormat
    kinds: dict[str, Kind]

    @property
    def exact(self) -> bool:
        """Whether periods and repeated tokens leave no room for caution."""
        names = [part.name for part in self.series.template.parts if part.name]
        return len({*names}) == len(names) and not {"YYYY", "MM", "FY"} & {*names}


@st.composite
def tiny_series(draw: st.DrawFn) -> Tiny:
    has_dates = draw(st.booleans())
    tokens = (draw(places), draw(periods)) if has_dates else draw(st.sampled_from(PAIRS))
    tokens = draw(st.permutations([*tokens, draw(st.sampled_from(["{SEQ:1}", "{SEQ:2}"]))]))
    text = draw(literals) + "".join(token + draw(literals) for token in tokens)
    kinds = {name: draw(st.sampled_from(KINDS)) for name in ("PROJECT", "SITE")}
    names = [name for name in kinds if f"{{{name}}}" in text]
    scopes = draw(st.sampled_from([{*names}, {*names[1:]}, {*names[:1]}, set()]))
    if has_dates:
        scopes = scopes | draw(
            st.sets(st.sampled_from(["YEARLY", "MONTHLY", "FISCAL"]), max_size=1)
        )
    series = SeriesFormat(
        Template.parse(text, kinds),
        draw(st.sampled_from(["A", "A-", "1"])),
        frozenset(map(Scope, scopes)),
        max_value=draw(st.sampled_from([9, 12, 21])),
        fiscal_month=draw(st.sampled_from([1, 4, 12])),
    )
    return Tiny(series, {name: kinds[name] for name in names})


REASONS = {
    "which are of two counters": "counter",
    "can be read in two ways": "reading",
    "two counters would read alike": "scope",
}


def refusal(series: SeriesFormat) -> str:
    """The sentence of a refusal, or nothing. Short numbers are no reason here."""
    with patch.object(template_check, "TEXT_LENGTH_MIN", 1):
        try:
            check(series)
        except BadTemplate as refused:
            return str(refused)
    return ""


@settings(max_examples=100)
@given(tiny_series())
def test_a_format_passes_when_no_two_numbers_read_alike_and_is_refused_when_they_do(tiny):
    sentence = refusal(tiny.series)
    texts = all_numbers(*tiny)
    reason = next((why for words, why in REASONS.items() if words in sentence), sentence)
    event(reason or "passed")
    if not sentence:
        assert all(len(said) == 1 for said in texts.values())
    elif reason == "reading" and tiny.exact:
        text = sentence.split("'")[1]
        assert len({(said.number, said.shown) for said in texts[text]}) > 1
    elif reason == "counter":
        assert any(len({said.counter for said in s if said.number == 1}) > 1
                   for s in texts.values())  # fmt: skip
    else:
        assert reason in {"reading", "scope"}


@settings(max_examples=100)
@given(tiny_series())
def test_what_tiny_series_write_is_read_as_it_was_meant(tiny):
    assume(not refusal(tiny.series))
    for text, (said,) in all_numbers(*tiny).items():
        assert extract(tiny.series, text) == Extracted(said.number, dict(said.shown))


def tiny_pairs() -> st.SearchStrategy[tuple[Tiny, Tiny]]:
    return st.tuples(tiny_series(), tiny_series()) | tiny_series().flatmap(changed)


CHANGES = [
    *(("1}", "2}"), ("-", "/"), ("-", ""), ("_", "-"), ("YYYY", "FY"), ("FY", "YYYY")),
    *(("{PROJECT}", "1{PROJECT}"), ("{PROJECT}1", "{PROJECT}"), ("{SEQ", "0{SEQ")),
    *(("{SEQ", "1{SEQ"), ("1{SEQ", "{SEQ"), ("{SITE}", ""), ("{YYYY}{MM}", "{MM}{YYYY}")),
]


@st.composite
def changed(draw: st.DrawFn, before: Tiny) -> tuple[Tiny, Tiny]:
    """A series and the same with one thing changed, as its owner might."""
    series, kinds = before
    text = series.template.text
    old, new = draw(st.just(("", "")) | st.sampled_from(CHANGES))
    text = text.replace(old, new)
    if len(kinds) > 1 and draw(st.booleans()):  # they change places
        text = (
            text.replace("{SITE}", "{}").replace("{PROJECT}", "{SITE}").replace("{}", "{PROJECT}")
        )
    kinds = {name: kind for name, kind in kinds.items() if f"{{{name}}}" in text}
    template = Template.parse(text, kinds)
    prefix = draw(st.just(series.prefix) | st.sampled_from(["A", "A-", "1"]))
    max_value = draw(st.sampled_from([series.max_value, 9, 21]))
    first = draw(st.sampled_from([series.fiscal_month, 4]))
    after = SeriesFormat(template, prefix, series.scopes, 1, max_value, first)
    return before, Tiny(after, kinds)


@settings(max_examples=120)
@given(tiny_pairs())
def test_of_two_series_a_text_that_both_write_is_found_and_no_other(pair):
    one, other = pair
    assume(not refusal(one.series) and not refusal(other.series))
    common = all_numbers(*one).keys() & all_numbers(*other)
    found = could_read_alike(one.series, other.series)
    event("alike" if common else "apart")
    if common:
        assert found is not None
        assert len(found) == min(map(len, common)) or not (one.exact and other.exact)
    if one.exact and other.exact:
        assert (found in common) if found else not common


def harm_done(before: dict[str, set[Says]], after: dict[str, set[Says]]) -> set[str]:
    """The texts that have been one number and become another."""
    return {
        text
        for text in before.keys() & after.keys()
        if len({(said.counter, said.number) for said in before[text] | after[text]}) > 1
    }


@settings(max_examples=120)
@given(tiny_series().flatmap(changed))
def test_a_changed_series_never_writes_a_number_as_it_wrote_another(pair):
    one, other = pair
    assume(not refusal(one.series) and not refusal(other.series))
    assert could_read_alike(one.series, one.series, same_series=True) is None
    harm = harm_done(all_numbers(*one), all_numbers(*other))
    event("harmful" if harm else "harmless")
    if harm:
        assert could_read_alike(one.series, other.series, same_series=True) is not None


ONCE = [
    *("{PROJECT}{SITE}-{SEQ:1}", "{SITE}{PROJECT}-{SEQ:1}", "{PROJECT}{SITE}-{SEQ:2}"),
    *("{PROJECT}{SITE}-1{SEQ:1}", "1{PROJECT}-{SEQ:1}", "{PROJECT}1-{SEQ:1}", "{PROJECT}-{SEQ:1}"),
    *("{FY}{MM}-{SEQ:1}", "{YYYY}{MM}-{SEQ:1}", "{FY}-{SEQ:1}", "{YYYY}-{SEQ:1}"),
]


def test_every_change_among_some_templates_is_judged_rightly() -> None:
    kinds = {"PROJECT": Chars("12", 1, 1), "SITE": Chars("12", 1, 1)}
    written = {}
    for text, first, scope in itertools.product(ONCE, (1, 4, 7), (None, *Scope)):
        scopes = frozenset({scope} if scope else ())
        tiny = SeriesFormat(Template.parse(text, kinds), "", scopes, 1, 12, first)
        if not refusal(tiny):
            shown = {name: kind for name, kind in kinds.items() if name in tiny.tokens}
            written[tiny] = all_numbers(tiny, shown)
    judged: Counter[tuple[bool, bool]] = Counter()
    for one, other in itertools.product(written, repeat=2):
        harm = harm_done(written[one], written[other])
        found = could_read_alike(one, other, same_series=True)
        assert found or not harm, (one, other, harm)
        judged[bool(harm), bool(found)] += 1
    assert judged[True, True] > 500
    assert judged[False, True] < judged[False, False] / 10, "too cautious"


WIDE_TOKENS = {"LOT": kind_of("CODE:3"), "CONTRACT": kind_of("TEXT:6"), "SITE": OneOf(("s-1", "s"))}


@st.composite
def wide_series(draw: st.DrawFn) -> SeriesFormat:
    names = ["PREFIX", "SITE", "PROJECT", "CONTRACT", "LOT", "YYYY", "YY", "MM", "FY"]
    chosen = draw(st.lists(st.sampled_from(names), max_size=4))
    tokens = [f"{{{name}}}" for name in chosen] + [f"{{SEQ:{draw(st.integers(1, 18))}}}"]
    separators = st.sampled_from(["-", "/", "--", "_", ".", " No. ", ""])
    text = "N" + "".join(draw(separators) + token for token in draw(st.permutations(tokens)))
    max_value, first = draw(st.integers(1, 10**18 - 1)), draw(st.integers(1, 12))
    return SeriesFormat(
        Template.parse(text, WIDE_TOKENS), "C-1", max_value=max_value, fiscal_month=first
    )


@st.composite
def wide_values(draw: st.DrawFn, series: SeriesFormat) -> tuple[dict[str, str], int]:
    values = period_values(
        draw(st.integers(2000, 2099)), draw(st.integers(1, 12)), series.fiscal_month
    )
    for name, kind in series.tokens.items():
        if isinstance(kind, Chars) and name not in values:
            characters = st.sampled_from(sorted({*"01_.A", *TEXT} & {*kind.alphabet}))
            lengths = {"min_size": kind.shortest, "max_size": kind.longest}
            values[name] = draw(st.text(characters, **lengths))
        elif isinstance(kind, OneOf) and name not in values:
            values[name] = draw(st.sampled_from(kind.values))
    return values, draw(st.integers(1, series.max_value))


@given(st.data())
def test_any_number_of_a_format_that_passes_is_read_as_it_was_written(data):
    series = data.draw(wide_series())
    sentence = refusal(series)
    assert not sentence or "can be read in two ways" in sentence or "50 at most" in sentence
    assume(not sentence)
    values, number = data.draw(wide_values(series))
    text = render(series, values, number)
    shown = {name: values[name] for name in series.tokens}
    assert extract(series, text) == Extracted(number, shown)
    assert matches(series, text)
    assert could_read_alike(series, series) is not None
    assert could_read_alike(series, series, same_series=True) is None
