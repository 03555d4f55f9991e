"""The product's dependencies as installed: a bill of materials of them, and what is known against them.

    python tools/audit.py sbom FILE      CycloneDX JSON of rewake[all], without the tools of development
    python tools/audit.py advisories     asks the advisory service about them; skips, with a line, when it is not reached

Run by the Makefile with the Python of .venv; the two programs are in .venv/audit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROGRAMS = Path(sys.prefix) / "audit" / "bin"
SERVICE_S = 20


def closure(root: str) -> dict[str, str]:
    """Name and version of all that `root`, such as `rewake[all]`, brings."""
    found: dict[str, str] = {}
    pending, seen = [Requirement(root)], set[tuple[str, frozenset[str]]]()
    while pending:
        wanted = pending.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            installed = distribution(wanted.name)
        except PackageNotFoundError:
            continue  # for another platform
        found[name] = installed.version
        for text in installed.requires or ():
            needed = Requirement(text)
            environments: list[dict[str, str]] = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in environments):
                pending.append(needed)
    return found


def sbom(target: Path) -> int:
    """Write the bill of materials."""
    wanted = closure("rewake[all]")
    told = subprocess.run(
        [
            PROGRAMS / "cyclonedx-py",
            "environment",
            "--no-validate",
            "--pyproject",
            "pyproject.toml",
            "--of",
            "JSON",
            sys.executable,
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    bom: dict[str, Any] = json.loads(told.stdout)
    bom["components"] = [each for each in bom["components"] if canonicalize_name(each["name"]) in wanted]
    kept = {each["bom-ref"] for each in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    bom["dependencies"] = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in kept]}
        for each in bom["dependencies"]
        if each["ref"] in kept
    ]
    target.write_text(json.dumps(bom, indent=1) + "\n")
    print(f"{target}: {len(bom['components'])} components")
    return 0


def advisories() -> int:
    """Ask about each of them."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.writelines(
            f"{name}=={version}\n" for name, version in closure("rewake[all]").items() if name != "rewake"
        )
        pinned.flush()
        ask = [PROGRAMS / "pip-audit", "-r", pinned.name, "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        try:
            told = subprocess.run(
                [*ask, "--timeout", "5", "--format", "json"],
                capture_output=True,
                text=True,
                timeout=SERVICE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _skipped("it did not answer in time")
    try:
        found: list[dict[str, Any]] = json.loads(told.stdout)["dependencies"]
    except ValueError:
        return _skipped(told.stderr.strip().splitlines()[-1][:200] if told.stderr else "it gave no answer")
    known = [each for each in found if "skip_reason" not in each]
    if not known:
        return _skipped("it knows none of them")
    advised = [(each["name"], each["version"], one["id"]) for each in known for one in each["vulns"]]
    for name, version, advisory in advised:
        print(f"{name} {version}: {advisory}")
    print(f"{len(known)} of {len(found)} dependencies audited, {len(advised)} advisories")
    return int(bool(advised))


def _skipped(why: str) -> int:
    print(f"skip: dependencies are not audited, as the advisory service is not reached: {why}")
    return 0


if __name__ == "__main__":
    raise SystemExit(sbom(Path(sys.argv[2])) if sys.argv[1] == "sbom" else advisories())
