"""The page that describes every call, rendered from the node's own OpenAPI document."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web
from markupsafe import Markup, escape

from dashboard.curl import command
from dashboard.view import HEADERS, READ_ONLY, PageFacts, environment

Document = Mapping[str, Any]
REQUIRED, OPTIONAL = "required", "may be absent"


class Piece(NamedTuple):
    """A part of the name of a type; ``to`` is the type that it links to, empty for none."""

    text: str
    to: str = ""


class Field(NamedTuple):
    """A field, or a parameter: what it is called, of which type, within which bounds.

    ``note`` says whether it must be sent, or may be absent.
    """

    name: str
    where: str
    kind: tuple[Piece, ...]
    note: str
    bounds: str
    says: str


class Content(NamedTuple):
    """A body in one media type: its type, its fields, and an example as text, or empty."""

    media: str
    kind: tuple[Piece, ...]
    fields: tuple[Field, ...]
    example: str


class Answer(NamedTuple):
    """One answer: its status, what it means, its headers and bodies."""

    status: str
    says: str
    headers: tuple[Field, ...]
    contents: tuple[Content, ...]


class Call(NamedTuple):
    """One call. ``headers`` are what it takes, and ``codes`` those of its refusals."""

    id: str
    method: str
    path: str
    summary: str
    says: str
    parameters: tuple[Field, ...]
    headers: tuple[str, ...]
    bodies: tuple[Content, ...]
    answers: tuple[Answer, ...]
    codes: tuple[Mapping[str, Any], ...]
    curl: str


class Group(NamedTuple):
    """Calls that belong together."""

    name: str
    says: str
    calls: tuple[Call, ...]


class Kind(NamedTuple):
    """A type of bodies, by its name."""

    name: str
    says: str
    fields: tuple[Field, ...]


def showing(
    page: PageFacts, url: str, document: Callable[[], Awaitable[Document]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of the page; commands in it go to ``url``.

    It is rendered when it is first asked for, and then kept, like the document.
    """
    rendered: dict[bool, str] = {}

    async def show(request: web.Request) -> web.Response:
        reading = READ_ONLY in request.query
        if reading not in rendered:
            described = await document()
            rendered[reading] = await asyncio.to_thread(
                render, described, page, url, reading=reading
            )
        return web.Response(text=rendered[reading], content_type="text/html", headers=HEADERS)

    return show


def render(document: Document, page: PageFacts, url: str, *, reading: bool = False) -> str:
    """Return the page. ``reading``: its links lead to pages that change nothing."""
    templates = environment()
    templates.filters["prose"] = prose
    reader = _Reader(document, url)
    return templates.get_template("docs.html").render(
        page=page,
        here="docs",
        asked=f"?{READ_ONLY}" if reading else "",
        read_only=reading or page.is_read_only,
        url=url,
        info=document["info"],
        groups=reader.groups(),
        headers=reader.headers(),
        codes=document["x-problem-codes"],
        anywhere=document["components"]["responses"]["Problem"],
        kinds=reader.kinds(),
    )


def prose(text: str) -> Markup:
    """Return a text of the document as HTML: its paragraphs, `code` and **bold** words."""
    paragraphs = (Markup("<p>{}</p>").format(_inline(p)) for p in text.strip().split("\n\n"))
    return Markup("").join(paragraphs)


def _inline(text: str) -> Markup:
    parts = []
    for at, code in enumerate(text.split("`")):
        if at % 2:
            parts.append(Markup("<code>{}</code>").format(code))
            continue
        for place, words in enumerate(code.split("**")):
            parts.append(
                Markup("<strong>{}</strong>").format(words) if place % 2 else escape(words)
            )
    return Markup("").join(parts)


class _Reader:
    """Reads the document for the page."""

    def __init__(self, document: Document, url: str) -> None:
        self._document = document
        self._url = url
        self._codes = {code["code"]: code for code in document["x-problem-codes"]}

    def groups(self) -> tuple[Group, ...]:
        """Return the calls by their tags."""
        calls: dict[str, list[Call]] = {tag["name"]: [] for tag in self._document["tags"]}
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                calls[operation["tags"][0]].append(self._call(method, path, operation))
        return tuple(
            Group(tag["name"], tag["description"], tuple(calls[tag["name"]]))
            for tag in self._document["tags"]
        )

    def kinds(self) -> tuple[Kind, ...]:
        """Return all types of bodies."""
        schemas = self._document["components"]["schemas"]
        return tuple(
            Kind(name, schema.get("description", ""), self._fields(schema))
            for name, schema in schemas.items()
        )

    def _call(self, method: str, path: str, operation: Mapping[str, Any]) -> Call:
        parameters = [self._followed(each) for each in operation["parameters"]]
        own = [each for each in parameters if each["in"] != "header"]
        content = operation.get("requestBody", {}).get("content", {})
        answers = operation["responses"].items()
        return Call(
            operation["operationId"],
            method.upper(),
            path,
            operation["summary"],
            operation["description"],
            tuple(map(_parameter, own)),
            tuple(each["name"] for each in parameters if each["in"] == "header"),
            self._contents(content),
            tuple(self._answer(*each) for each in answers if _is_own(each[1])),
            tuple(self._codes[code] for code in operation["x-problem-codes"]),
            command(self._url, method, path, parameters, operation),
        )

    def headers(self) -> tuple[Field, ...]:
        """Return the headers that calls take."""
        return tuple(map(_parameter, self._document["components"]["parameters"].values()))

    def _answer(self, status: str, answer: Mapping[str, Any]) -> Answer:
        headers = tuple(
            Field(name, "header", (Piece("string"),), "", "", self._followed(each)["description"])
            for name, each in answer.get("headers", {}).items()
        )
        return Answer(status, answer["description"], headers, self._contents(answer["content"]))

    def _contents(self, content: Mapping[str, Any]) -> tuple[Content, ...]:
        return tuple(
            Content(
                media,
                _kind(each.get("schema", {"type": "bytes"})),
                self._fields(each.get("schema", {})),
                _as_text(each.get("example")),
            )
            for media, each in content.items()
        )

    def _followed(self, each: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a reference names."""
        if "$ref" not in each:
            return each
        _, _, place, name = each["$ref"].split("/")
        found: Mapping[str, Any] = self._document["components"][place][name]
        return found

    def _fields(self, schema: Mapping[str, Any]) -> tuple[Field, ...]:
        """Return the fields of a body; of a list those of what it lists."""
        if "$ref" in schema:
            return self._fields(self._followed(schema))
        if "items" in schema:
            return self._fields(schema["items"])
        properties = schema.get("properties", {})
        if set(properties) == {"success", "data"}:  # as the calls about documents answer
            return self._fields(properties["data"])
        required = schema.get("required", ())
        is_sent = schema.get("additionalProperties") is False  # nothing else may be sent
        notes = (REQUIRED, "") if is_sent else ("", OPTIONAL)
        return tuple(
            _field({"description": "", **each, "name": name}, each, notes[name not in required])
            for name, each in properties.items()
        )


def _is_own(answer: Mapping[str, Any]) -> bool:
    """Tell whether an answer is no refusal alone: those are told by their codes."""
    return any("problem" not in media for media in answer.get("content", ()))


def _parameter(each: Mapping[str, Any]) -> Field:
    return _field(each, each["schema"], REQUIRED if each.get("required") else "")


def _field(named: Mapping[str, Any], schema: Mapping[str, Any], note: str) -> Field:
    name, where = named["name"], named.get("in", "")
    return Field(name, where, _kind(schema), note, _bounds(schema), named["description"])


def _kind(schema: Mapping[str, Any]) -> tuple[Piece, ...]:
    """Return the name of a type in pieces."""
    pieces: tuple[Piece, ...] = (Piece(str(schema.get("type", "anything"))),)
    match schema:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            pieces = (Piece(name, name),)
        case {"anyOf": kinds}:
            first, *others = map(_kind, kinds)
            pieces = (*first, *(each for kind in others for each in (Piece(" or "), *kind)))
        case {"enum": values}:
            pieces = (Piece("one of " + " ".join(map(str, values))),)
        case {"const": value}:
            pieces = (Piece(json.dumps(value)),)
        case {"type": "array", "items": items}:
            pieces = (Piece("list of "), *_kind(items))
        case {"type": "object", "additionalProperties": Mapping() as values}:
            pieces = (Piece("object of "), *_kind(values))
        case {"properties": {"success": _, "data": data}}:
            pieces = (Piece("{ success, data: "), *_kind(data), Piece(" }"))
    return pieces


def _bounds(schema: Mapping[str, Any]) -> str:
    """Return what a value must keep to, and what it is when it is left out."""
    told = []
    if "maximum" in schema or "minimum" in schema:
        told.append(_span(schema.get("minimum"), schema.get("maximum")))
    if "exclusiveMaximum" in schema:
        told.append(f"less than {schema['exclusiveMaximum']:,}")
    if "maxLength" in schema:
        told.append(f"{_span(schema.get('minLength'), schema['maxLength'])} characters")
    if "pattern" in schema:
        told.append(f"`{schema['pattern']}`")
    if schema.get("default", "") not in ("", None):
        told.append(f"`{json.dumps(schema['default'])}` when left out")
    return ", ".join(told)


def _span(least: int | None, most: int | None) -> str:
    if least is None:
        return f"at most {most:,}"
    return f"{least:,} or more" if most is None else f"{least:,} to {most:,}"


def _as_text(example: Any) -> str:
    if example is None or isinstance(example, str):
        return example or ""
    return json.dumps(example, indent=2, ensure_ascii=False)
