"""LightGBM and XGBoost estimators in ONNX: their converters are made known to skl2onnx when one is met.

So they work alone, in a pipeline and inside any meta-estimator. The libraries are loaded by the declaration that
uses them, never here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...core.errors import InvalidInput

_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


def convertible(estimator: Any) -> Any:
    """The fitted estimator in a form that skl2onnx converts: itself, or a copy where XGBoost knows columns by name.

    The converters of what it is made of are registered. Raises InvalidInput where onnxmltools is missing.
    """
    _make_known(estimator)
    if not any(_named(each) for each in _parts(estimator)):
        return estimator
    copied = copy.deepcopy(estimator)
    for each in _parts(copied):
        if _named(each):
            # The converter wants places; the original keeps its names, by which the parity check asks it.
            each.get_booster().feature_names = None
    return copied


def _named(part: Any) -> bool:
    """Whether it is an XGBoost estimator that was fitted on named columns."""
    fitted = hasattr(part, "get_booster") and part.__sklearn_is_fitted__()
    return fitted and part.get_booster().feature_names is not None


def _make_known(estimator: Any) -> None:
    for each in _parts(estimator):
        add = _ADDERS.get(f"{type(each).__module__.partition('.')[0]}.{type(each).__name__}")
        if add is not None:
            try:
                add(type(each))
            except ImportError as error:
                raise InvalidInput(
                    f"{type(each).__name__} is exported by onnxmltools, which is not installed",
                    next_step="Install the extra: pip install 'stanchion[boosting]'.",
                ) from error


def _parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator among its parameters, at any depth."""
    yield estimator
    for each in estimator.get_params(deep=True).values() if hasattr(estimator, "get_params") else ():
        if hasattr(each, "get_params") and not isinstance(each, type):
            yield each


def _lightgbm(kind: type[Any]) -> None:
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    update_registered_converter(
        kind,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options=_OPTIONS,
    )


def _xgboost(kind: type[Any]) -> None:
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    update_registered_converter(
        kind,
        "XGBoostXGBClassifier",
        calculate_linear_classifier_output_shapes,
        convert_xgboost,
        options=_OPTIONS,
    )


_ADDERS: Mapping[str, Callable[[type[Any]], None]] = {
    "lightgbm.LGBMClassifier": _lightgbm,
    "xgboost.XGBClassifier": _xgboost,
    "xgboost.XGBRFClassifier": _xgboost,
}
