"""Reads a lake with pylance and checks it against the folder of photos that it was made from.

check_photos.py LAKE PHOTOS CAPTIONS.json GOLDEN.json REJECTED [KEY=VALUE storage option]...
"""

import io
import json
import pathlib
import sys

import lance
import numpy
from PIL import Image, ImageOps

lake, photos, captions, golden, rejected, *options = sys.argv[1:]
photos = pathlib.Path(photos)
captions = json.load(open(captions))
golden = {entry["text"]: entry["embedding"] for entry in json.load(open(golden))}
dataset = lance.dataset(lake, storage_options=dict(option.split("=", 1) for option in options) or None)
rows = {row["path"]: row for row in dataset.to_table().to_pylist()}

expected = {str(p.relative_to(photos)) for p in photos.rglob("*") if p.is_file()} - {rejected}
assert set(rows) == expected, f"{sorted(rows)} instead of {sorted(expected)}"
assert len(rows) == dataset.count_rows(), "a photo is there twice"

for path, row in rows.items():
    original = (photos / path).read_bytes()
    assert row["image"] == original, f"{path}: not the original's bytes"
    size = ImageOps.exif_transpose(Image.open(io.BytesIO(original))).size
    assert (row["original_width"], row["original_height"]) == size, f"{path}: {size}"
    thumbnail = Image.open(io.BytesIO(row["thumbnail"]))
    thumbnail.load()
    scale = min(128 / size[0], 128 / size[1], 1)
    wanted = tuple(max(1, round(side * scale)) for side in size)
    assert thumbnail.format == "JPEG", f"{path}: {thumbnail.format}"
    near = all(abs(a - b) <= 1 for a, b in zip(thumbnail.size, wanted))
    assert near, f"{path}: thumbnail of {thumbnail.size} instead of {wanted}"
    # The same picture, not just the same size.
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(original))).convert("RGB").resize(thumbnail.size)
    difference = numpy.abs(numpy.asarray(reference, float) - numpy.asarray(thumbnail.convert("RGB"), float)).mean()
    assert difference < 12, f"{path}: the thumbnail differs by {difference:.1f} of 255"
    assert row["caption"] == captions[path], f"{path}: {row['caption']}"
    if row["caption"] in golden:
        worst = numpy.abs(numpy.array(row["embedding"]) - numpy.array(golden[row["caption"]])).max()
        assert worst <= 1e-3, f"{path}: embedding off by {worst}"

checked = sum(row["caption"] in golden for row in rows.values())
assert checked > 0, "no caption has a golden vector"
offsets = sorted(row["__offset"] for row in rows.values())
total = len(expected) + (1 if rejected else 0)
missing = set(range(total)) - set(offsets)
assert len(offsets) == len(set(offsets)) and len(missing) == total - len(expected), f"offsets {offsets}"
assert {row["__bucket"] for row in rows.values()} == {0}
assert all(row["__timestamp"].tzinfo is not None for row in rows.values())
print(f"{len(rows)} photos, {checked} golden vectors")
