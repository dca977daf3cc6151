"""A model behind any HTTP endpoint: the request is a filled template, the answer is read by places in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from ...core.context import Context
from ...core.errors import InvalidInput, Misconfigured, Unavailable
from ...core.values import Json
from ..contract import ServedSpec
from ..contract.sources import Endpoint
from .outside import Outside

_SLOT = re.compile(r"\{(\w+)\}")
_ALL = "instances"


class EndpointModel:
    """The model behind one `Endpoint` declaration. Raises Misconfigured for a template or a place that cannot be."""

    def __init__(self, spec: ServedSpec, endpoint: Endpoint, outside: Outside) -> None:
        self._spec = spec
        self._endpoint = endpoint
        self._outside = outside
        fields = set(spec.input.model_fields)
        named = _slots(endpoint.body) | _slots(endpoint.each)
        own = set() if endpoint.each is None else {_ALL}
        if named - fields - own:
            raise Misconfigured(f"the template of {spec.name} has {{{min(named - fields - own)}}}, which is no field")
        strange = set(endpoint.answer) - set(spec.output.model_fields)
        if strange:
            raise Misconfigured(f"the endpoint of {spec.name} fills {min(strange)}, which is no output field")

    async def predict(self, ctx: Context, items: Sequence[pydantic.BaseModel]) -> list[Mapping[str, Json]]:
        """The outcomes, in order. Raises Unavailable, DeadlineExceeded."""
        instances = [item.model_dump(mode="json") for item in items]
        try:
            if self._endpoint.each is not None:
                answers = await self._together(ctx, instances, self._endpoint.each)
            else:
                answers = await self._apart(ctx, instances)
        except InvalidInput as error:
            # The instance fits the declared type, so the caller cannot correct what the endpoint refused.
            raise Unavailable(error.detail) from error
        return [self._outcome(each) for each in answers]

    async def _apart(self, ctx: Context, instances: Sequence[Mapping[str, Json]]) -> list[Any]:
        room = asyncio.Semaphore(self._endpoint.at_once)

        async def one(instance: Mapping[str, Json]) -> Any:
            async with room:
                return await self._sent(ctx, _filled(self._endpoint.body, instance))

        tasks = [asyncio.ensure_future(one(each)) for each in instances]
        try:
            return await asyncio.gather(*tasks)
        finally:
            # The first failure ends the call, so the others' answers are of no use.
            for task in tasks:
                task.cancel()

    async def _together(
        self, ctx: Context, instances: Sequence[Mapping[str, Json]], each: Mapping[str, Json]
    ) -> list[Any]:
        rendered = [_filled(each, instance) for instance in instances]
        answer = await self._sent(ctx, _filled(self._endpoint.body, {_ALL: rendered}))
        found = _at(answer, self._endpoint.instances or "")
        if not isinstance(found, list) or len(found) != len(instances):
            raise Unavailable(f"the endpoint of {self._spec.name} did not give one answer for each instance")
        return found

    async def _sent(self, ctx: Context, body: Json) -> Any:
        return await self._outside.call(ctx, self._endpoint.method, "", body)

    def _outcome(self, answer: Any) -> Mapping[str, Json]:
        values = {name: _at(answer, place) for name, place in self._endpoint.answer.items()}
        try:
            dumped: Mapping[str, Json] = self._spec.output.model_validate(values).model_dump(mode="json")
        except pydantic.ValidationError as error:
            raise Unavailable(
                f"the endpoint of {self._spec.name} did not give a {self._spec.output.__name__}"
            ) from error
        return dumped


def _slots(template: object) -> set[str]:
    """The fields that a template names."""
    if isinstance(template, str):
        match = _SLOT.fullmatch(template)
        return {match[1]} if match else set()
    if isinstance(template, Mapping):
        return {name for each in template.values() for name in _slots(each)}
    return {name for each in template for name in _slots(each)} if isinstance(template, list | tuple) else set()


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with every slot replaced by its value. Values are never read as templates themselves."""
    if isinstance(template, str):
        match = _SLOT.fullmatch(template)
        return values.get(match[1], template) if match else template
    if isinstance(template, Mapping):
        return {name: _filled(each, values) for name, each in template.items()}
    return [_filled(each, values) for each in template] if isinstance(template, list | tuple) else template


def _at(answer: Any, place: str) -> Any:
    """What stands at a place such as `result.scores.0`. Raises Unavailable."""
    found = answer
    for part in place.split(".") if place else ():
        if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            raise Unavailable(f"the answer of the endpoint has nothing at {place}")
    return found
