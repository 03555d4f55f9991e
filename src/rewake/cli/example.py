"""`rewake example`: writes one of the tour apps into a new folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import click

from rewake.cli.exits import nearest
from rewake.errors import ErrorCode, RewakeError
from rewake.examples import EXAMPLES, Example

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
    install = (f"pip install 'rewake[{chosen.extra}]'",) if chosen.extra else ()
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
    hint = nearest(wanted, [each.name for each in EXAMPLES])
    raise RewakeError(ErrorCode.EXAMPLE_UNKNOWN, f"There is no example {name!r}.", hint)


def _write(chosen: Example, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RewakeError(
            ErrorCode.FOLDER_EXISTS,
            f"{str(target)!r} is there already, and not empty; nothing was written.",
            f"Name another folder: rewake example {chosen.name} DIR",
        )
    shutil.copytree(chosen.folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
