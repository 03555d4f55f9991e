"""Finds the services to serve for a module without an app: its own, and those of the project's modules it imported.

A program may import a handler and call it, and mention the handler's service only under `__main__`. So this also looks
at each module that the import loaded from the project, and at the services of imported handlers. Called by
app_loader.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_INSTALLED: Final = ("/site-packages/", "/dist-packages/")


def is_service(value: Any) -> bool:
    """Whether `value` is a service, a virtual object or a workflow of the SDK."""
    from restate import Service, VirtualObject, Workflow

    return isinstance(value, (Service, VirtualObject, Workflow))


def served_services(module: ModuleType, imported: Iterable[ModuleType]) -> list[Any]:
    """The services to serve for `module`, each once, the module's own first.

    imported: the modules that the import of `module` loaded. Their services are left out if the name is taken.
    """
    services = _services_in(module)
    taken = {service.name for service in services}
    called = _services_behind_handlers(module)
    folders = _project_folders(module)
    for other in imported:
        is_ours = _is_of_project(other, folders)
        if not is_ours and called <= taken:
            continue  # a framework loads thousands of modules, and a restarted worker waits for this loop
        for service in _services_in(other):
            if service.name not in taken and (is_ours or service.name in called):
                taken.add(service.name)
                services.append(service)
    return services


def _services_in(module: ModuleType) -> list[Any]:
    """The services in a module's globals, each once."""
    members = list(vars(module).items())
    return list(
        {id(value): value for name, value in members if not name.startswith("__") and is_service(value)}.values()
    )


def _services_behind_handlers(module: ModuleType) -> set[str]:
    """Names of the services whose handlers are in the module's globals."""
    from restate.handler import handler_from_callable

    names = set()
    for value in vars(module).values():
        if callable(value) and hasattr(value, "__dict__"):
            try:
                names.add(handler_from_callable(value).service_tag.name)
            except (ValueError, TypeError):  # not a handler
                continue
    return names


def _project_folders(module: ModuleType) -> list[Path]:
    """The folder of `module` and the working directory."""
    own = getattr(module, "__file__", None)
    return [Path.cwd(), *([Path(own).resolve().parent] if own else [])]


def _is_of_project(other: ModuleType, folders: list[Path]) -> bool:
    """Whether `other` lies below one of `folders` and is not an installed package."""
    file = getattr(other, "__file__", None)
    if not file or any(part in file for part in _INSTALLED):
        return False
    return any(Path(file).resolve().is_relative_to(folder) for folder in folders)
