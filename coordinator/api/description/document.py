"""The OpenAPI document of a node (https://spec.openapis.org/oas/v3.1.0), made of the calls."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

from coordinator.api import problems
from coordinator.api.description.call import (
    ANSWER_HEADERS,
    ANYWHERE,
    IDEMPOTENCY_KEY,
    JSON,
    REPLAYED,
    REQUEST_HEADERS,
    REQUEST_ID,
    Answer,
    Body,
    Call,
)
from coordinator.api.description.calls import ABOUT, CALLS, TAGS
from coordinator.api.description.codes import MEANINGS
from coordinator.api.description.examples import Schema, example_of
from coordinator.api.description.problem import ProblemBody
from coordinator.api.description.schemas import Wanted, query_of, schemas_of, word_of
from coordinator.api.problems import Kind

OPENAPI = "3.1.0"
PROBLEM = "application/problem+json"
FORM = "multipart/form-data"
_NAMES_SHOWN_MAX = 20


class About(NamedTuple):
    """What is so of this installation: its version, and the names that callers may use."""

    version: str
    sites: tuple[str, ...]
    partitions: tuple[str, ...]
    invoice_types: tuple[str, ...]

    def local(self, value: Any) -> Any:
        """Return an example in the names of this installation."""
        match value:
            case str():
                return ":".join(self._swaps.get(part, part) for part in value.split(":"))
            case Mapping():
                return {self.local(name): self.local(each) for name, each in value.items()}
            case list():
                return [self.local(each) for each in value]
            case _:
                return value

    @property
    def _swaps(self) -> dict[str, str]:
        usual = ("site-1", "partition-a", "on-cycle")
        here = (self.sites[0], self.partitions[0], self.invoice_types[0])
        return dict(zip(usual, here, strict=True))

    def names(self) -> str:
        """Return a sentence on what is configured."""
        lists = {
            "Sites": self.sites,
            "partitions": self.partitions,
            "invoice types": self.invoice_types,
        }
        told = (f"{name} here: {_listed(values)}" for name, values in lists.items())
        return f"{'; '.join(told)}."


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_SHOWN_MAX])
    return shown if len(names) <= _NAMES_SHOWN_MAX else f"{shown}, …"


def document(about: About, calls: tuple[Call, ...] = CALLS) -> dict[str, Any]:
    """Return the document of these calls."""
    found, components = schemas_of(_types_of(calls))
    writer = _Writer(about, found, components)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = writer.operation(call)
    codes = [_code(kind) for kind in sorted(MEANINGS)]
    components[ProblemBody.__name__]["properties"]["code"]["enum"] = [c["code"] for c in codes]
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Sequence coordinator",
            "version": about.version,
            "description": f"{ABOUT}\n{about.names()}",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The node that you have this document from."}],
        "tags": [{"name": tag.value, "description": says} for tag, says in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "parameters": _request_headers(),
            "headers": _answer_headers(),
            "responses": {"Problem": writer.problem(ProblemBody)},
        },
        "x-problem-codes": codes,
    }


def _types_of(calls: Iterable[Call]) -> Iterator[Wanted]:
    yield ProblemBody, "serialization"
    for call in calls:
        for body in call.bodies:
            if body.kind is not None and body.media == JSON:
                yield body.kind, "validation"
        for answer in call.answers:
            if answer.kind is not None:
                yield answer.kind, "serialization"
        if call.problem is not None:
            yield call.problem, "serialization"


def _code(kind: Kind) -> dict[str, Any]:
    meaning = MEANINGS[kind]
    return {
        "code": kind.code,
        "status": kind.status,
        "title": kind.title,
        "retryable": kind.retry_after_s > 0,
        "meaning": meaning.means,
        "next": meaning.way_on,
    }


def _name_of_header(name: str) -> str:
    return name.replace("-", "")


def _request_headers() -> dict[str, Any]:
    return {
        _name_of_header(name): {
            "name": name,
            "in": "header",
            "description": word.means,
            "schema": {"type": "string", "examples": [word.example]},
        }
        for name, word in REQUEST_HEADERS.items()
    }


def _answer_headers() -> dict[str, Any]:
    return {
        _name_of_header(name): {"description": means, "schema": {"type": "string"}}
        for name, means in ANSWER_HEADERS.items()
    }


def _reference(kind: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: _reference("headers", _name_of_header(name)) for name in names}


class _Writer:
    """Writes calls as operations; it knows the schemas of all types."""

    def __init__(
        self, about: About, found: Mapping[Wanted, Schema], components: Mapping[str, Schema]
    ) -> None:
        self._about = about
        self._found = found
        self._components = components

    def operation(self, call: Call) -> dict[str, Any]:
        """Return a call as an operation."""
        refusals = sorted({problems.MALFORMED, *call.refusals})
        written: dict[str, Any] = {
            "operationId": call.name,
            "tags": [call.tag.value],
            "summary": call.summary,
            "description": call.says,
            "parameters": list(self._parameters(call)),
        }
        if call.bodies:
            written["requestBody"] = self._request_body(call)
        written["responses"] = self._responses(call, refusals)
        written["x-problem-codes"] = [kind.code for kind in refusals]
        return written

    def problem(self, kind: Any) -> dict[str, Any]:
        """Return the answer of refusals whose bodies are of this type."""
        schema = self._found[kind, "serialization"]
        return {
            "description": "Refused: what, why, and what next.",
            "headers": _headers((REQUEST_ID, "Retry-After", "Allow")),
            "content": {PROBLEM: {"schema": schema, "example": self._example(schema)}},
        }

    def _parameters(self, call: Call) -> Iterator[dict[str, Any]]:
        for name, kind in call.in_path.items():
            yield self._parameter(call, "path", name, _path_schema(kind, name), required=True)
        if call.query is not None:
            schema = query_of(call.query)
            for name, each in schema.get("properties", {}).items():
                if name not in call.in_path:
                    required = name in schema.get("required", ())
                    yield self._parameter(call, "query", name, each, required=required)
        keyed = (IDEMPOTENCY_KEY,) if call.keyed else ()
        for name in (*keyed, *call.headers, REQUEST_ID):
            yield _reference("parameters", _name_of_header(name))

    def _parameter(
        self, call: Call, where: str, name: str, schema: Schema, *, required: bool
    ) -> dict[str, Any]:
        described = dict(schema)
        means, _ = described.pop("description", ""), described.pop("examples", None)
        parameter = {"name": name, "in": where, "required": required, "description": means}
        parameter["schema"] = described
        if name in call.asked:
            parameter["example"] = self._about.local(call.asked[name])
        return parameter

    def _request_body(self, call: Call) -> dict[str, Any]:
        content = {body.media: self._content(body) for body in call.bodies}
        return {"required": not call.may_be_empty, "content": content}

    def _content(self, body: Body) -> dict[str, Any]:
        if body.media == FORM:
            return {"schema": _form(body.kind)}
        if body.kind is None and body.example is None:
            return {}
        schema = {"type": "string"} if body.kind is None else self._found[body.kind, "validation"]
        return {"schema": schema, "example": self._about.local(body.example)}

    def _responses(self, call: Call, refusals: list[Kind]) -> dict[str, Any]:
        found = {str(answer.status): self._answer(call, answer) for answer in call.answers}
        for status, kinds in groupby(sorted(refusals, key=_status), key=_status):
            says = " ".join(f"{kind.code} {kind.title}." for kind in kinds)
            refused = found.get(str(status))
            if refused is not None:
                refused["description"] += f" Or refused: {says}"
                refused["content"] |= self.problem(ProblemBody)["content"]
            elif call.problem is not None:
                found[str(status)] = self.problem(call.problem) | {"description": says}
            else:
                found[str(status)] = _reference("responses", "Problem") | {"description": says}
        says = " ".join(f"{kind.code} {kind.title}." for kind in sorted(ANYWHERE))
        found["default"] = _reference("responses", "Problem") | {
            "description": f"What any call may be refused with: {says}"
        }
        return dict(sorted(found.items()))

    def _answer(self, call: Call, answer: Answer) -> dict[str, Any]:
        names = (*answer.headers, *((REPLAYED,) if call.keyed else ()), REQUEST_ID)
        content: dict[str, Any] = {"schema": {"type": "string"}, "example": answer.example}
        if answer.kind is not None:
            schema = self._found[answer.kind, "serialization"]
            schema = _in_data(schema) if answer.in_data else schema
            content = {"schema": schema, "example": self._example(schema)}
        elif answer.media == JSON:
            content["schema"] = {"type": "object"}
        return {
            "description": answer.says,
            "headers": _headers(names),
            "content": {answer.media: content},
        }

    def _example(self, schema: Schema) -> Any:
        return self._about.local(example_of(schema, self._components))


def _status(kind: Kind) -> int:
    return kind.status


def _path_schema(kind: Any, name: str) -> Schema:
    """Return the schema of a part of the path: of a type, or of a model's field of its name."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return dict(query_of(kind)["properties"][name])
    schema = TypeAdapter(kind).json_schema()
    word = word_of(name, ())
    return schema | ({"description": word.means} if word else {})


def _in_data(schema: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"type": "boolean", "const": True}, "data": schema},
    }


def _form(kind: type[BaseModel]) -> Schema:
    """Return the schema of a form that has a file beside these fields."""
    fields = query_of(kind)
    file: Schema = {"description": "CSV or XLSX.", "contentMediaType": "application/octet-stream"}
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"file": file, **fields["properties"]},
    }
