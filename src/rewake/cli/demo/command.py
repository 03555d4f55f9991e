"""The subcommand `rewake demo`."""

from __future__ import annotations

import click


@click.command()
@click.option("--keep", is_flag=True, envvar="KEEP", show_envvar=True, help="Leave everything running until Ctrl-C.")
def demo(keep: bool) -> None:
    """Watch a claim router being killed in the middle and finishing.

    Starts an engine with the OpenAI Agents claim router, sends a claim, kills the process that runs the agents with
    kill -9 after the routing decision, and shows how it goes on. With OPENAI_API_KEY set it asks the real provider (or
    the one at OPENAI_BASE_URL), otherwise a scripted model server.
    """
    from rewake.cli.demo.story import tell_story

    tell_story(keep=keep)
