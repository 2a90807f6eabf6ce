"""Frames on a pipe: one byte of kind, four bytes of length, the payload.

The two sides of a sandbox share nothing else. Kind ``J`` holds a JSON object in UTF-8, kind ``B`` raw bytes (weights).
A reader trusts nothing: length is capped before a byte is read, JSON must be an object, without NaN, infinity or a
repeated key, and nested at most as deep as the parser allows.

Not here: what requests mean, timeouts and kills (`process.py`).
"""

from __future__ import annotations

import json
from typing import IO, Any, NoReturn

from evolvent.errors import SandboxError

__all__ = ["MAX_FRAME_BYTES", "FrameRefused", "read_frame", "read_json", "write_bytes", "write_json"]

MAX_FRAME_BYTES = 1 << 30
_HEADER_BYTES = 5


class FrameRefused(SandboxError):
    """A whole frame that is not accepted: it was read to its end, so that the next can be."""


def read_frame(stream: IO[bytes], max_bytes: int = MAX_FRAME_BYTES) -> dict[str, Any] | bytes | None:
    """Read one frame.

    Args:
        stream: blocking binary stream.
        max_bytes: longest payload accepted.

    Returns:
        The object of a ``J`` frame, the bytes of a ``B`` frame, or ``None`` at a clean end of the stream.

    Raises:
        SandboxError: unknown kind, payload longer than `max_bytes`, stream cut inside a frame, or JSON that is not
            strict.
    """
    header = _read_exactly(stream, _HEADER_BYTES, at_start=True)
    if header is None:
        return None
    kind, size = header[:1], int.from_bytes(header[1:], "big")
    if kind not in (b"J", b"B"):
        raise SandboxError(
            f"frame: expected kind J or B, got {kind!r}; the other side writes something else to its pipe"
        )
    if size > max_bytes:
        raise SandboxError(f"frame: expected at most {max_bytes} bytes, got {size}")
    payload = _read_exactly(stream, size, at_start=False) or b""
    return payload if kind == b"B" else parse_object(payload)


def read_json(stream: IO[bytes], max_bytes: int = MAX_FRAME_BYTES) -> dict[str, Any] | None:
    """Read one frame that must be JSON; ``None`` at a clean end of the stream.

    Raises:
        SandboxError: as `read_frame`, or the frame holds raw bytes.
    """
    frame = read_frame(stream, max_bytes)
    if isinstance(frame, bytes):
        raise FrameRefused(f"frame: expected JSON, got {len(frame)} raw bytes")
    return frame


def write_json(stream: IO[bytes], value: dict[str, Any]) -> None:
    """Write one ``J`` frame and flush.

    Raises:
        ValueError: `value` holds NaN or infinity, or is too long for a frame.
    """
    _write(stream, b"J", json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def write_bytes(stream: IO[bytes], payload: bytes) -> None:
    """Write one ``B`` frame and flush.

    Raises:
        ValueError: `payload` is too long for a frame.
    """
    _write(stream, b"B", payload)


def parse_object(payload: bytes) -> dict[str, Any]:
    """Parse strict JSON: an object, in UTF-8, no NaN or infinity, no key twice.

    Raises:
        SandboxError: the payload is anything else.
    """
    try:
        value = json.loads(payload.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as exc:
        raise FrameRefused(f"frame: expected strict JSON, got {payload[:40]!r}: {exc}") from exc
    if not isinstance(value, dict):
        raise FrameRefused(f"frame: expected a JSON object, got {type(value).__name__}")
    return value


def _write(stream: IO[bytes], kind: bytes, payload: bytes) -> None:
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"frame: expected at most {MAX_FRAME_BYTES} bytes, got {len(payload)}")
    stream.write(kind + len(payload).to_bytes(4, "big"))
    stream.write(payload)
    stream.flush()


def _read_exactly(stream: IO[bytes], size: int, *, at_start: bool) -> bytes | None:
    chunks: list[bytes] = []
    missing = size
    while missing:
        chunk = stream.read(missing)
        if not chunk:
            if at_start and missing == size:
                return None
            raise SandboxError(f"frame: the stream ended {missing} bytes early; the other side died")
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value
