#!/usr/bin/env python3
"""Take the pictures of the dashboard that the README shows, of a cluster of its own.

Three etcd members and four nodes are started in a throw-away folder, a browser (Chromium) looks at
them: empty, under load, while the etcd leader is killed, in the dark, on a phone; and at the pages
of documents and of the audit. Each picture is one file; look at each of them.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import textwrap
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import aiohttp
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Page, ViewportSize

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "dashboard" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
CALLERS = 24
SETTLE_S = 2.0
LOAD_S = 20.0
FAILOVER_S = 15
READY_S = 60.0
STOP_S = 15.0
PLACES = [
    {"siteId": site, "partitionId": partition, "invoiceType": kind}
    for site in ("site-1", "site-2")
    for partition in ("partition-a", "partition-b")
    for kind in ("on-cycle", "off-cycle", "suppressed")
]


class Shot(NamedTuple):
    """One picture: its name, what page it is of, how large the window is, and the colours."""

    name: str
    path: str
    window: ViewportSize
    colours: Literal["light", "dark"] = "light"
    whole: bool = False


OVERVIEWS = (
    Shot("overview-load", "/dashboard", DESK),
    Shot("dark", "/dashboard", DESK, "dark"),
    Shot("phone", "/dashboard", PHONE, "light"),
)
PAGES = (
    Shot("documents", "/dashboard/documents", DESK),
    Shot("audit", "/dashboard/audit?show=1&of=invoice", DESK),
)


class NoPictures(Exception):
    """The pictures cannot be taken; the message says why."""


@contextmanager
def cluster(port: int) -> Iterator[list[str]]:
    """Run a cluster; yield the addresses of its nodes."""
    command = [sys.executable, "-m", "cluster", "up", "--no-browser", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*command, "--data-dir", folder], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            said = []
            for line in process.stdout or ():
                said.append(line)
                if line.startswith("READY "):
                    break
            else:
                raise NoPictures("the cluster did not start:\n" + "".join(said))
            yield [f"http://127.0.0.1:{port + at}" for at in range(4)]
        finally:
            process.terminate()
            process.wait(STOP_S)


class Load:
    """Callers on all nodes: single numbers, some given back, some documents."""

    def __init__(self, urls: list[str], session: aiohttp.ClientSession) -> None:
        self._urls = urls
        self._session = session

    async def post(self, at: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call one node; nothing is told of one that does not answer."""
        url = f"{self._urls[at % len(self._urls)]}/api/v1/{path}"
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._session.post(url, json=body) as answer:
                return dict(await answer.json())
        return {}

    async def call_for_ever(self, caller: int) -> None:
        """Take numbers, and give one in fifty back."""
        for turn in range(sys.maxsize):
            place = PLACES[(caller + turn) % len(PLACES)]
            told = await self.post(caller, "sequence/next", place)
            numbers = told.get("sequenceNumbers", [])
            if turn % 50 == caller and numbers:
                where = {name: place[name] for name in ("siteId", "partitionId")}
                body = {**where, "sequenceNumber": numbers[0], "reason": "customer cancelled"}
                await self.post(caller + 1, "sequence/release", body)
            await asyncio.sleep(0.01)

    async def documents(self) -> None:
        """Reserve some documents, confirm, cancel and void some of them."""
        for at in range(12):
            kind = {"document_type": "COR"} if at % 3 else {"document_type": "invoice"}
            told = await self.post(at, "document-numbering/reserve", kind)
            token = told.get("data", {}).get("token")
            if at % 4 == 0:
                continue  # these wait for their deadline
            way = "cancel" if at % 5 == 0 else "confirm"
            await self.post(at, f"document-numbering/{way}", {"token": token})

    @classmethod
    async def running(
        cls, urls: list[str], stack: AsyncExitStack, callers: int = CALLERS
    ) -> AsyncIterator[Load]:
        """Yield a load that runs until the stack is left."""
        timeout = aiohttp.ClientTimeout(total=10)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        load = cls(urls, session)
        tasks = [asyncio.create_task(load.call_for_ever(caller)) for caller in range(callers)]
        stack.callback(lambda: [task.cancel() for task in tasks])
        yield load


async def picture(browser: Browser, url: str, shot: Shot, folder: Path) -> None:
    """Open a page anew and keep what it shows."""
    page = await browser.new_page(viewport=shot.window, color_scheme=shot.colours, locale="en-US")
    await page.goto(url + shot.path)
    await asyncio.sleep(SETTLE_S)
    await keep(page, shot.name, folder, whole=shot.whole)
    await page.close()


async def keep(page: Page, name: str, folder: Path, *, whole: bool = False) -> None:
    """Write a picture of a page as it is now."""
    path = folder / f"{name}.png"
    await page.screenshot(path=path, full_page=whole, animations="disabled")
    print(path, flush=True)


async def failover(browser: Browser, url: str, folder: Path) -> None:
    """Have the page kill the leader of etcd in the middle of a load, and keep how it ended."""
    page = await browser.new_page(viewport=DESK, locale="en-US")
    await page.goto(f"{url}/dashboard")
    form = page.locator("#failover")
    await form.locator("[name=seconds]").fill(str(FAILOVER_S))
    await form.locator("[name=target]").select_option("leader")
    await form.get_by_role("button", name="Start the load").click()
    outcome = page.locator("#failover-outcome")
    ended = page.locator("#failover-outcome:is([data-state=good], [data-state=bad])")
    await ended.wait_for(timeout=1_000 * (FAILOVER_S + READY_S))
    await outcome.scroll_into_view_if_needed()
    await keep(page, "failover", folder)
    await page.close()


async def take_all(urls: list[str], folder: Path, chromium: str) -> None:
    """Take all pictures."""
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        stack.push_async_callback(browser.close)
        await picture(browser, urls[0], Shot("overview-empty", "/dashboard", DESK), folder)
        async for load in Load.running(urls, stack):
            await load.documents()
            await asyncio.sleep(LOAD_S)
            for shot in (*OVERVIEWS, *PAGES):
                await picture(browser, urls[1], shot, folder)
        await failover(browser, urls[2], folder)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  .venv/bin/python scripts/screenshots.py --folder /tmp/pictures",
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help=f"where they go ({FOLDER.relative_to(ROOT)})"
    )
    parser.add_argument("--port", type=int, default=18_080, help="first of four ports (18080)")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    given = parser.parse_args()
    if not given.chromium:
        print("there is no chromium: apt install chromium, or name one", file=sys.stderr)
        return 2
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        with cluster(given.port) as urls:
            asyncio.run(take_all(urls, given.folder, given.chromium))
    except NoPictures as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
