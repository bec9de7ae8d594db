"""The Alluvium transform. See README.md."""

from alluvium import Failure, Kind, Plan, RecordTransform, field, find, with_defaults
from enrich import Mismatch, Reader, parse


class Records(RecordTransform):
    def start(self, config, schema):
        options = with_defaults(config, fields={}, on_mismatch="fail")
        if options["on_mismatch"] not in ("fail", "null"):
            raise Failure("`on_mismatch` is neither `fail` nor `null`")
        if not isinstance(options["fields"], dict) or not options["fields"]:
            raise Failure("`fields` is missing: an object of columns to make, a kind each")
        self.strict = options["on_mismatch"] == "fail"
        try:
            self.readers = [Reader(name, field) for name, field in options["fields"].items()]
        except ValueError as error:
            raise Failure(str(error)) from None
        outputs = [field(r.name, Kind[r.kind.upper()], dim=r.dim) for r in self.readers]
        return Plan([find(schema, "json", Kind.UTF8)], outputs)

    def record(self, values):
        (text,) = values
        if text is None:
            return [[None] * len(self.readers)]
        try:
            document = parse(text)
            return [[self.read(reader, document) for reader in self.readers]]
        except Mismatch as error:
            raise Failure(str(error)) from None

    def read(self, reader, document):
        try:
            return reader.read(document)
        except Mismatch:
            if self.strict:
                raise
            return None
