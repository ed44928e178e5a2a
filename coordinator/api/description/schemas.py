"""Schemas of models and types, with the words of their fields."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from coordinator.api.description.document_words import DOCUMENTS, IMPORTS, OPERATORS
from coordinator.api.description.examples import Schema
from coordinator.api.description.operation_words import DEMONSTRATIONS, OPERATIONS
from coordinator.api.description.sequence_words import AUDIT, SEQUENCE
from coordinator.api.description.words import COMMON, DERIVED, PROBLEMS, Word

REFERENCE = "#/components/schemas/"
WORDS: Mapping[str, Word] = {
    **COMMON,
    **PROBLEMS,
    **SEQUENCE,
    **AUDIT,
    **DOCUMENTS,
    **OPERATORS,
    **IMPORTS,
    **OPERATIONS,
    **DEMONSTRATIONS,
}
_KIN = {
    "AuditRecord": "HistoryRecord",
    "ImportProblem": "ProblemBody",
    "JobShown": "JobListed",
    "JobWithResult": "JobShown",
}
"""Whose words a type has besides its own; of a model its classes tell."""

_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}
"""pydantic tells bounds in its own words where a validator stands before the type."""

Mode = Literal["validation", "serialization"]
Wanted = tuple[Any, Mode]
"""A type, and whether it is what callers send or what they are told."""


def schemas_of(wanted: Iterable[Wanted]) -> tuple[dict[Wanted, Schema], dict[str, Schema]]:
    """Return the schemas of types, and of all types in them by name."""
    made = [(kind, mode, TypeAdapter(kind)) for kind, mode in dict.fromkeys(wanted)]
    found, whole = TypeAdapter.json_schemas(made, ref_template=REFERENCE + "{model}")
    components = whole.get("$defs", {})
    for name, schema in components.items():
        _put_words(schema, tuple(_kin_of(name)))
    for schema in found.values():
        _put_words(schema, ())
    return dict(found), components


def query_of(model: type[BaseModel]) -> Schema:
    """Return the schema of a query: what is left out is left out, never null."""
    schema = model.model_json_schema()
    _put_words(schema, tuple(each.__name__ for each in model.__mro__))
    for each in schema.get("properties", {}).values():
        kinds = [kind for kind in each.pop("anyOf", ()) if kind != {"type": "null"}]
        for kind in kinds:
            each.update(kind)
        if each.get("default", "") is None:
            del each["default"]
    return schema


def word_of(field: str, owners: Iterable[str]) -> Word | None:
    """Return the word for a field of a type, which may have that of its kin."""
    names = (f"{owner}.{field}" for owner in owners)
    return next((WORDS[name] for name in (*names, field) if name in WORDS), None)


def _kin_of(name: str) -> Iterable[str]:
    kin: str | None = name
    while kin is not None:
        yield kin
        kin = _KIN.get(kin)


def _put_words(schema: Schema, owners: tuple[str, ...]) -> None:
    """Say what fields mean, and leave out titles, which repeat their names."""
    schema.pop("title", None)
    for name in _BOUNDS.keys() & schema.keys():
        schema[_BOUNDS[name]] = schema.pop(name)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split()).replace("``", "`")
    for field, each in schema.get("properties", {}).items():
        _put_words(each, ())
        word = word_of(field, owners)
        if word is not None:
            each["description"] = word.means
            if word.example is not DERIVED:
                each["examples"] = [word.example]
    for name in ("anyOf", "oneOf", "prefixItems"):
        for each in schema.get(name, ()):
            _put_words(each, ())
    for name in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(name), dict):
            _put_words(schema[name], ())
