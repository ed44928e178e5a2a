"""What callers of the live view may send."""

from typing import Annotated

from pydantic import Field

from coordinator.api.inputs import NUMBER_MAX, Query, Token, Whole
from coordinator.timeline import POINTS_MIN

POINTS_MAX = 2_000


class EventsQuery(Query):
    """``GET /api/v1/events``: the id of the last event, for those who cannot send a header."""

    lastEventId: Token | None = None


class TimelineQuery(Query):
    """``GET /api/v1/timeline``: milliseconds since 1970, ends included, and how many points."""

    since: Annotated[Whole, Field(alias="from", ge=0, le=NUMBER_MAX)] = 0
    until: Annotated[Whole, Field(alias="to", ge=0, le=NUMBER_MAX)] = NUMBER_MAX
    points: Annotated[Whole, Field(ge=POINTS_MIN, le=POINTS_MAX)] = 600
