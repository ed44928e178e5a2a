"""The page of the audit in a real browser: its search, a number's history and proof, its gaps."""

import base64
import csv
import io
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from accessible import DESK, PHONE, check, findings, sideways
from auditors import SHIFTED_MAX, SHIFTS, Auditor
from etcd_members import alter
from playwright.async_api import Browser, Route, async_playwright, expect
from support import running_etcd
from test_dashboard import CHROMIUM_FLAGS, WAIT_MS, chromium
from test_dashboard_live import NodeProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")  # they share a browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def auditor(browser: Browser, cluster4) -> AsyncIterator[Auditor]:
    page = await browser.new_page(viewport=DESK, locale="en-US")
    auditor = Auditor(page, cluster4.urls[0].rstrip("/"))
    yield auditor
    await page.context.close()
    assert auditor.errors == []
    assert auditor.hosts == {urlsplit(auditor.url).netloc}


async def test_a_search_is_its_address(auditor: Auditor, browser: Browser) -> None:
    page = auditor.page
    await auditor.open()
    numbers = await auditor.issue_by_user(3)
    await auditor.release_by_user(numbers[1], "a slip")
    form = page.locator("#search")
    await form.locator("[name=user]").fill(auditor.user)
    await form.locator("[name=user]").press("Enter")
    await expect(auditor.rows).to_have_count(4)
    assert await auditor.numbers() == [numbers[1], *numbers[::-1]]
    await form.locator("[name=operationType]").select_option("released")
    await form.get_by_role("button", name="Search").click()
    await expect(auditor.rows).to_have_count(1)
    await expect(auditor.rows).to_contain_text("a slip")
    assert auditor.asked() == {"user": [auditor.user], "operationType": ["RELEASE"]}

    await page.reload()
    await expect(auditor.rows).to_have_count(1)
    await expect(form.locator("[name=operationType]")).to_have_value("RELEASE")
    shared = Auditor(await browser.new_page(), auditor.url)
    await shared.page.goto(page.url)
    await expect(shared.rows).to_have_count(1)
    await page.go_back()
    await expect(auditor.rows).to_have_count(4)
    await expect(form.locator("[name=operationType]")).to_have_value("")
    await form.get_by_role("button", name="Clear").click()
    await expect(form.locator("[name=user]")).to_have_value("")
    await expect(page.locator("#records-count")).to_contain_text("newest")
    assert auditor.asked() == {}


async def test_a_time_is_asked_for_in_the_readers_own(browser: Browser, cluster4) -> None:
    page = await browser.new_page(timezone_id="America/New_York", locale="en-US")
    auditor = Auditor(page, cluster4.urls[0].rstrip("/"))
    await auditor.open("?from=2026-01-31T10:00:00Z&to=2026-02-01")
    moment = page.locator("[name=from]")
    await expect(moment).to_have_value("2026-01-31T05:00")
    await expect(page.locator("[name=to]")).to_have_value("2026-02-01T19:00")
    await moment.fill("2026-01-31T06:30")
    await page.get_by_role("button", name="Search").click()
    await auditor.settled()
    assert auditor.asked() == {"from": ["2026-01-31T11:30:00Z"], "to": ["2026-02-02T00:00:00Z"]}
    assert auditor.errors == []


async def test_more_goes_on_with_the_cursor(auditor: Auditor) -> None:
    numbers = await auditor.issue_by_user(57)
    await auditor.open(f"?user={auditor.user}")
    await expect(auditor.rows).to_have_count(50)
    await expect(auditor.page.locator("#records-count")).to_contain_text("newest 50 records")
    await auditor.issue_by_user()  # what comes meanwhile moves nothing
    await auditor.page.get_by_role("button", name="More").click()
    await expect(auditor.rows).to_have_count(57)
    assert await auditor.numbers() == numbers[::-1]
    await expect(auditor.page.locator("#more")).to_be_hidden()
    await expect(auditor.page.locator("#records-scroll")).to_be_focused()
    await expect(auditor.page.locator("#records-count")).to_contain_text("57 records, all that fit")


async def test_a_number_tells_its_whole_history_and_is_proven(auditor: Auditor) -> None:
    page = auditor.page
    number = await auditor.reused()
    await auditor.open(f"?user={auditor.user}")
    link = auditor.rows.first.get_by_role("link")
    await link.click()
    await expect(auditor.drawer).to_be_visible()
    await expect(page.locator("#drawer-title")).to_have_text(f"Number {number:,}")
    await expect(page.locator("#drawer-title")).to_be_focused()
    life = page.locator("#life > li")
    await expect(life.locator(".event .tag")).to_have_text(["issued", "released", "reissued"])
    await expect(life.nth(1)).to_contain_text("customer cancelled")
    await expect(life.nth(2)).to_contain_text("site-2 / partition-b")
    await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    await expect(auditor.proof).to_contain_text("3 entries")
    await expect(page.locator("#life .steps[data-state=good]")).to_have_count(3)
    steps = page.locator("#life > li:last-child .steps li")
    await expect(steps).to_have_count(4)
    records = await (await auditor.api("GET", f"/api/v1/sequence/audit/{number}")).json()
    computed = steps.nth(2).locator("code")
    await expect(computed).to_have_attribute("title", records[-1]["entryHash"])

    await page.keyboard.press("Escape")
    await expect(auditor.drawer).to_be_hidden()
    await expect(link).to_be_focused()
    await page.wait_for_url(lambda url: "show=" not in url)
    await page.go_forward()
    await expect(auditor.proof).to_have_attribute("data-state", "good")
    await page.go_back()
    await expect(auditor.drawer).to_be_hidden()


async def test_a_number_has_an_address(auditor: Auditor) -> None:
    (number,) = await auditor.issue_by_user()
    await auditor.open(f"?user={auditor.user}&show={number}&of=invoice")
    await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    await auditor.page.get_by_role("button", name="Close").click()
    await expect(auditor.drawer).to_be_hidden()
    await expect(auditor.page.locator("#records-title")).to_be_focused()
    assert auditor.asked() == {"user": [auditor.user]}
    await expect(auditor.rows).to_have_count(1)


async def test_the_first_page_leads_to_a_numbers_history(auditor: Auditor) -> None:
    page = auditor.page
    await auditor.fill_gaps()
    (number,) = await auditor.issue_by_user()
    await auditor.release_by_user(number, "to be seen")
    for place in ("#entries", "#gaps"):
        await page.goto(f"{auditor.url}/dashboard")
        await page.locator(place).get_by_role("link", name=f"{number:,}").first.click()
        await expect(page.locator("#drawer-title")).to_have_text(f"Number {number:,}")
        await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)


async def test_bytes_that_do_not_fit_their_hash_are_not_believed(auditor: Auditor) -> None:
    await auditor.fill_gaps()
    (number,) = await auditor.issue_by_user()

    async def forge(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        content = base64.b64decode(body["contentBase64"])
        other = content.replace(auditor.user.encode(), auditor.user[::-1].encode())
        body["contentBase64"] = base64.b64encode(other).decode()
        await route.fulfill(response=answer, json=body)

    await auditor.page.route("**/api/v1/sequence/entries/*", forge)
    await auditor.open(f"?show={number}")
    await expect(auditor.proof).to_have_attribute("data-state", "bad", timeout=WAIT_MS)
    states = auditor.page.locator(".steps li")
    assert [await each.get_attribute("data-state") for each in await states.all()] == [
        "good",
        "good",
        "bad",
        "bad",
    ]


async def test_without_sha_256_nothing_is_claimed(auditor: Auditor) -> None:
    await auditor.page.add_init_script("delete Crypto.prototype.subtle")
    (number,) = await auditor.issue_by_user()
    await auditor.open(f"?show={number}")
    await expect(auditor.page.locator("#life > li")).to_have_count(1)
    await expect(auditor.proof).to_have_attribute("data-state", "unknown")
    await expect(auditor.proof).to_contain_text("Not checked: browsers have SHA-256 for pages from")
    await expect(auditor.page.locator(".steps")).to_have_count(0)


async def test_gaps_are_told_from_release_to_reissue(auditor: Auditor) -> None:
    page = auditor.page
    refilled = await auditor.reused()
    (opened,) = await auditor.issue_by_user()
    await auditor.release_by_user(opened, "not needed")
    await auditor.open()
    lives = page.locator("#lives tr")
    gap = lives.filter(has_text="not needed").filter(has_text=auditor.user)
    again = lives.filter(has_text="customer cancelled").filter(has_text=auditor.user)
    await expect(gap).to_contain_text(f"{opened:,}")
    await expect(gap.locator(".tag")).to_have_text("open")
    await expect(again).to_contain_text(f"{refilled:,}")
    await expect(again.locator('[data-label="To"]')).to_have_text(
        f"site-2 / partition-b · {auditor.user}"
    )
    await page.locator("[data-gaps=refilled]").click()
    await expect(gap).to_have_count(0)
    await expect(again).to_have_count(1)
    await page.reload()
    await expect(page.locator("[data-gaps=refilled]")).to_have_attribute("aria-pressed", "true")
    await page.locator("[data-gaps=open]").click()
    await expect(again).to_have_count(0)
    assert auditor.asked() == {"gaps": ["open"]}
    await page.go_back()
    await expect(again).to_have_count(1)
    await again.get_by_role("link").click()
    await expect(page.locator("#drawer-title")).to_have_text(f"Number {refilled:,}")


async def test_more_gaps_come_when_they_are_asked_for(auditor: Auditor) -> None:
    page = auditor.page
    await auditor.fill_gaps()
    numbers = await auditor.issue_by_user(120)
    for number in numbers:
        await auditor.release_by_user(number, "all of them")
    await auditor.open("?gaps=open")
    rows, more = page.locator("#lives tr"), page.locator("#lives-more")
    await expect(rows).to_have_count(50)
    await expect(page.locator("#lives-count")).to_contain_text("120 open (the lowest 50 are here)")
    await more.focus()
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(100)
    await expect(more).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(120)
    await expect(more).to_be_hidden()
    await expect(page.locator("#lives-scroll")).to_be_focused()
    shown = await rows.locator('[data-label="Number"]').all_inner_texts()
    assert [int(text.replace(",", "")) for text in shown] == numbers
    await auditor.fill_gaps()


def cells_in(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))


async def test_the_search_is_downloaded_and_copied(auditor: Auditor) -> None:
    page = auditor.page
    numbers = await auditor.issue_by_user(3)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await auditor.open(f"?user={auditor.user}")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download CSV").click()
    columns, *rows, last = cells_in(Path(await (await download.value).path()))
    assert [int(row[columns.index("sequenceNumber")]) for row in rows] == numbers[::-1]
    assert last == ["# Complete: 3 records."]

    button = page.locator("#curl")
    await button.click()
    await expect(button).to_have_text("Copied")
    command = shlex.split(await page.evaluate("navigator.clipboard.readText()"))
    assert command[0] == "curl"
    answer = await page.request.fetch(command[1])
    assert [record["sequenceNumber"] for record in await answer.json()] == numbers[::-1]
    await page.evaluate("delete Navigator.prototype.clipboard; document.execCommand = () => false")
    await button.click()
    await expect(page.locator("#curl-text")).to_have_text(shlex.join(command))


async def test_what_is_not_found_or_refused_is_said(auditor: Auditor) -> None:
    page = auditor.page
    auditor.refusals_expected = True
    await auditor.open(f"?user={auditor.user}")
    await expect(page.locator("#records-empty")).to_contain_text("No record fits")
    number = page.locator("[name=number]")
    await number.fill("1x")
    await number.press("Enter")
    problem = page.locator("#records-problems .problem")
    await expect(problem).to_contain_text(re.compile(r"code NB009 · HTTP 400 · request \S+"))
    await number.fill("1")
    await number.press("Enter")
    await expect(page.locator("#records-count")).to_contain_text("as of")
    await expect(problem).to_have_count(1)  # it stays until it is dismissed
    await problem.get_by_role("button", name="Dismiss").click()
    await expect(problem).to_have_count(0)
    for wrong in ("constructor", "toString", "none"):
        await auditor.open(f"?gaps={wrong}")
        await expect(page.locator("[data-gaps=all]")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#lives-problems .problem")).to_have_count(0)
    await auditor.open("?show=9007199254740991")
    await expect(auditor.drawer.locator(".problem")).to_contain_text("never issued")
    await expect(auditor.proof).to_have_attribute("data-state", "unknown")


async def test_everybody_can_use_it(auditor: Auditor) -> None:
    page = auditor.page
    await page.add_init_script(SHIFTS)
    number = await auditor.reused()
    await auditor.open(f"?show={number}")
    await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    assert await page.evaluate("window.shifted") < SHIFTED_MAX
    await check(page, PHONE)
    await page.keyboard.press("Escape")
    await expect(auditor.drawer).to_be_hidden()
    assert await sideways(page) == []
    await check(page, DESK)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[NodeProcess, str]]:
    """A node with an etcd of its own: what is altered there is nobody else's."""
    with running_etcd(tmp_path) as etcd:
        node = NodeProcess(etcd, tmp_path / "node.log")
        node.start()
        yield node, etcd
        node.stop()


async def test_an_entry_altered_in_etcd_turns_its_number_red(
    browser: Browser, own: tuple[NodeProcess, str]
) -> None:
    node, etcd = own
    auditor = Auditor(await browser.new_page(locale="en-US"), node.url)
    await auditor.open()
    await expect(auditor.page.locator("#records-empty")).to_contain_text("The ledger is empty")
    await expect(auditor.page.locator("#lives-empty")).to_contain_text("No number was ever")
    one, two = await auditor.issue_by_user(2)
    await auditor.release_by_user(one, "sold by ann")
    assert await auditor.issue_by_user() == [one]
    await auditor.open(f"?show={one}")
    await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)

    key = alter(etcd, b"/test-", b"sold by ann", b"sold by bob")
    index = int(key.rpartition(b"/")[2])
    await auditor.page.reload()
    await expect(auditor.proof).to_have_attribute("data-state", "bad", timeout=WAIT_MS)
    await expect(auditor.proof).to_contain_text(f"entry {index} does not fit")
    beside = auditor.page.locator(
        ".steps[data-state=beside]"
    )  # as committed: the one after says so
    await expect(beside).to_have_attribute("data-entry", str(index + 1))
    bad = auditor.page.locator(".steps[data-state=bad]")
    await expect(bad).to_have_attribute("data-entry", str(index))
    await expect(bad.locator("li[data-state=bad]").last).to_contain_text(f"Entry {index + 1} names")
    await bad.get_by_text("Its bytes", exact=True).click()
    assert json.loads(await bad.locator("pre").inner_text())["r"][0]["y"] == "sold by bob"
    await auditor.open(f"?show={two}")  # its entry stands before that one
    await expect(auditor.proof).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    assert await findings(auditor.page) == []
    alter(etcd, b"/test-", b'"i":3,"p":"', b'"i":3,"p":"0')
    await auditor.page.reload()
    await expect(auditor.proof).to_contain_text(f"entry {index} does not fit", timeout=WAIT_MS)
    await expect(auditor.page.locator(".steps[data-state=beside]")).to_have_count(1)
