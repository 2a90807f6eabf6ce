"""The story on a terminal: rich renderables for `status`, `pick`, `log`, `lineage` and `report`.

Text of the ledger goes into `Text`, never into markup, after `words.clean` took out what a terminal would obey.

Not here: printing (the command line owns the console), JSON output (it prints events).
"""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from evolvent.report import words
from evolvent.report.fields import counts, text
from evolvent.report.fields import table as table_of
from evolvent.report.foresight import foresight, measured_gain, sentence
from evolvent.report.rows import Attempt, Outcome, Promotion, SkillGain, Version
from evolvent.report.sight import probed, sight
from evolvent.report.story import Story
from evolvent.report.waiting import Held, Waiting

__all__ = ["before_after", "lineage", "log", "picks", "report", "status", "table"]

_STYLES = {
    Outcome.PROMOTED: "green",
    Outcome.ACCEPTED: "green",
    Outcome.FORCED: "yellow",
    Outcome.HELD: "yellow",
    Outcome.REJECTED: "red",
    Outcome.BUILD_FAILED: "red",
}
_UNITS = ("flops", "tokens", "problems")


def before_after(story: Story) -> RenderableType:
    """Seed against champion on the sealed problems, with 95 % intervals."""
    if not story.gains:
        return Text(words.unmeasured(story), style="dim")
    rows = table("skill", "n>", "seed>", "champion>", "change>", "95 % interval>", "", "tokens each>")
    for gain in story.gains.values():
        rows.add_row(
            Text(words.clean(gain.skill, 40), style="bold"),
            f"{gain.n:,}",
            words.percent(gain.before),
            words.percent(gain.after),
            Text(words.points(gain.gain), style="bold"),
            words.interval(gain.interval),
            _judgement(gain),
            words.price(gain),
        )
    return rows


def log(story: Story, last: int | None = None) -> RenderableType:
    """The proposals: what was tried, why, and what became of it; the `last` ones if a number is given."""
    attempts = list(story.attempts.values())
    if not attempts:
        return Text("No change has been proposed yet.", style="dim")
    rows = table("id", "change", "version", "because", "foreseen>", "on dev>", "slot>", "outcome", "reason")
    for attempt in attempts if last is None else attempts[max(len(attempts) - last, 0) :]:
        rows.add_row(
            words.clean(attempt.id, 12),
            Text(words.change(attempt), style="bold"),
            words.short(attempt.version),
            Text(words.because(attempt)),
            Text(words.foreseen(attempt)),
            words.points(gain / 100) if (gain := measured_gain(attempt)) is not None else "",
            str(attempt.slot or ""),
            Text(attempt.outcome.value, style=_STYLES.get(attempt.outcome, "dim")),
            Text(words.why_ended(attempt, story.rollbacks)),
        )
    return rows


def lineage(story: Story) -> RenderableType:
    """Who came from whom; champions in colour, the one that serves now marked."""
    if not story.versions:
        return Text("No version has been imported yet.", style="dim")
    promoted = {promotion.version: promotion for promotion in story.promotions}
    branches: dict[str, Tree] = {}
    roots: list[Tree] = []
    for entry in story.versions.values():
        label = _version_label(story, entry, promoted)
        above = next((branches[parent] for parent in entry.parents if parent in branches), None)
        branches[entry.version] = above.add(label) if above is not None else Tree(label, guide_style="dim")
        if above is None:
            roots.append(branches[entry.version])
    for rollback in story.rollbacks:
        line = Text(f"turn {rollback.turn}: rolled back from {words.short(rollback.source)} ", style="red")
        line.append(words.clean(rollback.reason, 120), style="dim")
        if rollback.target in branches:
            branches[rollback.target].add(line)
    return Group(*roots)


def status(story: Story) -> RenderableType:
    """Where the run stands: goal, champion, what waits for a person, budget, error budget, subgoals."""
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("goal", Text(words.goal_wanted(story.run.goal) or "none"))
    if story.pursuit.outcome:
        line = Text(words.clean(story.pursuit.reason, 240), style="bold")
        if story.pursuit.of != story.champion:
            line.append(f" (said of {words.short(story.pursuit.of)}, champion no more)", style="dim")
        grid.add_row("", line)
    grid.add_row("turn", f"{story.turn}, {_state(story)}")
    grid.add_row("champion", _champion(story))
    for i, case in enumerate(story.waiting.held.values()):
        grid.add_row("waits for you" if i == 0 else "", _held(case, story))
    if story.waiting.asked:
        grid.add_row("pick", _asked(story.waiting))
    outcomes = {outcome: story.count(outcome) for outcome in Outcome}
    named = {**{outcome: outcome.value for outcome in Outcome}, Outcome.REJECTED: "rejected by the judge"}
    counts = ", ".join(f"{count} {named[outcome]}" for outcome, count in outcomes.items() if count)
    grid.add_row("proposals", f"{len(story.attempts)}{f': {counts}' if counts else ''}")
    for unit in _UNITS:
        grid.add_row(unit, _spent(story, unit))
    grid.add_row("time", words.seconds(story.cost.milliseconds))
    slots = len(story.judged)
    spent = f"{story.alpha_spent} of {_alpha_safety(story)} spent over {slots} slot{'' if slots == 1 else 's'}"
    grid.add_row("error budget", f"{spent}: chance, at most, of a harmful promotion so far")
    if (seen := sight(story)) is not None:
        smallest = f"a gain from {seen.gain_points:.1f} points, or rules a loss of {seen.loss_points:.1f} out"
        grid.add_row("sight", f"the next verdict shows {smallest} (8 times of 10, {seen.problems:,} problems)")
    if (probes := probed(story)).judged:
        said = f"{probes.promoted} of {probes.judged} nulls and planted regressions promoted"
        grid.add_row("probes", f"{said}; chance of one at most {words.percent(probes.limit)} (95 %)")
    if said := sentence(foresight(story)):
        grid.add_row("foresight", said)
    if story.unheard:
        kinds = ", ".join(f"{count} {words.clean(kind, 30)}" for kind, count in story.unheard.most_common())
        grid.add_row("not heard", f"of the language model: {kinds}; last {words.clean(story.unheard_last, 200)}")
    for i, goal in enumerate(story.subgoals):
        line = Text(f"{goal.state}  ", style="green" if goal.state == "closed" else "")
        line.append(f"{words.clean(goal.skill, 40)} {words.pairs(goal.slice)}".strip(), style="bold")
        said = filter(None, (words.slice_counts(goal), words.clean(goal.reason, 120)))
        line.append(f"  {'; '.join(said)}", style="dim")
        grid.add_row("subgoals" if i == 0 else "", line)
    return Group(Text(words.headline(story), style="bold"), Text(), grid)


def picks(story: Story) -> RenderableType:
    """The candidates that a person may pick from, with what is known of each before the judge is asked."""
    if not story.waiting.asked:
        return Text("No pick is asked for now.", style="dim")
    rows = table("id", "change", "version", "because", "foreseen>", "on dev>", "won and lost on dev", "build>")
    for row in story.waiting.asked:
        attempt, skills = story.attempts.get(text(row, "id"), Attempt(id=text(row, "id"))), table_of(row, "skills")
        gain = measured_gain(attempt)
        rows.add_row(
            words.clean(attempt.id, 12),
            Text(words.change(attempt), style="bold"),
            words.short(attempt.version),
            Text(words.because(attempt)),
            Text(words.foreseen(attempt)),
            words.points(gain / 100) if gain is not None else "",
            Text("\n".join(f"{words.clean(skill, 40)} {_won(counts(skills, skill))}" for skill in sorted(skills))),
            words.flops(attempt.flops),
        )
    by = words.clean(story.waiting.pick, 60)
    said = (
        f"{by} picked already." if by else "evolvent pick ID...  sends these to the judge, in this order; --none, none."
    )
    return Group(rows, Text(said, style="dim" if by else "bold"))


def _won(skill: Mapping[str, int]) -> str:
    return f"{skill.get('wins', 0)} won, {skill.get('losses', 0)} lost of {skill.get('n', 0)}"


def report(story: Story) -> RenderableType:
    """The short form of the page: headline, before and after, and what was refused."""
    lines = [Text(sentence) for sentence in words.summary(story)]
    return Group(Text(words.headline(story), style="bold"), Text(), before_after(story), Text(), *lines)


def table(*columns: str) -> Table:
    """A plain table; a column whose name ends in ``>`` is set to the right."""
    made = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    for name in columns:
        made.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left")
    return made


def _judgement(gain: SkillGain) -> Text:
    pair = gain.interval
    if pair and pair[0] > 0:
        return Text("better", style="green")
    if pair and pair[1] < 0:
        return Text("worse", style="red")
    return Text("no clear change", style="dim")


def _version_label(story: Story, entry: Version, promoted: Mapping[str, Promotion]) -> Text:
    label = Text()
    promotion = promoted.get(entry.version)
    champion = promotion is not None or entry.version == story.seed_version
    style = "dim" if not champion else "yellow" if promotion and promotion.forced else "green"
    label.append(words.short(entry.version), style=style)
    label.append(f"  {words.clean(entry.operator, 40)}", style="bold" if champion else "")
    attempt = story.attempts.get(entry.attempt)
    if attempt is not None:
        label.append(
            f"  turn {attempt.turn}, {attempt.outcome.value} {words.why_ended(attempt, story.rollbacks)}", style="dim"
        )
    if entry.version == story.champion:
        label.append("  serves now", style="bold green")
    return label


def _champion(story: Story) -> Text:
    if not story.champion:
        return Text("none", style="dim")
    entry = story.versions.get(story.champion)
    line = Text(words.short(story.champion), style="bold")
    if entry is not None:
        line.append(f"  {words.clean(entry.operator, 40)}, turn {entry.turn}", style="dim")
    return line


def _held(case: Held, story: Story) -> Text:
    """What a person needs to decide: what changed, why it waits, the evidence, what to type."""
    name, attempt = words.short(case.version), story.attempts.get(case.attempt, Attempt(id=case.attempt))
    line = Text()
    line.append(f"{words.clean(case.attempt, 12)}  {name}", style="bold yellow")
    line.append(f"  {words.change(attempt)}, accepted by the gate {words.date(case.since_ns)}\n")
    line.append("".join(f"{words.clean(why, 160)}\n" for why in case.why), style="yellow")
    line.append(f"against the seed: {words.distances(case)}\n", style="dim")
    if case.incumbent != story.champion:
        return line.append(
            f"judged against {words.short(case.incumbent)}, which is champion no more: it will be dropped"
        )
    if case.word:
        return line.append(f"{words.clean(case.word, 160)}; done when `evolvent run` goes on", style="bold")
    if case.passed:
        line.append("nobody spoke in time, and the run went on without it\n", style="dim")
    line.append(f"first  evolvent show {name}\n", style="bold")
    return line.append(f"then   evolvent approve {name}  or  evolvent decline {name}", style="bold")


def _asked(waiting: Waiting) -> Text:
    count = len(waiting.asked)
    if waiting.pick:
        return Text(f"{words.clean(waiting.pick, 60)} picked; done when `evolvent run` goes on")
    line = Text(f"{count} candidate{'' if count == 1 else 's'} before the judge is asked; ")
    return line.append("evolvent pick  shows them", style="bold")


def _state(story: Story) -> str:
    if story.run.stopped is not None:
        return f"stopped ({words.clean(story.run.stopped, 80)})"
    turn = story.turns.get(story.turn)
    return "not started" if turn is None else "ended" if turn.done else "under way"


def _alpha_safety(story: Story) -> str:
    plan = story.run.config.get("plan")
    return words.clean(plan.get("alpha_safety", "?"), 12) if isinstance(plan, dict) else "?"


def _spent(story: Story, unit: str) -> str:
    """Spent, and what is left where the configuration sets a limit."""
    limits = story.run.config.get("budget")
    limit = limits.get(unit) if isinstance(limits, dict) else None
    spent = getattr(story.cost, unit)
    said = words.flops(spent) if unit == "flops" else f"{spent:,}"
    if not isinstance(limit, int) or limit <= 0:  # 0 is no limit
        return f"{said} spent"
    left = max(limit - spent, 0)
    return f"{said} spent, {words.flops(left) if unit == 'flops' else f'{left:,}'} left"
