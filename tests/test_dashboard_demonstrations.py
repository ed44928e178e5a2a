"""Demonstrations and broken things on the page, in a real browser, on a real cluster."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Cluster
from playwright.async_api import Locator, Page, async_playwright, expect
from support import ask, running_node, wait_for
from test_dashboard import CHROMIUM_FLAGS, WAIT_MS, Operator, chromium

END_MS = 90_000


@pytest.fixture
async def operator(cluster4: Cluster) -> AsyncIterator[Operator]:
    wait_for(lambda: well(cluster4), 30, "everything is up")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        page = await browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")
        operator = Operator(page, cluster4.urls[0])
        await page.goto(f"{operator.url}/dashboard")
        await expect(page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)
        await expect(page.locator("#processes li")).to_have_count(7)
        yield operator
        await browser.close()
    assert operator.errors == []


def well(cluster: Cluster) -> bool:
    """Tell whether all run, restarting what an earlier test has left down; and no load runs."""
    status, body = ask(cluster.urls[3], "../demo/processes")
    down = [each["name"] for each in body["processes"] if each["state"] != "running"]
    for name in down:
        ask(cluster.urls[3], f"../demo/processes/{name}", {"action": "restart"})
    jobs = ask(cluster.urls[3], "../demo/jobs")[1]["jobs"]
    ready = all(ask(url, "health")[0] == 200 for url in cluster.urls)
    return status == 200 and not down and ready and all(j["state"] != "running" for j in jobs)


def process(page: Page, name: str) -> Locator:
    return page.locator(f'[data-process="{name}"]')


async def run_load_test(page: Page, requests: int) -> Locator:
    """Start it; return where its outcome is."""
    form = page.locator('[data-demo="load-test"]')
    await form.locator("[name=totalRequests]").fill(str(requests))
    await form.get_by_role("button", name="Run load test").click()
    outcome = form.locator(".outcome")
    await expect(outcome).to_have_attribute("data-state", "running")
    return outcome


async def start_load(page: Page, seconds: int, target: str = "") -> Locator:
    form = page.locator("#failover")
    await form.locator("[name=requestsPerSecond]").fill("60")
    await form.locator("[name=seconds]").fill(str(seconds))
    await form.locator("[name=target]").select_option(target)
    await form.get_by_role("button", name="Start the load").click()
    return page.locator("#failover-outcome")


async def test_steps_turn_green_and_the_result_can_be_kept(
    operator: Operator, tmp_path: Path
) -> None:
    page = operator.page
    outcome = await run_load_test(page, 2_000)
    await expect(outcome.locator('.steps li[data-ok="pending"]')).to_have_count(4)
    bar = outcome.get_by_role("progressbar")
    await expect(bar).to_have_attribute("max", "2000")
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
    await expect(outcome.locator('.steps li[data-ok="true"]')).to_have_count(4)
    await expect(bar).to_be_hidden()
    async with page.expect_download() as downloading:
        await outcome.get_by_role("link", name="Result").click()
    download = await downloading.value
    await download.save_as(tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert download.suggested_filename == f"demonstration-{result['id']}.json"
    assert (result["state"], len(result["result"]["sequences"])) == ("succeeded", 2_000)


async def test_a_demonstration_is_cancelled_and_accounts_for_what_it_asked(
    operator: Operator,
) -> None:
    page = operator.page
    outcome = await run_load_test(page, 100_000)
    cancel = outcome.get_by_role("button", name="Cancel")
    await cancel.focus()
    await page.wait_for_timeout(1_000)
    await expect(cancel).to_be_focused()  # updates come several times a second
    await page.keyboard.press("Enter")
    await expect(outcome).to_have_attribute("data-state", "cancelled", timeout=WAIT_MS)
    await expect(outcome).to_contain_text("Cancelled")
    await expect(outcome.locator('.steps li[data-ok="true"]')).to_have_count(4)
    await expect(page.locator(".demo [type=submit]:enabled")).to_have_count(4)


async def test_a_reload_in_the_middle_finds_it_again(operator: Operator, cluster4: Cluster) -> None:
    page = operator.page
    outcome = await run_load_test(page, 100_000)
    job = await outcome.get_attribute("data-job") or ""
    assert page.url.endswith(f"#job={job}")
    await page.reload()
    await expect(outcome).to_have_attribute("data-job", job, timeout=WAIT_MS)
    await expect(outcome).to_have_attribute("data-state", "running")
    await expect(page.locator(".demo [type=submit]:disabled")).to_have_count(4)
    await page.goto(f"{cluster4.urls[2]}/dashboard#job=%zz")  # another node, no such address
    await expect(outcome).to_have_attribute("data-job", job, timeout=WAIT_MS)
    await expect(outcome).to_contain_text("on node-1")
    await outcome.get_by_role("button", name="Cancel").click()
    await expect(outcome).to_have_attribute("data-state", "cancelled", timeout=WAIT_MS)
    await page.goto(f"{cluster4.urls[1]}/dashboard#job={job}")  # what has ended is found by name
    await expect(outcome).to_have_attribute("data-state", "cancelled", timeout=WAIT_MS)
    await expect(page.locator(".demo [type=submit]:enabled")).to_have_count(4)


async def test_a_second_one_on_the_same_node_is_refused_and_says_why(operator: Operator) -> None:
    page = operator.page
    operator.refusals_expected = True
    outcome = await start_load(page, 20)
    await expect(outcome).to_have_attribute("data-state", "running")
    await page.locator('[data-demo="gaps"]').get_by_role("button", name="Run").click()
    problem = page.locator('[data-demo="gaps"] .problem')
    await expect(problem).to_contain_text("code NB049 · HTTP 409")
    await outcome.get_by_role("button", name="Cancel").click()
    await expect(outcome).to_have_attribute("data-state", "cancelled", timeout=END_MS)


async def test_a_node_is_killed_in_mid_load_and_nothing_is_lost(operator: Operator) -> None:
    page = operator.page
    outcome = await start_load(page, 7)
    await expect(outcome.locator('[data-load="answered"]')).to_have_attribute(
        "data-value", re.compile(r"^[1-9]\d*$"), timeout=WAIT_MS
    )
    await process(page, "node-2").get_by_role("button", name="Kill").click()
    strike = outcome.locator(".strikes > li")
    await expect(strike).to_contain_text("node-2 killed at", timeout=WAIT_MS)
    await expect(strike).to_contain_text(re.compile(r"served again after [\d,]+ ms"))
    await expect(strike.locator(".marks")).to_contain_text("node-2 started again")
    await expect(outcome.locator("svg .strike")).to_have_count(1)
    await outcome.get_by_text("As a table", exact=True).click()
    struck = outcome.locator("details tr", has_text="node-2 killed")
    await expect(struck).to_have_count(1)
    await expect(struck.locator("th")).to_have_text(re.compile(r"^\d+(\.\d+)? s$"))
    await expect(process(page, "node-2")).to_contain_text("ended", timeout=WAIT_MS)
    await expect(process(page, "node-2")).to_have_attribute("data-state", "running")
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
    await expect(outcome.locator('[data-load="failed"]')).to_have_attribute("data-value", "0")
    nothing_lost = outcome.locator('.steps li[data-ok="true"]', has_text="nothing lost")
    await expect(nothing_lost).to_contain_text(re.compile(r"(\d+) of \1 numbers"))
    await expect(outcome.locator('.steps li[data-ok="true"]')).to_have_count(4)


async def test_the_leader_is_killed_and_the_times_are_told(operator: Operator) -> None:
    outcome = await start_load(operator.page, 6, "leader")
    strike = outcome.locator(".strikes > li")
    await expect(strike).to_contain_text("the leader of etcd, killed at", timeout=WAIT_MS)
    marks = strike.locator(".marks > li")
    await expect(marks.filter(has_text="new etcd leader: member-")).to_contain_text(
        re.compile(r"^[\d,]+ ms"), timeout=WAIT_MS
    )
    await expect(marks.filter(has_text="first success")).to_contain_text(re.compile(r"^[\d,]+ ms"))
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)


async def test_the_page_outlives_the_node_that_serves_it(
    operator: Operator, cluster4: Cluster
) -> None:
    page = operator.page
    operator.refusals_expected = True
    await page.locator("#failover-target").select_option("node-1")
    await page.locator("#failover [name=awaySeconds]").fill("4")
    outcome = await start_load(page, 10, "node-1")
    dialog = page.locator("#strike-dialog")
    await expect(dialog).to_contain_text("node-1 serves this page")
    await expect(dialog).to_contain_text("Another node runs the load")
    await page.locator("#strike-do").click()
    await expect(outcome).to_contain_text(re.compile("on node-[234]"), timeout=WAIT_MS)
    job = await outcome.get_attribute("data-job")
    link = page.locator("#failover-away a").first
    await expect(link).to_be_visible(timeout=WAIT_MS)
    href = await link.get_attribute("href") or ""
    assert href.endswith(f"/dashboard#job={job}")
    assert href.partition("/dashboard")[0] in cluster4.urls[1:]
    await expect(page.locator("#failover-away")).to_be_hidden(timeout=END_MS)  # by itself
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
    await expect(outcome).to_contain_text("node-1 killed at")
    await page.goto(href)
    await expect(outcome).to_have_attribute("data-job", job or "", timeout=WAIT_MS)
    await expect(outcome).to_have_attribute("data-state", "good")


async def test_the_last_majority_is_taken_away_only_after_a_word(operator: Operator) -> None:
    page = operator.page
    await page.locator("#pause-seconds").fill("30")
    await process(page, "member-1").get_by_role("button", name="Pause").click()
    await expect(process(page, "member-1")).to_contain_text(
        re.compile(r"paused · back in \d+ s"), timeout=WAIT_MS
    )
    await process(page, "member-2").get_by_role("button", name="Stop").click()
    dialog = page.locator("#strike-dialog")
    await expect(dialog).to_contain_text("Stop member-2?")
    await expect(dialog).to_contain_text("a majority is 2")
    await expect(page.locator("#strike-keep")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(process(page, "member-2")).to_have_attribute("data-state", "running")
    await process(page, "member-1").get_by_role("button", name="Restart").click()
    await expect(process(page, "member-1")).to_have_attribute(
        "data-state", "running", timeout=WAIT_MS
    )


async def test_it_fits_a_telephone(operator: Operator) -> None:
    page = operator.page
    outcome = await start_load(page, 3)
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
    await page.set_viewport_size({"width": 360, "height": 740})
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_nodes_started_by_hand_say_how_to_be_broken(etcd: str, tmp_path: Path) -> None:
    flags = ("--profile", "demonstration", "--root", "/by-hand/")
    with running_node(tmp_path, etcd, *flags) as url:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium(), args=CHROMIUM_FLAGS
            )
            page = await browser.new_page()
            await page.goto(f"{url}/dashboard")
            await expect(page.locator("#processes-how")).to_contain_text("START-POC.sh")
            await expect(page.locator("#failover-target")).to_be_hidden()
            outcome = page.locator("#failover-outcome")
            await page.locator("#failover [name=seconds]").fill("3")
            await page.get_by_role("button", name="Start the load").click()
            await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
            await browser.close()
