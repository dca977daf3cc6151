"""`/v1/models` of a system with a gateway: what clients may ask it for, behind the registry's own models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ...core.context import Context
from ...core.errors import NotAllowed
from ...core.http.door import MATCHED
from ...core.http.routes import CONTEXT, json_response
from ...gateway import Gateway, LanguageModel

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LIST, _ONE = "/v1/models", "/v1/models/"


class Models:
    """Adds the gateway's models to the list that `app` gives, and tells of one of them by its name.

    A caller who may see only the one or the other gets that; with no declared model everything is as without it.
    """

    def __init__(self, gateway: Gateway, app: ASGIApp) -> None:
        self._gateway = gateway
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "GET" or not (path == _LIST or _is_one(path)):
            await self._app(scope, receive, send)
            return
        models = await self._models(cast(Context, scope[CONTEXT]))
        if path == _LIST and models:
            await self._listed(models, scope, receive, send)
            return
        found = next((model for model in models if path == _ONE + model.name), None)
        if found is None:
            await self._app(scope, receive, send)
            return
        scope[MATCHED] = _ONE + "{model}"
        await json_response(_item(found))(scope, receive, send)

    async def _models(self, ctx: Context) -> Sequence[LanguageModel]:
        try:
            return await self._gateway.models(ctx)
        except NotAllowed:
            return ()

    async def _listed(self, models: Sequence[LanguageModel], scope: Scope, receive: Receive, send: Send) -> None:
        theirs = _Held()
        try:
            await self._app(scope, receive, theirs)
        except NotAllowed:
            theirs.status = 403
        document: dict[str, Any] = {"object": "list", "data": [], "next": None}
        if theirs.status == 200:
            document = msgspec.json.decode(theirs.body)
        elif theirs.status not in (403, 404):
            await theirs.pass_on(send)
            return
        # The gateway's come behind the last page of the registry's.
        if document.get("next") is None:
            document["data"] += [_item(model) for model in models]
        scope[MATCHED] = _LIST
        await json_response(document)(scope, receive, send)


class _Held:
    """An answer that is not sent yet."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self._messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self._messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    async def pass_on(self, send: Send) -> None:
        """Send it as it is."""
        for message in self._messages:
            await send(message)


def _is_one(path: str) -> bool:
    return path.startswith(_ONE) and "/" not in path[len(_ONE) :]


def _item(model: LanguageModel) -> dict[str, Any]:
    """As OpenAI lists a model. It has no versions here: its upstream may change it at any time."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.upstream or "stanchion",
        "versions": 0,
        "latest": "",
        "production": None,
        "shapes": list(model.shapes),
        "max_context_length": model.context,
        "max_output_tokens": model.max_output,
    }
