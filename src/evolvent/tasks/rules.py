"""Rules that an answer must keep, as a logic program over facts of one prompt and one output, run by clingo.

A rule names what is wrong, ``violation(repeats) :- step(I, A), step(J, A), I < J.``, and its name is an error kind
like any other: diagnosis counts it, `retry` reads it, a filter drops what breaks it. Rules see the prompt and the
output, never a reference, so they may be asked wherever a user could ask them.

A program is Datalog with stratified negation: rules over constants and variables, no functions, no arithmetic, no
choices. So it has exactly one model, which grounding alone finds; there is no search, and the same facts always give
the same violations. A rule has at most `MAX_VARIABLES` variables, so what it costs is bounded by that power of the
number of constants.

Facts reach the engine as symbols and are never read as program text, so no output can add or change a rule.

Not here: facts, which each task reads off prompts and outputs with a parser of its own; whether the rules are right.

References:
    Gebser, Kaminski, Kaufmann and Schaub, "Multi-shot ASP solving with clingo", arXiv:1705.09811.
    Apt, Blair and Walker, "Towards a theory of declarative knowledge", 1988 (stratified programs).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evolvent.errors import UsageError

try:
    import clingo
    from clingo.ast import ASTType, Sign, parse_string
except ImportError:
    raise UsageError("rules need clingo; install it with: pip install 'evolvent[rules]'") from None

__all__ = ["MAX_VARIABLES", "Fact", "Rules"]

MAX_VARIABLES = 4  # the worst rule of four over 32 steps has a million instances: two seconds
VIOLATION = "violation"
_ENGINE_MESSAGE = re.compile(r"<\w+>:(\d+):\d+(?:-[\d:]+)?: (?:error: )?(.*)", re.DOTALL)
_CONSTANT = re.compile(r"_*[a-z]\w*", re.ASCII)
_QUIET = ("--warn=none",)

Node = Any  # clingo's syntax tree: which attributes a node has, its kind says
Fact = tuple[str | int, ...]
"""A predicate's name, then its constants: ``("edge", "a", "b")``."""


class _WrongRuleError(Exception):
    """What is wrong with a program, and in which line of it."""

    def __init__(self, line: int, why: str) -> None:
        self.line, self.why = line, why
        super().__init__(why)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A program, checked when made.

    Attributes:
        text: the program.
        facts: the predicates that it is given facts of, each with how many constants it has.
        base: a program that holds too, before this one; lines are counted from the text's first.
        names: what they may complain of, in the order in which they first say so: graver things stand first.

    Raises:
        UsageError: the text is no program, or not one of the kind that the module's text describes; names the line.
    """

    text: str
    facts: Mapping[str, int]
    base: str = ""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check the program, and run it once: what is unsafe shows in grounding, and some libraries load late."""
        try:
            rules = _parse(self._program)
            _check_names(rules, self.facts)
            _check_strata(rules)
            names = dict.fromkeys(filter(None, map(_violated, rules)))
            object.__setattr__(self, "names", tuple(names))
            self.broken([])
        except _WrongRuleError as wrong:
            above = self._program.count("\n") - self.text.count("\n")
            raise UsageError(f"rules: line {wrong.line - above}: {wrong.why}") from None
        if not names:
            raise UsageError(f"rules: expected a rule `{VIOLATION}(name) :- ...`, got none")

    @property
    def _program(self) -> str:
        return f"{self.base}\n{self.text}" if self.base else self.text

    def broken(self, facts: Iterable[Fact]) -> tuple[str, ...]:
        """The names of the rules that these facts break, gravest first."""
        said: list[str] = []
        control = clingo.Control(_QUIET, logger=lambda code, message: said.append(message))
        with control.backend() as backend:
            for name, *constants in facts:
                symbol = clingo.Function(str(name), [_symbol(constant) for constant in constants])
                backend.add_rule([backend.add_atom(symbol)])
        try:
            control.add("base", [], self._program)
            control.ground([("base", [])])
        except RuntimeError as exc:
            raise _explained(said, exc) from None
        found = {atom.symbol.arguments[0].name for atom in control.symbolic_atoms.by_signature(VIOLATION, 1)}
        return tuple(name for name in self.names if name in found)


def _symbol(constant: str | int) -> clingo.Symbol:
    """A number, a constant, or for any other text a string; the engine would cut a text off at a zero character."""
    if isinstance(constant, int):
        return clingo.Number(constant)
    if _CONSTANT.fullmatch(constant) and constant != "not":
        return clingo.Function(constant)
    return clingo.String(constant.replace("\0", "\ufffd"))


def _explained(said: list[str], exc: RuntimeError) -> _WrongRuleError:
    """The engine's own words, with the line."""
    found = _ENGINE_MESSAGE.match(said[0]) if said else None
    return _WrongRuleError(int(found[1]), " ".join(found[2].split())) if found else _WrongRuleError(0, str(exc))


@dataclass(frozen=True)
class _Atom:
    """A predicate in a rule, as ``edge/2``, with its terms; `negated` in a body only."""

    name: str
    terms: tuple[Any, ...]
    negated: bool = False

    @property
    def signature(self) -> str:
        return f"{self.name}/{len(self.terms)}"


@dataclass(frozen=True)
class _Rule:
    line: int
    head: _Atom
    body: tuple[_Atom, ...]


def _parse(text: str) -> list[_Rule]:
    if "#include" in text:  # the parser would read it; who keeps this text would not have all of the program
        raise UsageError("rules: #include is refused; put all rules into one text")
    statements: list[Node] = []
    said: list[str] = []
    try:
        parse_string(text, statements.append, logger=lambda code, message: said.append(message))
    except RuntimeError as exc:
        raise _explained(said, exc) from None
    rules = []
    for statement in statements[1:]:  # the first says that what follows is the program `base`
        if statement.ast_type == ASTType.Rule:
            rules.append(_rule(statement))
        elif statement.ast_type != ASTType.Comment:
            _refuse(statement, "expected a rule")
    return rules


def _rule(statement: Node) -> _Rule:
    """One rule of the fragment: an atom as head, atoms and comparisons as body, constants and variables as terms."""
    line = statement.location.begin.line
    body = []
    for literal in statement.body:
        if literal.ast_type != ASTType.Literal or literal.sign == Sign.DoubleNegation:
            _refuse(statement, f"expected an atom or a comparison, got `{literal}`")
        if literal.atom.ast_type == ASTType.Comparison:
            for term in (literal.atom.term, *(guard.term for guard in literal.atom.guards)):
                _check_term(statement, term)
        else:
            body.append(_atom(statement, literal))
    head = statement.head
    if head.ast_type != ASTType.Literal or head.sign != Sign.NoSign:
        _refuse(statement, f"expected one atom as head, got `{head}`")
    rule = _Rule(line, _atom(statement, head), tuple(body))
    used = {t.name for atom in (rule.head, *rule.body) for t in atom.terms if t.ast_type == ASTType.Variable}
    if len(used - {"_"}) > MAX_VARIABLES:
        _refuse(statement, f"expected at most {MAX_VARIABLES} variables, got {len(used - {'_'})}; use two rules")
    return rule


def _atom(statement: Node, literal: Node) -> _Atom:
    atom = literal.atom
    if atom.ast_type != ASTType.SymbolicAtom or atom.symbol.ast_type != ASTType.Function:
        _refuse(statement, f"expected an atom such as `edge(A, b)`, got `{literal}`")
    for term in atom.symbol.arguments:
        _check_term(statement, term)
    return _Atom(atom.symbol.name, tuple(atom.symbol.arguments), literal.sign == Sign.Negation)


def _check_term(statement: Node, term: Node) -> None:
    if term.ast_type not in (ASTType.Variable, ASTType.SymbolicTerm):
        _refuse(statement, f"expected a variable or a constant, got `{term}`")


def _refuse(statement: Node, why: str) -> None:
    raise _WrongRuleError(statement.location.begin.line, f"{why}: {statement}")


def _violated(rule: _Rule) -> str | None:
    """The name that a rule complains under, if it complains."""
    if rule.head.name != VIOLATION:
        return None
    constant = rule.head.terms[0] if len(rule.head.terms) == 1 else None
    if constant is None or constant.ast_type != ASTType.SymbolicTerm or not str(constant)[:1].isalpha():
        raise _WrongRuleError(rule.line, f"expected {VIOLATION}(name) with one name, got {rule.head.signature}")
    return str(constant)


def _check_names(rules: list[_Rule], facts: Mapping[str, int]) -> None:
    """A predicate that nothing gives is a typing error, and would never be true."""
    given = {f"{name}/{arity}" for name, arity in facts.items()}
    known = given | {rule.head.signature for rule in rules}
    for rule in rules:
        if rule.head.signature in given:
            raise _WrongRuleError(rule.line, f"{rule.head.signature} is read off prompt and output, not derived")
        for atom in rule.body:
            if atom.signature not in known:
                known_facts = ", ".join(sorted(given))
                raise _WrongRuleError(rule.line, f"nothing gives {atom.signature}; facts are {known_facts}")


def _check_strata(rules: list[_Rule]) -> None:
    """No predicate may depend on its own negation; then there is one model, and no search."""
    height = {rule.head.signature: 0 for rule in rules}
    for _ in range(len(height) + 1):
        before = dict(height)
        for rule in rules:
            below = [height.get(atom.signature, 0) + atom.negated for atom in rule.body]
            height[rule.head.signature] = max(height[rule.head.signature], *below, 0)
        if height == before:
            return
    worst = max(rules, key=lambda rule: height[rule.head.signature])
    raise _WrongRuleError(worst.line, f"{worst.head.signature} depends on its own negation")
