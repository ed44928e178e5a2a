"""Why a value cannot be taken, in words that say what to send instead."""

from collections.abc import Callable, Mapping
from typing import Any, Final

VISIBLE_64: Final = r"^[\x21-\x7e]{1,64}$"
VISIBLE_128: Final = r"^[\x21-\x7e]{1,128}$"
ASCII_300: Final = r"^[\x20-\x7e]{1,300}$"
CURSOR: Final = r"^[A-Za-z0-9_.-]{1,1500}$"
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"

_PATTERNS: Final = {
    VISIBLE_64: "must be 1 to 64 visible ASCII characters, without blanks",
    VISIBLE_128: "must be 1 to 128 visible ASCII characters, without blanks",
    ASCII_300: "must be 1 to 300 ASCII characters",
    CURSOR: "must be a cursor as an answer to the same question had it",
    PRINTABLE: "must be one line of text, without control characters",
}

_Words = Callable[[Mapping[str, Any]], str]


def _at_least(bounds: Mapping[str, Any]) -> str:
    least = bounds["min_length"]
    return "must not be empty" if least == 1 else f"must have at least {least} characters"


_BY_TYPE: Final[dict[str, _Words]] = {
    "missing": lambda _: "is missing, and is needed here",
    "string_type": lambda _: "must be text",
    "string_unicode": lambda _: "must be text in UTF-8",
    "string_too_short": _at_least,
    "string_too_long": lambda b: f"must have at most {b['max_length']} characters",
    "string_pattern_mismatch": lambda b: _PATTERNS.get(
        b["pattern"], f"must be written like {b['pattern']}"
    ),
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number, in digits",
    "int_parsing_size": lambda _: "is too large",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "greater_than_equal": lambda b: f"must be {b['ge']} or more",
    "greater_than": lambda b: f"must be more than {b['gt']}",
    "less_than_equal": lambda b: f"must be {b['le']} or less",
    "less_than": lambda b: f"must be less than {b['lt']}",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "dict_type": lambda _: "must be an object",
    "model_type": lambda _: "must be an object",
    "list_type": lambda _: "must be a list",
    "too_long": lambda b: f"must have at most {b['max_length']} items",
    "literal_error": lambda b: f"must be one of {b['expected']}",
}


def in_words(error: Mapping[str, Any]) -> str:
    """Return what is wrong by an error of pydantic's; of a kind not known here, in its own words.

    What a validator of ours has said is returned as it is.
    """
    words = _BY_TYPE.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words(error.get("ctx", {}))
