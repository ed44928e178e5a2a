"""What an operator means once happens once: double clicks, keys held down, impatience."""

import asyncio
import re

import pytest
from conftest import Cluster
from documents_page import Clerk, clerk
from first_page import browser, operator
from playwright.async_api import Request, Route, expect
from support import wait_for
from test_dashboard import FIRST_CELL, OTHER_CELL, WAIT_MS, Operator
from test_dashboard_demonstrations import process, well

__all__ = ["browser", "clerk", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWICE_MS = 60


def requests_of(operator: Operator, path: str) -> list[Request]:
    """Return a list that grows with each change asked for at an address."""
    sent: list[Request] = []
    operator.page.on(
        "request",
        lambda asked: sent.append(asked) if asked.method == "POST" and path in asked.url else None,
    )
    return sent


async def test_a_double_click_issues_one_number(operator: Operator) -> None:
    page = operator.page
    sent = requests_of(operator, "/sequence/next")
    button = page.locator(f".cell{FIRST_CELL} [data-generate]")
    await button.dblclick(delay=20)
    await expect(page.locator("#issued li")).to_have_count(1, timeout=WAIT_MS)
    await page.wait_for_timeout(500)
    assert len(sent) == 1
    await button.click()
    await expect(page.locator("#issued li")).to_have_count(2, timeout=WAIT_MS)


async def test_clicks_while_nothing_has_come_of_the_first_issue_nothing(operator: Operator) -> None:
    page = operator.page
    sent = requests_of(operator, "/sequence/next")
    go_on = asyncio.Event()

    async def hold(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.route("**/api/v1/sequence/next", hold)
    for _ in range(3):
        await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
        await page.wait_for_timeout(TWICE_MS)
    await page.locator(f".cell{OTHER_CELL} [data-generate]").click()  # another is not in its way
    await page.wait_for_timeout(TWICE_MS)
    go_on.set()
    await expect(page.locator("#issued li")).to_have_count(2, timeout=WAIT_MS)
    assert len(sent) == 2


async def test_a_key_that_is_held_down_issues_one_number(operator: Operator) -> None:
    page = operator.page
    sent = requests_of(operator, "/sequence/next")
    await page.locator(f".cell{FIRST_CELL} [data-generate]").focus()
    for _ in range(8):
        await page.keyboard.down("Enter")  # all but the first say that they are repeated
        await page.wait_for_timeout(TWICE_MS)
    await page.keyboard.up("Enter")
    await expect(page.locator("#issued li")).to_have_count(1, timeout=WAIT_MS)
    assert len(sent) == 1
    await page.keyboard.press("Enter")
    await expect(page.locator("#issued li")).to_have_count(2, timeout=WAIT_MS)


async def test_a_question_is_not_answered_by_what_has_opened_it(operator: Operator) -> None:
    page = operator.page
    number = await operator.issue(FIRST_CELL)
    sent = requests_of(operator, "/sequence/release")
    await page.locator("#release-number").fill(str(number))
    await page.locator("#release-reason").fill("a slip")
    # The second click of a double click meets the dialog, wherever that happens to stand.
    await page.evaluate("""() => {
        document.querySelector("#release button[type=submit]").click();
        document.getElementById("release-do").click();
    }""")
    await expect(page.locator("#release-dialog")).to_be_visible()
    await expect(page.locator("#release-keep")).to_be_focused()
    await page.wait_for_timeout(200)
    assert sent == []
    await page.keyboard.press("Enter")  # who holds the key down leaves the number where it is
    await expect(page.locator("#release-dialog")).to_be_hidden()
    await page.locator("#release button[type=submit]").click()
    await page.locator("#release-do").click()
    await expect(page.locator("#release-dialog")).to_be_hidden()
    await expect(page.locator("#release-result")).to_contain_text("was released")
    assert len(sent) == 1


async def test_a_process_is_struck_once(operator: Operator, cluster4: Cluster) -> None:
    page = operator.page
    wait_for(lambda: well(cluster4), 60, "everything is up")
    sent = requests_of(operator, "/demo/processes/")
    row = process(page, "node-3")
    await expect(row).to_have_attribute("data-state", "running", timeout=WAIT_MS)
    await row.get_by_role("button", name="Kill").dblclick(delay=20)
    await expect(row).to_contain_text("ended", timeout=WAIT_MS)
    assert len(sent) == 1
    await expect(page.locator("#processes-problems .problem")).to_have_count(0)
    wait_for(lambda: well(cluster4), 60, "everything is up")


async def test_a_double_click_reserves_one_number(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series()
    form = await clerk.reads("#reserve", kind)
    sent = requests_of(clerk, "/reserve")
    await form.get_by_role("button", name="Reserve", exact=True).dblclick(delay=20)
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind}-000001 is reserved")
    await page.wait_for_timeout(500)
    assert len(sent) == 1
    await form.get_by_role("button", name="Reserve", exact=True).click()
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind}-000002 is reserved")


async def test_a_key_that_is_held_down_reserves_one_number(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series()
    form = await clerk.reads("#reserve", kind)
    sent = requests_of(clerk, "/reserve")
    await form.get_by_role("button", name="Reserve", exact=True).focus()
    for _ in range(20):
        await page.keyboard.down("Enter")
        await page.wait_for_timeout(TWICE_MS)
    await page.keyboard.up("Enter")
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind}-000001 is reserved")
    assert len(sent) == 1
    note = page.locator("#editor [name=tokens]")
    await note.focus()
    await page.keyboard.down("Enter")
    await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await expect(note).to_have_value("\n\n")  # in a text lines go on


async def test_a_series_is_saved_once(clerk: Clerk) -> None:
    page, form = clerk.page, clerk.page.locator("#editor")
    kind = await clerk.series()
    await clerk.reads("#editor", kind)
    await form.get_by_label("Operators may name a number").check()
    await form.get_by_label("Reason of the change").fill("the move of March")
    await page.evaluate("""() => {
        const [form, options] = [document.getElementById("editor"), { childList: true }];
        const save = () => form.querySelector("[type=submit]").click();
        new MutationObserver(save).observe(form.querySelector("[data-result]"), options);
        save();
    }""")  # the second click comes the moment that it is saved
    await expect(form.locator("[data-result]")).to_have_text(re.compile("saved as version 2"))
    await page.wait_for_timeout(500)
    await expect(form.locator(".problem")).to_have_count(0)
    await expect(page.locator("#editor-state")).to_contain_text("version 2")


async def test_a_question_about_a_document_takes_its_time_too(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series()
    (number,) = await clerk.issued(kind)
    await clerk.open(f"?number={number}")
    await page.locator("#void [name=reason]").fill("the customer was another one")
    sent = requests_of(clerk, "/void-and-replace")
    await page.evaluate("""() => {
        document.querySelector("#void [value=void]").click();
        document.getElementById("ask-do").click();
    }""")
    await expect(page.locator("#ask")).to_be_visible()
    await page.wait_for_timeout(200)
    assert sent == []
    await clerk.answer(f"Void {number}?", f"Void {number}")
    await expect(page.locator("#void-result")).to_contain_text("is void")
    assert len(sent) == 1
