"""Safetensors, read as a hostile file: eight bytes of length, a JSON header, and the tensors' bytes without a gap.

The rules are those of the format's own specification, and stricter: dtypes of an allow-list, values finite.

Not here: tensors as anything but bytes; configuration and tokenizer (`texts.py`).

References:
    The safetensors format, https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np

from evolvent.errors import ModelRefused

__all__ = ["Tensor", "check_values", "num_elements", "read_header", "strict_json"]

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_TENSORS = 100_000
MAX_PARAMETERS = 1 << 36
_MAX_SIDES, _MAX_NAME, _MAX_DEPTH = 8, 512, 64
_LENGTH_BYTES = 8
_PICKLES = (b"PK", b"\x80")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/+-]*")
# Size in bytes, and for floats the integer view and its exponent bits: all ones mean infinity or not a number.
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0 << 48), "F32": ("<u4", 0x7F80_0000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80),
}  # fmt: skip
_CHUNK = 1 << 20  # elements looked at together: the check needs little memory beside the file


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """What the header says of one tensor.

    Attributes:
        dtype: of the allow-list.
        shape: its sides.
        start: where it begins, bytes from the start of the file.
        stop: where it ends.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(data: bytes) -> dict[str, Tensor]:
    """The tensors of a file, after its header and extents were checked.

    Raises:
        ModelRefused: the file is no safetensors (``not_safetensors``), or its header breaks a rule.
    """
    if len(data) < _LENGTH_BYTES + 2:
        _refuse("not_safetensors", f"is broken: {len(data)} bytes hold no header")
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if size > MAX_HEADER_BYTES or size > len(data) - _LENGTH_BYTES:
        if data.startswith(_PICKLES):  # asked only now: an honest length may begin with any byte
            _refuse("pickle", "is broken: it is a zip or pickle under another name, which is never opened")
        _refuse("header_size", f"is broken: its header claims {size} bytes of {len(data)}")
    start = _LENGTH_BYTES + size
    if data[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        _refuse("header", "is broken: its header is no JSON object")
    header = strict_json("model.safetensors", data[_LENGTH_BYTES:start])
    _check_metadata(header.pop("__metadata__", {}))
    if not 0 < len(header) <= MAX_TENSORS:
        _refuse("num_tensors", f"is broken: expected 1 to {MAX_TENSORS} tensors, got {len(header)}")
    tensors = {name: _tensor(name, entry, start) for name, entry in header.items()}
    if num_elements(tensors) > MAX_PARAMETERS:
        _refuse("too_large", f"holds more than {MAX_PARAMETERS} parameters")
    _check_extents(tensors, start, len(data))
    return tensors


def num_elements(tensors: Mapping[str, Tensor]) -> int:
    """Elements of all tensors together."""
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def check_values(data: bytes, tensors: Mapping[str, Tensor]) -> None:
    """Every float is finite and every truth value is 0 or 1, bfloat16 and half precision included.

    Raises:
        ModelRefused: ``not_finite`` or ``bool``.
    """
    for name, tensor in tensors.items():
        if tensor.dtype in _EXPONENTS:
            view, exponent = _EXPONENTS[tensor.dtype]
            mask = np.dtype(view).type(exponent)
            if any(bool(((part & mask) == mask).any()) for part in _chunks(data, tensor, view)):
                _refuse("not_finite", f"holds values that are not finite, in {name!r}")
        elif tensor.dtype == "BOOL" and any(bool((part > 1).any()) for part in _chunks(data, tensor, "u1")):
            _refuse("bool", f"holds truth values other than 0 and 1, in {name!r}")


def strict_json(name: str, data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8: no key twice, no NaN or infinity, no half characters, not nested beyond reason.

    Raises:
        ModelRefused: ``json``.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ValueError("a key stands twice")
        return value

    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is not JSON")

    try:
        value = json.loads(data.decode("utf-8"), parse_constant=constant, object_pairs_hook=unique)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # 1e999, and text that is half a character
    except (ValueError, RecursionError) as exc:
        why = "nested too deep" if isinstance(exc, RecursionError) else str(exc)[:120]
        raise ModelRefused("json", f"model: {name} is broken: {why}; export it again") from None
    if not isinstance(value, dict):
        raise ModelRefused("json", f"model: {name} is broken: expected a JSON object, got {type(value).__name__}")
    if _depth(cast("object", value)) > _MAX_DEPTH:
        raise ModelRefused("json", f"model: {name} is broken: nested deeper than {_MAX_DEPTH}; export it again")
    return cast("dict[str, Any]", value)


def _depth(value: object) -> int:
    """Levels of containers, counted without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [item for part in level for item in _children(part)]
    return depth


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _check_metadata(metadata: Any) -> None:
    well = isinstance(metadata, dict) and all(
        isinstance(value, str) for value in cast("dict[str, object]", metadata).values()
    )
    if not well:
        _refuse("header", "is broken: expected texts under __metadata__")


def _tensor(name: str, entry: Any, start: int) -> Tensor:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or ".." in name:
        _refuse("name", f"is broken: a tensor is named {name[:80]!r}")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse("header", f"is broken: expected dtype, shape and data_offsets of {name!r}, got {str(entry)[:80]}")
    dtype, shape, offsets = (entry[key] for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _SIZES:
        _refuse("dtype", f"{name!r}: expected a dtype of {', '.join(_SIZES)}, got {str(dtype)[:40]!r}")
    if not _whole_numbers(shape) or len(shape) > _MAX_SIDES:
        _refuse("shape", f"is broken: {name!r}: expected at most {_MAX_SIDES} whole sides, got {str(shape)[:80]}")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        _refuse("offsets", f"is broken: {name!r}: expected two offsets, got {str(offsets)[:80]}")
    elements = math.prod(shape)
    if elements > MAX_PARAMETERS or any(side > MAX_PARAMETERS for side in shape):  # a side of 0 hides no other
        _refuse("shape", f"is broken: {name!r} claims {str(elements)[:30]} elements")
    if offsets[1] - offsets[0] != elements * _SIZES[dtype]:
        _refuse("extent", f"is broken: {name!r} claims {elements} x {_SIZES[dtype]} bytes and lies at {offsets}")
    return Tensor(dtype=dtype, shape=tuple(shape), start=start + offsets[0], stop=start + offsets[1])


def _check_extents(tensors: Mapping[str, Tensor], start: int, size: int) -> None:
    at = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != at:
            kind = "hole" if tensor.start > at else "overlap"
            _refuse(kind, f"is broken: {kind} of {abs(tensor.start - at)} bytes before {name!r}; export it again")
        at = tensor.stop
    if at != size:
        _refuse("size", f"has {size} bytes, its header says {at}; copy it again")


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in cast("list[object]", value))


def _chunks(data: bytes, tensor: Tensor, view: str) -> Iterable[Any]:
    dtype = np.dtype(view)
    count = (tensor.stop - tensor.start) // dtype.itemsize
    for first in range(0, count, _CHUNK):
        offset = tensor.start + first * dtype.itemsize
        yield np.frombuffer(data, dtype, min(_CHUNK, count - first), offset)


def _refuse(kind: str, what: str) -> NoReturn:
    raise ModelRefused(kind, f"model: model.safetensors {what}")
