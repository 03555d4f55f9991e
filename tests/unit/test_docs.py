"""Docs and code say the same: error codes, settings, commands, columns, limits, statuses; every page can be found."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions
from rewake.core.registry import schema_of
from rewake.errors import ErrorCode
from rewake.ingress.paths import parse_path
from rewake.protocol.discovery import ServiceManifest, ServiceType
from rewake.sql import views
from rewake.sql.catalog import TABLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "rewake"
PAGES = sorted(DOCS.rglob("*.md"))
ALL_PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *PAGES]
ERROR_PAGES = {page.stem: page for page in (DOCS / "reference" / "errors").glob("RW*.md")}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
MACHINE_PATH = re.compile(r"/work/|/home/\w|/root/")


@cache
def generator() -> ModuleType:
    path = DOCS / "generate.py"
    spec = importlib.util.spec_from_file_location("rewake_docs_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What headings of a page can be linked as, by the rule of GitHub."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


def local_links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of every link of a page that stays within the project."""
    found = []
    for link in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in local_links(page):
        assert target.exists(), f"{page}: {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page}: {target}#{anchor}; there are {sorted(anchors(target))}"


def test_every_page_is_reached_from_the_index() -> None:
    reached = {DOCS / "index.md"}
    waiting = [DOCS / "index.md"]
    while waiting:
        for target, _ in local_links(waiting.pop()):
            if target.suffix == ".md" and target not in reached and target.exists():
                reached.add(target)
                waiting.append(target)
    assert not set(PAGES) - reached
    assert DOCS / "index.md" in {target for target, _ in local_links(ROOT / "README.md")}


def test_every_page_but_those_of_errors_is_in_the_index_itself() -> None:
    linked = {target for target, _ in local_links(DOCS / "index.md")}
    assert not set(PAGES) - linked - set(ERROR_PAGES.values()) - {DOCS / "index.md"}


def test_generated_parts_are_fresh() -> None:
    stale = [str(page.relative_to(ROOT)) for page, _ in generator().stale_pages()]
    assert not stale, f"run: python docs/generate.py; stale are {stale}"


def test_generated_parts_are_all_used() -> None:
    used = {
        name
        for page in [ROOT / "README.md", *PAGES]
        for name in re.findall(r"<!-- generated: ([\w-]+) -->", page.read_text())
    }
    assert used == set(generator().PARTS)


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    assert set(ERROR_PAGES) == {code.value for code in ErrorCode}


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_an_error_page_says_cause_check_and_fix(code: ErrorCode) -> None:
    text = ERROR_PAGES[code.value].read_text(encoding="utf-8")
    assert text.startswith(f"# {code.value}: {code.meaning}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Cause", "Check", "Fix"]
    assert all(len(part.split()) >= 2 for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_an_error_code_is_raised_somewhere(code: ErrorCode) -> None:
    elsewhere = {SOURCE / "errors.py", SOURCE / "cli" / "exits.py"}  # definition, and exit codes
    sources = (path.read_text() for path in SOURCE.rglob("*.py") if path not in elsewhere)
    assert any(re.search(rf"ErrorCode\.{code.name}\b", text) for text in sources)


def test_the_ingress_paths_are_those_it_knows() -> None:
    service = ServiceManifest(name="plain", ty=ServiceType.SERVICE, handlers=())
    desk = ServiceManifest(name="keyed", ty=ServiceType.VIRTUAL_OBJECT, handlers=())
    services = {each.name: schema_of(each, DeploymentId("dp"), 1, HandlerOptions()) for each in (service, desk)}
    text = (DOCS / "reference" / "http.md").read_text(encoding="utf-8").partition("## Admin API")[0]
    paths = [
        path for row in re.findall(r"^\| (`/.*?) \|", text, re.MULTILINE) for path in re.findall(r"`(/[^`]*)`", row)
    ]
    assert len(paths) >= 15
    for path in paths:
        keyed = "{object}" in path or "[/{key}]" in path
        filled = path.replace("[/{key}]", "/k").replace("{service}", "keyed" if keyed else "plain")
        filled = filled.replace("{object}", "keyed")
        parse_path(re.sub(r"\{[^}]*\}", "x", filled), services)  # raises Refused for a path it does not know


def test_columns_are_described_and_nothing_else_is() -> None:
    described = tomllib.loads((DOCS / "columns.toml").read_text(encoding="utf-8"))
    empty = set(described["empty"]["tables"])
    assert set(described["tables"]) | empty == set(TABLES)
    assert empty.isdisjoint(views._VIEWS), "a table with a view is not always empty"
    used = {name for table, columns in TABLES.items() if table not in empty for name in columns}
    assert set(described["columns"]) <= used
    for table in set(described) - {"columns", "tables", "empty"}:
        assert set(described[table]) <= set(TABLES[table])


@pytest.mark.parametrize("table", sorted(views._VIEWS))
def test_columns_described_as_always_null_are_those_without_an_expression(table: str) -> None:
    described = tomllib.loads((DOCS / "columns.toml").read_text(encoding="utf-8"))
    filled = views._VIEWS[table][0]
    for name in TABLES[table]:
        meaning = described.get(table, {}).get(name) or described["columns"][name]
        assert meaning.startswith("Always null") == (name not in filled), f"{table}.{name}: {meaning}"


def test_the_glossary_has_the_field_terms() -> None:
    terms = {
        "deployment", "service", "virtual object", "workflow", "handler", "invocation", "attempt", "journal", "entry",
        "command", "notification", "completion", "signal", "awakeable", "promise", "suspension", "inbox",
        "idempotency key", "retention", "ingress", "admin",
    }  # fmt: skip
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    assert terms <= {term.lower() for term in re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_path_of_the_machine_it_was_written_on(page: Path) -> None:
    assert not MACHINE_PATH.search(page.read_text(encoding="utf-8"))


def test_the_readme_is_one_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120


def test_each_promise_names_tests_that_are_there() -> None:
    promises = tomllib.loads((DOCS / "promises.toml").read_text(encoding="utf-8"))["promise"]
    for test in (test for promise in promises for test in promise["tests"]):
        path, _, function = test.partition("::")
        assert (ROOT / path).is_file(), test
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), test
