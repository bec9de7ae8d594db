"""An Alluvium transform."""

from alluvium import BatchTransform, Failure, Kind, Plan, field, find, with_defaults


class Batches(BatchTransform):
    def start(self, config, schema):
        self.suffix = with_defaults(config, suffix="!")["suffix"]
        if not isinstance(self.suffix, str):
            raise Failure("`suffix` is not a text")
        return Plan([find(schema, "text", Kind.UTF8)], [field("shout", Kind.UTF8)])

    def batch(self, batch, output):
        (shouts,) = output.columns
        for (text,) in batch:
            shouts.push(None if text is None else text + self.suffix)
