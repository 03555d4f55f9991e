"""`rewake example`: writes one of the tour apps into a new folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import click

from rewake.cli.exits import did_you_mean
from rewake.errors import ErrorCode, RewakeError
from rewake.examples import EXAMPLES, Example

_BROUGHT: Final = {
    "adk": "google.adk",
    "chat": "httpx2",
    "langchain": "langchain_openai",
    "openai": "agents",
    "pydantic": "pydantic_ai",
}
"""A module of each extra that an example needs."""

NOT_COPIED: Final = ("__pycache__", "*.pyc", "node_modules")
"""What running an example in place leaves in its folder."""


@click.command()
@click.argument("name", required=False)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def example(name: str | None, folder: Path | None) -> None:
    """Write the tour app NAME into DIR (by default ./NAME); without NAME, list them."""
    if name is None:
        _list()
        return
    chosen = _find(name)
    target = folder or Path(chosen.name)
    _write(chosen, target)
    click.echo(f"{target}: {chosen.title}. README.md says how to run it; in short:", err=True)
    install = () if not chosen.extra or _has(chosen.extra) else (_install(chosen.extra),)
    click.echo("\n".join(["", *(f"  {line}" for line in (*install, f"cd {target}", *chosen.start)), ""]), err=True)


def _list() -> None:
    width = max(len(each.name) for each in EXAMPLES)
    for each in EXAMPLES:
        click.echo(f"{each.name:<{width}}  {each.title}")
    click.echo("\nWrite one into a folder of its own: rewake example NAME", err=True)


def _find(name: str) -> Example:
    wanted = name.replace("-", "_")
    for each in EXAMPLES:
        if each.name == wanted:
            return each
    hint = did_you_mean(wanted, [each.name for each in EXAMPLES])
    raise RewakeError(ErrorCode.EXAMPLE_UNKNOWN, f"There is no example {name!r}.", hint)


def _has(extra: str) -> bool:
    """Whether what the extra brings is installed, or all of several extras with commas between."""
    try:
        return all(importlib.util.find_spec(_BROUGHT[each]) is not None for each in extra.split(","))
    except ModuleNotFoundError:  # of a parent package
        return False


def _install(extra: str) -> str:
    """The command that installs it from where Rewake came: a folder, or an index."""
    from importlib.metadata import distribution

    told = distribution("rewake").read_text("direct_url.json")
    url = "" if told is None else str(json.loads(told).get("url", ""))
    source = unquote(urlsplit(url).path) if url.startswith("file:") else "rewake"
    return f"pip install '{source}[{extra}]'"


def _write(chosen: Example, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RewakeError(
            ErrorCode.FOLDER_EXISTS,
            f"{str(target)!r} is there already, and not empty; nothing was written.",
            f"Name another folder: rewake example {chosen.name} DIR",
        )
    shutil.copytree(chosen.folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
