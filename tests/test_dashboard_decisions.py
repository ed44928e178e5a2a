"""What operators decide on the page of documents: void, name, adjust, close, import."""

import csv
import re
from pathlib import Path

import pytest
from documents_page import ADMIN, REASON, Clerk, browser, clerk
from playwright.async_api import expect
from test_dashboard import WAIT_MS
from workbooks import saved, workbook

__all__ = ["browser", "clerk"]
pytestmark = pytest.mark.asyncio(loop_scope="module")
IMPORTED_MS = 60_000


async def looked_up(clerk: Clerk, number: str) -> None:
    await clerk.page.get_by_label("Document number").first.fill(number)
    await clerk.page.get_by_role("button", name="Look up", exact=True).click()
    await expect(clerk.page.locator("#found-number")).to_have_text(number)


async def test_a_number_is_voided_and_replaced_and_the_chain_can_be_walked(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series()
    first, second, third = (f"{kind}-00000{at}" for at in (1, 2, 3))
    await clerk.issued(kind)
    await looked_up(clerk, first)
    await expect(page.locator("#found-history li")).to_have_count(2)
    form = page.locator("#void")
    await form.get_by_label("Reason").fill("too short")
    await form.get_by_role("button", name="Void and replace…", exact=True).click()
    await expect(page.locator("#ask")).not_to_have_attribute("open", "")
    await form.get_by_label("Reason").fill(REASON)
    await form.get_by_role("button", name="Void and replace…", exact=True).click()
    await clerk.answer(f"Void {first}?", f"Void and replace {first}")
    await expect(page.locator("#void-result")).to_have_text(
        f"{first} is void. In its place: {second}"
    )
    await expect(page.locator("#found-state")).to_have_text("void")
    await expect(page.locator("#found-facts")).to_contain_text(f"Replaced by{second}")
    await page.locator("#void-result").get_by_role("button", name=second).click()
    await expect(page.locator("#found-facts")).to_contain_text(f"Replaces{first}")
    await form.get_by_label("Reason").fill(REASON)
    await form.get_by_role("button", name="Void and replace…", exact=True).click()
    await clerk.answer(f"Void {second}?", f"Void and replace {second}")
    await expect(page.locator(".chain li")).to_have_text([first, second, third])
    await page.locator(".chain").get_by_role("button", name=third).click()
    await form.get_by_label("Reason").fill(REASON)
    await form.get_by_role("button", name="Void only…", exact=True).click()
    await clerk.answer(f"Void {third}?", f"Void {third}")
    await expect(page.locator("#void-result")).to_contain_text("without a replacement")
    await expect(page).to_have_url(re.compile(f"number={third}$"))
    told = await clerk.number(third)
    assert (told["state"], told["chain"]) == ("VOID", [first, second, third])


async def test_a_number_that_never_was_is_told_and_the_words_stay(clerk: Clerk) -> None:
    clerk.refusals_expected = True
    form = clerk.page.locator("#lookup")
    await form.get_by_label("Document number").fill("NOTHING-1")
    await form.get_by_role("button", name="Look up", exact=True).click()
    problem = form.locator(".problem")
    await expect(problem).to_contain_text(re.compile(r"NB010 · HTTP 404 · request \S+"))
    await clerk.refresh()
    await problem.get_by_role("button", name="Dismiss").click()
    await expect(problem).to_have_count(0)


async def test_an_operator_names_a_number_and_sees_what_becomes_void(clerk: Clerk) -> None:
    page = clerk.page
    clerk.refusals_expected = True
    barred = await clerk.series()
    kind = await clerk.series(allow_manual_override=True)
    form = await clerk.reads("#override", barred)
    await expect(form).to_contain_text(f"{barred} does not allow it")
    await clerk.reads("#override", kind)
    number = f"{kind}-000004"
    await form.get_by_label("Document number").fill(number)
    await form.get_by_role("button", name="Give it out", exact=True).click()
    await expect(page.locator("#ask")).not_to_have_attribute("open", "")  # a reason is required
    await form.get_by_label("Reason").fill(REASON)
    await form.get_by_role("button", name="Give it out", exact=True).click()
    await clerk.answer(f"Give out {number}?", f"Give out {number}")
    await expect(page.locator("#ask-text")).to_contain_text("3 numbers before it would be passed")
    await clerk.answer(f"Give out {number}?", f"Give out {number}, void 3")
    await expect(form.locator("[data-result]")).to_have_text(
        f"{number} is given out. Void now: 1\N{EN DASH}3 (3)."
    )
    await expect(page.locator("#found-number")).to_have_text(number)
    assert (await clerk.number(number))["state"] == "OVERRIDDEN"


async def test_a_count_is_adjusted_and_closed_by_name(clerk: Clerk) -> None:
    page = clerk.page
    clerk.refusals_expected = True
    kind = await clerk.series(template="{PREFIX}-{YYYY}-{SEQ:6}", scopes=["YEARLY"])
    await clerk.issued(kind, 1, issue_date="2025-03-01")
    row, form = clerk.row(kind), page.locator("#count")
    count = f"documents/{kind}/yearly=2025"
    await row.get_by_role("button", name=kind, exact=True).click()
    await row.get_by_role("button", name=f"Adjust or close {count}").click(timeout=WAIT_MS)
    await expect(form.get_by_label("Any day of its period")).to_have_value("2025-01-01")
    await expect(page.locator("#count-hint")).to_contain_text("1 was the last number")
    await form.get_by_label("Go on with").fill("6")
    await form.get_by_label("Reason").fill(REASON)
    await form.get_by_role("button", name="Adjust", exact=True).click()
    await clerk.answer(f"Let {count} go on with 6?", "Go on with 6")
    await clerk.answer(f"Let {count} go on with 6?", "Go on with 6, void 4")
    await expect(form.locator("[data-result]")).to_have_text(f"{count} goes on with 6.")
    await form.get_by_label("Reason").fill("the books of 2025")
    await form.get_by_role("button", name="Close…", exact=True).click()
    await clerk.answer(f"Close {count}?", f"Close {count}")
    await expect(form.locator("[data-result]")).to_contain_text(f"{count} is closed. 1 number")
    await expect(row.locator(".counter .flag")).to_have_text("closed", timeout=WAIT_MS)


def as_csv(folder: Path, kind: str, *numbers: str) -> Path:
    path = folder / "legacy.csv"
    rows = (f"{kind},{number}\n" for number in numbers)
    path.write_text("document_type,document_number\n" + "".join(rows), "utf-8")
    return path


async def test_a_file_is_checked_row_by_row_and_its_good_rows_come_in(
    clerk: Clerk, tmp_path: Path
) -> None:
    page, form = clerk.page, clerk.page.locator("#import")
    clerk.refusals_expected = True
    kind = await clerk.series()
    text = kind + "-00000{}"
    file = as_csv(tmp_path, kind, text.format(2), "=1+1", text.format(5), text.format(6))
    await form.get_by_label("File", exact=True).set_input_files(file)
    await form.get_by_role("button", name="Check", exact=True).click()
    verdict, rows = page.locator("#import-verdict"), page.locator("#import-rows tbody tr")
    await expect(verdict).to_contain_text("1 error: nothing comes in", timeout=IMPORTED_MS)
    await expect(verdict).to_contain_text(re.compile(r"request \S+\)$"))
    await expect(rows).to_have_count(4)
    await expect(rows.nth(1)).to_contain_text("cannot")
    await expect(rows.nth(1)).to_contain_text("does not read like")
    await form.get_by_role("button", name="Leave out all rows with errors").click()
    await expect(verdict).to_contain_text(
        "Checked: 3 of 4 rows can come in, 1 left out", timeout=IMPORTED_MS
    )
    await page.get_by_label("Take row 5").uncheck()
    await expect(form.get_by_label("Rows to leave out")).to_have_value("3, 5")
    await expect(verdict).to_contain_text("The choice of rows has changed")
    await page.locator("#commit").get_by_label("Reason").fill("the move of 2026")
    await page.locator("#commit").get_by_role("button", name="Import…", exact=True).click()
    await expect(page.locator("#ask-text")).to_contain_text(
        f"documents/{kind}: 2 numbers, 2 to 5. It goes on with 6. "
        "3 missing ones become void: 1, 3\N{EN DASH}4.",
        timeout=IMPORTED_MS,
    )
    await clerk.answer("Import 2 numbers of legacy.csv?", "Import 2 numbers")
    await expect(page.locator("#import-result")).to_contain_text(
        f"documents/{kind} goes on with", timeout=IMPORTED_MS
    )
    await expect(verdict).to_contain_text("Imported: 2 of 4 rows have come in, 2 left out")
    await expect(rows.locator(".tag")).to_have_text(
        ["imported", "left out", "imported", "left out"]
    )
    async with page.expect_download() as downloading:
        await form.get_by_role("button", name="Report (CSV)").click()
    await (await downloading.value).save_as(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(encoding="utf-8-sig", newline="") as report:
        told = [
            (row["row"], row["document_number"], row["state"]) for row in csv.DictReader(report)
        ]
    assert told == [
        ("2", text.format(2), "imported"),
        ("3", "'=1+1", "left out"),
        ("4", text.format(5), "imported"),
        ("5", text.format(6), "left out"),
    ]
    assert (await clerk.number(text.format(2)))["state"] == "IMPORTED"


async def test_a_file_with_a_slipped_digit_is_refused_until_the_void_numbers_are_named(
    clerk: Clerk, tmp_path: Path
) -> None:
    page, form = clerk.page, clerk.page.locator("#import")
    clerk.refusals_expected = True
    kind = await clerk.series()
    counter = f"documents/{kind}"
    file = as_csv(tmp_path, kind, f"{kind}-000001", f"{kind}-090001")
    await form.get_by_label("File", exact=True).set_input_files(file)
    await form.get_by_role("button", name="Check", exact=True).click()
    verdict = page.locator("#import-verdict")
    await expect(verdict).to_contain_text(
        f"but 89,999 numbers would become void: {counter} 2\N{EN DASH}90,000. Look for a slipped",
        timeout=IMPORTED_MS,
    )
    await expect(verdict).to_contain_text(re.compile(r"request \S+\)$"))
    await expect(page.locator("#import-rows tbody tr")).to_have_count(2)
    commit, dialog = page.locator("#commit"), page.locator("#ask")
    await commit.get_by_label("Reason").fill("the old books")
    await commit.get_by_role("button", name="Import…", exact=True).click()
    await expect(page.locator("#ask-text")).to_contain_text("89,999 numbers would become void")
    words = await clerk.copied(dialog.get_by_role("button", name="Copy as curl"))
    assert "pass_over_max=89999" in words
    await dialog.get_by_role("button", name="Keep as it is").click()
    await expect(page.locator("#import-result")).to_have_text("")
    await commit.get_by_role("button", name="Import…", exact=True).click()
    await clerk.answer("Import 2 numbers of legacy.csv?", "Import 2 numbers, void 89,999")
    await expect(page.locator("#import-result")).to_contain_text(
        f"{counter} goes on with 90,002", timeout=IMPORTED_MS
    )
    assert (await clerk.number(f"{kind}-090001"))["state"] == "IMPORTED"


async def test_a_workbook_comes_in_and_a_file_that_is_none_is_refused(
    clerk: Clerk, tmp_path: Path
) -> None:
    page, form = clerk.page, clerk.page.locator("#import")
    clerk.refusals_expected = True
    bad = tmp_path / "bad.csv"
    bad.write_text("what,is,this\n1,2,3\n", "utf-8")
    await form.get_by_label("File", exact=True).set_input_files(bad)
    await form.get_by_role("button", name="Check", exact=True).click()
    await expect(form.locator(".problem")).to_contain_text(
        re.compile(r"NB044 .* request \S+"), timeout=IMPORTED_MS
    )
    kind = await clerk.series()
    content = saved(workbook((kind, f"{kind}-000001"), (kind, f"{kind}-000002")))
    book = {"name": "old.xlsx", "mimeType": "application/octet-stream", "buffer": content}
    await form.get_by_label("File", exact=True).set_input_files(book)
    await expect(form.locator(".problem")).to_have_count(0)
    await page.locator("#import").get_by_role("button", name="Check", exact=True).click()
    counts = page.locator("#import-counters tbody tr")
    await expect(counts).to_contain_text("none", timeout=IMPORTED_MS)
    await page.locator("#commit").get_by_label("Reason").fill("the old books")
    await page.locator("#commit").get_by_role("button", name="Import…", exact=True).click()
    await clerk.answer("Import 2 numbers of old.xlsx?", "Import 2 numbers")
    await expect(page.locator("#import-result")).to_contain_text(
        "2 numbers came in", timeout=IMPORTED_MS
    )


async def test_every_action_can_be_copied_as_a_command_that_does_it(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(allow_manual_override=True)
    form = await clerk.reads("#reserve", kind)
    words = await clerk.copied(form.get_by_role("button", name="Copy as curl"))
    assert words[:2] == ["curl", f"{clerk.url}/api/v1/document-numbering/reserve"]
    headers = dict(words[at + 1].split(": ") for at, word in enumerate(words) if word == "-H")
    assert headers["Content-Type"] == "application/json"
    answer = await page.request.post(words[1], headers=headers, data=words[words.index("-d") + 1])
    assert answer.status == 201, await answer.text()
    assert (await answer.json())["data"]["document_number"] == f"{kind}-000001"
    await expect(page.get_by_role("button", name="Copy as curl: save the series")).to_be_visible()
    await clerk.reads("#count", kind)
    count = page.locator("#count")
    await count.get_by_label("Reason").fill('it\'s "over" $HOME')
    await count.get_by_role("button", name="Close…", exact=True).click()
    words = await clerk.copied(page.locator("#ask").get_by_role("button", name="Copy as curl"))
    assert words[1] == f"{clerk.url}{ADMIN}/sequences/close"
    assert '"it\'s \\"over\\" $HOME"' in words[words.index("-d") + 1]
    await page.locator("#ask").get_by_role("button", name="Keep as it is").click()
    for panel in ("#lookup", "#override", "#count", "#import"):
        button = page.locator(f"{panel} .curl").first
        assert (await clerk.copied(button))[0] == "curl"


async def test_lists_stand_still_under_the_pointer(clerk: Clerk) -> None:
    page = clerk.page
    kind = await clerk.series(reservation_s=600)
    first = (await clerk.reserved(kind))["document_number"]
    await expect(clerk.reservation(first)).to_be_visible(timeout=WAIT_MS)
    await clerk.reservation(first).scroll_into_view_if_needed()
    await clerk.reservation(first).hover()
    second = (await clerk.reserved(kind))["document_number"]
    await expect(page.locator("#reservations-state")).to_contain_text(
        "held while in use", timeout=WAIT_MS
    )
    await expect(clerk.reservation(second)).to_have_count(0)
    await page.mouse.move(5, 300)
    await expect(clerk.reservation(second)).to_be_visible(timeout=WAIT_MS)
