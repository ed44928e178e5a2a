"""Somebody at the page of the audit."""

import uuid
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Locator, Page, expect
from test_dashboard import WAIT_MS, Operator

PLACE = {"siteId": "site-1", "partitionId": "partition-a"}
OTHER = {"siteId": "site-2", "partitionId": "partition-b"}
SHIFTED_MAX = 0.01
SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""


class Auditor(Operator):
    """Somebody who looks at the audit, and at what one user has done, who is of this test only."""

    def __init__(self, page: Page, url: str) -> None:
        super().__init__(page, url)
        self.user = f"user-{uuid.uuid4().hex[:8]}"

    async def open(self, address: str = "") -> None:
        """Open the page, and wait until its first answers are there."""
        await self.page.goto(f"{self.url}/dashboard/audit{address}")
        await self.settled()

    async def settled(self) -> None:
        """Wait until what was asked for is shown."""
        for table in ("#records-scroll", "#lives-scroll"):
            await expect(self.page.locator(table)).to_have_attribute(
                "aria-busy", "false", timeout=WAIT_MS
            )

    async def issue_by_user(self, count: int = 1, place: dict[str, str] = PLACE) -> list[int]:
        """Have the user take some numbers, one request each."""
        numbers: list[int] = []
        for _ in range(count):
            answer = await self._post("next", {**place, "invoiceType": "on-cycle"})
            numbers += answer["sequenceNumbers"]
        return numbers

    async def release_by_user(self, number: int, reason: str) -> None:
        """Have the user give a number back."""
        await self._post("release", {**PLACE, "sequenceNumber": number, "reason": reason})

    async def _post(self, call: str, body: dict[str, object]) -> dict[str, list[int]]:
        headers = {"X-User": self.user}
        path = f"/api/v1/sequence/{call}"
        return await (await self.api("POST", path, data=body, headers=headers)).json()

    async def reused(self) -> int:
        """Have a number issued, released and issued elsewhere; return it."""
        await self.fill_gaps()
        (number,) = await self.issue_by_user()
        await self.release_by_user(number, "customer cancelled")
        assert await self.issue_by_user(place=OTHER) == [number]
        return number

    @property
    def rows(self) -> Locator:
        """The records."""
        return self.page.locator("#records tr")

    @property
    def drawer(self) -> Locator:
        """Where one number is shown."""
        return self.page.locator("#drawer")

    @property
    def proof(self) -> Locator:
        """What the proof came to."""
        return self.page.locator("#drawer-proof")

    def asked(self) -> dict[str, list[str]]:
        """Return what the address asks for."""
        return parse_qs(urlsplit(self.page.url).query)

    async def numbers(self) -> list[int]:
        """Return the numbers of the records, as they stand in the table."""
        texts = await self.rows.locator('[data-label="Number"]').all_inner_texts()
        return [int(text.replace(",", "")) for text in texts]
