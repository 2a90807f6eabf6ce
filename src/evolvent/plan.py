"""The settings of a run, and inside them the change plan outside which nothing happens.

One strict YAML file, `evolvent.yaml`: unknown keys are errors with a hint, the resolved form is stored with the run.
The change plan says which kinds of change are allowed, how big a model may get, which skills are protected by which
margin, and at which error rates; the loop refuses whatever it does not name.

Not here: defaults of operators (`operators/`), anything that changes while a run goes on (the ledger).
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from evolvent.budget import UNITS
from evolvent.errors import UsageError
from evolvent.types import content_hash

CONFIG_NAME = "evolvent.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GoalSettings(_Strict):
    """What the run is for, and how long it may take."""

    gain_points: int = Field(
        default=20,
        ge=0,
        le=100,
        description="gain wanted on the target, percentage points over the seed; 0 for none, as beside a `rate` alone",
    )
    rate: int = Field(default=0, ge=0, le=99, description="percent of the target to be solved; 0 for none")
    slice: dict[str, str] = Field(
        default={}, description='tags that narrow `rate` to a part of the target, such as {changes: "3"}'
    )
    turns: int = Field(default=6, ge=1, description="turns until the run ends by itself")
    hours: int = Field(default=0, ge=0, description="hours of work until then, over all restarts; 0 for no such limit")

    @model_validator(mode="before")
    @classmethod
    def _of_a_person(cls, data: Any) -> Any:
        """Whoever asks for a rate asks for no gain beside it, and writes a tag's number without quotes."""
        if not isinstance(data, dict):
            return data
        found = {**data, "gain_points": 0} if data.get("rate") and "gain_points" not in data else dict(data)
        if isinstance(tags := found.get("slice"), dict):
            found["slice"] = {key: str(value) if type(value) is int else value for key, value in tags.items()}
        return found

    @model_validator(mode="after")
    def _check(self) -> GoalSettings:
        if not (self.gain_points or self.rate):
            raise ValueError("expected gain_points or rate above 0: a goal that asks for nothing cannot be reached")
        if self.slice and not self.rate:
            raise ValueError("slice: narrows rate, and no rate is asked for")
        return self


class ChangePlan(_Strict):
    """What may change, and at which risk. The promise is about exactly these numbers."""

    operators: list[str] = Field(
        default=["self_labels", "gold", "scaffold", "policy"],
        min_length=1,
        description="kinds of change that may be proposed",
    )
    max_parameters: int = Field(default=5_000_000, ge=1, description="hard cap on model size")
    target: str = Field(description="skill that must get better")
    protected: dict[str, int] = Field(description="skills that must not get worse: margin in percentage points")
    alpha_progress: str = Field(default="0.05", description="share of promotions that may be no improvement")
    alpha_safety: str = Field(
        default="0.05", description="chance, over the whole run, of promoting a loss beyond a margin"
    )
    alpha_standing: str = Field(default="0.05", description="chance, over the whole run, of a false standing alarm")
    standing_every: int = Field(default=5, ge=1, description="turns between standing checks of an unchanged champion")
    first_epoch_slots: int = Field(default=8, ge=1, description="slots in the first epoch: fewer slots, larger levels")
    minimum_gain_points: int = Field(
        default=8, ge=1, le=99, description="smaller gains are not worth a promotion: futility"
    )
    max_items: int = Field(default=4000, ge=64, description="problems that one verdict may cost")
    block_items: int = Field(
        default=96, ge=8, description="problems drawn at a time: fewer stop earlier, more fill the workers' batches"
    )
    discordance: str = Field(default="0.15", description="planned share of problems on which two versions differ")
    jump_points: int = Field(
        default=0, ge=0, le=100, description="larger gains over the seed, on any skill, wait for a person; 0 for none"
    )
    drift_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description="larger shares of answers that differ from the seed's, both right, wait for a person; 0 for none",
    )

    @model_validator(mode="after")
    def _check(self) -> ChangePlan:
        if self.target not in self.protected:
            raise ValueError(f"target {self.target!r} must be listed under protected with its margin")
        for skill, margin in self.protected.items():
            if not 1 <= margin <= 99:
                raise ValueError(f"protected.{skill}: expected a margin of 1 to 99 points, got {margin}")
        for name in ("alpha_progress", "alpha_safety", "alpha_standing", "discordance"):
            text = getattr(self, name)
            try:
                value = float(text)
            except ValueError:
                raise ValueError(f"{name}: expected a number in quotes, got {text!r}") from None
            if not 0 < value < 1:
                raise ValueError(f"{name}: expected a number between 0 and 1, got {text}")
        return self

    @property
    def hash(self) -> str:
        """Content hash; each promotion names it."""
        return content_hash(self.model_dump())


class BuildSettings(_Strict):
    """How a candidate is built; an operator's parameters are factors of these, or say what they replace."""

    problems: int = Field(default=600, ge=1, description="challenger-made problems of one proposal")
    samples: int = Field(default=4, ge=1, le=64, description="answers tried per problem")
    steps: int = Field(default=60, ge=1, description="optimiser steps")
    tokens_per_step: int = Field(default=4096, ge=64, description="padded tokens of a step")
    learning_rate: str = Field(default="0.001", description="peak rate, a number in quotes")
    gold_share: int = Field(default=20, ge=0, le=100, description="percent of each step from the seed's own data")
    target_rate: int = Field(default=50, ge=1, le=99, description="success rate, percent, that the challenger aims at")

    @field_validator("learning_rate")
    @classmethod
    def _rate(cls, text: str) -> str:
        with suppress(ValueError):
            if 0 < float(text) < 1:
                return text
        raise ValueError(f"expected a number between 0 and 1 in quotes, got {text!r}")


class DevSettings(_Strict):
    """Dev rollouts: diagnosis and screening."""

    problems: int = Field(default=200, ge=10, description="dev problems per skill")


class ProbeSettings(_Strict):
    """The loop tests its own honesty: changes that must be refused, mixed into the run."""

    every_turns: int = Field(
        default=3, ge=0, description="every so many turns a null and a planted regression in turn; 0 for none"
    )


class PeopleSettings(_Strict):
    """Where the loop asks a person; `plan.jump_points` and `plan.drift_percent` say which promotions always wait."""

    pick_every: int = Field(
        default=0, ge=0, description="every so many turns a person picks what goes to the judge; 0 for never"
    )
    pick_count: int = Field(default=3, ge=1, le=16, description="candidates that are presented, best on dev first")
    wait_seconds: int = Field(
        default=0, ge=0, description="goes on without a word after so long; 0 stops the run until there is one"
    )


class _Limits(_Strict):
    def limits(self) -> dict[str, int]:
        """The limits that are set, by unit; 0 is none."""
        return {unit: limit for unit in UNITS if (limit := getattr(self, unit, 0))}


class TurnBudget(_Limits):
    """Limits of one turn, inside the run's: a candidate that has begun is finished, the others are dropped."""

    flops: int = Field(default=0, ge=0, description="operations of a turn")
    tokens: int = Field(default=0, ge=0, description="tokens of a turn")
    problems: int = Field(default=0, ge=0, description="problems that the judge may draw for candidates of a turn")


class BuildBudget(_Limits):
    """Limits of one candidate's build, inside its even share of what its turn and run have left."""

    flops: int = Field(default=0, ge=0, description="operations of a build")
    tokens: int = Field(default=0, ge=0, description="tokens sampled and trained on")


class BudgetSettings(_Limits):
    """Hard limits of the run; 0 is no limit."""

    flops: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    problems: int = Field(default=0, ge=0, description="problems that the judge may draw")
    seconds: int = Field(default=0, ge=0, description="stops the run, never changes a decision")
    job_seconds: int = Field(
        default=3600, ge=1, description="a job of a build that takes longer is killed, and the build has failed"
    )
    turn: TurnBudget = TurnBudget()
    build: BuildBudget = BuildBudget()


class JudgeSettings(_Strict):
    """Where the judge lives. No part of what a run is: a run may move between judges that hold its secret."""

    url: str = Field(default="", description="judge on another host, judge://HOST:PORT; empty for one on this machine")
    key: str = Field(
        default="", description="file of the key shared with that judge; EVOLVENT_JUDGE_KEY in its place holds the key"
    )
    user: str = Field(
        default="",
        description="account that a judge on this machine runs as; empty for one of its own where root starts",
    )
    network: bool = Field(default=False, description="leave it the network, for a task whose verifier needs a server")
    silence_seconds: int = Field(
        default=3600, ge=1, description="a judge without a word for so long is ended, with all that it started"
    )

    @field_validator("url")
    @classmethod
    def _address(cls, text: str) -> str:
        if text and not re.fullmatch(r"judge://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}", text):
            raise ValueError(f"expected judge://HOST:PORT, got {text!r}")
        return text


class EndpointSettings(_Strict):
    """A language model that proposes. Empty: nothing is ever asked."""

    url: str = Field(
        default="", description="OpenAI-compatible base URL, such as http://127.0.0.1:8000/v1; empty for none"
    )
    model: str = Field(default="", description="name by which that server knows the model")
    seconds: int = Field(default=60, ge=1, description="of one question, retries included")
    max_tokens: int = Field(default=1024, ge=16, description="of an answer")
    traces: int = Field(
        default=0, ge=0, le=8, description="failed dev problems, prompt and answer, that it is sent; 0 keeps them here"
    )


class Settings(_Strict):
    """All of `evolvent.yaml`."""

    task: str = Field(description="registered name or module:function")
    model: str = Field(description="sql-seed, or a local folder in save_pretrained layout")
    scaffold: dict[str, JsonValue] = Field(
        default={"kind": "direct"}, description="reasoning program under which the seed answers"
    )
    gold: str = Field(
        default="", description="JSONL of {prompt, answer}: the seed's own training data; empty for the seed's own"
    )
    seed: int = Field(default=0, ge=0, description="of all randomness but the judge's")
    goal: GoalSettings = GoalSettings()
    plan: ChangePlan
    build: BuildSettings = BuildSettings()
    dev: DevSettings = DevSettings()
    probes: ProbeSettings = ProbeSettings()
    people: PeopleSettings = PeopleSettings()
    budget: BudgetSettings = BudgetSettings()
    proposals_per_turn: int = Field(default=2, ge=1, le=16, description="built side by side, one per worker")
    workers: int = Field(default=2, ge=1, le=256)
    threads: int = Field(default=1, ge=1, le=256, description="per worker; part of what makes a run repeat exactly")
    proposers: list[str] = Field(
        default=["bandit"], min_length=1, description="who thinks of changes; several compete for the turn's places"
    )
    priors: dict[str, Annotated[int, Field(ge=0, le=100)]] = Field(
        default={},
        description="gain expected of a kind of change before there is evidence, points; else as the operator declares",
    )
    endpoint: EndpointSettings = EndpointSettings()
    judge: JudgeSettings = JudgeSettings()
    # Where the record is copied to is no part of what the run is: it may change, and no event depends on it.
    witness: list[str] = Field(
        default=[], exclude=True, description="folders that get a copy of each signed head; may be changed at any time"
    )
    signing_key: str = Field(
        default="", exclude=True, description="PEM file of an Ed25519 key; empty for the run's own signing/key.pem"
    )

    @property
    def run_id(self) -> str:
        """Name of the run: the same settings give the same name, so that two runs can be compared event by event."""
        return content_hash(self.recorded())[:12]

    def recorded(self) -> dict[str, Any]:
        """What a run is, as its first event keeps it: all but where the judge lives."""
        return self.model_dump(exclude={"judge"})


def parse(data: Any, where: str) -> Settings:
    """Validated settings.

    Raises:
        UsageError: names each wrong key or value, what was expected, and the nearest known key.
    """
    if not isinstance(data, dict):
        raise UsageError(
            f"{where}: expected keys and values, got {type(data).__name__}; `evolvent init` writes an example"
        )
    try:
        return Settings.model_validate(data)
    except ValidationError as exc:
        raise UsageError("\n".join(_explain(where, dict(error)) for error in exc.errors())) from None


def load(path: Path) -> Settings:
    """Settings from a YAML file.

    Raises:
        UsageError: the file is missing, is not YAML, or does not validate.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `evolvent init {path.parent}` writes one") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot be read: {exc}") from None
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as exc:
        raise UsageError(f"{path}: is not YAML: {' '.join(str(exc).split())}") from None
    return parse(data, str(path))


class _Loader(yaml.SafeLoader):
    """Safe, and strict about keys: YAML's own rule would let the later one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _explain(where: str, error: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key '{path}'; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] == "missing" or ", got " in message else f", got {error.get('input')!r}"
    if error["type"] == "string_type" and isinstance(error.get("input"), float):
        got += f'; write it in quotes: "{error["input"]}"'
    return f"{where}: {path or 'settings'}: {message}{got}"


def _keys_at(path: tuple[Any, ...]) -> list[str]:
    model: Any = Settings
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
    return list(getattr(model, "model_fields", {}))
