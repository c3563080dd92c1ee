"""One document of every kind that pymongo can write, and both kinds of JSON for it."""

from __future__ import annotations

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from tests.corpus.case import (
    OID,
    SNOW,
    UUID,
)

EVERYTHING = {
    "objectId": OID,
    "string": 'q"b\\s/\b\f\n\r\t\x01\x7f' + SNOW,
    "int32": -5,
    "int64": Int64(2**63 - 1),
    "double": 0.1,
    "whole": 1.0,
    "tiny": 5e-324,
    "big": 1e16,
    "nan": float("nan"),
    "inf": float("inf"),
    "ninf": float("-inf"),
    "decimal": Decimal128("1.50"),
    "thousand": Decimal128("1E+3"),
    "dnan": Decimal128("NaN"),
    "dinf": Decimal128("-Infinity"),
    "bool": True,
    "null": None,
    "date": DatetimeMS(1_704_164_645_678),
    "uuid": Binary.from_uuid(UUID),
    "legacy": Binary(UUID.bytes, 3),
    "binary": Binary(b"\x00\xff\x10", 0),
    "old": Binary(b"\xff\xff", 2),
    "array": [1, [], {"a": []}],
    "document": {"": {}, "a.b": 1, "$c": 2},
    "regex": Regex('^a"/b', "im"),
    "timestamp": Timestamp(4_294_967_295, 7),
    "code": Code("f()"),
    "scoped": Code("g()", {"x": 1}),
    "min": MinKey(),
    "max": MaxKey(),
}
"""Every kind that pymongo can write, side by side."""

PLAIN = (
    '{"objectId":"0123456789abcdef01234567",'
    '"string":"q\\"b\\\\s/\\b\\f\\n\\r\\t\\u0001\x7f' + SNOW + '",'
    '"int32":-5,"int64":9223372036854775807,"double":0.1,"whole":1.0,"tiny":5e-324,"big":1e+16,'
    '"nan":"NaN","inf":"Infinity","ninf":"-Infinity","decimal":1.50,"thousand":1E+3,"dnan":"NaN","dinf":"-Infinity",'
    '"bool":true,"null":null,"date":"2024-01-02T03:04:05.678Z","uuid":"00112233-4455-6677-8899-aabbccddeeff",'
    '"legacy":"ABEiM0RVZneImaq7zN3u/w==","binary":"AP8Q","old":"//8=","array":[1,[],{"a":[]}],'
    '"document":{"":{},"a.b":1,"$c":2},"regex":"/^a\\"/b/im","timestamp":{"t":4294967295,"i":7},"code":"f()",'
    '"scoped":{"$code":"g()","$scope":{"x":{"$numberInt":"1"}}},"min":{"$minKey":1},"max":{"$maxKey":1}}'
)
EXTENDED = (
    '{"objectId":{"$oid":"0123456789abcdef01234567"},'
    '"string":"q\\"b\\\\s/\\b\\f\\n\\r\\t\\u0001\x7f' + SNOW + '",'
    '"int32":{"$numberInt":"-5"},"int64":{"$numberLong":"9223372036854775807"},"double":{"$numberDouble":"0.1"},'
    '"whole":{"$numberDouble":"1.0"},"tiny":{"$numberDouble":"5e-324"},"big":{"$numberDouble":"1e+16"},'
    '"nan":{"$numberDouble":"NaN"},"inf":{"$numberDouble":"Infinity"},"ninf":{"$numberDouble":"-Infinity"},'
    '"decimal":{"$numberDecimal":"1.50"},"thousand":{"$numberDecimal":"1E+3"},"dnan":{"$numberDecimal":"NaN"},'
    '"dinf":{"$numberDecimal":"-Infinity"},"bool":true,"null":null,"date":{"$date":{"$numberLong":"1704164645678"}},'
    '"uuid":{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}},'
    '"legacy":{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"03"}},'
    '"binary":{"$binary":{"base64":"AP8Q","subType":"00"}},"old":{"$binary":{"base64":"//8=","subType":"02"}},'
    '"array":[{"$numberInt":"1"},[],{"a":[]}],'
    '"document":{"":{},"a.b":{"$numberInt":"1"},"$c":{"$numberInt":"2"}},'
    '"regex":{"$regularExpression":{"pattern":"^a\\"/b","options":"im"}},'
    '"timestamp":{"$timestamp":{"t":4294967295,"i":7}},"code":{"$code":"f()"},'
    '"scoped":{"$code":"g()","$scope":{"x":{"$numberInt":"1"}}},"min":{"$minKey":1},"max":{"$maxKey":1}}'
)
