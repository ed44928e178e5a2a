"""``coordinator load-test``: load nodes through their public API, and check what they answered."""

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from coordinator.cli.command import (
    BROKEN,
    INTERRUPTED,
    NODE_URL,
    OK,
    UNUSABLE,
    Command,
    say,
)
from coordinator.cli.validate import PROGRESS_EVERY_S
from coordinator.jobs.load_test import INVOICE, CannotBegin, Done, Plan, Report, load_test

REQUESTS_MAX = 100_000
CONCURRENCY_MAX = 1_000
URLS_MAX = 64
MARKS = {True: "true ", False: "FALSE", None: "-    "}


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--type", required=True, metavar="TYPE", help=f"a document type, or {INVOICE}")
    add("--requests", type=_up_to(REQUESTS_MAX), default=1_000, metavar="N", help=_REQUESTS)
    add("--concurrency", type=_up_to(CONCURRENCY_MAX), default=100, metavar="N", help=_CONCURRENCY)
    add("--url", action="append", type=_url, help=f"a node; may be repeated (default: {NODE_URL})")
    add("--only-reserve", action="store_true", help="do not confirm; all are cancelled in the end")
    add("--scope", action="append", default=[], metavar="NAME=VALUE", help=_SCOPE)
    add("--issue-date", metavar="DATE", help="the documents' date, such as 2026-12-31")
    add("--site", default="site-1", help=f"of {INVOICE} numbers (default: %(default)s)")
    add("--partition", default="partition-a", help="the same (default: %(default)s)")
    add("--invoice-type", default="on-cycle", help="the same (default: %(default)s)")
    add("--yes", action="store_true", help="numbers may be spent, also where they are real ones")
    add("--json", action="store_true", help="print the answer as JSON")


_REQUESTS = f"how many numbers to take, up to {REQUESTS_MAX:,} (default: 1,000)"
_CONCURRENCY = f"callers at the same time, up to {CONCURRENCY_MAX:,} (default: 100)"
_SCOPE = "a value that the series needs, such as project=LCBP3; may be repeated"


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {most:,}")

    return number


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
        raise argparse.ArgumentTypeError(f"{text!r} is no address like {NODE_URL}")
    return text.rstrip("/")


def _run(given: dict[str, Any]) -> int:
    try:
        plan = _plan(given)
        report = asyncio.run(_load(plan, may_spend=given["yes"]))
    except CannotBegin as why:
        say(str(why))
        return UNUSABLE
    print(json.dumps(_as_json(report), indent=2) if given["json"] else "\n".join(_lines(report)))
    if report.found:
        return BROKEN
    if report.interrupted:
        say("interrupted: it ended early")
        return INTERRUPTED
    return OK if report.complete else UNUSABLE


def _plan(given: dict[str, Any]) -> Plan:
    """Return what is to be done. Raises CannotBegin."""
    urls = tuple(dict.fromkeys(given["url"] or (NODE_URL,)))
    if len(urls) > URLS_MAX:
        raise CannotBegin(f"--url: at most {URLS_MAX} nodes are loaded at a time")
    is_invoice = given["type"] == INVOICE
    if is_invoice and (given["only_reserve"] or given["scope"] or given["issue_date"]):
        raise CannotBegin(
            f"--only-reserve, --scope and --issue-date are for documents, and --type {INVOICE} has "
            "none: leave them out"
        )
    scope = dict(each.partition("=")[::2] for each in given["scope"])
    if not all(name and value for name, value in scope.items()):
        raise CannotBegin("--scope: write NAME=VALUE, such as project=LCBP3")
    names = ("site", "partition", "invoice_type")
    asked: dict[str, Any] = dict(
        zip(("siteId", "partitionId", "invoiceType"), (given[name] for name in names), strict=True)
    )
    if not is_invoice:
        asked = {"document_type": given["type"], "scope": scope}
        if given["issue_date"]:
            asked["issue_date"] = given["issue_date"]
    amounts = (given["requests"], given["concurrency"], given["only_reserve"])
    return Plan(urls, given["type"], *amounts, asked)


async def _load(plan: Plan, *, may_spend: bool) -> Report:
    """Make the load test; Ctrl+C ends it early, and what is open is cancelled first."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    watching: list[asyncio.Task[None]] = []

    def stopped(number: int, _frame: object) -> None:
        signal.signal(number, before[number])  # a second one ends it at once
        loop.call_soon_threadsafe(stop.set)
        say("ending: open reservations are cancelled; once more ends at once, and they expire")

    def begun(done: Done) -> None:
        watching.append(asyncio.create_task(_tell(plan, done)))

    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.signal(each, stopped) for each in numbers}
    try:
        return await load_test(plan, stop, begun, may_spend=may_spend)
    finally:
        for task in watching:
            task.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


async def _tell(plan: Plan, done: Done) -> None:
    """Tell how far it has come."""
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        say(f"{done.answered:,} of {plan.requests:,} answered, {done.failed + done.unknown:,} not")


def _lines(report: Report) -> list[str]:
    plan, done = report.plan, report.done
    what = "numbers" if plan.is_invoice else "reservations" if plan.only_reserve else "pairs"
    rate = done.answered / report.seconds if report.seconds else 0.0
    callers = min(plan.concurrency, plan.requests)
    sum_of_all = f"{done.answered:,} {what} of {plan.series} in {report.seconds:.2f} s"
    lines = [f"{sum_of_all}: {rate:,.0f} a second, {callers:,} callers, {len(plan.urls)} nodes"]
    lines += [
        f"{name:8} p50 {t.p50_ms:9.2f} ms   p99 {t.p99_ms:9.2f} ms   max {t.max_ms:9.2f} ms"
        for name, t in report.times.items()
    ]
    lines += [f"errors   {count:,} x {code}" for code, count in sorted(report.errors.items())]
    if done.last_refusal:
        lines.append(f"the last: {done.last_refusal}")
    return lines + [f"{MARKS[ok]} {name}: {detail}" for name, ok, detail in report.claims]


def _as_json(report: Report) -> dict[str, Any]:
    done = report.done
    return {
        "type": report.plan.series,
        "requests": report.plan.requests,
        "answered": done.answered,
        "refused": done.failed,
        "unknown": done.unknown,
        "seconds": report.seconds,
        "perSecond": done.answered / report.seconds if report.seconds else 0.0,
        "latency": {name: times._asdict() for name, times in report.times.items()},
        "errors": report.errors,
        "lastRefusal": done.last_refusal,
        "claims": [claim._asdict() for claim in report.claims],
        "numbers": [min(done.numbers), max(done.numbers)] if done.numbers else [],
        "interrupted": report.interrupted,
    }


COMMAND = Command(
    name="load-test",
    help="load nodes through their public API, and check every number",
    description="Take numbers as billing sites do: of a document type in pairs of reserve and "
    "confirm, each of the two at another node; of the invoice series by single calls. It tells the "
    "rate, p50 and p99, and errors by their code, and checks that no number came twice, that they "
    "follow each other without a hole (when nobody else was served), that every confirmation "
    "answers what was reserved, also when repeated elsewhere, and that no reservation is left "
    "open. The numbers are spent: outside of demonstrations --yes must allow that. Ctrl+C cancels "
    "what is open. Exit codes: 0 all holds, 1 something does not, 2 it could not begin or not all "
    "was answered, 130 ended early and all holds.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator load-test --type COR --requests 1000 --concurrency 100",
        "coordinator load-test --type COR --url http://10.0.0.11:8080 --url http://10.0.0.12:8080",
        "coordinator load-test --type RFA --scope project=TEST --only-reserve --requests 200",
        "coordinator load-test --type invoice --requests 5000 --json",
    ),
)
