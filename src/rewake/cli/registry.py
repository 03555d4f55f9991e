"""`rewake services` and `rewake deployments`: what is registered, as the admin API tells it."""

from __future__ import annotations

from typing import Any

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment
from rewake.cli.exits import Group
from rewake.cli.tables import print_facts, print_json, print_table
from rewake.cli.times import time_and_age


@click.group(cls=Group)
def services() -> None:
    """List and show services."""


@services.command("list")
@admin_options
def list_services(admin: AdminClient, as_json: bool) -> None:
    """List services with their handlers."""
    found = sorted(admin.get("/services")["services"], key=lambda service: str(service["name"]))
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No services yet: start them with `rewake run FILE.py`.", err=True)
    else:
        columns = ("name", "type", "revision", "public", "deployment", "handlers")
        print_table(columns, [_service_row(service) for service in found])


def _service_row(service: dict[str, Any]) -> tuple[Any, ...]:
    handlers = ", ".join(sorted(handler["name"] for handler in service["handlers"]))
    return service["name"], service["ty"], service["revision"], service["public"], service["deployment_id"], handlers


@services.command("show")
@click.argument("name")
@admin_options
def show_service(name: str, admin: AdminClient, as_json: bool) -> None:
    """Show one service: its handlers and its effective settings."""
    service = admin.get(f"/services/{segment(name)}")
    if as_json:
        print_json(service)
        return
    click.echo(f"{service['name']}  {service['ty']}\n")
    policy = service.get("retry_policy", {})
    print_facts(
        (
            ("documentation", service.get("documentation")),
            ("deployment", service["deployment_id"]),
            ("revision", service["revision"]),
            ("public", service["public"]),
            ("inactivity timeout", service.get("inactivity_timeout")),
            ("abort timeout", service.get("abort_timeout")),
            ("journal retention", service.get("journal_retention")),
            ("idempotency retention", service.get("idempotency_retention")),
            ("workflow retention", service.get("workflow_completion_retention")),
            ("retries", _retries(policy) if policy else None),
        ),
        indent="  ",
    )
    click.echo()
    columns = ("handler", "kind", "public", "input", "output", "documentation")
    print_table(
        columns, [_handler_row(handler) for handler in sorted(service["handlers"], key=lambda h: str(h["name"]))]
    )


def _retries(policy: dict[str, Any]) -> str:
    attempts = policy.get("max_attempts")
    count = (
        "without end" if attempts is None else f"{attempts} attempts, then {policy.get('on_max_attempts', '?').lower()}"
    )
    delays = (
        f"{policy.get('initial_interval')} x {policy.get('exponentiation_factor')} up to {policy.get('max_interval')}"
    )
    return f"{count}; {delays}"


def _handler_row(handler: dict[str, Any]) -> tuple[Any, ...]:
    return (
        handler["name"],
        handler.get("ty"),
        handler.get("public"),
        handler.get("input_description"),
        handler.get("output_description"),
        handler.get("documentation", ""),
    )


@click.group(cls=Group)
def deployments() -> None:
    """List and show deployments."""


@deployments.command("list")
@admin_options
def list_deployments(admin: AdminClient, as_json: bool) -> None:
    """List where handlers run."""
    found = sorted(admin.get("/deployments")["deployments"], key=lambda item: str(item["created_at"]))
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No deployments yet: start one with `rewake run FILE.py`.", err=True)
    else:
        print_table(("id", "address", "created", "services"), [_deployment_row(item) for item in found])


def _deployment_row(item: dict[str, Any]) -> tuple[Any, ...]:
    served = ", ".join(f"{service['name']} ({service['revision']})" for service in item["services"])
    return item["id"], _address(item), time_and_age(item["created_at"]), served


def _address(item: dict[str, Any]) -> str | None:
    return item.get("uri") or item.get("arn")


@deployments.command("show")
@click.argument("deployment_id", metavar="ID")
@admin_options
def show_deployment(deployment_id: str, admin: AdminClient, as_json: bool) -> None:
    """Show one deployment and the services it has."""
    item = admin.get(f"/deployments/{segment(deployment_id)}")
    if as_json:
        print_json(item)
        return
    click.echo(f"{item['id']}  {_address(item)}\n")
    print_facts(
        (
            ("created", time_and_age(item["created_at"])),
            ("protocol", item.get("protocol_type")),
            ("versions", f"{item['min_protocol_version']} to {item['max_protocol_version']}"),
            ("sdk", item.get("sdk_version")),
            ("http", item.get("http_version")),
            ("headers", item.get("additional_headers")),
            ("metadata", item.get("metadata")),
        ),
        indent="  ",
    )
    click.echo()
    rows = [(service["name"], service.get("ty"), service["revision"]) for service in item["services"]]
    print_table(("service", "type", "revision"), rows)
