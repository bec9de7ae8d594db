"""Embeds the lines of a file with model2vec each time a line is read, and prints the seconds that it took."""

import sys
import time

from model2vec import StaticModel

model = StaticModel.from_pretrained(sys.argv[1])
texts = open(sys.argv[2], encoding="utf-8").read().splitlines()
model.encode(texts[:10], use_multiprocessing=False)
print("ready", flush=True)
for _ in sys.stdin:
    begin = time.perf_counter()
    model.encode(texts, use_multiprocessing=False, show_progress_bar=False)
    print(time.perf_counter() - begin, flush=True)
