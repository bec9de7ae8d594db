"""The conformance transform (../README.md), but for what differs between the worlds."""

from alluvium import Failure, Kind, Plan, asset, field, find, with_defaults
import logging

MODES = ("identity", "filter", "repeat", "fail", "error", "trap", "asset", "missing-asset", "log")


class Transform:
    """What `start` found out."""

    def __init__(self, config, schema):
        self.mode = with_defaults(config, mode=None)["mode"]
        if self.mode not in MODES:
            raise Failure(f"mode `{self.mode}` is not known")
        n = find(schema, "n", Kind.INT32)
        self.n = schema.index(n)
        self.greeting = None
        self.plan = Plan(schema, schema)
        if self.mode == "missing-asset":
            asset("parting")
        if self.mode == "log":
            logging.warning("opened: %s", "é 深い 🦀")
        if self.mode == "asset":
            self.n, self.greeting = 0, asset("greeting").decode()
            self.plan = Plan([n], [field("greeting", Kind.UTF8, nullable=False)])

    def fails(self, n):
        """Whether a row fails by itself."""
        return self.mode == "fail" and n is not None and n % 2 != 0

    def copies(self, n):
        """How often a row goes out. Raises where it is one that costs the whole call."""
        if self.mode == "error" and n == 13:
            raise Failure("13 is unlucky")
        if self.mode == "trap" and n == 13:
            n.crash()
        if self.mode == "filter":
            return int(n is not None and n % 2 == 0)
        return max(n or 0, 0) if self.mode == "repeat" else 1
