"""Numbers that were issued together are released together, each by a request of its own."""

import asyncio
import re

import pytest
from first_page import Command, browser, operator
from playwright.async_api import Locator, Route, expect
from test_dashboard import FIRST_CELL, Operator

__all__ = ["browser", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACE = {"siteId": "site-1", "partitionId": "partition-a"}
RELEASE = "/api/v1/sequence/release"


async def issued(operator: Operator, count: int) -> list[int]:
    """Issue fresh numbers by one click."""
    await operator.fill_gaps()
    await operator.page.locator("#count").fill(str(count))
    await operator.page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    result = operator.page.locator(f".cell{FIRST_CELL} .cell-result")
    await expect(result).to_have_attribute(
        "data-numbers", re.compile(rf"^(\d+ ){{{count - 1}}}\d+$")
    )
    return [int(each) for each in (await result.get_attribute("data-numbers") or "").split()]


def first_row(operator: Operator) -> Locator:
    return operator.page.locator("#issued li").first


async def last_operation(operator: Operator, number: int) -> dict[str, str]:
    records = await (await operator.api("GET", f"/api/v1/sequence/audit/{number}")).json()
    return records[-1]


async def test_all_are_named_asked_for_and_released(operator: Operator) -> None:
    page = operator.page
    numbers = await issued(operator, 25)
    await first_row(operator).get_by_role("button", name="Release…").click()
    dialog = page.locator("#many-dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Release 25 numbers?")
    await expect(dialog).to_contain_text(
        f"Issued to site-1 / partition-a: {numbers[0]:,}\u2013{numbers[-1]:,}."
    )
    listed = await page.locator("#many-numbers li").all_inner_texts()
    assert [int(text.replace(",", "")) for text in listed] == numbers
    await page.locator("#many-go").click()  # no reason is given
    await expect(dialog.get_by_role("heading")).to_have_text("Release 25 numbers?")
    await page.locator("#many-reason").fill("the run was cancelled")
    await page.locator("#many-go").click()
    await expect(dialog.get_by_role("heading")).to_have_text("25 of 25 numbers are released")
    await expect(page.locator("#many-said")).to_have_text(
        f"Released: {numbers[0]:,}\u2013{numbers[-1]:,}."
    )
    await expect(page.locator("#many-go")).to_be_hidden()
    await page.get_by_role("button", name="Close", exact=True).click()
    await expect(dialog).to_be_hidden()
    await expect(first_row(operator)).to_contain_text("released")
    for number in (numbers[0], numbers[-1]):
        record = await last_operation(operator, number)
        assert (record["operationType"], record["reason"]) == ("RELEASE", "the run was cancelled")


async def test_only_what_failed_is_sent_again_and_with_the_same_keys(operator: Operator) -> None:
    page = operator.page
    operator.refusals_expected = True
    numbers = await issued(operator, 6)
    lost, taken = numbers[1], numbers[4]
    body = {**PLACE, "sequenceNumber": taken, "reason": "somebody was faster"}
    await operator.api("POST", RELEASE, data=body)
    sent: list[tuple[int, str]] = []
    unanswered: list[int] = []

    async def lose_one(route: Route) -> None:
        number = route.request.post_data_json["sequenceNumber"]
        sent.append((number, route.request.headers["idempotency-key"]))
        if number != lost or unanswered:
            await route.continue_()
            return
        unanswered.append(number)
        await route.fetch()  # the node commits it; only the answer never arrives
        await route.abort()

    await page.route(f"**{RELEASE}", lose_one)
    await first_row(operator).get_by_role("button", name="Release…").click()
    await page.locator("#many-reason").fill("wrong customer")
    await page.locator("#many-go").click()
    title = page.locator("#many-title")
    await expect(title).to_have_text("4 of 6 numbers are released")
    await expect(page.locator("#many-said")).to_contain_text(f"Not released: {lost:,}, {taken:,}.")
    refused = page.locator(f'[data-refused="{taken}"]')
    await expect(refused).to_contain_text(re.compile(r"code NB011 · HTTP 409 · request \S+"))
    await expect(page.locator(f'[data-refused="{lost}"]')).to_contain_text("nothing happens twice")
    await page.get_by_role("button", name="Close", exact=True).click()
    await first_row(operator).get_by_role("button", name="Release the rest…").click()
    await expect(refused).to_be_visible()  # why is still there
    first = dict(sent)
    assert len(set(first.values())) == len(sent) == 6
    sent.clear()
    await page.get_by_role("button", name="Try again for 2").click()
    await expect(title).to_have_text("5 of 6 numbers are released")
    assert sorted(sent) == [(lost, first[lost]), (taken, first[taken])]
    await expect(page.locator("#many-refused li")).to_have_count(1)
    lives = await (await operator.api("GET", f"/api/v1/sequence/audit/{lost}")).json()
    assert [each["operationType"] for each in lives].count("RELEASE") == 1


async def test_a_release_of_many_can_be_stopped_and_gone_on_with(operator: Operator) -> None:
    page = operator.page
    await issued(operator, 30)
    goes_on = asyncio.Event()

    async def hold(route: Route) -> None:
        await goes_on.wait()
        await route.continue_()

    await page.route(f"**{RELEASE}", hold)
    await first_row(operator).get_by_role("button", name="Release…").click()
    await page.locator("#many-reason").fill("a slip")
    await page.locator("#many-go").click()
    await expect(page.locator('#many-numbers [data-state="sending"]')).to_have_count(4)
    await page.keyboard.press("Escape")
    await expect(page.locator("#many-dialog")).to_be_visible()
    goes_on.set()
    await expect(page.locator("#many-title")).to_have_text("4 of 30 numbers are released")
    await expect(page.locator("#many-said")).to_contain_text("Not sent: ")
    await page.get_by_role("button", name="Try again for 26").click()
    await expect(page.locator("#many-title")).to_have_text("30 of 30 numbers are released")


async def test_they_are_copied_as_a_command_for_each(operator: Operator) -> None:
    page = operator.page
    numbers = await issued(operator, 3)
    await first_row(operator).get_by_role("button", name="Release…").click()
    await page.locator("#many-reason").fill("by hand")
    words = await operator.copied(page.locator("#many-dialog .curl"))
    at = [index for index, word in enumerate(words) if word == "curl"]
    ends = [*at[1:], len(words)]
    commands = [Command.of(words[a:b]) for a, b in zip(at, ends, strict=True)]
    assert [each.body["sequenceNumber"] for each in commands] == numbers
    assert len({each.headers["Idempotency-Key"] for each in commands}) == 3
    assert {each.body["reason"] for each in commands} == {"by hand"}
