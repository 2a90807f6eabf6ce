"""Python values as strict JSON that says exactly what they were.

The values of a call travel between us and model-written code in this form. ``True``, ``1`` and ``1.0`` stay apart, a
list is no tuple, a float keeps its last bit, its sign of zero, infinity and NaN, and no number is left to a JSON
parser:

====================  ===================================================================
value                 written as
====================  ===================================================================
``None``, a bool      ``null``, ``true``, ``false``
text                  the text; ``["u", hex]`` where it holds half a surrogate pair
int                   ``["i", "-0x1f"]``
float                 ``["f", "0x1.8000000000000p+0"]``, ``["f", "nan"]``, ``["f", "-inf"]``
bytes                 ``["y", hex]``
list, tuple           ``["l", ...]``, ``["t", ...]``
set, frozenset        ``["s", ...]``, ``["z", ...]``, members in the order of their JSON text
dict                  ``["d", key, value, ...]`` in its own order
anything else         ``["o", name of its type]``: opaque, equal to nothing that we expect
====================  ===================================================================

Types are compared by identity (``type(x) is int``): a subclass that lies about its equality, a generator or a lazy
object is opaque, and none of its methods is called. Depth and size are capped, so a list that holds itself is an error.

Two encodings made by `encode` are equal as JSON exactly if type and value are equal throughout (NaN equals NaN), except
that dicts also differ by order; `canonical` takes that out.

Not here: whether two values are close enough (decode them and compare outside of the sandbox); pickling of any kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # the zygote loads this module, and each page that it holds is paid for at each fork
    from evolvent.types import Json

__all__ = ["MAX_DEPTH", "MAX_PARTS", "NotPlain", "Opaque", "canonical", "decode", "encode", "name_of"]

MAX_DEPTH = 64
MAX_PARTS = 100_000
_MAX_NAME = 80
# Asked of `type` itself: a metaclass may answer `cls.__name__` with code of its own.
_NAME_OF = type.__dict__["__name__"].__get__


class NotPlain(ValueError):
    """A value is nested too deeply or has too many parts; or JSON is not what `encode` writes."""


class Opaque:
    """What stands for a value that cannot travel. Equal only to another one of the same type name."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.type_name == self.type_name

    def __hash__(self) -> int:
        return hash((Opaque, self.type_name))

    def __repr__(self) -> str:
        return f"Opaque({self.type_name!r})"


def encode(value: object) -> Json:
    """The JSON of a value; see the table above.

    Raises:
        NotPlain: nested deeper than `MAX_DEPTH`, or more than `MAX_PARTS` parts (each value and each key is one).
    """
    return _encode(value, 0, _Counter())


def decode(plain: Json) -> Any:
    """The value of a JSON, equal in type and value to what was encoded; what was opaque is an `Opaque`.

    Raises:
        NotPlain: anything that `encode` would not have written: another tag or spelling, a member or key twice, a
            member of a set out of order, too deep, too many parts. So it may be given JSON from the other side.
    """
    return _decode(plain, 0, _Counter())


def canonical(plain: Json) -> Json:
    """The same with every dict's items in the order of their keys' JSON, so that equal values have equal JSON.

    Raises:
        NotPlain: nested deeper than `MAX_DEPTH`.
    """
    return _canonical(plain, 0)


# Type, tag, how it is written and read.
_LEAVES: tuple[tuple[type, str, Callable[[Any], str], Callable[[str], Any]], ...] = (
    (int, "i", hex, lambda text: int(text, 16)),  # linear, and free of the limit on decimal digits
    (float, "f", float.hex, float.fromhex),
    (bytes, "y", bytes.hex, bytes.fromhex),
)
_CONTAINERS: tuple[tuple[type, str], ...] = ((list, "l"), (tuple, "t"), (set, "s"), (frozenset, "z"), (dict, "d"))
_TAGS = {tag: kind for kind, tag in _CONTAINERS}
_READ_MORE: dict[str, Callable[[str], Any]] = {
    "u": lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
    "o": Opaque,
}


class _Counter:
    """Counts parts; a value that fans out by sharing is caught here, not by running out of memory."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_PARTS

    def step(self, depth: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise NotPlain(f"value: expected at most {MAX_PARTS} parts")
        if depth > MAX_DEPTH:
            raise NotPlain(f"value: expected at most {MAX_DEPTH} levels")


def _encode(value: Any, depth: int, counter: _Counter) -> Json:
    counter.step(depth)
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _encode_text(value)
    # Walked, not looked up: a metaclass may have a hash of its own.
    for known, tag, spell, _ in _LEAVES:
        if kind is known:
            return [tag, spell(value)]
    for known, tag in _CONTAINERS:
        if kind is known:
            return [tag, *_encode_parts(kind, value, depth + 1, counter)]
    return ["o", name_of(kind)]


def _encode_parts(kind: type, value: Any, depth: int, counter: _Counter) -> list[Json]:
    # A copy first: a thread that was left behind may change a list or a dict under our hands.
    items = tuple(value.items()) if kind is dict else tuple(value)
    flat = [part for pair in items for part in pair] if kind is dict else items
    parts = [_encode(part, depth, counter) for part in flat]
    return sorted(parts, key=_text) if kind is set or kind is frozenset else parts


def _encode_text(value: str) -> Json:
    try:
        value.encode()
    except UnicodeEncodeError:
        return ["u", value.encode("utf-8", "surrogatepass").hex()]
    return value


def name_of(kind: type) -> str:
    """A type's own name, capped, by no code of the type."""
    return _NAME_OF(kind).encode("utf-8", "replace").decode()[:_MAX_NAME]


def _decode(plain: Json, depth: int, counter: _Counter) -> Any:
    counter.step(depth)
    if plain is None or isinstance(plain, bool):
        return plain
    if isinstance(plain, str) and _encode_text(plain) == plain:
        return plain
    if isinstance(plain, list) and plain and isinstance(plain[0], str):
        tag, parts = plain[0], plain[1:]
        if tag not in _TAGS:
            return _decode_leaf(tag, parts)
        items = [_decode(part, depth + 1, counter) for part in parts]
        return _gather(_TAGS[tag], parts, items)
    return _refuse(plain)


def _decode_leaf(tag: str, parts: list[Json]) -> Any:
    read = next((read for _, known, _, read in _LEAVES if known == tag), _READ_MORE.get(tag))
    if read is None or len(parts) != 1 or not isinstance(parts[0], str):
        return _refuse([tag, *parts])
    text = parts[0]
    try:
        value = read(text)
    except (ValueError, OverflowError):
        return _refuse(text)
    if isinstance(value, Opaque):
        return value if text == _encode_text(text[:_MAX_NAME]) else _refuse(text)
    # One spelling a value: what `encode` would not write is not taken.
    return value if encode(value) == [tag, text] else _refuse(text)


def _gather(kind: type, parts: list[Json], items: list[Any]) -> Any:
    if kind is dict:
        return _decode_dict(parts, items)
    if kind is set or kind is frozenset:
        return _decode_set(kind, parts, items)
    return kind(items)


def _decode_dict(parts: list[Json], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        _refuse(parts)
    keys = items[::2]
    try:
        value = dict(zip(keys, items[1::2], strict=True))
    except TypeError:  # a list as a key
        return _refuse(parts)
    # NaN differs from NaN, so two of them make two keys, as in Python; all else must stand once.
    return value if len(value) == len(keys) else _refuse(parts)


def _decode_set(kind: type, parts: list[Json], items: list[Any]) -> set[Any] | frozenset[Any]:
    texts = [_text(part) for part in parts]
    try:
        value = kind(items)
    except TypeError:
        return _refuse(parts)
    if texts != sorted(texts) or len(value) != len(items):
        _refuse(parts)
    return value


def _canonical(plain: Json, depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise NotPlain(f"value: expected at most {MAX_DEPTH} levels")
    if not isinstance(plain, list):
        return plain
    parts = [_canonical(part, depth + 1) for part in plain]
    if parts[:1] == ["d"]:
        return ["d", *_flat(sorted(_pairs(parts[1:]), key=_text))]
    if parts and parts[0] in ("s", "z"):  # a frozenset holds no dict, but its members were sorted before
        return [parts[0], *sorted(parts[1:], key=_text)]
    return cast("Json", parts)


def _pairs(parts: list[Json]) -> Iterator[list[Json]]:
    return ([key, value] for key, value in zip(parts[::2], parts[1::2], strict=False))


def _flat(pairs: Iterable[list[Json]]) -> list[Json]:
    return [part for pair in pairs for part in pair]


def _text(plain: Json | list[Json]) -> str:
    return json.dumps(plain)


def _refuse(what: object) -> Any:
    raise NotPlain(f"value: expected what encode() writes, got {str(what)[:60]!r}")
