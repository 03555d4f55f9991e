"""`rewake services` and `rewake deployments`: show and change the registry, over the admin API.

All of it works against a Restate server as well.
"""

from __future__ import annotations

from typing import Any

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.exits import Group
from rewake.cli.tables import print_facts, print_json, print_table
from rewake.cli.times import time_and_age
from rewake.errors import ErrorCode, RewakeError


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
    """List, show, register and remove deployments."""


@deployments.command("list")
@admin_options
def list_deployments(admin: AdminClient, as_json: bool) -> None:
    """List the deployments, where handlers run."""
    found = sorted(admin.get("/deployments")["deployments"], key=lambda item: str(item["created_at"]))
    if as_json:
        print_json(found)
    elif not found:
        click.echo(
            "No deployments yet: `rewake run FILE.py` starts one, `rewake deployments register URL` adds one.", err=True
        )
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


@deployments.command()
@click.argument("url", metavar="URL")
@click.option("--force", is_flag=True, help="Register it again if it is known, even with breaking changes.")
@click.option("--breaking", is_flag=True, help="Let a service change its type.")
@click.option("--dry-run", is_flag=True, help="Only show what would be registered.")
@click.option("--http1", is_flag=True, help="Call it over HTTP/1.1, one message each way.")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="Sent with every request; may be repeated.")
@click.option("--metadata", multiple=True, metavar="K=V", help="Kept with the deployment; may be repeated.")
@admin_options
def register(
    url: str,
    force: bool,
    breaking: bool,
    dry_run: bool,
    http1: bool,
    headers: tuple[str, ...],
    metadata: tuple[str, ...],
    admin: AdminClient,
    as_json: bool,
) -> None:
    """Register what the endpoint at URL serves; new calls go there.

    Running invocations stay with the deployment they began on.
    """
    known = {item["id"] for item in admin.get("/deployments")["deployments"]}
    body = {
        "uri": url,
        "additional_headers": _pairs("--header", headers) or None,
        "metadata": _pairs("--metadata", metadata),
        "use_http_11": http1,
        "force": force,
        "breaking": breaking,
        "dry_run": dry_run,
    }
    answer = admin.ask("POST", "/deployments", body)
    if as_json:
        print_json(answer)
        return
    is_known = answer["id"] in known
    done = ("registered anew" if force else "unchanged, registered before") if is_known else "registered"
    would = "would be " if dry_run else ""
    shown_id = "" if dry_run and not is_known else f"{answer['id']}  "
    click.echo(f"{shown_id}{url} {would}{done}\n")
    rows = [(service["name"], service.get("ty"), service["revision"]) for service in answer["services"]]
    print_table(("service", "type", "revision"), rows)


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint=option)
        pairs[name] = value
    return pairs


@deployments.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--force", is_flag=True, help="Even while services or open invocations need it.")
@admin_options
def remove(deployment_id: str, force: bool, admin: AdminClient, as_json: bool) -> None:
    """Remove a deployment that nothing needs any more.

    With --force, its services go back to the deployment before it, or are removed; invocations that began on it cannot
    continue.
    """
    item = admin.get(f"/deployments/{segment(deployment_id)}")
    if not force:
        _check_unused(admin, item)
    admin.ask("DELETE", f"/deployments/{segment(deployment_id)}", force="true")
    if as_json:
        print_json({"removed": deployment_id})
    else:
        click.echo(f"{deployment_id}  {_address(item)} is removed")


def _check_unused(admin: AdminClient, item: dict[str, Any]) -> None:
    """Raise RewakeError RW2013 while it is needed. Checked here, because a Restate server removes only by force."""
    latest = sorted(each["name"] for each in admin.get("/services")["services"] if each["deployment_id"] == item["id"])
    (pinned,) = admin.query(
        "select count(*) as count from sys_invocation "
        f"where pinned_deployment_id = {sql_text(item['id'])} and status != 'completed'"
    )
    reasons = [f"It serves the latest revision of {', '.join(latest)}."] if latest else []
    if pinned["count"]:
        reasons.append(f"{pinned['count']} open invocation{'s are' if pinned['count'] > 1 else ' is'} pinned to it.")
    if reasons:
        raise RewakeError(
            ErrorCode.DEPLOYMENT_IN_USE,
            "\n".join([f"The deployment {item['id']} at {_address(item)!r} is still in use.", *reasons]),
            "Register a newer deployment of its services and wait; or use --force.",
            http_status=409,
        )
