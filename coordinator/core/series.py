"""Which counter a request counts on."""

from enum import StrEnum


class Strategy(StrEnum):
    """How many sequences the default series has."""

    GLOBAL = "GLOBAL_SEQUENTIAL"
    SITE = "SITE_SEQUENTIAL"
    PARTITION = "PARTITION_SEQUENTIAL"


def counter_name(series: str, strategy: Strategy, site: str, partition: str) -> str:
    """Return the name of the counter that a site and partition count on."""
    match strategy:
        case Strategy.GLOBAL:
            return series
        case Strategy.SITE:
            return f"{series}/{site}"
        case Strategy.PARTITION:
            return f"{series}/{site}/{partition}"


def counter_names(
    series: str, strategy: Strategy, sites: tuple[str, ...], partitions: tuple[str, ...]
) -> tuple[str, ...]:
    """Return all counters of the series, in the order of the configuration."""
    names = (counter_name(series, strategy, s, p) for s in sites for p in partitions)
    return tuple(dict.fromkeys(names))
