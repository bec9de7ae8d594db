"""Reads a lake with pylance, DuckDB and LanceDB, again and again, until a file appears: readers.py LAKE STOP [KEY=VALUE]...

At each version all three must see the same rows, each offset once, and never fewer than before. Prints how often it looked.
"""

import pathlib
import sys

import duckdb
import lance
import lancedb

lake, stop = sys.argv[1], pathlib.Path(sys.argv[2])
options = dict(option.split("=", 1) for option in sys.argv[3:])
folder, name = lake.removesuffix(".lance").rsplit("/", 1)
database = lancedb.connect(folder, storage_options=options or None)
looks = seen = 0
versions = set()
while not stop.exists() or looks < 3:
    dataset = lance.dataset(lake, storage_options=options or None)
    offsets = dataset.to_table(columns=["__offset"])["__offset"].to_pylist()
    assert sorted(offsets) == list(range(len(offsets))), f"version {dataset.version}: {len(offsets)} rows"
    assert len(offsets) >= seen, f"{len(offsets)} rows after {seen}"
    rows, distinct, ids = duckdb.sql('SELECT count(*), count(DISTINCT "__offset"), sum(id) FROM dataset').fetchall()[0]
    assert (rows, distinct) == (len(offsets), len(offsets)), (rows, distinct, len(offsets))
    assert rows == 0 or ids == rows * (rows - 1) // 2, ids
    table = database.open_table(name)
    assert table.count_rows() >= rows
    last = table.search().where(f"id = {rows - 1}").limit(2).to_list()
    assert rows == 0 or [row["__offset"] for row in last] == [rows - 1], last
    seen, looks = rows, looks + 1
    versions.add(dataset.version)
print(f"{looks} looks at {len(versions)} versions, {seen} rows at last")
