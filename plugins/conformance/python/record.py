"""The conformance transform of records."""

import alluvium
from transform import Transform


class Records(alluvium.RecordTransform):
    def start(self, config, schema):
        self.transform = Transform(config, schema)
        return self.transform.plan

    def record(self, values):
        transform = self.transform
        n = values[transform.n]
        if transform.fails(n):
            raise alluvium.Failure(f"n is {n}")
        made = [transform.greeting] if transform.greeting else values
        return [made] * transform.copies(n)
