"""Every action of the first page can be copied as a command that does it."""

import asyncio

import pytest
from first_page import Command, browser, operator
from playwright.async_api import Locator, expect
from test_dashboard import FIRST_CELL, OTHER_CELL, WAIT_MS, Operator

__all__ = ["browser", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def copied(operator: Operator, place: Locator) -> Command:
    """Press the only such button in a place; return what its command asks for."""
    return Command.of(await operator.copied(place.get_by_role("button", name="Copy as curl")))


async def test_issuing_is_copied_for_the_cell_clicked_or_focused_last(operator: Operator) -> None:
    page = operator.page
    panel = page.locator(".matrix-panel")
    await page.locator(f".cell{OTHER_CELL} [data-generate]").focus()
    await page.locator("#count").fill("3")
    await expect(page.locator("#issue-chosen")).to_have_text("site-2 / partition-b · off-cycle")
    command = await copied(operator, panel)
    place = {"siteId": "site-2", "partitionId": "partition-b", "invoiceType": "off-cycle"}
    assert (command.method, command.body) == ("POST", {**place, "count": 3})
    first = await (await command.run(page, operator.url)).json()
    again = await command.run(page, operator.url)
    assert len(first["sequenceNumbers"]) == 3
    assert await again.json() == first  # the command carries a key
    assert again.headers["idempotent-replayed"] == "true"
    await page.locator(f".cell{FIRST_CELL} .cell-count").click()
    other = await copied(operator, panel)
    assert other.body["siteId"] == "site-1"
    assert other.headers["Idempotency-Key"] != command.headers["Idempotency-Key"]


async def test_a_release_is_copied_with_the_reason_as_it_stands(operator: Operator) -> None:
    page = operator.page
    number = await operator.issue(FIRST_CELL)
    await page.locator("#issued li").first.get_by_role("button", name="Release…").click()
    await page.locator("#release-dialog-reason").fill("it's $5 less")
    command = await copied(operator, page.locator("#release-dialog"))
    assert command.body["reason"] == "it's $5 less"
    answer = await (await command.run(page, operator.url)).json()
    assert (answer["success"], answer["sequenceNumber"]) == (True, number)


async def test_the_proof_is_copied(operator: Operator) -> None:
    command = await copied(operator, operator.page.locator("#proof"))
    assert (command.method, command.path) == ("GET", "/api/v1/sequence/validate")
    assert command.headers == {}


async def test_demonstrations_and_loads_are_copied_as_jobs(operator: Operator) -> None:
    page = operator.page
    await page.locator('[data-demo="concurrent"] [name=threads]').fill("7")
    command = await copied(operator, page.locator('[data-demo="concurrent"]'))
    parameters = {"threads": 7, "requestsPerThread": 25}
    assert command.body == {"name": "concurrent", "parameters": parameters}
    for name in ("basic", "gaps", "load-test"):
        assert (await copied(operator, page.locator(f'[data-demo="{name}"]'))).body["name"] == name
    form = page.locator("#failover")
    await form.locator("[name=target]").select_option("leader")
    command = await copied(operator, form)
    wanted = {"requestsPerSecond": 100, "seconds": 15, "target": "leader", "action": "kill"}
    assert command.body == {"name": "failover", "parameters": wanted}
    command = await copied(operator, page.locator('[data-demo="basic"]'))
    started = await command.run(page, operator.url)
    assert started.status == 202, await started.text()
    job = f"/api/v1/demo/jobs/{(await started.json())['id']}"
    async with asyncio.timeout(30):  # others begin demonstrations of their own
        while (await (await operator.api("GET", job)).json())["state"] == "running":
            await asyncio.sleep(0.1)


async def test_the_end_of_a_job_is_copied(operator: Operator) -> None:
    page = operator.page
    form = page.locator('[data-demo="load-test"]')
    await form.locator("[name=totalRequests]").fill("100000")
    await form.get_by_role("button", name="Run load test").click()
    outcome = form.locator(".outcome")
    await expect(outcome).to_have_attribute("data-state", "running")
    command = await copied(operator, outcome)
    job = await outcome.get_attribute("data-job")
    assert (command.method, command.path) == ("POST", f"/api/v1/demo/jobs/{job}/cancel")
    assert (await command.run(page, operator.url)).status == 202
    await expect(outcome).to_have_attribute("data-state", "cancelled", timeout=WAIT_MS)
    await expect(outcome.get_by_role("button", name="Copy as curl")).to_be_hidden()


async def test_a_strike_is_copied_as_it_was_focused_and_as_it_is_asked(operator: Operator) -> None:
    page = operator.page
    options = page.locator(".process-options")
    await expect(page.locator("#strike-chosen")).to_have_text("Pause node-4")
    await page.locator('[data-process="member-2"] [data-action="restart"]').focus()
    command = await copied(operator, options)
    assert command.path == "/api/v1/demo/processes/member-2"
    assert command.body == {"action": "restart", "seconds": None, "force": False}
    await page.locator("#pause-seconds").fill("2")
    await page.locator('[data-process="node-1"] [data-action="pause"]').click()
    dialog = page.locator("#strike-dialog")
    command = await copied(operator, dialog)
    assert command.path == "/api/v1/demo/processes/node-1"
    assert command.body == {"action": "pause", "seconds": 2, "force": True}
    await page.locator("#strike-keep").click()
    await expect(dialog).to_be_hidden()
