"""Hostile model files, manifests and weights that are swapped, against the pre-check and the store.

The files come from the corpus of the tests (`tests/precheck/hostile_models.py`); what could execute would touch a canary.

Not here: how many parameters a plan allows; what weights do (`judge/`).
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from evolvent import precheck
from evolvent.errors import EvolventError, ModelRefused
from evolvent.store import Store
from evolvent.types import canonical_json, sha256_hex
from hostile.base import Attack, Ending, Field, Found, Json
from hostile.probes import source_of

__all__ = ["ATTACKS"]

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "precheck"))
_PICKLES = ("pickle", "zip", "tar")
_NOT_EXECUTED = "a file that is refused executes nothing; the pickles are shown live in a class of their own"
Files = dict[str, bytes]


def _corpus(canary: Path) -> dict[str, tuple[Files, str]]:
    return importlib.import_module("hostile_models").hostile(canary)


def _tried(files: Files, canary: Path, where: str) -> Ending:
    try:
        precheck.check_files(files)
    except ModelRefused as refused:
        found = Ending(Found.BLOCKED, f"{refused.kind} [{where}]")
    else:
        found = Ending(Found.ESCAPED, f"passed [{where}]")
    return Ending(Found.ESCAPED, f"executed [{where}]") if canary.exists() else found


def files_of(name: str, trust: str, stops: str, chosen: Callable[[str], bool], *, live: bool = False) -> Attack:
    """A class of model folders, each through the bytes' and through the folder's door."""

    def run(field: Field, variants: int, seed: int) -> Iterator[Ending]:
        canary = field.root / "canary"
        corpus = [(key, files) for key, (files, _) in _corpus(canary).items() if chosen(key)]
        for key, files in corpus[:variants]:
            yield _tried(files, canary, key)
        for key, files in corpus[: max(0, variants - len(corpus))]:
            if files.keys() <= precheck.FILES.keys():
                yield _folder(files, canary, key)

    def controls() -> list[tuple[str, Json]]:
        charge = base64.b64encode(
            importlib.import_module("hostile_models").live_pickle(Path("/tmp/outside/canary"))
        ).decode()
        # The pickle's own class lives in a module of the tests: what it calls is in the standard library.
        body = f"import base64, pickle\npickle.loads(base64.b64decode({charge!r}))\nreturn os.path.exists('/tmp/outside/canary')"
        return [("probe", {"source": source_of(body)})]

    return Attack(
        name=name,
        trust=trust,
        stops=stops,
        run=run,
        control=controls if live else None,
        no_control="" if live else _NOT_EXECUTED,
    )


def _folder(files: Files, canary: Path, where: str) -> Ending:
    with tempfile.TemporaryDirectory() as root:
        for file, data in files.items():
            (Path(root) / file).write_bytes(data)
        try:
            precheck.read_folder(Path(root))
        except EvolventError as exc:
            return Ending(
                Found.ESCAPED if canary.exists() else Found.BLOCKED, f"{type(exc).__name__} [{where}, folder]"
            )
    return Ending(Found.ESCAPED, f"read [{where}, folder]")


def _spoiled(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """An honest file with bytes of its header changed: refused, or a file whose every byte is still accounted for."""
    honest = importlib.import_module("hostile_models").honest()
    data = honest[precheck.WEIGHTS]
    header = int.from_bytes(data[:8], "little")
    rng = random.Random(f"spoiled{seed}")
    for i in range(variants * 4):
        made = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            made[rng.randrange(8 + header)] = rng.randrange(256)
        if i % 4 == 3:
            made = made[: rng.randrange(len(made))]
        files = {**honest, precheck.WEIGHTS: bytes(made)}
        if bytes(made) == data:
            continue
        try:
            precheck.check_files(files)
        except ModelRefused as refused:
            yield Ending(Found.BLOCKED, refused.kind)
        else:  # a name or a word of the metadata changed: numbers that are no worse than any other
            size = sum(
                e["data_offsets"][1] - e["data_offsets"][0]
                for k, e in json.loads(made[8 : 8 + header]).items()
                if k != "__metadata__"
            )
            whole = size == len(made) - 8 - header
            yield Ending(Found.NO_EFFECT if whole else Found.ESCAPED, "another name, the same numbers")


def _links(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """Names in a folder that lead elsewhere, or are no files."""
    honest = importlib.import_module("hostile_models").honest()
    target = field.judge / "secret"
    ways: tuple[Callable[[Path], object], ...] = (
        lambda path: path.symlink_to(target),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("../" * 9 + "etc/passwd"),
        lambda path: path.symlink_to("/proc/self/environ"),
        os.mkfifo,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path),
    )
    for i in range(variants):
        name = list(honest)[i % len(honest)]
        with tempfile.TemporaryDirectory() as root:
            for file, data in honest.items():
                if file != name:
                    (Path(root) / file).write_bytes(data)
            ways[(i // len(honest)) % len(ways)](Path(root) / name)
            try:
                precheck.read_folder(Path(root))
            except EvolventError as exc:
                yield Ending(Found.BLOCKED, f"{type(exc).__name__}: {exc}"[-120:])
            else:
                yield Ending(Found.ESCAPED, f"{name} was followed, variant {i}")


def _manifests(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """Manifests that name other files, other sizes, other places."""
    honest = importlib.import_module("hostile_models").honest()
    rng = random.Random(f"manifest{seed}")
    for i in range(variants):
        with tempfile.TemporaryDirectory() as root:
            store = Store(Path(root))
            manifest = store.get_manifest(store.put_tree(honest, "model", {}))
            entry = dict(manifest["files"][precheck.WEIGHTS])
            changes: tuple[tuple[str, Json], ...] = (
                ("../../judge/secret", entry),
                ("/etc/passwd", entry),
                ("model.safetensors/../x", entry),
                ("modeling.py", entry),
                (precheck.WEIGHTS, {**entry, "size_bytes": rng.randrange(1 << 40)}),
                (precheck.WEIGHTS, {**entry, "sha256": f"{rng.getrandbits(256):064x}"}),
                (precheck.WEIGHTS, {**entry, "sha256": "../" * 8 + "etc/passwd"}),
                (precheck.WEIGHTS, {**entry, "size_bytes": "1"}),
                (precheck.WEIGHTS, {**entry, "size_bytes": -1}),
                (precheck.WEIGHTS, {**entry, "sha256": ["x"]}),
                ("..", entry),
                ("\0", entry),
                (precheck.WEIGHTS, {**entry, "size_bytes": True}),
                (precheck.CONFIG, entry),
                (precheck.WEIGHTS, {}),
            )
            name, value = changes[i % len(changes)]
            forged = store.put_bytes(canonical_json({**manifest, "files": {**manifest["files"], name: value}}).encode())
            yield _read(store, forged, f"{name[:30]!r}")


def _read(store: Store, name: str, where: str) -> Ending:
    try:
        precheck.read_artifact(store, name)
    except EvolventError as exc:
        return Ending(Found.BLOCKED, f"{type(exc).__name__} [{where}]")
    except (KeyError, TypeError, ValueError, OSError) as exc:
        return Ending(
            Found.ESCAPED, f"no error of ours, so a step of the loop would fall: {type(exc).__name__}: {exc} [{where}]"
        )
    return Ending(Found.ESCAPED, f"read [{where}]")


def _swapped(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """After the hash was taken, other bytes lie in the weights' place."""
    honest = importlib.import_module("hostile_models").honest()
    rng = random.Random(f"swapped{seed}")
    data = honest[precheck.WEIGHTS]
    for i in range(variants):
        with tempfile.TemporaryDirectory() as root:
            store = Store(Path(root))
            name = store.put_tree(honest, "model", {})
            path = store.path(sha256_hex(data))
            path.chmod(0o644)
            at = rng.randrange(len(data))
            other = Path(root) / "other"
            match i % 6:
                case 0:
                    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
                case 1:
                    path.write_bytes(data[:at])
                case 2:
                    path.write_bytes(data + b"\0")
                case 3:
                    other.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
                    path.unlink()
                    path.symlink_to(other)
                case 4:
                    other.write_bytes(bytes(len(data)))
                    path.unlink()
                    os.link(other, path)
                case _:
                    path.unlink()
                    os.mkfifo(path)
            yield _read(store, name, f"way {i % 6}")


ATTACKS: tuple[Attack, ...] = (
    files_of(
        "pickles, also under other names",
        "M1",
        "safetensors only; nothing unpickles",
        lambda key: any(word in key for word in _PICKLES),
        live=True,
    ),
    files_of(
        "headers that lie",
        "M2",
        "every byte accounted for before a loader sees one",
        lambda key: key.startswith(
            (
                "header",
                "offsets",
                "overlap",
                "hole",
                "same",
                "bytes",
                "body",
                "extra",
                "no_tensors",
                "metadata",
                "empty",
                "name_",
            )
        ),
    ),
    files_of(
        "shapes, types and numbers that lie",
        "M2",
        "allow-list of types; finite values; sizes that fit",
        lambda key: key.startswith(("shape", "dtype", "nan", "infinity", "truth", "too_many")),
    ),
    Attack(
        name="honest files with spoiled headers",
        trust="M2",
        stops="every byte accounted for",
        run=_spoiled,
        no_control=_NOT_EXECUTED,
    ),
    Attack(
        name="links, pipes and folders in place of files",
        trust="M3",
        stops="opened once, by descriptor, never through a link",
        run=_links,
        no_control=_NOT_EXECUTED,
    ),
    files_of(
        "code in configurations and tokenizers",
        "M4",
        "nothing that asks for code; known fields and classes",
        lambda key: key.startswith(("config", "tokenizer", "codec", "module", "generation", "merges")),
    ),
    Attack(
        name="manifests that name other things",
        trust="M5",
        stops="names, sizes and hashes are held against the bytes",
        run=_manifests,
        no_control=_NOT_EXECUTED,
    ),
    files_of(
        "architecture bombs", "M6", "a configuration's numbers must fit the tensors", lambda key: key.startswith("bomb")
    ),
    Attack(
        name="weights swapped after they were hashed",
        trust="J18",
        stops="hashed again from the bytes that are used",
        run=_swapped,
        no_control=_NOT_EXECUTED,
    ),
)
