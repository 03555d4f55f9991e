"""The tree keeps its own rules: mirrored tests, short files, no dead names, no bound without a test, plain words.

What breaks a rule today is listed in tidy.toml with the reason. The lists may only shrink: an entry that is no longer
needed fails, too.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "rewake"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "examples" not in path.parts)
ALLOWED = tomllib.loads((ROOT / "tests/unit/tidy.toml").read_text(encoding="utf-8"))

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 75
MIRRORED = ("core", "protocol", "engine")
"""Packages in which each module that does something has a test file of its own."""

BOUND = re.compile(r"^([A-Z][A-Z0-9_]*_(?:MAX|LIMIT))(?:: [^=]+)? = ", re.MULTILINE)
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RIDDLES = {
    r"\b(?:is|are|was|were|be|been) told\b": "is shown, is reported",
    r"\bstands? once\b": "say who shares it with whom",
    r"\b(?:is|are) said of\b": "say what it is",
    r"\btaken at (?:its|their) word\b": "say what is done",
    r"\bneeds? somebody\b": "name the status",
    r"\bstood once\b": "say who shared it",
    r"\b(?:is|are|was|were) none\b(?![^{]*[%}]\})": "say what it is instead; none is a value",
    r"\bthere (?:is|are) none\b": "say what is missing",
    r"\bunless told otherwise\b": "by default",
    r"\bas the (?:app|journal|session|state) tells\b": "from the app",
    r"\btells? of\b": "is about, describes",
}
"""Wording that has to be read twice -> what to write instead (CONTRIBUTING.md)."""

CLAUSE_AS_SUBJECT = re.compile(r"(?:(?<=[.;] )|^)(?:What|Whatever|Whoever) [^.?!;:]* [^.?!;:]*[.;]")
"""A sentence such as "What cannot be read is refused." The first line of a docstring may be a phrase of that form."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def judge(rule: str, found: set[str]) -> None:
    """Fails on what breaks `rule` and is not listed, and on what is listed and does not."""
    allowed = set(ALLOWED[rule])
    assert not found - allowed, f"{rule}: {sorted(found - allowed)}"
    assert not allowed - found, f"{rule} in tidy.toml is not needed any more for: {sorted(allowed - found)}"


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path))


@cache
def words_of(folder: str, *suffixes: str) -> Counter[str]:
    """How often each word occurs below `folder`."""
    counts: Counter[str] = Counter()
    for parent, folders, files in os.walk(ROOT / folder):
        folders[:] = [name for name in folders if name not in ("node_modules", "__pycache__")]
        for name in files:
            if name.endswith(suffixes):
                counts.update(WORD.findall(text(Path(parent, name))))
    return counts


def definitions(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to others: its functions, classes, constants, and the methods of its classes.

    Decorated functions are left out: a decorator may register them, as click's do.
    """
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=[]) | ast.AsyncFunctionDef(name=name, decorator_list=[]):
                yield name
            case ast.ClassDef(name=name, body=body):
                yield name
                yield from (each.name for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def does_something(module: Path) -> bool:
    """Whether a module has a function with a body; records, constants and protocols have nothing to test."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree(module)) if isinstance(node, functions))
    return any(not isinstance(line, ast.Expr | ast.Pass) for body in bodies for line in body)


def test_the_tests_mirror_the_source() -> None:
    unmirrored = set()
    for package in MIRRORED:
        for module in (SOURCE / package).glob("*.py"):
            if does_something(module) and not (ROOT / f"tests/unit/{package}/test_{module.stem}.py").exists():
                unmirrored.add(f"{package}/{module.name}")
    judge("unmirrored", unmirrored)


def test_files_are_short() -> None:
    judge("long_files", {relative(path) for path in MODULES if text(path).count("\n") > FILE_LINES_MAX})


def test_functions_are_short() -> None:
    long = set()
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.add(f"{relative(path)}:{node.name}")
    judge("long_functions", long)


def test_every_name_is_used() -> None:
    """A name that the product itself never mentions again is dead, unless others call it: users, libraries, SQLite."""
    used = words_of("src", ".py", ".html", ".js", ".pyi", ".css", ".toml")
    dead = set()
    for path in MODULES:
        for name in definitions(tree(path)):
            if used.get(name, 0) < 2 and not name.startswith("__"):
                dead.add(f"{relative(path).removeprefix('src/rewake/')}:{name}")
    judge("used_from_outside", dead)


def test_every_bound_has_a_test() -> None:
    tested = words_of("tests", ".py")
    bounds = {name for path in MODULES for name in BOUND.findall(text(path))}
    judge("bounds_without_a_test", {name for name in bounds if name not in tested})


def test_only_the_store_and_its_readers_ask_tables() -> None:
    """SQL elsewhere asks the public tables, which keep their names and columns."""
    tables = set(re.findall(r"^create table (\w+)", text(SOURCE / "store/schema.py"), re.MULTILINE)) - {"state"}
    asking = re.compile(rf"\b(?:from|join|into|update) ({'|'.join(tables)})\b(?!\.)")
    allowed = ("store", "sql", "runs/local")
    found = set()
    for path in MODULES:
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(tuple(f"{folder}/" for folder in allowed)) and asking.search(text(path)):
            found |= {f"{name}: {value}" for value in strings_in(path) if is_statement(value, asking)}
    assert not found


def test_http_is_spoken_in_one_place() -> None:
    """`http_server` answers, `deployments/http` calls deployments, `clients` calls servers; others are listed."""
    speaking = (
        "http.server",
        "http.client",
        "httptools",
        "urllib.request",
        "h2",
        "uvicorn",
        "hypercorn",
        "httpx",
        "httpx2",
    )
    allowed = ("http_server", "clients", "deployments/http", "serving")
    found = set()
    for path in MODULES:
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(tuple(f"{folder}/" for folder in allowed)):
            found |= {f"{name}: {module}" for module in imports_of(path) if module in speaking}
    judge("http_elsewhere", found)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def strings_in(path: Path) -> Iterator[str]:
    """Every text of a module; of one with values in it what is written."""
    for node in ast.walk(tree(path)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        told = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        yield " ".join(told)


def is_statement(value: str, asking: re.Pattern[str]) -> bool:
    return bool(re.match(r"\s*(select|insert|update|delete|with)\b", value) and asking.search(value))


def prose() -> Iterator[Path]:
    yield from (path for path in SOURCE.rglob("*") if path.suffix in (".py", ".html", ".md"))
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    yield from (ROOT / "docs").rglob("*.md")
    for folder in ("tests", "bench"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))


def test_prose_is_plain() -> None:
    riddles = re.compile("|".join(RIDDLES))
    found = [
        f"{relative(path)}:{text(path).count(chr(10), 0, riddle.start()) + 1}: {riddle[0]!r}"
        for path in prose()
        for riddle in riddles.finditer(text(path))
    ]
    assert not found, f"say it plainly ({list(RIDDLES.values())}): {found}"


def sentences_in(path: Path) -> Iterator[str]:
    """Docstrings, comments and paragraphs of a file, each on one line; a docstring's summary in lower case."""
    if path.suffix == ".md":
        parts = re.split(r"```.*?```|\n\s*\n|\n(?=[-|#])", text(path), flags=re.DOTALL)
        yield from (" ".join(part.split()) for part in parts)
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, _, rest = " ".join(node.value.value.split()).partition(". ")
            yield f"{first.lower()}. {rest}"
    yield from re.findall(r"# (.*)", text(path))


def test_the_subject_of_a_sentence_is_a_thing() -> None:
    found = [
        f"{relative(path)}: {match[0]}"
        for path in prose()
        if path.suffix in (".py", ".md") and not {"examples", "tests", "bench"} & set(path.relative_to(ROOT).parts)
        for part in sentences_in(path)
        for match in CLAUSE_AS_SUBJECT.finditer(part)
    ]
    assert not found, "say what it is first:\n" + "\n".join(found)
