"""The page of calls in a real browser: it reads well everywhere, and copies what works."""

import shlex
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from accessible import LAPTOP, PHONE, check, sideways
from documents_page import browser
from playwright.async_api import Browser, Page, expect
from support import running_node
from test_dashboard import Operator

__all__ = ["browser"]

SHOWN = ("next", "bulkImport", "audit", "startJob", "readyz", "type-GapLife", "type-NextBody")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def url(etcd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that says another address of itself than the one that it is asked at."""
    folder = tmp_path_factory.mktemp("node")
    flags = ("--root", "/docs-page/", "--advertise-url", "http://numbers.example:8080")
    with running_node(folder, etcd, *flags) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, url: str) -> AsyncIterator[Page]:
    """The page, in a browser that may copy, and in which nothing goes wrong."""
    context = await browser.new_context(
        viewport=LAPTOP, locale="en-US", permissions=["clipboard-read", "clipboard-write"]
    )
    reader = Operator(await context.new_page(), url)
    await reader.page.goto(f"{url}/docs")
    await expect(reader.page.get_by_role("heading", name="The API of this node")).to_be_visible()
    yield reader.page
    await context.close()
    assert reader.errors == []
    assert reader.hosts == {urlsplit(url).netloc}


async def test_nothing_bars_anybody(page: Page) -> None:
    # All calls and types are written alike, so a few of each kind will do: axe takes minutes else.
    await page.evaluate(
        """for (const each of document.querySelectorAll("article.call"))
             if (!SHOWN.includes(each.id)) each.remove();
           document.querySelectorAll("tbody tr:nth-child(n + 9)").forEach(each => each.remove());
           document.querySelectorAll("details").forEach(each => each.open = true)""".replace(
            "SHOWN", str([*SHOWN])
        )
    )
    await expect(page.locator("article.call")).to_have_count(len(SHOWN))
    await check(page, LAPTOP, PHONE)


async def test_nothing_bars_anybody_from_what_is_folded_away(page: Page) -> None:
    await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for window in (LAPTOP, PHONE):
        await page.set_viewport_size(window)
        assert await sideways(page) == []


async def test_a_link_leads_to_each_call_code_and_type(page: Page) -> None:
    contents = page.get_by_role("navigation", name="Calls")
    await contents.get_by_role("link", name="Give a number back").click()
    assert page.url.endswith("#release")
    call = page.locator("#release")
    await expect(call.locator("h3")).to_be_in_viewport()
    await call.get_by_role("link", name="NB012").click()
    await expect(page.locator("#NB012")).to_be_in_viewport()
    await expect(page.locator("#NB012")).to_contain_text("Have its owner release it")
    await page.goto(f"{page.url.partition('#')[0]}#type-AuditRecord")
    await expect(page.locator("#type-AuditRecord h3")).to_be_in_viewport()


async def test_every_link_on_the_page_leads_somewhere(page: Page) -> None:
    lost = await page.evaluate(
        """[...document.querySelectorAll('a[href^="#"]')].map(each => each.getAttribute("href"))
           .filter(to => document.querySelectorAll(`[id="${to.slice(1)}"]`).length !== 1)"""
    )
    assert lost == []


async def test_a_command_is_copied_with_the_address_of_the_browser(page: Page, url: str) -> None:
    call = page.locator("#next")
    await call.get_by_role("button", name="Copy as curl").click()
    await expect(call.get_by_role("button")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    words = shlex.split(copied.replace("\\\n", " "))
    assert words[:4] == ["curl", "-X", "POST", f"{url}/api/v1/sequence/next"]
    assert "numbers.example" not in await page.locator("main").inner_text()


async def test_it_is_read_by_keyboard(page: Page) -> None:
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the calls")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="What holds for all")).to_be_focused()
    answers = page.locator("#next details").last
    await answers.locator("summary").focus()
    await page.keyboard.press("Enter")
    await expect(answers).to_have_attribute("open", "")


async def test_it_needs_no_script(browser: Browser, url: str) -> None:
    context = await browser.new_context(java_script_enabled=False, viewport=LAPTOP)
    page = await context.new_page()
    await page.goto(f"{url}/docs")
    await expect(page.locator("#next [data-curl]")).to_contain_text("numbers.example:8080")
    await expect(page.locator("#next button")).to_be_hidden()
    await context.close()


async def test_the_other_pages_lead_there_and_back(browser: Browser, url: str) -> None:
    page = await browser.new_page(viewport=LAPTOP)
    await page.goto(f"{url}/dashboard/audit?read-only")
    await page.get_by_role("link", name="API").click()
    assert page.url == f"{url}/docs?read-only"
    await page.get_by_role("link", name="Audit", exact=True).first.click()
    assert page.url.endswith("/dashboard/audit?read-only")
    await page.close()


async def test_no_page_may_load_anything_from_elsewhere(browser: Browser, url: str) -> None:
    page = await browser.new_page()
    answer = await page.goto(f"{url}/docs")
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-request-id"]
    await page.close()
