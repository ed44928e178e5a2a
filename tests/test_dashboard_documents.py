"""The page of series and documents in a real browser, on a real cluster, as an operator uses it."""

import re
from pathlib import Path

import pytest
from accessible import findings, sideways
from documents_page import ADMIN, API, REASON, Clerk, browser, clerk
from playwright.async_api import Route, expect
from test_dashboard import WAIT_MS

__all__ = ["browser", "clerk"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_series_tell_how_full_they_are_and_what_comes_next(clerk: Clerk) -> None:
    page = clerk.page
    await page.get_by_role("link", name="Numbers").click()
    await page.get_by_role("link", name="Documents").click()
    assert (
        "default-src 'self'"
        in (await clerk.api("GET", "/dashboard/documents")).headers["content-security-policy"]
    )
    kind = await clerk.series(max_value=100_000, template="{PREFIX}-{SEQ:6}")
    row = clerk.row(kind)
    await expect(row).to_contain_text("unused", timeout=WAIT_MS)
    await expect(row).to_contain_text("next 1")
    await clerk.post(
        f"{ADMIN}/sequences/adjust",
        {"document_type": kind, "next_value": 95_001, "reason": "a test", "pass_over_max": 95_000},
    )
    await clerk.issued(kind, 1)
    await expect(row).to_contain_text("95 % · 4,999 left", timeout=WAIT_MS)
    await expect(row).to_contain_text("next 95,002")
    await expect(row).to_contain_text("nearly full")
    await expect(row).to_contain_text(re.compile(r"1 count · runs out about \w+ \d+, \d{4} at 1 a"))
    await expect(row.get_by_role("progressbar").first).to_have_js_property("value", 95.001)
    await row.get_by_role("button", name=kind, exact=True).click()
    await expect(row.locator(".counter")).to_contain_text(f"last {kind}-095001")


async def test_what_is_not_there_says_what_to_do_next(clerk: Clerk) -> None:
    page = clerk.page
    await page.get_by_label("Show series whose name or template has").fill("nothing like this")
    await expect(page.locator("#series-empty")).to_contain_text("Empty the field to see them all")
    await page.get_by_label("Show series whose name or template has").fill("")
    await expect(page.locator("#series-empty")).to_be_hidden()
    kind = await clerk.series()
    toggle = clerk.row(kind).get_by_role("button", name=kind, exact=True)
    await toggle.click()
    await expect(clerk.row(kind)).to_contain_text("reserve its first number")
    await expect(page.locator("#found-empty")).to_contain_text("appear here")
    await clerk.row(kind).get_by_role("button", name=f"Reserve a number of {kind}").click()
    await expect(page.locator("#reserve [data-series]")).to_have_value(kind)
    await expect(page.locator("#reserve [data-next]")).to_have_text(f"{kind}-000001")


async def test_a_series_is_made_with_its_numbers_in_sight(clerk: Clerk) -> None:
    page, form = clerk.page, clerk.page.locator("#editor")
    clerk.refusals_expected = True
    kind = f"N{(await clerk.series())[1:]}"
    await page.get_by_role("button", name="New series").click()
    await page.keyboard.type(kind)
    numbers = page.locator("#preview-numbers li")
    template = form.get_by_label("Template")
    await template.fill("{PREFIX}-{PROJECT}-{YYYY}")
    await expect(form.locator("label:has([name=template]) .wrong")).to_contain_text("{SEQ:n}")
    await expect(numbers).to_have_count(0)
    await template.fill("{PREFIX}-{PROJECT}-{YYYY}-{SEQ:4}")
    await form.get_by_label("Last number").fill("9999")
    await form.get_by_label("project", exact=True).check()
    await form.get_by_label("yearly").check()
    await form.get_by_label("Values of tokens").fill("PROJECT = TEXT:8")
    await form.get_by_label("Project", exact=True).last.fill("LCBP3")
    await form.get_by_label("Tried with date").fill("2031-05-01")
    await expect(numbers).to_have_text([f"{kind}-LCBP3-2031-000{at}" for at in (1, 2, 3)])
    await expect(form.locator(".wrong")).to_have_count(0)
    await form.get_by_role("button", name="Save", exact=True).click()
    await expect(form.locator("label:has([name=reason]) .wrong")).to_be_visible()
    await expect(form.locator(".problem")).to_contain_text(re.compile(r"NB009 .* request \S+"))
    await form.get_by_label("Reason of the change").fill("a new kind of letter")
    await form.get_by_role("button", name="Save", exact=True).click()
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind} is saved as version 1")
    await expect(form.locator(".problem")).to_have_count(0)
    await expect(clerk.row(kind)).to_be_visible(timeout=WAIT_MS)


async def test_a_change_is_a_new_version_and_its_history_is_kept(clerk: Clerk) -> None:
    page, form = clerk.page, clerk.page.locator("#editor")
    kind = await clerk.series()
    await clerk.issued(kind, 2)
    await clerk.row(kind).get_by_role("button", name=f"Edit series {kind}").click()
    numbers = page.locator("#preview-numbers li")
    await expect(numbers).to_have_text([f"{kind}-00000{at}" for at in (3, 4, 5)])
    await form.get_by_label("Operators may name a number").check()
    await form.get_by_label("Reason of the change").fill("the move of March")
    await form.get_by_role("button", name="Save", exact=True).click()
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind} is saved as version 2")
    await expect(page.locator("#editor-state")).to_contain_text("version 2 · saved")
    await form.get_by_text("Changes of this series").click()
    await expect(page.locator("#changes li")).to_have_count(2)
    await expect(page.locator("#changes li").first).to_contain_text("the move of March")


async def test_what_others_save_never_overwrites_what_is_typed(clerk: Clerk) -> None:
    page, form = clerk.page, clerk.page.locator("#editor")
    clerk.refusals_expected = True
    kind = await clerk.series()
    await clerk.reads("#editor", kind)
    await form.get_by_label("Reason of the change").press_sequentially("half a sentnce")
    for _ in "nce":
        await page.keyboard.press("ArrowLeft")
    await clerk.api(
        "PUT",
        f"{ADMIN}/templates/{kind}",
        data={"template": "{PREFIX}-{SEQ:7}", "version": 1, "reason": "somebody else"},
    )
    await expect(page.locator("#newer")).to_contain_text("saved version 2", timeout=WAIT_MS)
    await page.keyboard.type("e")
    await expect(form.get_by_label("Reason of the change")).to_have_value("half a sentence")
    await form.get_by_role("button", name="Save", exact=True).click()
    problem = form.locator(".problem")
    await expect(problem).to_contain_text(re.compile(r"at version 2 by now.*NB030 .* request \S+"))
    await clerk.refresh()
    await expect(problem).to_be_visible()
    await page.get_by_role("button", name="Load version 2").click()
    await clerk.answer("Leave what you have typed?", f"Leave it, and edit {kind}")
    await expect(form.get_by_label("Template")).to_have_value("{PREFIX}-{SEQ:7}")
    await expect(page.locator("#newer")).to_be_hidden()


async def test_a_number_is_reserved_and_confirmed(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(
        template="{PREFIX}-{PROJECT}-{YYYY}-{SEQ:6}",
        scopes=["PROJECT", "YEARLY"],
        tokens={"PROJECT": "TEXT:8"},
    )
    form = await clerk.reads("#reserve", kind)
    await expect(form.locator("[data-next]")).to_have_text("give the project first")
    await form.get_by_label("Project").fill("P7")
    await form.get_by_label("Issue date").fill("2027-02-03")
    number = f"{kind}-P7-2027-000001"
    await expect(form.locator("[data-next]")).to_have_text(number)
    await form.get_by_role("button", name="Reserve", exact=True).click()
    await expect(form.locator("[data-result]")).to_contain_text(f"{number} is reserved until")
    row = clerk.reservation(number)
    left = row.locator(".left")
    await expect(left).to_have_text(re.compile(r"^[45]:\d\d left$"))
    first = await left.inner_text()
    await expect(left).not_to_have_text(first)  # it counts down
    await row.get_by_role("button", name=f"Confirm {number}", exact=True).click()
    await expect(left).to_have_text(re.compile(r"^confirmed at "))
    await expect(row.get_by_role("button", name=f"Look up {number}")).to_be_focused()
    assert (await clerk.number(number))["state"] == "CONFIRMED"
    await row.get_by_role("button", name=f"Look up {number}").click()
    await expect(page.locator("#found-state")).to_have_text("confirmed")


async def test_a_reservation_is_cancelled_with_its_reason(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series()
    form = await clerk.reads("#reserve", kind)
    await form.get_by_role("button", name="Reserve", exact=True).click()
    number = f"{kind}-000001"
    row = clerk.reservation(number)
    await row.get_by_role("button", name=f"Cancel {number}").click()
    dialog = page.locator("#ask")
    await page.keyboard.press("Escape")
    await expect(dialog).not_to_have_attribute("open", "")
    await expect(row.get_by_role("button", name=f"Cancel {number}")).to_be_focused()
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name=f"Cancel {number}", exact=True).click()
    await expect(dialog).to_have_attribute("open", "")  # not without a reason
    await dialog.get_by_label("Reason").fill(REASON)
    await clerk.answer(f"Cancel the reservation of {number}?", f"Cancel {number}")
    await expect(row.locator(".left")).to_have_text(re.compile(r"^cancelled at "))
    told = await clerk.number(number)
    assert (told["state"], told["reason"]) == ("CANCELLED", REASON)


async def test_what_was_reserved_elsewhere_has_no_buttons_and_expires(clerk: Clerk) -> None:
    kind = await clerk.series(reservation_s=5)
    number = (await clerk.reserved(kind))["document_number"]
    other = clerk.reservation(number)
    await expect(other).to_contain_text("reserved elsewhere", timeout=WAIT_MS)
    await expect(other.get_by_role("button", name="Confirm")).to_have_count(0)
    form = await clerk.reads("#reserve", kind)
    await form.get_by_role("button", name="Reserve", exact=True).click()
    mine = clerk.reservation(f"{kind}-000002")
    await expect(mine.get_by_role("button", name="Confirm", exact=False).first).to_be_visible()
    await expect(mine.locator(".left")).to_contain_text("expired", timeout=WAIT_MS)
    await expect(mine.get_by_role("button", name="Confirm")).to_have_count(0)
    await expect(other).to_have_count(0, timeout=4 * WAIT_MS)


async def test_a_lost_answer_is_settled_by_the_same_key(clerk: Clerk) -> None:
    clerk.refusals_expected = True
    kind = await clerk.series()
    keys: list[str] = []

    async def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            await route.continue_()
            return
        await route.fetch()  # the node commits it; only the answer never arrives
        await route.abort()

    await clerk.page.route(f"**{API}/reserve", lose_the_first)
    form = await clerk.reads("#reserve", kind)
    await form.get_by_role("button", name="Reserve", exact=True).click()
    problem = form.locator(".problem")
    await expect(problem).to_contain_text("outcome is unknown")
    await problem.get_by_role("button", name="Try again").click()
    await expect(form.locator("[data-result]")).to_contain_text(f"{kind}-000001 is reserved")
    assert len(keys) == 2
    assert keys[0] == keys[1]


async def test_nothing_jumps_as_the_page_loads_and_follows_others(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(reservation_s=600)
    await page.add_init_script(
        """window.jumps = [];
        new PerformanceObserver(list => jumps.push(...list.getEntries()
            .filter(each => !each.hadRecentInput && each.value > 0.01)
            .map(each => `${each.value}: ${each.sources.map(it => it.node?.className)}`)))
          .observe({ type: "layout-shift", buffered: true })"""
    )
    await clerk.open()
    for _ in range(6):
        made = await clerk.reserved(kind)
    await expect(clerk.reservation(made["document_number"])).to_be_visible(timeout=WAIT_MS)
    await clerk.refresh()
    assert await page.evaluate("jumps") == []


async def test_the_page_says_that_it_is_stale_and_goes_on(clerk: Clerk) -> None:
    page = clerk.page
    clerk.refusals_expected = True
    await page.route(f"**{API}/reservations*", lambda route: route.abort())
    await expect(page.locator("#live-text")).to_have_text("Stale", timeout=WAIT_MS)
    await expect(page.locator("#live-age")).to_contain_text("since")
    await page.unroute(f"**{API}/reservations*")
    await page.get_by_role("button", name="Try now").click()
    await expect(page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)


async def test_it_fits_a_telephone(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(reservation_s=600)
    (number,) = await clerk.issued(kind)
    await clerk.reserved(kind)
    await page.set_viewport_size({"width": 390, "height": 844})
    await clerk.open(f"?number={number}")
    await expect(page.locator("#found-number")).to_have_text(number)
    await clerk.row(kind).get_by_role("button", name=kind, exact=True).click()
    assert await sideways(page) == []


@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_axe_has_no_findings(clerk: Clerk, colours: str, tmp_path: Path) -> None:
    page = clerk.page
    clerk.refusals_expected = True
    await page.emulate_media(color_scheme=colours)
    kind = await clerk.series(reservation_s=600)
    (number,) = await clerk.issued(kind)
    await clerk.row(kind).get_by_role("button", name=kind, exact=True).click()
    await page.get_by_label("Document number").first.fill(number)
    await page.get_by_role("button", name="Look up", exact=True).click()
    await expect(page.locator("#found-state")).to_have_text("confirmed")
    form = await clerk.reads("#reserve", kind)
    await form.get_by_role("button", name="Reserve", exact=True).click()
    await expect(clerk.reservation(f"{kind}-000002")).to_be_visible()
    await page.locator("#editor [name=template]").fill("{NOTHING")
    await page.locator("#editor button[type=submit]").click()
    await expect(page.locator("#editor .problem")).to_be_visible()
    rows = tmp_path / "old.csv"
    rows.write_text(f"document_type,document_number\n{kind},{kind}-000009\n{kind},wrong\n", "utf-8")
    await page.locator("#import [name=file]").set_input_files(rows)
    await page.get_by_role("button", name="Check", exact=True).click()
    await expect(page.locator("#import-rows")).to_be_visible(timeout=WAIT_MS)
    assert await findings(page) == []
    await clerk.reservation(f"{kind}-000002").get_by_role("button", name="Cancel").click()
    assert await findings(page) == []
