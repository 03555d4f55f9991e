"""Mutants: small faults, one at a time, made in the syntax tree of a module.

A mutant changes one comparison, operator, constant, condition, argument or returned value, or drops one statement or
case. Texts with spaces, f-strings, annotations, assertions and docstrings stay unchanged: no behaviour depends on them.
`where` and `change` name a mutant without line numbers, so a list of mutants stays valid after edits elsewhere in the
file.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import NamedTuple

MODULE = "<module>"
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED = (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
ANNOTATIONS = ("annotation", "returns", "decorator_list", "type_params")
"""Fields of nodes that stay unchanged; so do the keywords of a class."""


class Mutant(NamedTuple):
    """One fault. where: the outermost function, or `<module>`.   holder.field[place] becomes `replacement`."""

    path: Path
    where: str
    line: int
    change: str
    tree: ast.Module
    holder: ast.AST
    field: str
    place: int | None
    replacement: ast.AST | None

    @property
    def name(self) -> str:
        return f"{self.path.name} {self.where}: {self.change}"

    def compile(self) -> CodeType:
        """The code of the whole module with this fault in it."""
        value = getattr(self.holder, self.field)
        if self.place is None:
            changed, kept = self.replacement, value
        else:
            changed, kept = value, value[self.place]
            changed[self.place : self.place + 1] = [] if self.replacement is None else [self.replacement]
        setattr(self.holder, self.field, changed)
        try:
            return compile(ast.fix_missing_locations(self.tree), str(self.path), "exec", dont_inherit=True)
        finally:
            if self.place is None:
                setattr(self.holder, self.field, kept)
            elif self.replacement is None:
                value.insert(self.place, kept)
            else:
                value[self.place] = kept


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for where, holder, field, index, old, new in _places(tree, (), None):
        for replacement, change in _faults(old) if new is None else new:
            seen[where, change] += 1
            count = seen[where, change]
            named = change if count == 1 else f"{change} #{count}"
            line = getattr(old, "lineno", 0)
            found.append(Mutant(path, where, line, named, tree, holder, field, index, replacement))
    return found


Fault = tuple[ast.AST | None, str]
Place = tuple[str, ast.AST, str, int | None, ast.AST, list[Fault] | None]


def _places(node: ast.AST, scope: tuple[str, ...], function: str | None) -> Iterator[Place]:
    """Every node below `node`, with its parent, field and place; for a statement also the faults that drop it."""
    for field, value in ast.iter_fields(node):
        if field in ANNOTATIONS or (field == "keywords" and isinstance(node, ast.ClassDef)):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or isinstance(child, UNTOUCHED) or _is_text(child):
                continue
            where = function or MODULE
            if isinstance(child, ast.stmt | ast.match_case | ast.keyword) and index is not None:
                yield where, node, field, index, child, list(_dropped(child, value))
            yield where, node, field, index, child, None
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = (*scope, child.name)
                is_function = isinstance(child, ast.FunctionDef)
                yield from _of_definition(child, inner, function or (".".join(inner) if is_function else None), where)
            else:
                yield from _places(child, scope, function)


def _of_definition(
    node: ast.FunctionDef | ast.ClassDef, scope: tuple[str, ...], function: str | None, where: str
) -> Iterator[Place]:
    """The body belongs to the function; the defaults of its parameters are evaluated outside it."""
    for place in _places(node, scope, function):
        is_default = isinstance(node, ast.FunctionDef) and place[1] is node.args
        yield (where, *place[1:]) if is_default else place


def _is_text(node: ast.AST) -> bool:
    """A docstring, or the ellipsis of an empty body."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _dropped(node: ast.AST, siblings: list[ast.AST]) -> Iterator[Fault]:
    """Faults that remove something. Declared names and fields stay: the module could not be imported without them."""
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass(), f"drop `{_text(node)}`"
        case ast.Return(value=None):
            yield ast.Pass(), "drop `return`"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass(), f"drop `{_text(node)}`"
        case ast.match_case() if len(siblings) > 1:
            yield None, f"drop `case {_text(node.pattern)}`"
        case ast.keyword(arg=str()):
            yield None, f"drop argument `{_text(node)}`"


def _faults(node: ast.AST) -> Iterator[Fault]:
    """The faults of this expression, or of the condition of this statement."""
    match node:
        case ast.Constant(value=value):
            yield from _constants(node, value)
        case ast.Return(value=ast.AST() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield _new(node, ast.Return(None))
        case ast.If() | ast.IfExp():
            yield from _conditions(node)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], 0), f"drop `if {_text(node.ifs[0])}`"
        case ast.Dict() | ast.Set():
            yield from _without_one(node)
        case ast.Call(func=ast.Name(id=name)) if name in TWINS:
            yield _new(node, ast.Call(ast.Name(TWINS[name], ast.Load()), node.args, node.keywords))
        case ast.expr() | ast.AugAssign():
            yield from _operators(node)


def _operators(node: ast.AST) -> Iterator[Fault]:
    match node:
        case ast.Compare(ops=[op]):
            yield _new(node, ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators))
        case ast.BoolOp(op=op, values=values):
            yield _new(node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield _new(node, rest[0] if len(rest) == 1 else ast.BoolOp(op, rest))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield _new(node, operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield _new(node, ast.BinOp(left, OPERATORS[type(op)](), right))
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in OPERATORS:
            yield _new(node, ast.AugAssign(target, OPERATORS[type(op)](), value))


def _without_one(node: ast.Dict | ast.Set) -> Iterator[Fault]:
    match node:
        case ast.Dict(keys=[_, _, *_] as keys, values=values):
            for index, key in enumerate(keys):
                rest = ast.Dict([*keys[:index], *keys[index + 1 :]], [*values[:index], *values[index + 1 :]])
                yield rest, f"drop `{_text(key) if key else '**'}: {_text(values[index])}`"
        case ast.Set(elts=[_, _, *_] as items):
            for index, item in enumerate(items):
                yield ast.Set([*items[:index], *items[index + 1 :]]), f"drop `{_text(item)}`"


def _constants(node: ast.Constant, value: object) -> Iterator[Fault]:
    if isinstance(value, bool):
        yield _new(node, ast.Constant(not value))
    elif isinstance(value, int | float):
        yield _new(node, ast.Constant(value + 1))
    elif isinstance(value, str) and " " not in value:
        yield _new(node, ast.Constant(value + "X"))
    elif isinstance(value, bytes):
        yield _new(node, ast.Constant(value + b"X"))


def _conditions(node: ast.If | ast.IfExp) -> Iterator[Fault]:
    for value in (True, False):
        test = ast.Constant(value)
        change = f"if `{_text(node.test)}` is {value}"
        if isinstance(node, ast.IfExp):
            yield ast.IfExp(test, node.body, node.orelse), change
        else:
            yield ast.If(test, node.body, node.orelse), change


def _new(old: ast.AST, new: ast.AST) -> Fault:
    return ast.copy_location(new, old), f"`{_text(old)}` -> `{_text(new)}`"


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
