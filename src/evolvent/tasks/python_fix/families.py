"""Families of small functions, written for this task, from which each problem draws one of its own.

``library/*.txt`` holds them. A family is a header with its parameters and their kinds (`inputs.py`), a sentence that
says what the function gives, and one or more sketches of its body, parted by ``--``::

    == count_if xs:ints
    Count the values of $xs that are @p.
    % op=>|< | w=larger|smaller
        $c = 0
        ...

``$xs`` is an identifier by role, ``@p`` a piece (`fragments.py`), ``@p($x)`` a piece about something, ``$f`` the
function itself. A line ``%`` declares words that are chosen together: the same place of each list.

Not here: changes of form that keep the meaning (`restyle.py`), bugs (`mutate.py`).
"""

from __future__ import annotations

import ast
import functools
import random
import re
from dataclasses import dataclass
from pathlib import Path

from evolvent import syntax
from evolvent.tasks.python_fix import fragments
from evolvent.tasks.python_fix.fragments import Piece

LIBRARY = Path(__file__).with_name("library")


@dataclass(frozen=True)
class Family:
    """One entry of the library.

    Attributes:
        name: unique.
        theme: its file: ``lists``, ``numbers``, ``tables`` or ``texts``.
        parameters: (role, kind of input) in order.
        sentence: what it gives, with placeholders.
        choices: groups of words that are chosen together: name -> alternatives.
        sketches: bodies, with placeholders, all with the same meaning.
    """

    name: str
    theme: str
    parameters: tuple[tuple[str, str], ...]
    sentence: str
    choices: tuple[dict[str, list[str]], ...]
    sketches: tuple[str, ...]


@dataclass(frozen=True)
class Function:
    """A function as drawn.

    Attributes:
        family: name of its family.
        theme: its file.
        name: of the function.
        kinds: kind of input of each parameter.
        sentence: what it gives, in words.
        source: its code, as `ast.unparse` writes it.
    """

    family: str
    theme: str
    name: str
    kinds: tuple[str, ...]
    sentence: str
    source: str


@functools.cache
def library() -> dict[str, Family]:
    """All families by name, in the order of the files."""
    families: dict[str, Family] = {}
    for path in sorted(LIBRARY.glob("*.txt")):
        for block in re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            family = _parse(path.stem, block)
            assert family.name not in families, f"{family.name} stands twice"
            families[family.name] = family
    return families


def _parse(theme: str, block: str) -> Family:
    header, sentence, *lines = block.rstrip().split("\n")
    name, *parameters = header.split()
    choices = [
        {key: values.split("|") for key, _, values in (field.partition("=") for field in line[2:].split(" | "))}
        for line in lines
        if line.startswith("% ")
    ]
    body = "\n".join(line for line in lines if not line.startswith("% "))
    pairs = tuple((role, kind) for role, _, kind in (parameter.partition(":") for parameter in parameters))
    return Family(name, theme, pairs, sentence, tuple(choices), tuple(body.split("\n--\n")))


def draw(family: Family, rng: random.Random, *, plain: bool = False) -> Function:
    """A function of a family.

    Args:
        family: what to draw from.
        rng: draws names, constants, pieces and the sketch.
        plain: the first sketch, with local names that are the sketch's own: what a synthesis is expected to look like.
    """
    chosen: dict[str, str] = {}
    for group in family.choices:
        place = rng.randrange(len(next(iter(group.values()))))
        chosen |= {key: words[place] for key, words in group.items()}
    sketch = family.sketches[0] if plain else rng.choice(family.sketches)
    roles = list(dict.fromkeys(re.findall(r"\$(\w+)", "".join(family.sketches))))
    own = [role for role, _ in family.parameters]
    names: dict[str, str] = {"f": fragments.function_name(rng)}
    reserved = set(roles) if plain else set()
    for role in [*own, *(r for r in roles if r not in own and r != "f")]:
        if plain and role not in own:
            names[role] = role
        else:
            names[role] = fragments.name(role, rng, {*names.values(), *reserved})
    sketch, sentence = (
        re.sub(r"@(\w+)", lambda match: chosen.get(match[1], match[0]), text) for text in (sketch, family.sentence)
    )
    used = family.sentence + "".join(family.sketches) + "".join(chosen.values())
    kinds = [kind for kind in dict.fromkeys(re.findall(r"@(\w+)", used)) if kind not in chosen]
    pieces = {kind: fragments.piece(kind, rng) for kind in kinds}
    head = f"def {names['f']}({', '.join(names[role] for role in own)}):\n"
    source = ast.unparse(syntax.parse(_named(_fill(head + sketch, pieces), names)))
    sentence = re.sub(r"@(\w+)", lambda match: pieces[match[1]].words, sentence)
    return Function(
        family=family.name,
        theme=family.theme,
        name=names["f"],
        kinds=tuple(kind for _, kind in family.parameters),
        sentence=_named(sentence, names),
        source=source,
    )


def _named(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: names[match[1]], text)


def _fill(text: str, pieces: dict[str, Piece]) -> str:
    made, place = [], 0
    for match in re.finditer(r"@(\w+)", text):
        assert match.start() >= place, f"a piece inside a piece: {text!r}"
        made.append(text[place : match.start()])
        place = match.end()
        piece = pieces[match[1]]
        if "?" not in piece.code:
            made.append(piece.code)
            continue
        assert text[place] == "(", f"{match[0]}: expected (subject) after it"
        end = _closing(text, place)
        made.append(piece.of(text[place + 1 : end]))
        place = end + 1
    return "".join([*made, text[place:]])


def _closing(text: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise AssertionError(f"no closing bracket in {text[opening:]!r}")
