"""A version's story on a terminal, from its parents to what became of it: what `evolvent show VERSION` prints.

Made for 80 columns: names of artifacts are cut to eight digits (`--json` has them whole), long lines wrap below
themselves.

Not here: gathering the story (`provenance/origin.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evolvent.report import words
from evolvent.report.rows import FUNNEL

__all__ = ["biography"]

Json = Mapping[str, Any]
_LABEL = 12
_GOOD, _BAD = {"proven", "accept", "promoted"}, {"inferior", "reject", "rejected", "rolled_back", "alarm"}


def biography(story: Json) -> RenderableType:
    """The whole story."""
    parts: list[RenderableType] = [_title(story)]
    for name, rows in (("Why", _why(story)), ("Made of", _made(story)), ("Judged", _judged(story))):
        if rows:
            parts += [Text(), Text(name, style="bold"), _grid(rows)]
    if (proof := story.get("evidence")) and proof.get("stages"):
        parts.append(_tests(proof["stages"]))
    for name, rows in (("What became of it", _became(story)), ("Check it yourself", _check(story))):
        if rows:
            parts += [Text(), Text(name, style="bold"), _grid(rows)]
    return Group(*parts)


def _title(story: Json) -> Text:
    line = Text(words.short(story["version"]), style="bold")
    turn = f", turn {story['turn']}" if story.get("turn") else ""
    line.append(f"  {words.clean(story['operator'], 40)}{turn}")
    if story.get("champion"):
        line.append("  serves now", style="bold green")
    return line


def _why(story: Json) -> list[tuple[str, Text]]:
    rows: list[tuple[str, Text]] = []
    if story.get("line"):
        names = [
            f"{words.short(one['version'])} {words.clean(one['operator'], 40)}"
            + (f", turn {one['turn']}" if one["turn"] else "")
            for one in story["line"]
        ]
        rows.append(("comes from", Text(" \u2190 ".join(names))))
    found = story.get("answers")
    if found:
        where = f"{words.clean(found['skill'], 40)} {words.pairs(found['slice'])}".strip()
        span = f"{words.percent(float(found['low']))} to {words.percent(float(found['high']))}"
        said = f"{where}: {found['failures']} of {found['n']} failed ({span})"
        rows.append(("weakness", Text(". ".join(filter(None, (said, words.clean(found["cause"], 200)))))))
    if story["proposal"]:
        params = f" with {words.pairs(story['params'])}" if story.get("params") else ""
        hoped = f"; {words.clean(story['predicted_gain'], 12)} points expected" if story.get("predicted_gain") else ""
        rows.append(("proposal", Text(f"{story['proposal']}: {words.clean(story['operator'], 40)}{params}{hoped}")))
        if by := words.clean(story.get("proposer", ""), 40):
            rows.append(("by", Text(": ".join(filter(None, (by, words.clean(story["why"], 200)))))))
    return rows


def _made(story: Json) -> list[tuple[str, Text]]:
    candidate = story["candidate"]
    size = f"{story['parameters']:,} parameters" if story.get("parameters") else ""
    weights = f"{words.short(candidate['model'])}"
    rows = [("weights", Text(", ".join(filter(None, (weights, size)))))]
    rows.append(("program", Text(words.program(candidate["scaffold"]))))
    if story.get("policy"):
        rows.append(("policy", Text(words.pairs(story["policy"]))))
    if story.get("data"):
        funnel = story.get("funnel") or {}
        counts = ", ".join(f"{funnel[name]:,} {name}" for name in FUNNEL if name in funnel)
        rows.append(("data", Text(f"{words.short(story['data'])}{f': {counts}' if counts else ''}")))
    for number, job in enumerate(story["jobs"], 1):
        text = Text(words.clean(job["function"].partition(":")[2] or job["function"], 60))
        text.append(f"  key {words.short(job['key'])}, seed {job['seed']}\n", style="dim")
        text.append(f"reads {_names(job['inputs'])}; gives {_names(job['outputs'])}")
        rows.append((f"job {number}", text))
    if not story["jobs"]:
        parent = next(iter(story.get("line", ())), {})
        whose = "none: its parent's weights" if parent.get("model") == candidate["model"] else "not on record"
        rows.append(("jobs", Text("none: imported" if story["operator"] == "seed" else whose)))
    if env := story.get("environment"):
        shown = [f"{name} {env[name]}" for name in ("evolvent", "torch", "python") if env.get(name)]
        threads = "1 thread" if env.get("threads") == "1" else f"{env.get('threads', '?')} threads"
        rows.append(("ran on", Text(words.clean(", ".join([*shown, env.get("processor", ""), threads]), 200))))
    if cost := story.get("cost"):
        spent = (
            words.flops(cost["flops"]),
            f"{cost['tokens']:,} tokens",
            f"{cost['problems']:,} problems of the judge",
        )
        rows.append(("cost", Text(f"{', '.join(spent)}, {words.seconds(cost['ms'])}")))
    return rows


def _names(artifacts: Mapping[str, str]) -> str:
    return ", ".join(f"{words.clean(name, 20)} {words.short(artifact)}" for name, artifact in sorted(artifacts.items()))


def _judged(story: Json) -> list[tuple[str, Text]]:
    rows: list[tuple[str, Text]] = []
    if screen := story.get("screen"):
        counts = (
            f"{words.clean(skill, 40)} {c['wins']} won, {c['losses']} lost of {c['n']}"
            for skill, c in sorted(screen["skills"].items())
        )
        rows.append(("screen", Text(f"{'passed' if screen['passed'] else 'failed'} on dev: {'; '.join(counts)}")))
    if slot := story.get("slot"):
        levels = f"level {slot['alpha_sup']} for the gain, {slot['alpha_ni']} for each skill kept"
        rows.append(("slot", Text(f"{slot['slot']}: {levels}")))
    if verdict := story.get("verdict"):
        said = Text(str(verdict["decision"]), style=_style(str(verdict["decision"])))
        said.append(f": {words.clean(verdict['reason'], 80)}", style="")
        said.append(f"  isolation {words.clean(verdict['isolation'], 20)}, ", style="dim")
        said.append(f"evidence {words.short(verdict['evidence'])}", style="dim")
        rows.append(("verdict", said))
    elif story["proposal"]:
        rows.append(("verdict", Text("the judge was not asked", style="dim")))
    if missing := (story.get("evidence") or {}).get("missing"):
        rows.append(("evidence", Text(words.clean(missing), style="red")))
    return rows


def _tests(stages: Sequence[Json]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1))
    for name in ("test", "log e>", "needed>", "won>", "lost>", "of>", "outcome"):
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left")
    for stage in stages:
        reached = f"{float(stage['path'][-1][1]):+.2f}" if stage["path"] else ""
        cells = (words.stage_words(stage), reached, f"{float(stage['threshold_log_e']):.2f}")
        counts = (f"{stage[name]:,}" for name in ("wins", "losses", "n"))
        outcome = words.clean(stage["outcome"], 20) if stage["n"] else "not asked"
        table.add_row(*map(Text, (*cells, *counts)), Text(outcome, style=_style(outcome)))
    return table


def _became(story: Json) -> list[tuple[str, Text]]:
    return [(f"event {row['seq']}", _event(row, story["version"])) for row in story["history"]]


def _event(row: Json, version: str) -> Text:
    when = words.date(row.get("time_ns", 0))
    if row["kind"] == "promoted":
        who = words.clean(row["by"], 60)
        if row["forced"]:
            against = words.clean(row.get("objection") or "silence", 80)
            text = Text(f"forced in by {who} against the judge's {against}: ", style="yellow")
            text.append(words.clean(row.get("reason", ""), 200), style="")
        else:
            text = Text("promoted", style="green")
            person = (
                words.clean(f"{row['approved_by']}: {row['note']}".removesuffix(": "), 200) if "note" in row else ""
            )
            who = f"gate, approved by {person}" if person else who
            text.append(f" by the {who}, clause {words.clean(row['clause'], 60)}", style="")
            text.append(f" of plan {words.short(row['plan'])}" if row.get("plan") else "", style="")
    elif row["kind"] == "held":
        text = Text("held for a person", style="yellow")
        text.append(f": {words.clean('; '.join(row['why']), 300)}", style="")
    elif row["kind"] == "rejected":
        text = Text("rejected", style="red")
        text.append(f": {words.clean(row['reason'], 120)}", style="")
    elif row["kind"] == "standing.checked":
        return _standing(row, version, when)
    else:
        away = row["from"] == version
        text = Text("rolled back" if away else "restored", style="red" if away else "green")
        other = f"to {words.short(row['to'])}" if away else f"in place of {words.short(row['from'])}"
        text.append(f" {other} by {words.clean(row['by'], 60)}: {words.clean(row['reason'], 160)}", style="")
    return text.append(f"  {when}", style="dim")


def _standing(row: Json, version: str, when: str) -> Text:
    own = row.get("reference") != version
    other = "" if own else f" of {words.short(row.get('champion', ''))} against it" if row.get("champion") else ""
    text = Text(f"standing check{other}: ")
    text.append("worse beyond its margin" if row["alarm"] else "no evidence of a loss",
                style="red" if row["alarm"] else "green")  # fmt: skip
    text.append(f"  {when}", style="dim")
    for stage in row.get("tests", ()):
        reached = f"log e {float(stage['path'][-1][1]):+.2f}, " if stage["path"] else "not asked; "
        text.append(f"\n{words.stage_words(stage)} {reached}{float(stage['threshold_log_e']):.2f} needed")
    return text


def _check(story: Json) -> list[tuple[str, Text]]:
    name = words.short(story["version"])
    rows = [("rebuild", Text(f"evolvent rebuild {name}"))] if story["jobs"] else []
    count = len(story.get("statements", ()))
    if count:
        signed = "a signed statement" if count == 1 else f"{count} signed statements"
        rows.append(("statement", Text(f"evolvent show {name} --statement  ({signed})")))
    return [*rows, ("audit", Text("evolvent audit  (recomputes the tests above, checks signatures)"))]


def _style(word: str) -> str:
    return "green" if word in _GOOD else "red" if word in _BAD else ""


def _grid(rows: Iterable[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True, width=_LABEL)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(f"  {label}", text)
    return grid
