"""Loads the ASGI app of the handlers from `FILE.py`, `module` or `module:attribute`.

It takes the module's `restate.app(...)` object, or makes one from the module's services. So a file that makes its app
only under `__main__` runs unchanged. Called by worker_main.py in the child and by in_process.py. If the user's code
raises at import, the error has the user's traceback without our frames.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import itertools
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import structlog

from rewake.deployments.app_services import is_service, served_services
from rewake.deployments.channels import feed_channels_at_once
from rewake.deployments.containment import contain
from rewake.deployments.own_servers import ServerStarted, intercepted
from rewake.deployments.signatures import remember_signatures
from rewake.errors import ErrorCode, RewakeError
from rewake.names import some_of

WEB: Final = "web"
_IS_MAIN: Final = "__name__ == '__main__'"
_MAKES_APP: Final = "restate.app("
_RELATIVE_IMPORT: Final = re.compile(rb"^\s*from \.", re.MULTILINE)
_RESTATE_APP_QUALNAME: Final = "asgi_app.<locals>.app"
ENCRYPTION_VARIABLE: Final = "REWAKE_ENCRYPTION_KEYS"
"""Environment variable with encryption keys, see rewake.ext.sealed."""

_EXTRAS: Final = {
    "agents": "openai",
    "openai": "openai",
    "google": "adk",
    "pydantic_ai": "pydantic",
    "langchain": "langchain",
}
"""Framework -> Rewake's extra that installs it, with the needs of the SDK's extension."""


log = structlog.get_logger("rewake.deployments")


class AppImportError(RewakeError):
    """The app could not be loaded from its reference.

    traceback_text: the user's traceback without our frames; empty if their code did not raise.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str, traceback_text: str = "") -> None:
        super().__init__(code, message, hint)
        self.traceback_text = traceback_text


class Loaded(NamedTuple):
    """The apps of a module. app: serves its handlers.   web: its web app, or None."""

    app: Any
    web: Any


def load_app(ref: str) -> Any:
    """The app of `load`."""
    return load(ref).app


def load(ref: str) -> Loaded:
    """The ASGI app of `ref`: a path that ends in .py, `module` or `module:attribute`, or `FILE.py:attribute`.

    If the module has no app, all services that its import loaded from the project are served (app_services.py). If it
    makes its app of what it imports under `__main__` only, that part is run, too. An ASGI app named `web` in the module
    is its web app. If the module starts a server when imported, as a `__main__.py` does, its import ends there, and the
    server's app is used (own_servers.py).
    Raises AppImportError. Like `python FILE.py` it puts the file's directory at the front of sys.path. The current one
    comes at the end, because ASGI servers import from it: `hypercorn app/orders.py:app`.
    """
    location, attribute = _split_ref(ref)
    known = set(sys.modules)
    try:
        with intercepted():
            module = _imported(location)
            if not attribute:
                _run_main_block(module, known)
    except ServerStarted as started:
        module = _stopped_at_its_server(started, ref)
    contain()
    remember_signatures()
    feed_channels_at_once()
    web = _web_of(module)
    if attribute:
        return Loaded(_app_of_attribute(module, attribute, ref), web)
    return Loaded(_app_of_module(module, _imported_since(known), ref), web)


def _imported_since(known: set[str]) -> list[ModuleType]:
    return [sys.modules[name] for name in list(sys.modules) if name not in known]


def _imported(location: str) -> ModuleType:
    if location.endswith(".py"):
        return _import_file(Path(location))
    if Path(location).is_file() or (Path(location).is_dir() and not location.replace(".", "").isidentifier()):
        raise _not_a_python_file(location)
    return _import_module(location)


def _stopped_at_its_server(started: ServerStarted, ref: str) -> ModuleType:
    """A module with what the program had got to, and with the app that its server was to serve."""
    log.info("own_server_left_out", app=ref, server=started.server)
    module = ModuleType("rewake_app")
    trace = started.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "<module>":  # the first one: the program's own
            module.__dict__.update(trace.tb_frame.f_globals)
            break
        trace = trace.tb_next
    served = load(started.app).app if isinstance(started.app, str) else started.app
    if _as_app(served) is not None:
        module.__dict__["app"] = served
    return module


def _has_something(module: ModuleType, known: set[str]) -> bool:
    """Whether a module has an app or services. known: the modules that were there before its import."""
    has_app = any(_as_app(value) is not None for value in vars(module).values())
    return has_app or bool(served_services(module, _imported_since(known)))


def _run_main_block(module: ModuleType, known: set[str]) -> None:
    """Run what the module does under `__main__`, if it makes an app there and has nothing to serve without it."""
    path = Path(module.__file__ or "")
    if path.suffix != ".py" or _MAKES_APP not in (source := path.read_text(errors="replace")):
        return
    if _has_something(module, known):
        return
    guarded = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    body = [each for node in guarded if ast.unparse(node.test) == _IS_MAIN for each in node.body]
    try:
        exec(compile(ast.Module(body, []), path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise _import_failed(path.name, error, path) from error


def _web_of(module: ModuleType) -> Any:
    """The module's `web`, if it can be an ASGI app: a callable of scope, receive and send."""
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
    if (package := _package_of(path)) is not None:
        sys.path.insert(0, str(path.parents[len(package)]))
        return _import_module(".".join((*package, path.stem)))
    sys.path.insert(0, str(path.parent))
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(str(path.name), error, path) from error
    return module


def _package_of(path: Path) -> tuple[str, ...] | None:
    """The packages around a file that imports relatively to them; None for a file that runs by itself."""
    if not _RELATIVE_IMPORT.search(path.read_bytes()):
        return None
    parents = itertools.takewhile(lambda folder: (folder / "__init__.py").is_file(), path.parents)
    return tuple(folder.name for folder in parents)[::-1] or None


def _not_a_python_file(location: str) -> AppImportError:
    kind = "directory" if Path(location).is_dir() else "file that does not end in .py"
    hint = "Give the path of the Python file that holds your services, or module:attribute."
    return AppImportError(ErrorCode.APP_IMPORT_FAILED, f"{location!r} is a {kind}.", hint)


def _module_name(path: Path) -> str:
    """The file's stem, so that its siblings import the same module; another name if the stem is taken or not a name."""
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


def _import_failed(what: str, error: BaseException, path: Path | None = None) -> AppImportError:
    if isinstance(error, SystemExit):
        reason = f"It called sys.exit({error.code!r}) while being imported."
        hint = "Put the code that runs the program under: if __name__ == '__main__':"
    else:
        reason = traceback.format_exception_only(error)[-1].strip()
        hint = _import_hint(error, path)
    return AppImportError(
        ErrorCode.APP_IMPORT_FAILED, f"{what!r} could not be imported.\n{reason}", hint, _user_traceback(error)
    )


def _import_hint(error: BaseException, path: Path | None) -> str:
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").partition(".")[0]
        for folder in path.parents[1:4] if path and top else ():
            if (folder / top).is_dir() or (folder / f"{top}.py").is_file():
                return f"{top!r} is in {str(folder)!r}: run the file from there."
        extra = _EXTRAS.get(top)
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
    if callable(found):  # Middleware around the app is itself an ASGI app.
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
    """The app of a module, or one made from its services. imported: the modules that its import loaded."""
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
    """`value` if restate.app made it, or the app of an endpoint; otherwise None."""
    from restate.endpoint import Endpoint

    if isinstance(value, Endpoint):
        return value.app()  # type: ignore[no-untyped-call]  # The SDK leaves it untyped.
    is_app = getattr(value, "__qualname__", "") == _RESTATE_APP_QUALNAME and value.__module__ == "restate.server"
    return value if is_app else None


def _build_app(services: list[Any], ref: str) -> Any:
    import restate

    try:
        return restate.app(services, journal_value_codec=_codec())
    except ValueError as error:
        raise AppImportError(
            ErrorCode.APP_NOT_FOUND,
            f"The services of {ref!r} do not go together: {error}.",
            "Give each service its own name, or name the ones to serve: app = restate.app([...]).",
        ) from error


def _codec() -> Any:
    """The encrypting codec for an app that is made here, if the environment has keys."""
    if ENCRYPTION_VARIABLE not in os.environ:
        return None
    from rewake.ext.sealed import sealing

    return sealing()
