"""Words of others stay words: whatever they are, however long, whichever way they read."""

import re

import pytest
from accessible import sideways
from documents_page import ADMIN, API, Clerk, browser, clerk
from playwright.async_api import Page, expect
from test_dashboard import WAIT_MS

__all__ = ["browser", "clerk"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACE = {"siteId": "site-1", "partitionId": "partition-a"}
NARROW = {"width": 320, "height": 640}  # a small telephone, or 1,280 pixels at 400 %
MARKUP = (
    """"><img src=x onerror="window.struck=1">'</td></script><script>window.struck=1</script>"""
)
RIGHT_TO_LEFT = "\u202eetanimod\u202e \u05d7\u05e9\u05d1\u05d5\u05e0\u05d9\u05ea"
WORDS = (MARKUP, RIGHT_TO_LEFT, "W" * 500, "=HYPERLINK(1)", "{{ 7 * 7 }}${7 * 7}")


async def is_calm(page: Page) -> None:
    """Check that nothing was run, loaded or pushed aside."""
    assert await page.evaluate("window.struck") is None
    await expect(page.locator("img[src=x]")).to_have_count(0)
    for window in ({"width": 1280, "height": 800}, NARROW):
        await page.set_viewport_size(window)
        await page.wait_for_timeout(100)
        assert await sideways(page) == [], window


async def released(clerk: Clerk, reason: str) -> int:
    """Issue a number and release it for this reason, by a user of the same name."""
    user = reason.encode("ascii", "replace").decode()[:100]
    body = {**PLACE, "invoiceType": "on-cycle"}
    headers = {"X-User": user}
    answer = await clerk.api("POST", "/api/v1/sequence/next", data=body, headers=headers)
    number = (await answer.json())["sequenceNumbers"][0]
    data = {**PLACE, "sequenceNumber": number, "reason": reason}
    await clerk.api("POST", "/api/v1/sequence/release", data=data, headers=headers)
    return number


async def test_on_the_first_page_and_in_the_audit(clerk: Clerk) -> None:
    page = clerk.page
    for reason in WORDS:
        await released(clerk, reason)
    await page.goto(f"{clerk.url}/dashboard")
    await expect(page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)
    await expect(page.locator("#entries .reason").nth(1)).to_be_visible()
    for reason in WORDS[:3]:
        await expect(page.locator("#entries .reason", has_text=reason).first).to_be_visible()
    await is_calm(page)
    cut = await page.locator(".cell-type, .cell-result").evaluate_all(
        "all => all.filter(each => each.scrollWidth > each.clientWidth).map(e => e.textContent)"
    )
    assert cut == []
    await page.goto(f"{clerk.url}/dashboard/audit")
    await expect(page.locator("#records tr", has_text=MARKUP).first).to_be_visible()
    await expect(page.locator("#lives tr", has_text="{{ 7 * 7 }}").first).to_be_visible()
    await is_calm(page)
    number = await released(clerk, WORDS[2])
    await page.goto(f"{clerk.url}/dashboard/audit?show={number}&of=invoice")
    await expect(page.locator("#drawer-proof")).to_have_attribute(
        "data-state",
        re.compile("good|unknown"),
        timeout=WAIT_MS,  # the newest ten are proven
    )
    await is_calm(page)
    body = page.locator(".drawer-body")
    assert await body.evaluate("each => each.scrollWidth <= each.clientWidth")


async def test_in_series_and_documents(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(
        template="{PREFIX}-{PROJECT}-{SEQ:6}",
        scopes=["PROJECT"],
        tokens={"PROJECT": "TEXT:20"},
        allow_manual_override=True,
        metadata={"note": MARKUP, "long": "W" * 900},
    )
    made = await clerk.reserved(kind, scope={"project": "W" * 20}, metadata={"m": "W" * 3_900})
    await clerk.post(f"{API}/confirm", {"token": made["token"]})
    number = made["document_number"]
    header, metadata = "document_type,document_number,metadata", f'"{{""a"":""{"W" * 3_900}""}}"'
    data = f"{header}\n{kind},{kind}-P1-000007,{metadata}\n"
    await clerk.api(
        "POST",
        f"{ADMIN}/bulk-import?reason=moved",
        data=data.encode(),
        headers={"Content-Type": "text/csv"},
    )
    for reason in (MARKUP, RIGHT_TO_LEFT + "0123456789", "W" * 500):
        body = {"document_number": number, "reason": reason}
        voided = await clerk.post(f"{ADMIN}/void-and-replace", body)
        await clerk.open(f"?number={number}")
        await expect(page.locator("#found-facts dd", has_text=reason).first).to_be_visible()
        await is_calm(page)
        number = voided["replacement"]["document_number"]
    await clerk.open(f"?number={kind}-P1-000007")
    await expect(page.locator("#found-state")).to_have_text("imported", timeout=WAIT_MS)
    await clerk.row(kind).get_by_role("button", name=kind, exact=True).click()
    await clerk.row(kind).get_by_role("button", name="Edit").click()
    await is_calm(page)


async def test_rows_of_a_file_that_cannot_be_taken(clerk: Clerk) -> None:
    page = clerk.page
    clerk.refusals_expected = True
    rows = [(MARKUP, RIGHT_TO_LEFT), ("=1+1", "@SUM(1)"), ("W" * 3_000, MARKUP)]
    cells = "\n".join(",".join('"' + c.replace('"', '""') + '"' for c in row) for row in rows)
    content = f"document_type,document_number\n{cells}\n".encode()
    file = {"name": f"{'N' * 180}<b>.csv", "mimeType": "text/csv", "buffer": content}
    await page.locator("#import [name=file]").set_input_files(files=[file])
    await page.locator("#import").get_by_role("button", name="Check", exact=True).click()
    await expect(page.locator("#import-verdict")).to_have_attribute(
        "data-state", "bad", timeout=WAIT_MS
    )
    await is_calm(page)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Report (CSV)").click()
    text = (await (await download.value).path()).read_text("utf-8-sig")
    assert '"\'@SUM(1)"' in text
