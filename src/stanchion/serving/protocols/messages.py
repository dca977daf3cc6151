"""The gRPC messages of the Open Inference Protocol, described here by field name, number and type.

Made at run time in a pool of their own: a process that also loads a client's generated messages of the same names
keeps both. Sources for names and numbers: the Open Inference Protocol's `inference` package and Triton's extension
of it. Written `number name type`; `*` repeats the field, `map` is a map from text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE = "inference"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
# A name with dots is a message within a message. `?` at a field's head makes it one of the only choice of its message.
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("1 live bool",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("1 ready bool",),
    "ModelReadyRequest": ("1 name string", "2 version string"),
    "ModelReadyResponse": ("1 ready bool",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("1 name string", "2 version string", "3 extensions *string"),
    "ModelMetadataRequest": ("1 name string", "2 version string"),
    "ModelMetadataResponse": (
        "1 name string",
        "2 versions *string",
        "3 platform string",
        "4 inputs *ModelMetadataResponse.TensorMetadata",
        "5 outputs *ModelMetadataResponse.TensorMetadata",
    ),
    "ModelMetadataResponse.TensorMetadata": ("1 name string", "2 datatype string", "3 shape *int64"),
    "InferParameter": (
        "?1 bool_param bool",
        "?2 int64_param int64",
        "?3 string_param string",
        "?4 double_param double",
        "?5 uint64_param uint64",
    ),
    "InferTensorContents": (
        "1 bool_contents *bool",
        "2 int_contents *int32",
        "3 int64_contents *int64",
        "4 uint_contents *uint32",
        "5 uint64_contents *uint64",
        "6 fp32_contents *float",
        "7 fp64_contents *double",
        "8 bytes_contents *bytes",
    ),
    "ModelInferRequest": (
        "1 model_name string",
        "2 model_version string",
        "3 id string",
        "4 parameters map InferParameter",
        "5 inputs *ModelInferRequest.InferInputTensor",
        "6 outputs *ModelInferRequest.InferRequestedOutputTensor",
        "7 raw_input_contents *bytes",
    ),
    "ModelInferRequest.InferInputTensor": (
        "1 name string",
        "2 datatype string",
        "3 shape *int64",
        "4 parameters map InferParameter",
        "5 contents InferTensorContents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": ("1 name string", "2 parameters map InferParameter"),
    "ModelInferResponse": (
        "1 model_name string",
        "2 model_version string",
        "3 id string",
        "4 parameters map InferParameter",
        "5 outputs *ModelInferResponse.InferOutputTensor",
        "6 raw_output_contents *bytes",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "1 name string",
        "2 datatype string",
        "3 shape *int64",
        "4 parameters map InferParameter",
        "5 contents InferTensorContents",
    ),
    "ModelStreamInferResponse": ("1 error_message string", "2 infer_response ModelInferResponse"),
    "ModelRepositoryParameter": (
        "?1 bool_param bool",
        "?2 int64_param int64",
        "?3 string_param string",
        "?4 bytes_param bytes",
    ),
    "RepositoryIndexRequest": ("1 repository_name string", "2 ready bool"),
    "RepositoryIndexResponse": ("1 models *RepositoryIndexResponse.ModelIndex",),
    "RepositoryIndexResponse.ModelIndex": ("1 name string", "2 version string", "3 state string", "4 reason string"),
    "RepositoryModelLoadRequest": (
        "1 repository_name string",
        "2 model_name string",
        "3 parameters map ModelRepositoryParameter",
    ),
    "RepositoryModelLoadResponse": (),
    "RepositoryModelUnloadRequest": (
        "1 repository_name string",
        "2 model_name string",
        "3 parameters map ModelRepositoryParameter",
    ),
    "RepositoryModelUnloadResponse": (),
}


def _described() -> Iterator[descriptor_pb2.DescriptorProto]:
    """The outermost messages, each with those within it."""
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add(name=inner) if outer else descriptor_pb2.DescriptorProto(name=inner)
        made[name] = message
        for field in fields:
            _add(message, name, field)
    return (message for name, message in made.items() if "." not in name)


def _add(message: descriptor_pb2.DescriptorProto, owner: str, text: str) -> None:
    number, name, *kinds = text.lstrip("?").split()
    kind = kinds[-1].lstrip("*")
    several = kinds[0].startswith(("*", "map"))
    field = message.field.add(
        name=name, number=int(number), label=_Field.LABEL_REPEATED if several else _Field.LABEL_OPTIONAL
    )
    if text.startswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kinds[0] == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, type=_Field.TYPE_MESSAGE, label=_Field.LABEL_OPTIONAL)
        value.type_name = f".{PACKAGE}.{kind}"
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{owner}.{entry.name}"
    elif kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _made() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="stanchion/open_inference", package=PACKAGE, syntax="proto3")
    file.message_type.extend(_described())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
        if "." not in name
    }


_CLASSES = _made()


def message(name: str) -> Any:
    """The class of a message. Its fields are made from the table above, so no type checker knows them."""
    return _CLASSES[name]
