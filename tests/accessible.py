"""What axe-core has to say against a page, and whether it fits its window: for all pages."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

DESK, LAPTOP, PHONE = (
    {"width": 1440, "height": 900},
    {"width": 1280, "height": 800},
    {"width": 390, "height": 844},
)
_TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("main *")]
      .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
      .map(each => each.outerHTML.slice(0, 120))"""

_NEXT_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def sideways(page: Page) -> list[str]:
    """Return what makes the page scroll sideways: nothing, if all is well."""
    return list(await page.evaluate(_TOO_WIDE))


async def findings(page: Page) -> list[str]:
    """Return the findings of axe-core, each with the piece of the page it is about."""
    told = (await Axe().run(page)).response
    assert len(told["passes"]) > 10, "it has looked at nothing"
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in told["violations"]
        for node in rule["nodes"]
    ]


async def check(page: Page, *windows: dict[str, int]) -> None:
    """Check a page as it is now in windows of these sizes, in the light and in the dark."""
    for window in windows:
        await page.set_viewport_size(window)
        await page.evaluate(_NEXT_FRAMES)  # in which charts take their new size
        assert await sideways(page) == [], window
        for colours in ("light", "dark"):
            await page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            found = await findings(page)
            assert not found, (window, colours, found)
