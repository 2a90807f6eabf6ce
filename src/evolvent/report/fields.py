"""Fields of an event's payload, read so that an odd one counts as absent: text, whole numbers, tables, counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Payload = Mapping[str, Any]
_LARGEST = 1 << 63


def text(payload: Payload, name: str) -> str:
    """A field as text; ``""`` if it is missing or nested."""
    value = payload.get(name)
    return value if isinstance(value, str) else "" if value is None or isinstance(value, dict | list) else str(value)


def whole(payload: Payload, name: str) -> int:
    """A whole number that a counter could hold, else 0."""
    value = payload.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else 0


def table(payload: Payload, name: str) -> dict[str, Any]:
    """A nested table, else an empty one."""
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def counts(payload: Payload, name: str) -> dict[str, int]:
    """A nested table of whole numbers."""
    return {key: whole(table(payload, name), key) for key in table(payload, name)}
