"""The feature store's contract: online values, vectors for models, training sets and materialisation."""

from __future__ import annotations

from typing import Protocol

from .aggregates import count, distinct, maximum, mean, minimum, total
from .checking import check_on_demand, check_service, check_source, check_view, feature_fields
from .declarations import Aggregate, OnDemandSpec, ServiceSpec, SourceSpec, Table, ViewSpec
from .monitoring import (
    FieldHealth,
    FieldSkew,
    Lineage,
    MonitoredFeatures,
    Node,
    SkewExample,
    SkewReport,
    ViewHealth,
)
from .offline import OfflineFeatures, Progress
from .online import OnlineFeatures, Reading, Row, View, Written
from .serving import Logged, ServedFeatures, Service, Vector

__all__ = [
    "Aggregate",
    "Features",
    "FieldHealth",
    "FieldSkew",
    "Lineage",
    "Logged",
    "MonitoredFeatures",
    "Node",
    "OfflineFeatures",
    "OnDemandSpec",
    "OnlineFeatures",
    "Progress",
    "Reading",
    "Row",
    "ServedFeatures",
    "Service",
    "ServiceSpec",
    "SkewExample",
    "SkewReport",
    "SourceSpec",
    "Table",
    "Vector",
    "View",
    "ViewHealth",
    "ViewSpec",
    "Written",
    "check_on_demand",
    "check_service",
    "check_source",
    "check_view",
    "count",
    "distinct",
    "feature_fields",
    "maximum",
    "mean",
    "minimum",
    "total",
]


class Features(OnlineFeatures, ServedFeatures, OfflineFeatures, MonitoredFeatures, Protocol):
    """The feature store of the caller's tenant."""
