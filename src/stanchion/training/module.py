"""How the training module is built: a worker process for each job, folders under the module's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.module import Module, Parts, Settings
from ..features import Features
from ..registry import Registry
from ..review import Reviews
from .contract import Training, TrainingSpec

if TYPE_CHECKING:
    from ..core.http import Routes
    from .service import TrainingService


async def build(parts: Parts, settings: Settings) -> TrainingService:
    """The service for the declarations of this system."""
    from .backends.code import code_version
    from .backends.folders import FolderWorkspace
    from .backends.process import ProcessTrainer
    from .service import TrainingService

    return TrainingService(
        specs=[spec for spec in parts.declared if isinstance(spec, TrainingSpec)],
        registry=parts.door(Registry),
        features=parts.find(Features),
        reviews=parts.find(Reviews),
        trainer=ProcessTrainer(environment=os.environ),
        workspace=FolderWorkspace(Path(parts.folder) / "training"),
        system_file=Path(parts.system_file),
        code_version=lambda: code_version(Path(parts.system_file)),
        tenant=parts.tenant,
        clock=parts.clock,
    )


def routes(door: Training) -> Routes:
    """The HTTP routes; loaded here because they bring FastAPI."""
    from .routes import routes as built

    return built(door)


MODULE = Module(
    name="training",
    contract=Training,
    build=build,
    needs=(Registry,),
    wants=(Features, Reviews),
    declares=(TrainingSpec,),
    routes=routes,
)
