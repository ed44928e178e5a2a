"""Which etcd versions keep every write they acknowledged.

The one place that knows: the launcher chooses a binary by it, a node warns or refuses by it.
Measured (SIGKILL under load): 3.5.1 lost acknowledged writes, 3.4.23 and 3.5.16 lost none.
Fixed upstream in 3.4.22 and 3.5.6 (etcd issues 13766, 14370, 14382).
"""

import re

__all__ = ["SAFE_VERSIONS", "is_safe", "parse_version", "warning_for"]

SAFE_VERSIONS = "3.4.22 or later, 3.5.6 or later, or 3.6"
_PATCH_MIN = {(3, 4): 22, (3, 5): 6}  # the first safe patch of each minor that has unsafe ones
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-(?:alpha|beta|rc)\b)?")


def parse_version(text: str) -> tuple[int, int, int]:
    """Return the first version in `text` (`"3.4.23"`, `"etcd Version: 3.5.1"`) as numbers.

    Raises ValueError when there is none.
    """
    major, minor, patch = _match(text).group(1, 2, 3)
    return int(major), int(minor), int(patch)


def is_safe(version: str) -> bool:
    """Tell whether this etcd keeps acknowledged writes when killed; unreadable is not safe."""
    return warning_for(version) is None


def warning_for(version: str) -> str | None:
    """Return one sentence for the people who run this etcd, or None when it is safe."""
    try:
        preview = _match(version).group(4)
        major, minor, patch = parse_version(version)
    except ValueError:
        return f"etcd's version is not readable ({version!r}); use {SAFE_VERSIONS}."
    if preview:
        return f"etcd {version} is a preview release; use {SAFE_VERSIONS}."
    if (major, minor) < min(_PATCH_MIN):
        return f"etcd {version} is too old; use {SAFE_VERSIONS}."
    if patch < _PATCH_MIN.get((major, minor), 0):
        return (
            f"etcd {version} can lose acknowledged writes when it is killed: "
            f"for demonstrations only. Use {SAFE_VERSIONS}."
        )
    return None


def _match(text: str) -> re.Match[str]:
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no version in {text!r}")
    return match
