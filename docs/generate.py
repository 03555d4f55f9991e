"""Writes what the documentation has from the code: `python docs/generate.py`; `--check` only names stale pages.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; the text around it is written by hand.
tests/unit/test_docs.py fails when a part is stale. Meanings of columns and limits are in the
columns.toml and limits.toml beside this file; promises with their tests are in promises.toml.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import click

DOCS = Path(__file__).parent
NOT_RUN = "<!-- run: no, it is generated -->"
PART = re.compile(r"<!-- generated: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)

DIFFERENCES = DOCS.parent / "tests" / "conformance" / "differences.toml"
PUBLISHED = DOCS.parent / "bench" / "results" / "published.json"
NOT_MEASURED = (
    'Not measured yet: `make bench ARGS="--output bench/results/published.json"`, then `python docs/generate.py`.'
)
WORKERS_BESIDE = (("rewake", "restate", (1, 64), ""),)
APPS_BESIDE = (
    ("rewake-http2", "restate", (64,), " over HTTP/2"),
    ("rewake-typescript", "restate-typescript", (64,), " in TypeScript"),
)
"""Whom the bench sets beside whom, at how many callers, and what the work is called then."""

SIZE_PEERS = {"rewake": "Rewake", "rewake-http2": "Rewake over HTTP/2", "restate": "restate-server"}
SIZE_ROWS = {
    ("payload", "call_s"): ("call with 10 MB in, through a step and out", "s", 2),
    ("payload", "memory_after_mib"): ("memory of all processes after three of them", "MiB", 0),
    ("journal", "run_s"): ("run of 5,000 steps", "s", 2),
    ("journal", "replay_s"): ("replay of its 10,000 entries", "s", 2),
    ("journal", "resume_ms"): ("resume behind 1,000 steps", "ms", 0),
    ("journal", "step_at_10_ms"): ("a step behind 10 entries", "ms", 2),
    ("journal", "step_at_1000_ms"): ("behind 1,000", "ms", 2),
    ("journal", "step_at_10000_ms"): ("behind 10,000", "ms", 2),
    ("unicode", "runs_per_s"): ("calls on many keys of all Unicode", "runs/s", 0),
    ("deployments", "registered"): ("deployments registered over HTTP, in 20 s at most", "", 0),
    ("deployments", "register_each_ms"): ("time for each", "ms", 1),
    ("deployments", "calls_s"): ("one call to each", "s", 2),
    ("deployments", "restart_s"): ("engine started again, and answering", "s", 2),
    ("deployments", "calls_after_restart_s"): ("one call to each after that", "s", 2),
}

STARTS = (("seconds", "start to first answer", "s"), ("idle_mib", "memory of all processes, idle", "MiB"))


def llms_txt() -> str:
    """docs/llms.txt, made of the index: what the project is, and every page with one line. See llmstxt.org."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    sections = index[index.index("## How to") :].split("\n[Glossary]")[0]
    lines = [
        "# Rewake",
        "",
        "> A durable engine for multi-agent systems in one Python package, with SQLite inside: handlers written with restate-sdk"
        " survive crashes, and a model is not asked again for what it already said. Compatible with Restate servers.",
        "",
        "- [Skill for coding agents](skills/rewake/SKILL.md): rules, a file to start from, how to run, look and test",
        "- [Tutorial](tutorial.md): a router with two specialists, killed and resumed",
        "- [Glossary](glossary.md)",
        "",
        sections.strip(),
    ]
    return "\n".join(lines) + "\n"


def cli() -> str:
    """Every command with its help and its options."""
    from rewake.cli.main import main

    return "\n\n".join(_command(names, command) for names, command in _commands(main, ("rewake",)))


def _commands(command: click.Command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield names, command
    if isinstance(command, click.Group):
        for name, child in _children(command):
            yield from _commands(child, (*names, name))


def _children(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        assert child is not None, name
        yield name, child


def _command(names: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(names))
    parts = [
        f"## {' '.join(names)}",
        f"{NOT_RUN}\n```text\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```",
    ]
    if command.help:
        parts.append(_unwrapped(command.help))
    if isinstance(command, click.Group):
        parts.append("\n".join(_child(names, name, child) for name, child in _children(command)))
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if options:
        rows = [
            f"| {_flags(option)} | {_cell(option.help or '')} | {_default(option, context)} |" for option in options
        ]
        parts.append("\n".join(["| option | meaning | default |", "| --- | --- | --- |", *rows]))
    if command.epilog:
        title, _, lines = command.epilog.removeprefix("\b\n").partition("\n")
        parts.append(f"{title}\n\n{NOT_RUN}\n```text\n{lines.rstrip()}\n```")
    return "\n\n".join(parts)


def _child(names: tuple[str, ...], name: str, child: click.Command) -> str:
    title = "-".join([*names, name])
    return f"- [`{' '.join([*names, name])}`](#{title}): {child.get_short_help_str(200)}"


def _unwrapped(text: str) -> str:
    """Paragraphs on one line each."""
    paragraphs = [paragraph.replace("\b\n", "") for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(_cell(" ".join(paragraph.split())) for paragraph in paragraphs)


def _flags(option: click.Option) -> str:
    value = "" if option.is_flag else f" {_kind(option)}"
    return ", ".join(f"`{flag}{value}`" for flag in [*option.opts, *option.secondary_opts])


def _kind(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "\\|".join(str(choice) for choice in option.type.choices)
    return option.metavar or option.type.name.upper().removesuffix(" RANGE")


def _default(option: click.Option, context: click.Context) -> str:
    if isinstance(option.show_default, str):
        return _cell(option.show_default)
    value = option.get_default(context, call=False)
    if option.is_flag or option.required or value is None or callable(value) or type(value).__name__ == "Sentinel":
        return ""
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def settings() -> str:
    """The settings of `rewake run` and `rewake server` in all their forms."""
    from rewake.cli.run import run, server
    from rewake.cli.settings import _settings_of

    context = click.Context(run, info_name="rewake run")
    of_server = {option.name for option in _settings_of(server)}
    lines = ["| setting | kind | default | variable | meaning |", "| --- | --- | --- | --- | --- |"]
    for option in _settings_of(run):
        name = option.opts[0].removeprefix("--")
        where = "" if option.name in of_server else " Only `rewake run`."
        kind = "true or false" if option.is_flag else _kind_in_words(option)
        default = "`false`" if option.is_flag else _default(option, context)
        lines.append(f"| `{name}` | {kind} | {default} | `{option.envvar}` | {_cell(option.help or '')}{where} |")
    return "\n".join(lines)


def _kind_in_words(option: click.Option) -> str:
    match option.type:
        case click.Choice() as choice:
            return " or ".join(f"`{each}`" for each in choice.choices)
        case click.IntRange() as bounds:
            return f"number, {bounds.min} to {bounds.max:,}" if bounds.max else f"number, at least {bounds.min}"
        case click.Path():
            return "path"
        case other:
            return "text" if other.name == "text" else other.name


def limits() -> str:
    """The named limits with their values."""
    lines = ["| limit | value | unit | bounds |", "| --- | --- | --- | --- |"]
    for limit in tomllib.loads((DOCS / "limits.toml").read_text(encoding="utf-8"))["limit"]:
        value = getattr(import_module(limit["module"]), limit["name"])
        shown = f"{value:,g}" if isinstance(value, float) else f"{value:,}"
        lines.append(f"| `{limit['name']}` | {shown} | {limit['unit']} | {limit['bounds']} |")
    return "\n".join(lines)


def promises() -> str:
    """What is promised, with the tests that show it."""
    lines = ["| promise | how it is tested | tests |", "| --- | --- | --- |"]
    for promise in tomllib.loads((DOCS / "promises.toml").read_text(encoding="utf-8"))["promise"]:
        tests = dict.fromkeys(f"`{test.partition('::')[0]}`" for test in promise["tests"])
        lines.append(f"| {promise['says']} | {promise['how']} | {', '.join(tests)} |")
    return "\n".join(lines)


def error_codes() -> str:
    """All codes, by their first digit."""
    from rewake.errors import ErrorCode

    titles = ("configuration", "deployments", "execution", "ingress and admin API", "store")
    parts = []
    for digit, title in enumerate(titles, start=1):
        rows = [
            f"| [{code.value}]({code.value}.md) | {code.meaning} |" for code in ErrorCode if code.value[2] == str(digit)
        ]
        parts.append("\n".join([f"## RW{digit}: {title}\n", "| code | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def bench() -> str:
    """The figures of the published run of `make bench` in short, or that there is none yet."""
    results = _published()
    if not results:
        return NOT_MEASURED
    lines, behind = _all_beside(results, WORKERS_BESIDE)
    lines += [_over_starts(results["starts"], field, text, unit) for field, text, unit in STARTS]
    lines += _waiting_row(results)
    return "\n".join([*lines, "", f"{behind}Medians. {results['machine'][0]}; {results['machine'][1]}."])


def bench_apps() -> str:
    """The same works where both engines drive one and the same app process."""
    results = _published()
    if not results:
        return NOT_MEASURED
    lines, behind = _all_beside(results, APPS_BESIDE)
    return "\n".join([*lines, "", f"{behind}Medians."])


def bench_sizes() -> str:
    """What is large and what is many: each figure of each peer."""
    sizes = _published().get("sizes")
    if not sizes:
        return NOT_MEASURED
    peers = [peer for peer in SIZE_PEERS if peer in {size["peer"] for size in sizes}]
    heads = " | ".join(SIZE_PEERS[peer] for peer in peers)
    lines = [f"| | {heads} |", "| --- |" + " --- |" * len(peers)]
    for (what, figure), (text, unit, digits) in SIZE_ROWS.items():
        found = {size["peer"]: size["figures"].get(figure) for size in sizes if size["what"] == what}
        values = [found.get(peer) for peer in peers]
        if any(value is not None for value in values):
            shown = ("" if value is None else f"{value:,.{digits}f} {unit}".rstrip() for value in values)
            lines.append(f"| {text} | {' | '.join(shown)} |")
    for limit in _published().get("store", ()):
        rate = f"{limit['runs'] / limit['seconds']:,.0f} runs/s"
        lines.append(f"| rows of `{limit['work']}` written by the store alone | {rate} |" + "  |" * (len(peers) - 1))
    return "\n".join(lines)


def bench_ui() -> str:
    """What each page of the web UI took."""
    ui = _published().get("ui")
    if not ui:
        return NOT_MEASURED
    lines = ["| page | median | p99 |", "| --- | --- | --- |"]
    lines += [
        f"| {_cell(page['name'])} | {page['median_ms']:.0f} ms | {page['p99_ms']:.0f} ms |" for page in ui["pages"]
    ]
    slowest = max((page for page in ui["pages"] if page["is_list"]), key=lambda page: page["p99_ms"])
    line = f"The slowest list of runs at p99: {slowest['name']}, {slowest['p99_ms']:.0f} ms."
    line += f" `rewake server` answers on these runs {ui['start_seconds']:.2f} s after its start."
    return "\n".join([*lines, "", line])


def _published() -> dict[str, Any]:
    """The published run; a section is missing when it was left out or is younger than the run."""
    results: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.is_file() else {}
    return results


def _all_beside(
    results: dict[str, Any], beside: tuple[tuple[str, str, tuple[int, ...], str], ...]
) -> tuple[list[str], str]:
    """The table, and a sentence that names what is behind."""
    lines = ["| work | callers | Rewake | restate-server | ratio |", "| --- | --- | --- | --- | --- |"]
    behind: list[str] = []
    for ours, theirs, callers, suffix in beside:
        lines += _beside(results, (ours, theirs), callers, suffix, behind)
    return lines, "Behind restate-server in: " + "; ".join(behind) + ". " if behind else ""


def _beside(
    results: dict[str, Any], peers: tuple[str, str], callers: tuple[int, ...], suffix: str, behind: list[str]
) -> list[str]:
    """Rows of one peer beside the other, where both were measured; what is behind is added to `behind`."""
    rows = {(row["work"], row["callers"], row["peer"]): row for row in results["medians"]}
    lines = []
    for (work, count, peer), ours in rows.items():
        theirs = rows.get((work, count, peers[1]))
        if peer == peers[0] and theirs is not None and count in callers:
            lines.append(_bench_row(ours, theirs, suffix))
            if count > 1 and ours["runs_per_second"] < theirs["runs_per_second"]:
                ratio = ours["runs_per_second"] / theirs["runs_per_second"]
                behind.append(f"`{work}`{suffix} ({ratio:.2f})")
    return lines


def _bench_row(ours: dict[str, Any], theirs: dict[str, Any], suffix: str) -> str:
    field, unit, digits = ("median_ms", "ms", 2) if ours["callers"] == 1 else ("runs_per_second", "runs/s", 0)
    values = (
        f"{ours[field]:,.{digits}f} {unit} | {theirs[field]:,.{digits}f} {unit} | {ours[field] / theirs[field]:.2f}"
    )
    return f"| `{ours['work']}`{suffix} | {ours['callers']} | {values} |"


def _over_starts(starts: list[dict[str, Any]], field: str, text: str, unit: str) -> str:
    ours, theirs = (median(start[field] for start in starts if start["peer"] == peer) for peer in ("rewake", "restate"))
    digits = 2 if unit == "s" else 0
    return f"| {text} | | {ours:.{digits}f} {unit} | {theirs:.{digits}f} {unit} | {ours / theirs:.2f} |"


def _waiting_row(results: dict[str, Any]) -> list[str]:
    found = {each["peer"]: each for each in results.get("waiting", ())}
    if not {"rewake", "restate"} <= set(found):
        return []
    ours, theirs = found["rewake"]["suspended_mib"], found["restate"]["suspended_mib"]
    text = f"the same with {found['rewake']['count']:,} invocations suspended"
    return [f"| {text} | | {ours:.0f} MiB | {theirs:.0f} MiB | {ours / theirs:.2f} |"]


def sys_tables() -> str:
    """Every table of features we have, with the columns and types of the catalog."""
    from rewake.sql.catalog import TABLES

    described = tomllib.loads((DOCS / "columns.toml").read_text(encoding="utf-8"))
    parts = []
    for table, columns in TABLES.items():
        if table in described["empty"]["tables"]:
            continue
        lines = [
            f"## {table}\n",
            described["tables"][table] + "\n",
            "| column | type | meaning |",
            "| --- | --- | --- |",
        ]
        own = described.get(table, {})
        for name, kind in columns.items():
            lines.append(f"| `{name}` | {kind.value} | {own.get(name) or described['columns'][name]} |")
        parts.append("\n".join(lines))
    empty = ", ".join(f"`{name}`" for name in TABLES if name in described["empty"]["tables"])
    return "\n\n".join([*parts, f"## Tables that are always empty\n\n{described['empty']['why']}\n\n{empty}."])


def admin_routes() -> str:
    """Every path of the admin API, with what its operations say of themselves."""
    from rewake.admin.app import _table

    engine: Any = None  # The endpoints are described, not called.
    lines = ["| path | method | does |", "| --- | --- | --- |"]
    for path, methods in _table(engine, "").items():
        for method, endpoint in methods.items():
            lines.append(f"| `{path}` | {method} | {(endpoint.__doc__ or '').partition('.')[0]} |")
    return "\n".join(lines)


def differences() -> str:
    """Where the public server answers otherwise on purpose: what the tests on both engines assert."""
    rows = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    lines = ["| subject | restate-server | Rewake | why |", "| --- | --- | --- | --- |"]
    for row in rows:
        measured = f". Measured {row['measured']}" if "measured" in row else ""
        lines.append(f"| {row['subject']} | {row['restate']} | {row['rewake']} | {row['why']}{measured} |")
    return "\n".join(lines)


def moves() -> str:
    """The life of an invocation as a diagram, from the table that the core looks every move up in."""
    from rewake.core.lifecycle import MOVES

    lines = ["```mermaid", "stateDiagram-v2"]
    for (before, after), cause in MOVES.items():
        origin = "[*]" if before is None else before.name.lower()
        target = "forgotten" if after is None else after.name.lower()
        lines.append(f"    {origin} --> {target}: {cause}")
    return "\n".join([*lines, "```"])


def zoo() -> str:
    """The scorecard of the crash lab, as `python -m tests.zoo --write` stored it."""
    scores = json.loads((DOCS.parent / "tests" / "zoo" / "scorecard.json").read_text(encoding="utf-8"))
    animals = [score for score in scores if score["bug"]]
    lines = ["| seeded bug | what the lab reports | likely cause it names |", "| --- | --- | --- |"]
    for score in animals:
        causes = "<br>".join(f"`{cause}`" for cause in score["causes"][:2]) or "the report itself"
        said = " ".join(score["said"].split())
        lines.append(f"| {score['bug']} | {said[:160].rstrip()} | {causes} |".replace("  ", " "))
    found = sum(score["is_right"] for score in animals)
    lines += ["", f"{found} of {len(animals)} found and named.", ""]
    lines += ["| sound app | boundaries of its call | kills, each landed | plays in all | false alarms |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {score['name']} | {score.get('boundaries', 'some')} | {score.get('kills', 'some')} | {score['plays']} "
        f"| {0 if score['is_right'] else 1} |"
        for score in scores
        if not score["bug"]
    ]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "promises": promises,
    "zoo": zoo,
    "admin-routes": admin_routes,
    "bench": bench,
    "bench-apps": bench_apps,
    "bench-sizes": bench_sizes,
    "bench-ui": bench_ui,
    "cli": cli,
    "differences": differences,
    "settings": settings,
    "limits": limits,
    "moves": moves,
    "error-codes": error_codes,
    "sys-tables": sys_tables,
}


def generated(text: str) -> str:
    """The page with its generated parts as they should be."""

    def part(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end -->"

    return PART.sub(part, text)


def stale_pages() -> list[tuple[Path, str]]:
    """Pages whose generated parts are not what the code says, with what they should be."""
    pages = []
    for path in [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if (wanted := generated(text)) != text:
            pages.append((path, wanted))
    llms = DOCS / "llms.txt"
    if not llms.is_file() or llms.read_text(encoding="utf-8") != llms_txt():
        pages.append((llms, llms_txt()))
    return pages


def main() -> None:
    """Rewrite the stale pages, or with --check name them and fail."""
    stale = stale_pages()
    for path, wanted in stale:
        click.echo(path.relative_to(DOCS.parent))
        if "--check" not in sys.argv:
            path.write_text(wanted, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
