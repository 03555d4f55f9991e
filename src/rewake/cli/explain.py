"""`rewake explain CODE`: the page of an error, without a network. The pages are those of docs/reference/errors.

An installed package contains them; a checkout has them in the documentation's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

import rewake
from rewake.cli.exits import did_you_mean
from rewake.errors import ErrorCode, RewakeError

_PACKAGE: Final = Path(rewake.__file__).parent
PAGES: Final = (_PACKAGE / "error_pages", _PACKAGE.parents[1] / "docs" / "reference" / "errors")


@click.command()
@click.argument("code", metavar="CODE")
def explain(code: str) -> None:
    """Explain an error code: its cause, how to check, and how to fix it."""
    click.echo(page_of(code.upper()), nl=False)


def page_of(code: str) -> str:
    """The page, as Markdown. Raises RewakeError RW1019 for an unknown code."""
    if code in {each.value for each in ErrorCode}:
        for folder in PAGES:
            if (page := folder / f"{code}.md").is_file():
                return page.read_text(encoding="utf-8")
    raise RewakeError(
        ErrorCode.CODE_UNKNOWN,
        f"There is no error code {code!r}.",
        did_you_mean(code, [each.value for each in ErrorCode])
        if code.startswith("RW")
        else "A code looks like RW2003.",
    )
