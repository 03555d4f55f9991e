"""app_loader: every way to name an app, and what is said when it cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewake.deployments.app_loader import AppImportError, load_app
from rewake.errors import ErrorCode

SERVICE = """
import restate
greeter = restate.Service("Greeter")

@greeter.handler()
async def greet(ctx, name: str) -> str:
    return "Hi " + name
"""


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts and ends with the modules and the path it found."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - before:
        if not name.startswith(("restate", "rewake.")):
            del sys.modules[name]


def services_of(app: object) -> list[str]:
    """Names of the services an app serves."""
    cells = dict(zip(app.__code__.co_freevars, app.__closure__, strict=True))  # type: ignore[attr-defined]
    return sorted(cells["endpoint"].cell_contents.services)


def write(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def test_file_with_an_app(tmp_path: Path) -> None:
    app = load_app(write(tmp_path, "my_app.py", SERVICE + "\nwhatever = restate.app([greeter])\n"))
    assert services_of(app) == ["Greeter"]
    assert sys.path[0] == str(tmp_path)
    assert "my_app" in sys.modules


def test_app_is_preferred_by_its_name(tmp_path: Path) -> None:
    text = SERVICE + "\nother = restate.app([])\napp = restate.app([greeter])\n"
    assert services_of(load_app(write(tmp_path, "two_apps.py", text))) == ["Greeter"]


def test_services_behind_imported_handlers_and_of_imported_modules(tmp_path: Path) -> None:
    package = tmp_path / "desk"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "fraud.py").write_text(SERVICE.replace("Greeter", "FraudAgent"))
    (package / "tools.py").write_text("from desk import audit")
    (package / "audit.py").write_text(SERVICE.replace("Greeter", "Audit"))
    (package / "unused.py").write_text(SERVICE.replace("Greeter", "Unused"))
    text = SERVICE.replace("greet", "claim").replace("Greeter", "ClaimDesk").replace("claimer", "desk_service")
    text += "from desk.fraud import greet as run_fraud_agent\nimport desk.tools\n"
    text += "if __name__ == '__main__':\n    restate.app([desk_service])\n"
    assert services_of(load_app(write(tmp_path, "handlers_imported.py", text))) == ["Audit", "ClaimDesk", "FraudAgent"]


def test_an_own_service_hides_an_imported_one_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "other_greeter.py", SERVICE + "\nother = restate.Service('Other')\n")
    app = load_app(write(tmp_path, "own_greeter.py", SERVICE + "import other_greeter\n"))
    assert services_of(app) == ["Greeter", "Other"]


def test_two_apps_without_the_name(tmp_path: Path) -> None:
    text = SERVICE + "\none = restate.app([])\ntwo = restate.app([greeter])\n"
    with pytest.raises(AppImportError, match="more than one app: one, two") as caught:
        load_app(write(tmp_path, "ambiguous.py", text))
    assert caught.value.code is ErrorCode.APP_NOT_FOUND


def test_one_app_under_two_names(tmp_path: Path) -> None:
    text = SERVICE + "\none = restate.app([greeter])\ntwo = one\n"
    assert services_of(load_app(write(tmp_path, "same_app.py", text))) == ["Greeter"]


def test_services_of_a_file_that_makes_its_app_under_main(tmp_path: Path) -> None:
    write(tmp_path, "helper_services.py", "import restate\ncounter = restate.VirtualObject('Counter')\n")
    text = (
        SERVICE
        + "from helper_services import counter\nalias = greeter\n"
        + "if __name__ == '__main__':\n    raise SystemExit('must not run')\n"
    )
    assert services_of(load_app(write(tmp_path, "guarded-file.py", text))) == ["Counter", "Greeter"]


def test_a_file_that_imports_what_it_serves_under_main_only(tmp_path: Path) -> None:
    write(tmp_path, "greeter_elsewhere.py", SERVICE)
    text = """
import asyncio
if __name__ == "__main__":
    import restate
    from greeter_elsewhere import greeter
    from hypercorn.asyncio import serve
    asyncio.run(serve(restate.app([greeter]), None))
"""
    assert services_of(load_app(write(tmp_path, "all_under_main.py", text))) == ["Greeter"]


def test_endpoint_object(tmp_path: Path) -> None:
    text = SERVICE + "\nfrom restate.endpoint import Endpoint\nmine = Endpoint().bind(greeter)\n"
    assert services_of(load_app(write(tmp_path, "endpoint_app.py", text))) == ["Greeter"]


def test_file_with_the_name_of_a_library_module(tmp_path: Path) -> None:
    import json

    assert services_of(load_app(write(tmp_path, "json.py", SERVICE))) == ["Greeter"]
    assert sys.modules["json"] is json


def test_module_and_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shop_pkg"
    package.mkdir()
    write(package, "__init__.py", "")
    write(package, "handlers.py", SERVICE + "\nall_of_it = [greeter]\nasgi = restate.app(all_of_it)\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    assert services_of(load_app("shop_pkg.handlers")) == ["Greeter"]
    assert services_of(load_app("shop_pkg.handlers:asgi")) == ["Greeter"]
    assert services_of(load_app("shop_pkg.handlers:greeter")) == ["Greeter"]
    assert services_of(load_app("shop_pkg.handlers:all_of_it")) == ["Greeter"]
    assert services_of(load_app(f"{package / 'handlers.py'}:asgi")) == ["Greeter"]
    with pytest.raises(AppImportError, match="Did you mean greeter"):
        load_app("shop_pkg.handlers:greter")
    with pytest.raises(AppImportError, match="is a int, neither an app nor a service"):
        load_app("shop_pkg.handlers:number")


def test_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(AppImportError, match="no services at module level. Found: answer, os") as caught:
        load_app(write(tmp_path, "nothing.py", "import os\nanswer = 42\n"))
    assert caught.value.code is ErrorCode.APP_NOT_FOUND


def test_two_services_of_one_name(tmp_path: Path) -> None:
    text = SERVICE + "\nagain = restate.Service('Greeter')\n"
    with pytest.raises(AppImportError, match="do not go together: Service Greeter already exists"):
        load_app(write(tmp_path, "doubled.py", text))


def test_import_error_keeps_the_users_frames_only(tmp_path: Path) -> None:
    write(tmp_path, "broken_part.py", "def explode():\n    raise ValueError('from the user')\n")
    path = write(tmp_path, "broken.py", "import broken_part\nbroken_part.explode()\n")
    with pytest.raises(AppImportError, match="ValueError: from the user") as caught:
        load_app(path)
    told = caught.value.traceback_text
    assert told.startswith("Traceback (most recent call last):")
    assert "broken.py" in told and "broken_part.py" in told
    assert "app_loader" not in told and "importlib" not in told
    assert "broken" not in sys.modules


def test_syntax_error(tmp_path: Path) -> None:
    with pytest.raises(AppImportError, match="SyntaxError") as caught:
        load_app(write(tmp_path, "typo.py", "def broken(:\n"))
    assert "typo.py" in caught.value.traceback_text


def test_exit_at_import(tmp_path: Path) -> None:
    with pytest.raises(AppImportError, match=r"sys.exit\(2\)"):
        load_app(write(tmp_path, "leaves.py", "import sys\nsys.exit(2)\n"))


def test_missing_dependency_names_the_environment(tmp_path: Path) -> None:
    with pytest.raises(AppImportError, match="no_such_lib") as caught:
        load_app(write(tmp_path, "needs.py", "import no_such_lib\n"))
    assert sys.executable in caught.value.hint


def test_relative_import_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(AppImportError) as caught:
        load_app(write(tmp_path, "relative.py", "from . import sibling\n"))
    assert "rewake run package.module" in caught.value.hint


def test_missing_file_names_near_ones(tmp_path: Path) -> None:
    write(tmp_path, "agents.py", "")
    with pytest.raises(AppImportError, match="Near it: agents.py"):
        load_app(str(tmp_path / "agent.py"))


def test_a_framework_that_is_missing_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    with pytest.raises(AppImportError) as raised:
        load_app(write(tmp_path, "needs_a_framework.py", "from pydantic_ai import Agent"))
    assert raised.value.hint.endswith("pip install 'rewake[pydantic]'")


def test_a_path_to_something_else_is_told_from_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "README.md", "")
    (tmp_path / "agents").mkdir()
    for ref, kind in {"README.md": "a file that", ".": "a directory", "./agents": "a directory"}.items():
        with pytest.raises(AppImportError, match=f"'{ref}' is {kind}") as raised:
            load_app(ref)
        assert raised.value.code == "RW1001" and not raised.value.traceback_text


def test_missing_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AppImportError, match="There is no module 'no_such_package'"):
        load_app("no_such_package.app:app")


@pytest.fixture
def in_package(tmp_path: Path) -> str:
    """A file in a folder, which imports that folder by its name."""
    package = tmp_path / "shop_folder"
    package.mkdir()
    write(package, "names.py", "GREETER = 'Greeter'")
    return write(package, "2_greeter.py", "import shop_folder.names\n" + SERVICE)


def test_the_current_folder_is_found_by_a_file_below_it(in_package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(in_package).parents[1])
    assert services_of(load_app(in_package)) == ["Greeter"]


def test_a_folder_around_the_file_that_is_missing_on_the_path_is_named(in_package: str) -> None:
    with pytest.raises(AppImportError) as caught:
        load_app(in_package)
    assert caught.value.hint == f"'shop_folder' is in {str(Path(in_package).parents[1])!r}: run the file from there."
