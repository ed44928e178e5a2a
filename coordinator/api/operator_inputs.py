"""What operators may send about document numbers, in the names of the older system."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from coordinator.api.document_inputs import Word, Words
from coordinator.api.inputs import NUMBER_MAX, Input, Text, Token
from coordinator.core.requests import PASS_OVER_MAX

REASON_LENGTH_MIN = 10
"""Characters of the reason why a number is void: an auditor will read it."""

PassOver = Annotated[int, Field(ge=0, le=NUMBER_MAX)]
Next = Annotated[int, Field(ge=1, le=NUMBER_MAX)]
Current = Annotated[int, Field(ge=0, lt=NUMBER_MAX)]
Telling = Annotated[Text, StringConstraints(min_length=REASON_LENGTH_MIN)]


class _Decision(Input):
    """What an operator decides, and why."""

    reason: Text
    requestId: Token | None = None


class OverrideBody(_Decision):
    """``POST …/manual-override``. ``skip_validation`` is taken from old clients, and not obeyed."""

    document_type: Word
    document_number: Word
    skip_validation: bool = False
    pass_over_max: PassOver = PASS_OVER_MAX


class VoidBody(_Decision):
    """``POST …/void-and-replace``."""

    document_number: Word
    reason: Telling
    replace: bool = True


class CloseBody(_Decision):
    """``POST …/sequences/close``: the counter is named as a reservation names it."""

    document_type: Word
    scope_value: Word | None = None
    scope: Words = Field(default_factory=dict)
    issue_date: Word | None = None


class AdjustBody(CloseBody):
    """``POST …/sequences/adjust``: the number that comes next, or the one that was used last, which
    is what the older system calls the current value, and the new value in its audit.
    """

    next_value: Next | None = None
    current_value: Current | None = None
    new_value: Current | None = None
    pass_over_max: PassOver = PASS_OVER_MAX

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len([name for name in _VALUES if getattr(self, name) is not None]) != 1:
            raise ValueError(f"give one of {', '.join(_VALUES)}")
        return self

    @property
    def next(self) -> int:
        """Return the number that shall come next."""
        if self.next_value is not None:
            return self.next_value
        used = self.current_value if self.current_value is not None else self.new_value
        return (used or 0) + 1


_VALUES = ("next_value", "current_value", "new_value")
