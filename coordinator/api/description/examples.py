"""Examples of bodies, made of their schemas and the words of their fields."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
_PLAIN = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "null": None}


def example_of(schema: Schema, components: Mapping[str, Schema]) -> Any:
    """Return an example of what a schema describes; an example that stands in it is obeyed.

    Fields that may be absent are so, unless they have an example. ``components`` are the schemas
    that it may name.
    """
    for name in ("examples", "enum"):
        if name in schema:
            return schema[name][0]
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if "$ref" in schema:
        schema = components[name_in(schema["$ref"])]
        return example_of(schema, components)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components)
    return _by_type(schema, components)


def _by_type(schema: Schema, components: Mapping[str, Schema]) -> Any:
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {
                name: example_of(each, components)
                for name, each in schema.get("properties", {}).items()
                if name in required or "examples" in each
            }
        case "array":
            items = schema.get("prefixItems", [schema["items"]] if "items" in schema else [])
            return [example_of(each, components) for each in items]
        case kind:
            return _PLAIN.get(str(kind), {})


def name_in(reference: str) -> str:
    """Return the name of the component that a reference names."""
    return reference.rpartition("/")[2]
