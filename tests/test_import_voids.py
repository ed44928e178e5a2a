"""What a file leaves out becomes void: no more than was said, all of it in one commit."""

from collections.abc import AsyncIterator

import pytest
from http_calls import Start
from import_calls import COR, Place, cor, csv_of, send_form
from test_reservations_api import reserve, sequence_in

from coordinator.core.records import Imported
from coordinator.imported_rows import row_of
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
async def store(etcd: str) -> AsyncIterator[Store]:
    opened = EtcdStore((etcd,))
    yield opened
    await opened.close()


async def test_a_slipped_digit_voids_no_thousands_unless_that_is_said(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    await send_form(node, csv_of([cor(1)]))
    content = csv_of([cor(2), cor(4), cor(90_001), cor(1_002, 2024)])
    for dry_run in ("true", "false"):
        told, _ = await send_form(node, content, 409, dry_run=dry_run)
        assert (told["code"], told["dry_run"], told["imported"]) == ("NB036", dry_run == "true", 0)
        assert told["detail"] == (
            "1,001 numbers of documents/COR/yearly=2024 would become void: 1 to 1,001; "
            "89,997 numbers of documents/COR/yearly=2025 would become void: 5 to 90,000, 3. "
            "Nothing was changed. Look for a slipped digit. "
            "If that is meant, ask again with pass_over_max: 89997."
        )
        assert (told["pass_over_max"], told["errors_total"]) == (89_997, 0)
        assert told["passed_over"][1] == {
            "counter": COR,
            "count": 89_997,
            "largest": [{"first": 5, "last": 90_000}, {"first": 3, "last": 3}],
        }
        assert [each["missing_total"] for each in told["counters"]] == [1_001, 89_997]
    await send_form(node, content, 409, pass_over_max="89996")
    await send_form(node, content, 400, pass_over_max="-1")
    assert await place.left(store, "open") == ()
    assert await place.proven(store) == 1
    key = {"Idempotency-Key": "meant"}
    await send_form(node, content, 409, headers=key)
    done, _ = await send_form(node, content, headers=key, pass_over_max="89997")
    again, _ = await send_form(node, content, headers=key)
    assert (done["imported"], again) == (4, done)
    assert await place.proven(store) == 4


async def test_a_thousand_numbers_may_be_left_out_and_wrong_rows_are_told_first(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    problem, _ = await send_form(node, csv_of([cor(1_002), "nonsense"]), 422)
    assert problem["code"] == "NB043"
    await send_form(node, csv_of([cor(1_002)]), 409)
    told, _ = await send_form(node, csv_of([cor(1_001)]))
    assert told["counters"][0]["missing_total"] == 1_000


async def test_more_gaps_than_one_commit_takes_are_refused(start_node: Start) -> None:
    node = await start_node()
    content = csv_of(cor(2 * n) for n in range(1, 80_000))
    problem, _ = await send_form(node, content, 422, pass_over_max="80000")
    assert problem["code"] == "NB045"
    assert "import the lower numbers first" in problem["detail"]


async def test_what_a_file_with_many_gaps_leaves_out_is_void(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    told, _ = await send_form(
        node, csv_of(cor(2 * n) for n in range(1, 20_001)), pass_over_max="20000"
    )
    (counted,) = told["counters"]
    assert (counted["missing_total"], len(counted["missing"])) == (20_000, 50)
    assert sequence_in((await reserve(node, issue_date="2025-06-01"))["document_number"]) == 40_001
    assert await place.proven(store) == 20_001
    record = (await place.entries(store))[0].records[0]
    assert isinstance(record, Imported)
    assert len(record.rows) > 3
    for number in (2, 20_002, 40_000):
        row = await row_of(store, place.keys, record, number)
        assert row is not None
        assert (row.number, row.text) == (number, cor(number))
