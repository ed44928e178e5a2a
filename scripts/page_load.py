#!/usr/bin/env python3
"""Measure how the dashboard bears a load: frames a second, JavaScript heap, nodes of the DOM.

A cluster of its own is started (or name one), callers take numbers and give some back, and a
browser (Chromium) shows the first page. Each frame is timed in the page. The heap and the nodes
are counted after a forced collection, when the page has settled and again at the end: what has
grown in between, the page has not let go of.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import textwrap
from contextlib import AsyncExitStack
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from playwright.async_api import async_playwright
from screenshots import DESK, FLAGS, Load, NoPictures, cluster

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Page

SECONDS = 60.0
SETTLE_S = 8.0
CALLERS = 4
MEBIBYTE = 2**20

# The array is made before anything is measured, so that measuring does not fill the heap.
TIME_FRAMES = """frames => {
  const times = new Float32Array(frames);
  const found = (window.found = { times, count: 0, longTasks: 0, longest: 0 });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      found.longTasks += 1;
      found.longest = Math.max(found.longest, duration);
    }
  }).observe({ type: "longtask" });
  let last = performance.now();
  const frame = (now) => {
    if (found.count < frames) times[found.count++] = now - last;
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
BEGIN = "() => Object.assign(window.found, { count: 0, longTasks: 0, longest: 0 })"
END = "() => ({ ...window.found, times: [...window.found.times.slice(0, window.found.count)] })"


class Held(NamedTuple):
    """What a page holds after a collection."""

    heap_bytes: int
    nodes: int
    listeners: int


class Frames(NamedTuple):
    """How long the frames of a page took, in milliseconds; tasks of more than 50 ms; what was busy.

    ``busy`` is the main thread's share of one processor, whoever else uses the machine.
    """

    times_ms: list[float]
    long_tasks: int
    longest_task_ms: float
    busy: float

    def lines(self) -> list[str]:
        """Return them as a person reads them."""
        ordered = sorted(self.times_ms)
        seconds = sum(ordered) / 1000
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        middle = median(ordered)
        late = sum(time_ms > 1.5 * middle for time_ms in ordered)
        return [
            f"frames a second   {len(ordered) / seconds:.1f} ({len(ordered)} in {seconds:.1f} s)",
            f"ms for a frame    median {middle:.1f}, p99 {p99:.1f}, longest {ordered[-1]:.1f}",
            f"late frames       {late} took more than one and a half times the median",
            f"tasks over 50 ms  {self.long_tasks}, the longest {self.longest_task_ms:.0f} ms",
            f"main thread       {self.busy:.1%} of a processor",
        ]


async def held(session: CDPSession) -> Held:
    """Collect garbage, and count what is left."""
    for _ in range(2):  # what the first leaves behind the second takes
        await session.send("HeapProfiler.collectGarbage")
    used = await session.send("Runtime.getHeapUsage")
    counted = await session.send("Memory.getDOMCounters")
    return Held(int(used["usedSize"]), counted["nodes"], counted["jsEventListeners"])


async def busy_s(session: CDPSession) -> float:
    """Return how long the page's main thread has had a processor."""
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "ThreadTime"))


async def measure(page: Page, seconds: float) -> tuple[Held, Held, Frames]:
    """Return what a page holds before and after so long, and its frames in between."""
    await page.evaluate(TIME_FRAMES, int(seconds * 240))
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.enable")
    await session.send("Performance.enable")
    await asyncio.sleep(SETTLE_S)
    before = await held(session)
    await page.evaluate(BEGIN)
    busy_before_s = await busy_s(session)
    await asyncio.sleep(seconds)
    busy = (await busy_s(session) - busy_before_s) / seconds
    found = await page.evaluate(END)
    after = await held(session)
    return before, after, Frames(found["times"], found["longTasks"], found["longest"], busy)


def report(before: Held, after: Held, frames: Frames) -> str:
    """Return the figures as a person reads them."""
    grown = (after.heap_bytes - before.heap_bytes) / 1024
    first = before.heap_bytes / MEBIBYTE
    return "\n".join(
        [
            *frames.lines(),
            f"JavaScript heap   {first:.2f} MiB at the start, {grown:+.0f} KiB at the end",
            f"nodes of the DOM  {before.nodes} at the start, {after.nodes} at the end",
            f"event listeners   {before.listeners} at the start, {after.listeners} at the end",
        ]
    )


async def watched(browser: Browser, url: str, given: argparse.Namespace) -> str:
    """Open a page, and return how it did."""
    page = await browser.new_page(viewport=DESK, locale="en-US")
    await page.goto(url + given.page)
    if given.at:
        await page.locator(given.at).first.scroll_into_view_if_needed()
    return report(*await measure(page, given.seconds))


async def run(urls: list[str], given: argparse.Namespace) -> None:
    """Load the nodes, and measure the page of the first."""
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        stack.push_async_callback(browser.close)
        async for _ in Load.running(urls, stack, given.callers):
            print(await watched(browser, urls[0], given), flush=True)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  .venv/bin/python scripts/page_load.py --seconds 60",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long (60)")
    parser.add_argument("--callers", type=int, default=CALLERS, help="who take numbers (4)")
    parser.add_argument("--page", default="/dashboard", help="which page (/dashboard)")
    parser.add_argument("--at", default="", help="what to scroll to, as a CSS selector")
    parser.add_argument("--url", action="append", help="a node that runs; again for more of them")
    parser.add_argument("--port", type=int, default=18_080, help="first of four ports (18080)")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    given = parser.parse_args()
    if not given.chromium:
        print("there is no chromium: apt install chromium, or name one", file=sys.stderr)
        return 2
    if given.url:
        asyncio.run(run([url.rstrip("/") for url in given.url], given))
        return 0
    try:
        with cluster(given.port) as urls:
            asyncio.run(run(urls, given))
    except NoPictures as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
