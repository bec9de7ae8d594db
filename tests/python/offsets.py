"""Prints [[__offset, COLUMN], ...] of a lake, in the order of the offsets: offsets.py LAKE COLUMN [KEY=VALUE storage option]..."""

import json
import sys

import lance

lake, column, *options = sys.argv[1:]
options = dict(option.split("=", 1) for option in options) or None
table = lance.dataset(lake, storage_options=options).to_table(columns=["__offset", column]).sort_by("__offset")
print(json.dumps(list(zip(table["__offset"].to_pylist(), table[column].to_pylist()))))
