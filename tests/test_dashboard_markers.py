"""What was struck stands in the charts of every node's page, by name, and outlives a reload."""

import re

import pytest
from conftest import Cluster
from first_page import browser, open_first_page, operator
from playwright.async_api import Locator, Page, expect
from support import wait_for
from test_dashboard import WAIT_MS, Operator
from test_dashboard_demonstrations import process, well

__all__ = ["browser", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def marker(page: Page, text: str) -> Locator:
    """Return the row of the throughput's table that says so."""
    details = page.locator('[data-table-of="throughput"]')
    if await details.get_attribute("open") is None:
        await details.locator("summary").click()
    return details.locator("tbody tr").filter(has_text=re.compile(rf"{text}$"))


async def times_of(operator: Operator, kind: str, who: str) -> list[int]:
    """Return when that has happened to it, as this node tells; oldest first."""
    history = await (await operator.api("GET", "/api/v1/timeline")).json()
    return [m["time"] for m in history["markers"] if (m["kind"], m["who"]) == (kind, who)]


async def test_strikes_are_marked_at_every_node_and_outlive_a_reload(
    operator: Operator, cluster4: Cluster
) -> None:
    page = operator.page
    operator.refusals_expected = True
    wait_for(lambda: well(cluster4), 30, "everything is up")
    other = Operator(await page.context.new_page(), cluster4.urls[2].rstrip("/"))
    other.refusals_expected = True
    wanted = {
        "node-2 killed": ("killed", "node-2"),
        "node-4 restarted": ("restarted", "node-4"),
        "member-3 paused": ("paused", "member-3"),
        "member-3 goes on": ("resumed", "member-3"),
    }
    before = {}  # other tests may have struck within the hour, and the pages show it
    for one in (operator, other):
        await open_first_page(one, "?range=1h")
        for text, what in wanted.items():
            before[one, text] = len(await times_of(one, *what))
            await expect(await marker(one.page, text)).to_have_count(before[one, text])
    for name, button in (("node-2", "Kill"), ("node-4", "Restart")):
        await process(page, name).get_by_role("button", name=button).click()
    await page.locator("#pause-seconds").fill("1")
    await process(page, "member-3").get_by_role("button", name="Pause").click()
    for (one, text), count in before.items():
        rows = await marker(one.page, text)
        await expect(rows).to_have_count(count + 1, timeout=WAIT_MS)
    times = [(await times_of(one, "killed", "node-2"))[-1] for one in (operator, other)]
    assert abs(times[0] - times[1]) < 1_000, "each node says when it happened, not when it heard"
    await open_first_page(operator, "?range=1h")
    for text in wanted:
        rows = await marker(page, text)
        await expect(rows).to_have_count(before[operator, text] + 1, timeout=WAIT_MS)
    assert other.errors == []
    await other.page.close()
    wait_for(lambda: well(cluster4), 30, "everything is up")


async def test_what_went_away_is_labelled_before_what_came(operator: Operator) -> None:
    shown = await operator.page.evaluate(
        """async () => {
            const { labelled } = await import("/dashboard/static/js/timecharts.js");
            const line = (text, colour, at) => ({ text, colour, at, time: at });
            const came = [1, 2, 3, 4, 5, 6].map((at) => line(`node-${at} up`, "good", at));
            const lines = [...came, line("node-9 killed", "bad", 3), line("far", "muted", 300)];
            const labels = labelled(lines, 400, (text) => 6 * text.length);
            return labels.map(({ text, row, start, end }) => ({ text, row, start, end }));
        }"""
    )
    assert [each["text"] for each in shown] == ["node-9 killed", "far", "node-6 up", "node-5 up"]
    assert [each["row"] for each in shown] == [0, 0, 1, 2]
    assert all(each["end"] <= 400 for each in shown)


async def test_a_node_that_was_killed_itself_knows_it_afterwards(
    operator: Operator, cluster4: Cluster
) -> None:
    page = operator.page
    operator.refusals_expected = True
    wait_for(lambda: well(cluster4), 30, "everything is up")
    killed = Operator(await page.context.new_page(), cluster4.urls[1].rstrip("/"))
    await process(page, "node-2").get_by_role("button", name="Kill").click()
    await expect((await marker(page, "node-2 killed")).first).to_be_visible(timeout=WAIT_MS)
    wait_for(lambda: well(cluster4), 30, "everything is up")
    await open_first_page(killed)
    await expect((await marker(killed.page, "node-2 killed")).first).to_be_visible(timeout=WAIT_MS)
    await killed.page.close()
