"""The npm package @rewake/vercel-ai: the real `streamText` and `generateText` on the real TypeScript SDK.

On Rewake its text is live; on restate-server the same app runs without.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import blocks_of
from http_service import ServerKind, Service
from node_tour import REPOSITORY, EngineKind, node, npm_package
from stream_reader import Reader
from subject import Subject, first_awakeable, until

from rewake.agents.envelope import decode_envelope
from rewake.testing.models import ModelServer, failure, in_turn, rule, text, tool_call

HERE = Path(__file__).parent
PACKAGE = REPOSITORY / "packages" / "vercel-ai"
PAGE = REPOSITORY / "docs" / "how-to" / "vercel-ai.md"
ANSWER = "Your invoice was paid on Monday, and nothing is due before the end of the month."
RULES = [
    rule(name="told", after_tool="pay", answer=text("Done.")),
    rule(name="consulted", after_tool="askBilling", answer=text("Billing says it was paid.")),
    rule(
        name="consults", says=("ask billing",), when_tool="askBilling", answer=tool_call("askBilling", {"about": "it"})
    ),
    rule(
        name="looks",
        says=("look up",),
        when_tool="lookUp",
        after_tool=False,
        answer=tool_call("lookUp", {"policy": "Home"}),
    ),
    rule(name="looked", after_tool="lookUp", tool_result="hospital", answer=text("Hospital.")),
    rule(name="pays", says=("pay",), answer=tool_call("pay", {"amount": 4})),
    rule(name="refuses", says=("secret",), answer=failure(400)),
    rule(name="busy", says=("busy",), answer=in_turn(failure(429, retry_after_s=0), failure(500), text("At last."))),
    rule(name="slow", says=("slowly",), answer=text(ANSWER), hold_after=9),
    rule(name="answers", answer=text(ANSWER)),
]
USER = """
import type { Context } from "@restatedev/restate-sdk";
import type { LanguageModelMiddleware } from "ai";
import * as all from "@rewake/vercel-ai";

export const middleware = (ctx: Context): LanguageModelMiddleware => all.durableCalls(ctx, { agent: "Desk" });
console.log(Object.keys(all).sort().join(" "));
"""
KINDS: list[tuple[EngineKind, ServerKind]] = [("rewake", "node"), ("restate", "node")]


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    with ModelServer(RULES) as models:
        yield models


@pytest.fixture(scope="module", params=KINDS, ids=["rewake", "restate"])
def desk(
    request: pytest.FixtureRequest, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    kind, server = request.param
    app = npm_package("vercel-ai", HERE / "vercel" / "desk.ts") / "desk.ts"
    service = Service(str(app), server, options=(), **models.env())
    subject = Subject(kind, tmp_path_factory.mktemp("desk"), service)
    yield subject
    subject.close()


@pytest.fixture(autouse=True)
def fresh(models: ModelServer) -> None:
    models.reset()


def asked(models: ModelServer) -> dict[str, int]:
    return {name: count.asked for name, count in models.counts.items() if count.asked}


def test_a_streamed_answer_is_one_step_and_is_live(desk: Subject, models: ModelServer) -> None:
    run = desk.send("Desk/answer", "Was it paid?")
    assert desk.result(run) == ANSWER
    assert asked(models) == {"answers": 1}
    assert desk.commands(run) == ["Input", "Run Desk: model", "Output"]
    if desk.kind == "restate":
        return
    reader = Reader(desk.ingress_port, "/Desk/answer", method="POST", body="Say it slowly.")
    reader.until("delta")
    models.release("slow")  # not before somebody hears: a body that is faster than its connection is not shown live
    assert reader.until("ended")["result"] == ANSWER
    assert reader.text == ANSWER
    assert reader.kinds == ["started", "step_started", "delta", "step_committed", "ended"]
    assert sum(event["type"] == "delta" for event in reader.events) > 5
    reader.close()
    (committed,) = (event for event in reader.events if event["type"] == "step_committed")
    kept = decode_envelope(json.dumps(committed["value"]).encode())
    assert kept is not None and kept.reply is not None
    assert (kept.kind, kept.agent, kept.framework) == ("model", "Desk", "Vercel AI")
    assert (kept.reply.text, kept.reply.model) == (ANSWER, "gpt-5-mini")
    assert kept.reply.input_tokens and kept.reply.output_tokens
    parts = [part["type"] for part in committed["value"]["value"]["json"]["parts"]]
    assert parts == ["stream-start", "response-metadata", "text-start", "text-delta", "text-end", "finish"]


def test_a_whole_answer_is_one_step_and_comes_back_as_it_was(desk: Subject, models: ModelServer) -> None:
    run = desk.send("Desk/whole", "Was it paid?")
    said, tokens, has_time = desk.result(run)
    assert (said, has_time) == (ANSWER, True)
    assert tokens > 0
    assert asked(models) == {"answers": 1}
    assert desk.commands(run) == ["Input", "Run Desk: model", "Output"]


def test_the_package_can_be_published(tmp_path: Path) -> None:
    """What npm packs is what is needed, in the version of the Python package; a project uses it by its name."""
    built = npm_package("vercel-ai")
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copytree(built / "dist", source / "dist")
    pack = ["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(tmp_path)]
    (packed,) = json.loads(subprocess.run(pack, cwd=source, capture_output=True, check=True, timeout=60).stdout)
    names = {file["path"] for file in packed["files"]}
    modules = [source.stem for source in (PACKAGE / "src").glob("*.ts")]
    outputs = {f"dist/{module}{end}" for module in modules for end in (".js", ".js.map", ".d.ts", ".d.ts.map")}
    assert names == outputs | {f"src/{module}.ts" for module in modules} | {"LICENSE", "README.md", "package.json"}
    assert packed["version"] == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]

    home = tmp_path / "node_modules" / "@rewake" / "vercel-ai"
    home.mkdir(parents=True)
    untar = ["tar", "-xzf", str(tmp_path / packed["filename"]), "--strip-components=1", "-C", str(home)]
    subprocess.run(untar, check=True, timeout=60)
    for each in (built / "node_modules").iterdir():
        (tmp_path / "node_modules" / each.name).symlink_to(each)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "user.ts").write_text(USER)
    strict = ["--strict", "--module", "nodenext", "--target", "es2023", "--types", "node", "--skipLibCheck"]
    check = [str(node()), "node_modules/typescript/bin/tsc", *strict, "user.ts"]
    checked = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout
    said = subprocess.run(
        [str(node()), "user.js"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.split() == ["durableCalls", "durableEmbeds", "hasTerminalToolError"] + [
        "rethrowTerminalToolError",
        "textOf",
    ]


def test_a_refusal_ends_the_run_and_a_busy_model_is_asked_again(desk: Subject, models: ModelServer) -> None:
    refused = desk.call("Desk/answer", "Tell me a secret.")
    assert refused.status == 400
    assert "AI_APICallError" in refused.json["message"]
    assert desk.call("Desk/answer", "Are you busy?").json == "At last."
    assert asked(models) == {"refuses": 1, "busy": 3}


def test_a_process_is_killed_in_mid_answer(desk: Subject, models: ModelServer) -> None:
    run = desk.send("Desk/answer", "Say it slowly.")
    reader = Reader(desk.ingress_port, f"/restate/stream/{run}") if desk.kind == "rewake" else None
    until(lambda: asked(models), lambda: "a question")
    if reader is not None:
        reader.until("delta")
    desk.service.kill()
    if reader is not None:
        reader.until("void")
        assert reader.text == ""
    desk.service.start()
    if reader is not None:
        reader.until("delta")
    models.release("slow")
    assert desk.result(run) == ANSWER
    assert asked(models) == {"slow": 2}
    if reader is not None:
        reader.until("ended")
        assert reader.text == ANSWER
        reader.close()


def test_stored_parts_are_given_again_after_a_wait_for_a_person(desk: Subject, models: ModelServer) -> None:
    run = desk.send("Desk/pay", "Please pay 4.")
    until(lambda: "Run Ask a person" in desk.commands(run), lambda: str(desk.journal(run)))
    desk.service.restart()
    desk.resolve(first_awakeable(run), "Dana")
    assert desk.result(run) == "Done."
    assert asked(models) == {"pays": 1, "told": 1}
    assert [result.text for result in models.requests[-1].tool_results] == ["Paid 4, says Dana"]
    assert desk.commands(run) == [
        "Input",
        "Run Desk: model",
        "Run Ask a person",
        "Run Desk: model",
        "Output",
    ]


def test_an_agent_in_a_tool_is_shown_with_its_path(desk: Subject) -> None:
    run = desk.send("Desk/consult", "Ask billing about it.")
    assert desk.result(run) == "Billing says it was paid."
    assert desk.commands(run) == ["Input", "Run Desk: model", "Run Billing: model", "Run Desk: model", "Output"]
    if desk.kind == "rewake":
        reader = Reader(desk.ingress_port, f"/restate/stream/{run}")
        reader.until("ended")
        reader.close()
        values = [event["value"] for event in reader.events if event["type"] == "step_committed"]
        nested = [(value["path"], len(value.get("calls", []))) for value in values]
        assert nested == [(["Desk"], 0), (["Desk", "Billing"], 1), (["Desk"], 0)]


def test_a_cancelled_run_ends_and_the_model_is_not_asked_again(desk: Subject, models: ModelServer) -> None:
    run = desk.send("Desk/pay", "Please pay 4.")
    until(lambda: "Run Ask a person" in desk.commands(run), lambda: str(desk.journal(run)))
    desk.operate(run, "cancel")
    assert desk.attach(run).status == 409
    assert asked(models) == {"pays": 1}


def test_the_package_has_what_it_needs_and_nothing_else() -> None:
    """As `npm publish` would pack it."""
    folder = npm_package("vercel-ai")
    npm = shutil.which("npm")
    assert npm is not None
    packed = subprocess.run(
        [npm, "pack", "--dry-run", "--json", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    (about,) = json.loads(packed.stdout)
    names = {file["path"] for file in about["files"]}
    sources = {path.stem for path in (PACKAGE / "src").glob("*.ts")}
    built = {f"dist/{name}{end}" for name in sources for end in (".js", ".js.map", ".d.ts", ".d.ts.map")}
    assert names == {"LICENSE", "README.md", "package.json"} | built | {f"src/{name}.ts" for name in sources}
    manifest: dict[str, Any] = json.loads((PACKAGE / "package.json").read_text())
    assert manifest["license"] == "Apache-2.0"
    assert (PACKAGE / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    locked = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    assert not [path for path, package in locked.items() if "resolved" in package]


def written(page: Path) -> list[Path]:
    """The TypeScript blocks of a page as files beside the package."""
    folder = npm_package("vercel-ai")
    found = []
    for block in blocks_of(page):
        if block.language == "ts":
            found.append(folder / f"docs.{page.stem}.{block.title or 'app.ts'}")
            found[-1].write_text(block.text)
    return found


def test_types_of_apps_and_documentation_are_right() -> None:
    folder = npm_package("vercel-ai", HERE / "vercel" / "desk.ts")
    files = [folder / "desk.ts", *written(PAGE), *written(PACKAGE / "README.md")]
    assert len(files) == 5
    options = [
        "--noEmit",
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2023",
        "--skipLibCheck",
        "--types",
        "node",
    ]
    checked = subprocess.run(
        [node(), "node_modules/typescript/bin/tsc", "--ignoreConfig", *options, *files],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_apps_of_the_documentation_run(desk: Subject, models: ModelServer) -> None:
    """Each is registered in the place of the one before."""
    if desk.kind == "restate":
        pytest.skip("the same apps, which know no engine")
    before, *apps = written(PAGE)
    assert "generateText" in before.read_text()
    for app in apps:
        service = Service(str(app), "node", options=(), **models.env())
        try:
            assert desk.register(service.uri).status == 201
            assert desk.call("Desk/answer", "What is covered?").json == ANSWER
            assert desk.call("Desk/answer", "Look up Home for me.").json == (
                "Hospital." if "streamText" in app.read_text() else ANSWER
            )
        finally:
            service.kill()
            assert desk.register(desk.service.uri, force=True).status in (200, 201)
