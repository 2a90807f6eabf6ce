"""The texts beside the weights: configuration, codec, tokenizer. Data only; what asks for code is refused.

The numbers of a configuration are held against the tensors in the file before anything is built from them: of the
built-in transformer every name and shape must be the one that they imply; of others no number may be larger than the
file explains, and the loader compares the rest on a device without memory (`models/hub.py`).

A chat template is never rendered, here or elsewhere in the package; it travels as text.

Not here: whether a model of the transformers library can be built from its configuration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, cast

from evolvent.errors import ModelRefused
from evolvent.precheck.weights import Tensor, strict_json

__all__ = ["BUILT_IN", "built_in_shapes", "check_config", "check_text"]

BUILT_IN = "evolvent"
_TYPE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_TEXT, _MAX_ENTRIES = 4096, 1 << 16
# What makes a loader import, download or run something that the file brings along.
_CODE = re.compile(
    r"auto_map|trust_remote|custom_|_implementation$|kernel_config|adapter|backbone|quantization_config|_commit_hash"
)
_HARMLESS: tuple[object, ...] = (None, False, "", "eager", "sdpa")
# Numbers that size no tensor by themselves; all others are widths or counts.
_LENGTHS = re.compile(r"position|length|window|context|n_ctx|seq|chunk")
_MAX_LENGTH = 1 << 25
_FREE = re.compile(r"theta|token_ids?$|_seed$")
_MAX_FREE = 1 << 53
_LAYERS = re.compile(r"(n|num)_(\w+_)?(layers?|blocks?)|(en|de)coder_layers|depth")
_SMALL = 1 << 14  # a width this large is no bomb by itself, and defaults that the file does not use are smaller
_MAX_REGEX, _MAX_REGEXES = 2000, 64
_TOKENIZERS = ("BPE", "WordPiece", "WordLevel", "Unigram")
_POSITIONS = ("rope", "none")  # of the built-in transformer
_MARKS = ("bos_token", "eos_token", "unk_token", "pad_token")


def check_config(data: bytes, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration, after its keys and numbers were checked against the tensors.

    Raises:
        ModelRefused: ``code`` for what would run, ``bomb`` for numbers that the file does not explain, ``config``.
    """
    config = strict_json("config.json", data)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        _refuse("config", "config.json names no model_type of the transformers library; custom code is never run")
    widest = max((side for tensor in tensors.values() for side in tensor.shape), default=1)
    for key, value in _walk(config):
        _check_entry(key, value, widest=widest, num_tensors=len(tensors))
    if kind == BUILT_IN:
        _check_built_in(config, tensors)
    return config


def check_text(name: str, data: bytes, config: Mapping[str, Any]) -> None:
    """Check one of the other files; `config` is the model's own.

    Raises:
        ModelRefused: ``codec``, ``tokenizer``, ``regex``, ``code`` or ``json``.
    """
    if name == "merges.txt":
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            _refuse("tokenizer", "merges.txt is broken: expected UTF-8")
        return
    value = strict_json(name, data)
    if name == "codec.json":
        _check_codec(value, config)
    elif name == "tokenizer.json":
        _check_tokenizer(value)
    elif name != "vocab.json":  # whose keys are words
        for key, entry in value.items():
            if _CODE.search(key) and entry not in _HARMLESS:
                _refuse("code", f"{name}: {key} asks for code or files of its own, which are never run; remove it")
    if name == "tokenizer_config.json":
        for mark in _MARKS:
            entry = value.get(mark)
            text: object = cast("dict[str, object]", entry).get("content") if isinstance(entry, dict) else entry
            if entry is not None and not (isinstance(text, str) and len(text) <= _MAX_TEXT):
                _refuse("tokenizer", f"{name}: {mark}: expected a text, got {str(entry)[:60]!r}")


def built_in_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the built-in transformer's tensors, as its configuration implies them.

    Raises:
        ModelRefused: a number is missing its meaning, such as heads that do not divide the width.
    """
    vocab = _number(config, "vocab_size", 256)
    width = _number(config, "hidden_size", 128)
    layers = _number(config, "num_hidden_layers", 4)
    heads = _number(config, "num_attention_heads", 4)
    inner = _number(config, "intermediate_size", 256)
    if width % heads:
        _refuse("config", f"config.json: hidden_size: expected a multiple of {heads} heads, got {width}")
    shapes = {"embed.weight": (vocab, width), "norm.weight": (width,)}
    block = {
        "norm_1.weight": (width,), "norm_2.weight": (width,), "qkv.weight": (3 * width, width),
        "out.weight": (width, width), "up.weight": (2 * inner, width), "down.weight": (width, inner),
        **({"smear": (heads,)} if config.get("smear", True) else {}),
    }  # fmt: skip
    return shapes | {f"blocks.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}


def _check_built_in(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    layers = _number(config, "num_hidden_layers", 4)
    if layers > len(tensors):  # before so many names are written down
        _refuse("bomb", f"config.json: {layers} layers, {len(tensors)} tensors: weights do not fit config.json")
    expected = built_in_shapes(config)
    if config.get("positions", "rope") not in _POSITIONS or type(config.get("smear", True)) is not bool:
        _refuse("config", f"config.json: expected positions {' or '.join(_POSITIONS)}, and smear true or false")
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        what = f"missing {missing[:3]}, unexpected {unexpected[:3]}"
        _refuse("config", f"weights do not fit config.json: {what}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            found = tensors[name].shape
            kind = "bomb" if math.prod(shape) > math.prod(found) else "config"
            _refuse(kind, f"weights do not fit config.json: {name} is {list(found)}, expected {list(shape)}")


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry below a value with the key that it stands under; containers too."""
    if key:
        yield key, value
    if isinstance(value, dict):
        for name, entry in cast("dict[str, Any]", value).items():
            yield from _walk(entry, name)
    elif isinstance(value, list):
        for entry in cast("list[Any]", value):
            yield from _walk(entry, key)


def _check_entry(key: str, value: Any, *, widest: int, num_tensors: int) -> None:
    if _CODE.search(key) and value not in _HARMLESS:
        _refuse("code", f"config.json: {key} asks for code or files of its own, which are never run; remove it")
    if isinstance(value, dict | list) and len(cast("list[Any]", value)) > _MAX_ENTRIES:
        _refuse("bomb", f"config.json: {key}: expected at most {_MAX_ENTRIES} entries")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        _refuse("config", f"config.json: {key}: expected at most {_MAX_TEXT} characters")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if _LAYERS.fullmatch(key):
        limit = num_tensors
    elif _LENGTHS.search(key):
        limit = _MAX_LENGTH
    else:
        limit = _MAX_FREE if _FREE.search(key) else max(widest, _SMALL)
    if isinstance(value, float):  # never a size; the transformers library checks its range
        limit = _MAX_FREE
    if not -limit <= value <= limit:
        _refuse("bomb", f"config.json: {key}: the file explains at most {limit}, got {value}")


def _check_codec(codec: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    vocab = _number(config, "vocab_size", 256)
    match codec.get("kind"):
        case "sql":
            slots = codec.get("num_slots")
            if type(slots) is not int or not 1 <= slots <= vocab:
                _refuse("codec", f"codec.json: num_slots: expected 1 to vocab_size {vocab}, got {str(slots)[:40]}")
        case "python":
            words, slots = codec.get("words"), codec.get("num_slots")
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                _refuse("codec", "codec.json: words: expected a list of texts")
            if type(slots) is not int or slots < 1 or len(words) + slots > vocab:
                _refuse("codec", f"codec.json: expected words and num_slots, together at most vocab_size {vocab}")
        case "char":
            alphabet = codec.get("alphabet")
            if not isinstance(alphabet, str) or len(alphabet) > vocab:
                _refuse("codec", f"codec.json: alphabet: expected at most vocab_size {vocab} characters")
        case "tokenizer":
            pass
        case unknown:
            _refuse("codec", f"codec.json: expected kind sql, python, char or tokenizer, got {str(unknown)[:40]!r}")


def _check_tokenizer(tokenizer: Mapping[str, Any]) -> None:
    model = tokenizer.get("model")
    if not isinstance(model, dict) or cast("dict[str, Any]", model).get("type", "BPE") not in _TOKENIZERS:
        _refuse("tokenizer", f"tokenizer.json: expected a model of type {', '.join(_TOKENIZERS)}")
    rest = {name: part for name, part in tokenizer.items() if name != "model"}  # a vocabulary may hold any word
    patterns = [value for key, value in _walk(rest) if key == "Regex"]
    if len(patterns) > _MAX_REGEXES:
        _refuse("regex", f"tokenizer.json: expected at most {_MAX_REGEXES} patterns, got {len(patterns)}")
    for pattern in patterns:
        if not isinstance(pattern, str) or len(pattern) > _MAX_REGEX:
            _refuse("regex", f"tokenizer.json: a pattern: expected a text of at most {_MAX_REGEX} characters")
        if _explodes(pattern):
            _refuse("regex", f"tokenizer.json: pattern {pattern[:60]!r} repeats a repetition, which can take for ever")


def _explodes(pattern: str) -> bool:
    """Whether a group that repeats without end holds a part that does, or a back reference stands in the pattern.

    Both make a backtracking matcher take exponential time on text that almost matches.
    """
    endless = [False]  # by open group: something in it repeats without end
    i = 0
    while i < len(pattern):
        token, i = _token(pattern, i)
        inside = False
        if token == "(":
            endless.append(False)
            continue
        if token == ")" and len(endless) > 1:
            inside = endless.pop()
        elif token.startswith("\\") and token[1:].isdigit() and token != "\\0":
            return True
        repeat = re.match(r"[*+]|\{\d*,\}", pattern[i:])
        if repeat:
            if inside:
                return True
            i += repeat.end()
        endless[-1] = endless[-1] or inside or bool(repeat)
    return False


def _token(pattern: str, i: int) -> tuple[str, int]:
    """One token of a pattern from `i` on, and where the next begins; a class is one token."""
    if pattern[i] == "\\":
        return pattern[i : i + 2], i + 2
    if pattern[i] != "[":
        return pattern[i], i + 1
    depth, j = 0, i
    while j < len(pattern):
        if pattern[j] == "\\":
            j += 1
        elif pattern[j] == "[":
            depth += 1
        elif pattern[j] == "]":
            depth -= 1
            if depth == 0:
                break
        j += 1
    return pattern[i : j + 1], j + 1


def _number(config: Mapping[str, Any], name: str, default: int) -> int:
    value = config.get(name, default)
    if type(value) is not int or value < 1:
        _refuse("config", f"config.json: {name}: expected a whole number of 1 or more, got {str(value)[:40]!r}")
    return value


def _refuse(kind: str, what: str) -> NoReturn:
    raise ModelRefused(kind, f"model: {what}")
