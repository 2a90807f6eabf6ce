"""Every class of attacks in one table, for the benchmark and for the documentation.

``python benchmarks/hostile/catalogue.py`` writes the table of ``docs/design/attacks.md``; a test compares them.

Not here: figures, which are in ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

__all__ = ["MODULES", "PAGE", "classes", "table"]

# Module of this folder: what it attacks.
MODULES = {
    "reach": "the sandbox for model-written code: reaching out",
    "harm": "the sandbox for model-written code: doing harm",
    "doors": "the sandbox for model-written code: the kernel's own doors",
    "cheats": "the verifier of `python_fix`: answers that are forged or known by heart",
    "disguises": "the verifier of `python_fix`: answers that are not what they look like",
    "sql": "the verifier of `sql_migration`: reaching out and stalling",
    "forged": "the verifier of `sql_migration`: called right without being right",
    "worker": "the judge's rollout worker, its pipes and its slots",
    "ledger": "the record",
    "files": "model files",
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "design" / "attacks.md"
_BEGIN, _END = "<!-- classes -->", "<!-- end of classes -->"


def classes() -> dict[str, list[tuple[str, str, str, str]]]:
    """By module, its classes: id, name, what stops it, and why it has no control (empty: it has one)."""
    return {
        name: [(a.trust, a.name, a.stops, a.no_control) for a in importlib.import_module(f"hostile.{name}").ATTACKS]
        for name in MODULES
    }


def table() -> str:
    """The classes as Markdown."""
    lines: list[str] = []
    for name, found in classes().items():
        lines += [
            "",
            f"**{MODULES[name][0].upper()}{MODULES[name][1:]}** (`benchmarks/hostile/{name}.py`, {len(found)} classes)",
            "",
        ]
        lines += ["| id | class | stopped by | live in the box |", "|---|---|---|---|"]
        lines += [f"| {trust} | {what} | {stops} | {'yes' if not why else why} |" for trust, what, stops, why in found]
    return "\n".join([_BEGIN, *lines, "", _END])


def written(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{table()}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
