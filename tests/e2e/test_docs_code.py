"""Every code block of README.md and docs/ is run or checked, page by page, as a reader would do it from top to bottom.

A page has a folder of its own. `python` with a title is saved there, without one it is run; `sh` is run by bash, its
variables and directory last to the end of the page; `text` and `json` below them are the output, compared loosely.
Ports are swapped for free ones. What a reader copies from another terminal is copied here too: PID is the process that
`rewake run` told of last, `sign_1...` the awakeable printed last. Directives, in a comment above the block:

    run: background until "TEXT"   start it and go on once it has printed TEXT; it is ended with the page
    run: background as NAME        start it and go on; both may stand together
    run: output of NAME            over a text block: what NAME printed until its end, which is waited for
    run: output of command X       over a text block: what the command X prints
    run: printed by NAME           over a text block: what NAME, which goes on, prints sooner or later
    run: fails                     it must end with another code than 0
    run: no, REASON                not run: it needs what a test has not
    run: model says TEXT           not run; from here on OpenAI clients reach a scripted model that says this
"""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from docs_blocks import Block, blocks_of, matches
from tests.warm import framework_of, run_warm

from rewake.testing.models import ModelServer, rule, text

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_WITH_BLOCKS = [page for page in PAGES if page.is_file() and blocks_of(page)]
PORTS = ("8080", "9070", "8000", "4010", "8081", "9071", "9080")
BLOCK_TIMEOUT_S = 50
COPIED = {" PID": r"handlers .*[,;] process( \d+)", "sign_1...": r"sign_1[\w-]+"}
UNUSED_PLUGINS = ("cacheprovider", "langsmith_plugin", "hypothesispytest", "xdist", "xdist.looponfail", "randomly")
"""Plugins of ours that a reader of a page may not have; to load them takes most of a small test's time."""

KNOWN_LANGUAGES = {"python", "sh", "text", "json", "toml", "yaml", "ini", "mermaid", "sql", "http", "js", "ts"}


@dataclass
class Background:
    """A process of the page that goes on while the reader does."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_over: bool = False

    def follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.changed:
                self.output.append(line)
                self.changed.notify_all()
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def wait_until(self, is_there: Callable[[str], bool]) -> str:
        """The output, once it is as wanted; what there is when it ends or takes too long."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_over or is_there("".join(self.output)), BLOCK_TIMEOUT_S)
            return "".join(self.output)

    def wait_for(self, wanted: str) -> None:
        printed = self.wait_until(lambda text: wanted in text)
        assert wanted in printed, f"{wanted!r} was not printed:\n{printed}"

    def wait_end(self) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_over, BLOCK_TIMEOUT_S), "".join(self.output)
            return "".join(self.output)

    def stop(self) -> None:
        """End the process and what it started; the group is its own."""
        for os_signal in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, os_signal)
            except ProcessLookupError:
                break
            with self.changed:
                if self.changed.wait_for(lambda: self.is_over, 5):
                    break
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Reader:
    """Somebody who follows one page: a folder, a shell's variables, processes in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "work"
        self.directory.mkdir()
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.environment = self._environment()
        self.background: dict[str, Background] = {}
        self.output: str | None = None
        self.model: ModelServer | None = None

    def _environment(self) -> dict[str, str]:
        programs = self.folder / "bin"
        programs.mkdir()
        without = " ".join(f"-p no:{plugin}" for plugin in UNUSED_PLUGINS)
        for name, arguments in (("rewake", "-m rewake"), ("python", ""), ("pytest", f"-m pytest {without}")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            program.chmod(0o755)
        temporary = self.folder / "tmp"
        temporary.mkdir()
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {
            "TMPDIR": str(temporary),  # what a page leaves there goes with the page
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # whatever else is installed here
            "PYTEST_PLUGINS": "rewake.testing.pytest_plugin",
            "REWAKE_LOG_FORMAT": "text",  # as on a reader's terminal
            "REWAKE_INGRESS_PORT": self.ports["8080"],
            "REWAKE_ADMIN_PORT": self.ports["9070"],
            "REWAKE_WEB_PORT": self.ports["8000"],
            "REWAKE_ADMIN": f"http://127.0.0.1:{self.ports['9070']}",
        }

    def follow(self, block: Block) -> None:
        directive = block.directive
        if directive.startswith("no, "):
            return
        if directive.startswith("model says "):
            self._start_model(directive.removeprefix("model says "))
            return
        match block.language:
            case "text" if directive.startswith("output of command "):
                self._run(block, self._bash(directive.removeprefix("output of command ")))
                self._expect(block, self.output or "")
            case "text" | "json" if directive.startswith("output of "):
                self._expect(block, self.background[directive.removeprefix("output of ")].wait_end())
            case "text" if directive.startswith("printed by "):
                name = directive.removeprefix("printed by ")
                shown = self.background[name].wait_until(lambda printed: matches(block.text, printed))
                self._expect(block, shown)
            case "text" | "json" if not block.title:
                assert self.output is not None, f"{block.where}: nothing above it has an output"
                self._expect(block, self.output)
            case "sh" if directive.startswith("background"):
                self._start(block)
            case "sh":
                self._run(block, self._bash(self._swapped(block)))
            case "python" if not block.title:
                script = self.directory / "_block.py"
                script.write_text(self._swapped(block))
                self._run_python(block, script)
                script.unlink()
            case _:
                self._save(block)

    def _start_model(self, answer: str) -> None:
        self.model = ModelServer([rule(answer=text(answer))])
        self.model.start()
        self.environment |= self.model.env()

    def _save(self, block: Block) -> None:
        check(block)
        if block.title:
            path = self.directory / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._swapped(block))

    def _swapped(self, block: Block) -> str:
        code = block.text
        for port, free in self.ports.items():
            code = re.sub(rf"(?<=localhost:){port}|(?<=127\.0\.0\.1:){port}|(?<=-port ){port}", free, code)
        for placeholder, pattern in COPIED.items():
            if block.language == "sh" and placeholder in code:
                code = code.replace(placeholder, self._printed(pattern))
        return code

    def _printed(self, pattern: str) -> str:
        """What the pattern found last in the output of the processes in the background, which may still be coming."""
        deadline = time.monotonic() + BLOCK_TIMEOUT_S
        while True:
            printed = "\n".join("".join(each.output) for each in self.background.values())
            if found := re.findall(pattern, printed):
                return str(found[-1])
            assert time.monotonic() < deadline, f"nothing like {pattern} was printed:\n{printed}"
            time.sleep(0.02)

    def _bash(self, code: str) -> list[str]:
        script = self.folder / "block.sh"
        saved = self.folder / "environment"
        script.write_text(f"trap '{{ pwd; env -0; }} > {saved}' EXIT\nset -a -e -o pipefail\n{code}")
        return ["bash", str(script)]

    def _run(self, block: Block, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_TIMEOUT_S,
        )
        self._remember()
        self._ended(block, done.returncode, done.stdout)

    def _run_python(self, block: Block, script: Path) -> None:
        done = run_warm(
            [sys.executable, script.name],
            framework=framework_of(script),
            timeout_s=BLOCK_TIMEOUT_S,
            cwd=script.parent,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        self._ended(block, done.returncode, done.stdout)

    def _ended(self, block: Block, code: int, printed: str) -> None:
        self.output = printed
        assert (code != 0) == (block.directive == "fails"), f"{block.where} ended with {code}:\n{printed}"

    def _remember(self) -> None:
        """Variables and directory of the shell, for the blocks that follow."""
        directory, _, variables = (self.folder / "environment").read_text().partition("\n")
        self.directory = Path(directory)
        pairs = (each.split("=", 1) for each in variables.split("\0") if "=" in each)
        self.environment = {name: value for name, value in pairs if name not in ("_", "PWD", "OLDPWD", "SHLVL")}

    def _start(self, block: Block) -> None:
        process = subprocess.Popen(
            ["bash", "-c", self._swapped(block)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started = Background(process)
        threading.Thread(target=started.follow, daemon=True).start()
        found = re.fullmatch(r'background(?: as (?P<name>\w+))?(?: until "(?P<text>.*)")?', block.directive)
        assert found, f"{block.where}: unknown directive {block.directive!r}"
        self.background[found["name"] or block.where] = started
        if found["text"]:
            started.wait_for(found["text"])
            self.output = "".join(started.output)

    def _expect(self, block: Block, actual: str) -> None:
        assert matches(block.text, actual), f"{block.where}: expected\n{block.text}\nbut it was\n{actual}"

    def stop(self) -> None:
        for each in reversed(self.background.values()):
            each.stop()
        if self.model is not None:
            self.model.stop()


def free_ports(count: int) -> list[str]:
    """Ports nobody listens on, all different."""
    listeners = [socket.socket() for _ in range(count)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def has_curl() -> bool:
    """Whether curl is here and knows --json (7.82)."""
    try:
        told = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.match(r"curl (\d+)\.(\d+)", told)
    return found is not None and (int(found[1]), int(found[2])) >= (7, 82)


def check(block: Block) -> None:
    """That a block which is not run is at least what it says it is."""
    match block.language:
        case "python":
            compile(block.text, block.where, "exec")
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case "yaml":
            yaml = pytest.importorskip("yaml")
            assert isinstance(yaml.safe_load(block.text), dict)
        case "ini":
            parser = configparser.ConfigParser(strict=False)
            parser.optionxform = str  # type: ignore[assignment,method-assign]  # as documented: keys keep their case
            parser.read_string(block.text)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    someone = Reader(tmp_path)
    try:
        yield someone
    finally:
        someone.stop()


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.timeout(120)
def test_the_code_of_a_page_works(page: Path, reader: Reader) -> None:
    if not has_curl() and any("curl " in block.text for block in blocks_of(page)):
        pytest.skip("the page uses curl 7.82 or newer, which is not here")
    started = time.monotonic()
    for block in blocks_of(page):
        assert block.language in KNOWN_LANGUAGES, f"{block.where}: no language, or one nothing is known to do with"
        reader.follow(block)
    assert time.monotonic() - started < 110


def test_output_is_compared_loosely() -> None:
    actual = "ready on http://127.0.0.1:41234\nworker 4711 started\ninv_1abc done\n"
    assert matches("ready on http://127.0.0.1:8080\n...\ninv_1xyz done", actual)
    assert not matches("inv_1xyz done\nworker 1234 started", actual), "the order counts"
    assert not matches("inv_1xyz failed", actual)
