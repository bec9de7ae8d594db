"""The conformance transform of batches."""

import alluvium
from transform import Transform


class Batches(alluvium.BatchTransform):
    def start(self, config, schema):
        self.transform = Transform(config, schema)
        return self.transform.plan

    def batch(self, batch, output):
        transform = self.transform
        if transform.mode in ("filter", "repeat"):
            output.origin = []
        for row, values in enumerate(batch):
            n = values[transform.n]
            if transform.fails(n):
                output.fail(row, f"n is {n}")
            for _ in range(transform.copies(n)):
                if output.origin is not None:
                    output.origin.append(row)
                for column, value in zip(output.columns, [transform.greeting] if transform.greeting else values):
                    column.push(value)
