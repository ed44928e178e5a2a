"""An operator at the first page, whose browser may copy; and commands as they were copied."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest_asyncio
from accessible import DESK
from conftest import Cluster
from documents_page import browser
from playwright.async_api import APIResponse, Browser, Page, expect
from support import ask, wait_for
from test_dashboard import WAIT_MS, Operator

__all__ = ["Command", "browser", "open_first_page", "operator"]


class Command(NamedTuple):
    """What a curl command asks for."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, words: list[str]) -> "Command":
        """Read the words of a command."""
        assert words[0] == "curl"
        after = dict(pairwise(words))
        headers = [words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H"]
        body = json.loads(after["-d"]) if "-d" in after else None
        method = after.get("-X", "POST" if body is not None else "GET")
        url = next(urlsplit(word) for word in words if word.startswith("http"))
        return cls(method, url.path, dict(headers), body)

    async def run(self, page: Page, url: str) -> APIResponse:
        """Send it, as curl would."""
        return await page.request.fetch(
            url + self.path, method=self.method, headers=self.headers, data=self.body
        )


async def open_first_page(operator: Operator, address: str = "") -> None:
    """Open the page, and wait until it is live."""
    await operator.page.goto(f"{operator.url}/dashboard{address}")
    await expect(operator.page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)


@pytest_asyncio.fixture(loop_scope="module")
async def operator(cluster4: Cluster, browser: Browser) -> AsyncIterator[Operator]:
    """Somebody at the first page, in a browser profile of this test's own."""
    url = cluster4.urls[0].rstrip("/")
    wait_for(lambda: ask(url, "health")[0] == 200, 30, "the node is well")
    context = await browser.new_context(
        viewport=DESK, locale="en-US", permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(WAIT_MS)
    operator = Operator(await context.new_page(), url)
    await open_first_page(operator)
    yield operator
    await context.close()
    assert operator.errors == []
    assert operator.hosts == {urlsplit(operator.url).netloc}
