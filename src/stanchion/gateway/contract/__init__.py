"""The gateway's contract: calls, the declarations that say who answers them, and what is told of both."""

from .calls import Account, Ask, CacheState, Piece, Reply, Shape, Usage
from .gateway import Gateway, LanguageModel, Plan, PlannedRung, RouteView, Routing, RungView
from .specs import (
    Credential,
    Kind,
    ModelSpec,
    RouteSpec,
    TokenPrice,
    UpstreamSpec,
)

__all__ = [
    "Account",
    "Ask",
    "CacheState",
    "Credential",
    "Gateway",
    "Kind",
    "LanguageModel",
    "ModelSpec",
    "Piece",
    "Plan",
    "PlannedRung",
    "Reply",
    "RouteSpec",
    "RouteView",
    "Routing",
    "RungView",
    "Shape",
    "TokenPrice",
    "UpstreamSpec",
    "Usage",
]
