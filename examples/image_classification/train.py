"""Trains the digits network in seconds and writes the folder that `stanchion models register` takes.

Run: python examples/image_classification/train.py [FOLDER]. The data are the 1,797 digits of 8 by 8 pixels that
scikit-learn ships (Alpaydin and Kaynak 1998, UCI Machine Learning Repository).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec
import numpy
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from system import LAYOUT, Digit, Scan

SEED = 7


def trained() -> tuple[bytes, dict[str, float]]:
    """The graph, and how well it reads digits that it never saw."""
    data = load_digits()
    pixels = (data.data / 16).astype(numpy.float32)
    train, test, train_target, test_target = train_test_split(
        pixels, data.target, test_size=0.25, stratify=data.target, random_state=SEED
    )
    network = MLPClassifier((64,), max_iter=300, random_state=SEED).fit(train, train_target)
    model = to_onnx(
        network,
        initial_types=[("pixels", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    accuracy = float(accuracy_score(test_target, network.predict(test)))
    return model.SerializeToString(), {"accuracy": accuracy, "test_rows": float(len(test))}


def written(folder: Path) -> dict[str, float]:
    """Train, and write the graph and its description into the folder; the measures."""
    content, metrics = trained()
    data = load_digits()
    described = {
        "model": "digits",
        "input_schema": Scan.model_json_schema(),
        "output_schema": Digit.model_json_schema(mode="serialization"),
        "tensors": LAYOUT,
        "rungs": {"primary": "model.onnx"},
        "metrics": metrics,
        "parameters": {"estimator": "MLPClassifier", "hidden": 64},
        "lineage": {
            "data_sha256": hashlib.sha256(data.data.tobytes() + data.target.tobytes()).hexdigest(),
            "data_rows": len(data.target),
            "data_source": "scikit-learn digits",
            "code_version": "sha256:" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
            "seed": SEED,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.json").write_bytes(msgspec.json.format(msgspec.json.encode(described)))
    (folder / "card.md").write_text(
        f"# digits\n\nReads one handwritten digit of 8 by 8 pixels; accuracy {metrics['accuracy']:.3f} on digits it "
        "never saw. Not for other scripts or several digits; whatever the picture shows, it answers with a digit.\n"
    )
    return metrics


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("digits")
    print(f"{place}: accuracy {written(place)['accuracy']:.3f}")
