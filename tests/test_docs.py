"""The documentation is kept true: commands, settings, events, claims, links and code blocks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import loaded
from evolvent.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
COVERAGE, EVENTS = ROOT / "docs" / "coverage.md", ROOT / "docs" / "concepts" / "events.md"
GROUPED = (
    *("memory show", "memory search", "memory export", "memory forget", "judge serve", "judge key"),
    *("recipes list", "recipes show", "recipes run"),
)
STATUSES = {"works", "partly", "planned"}
EMITTERS = ("loop.py", "standing.py", "people.py", "run.py", "demo.py", "goals.py", "steering.py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows(path: Path) -> Iterator[list[str]]:
    """Cells of a page's table rows, without headers and rules."""
    for line, after in zip(lines := path.read_text(encoding="utf-8").splitlines(), [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|---") and not after.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


# -- coverage ----------------------------------------------------------------------------------------------------------

CLAIMS = list(rows(COVERAGE))


def test_coverage_is_found_and_linked() -> None:
    assert len(CLAIMS) >= 20
    assert "docs/coverage.md" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cells", CLAIMS, ids=lambda cells: cells[0][:40])
def test_a_claim_is_true_of_today(cells: list[str]) -> None:
    mechanism, shown_by, figure, status = cells
    assert status in STATUSES, f"{mechanism}: status must be one of {sorted(STATUSES)}"
    commands = re.findall(r"`([^`]+)`", shown_by)
    if not commands:
        assert status == "planned", f"{mechanism}: nothing shows it, so it is planned"
        return
    assert figure, f"{mechanism}: says no figure"
    for command in commands:
        check_command(mechanism, command, status)


def check_command(mechanism: str, command: str, status: str) -> None:
    program, *words = command.split()
    if program == "evolvent":
        known = command.startswith(tuple(f"evolvent {name}" for name in GROUPED)) or words[0] in COMMANDS
        assert known, f"{mechanism}: no command `{command}`"
        options = {word for word in words if word.startswith("--")}
        table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        name = next((name for name in GROUPED if command.startswith(f"evolvent {name}")), words[0])
        row = next(line for line in table.splitlines() if f"`evolvent {name}" in line)
        assert all(f"[{option}" in row for option in options), f"{mechanism}: `{command}` has no such option"
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program.startswith("benchmarks/"):
        results = ROOT / "benchmarks" / "RESULTS.md"
        was_run = results.is_file() and Path(program).stem in results.read_text(encoding="utf-8")
        assert was_run or status == "planned", f"{mechanism}: {program} has no row in benchmarks/RESULTS.md yet"
        assert not was_run or (status != "planned" and (ROOT / program).is_file()), (
            f"{mechanism}: {program} has results"
        )
    else:
        assert (ROOT / program).is_file(), f"{mechanism}: no file {program}"


# -- code against pages ------------------------------------------------------------------------------------------------


def test_tables_from_the_code_are_up_to_date() -> None:
    tables = loaded.script("docs_tables")
    assert len(tables.TABLES) == 2
    for path in tables.TABLES:
        assert path.read_text(encoding="utf-8") == tables.page(path), (
            f"{name_of(path)}: run python scripts/docs_tables.py"
        )


def test_every_command_has_a_line() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert len(COMMANDS) >= 10
    for command in [*COMMANDS, *GROUPED]:
        assert f"| `evolvent {command}" in text, f"docs/cli.md: no line for {command}"


def emitted() -> set[str]:
    """Event kinds that the source names: first arguments of `once`, `append`, `request`; `kind`, wherever it is set."""
    found: set[str] = set()
    for name in EMITTERS:
        for node in ast.walk(ast.parse((ROOT / "src" / "evolvent" / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr in {"once", "append", "request"}:
                    found |= texts(node.args[0])
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id == "kind":
                        found |= texts(node.value)
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for one, value in zip(target.elts, node.value.elts, strict=True):
                            found |= texts(value) if isinstance(one, ast.Name) and one.id == "kind" else set()
            elif isinstance(node, ast.keyword) and node.arg == "kind":
                found |= texts(node.value)
    return found


def texts(node: ast.expr) -> set[str]:
    inner = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return {part.value for part in inner if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def documented_events() -> dict[str, str]:
    """Payload cell by event kind."""
    return {cells[0].strip("`"): cells[2] for cells in rows(EVENTS) if len(cells) == 4}


def test_every_event_kind_has_a_line_and_every_line_an_event() -> None:
    kinds, lines = emitted(), set(documented_events())
    assert len(kinds) >= 20, f"found too few event kinds: {sorted(kinds)}"
    assert kinds - lines == set(), "events without a line in docs/concepts/events.md"
    assert lines - kinds == set(), "lines of docs/concepts/events.md that no code emits"


def test_every_operator_has_a_line() -> None:
    text = (ROOT / "docs" / "concepts" / "proposal.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project.split('"evolvent.operators"]')[1].split("[")[0]
    names = re.findall(r"^(\w+) =", block, re.MULTILINE)
    assert len(names) >= 6
    for name in names:
        assert f"| `{name}` |" in text, f"docs/concepts/proposal.md: no line for operator {name}"


# -- links and code blocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name_of(page)}: no {target}"


def test_every_page_is_reachable_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        if (ROOT / "docs") in page.parents and page.name != "index.md":
            assert f"({page.relative_to(ROOT / 'docs')})" in index, f"docs/index.md: no link to {name_of(page)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_in_prose_exist(page: Path) -> None:
    """`room/file.py` and `file.py` in backquotes exist, in repository or package; benchmarks see coverage."""
    for name in re.findall(r"`([\w./-]+\.py)`", page.read_text(encoding="utf-8")):
        if not name.startswith("benchmarks/"):
            places = (ROOT, ROOT / "src" / "evolvent", ROOT / "examples", page.parent)
            known = any((place / name).is_file() for place in places) or list((ROOT / "src").rglob(name))
            assert known, f"{name_of(page)}: no file {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_compile_and_their_imports_work(page: Path) -> None:
    for block in code_blocks(page, "python"):
        tree = ast.parse(block)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        code = ast.unparse(ast.Module(body=list(imports), type_ignores=[]))
        # In a process of its own: the quickstart must not need what another test imported.
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr


def test_readme_quickstart_uses_what_a_run_offers() -> None:
    from evolvent.ledger import Ledger
    from evolvent.run import Run
    from evolvent.state import State

    (block,) = code_blocks(ROOT / "README.md", "python")
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 10, "the quickstart has ten lines"
    owners = {"run": Run, "Run": Run, "ledger": Ledger, "state": State(), "event": None}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = owners[node.value.id]
            assert owner is None or hasattr(owner, node.attr), f"README: {node.value.id}.{node.attr} is not there"
