"""Trains the sounds network in seconds and writes the folder that `stanchion models register` takes.

Run: python examples/audio_classification/train.py [FOLDER]. The sounds are generated: pitch, loudness and background
noise vary, the kind is the timbre. The spectrum is part of the graph, as products with sines and cosines: so serving
needs no code for it, and training sees exactly what serving will.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, compose, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from system import KINDS, LAYOUT, RATE, SAMPLES, Clip, Kind

SEED, EACH = 7, 300
FRAME = 128
OPSET = {"": 18, "ai.onnx.ml": 3}
Array = numpy.ndarray[Any, numpy.dtype[Any]]


def sound(kind: str, draw: numpy.random.Generator) -> Array:
    """One sound of that kind, float32 from -1 to 1."""
    time = numpy.arange(SAMPLES) / RATE
    pitch, phase = draw.uniform(150, 900), draw.uniform(0, 2 * numpy.pi)
    if kind == "noise":
        wave = draw.normal(scale=0.4, size=SAMPLES)
    elif kind == "chirp":
        wave = numpy.sin(2 * numpy.pi * (pitch * time + draw.uniform(800, 2000) * time**2) + phase)
    else:
        wave = numpy.sin(2 * numpy.pi * pitch * time + phase)
    wave = numpy.sign(wave) if kind == "square" else wave
    loud = draw.uniform(0.2, 0.9) * wave + draw.normal(scale=draw.uniform(0, 0.05), size=SAMPLES)
    return numpy.clip(loud, -1, 1).astype(numpy.float32)


def sounds(each: int, seed: int) -> tuple[Array, Array]:
    """So many of each kind, and the place of each one's kind in KINDS."""
    draw = numpy.random.default_rng(seed)
    made = [(sound(kind, draw), place) for place, kind in enumerate(KINDS) for _ in range(each)]
    return numpy.stack([wave for wave, _ in made]), numpy.array([place for _, place in made])


def spectrum() -> onnx.ModelProto:
    """Samples to features: the mean and the greatest logarithmic power of each frequency over short frames."""
    turns = numpy.outer(numpy.arange(FRAME), numpy.arange(FRAME // 2 + 1)) * 2 * numpy.pi / FRAME
    window = numpy.hanning(FRAME)[:, numpy.newaxis]
    constants = {
        "frames": numpy.array([-1, SAMPLES // FRAME, FRAME], dtype=numpy.int64),
        "cosines": (window * numpy.cos(turns)).astype(numpy.float32),
        "sines": (window * numpy.sin(turns)).astype(numpy.float32),
        "least": numpy.array([1e-4], dtype=numpy.float32),
        "time": numpy.array([1], dtype=numpy.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["samples", "frames"], ["framed"]),
        helper.make_node("MatMul", ["framed", "cosines"], ["real"]),
        helper.make_node("MatMul", ["framed", "sines"], ["imaginary"]),
        helper.make_node("Mul", ["real", "real"], ["real2"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"]),
        helper.make_node("Add", ["real2", "imaginary2"], ["power"]),
        helper.make_node("Add", ["power", "least"], ["raised"]),
        helper.make_node("Log", ["raised"], ["log"]),
        helper.make_node("ReduceMean", ["log", "time"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", ["log", "time"], ["most"], keepdims=0),
        helper.make_node("Concat", ["mean", "most"], ["features"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "spectrum",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, [None, SAMPLES])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, FRAME + 2])],
        [numpy_helper.from_array(numpy.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in OPSET.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def trained() -> tuple[bytes, dict[str, float], str]:
    """The graph, how well it tells sounds apart that it never heard, and the digest of its data."""
    waves, target = sounds(EACH, SEED)
    front = spectrum()
    session = onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])
    features = session.run(["features"], {"samples": waves})[0]
    train, test, train_target, test_target = train_test_split(
        features, target, test_size=0.25, stratify=target, random_state=SEED
    )
    network = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=200, random_state=SEED))
    network.fit(train, train_target)
    back = to_onnx(
        network,
        initial_types=[("spectrum", FloatTensorType([None, FRAME + 2]))],
        options={"zipmap": False},
        target_opset=OPSET,
    )
    # skl2onnx names the oldest operator sets that would do; both halves must name the same ones.
    back.ir_version = front.ir_version
    del back.opset_import[:]
    back.opset_import.extend(front.opset_import)
    whole = compose.merge_models(front, back, io_map=[("features", "spectrum")], outputs=["probabilities"])
    accuracy = float(accuracy_score(test_target, network.predict(test)))
    digest = hashlib.sha256(waves.tobytes() + target.tobytes()).hexdigest()
    return whole.SerializeToString(), {"accuracy": accuracy, "test_rows": float(len(test))}, digest


def written(folder: Path) -> dict[str, float]:
    """Train, and write the graph and its description into the folder; the measures."""
    content, metrics, digest = trained()
    described = {
        "model": "sounds",
        "input_schema": Clip.model_json_schema(),
        "output_schema": Kind.model_json_schema(mode="serialization"),
        "tensors": LAYOUT,
        "rungs": {"primary": "model.onnx"},
        "metrics": metrics,
        "parameters": {"estimator": "MLPClassifier", "hidden": 32, "frame": FRAME},
        "lineage": {
            "data_sha256": digest,
            "data_rows": EACH * len(KINDS),
            "data_source": "generated sounds",
            "code_version": "sha256:" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
            "seed": SEED,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.json").write_bytes(msgspec.json.format(msgspec.json.encode(described)))
    (folder / "card.md").write_text(
        f"# sounds\n\nTells {', '.join(KINDS)} apart by the first half second; accuracy {metrics['accuracy']:.3f} on "
        "generated sounds it never heard. Not for speech, music or recordings of the world: it knows four timbres.\n"
    )
    return metrics


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("sounds")
    print(f"{place}: accuracy {written(place)['accuracy']:.3f}")
