"""Prints {COLUMN: TYPE, ...} of a lake: columns.py LAKE [KEY=VALUE storage option]..."""

import json
import sys

import lance

lake, *options = sys.argv[1:]
options = dict(option.split("=", 1) for option in options) or None
print(json.dumps({field.name: str(field.type) for field in lance.dataset(lake, storage_options=options).schema}))
