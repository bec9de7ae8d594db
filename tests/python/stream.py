"""Writes an Arrow stream of a column id to standard output, in batches with a pause between: stream.py BATCHES ROWS SECONDS."""

import sys
import time

import pyarrow as pa

batches, rows, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
    for batch in range(batches):
        ids = pa.array(range(batch * rows, (batch + 1) * rows), pa.int64())
        stream.write_batch(pa.record_batch([ids], schema=schema))
        sys.stdout.buffer.flush()
        time.sleep(pause)
