"""Prints [[__offset, COLUMN], ...] of a lake, in the order of the offsets: offsets.py LAKE COLUMN."""

import json
import sys

import lance

lake, column = sys.argv[1:]
table = lance.dataset(lake).to_table(columns=["__offset", column]).sort_by("__offset")
print(json.dumps(list(zip(table["__offset"].to_pylist(), table[column].to_pylist()))))
