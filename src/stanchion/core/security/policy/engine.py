"""Cedar behind four functions: parse, check, decide, decide in part. Any fault of the engine is a denial."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from ...context import Context
from ...contract import Action
from ...errors import FieldProblem, Misconfigured, NotAllowed
from ..contract import Verdict
from .builtin import built_in_text
from .schema import Attributes, cedar_schema

MOST_BYTES = 65_536
_NUMBERED = re.compile(r"policy(\d+)")
_CALLERS = 4_096

Policies = cedarpy.PolicySet


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on; `attributes` are those of the schema besides `tenant`."""

    type: str
    id: str
    tenant: str
    attributes: Mapping[str, str | int | bool | list[str]]


class Engine:
    """One schema and the built-in policies, parsed once: a decision costs about 100 us, a parse about 10 ms."""

    def __init__(self, actions: Iterable[Action], *, attributes: Attributes | None = None) -> None:
        known = list(actions)
        self.actions: dict[str, Action] = {action.name: action for action in known}
        self._schema = cedarpy.Schema.from_str(cedar_schema(known, attributes))
        self.text = built_in_text()
        self.built_in = cedarpy.PolicySet.from_str(self.text)
        # Callers with their action, parsed: only the resource is added for each decision.
        self._callers: dict[tuple[object, ...], Any] = {}

    def parse(self, text: str) -> Policies:
        """The built-in policies and a tenant's own. Raises Misconfigured if the text is no Cedar."""
        try:
            return self.built_in.with_added_str(text)
        except ValueError as error:
            raise Misconfigured(f"a stored policy set cannot be parsed: {error}") from error

    def faults(self, text: str) -> list[FieldProblem]:
        """Everything that is wrong with a tenant's own policies; nothing if they may be used."""
        if len(text.encode()) > MOST_BYTES:
            return [FieldProblem("$.text", f"is longer than {MOST_BYTES} bytes")]
        found = cedarpy.validate_policies(text, self._schema, release_gil=True)
        faults = [FieldProblem("$.text", _place(fault.policy_id) + fault.error) for fault in found.errors]
        if not faults and self.parse(text).templates():
            faults.append(FieldProblem("$.text", "holds a template (?principal or ?resource), which would never apply"))
        return faults

    def decide(self, policies: Policies, ctx: Context, action: Action, resource: Resource) -> Verdict:
        """What the policies say to this call. An error in any policy denies: a forbid might have been lost."""
        try:
            result = cedarpy.is_authorized(
                {
                    "principal": {"type": "Caller", "id": ctx.principal},
                    "action": {"type": "Action", "id": action.name},
                    "resource": {"type": resource.type, "id": resource.id},
                    "context": {"names": names_of(action)},
                },
                policies,
                self._caller(ctx, action).with_added_json_str(json.dumps([_resource(resource)])),
            )
        except ValueError as error:
            return Verdict(allowed=False, reasons=(), errors=(str(error),))
        errors = tuple(result.diagnostics.errors)
        titles = result.diagnostics.id_annotations_by_reason
        reasons = sorted(self._title(reason, titles.get(reason)) for reason in result.diagnostics.reasons)
        return Verdict(allowed=result.allowed and not errors, reasons=tuple(reasons), errors=errors)

    def residuals(self, policies: Policies, ctx: Context, action: Action) -> dict[str, Any] | None:
        """What is left of each policy while the resource is unknown; None if the call is denied for every resource.

        Raises NotAllowed if the engine does not account for every policy.
        """
        try:
            result = cedarpy.is_authorized_partial(
                {
                    "principal": f"Caller::{_quoted(ctx.principal)}",
                    "action": f"Action::{_quoted(action.name)}",
                    "resource": None,
                    "context": {"names": names_of(action)},
                },
                policies,
                self._caller(ctx, action),
            )
        except ValueError as error:
            raise NotAllowed(f"the policies for {action.name} could not be evaluated") from error
        if result.decision is cedarpy.Decision.Deny and not result.diagnostics.errors:
            return None
        if result.diagnostics.errors or len(result.residuals) != len(policies):
            raise NotAllowed(f"the policies for {action.name} could not be evaluated")
        return dict(result.residuals)

    def _caller(self, ctx: Context, action: Action) -> Any:
        key = (ctx.tenant, ctx.principal, ctx.rights, action.name)
        entities = self._callers.get(key)
        if entities is None:
            if len(self._callers) >= _CALLERS:
                self._callers.clear()
            document = json.dumps([_caller(ctx), _action(action)])
            entities = self._callers[key] = cedarpy.Entities.from_json_str(document)
        return entities

    def _title(self, policy: str, title: str | None) -> str:
        number = _NUMBERED.fullmatch(policy)
        own = -1 if number is None else int(number[1]) - len(self.built_in)
        return f"tenant:{title or own}" if own >= 0 else title or policy


def names_of(action: Action) -> list[str]:
    """The scopes that name an action."""
    return ["*", f"{action.name.partition(':')[0]}:*", action.name]


def _caller(ctx: Context) -> dict[str, object]:
    attributes: dict[str, object] = {
        "tenant": ctx.tenant,
        "kind": ctx.principal.partition(":")[0],
        "roles": sorted(ctx.rights.roles),
        "scopes": sorted(ctx.rights.scopes),
    }
    if ctx.rights.limit is not None:
        attributes["limit"] = sorted(ctx.rights.limit)
    return {"uid": {"type": "Caller", "id": ctx.principal}, "attrs": attributes, "parents": []}


def _action(action: Action) -> dict[str, object]:
    groups = (f"module:{action.name.partition(':')[0]}", f"effect:{action.effect}")
    parents = [{"type": "Action", "id": group} for group in groups]
    return {"uid": {"type": "Action", "id": action.name}, "attrs": {}, "parents": parents}


def _resource(resource: Resource) -> dict[str, object]:
    attributes = {**resource.attributes, "tenant": resource.tenant}
    return {"uid": {"type": resource.type, "id": resource.id}, "attrs": attributes, "parents": []}


def _quoted(text: str) -> str:
    # Cedar takes an id only in the one form that it would write itself.
    plain = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    return '"' + "".join(plain.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text) + '"'


def _place(policy: str) -> str:
    number = _NUMBERED.fullmatch(policy)
    return f"policy {int(number[1]) + 1}: " if number is not None else ""
