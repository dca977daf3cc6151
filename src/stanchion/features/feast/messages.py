"""The protobuf messages of Feast that are read or written here, described by field name, number and type.

Made at run time in a pool of their own: a process that also loads Feast's generated messages keeps both. Sources for
names and numbers: Feast's packages `feast.serving`, `feast.types` and `feast.core`. Written `number name type`; `*`
repeats the field, `map` is a map from text, `?` makes it one of the only choice of its message. What is left out of a
message is skipped when it is read.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "stanchion.feast"
_TYPES = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "enum": _Field.TYPE_INT32,  # the same on the wire, and an unknown number stays what it is
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
_MESSAGES: dict[str, tuple[str, ...]] = {
    "Timestamp": ("1 seconds int64", "2 nanos int32"),
    "Duration": ("1 seconds int64", "2 nanos int32"),
    "BytesList": ("1 val *bytes",),
    "StringList": ("1 val *string",),
    "Int32List": ("1 val *int32",),
    "Int64List": ("1 val *int64",),
    "DoubleList": ("1 val *double",),
    "FloatList": ("1 val *float",),
    "BoolList": ("1 val *bool",),
    "Value": (
        "?1 bytes_val bytes",
        "?2 string_val string",
        "?3 int32_val int32",
        "?4 int64_val int64",
        "?5 double_val double",
        "?6 float_val float",
        "?7 bool_val bool",
        "?8 unix_timestamp_val int64",
        "?11 bytes_list_val BytesList",
        "?12 string_list_val StringList",
        "?13 int32_list_val Int32List",
        "?14 int64_list_val Int64List",
        "?15 double_list_val DoubleList",
        "?16 float_list_val FloatList",
        "?17 bool_list_val BoolList",
        "?18 unix_timestamp_list_val Int64List",
        "?19 null_val enum",
    ),
    "RepeatedValue": ("1 val *Value",),
    "FeatureList": ("1 val *string",),
    "GetFeastServingInfoRequest": (),
    "GetFeastServingInfoResponse": ("1 version string",),
    "GetOnlineFeaturesRequest": (
        "?1 feature_service string",
        "?2 features FeatureList",
        "3 entities map RepeatedValue",
        "4 full_feature_names bool",
        "5 request_context map RepeatedValue",
    ),
    "FeatureVector": ("1 values *Value", "2 statuses *enum", "3 event_timestamps *Timestamp"),
    "GetOnlineFeaturesResponseMetadata": ("1 feature_names FeatureList",),
    "GetOnlineFeaturesResponse": (
        "1 metadata GetOnlineFeaturesResponseMetadata",
        "2 results *FeatureVector",
        "3 status bool",
    ),
    "FeatureSpec": ("1 name string", "2 value_type enum"),
    "EntitySpec": ("1 name string", "2 value_type enum", "3 description string", "4 join_key string"),
    "Entity": ("1 spec EntitySpec",),
    "FileFormat": ("1 parquet_format FileFormatMark", "2 delta_format FileFormatMark"),
    "FileFormatMark": (),
    "FileOptions": ("1 file_format FileFormat", "2 uri string"),
    "RequestOptions": ("3 schema *FeatureSpec",),
    "DataSource": (
        "1 type enum",
        "2 field_mapping map string",
        "3 timestamp_field string",
        "5 created_timestamp_column string",
        "11 file_options FileOptions",
        "18 request_data_options RequestOptions",
        "20 name string",
        "26 batch_source DataSource",
    ),
    "FeatureViewSpec": (
        "1 name string",
        "3 entities *string",
        "4 features *FeatureSpec",
        "6 ttl Duration",
        "7 batch_source DataSource",
        "9 stream_source DataSource",
        "12 entity_columns *FeatureSpec",
    ),
    "FeatureView": ("1 spec FeatureViewSpec",),
    "StreamFeatureViewSpec": (
        "1 name string",
        "3 entities *string",
        "4 features *FeatureSpec",
        "5 entity_columns *FeatureSpec",
        "9 ttl Duration",
        "10 batch_source DataSource",
        "11 stream_source DataSource",
    ),
    "StreamFeatureView": ("1 spec StreamFeatureViewSpec",),
    "Projection": ("1 feature_view_name string", "2 feature_columns *FeatureSpec", "3 feature_view_name_alias string"),
    "OnDemandSource": ("?1 feature_view FeatureView", "?2 request_data_source DataSource", "?3 projection Projection"),
    "OnDemandSpec": ("1 name string", "3 features *FeatureSpec", "4 sources map OnDemandSource"),
    "OnDemandFeatureView": ("1 spec OnDemandSpec",),
    "FeatureServiceSpec": ("1 name string", "3 features *Projection"),
    "FeatureService": ("1 spec FeatureServiceSpec",),
    "Registry": (
        "1 entities *Entity",
        "3 registry_schema_version string",
        "6 feature_views *FeatureView",
        "7 feature_services *FeatureService",
        "8 on_demand_feature_views *OnDemandFeatureView",
        "12 data_sources *DataSource",
        "14 stream_feature_views *StreamFeatureView",
    ),
}


def _describe(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    number, name, *kinds = text.lstrip("?").split()
    kind = kinds[-1].lstrip("*")
    several = kinds[0].startswith(("*", "map"))
    field = message.field.add(
        name=name, number=int(number), label=_Field.LABEL_REPEATED if several else _Field.LABEL_OPTIONAL
    )
    if text.startswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="kind")
        field.oneof_index = 0
    if kinds[0] == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL)
        value.type = _TYPES.get(kind, _Field.TYPE_MESSAGE)
        if kind not in _TYPES:
            value.type_name = f".{_PACKAGE}.{kind}"
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def _made() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="stanchion/feast", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _describe(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _made()


def message(name: str) -> Any:
    """The class of a message. Its fields are made from the table above, so no type checker knows them."""
    return _CLASSES[name]
