"""An Alluvium transform."""

from alluvium import Failure, Kind, Plan, RecordTransform, field, find, with_defaults


class Records(RecordTransform):
    def start(self, config, schema):
        self.suffix = with_defaults(config, suffix="!")["suffix"]
        if not isinstance(self.suffix, str):
            raise Failure("`suffix` is not a text")
        return Plan([find(schema, "text", Kind.UTF8)], [field("shout", Kind.UTF8)])

    def record(self, values):
        (text,) = values
        return [[None if text is None else text + self.suffix]]
