"""From `FILE.py`, `module` or `module:attribute` to the ASGI app that serves the handlers.

Takes a `restate.app(...)` object where there is one, otherwise builds it from the services of the module, so that a
file which makes its app only under `__main__` runs unchanged. Called by worker_main.py in the child and by
in_process.py. An error while the user's code is imported comes back with their own traceback, without our frames.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from rewake.deployments.app_services import is_service, served_services
from rewake.deployments.containment import contain
from rewake.errors import ErrorCode, RewakeError
from rewake.names import some_of

WEB: Final = "web"
_RESTATE_APP_QUALNAME: Final = "asgi_app.<locals>.app"
_EXTRAS: Final = {
    "agents": "openai",
    "openai": "openai",
    "google": "adk",
    "pydantic_ai": "pydantic",
    "langchain": "langchain",
}
"""Which extra of ours brings a framework, with what the SDK's extension for it needs."""


class AppImportError(RewakeError):
    """The app could not be had from its reference.

    traceback_text: the user's own traceback, our frames removed; empty when their code did not raise.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str, traceback_text: str = "") -> None:
        super().__init__(code, message, hint)
        self.traceback_text = traceback_text


class Loaded(NamedTuple):
    """What an app's module has. app: serves its handlers.   web: its web app, None without one."""

    app: Any
    web: Any


def load_app(ref: str) -> Any:
    """The app of `load`."""
    return load(ref).app


def load(ref: str) -> Loaded:
    """The ASGI app `ref` names: a path that ends in .py, `module` or `module:attribute`, or `FILE.py:attribute`.

    Without an app in it, all services that the import brought from the project are served (app_services.py). An ASGI
    app that the module calls `web` is its web app.
    Raises AppImportError. Puts the directory of a file at the front of sys.path, as running it would.
    """
    location, attribute = _split_ref(ref)
    known = set(sys.modules)
    if location.endswith(".py"):
        module = _import_file(Path(location))
    elif Path(location).is_file() or (Path(location).is_dir() and not location.replace(".", "").isidentifier()):
        raise _not_a_python_file(location)
    else:
        module = _import_module(location)
    contain()
    web = _web_of(module)
    if attribute:
        return Loaded(_app_of_attribute(module, attribute, ref), web)
    imported = [sys.modules[name] for name in list(sys.modules) if name not in known]
    return Loaded(_app_of_module(module, imported, ref), web)


def _web_of(module: ModuleType) -> Any:
    """The module's `web`, where that can be an ASGI app: something to call with scope, receive and send."""
    found = getattr(module, WEB, None)
    if not callable(found) or isinstance(found, type):
        return None
    try:
        inspect.signature(found).bind({}, None, None)
    except (TypeError, ValueError):
        return None
    return found


def _split_ref(ref: str) -> tuple[str, str]:
    if ref.endswith(".py"):
        return ref, ""
    location, _, attribute = ref.rpartition(":")
    return (location, attribute) if location else (ref, "")


# Importing


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise AppImportError(
            ErrorCode.APP_IMPORT_FAILED,
            f"There is no file {str(path)!r}.{_similar_files(path)}",
            "Give the path of the Python file that holds your services, or module:attribute.",
        )
    path = path.resolve()
    sys.path.insert(0, str(path.parent))
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(str(path.name), error) from error
    return module


def _not_a_python_file(location: str) -> AppImportError:
    kind = "directory" if Path(location).is_dir() else "file that does not end in .py"
    hint = "Give the path of the Python file that holds your services, or module:attribute."
    return AppImportError(ErrorCode.APP_IMPORT_FAILED, f"{location!r} is a {kind}.", hint)


def _module_name(path: Path) -> str:
    """The stem, so that siblings which import this file get the same module, unless that name is taken or no name."""
    stem = path.stem
    if stem.isidentifier() and stem not in sys.modules and stem not in sys.stdlib_module_names:
        return stem
    return "rewake_app_" + re.sub(r"\W", "_", stem)


def _import_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise AppImportError(
                ErrorCode.APP_IMPORT_FAILED,
                f"There is no module {error.name!r} in {str(Path.cwd())!r} or on the Python path.",
                "Run from the directory that holds it, or give the path of a file: rewake run path/to/FILE.py",
            ) from error
        raise _import_failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _import_failed(what: str, error: BaseException) -> AppImportError:
    if isinstance(error, SystemExit):
        reason = f"It called sys.exit({error.code!r}) while being imported."
        hint = "Put the code that runs the program under: if __name__ == '__main__':"
    else:
        reason = traceback.format_exception_only(error)[-1].strip()
        hint = _import_hint(error)
    return AppImportError(
        ErrorCode.APP_IMPORT_FAILED, f"{what!r} could not be imported.\n{reason}", hint, _user_traceback(error)
    )


def _import_hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra:
            return f"Install it into the environment of {sys.executable}: pip install 'rewake[{extra}]'"
        return f"Install what provides {error.name!r} into this environment: {sys.executable}"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "Give the module instead of the file: rewake run package.module"
    return "Correct the file; the traceback above shows where it fails."


def _user_traceback(error: BaseException) -> str:
    report = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = report
    while link is not None:
        link.stack = traceback.StackSummary.from_list(
            [frame for frame in link.stack if frame.filename != __file__ and "importlib" not in frame.filename]
        )
        link = link.__cause__ or link.__context__
    return "".join(report.format())


def _similar_files(path: Path) -> str:
    parent = path.parent
    names = [file.name for file in parent.glob("*.py")] if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=3)
    return f" Near it: {', '.join(near)}." if near else ""


# Finding the app


def _app_of_attribute(module: ModuleType, attribute: str, ref: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _attribute_missing(found, name, ref)
        found = getattr(found, name)
    services = [each for each in (found if isinstance(found, (list, tuple)) else [found]) if is_service(each)]
    if services:
        return _build_app(services, ref)
    if (app := _as_app(found)) is not None:
        return app
    if callable(found):  # Middleware around the app is an ASGI app of its own.
        return found
    raise AppImportError(
        ErrorCode.APP_NOT_FOUND,
        f"{ref!r} is a {type(found).__name__}, neither an app nor a service.",
        "Name the object that restate.app(...) returned, or a service.",
    )


def _attribute_missing(owner: Any, name: str, ref: str) -> AppImportError:
    names = [each for each in vars(owner) if not each.startswith("_")] if hasattr(owner, "__dict__") else []
    near = difflib.get_close_matches(name, names, n=3)
    return AppImportError(
        ErrorCode.APP_NOT_FOUND,
        f"{ref!r}: there is no attribute {name!r}.",
        f"Did you mean {' or '.join(near)}?" if near else f"Its public names are: {some_of(names, 'nothing')}.",
    )


def _app_of_module(module: ModuleType, imported: list[ModuleType], ref: str) -> Any:
    """imported: the modules that loading it brought."""
    members = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    apps = {name: app for name, value in members.items() if (app := _as_app(value)) is not None}
    if "app" in apps:
        return apps["app"]
    if len({id(members[name]) for name in apps}) > 1:
        raise AppImportError(
            ErrorCode.APP_NOT_FOUND,
            f"{ref!r} holds more than one app: {some_of(apps, 'nothing')}.",
            f"Say which: {ref.removesuffix('.py') if '/' not in ref else ref}:{next(iter(apps))}",
        )
    if apps:
        return next(iter(apps.values()))
    services = served_services(module, imported)
    if services:
        return _build_app(services, ref)
    raise AppImportError(
        ErrorCode.APP_NOT_FOUND,
        f"{ref!r} holds no restate app and no services at module level. Found: {some_of(members, 'nothing')}.",
        "Define services with restate.Service, VirtualObject or Workflow, or app = restate.app([...]).",
    )


def _as_app(value: Any) -> Any | None:
    """`value` if restate.app made it, the app of an endpoint, else None."""
    from restate.endpoint import Endpoint

    if isinstance(value, Endpoint):
        return value.app()  # type: ignore[no-untyped-call]  # The SDK leaves it untyped.
    is_app = getattr(value, "__qualname__", "") == _RESTATE_APP_QUALNAME and value.__module__ == "restate.server"
    return value if is_app else None


def _build_app(services: list[Any], ref: str) -> Any:
    import restate

    try:
        return restate.app(services)
    except ValueError as error:
        raise AppImportError(
            ErrorCode.APP_NOT_FOUND,
            f"The services of {ref!r} do not go together: {error}.",
            "Give each service its own name, or name the ones to serve: app = restate.app([...]).",
        ) from error
