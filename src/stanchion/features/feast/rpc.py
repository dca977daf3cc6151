"""Feast's gRPC service for online features: the same question and the same answer as over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from ...core.clock import micros
from ...core.context import Context
from ...core.errors import MalformedRequest
from ...core.rpc import RpcMethod, RpcService
from ...core.telemetry.contract import LedgerRow
from ...core.values import Json
from ..contract import Features
from .answers import Column, Question, answered
from .messages import message

NAME = "feast.serving.ServingService"
# Feast's numbers of the states of a field.
_STATUSES = {"PRESENT": 1, "NOT_FOUND": 3, "OUTSIDE_MAX_AGE": 4}
_LISTS: Mapping[type, str] = {bool: "bool_list_val", int: "int64_list_val", float: "double_list_val"}
_MILLION = 1_000_000


def service(features: Features, ready: Callable[[], bool]) -> RpcService:
    """The service over a gated feature store."""

    async def online(ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        ask = message("GetOnlineFeaturesRequest")()
        try:
            ask.ParseFromString(given)
        except DecodeError as error:
            raise MalformedRequest("the message is no GetOnlineFeaturesRequest") from error
        columns = {**_columns(ask.entities), **_columns(ask.request_context)}
        named = ask.feature_service if ask.WhichOneof("kind") == "feature_service" else None
        question = Question(named, list(ask.features.val), columns, ask.full_feature_names)
        return _told(await answered(features, ctx, question))

    async def info(ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        await features.services(ctx)
        return _packed(message("GetFeastServingInfoResponse")(version="stanchion"))

    return RpcService(NAME, [RpcMethod("GetOnlineFeatures", online), RpcMethod("GetFeastServingInfo", info)])


def _columns(given: Any) -> dict[str, list[Json]]:
    return {name: [_json(value) for value in column.val] for name, column in given.items()}


def _json(value: Any) -> Json:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_val":
        return None
    held = getattr(value, kind)
    if kind == "bytes_val":
        return str(held.decode(errors="replace"))
    return list(held.val) if kind.endswith("_list_val") else held


def _told(columns: list[Column]) -> bytes:
    told = message("GetOnlineFeaturesResponse")(status=True)
    told.metadata.feature_names.val.extend(each.name for each in columns)
    for each in columns:
        vector = told.results.add(statuses=[_STATUSES[status] for status in each.statuses])
        for value, time in zip(each.values, each.times, strict=True):
            _set(vector.values.add(), value)
            _moment(vector.event_timestamps.add(), time)
    return _packed(told)


def _set(held: Any, value: Json) -> None:
    """Put a JSON value into a message; null leaves it unset."""
    if value is None:
        return
    if isinstance(value, bool):
        held.bool_val = value
    elif isinstance(value, int):
        held.int64_val = value
    elif isinstance(value, float):
        held.double_val = value
    elif isinstance(value, str):
        held.string_val = value
    elif isinstance(value, list) and len({type(item) for item in value}) == 1 and type(value[0]) in _LISTS:
        getattr(held, _LISTS[type(value[0])]).val.extend(value)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        held.string_list_val.val.extend(value)
        held.string_list_val.SetInParent()
    else:
        held.string_val = msgspec.json.encode(value).decode()


def _moment(held: Any, time: datetime) -> None:
    seconds, rest = divmod(micros(time), _MILLION)
    held.seconds, held.nanos = seconds, rest * 1000


def _packed(told: Any) -> bytes:
    content: bytes = told.SerializeToString()
    return content
