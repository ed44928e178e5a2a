"""A call as a command of a shell, that anybody can repeat or change."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

JSON = "application/json"
STREAM = "text/event-stream"


def command(
    url: str,
    method: str,
    path: str,
    parameters: Iterable[Mapping[str, Any]],
    operation: Mapping[str, Any],
) -> str:
    """Return the command for the example of an operation of an OpenAPI document.

    The example has those parameters that have an example themselves, and the first body that does.
    """
    given = [each for each in parameters if "example" in each]
    query = []
    for each in given:
        name, value = each["name"], quote(_said(each["example"]), safe="")
        if each["in"] == "path":
            path = path.replace(f"{{{name}}}", value)
        else:
            query.append(f"{name}={value}" if value else name)
    address = f"{url}{path}{'?' if query else ''}{'&'.join(query)}"
    words = ["curl"]
    if method != "get":
        words += ["-X", method.upper()]
    if any(STREAM in answer.get("content", ()) for answer in operation["responses"].values()):
        words.append("-N")
    lines = [" ".join([*words, _quoted(address)])]
    content = operation.get("requestBody", {}).get("content", {})
    bodies = [(media, each["example"]) for media, each in content.items() if each.get("example")]
    for media, example in bodies[:1]:
        lines.append(f"-H {_quoted(f'Content-Type: {media}')}")
        sent = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
        lines.append(f"{'-d' if media == JSON else '--data-binary'} {_quoted(sent)}")
    return " \\\n  ".join(lines)


def _said(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """Return a word in quotes, in which nothing means anything to a shell."""
    quoted = shlex.quote(text)
    return quoted if quoted.startswith("'") else f"'{quoted}'"
