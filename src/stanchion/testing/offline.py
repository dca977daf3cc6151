"""A whole system inside a test: the real house on engines in memory, with no server, no key and no network."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from stanchion.core.clock import Clock, SystemClock
from stanchion.core.context import Context, Rights

if TYPE_CHECKING:
    from stanchion.core.declaration import Declarations
    from stanchion.core.module import Settings
    from stanchion.core.settings import HouseSettings
    from stanchion.system.house import House

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offline:
    """A system under test. `ctx` is a caller who may do everything."""

    ctx: Context
    house: House

    def door(self, contract: type[T]) -> T:
        """The gated module behind a contract. Raises Misconfigured if it is not in this system."""
        return self.house.door(contract)

    def caller(self, *roles: str, scopes: Iterable[str] = (), tenant: str | None = None) -> Context:
        """Another caller, with these roles and scopes and no more: for tests of what is refused."""
        rights = Rights(frozenset(roles), frozenset(scopes))
        return Context(tenant=tenant or self.ctx.tenant, principal="key:test", rights=rights)


@asynccontextmanager
async def offline(
    app: Declarations,
    *,
    tenant: str = "test",
    train: Sequence[str] = (),
    file: Path | None = None,
    clock: Clock | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[Offline]:
    """The system as `stanchion run` would serve it, on backends in memory; its handles work inside the block.

    Nothing is kept: the few files there are lie in a temporary folder, and no connection is made. Python
    functions, rules and defaults answer at once. A trained model has no version, so its rule or default answers,
    unless it is named in `train`: then it is trained in a worker process and put into production first. The worker
    runs the system's file: `file`, or the one in which the first of these models declares its data. `settings` are
    those of modules by name, as in the configuration file: `{"features": {"log_days": 30}}`.

    >>> import asyncio
    >>> from collections.abc import Sequence
    >>> from pydantic import BaseModel
    >>> from stanchion import System
    >>> from stanchion.testing import offline
    >>> app = System("letters")
    >>> class Text(BaseModel):
    ...     text: str
    >>> class Count(BaseModel):
    ...     letters: int
    >>> @app.model("count")
    ... async def count(items: Sequence[Text]) -> list[Count]:
    ...     return [Count(letters=len(item.text)) for item in items]
    >>> async def test_it_counts() -> Count:
    ...     async with offline(app) as running:
    ...         return await count.predict(running.ctx, Text(text="abc"))
    >>> asyncio.run(test_it_counts())
    Count(letters=3)

    Raises Misconfigured for a declaration that is not finished or a setting that is wrong, and what training raises.
    """
    from stanchion.system.house import House

    now = clock or SystemClock()
    with TemporaryDirectory(prefix="stanchion-test-") as folder:
        house = await House.open(
            _settings(tenant),
            Path(folder),
            clock=now,
            # Empty on purpose: what a test sees must not hang on the machine it runs on.
            environment={},
            declared=app,
            system_file=str(file or _file(app, train) or ""),
            module_settings=_of_modules(settings or {}),
        )
        try:
            running = Offline(Context(tenant, "tester", Rights(roles=frozenset({"admin"}))), house)
            for model in train:
                await _trained(running, model)
            await house.start()
            yield running
        finally:
            await house.close()


def _settings(tenant: str) -> HouseSettings:
    from stanchion.core.settings import BackendSettings, BackendsSettings, HouseSettings

    memory = BackendSettings(use="memory", url=None)
    engines = BackendsSettings(sql=memory, telemetry=memory, keyvalue=memory, blobs=memory)
    return HouseSettings.model_validate({"tenant": tenant, "backend": engines})


def _of_modules(given: Mapping[str, Mapping[str, Any]]) -> dict[str, Settings]:
    from pydantic import ValidationError

    from stanchion.core.errors import Misconfigured
    from stanchion.core.module import load

    try:
        return {name: load(name).settings.model_validate(values) for name, values in given.items()}
    except ValidationError as error:
        raise Misconfigured(f"settings of modules: {error}") from None


def _file(app: Declarations, train: Sequence[str]) -> Path | None:
    """The file that declares the data of the first model to be trained."""
    from stanchion.training import TrainingSpec

    for spec in app.of(TrainingSpec):
        if spec.model in train:
            return Path(inspect.getfile(inspect.unwrap(spec.data)))
    return None


async def _trained(running: Offline, model: str) -> None:
    """Train, and put the version into production as a first start does."""
    from stanchion.registry import Registry
    from stanchion.training import Training

    async for event in running.door(Training).train(running.ctx, model):
        if event.report is not None:
            version = event.report.version
            await running.door(Registry).promote(
                running.ctx, model, version, to="production", evidence="trained for a test"
            )
