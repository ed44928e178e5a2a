"""An operator at the page of series and documents, and what the tests see beside the page."""

import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio
from conftest import Cluster
from playwright.async_api import Browser, Locator, async_playwright, expect
from support import ask, wait_for
from test_dashboard import CHROMIUM_FLAGS, WAIT_MS, Operator, chromium

API = "/api/v1/document-numbering"
ADMIN = "/api/v1/admin/document-numbering"
REASON = "the customer was another one"


class Clerk(Operator):
    """Works with document numbers; each test has series of its own."""

    async def open(self, address: str = "") -> None:
        """Open the page, and wait until it knows what there is."""
        await self.page.goto(f"{self.url}/dashboard/documents{address}")
        await expect(self.page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Do something beside the page; return what came of it."""
        return (await (await self.api("POST", path, data=body)).json())["data"]

    async def series(self, **more: Any) -> str:
        """Define a series of this test's own; return its type."""
        kind = f"T{uuid.uuid4().hex[:8]}"
        template = more.pop("template", "{PREFIX}-{SEQ:6}")
        body = {"document_type": kind, "template": template, "reason": "a test", **more}
        await self.post(f"{ADMIN}/templates", body)
        return kind

    async def reserved(self, kind: str, **more: Any) -> dict[str, Any]:
        """Reserve a number beside the page."""
        return await self.post(f"{API}/reserve", {"document_type": kind, **more})

    async def issued(self, kind: str, count: int = 1, **more: Any) -> list[str]:
        """Reserve and confirm numbers beside the page; return how they are written."""
        numbers = []
        for _ in range(count):
            made = await self.reserved(kind, **more)
            await self.post(f"{API}/confirm", {"token": made["token"]})
            numbers.append(made["document_number"])
        return numbers

    async def number(self, text: str) -> dict[str, Any]:
        """Return what the API knows of a number."""
        return (await (await self.api("GET", f"{API}/numbers/{text}")).json())["data"]

    async def reads(self, form: str, kind: str) -> Locator:
        """Wait until a form offers a series, and choose it there."""
        select = self.page.locator(f"{form} [data-series]")
        await expect(select.locator(f"option[value={kind}]")).to_have_count(1, timeout=WAIT_MS)
        await select.select_option(kind)
        return self.page.locator(form)

    def row(self, kind: str) -> Locator:
        """Return the row of a series."""
        return self.page.locator(f'#series > [data-key="{kind}"]')

    def reservation(self, number: str) -> Locator:
        """Return the row of a reservation."""
        return self.page.locator(f'#reservations > [data-key="{number}"]')

    async def answer(self, title: str, yes: str) -> None:
        """Read the question, which must name what it is about, and say yes."""
        dialog = self.page.locator("#ask")
        await expect(dialog.get_by_role("heading")).to_have_text(title)
        await dialog.get_by_role("button", name=yes, exact=True).click()

    async def refresh(self) -> None:
        """Wait until the page has read everything once more."""
        await self.refreshes(2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for a module: starting it takes longer than most tests."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def clerk(cluster4: Cluster, browser: Browser) -> AsyncIterator[Clerk]:
    """An operator at the page, in a browser profile of this test's own."""
    url = cluster4.urls[0].rstrip("/")
    wait_for(lambda: ask(url, "health")[0] == 200, 30, "the node is well")
    context = await browser.new_context(
        viewport={"width": 1440, "height": 900},
        locale="en-US",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(WAIT_MS)
    clerk = Clerk(await context.new_page(), url)
    await clerk.open()
    yield clerk
    await context.close()
    assert clerk.errors == []
    assert clerk.hosts == {urlsplit(clerk.url).netloc}
