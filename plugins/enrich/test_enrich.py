import unittest

from enrich import Mismatch, Reader, parse

# A line of GitHub's event archive, shortened.
EVENT = parse("""{"id":"2489651045","type":"CreateEvent","actor":{"id":665991,"login":"petroav"},
  "payload":{"ref":"master","size":2.0,"ratio":0.25,"commits":[{"sha":"6b089eb4"}]},
  "public":true,"created_at":"2015-01-01T15:00:00Z","at":1420124400.5,"point":[1,2.5,-3]}""")


def read(options, name="x"):
    return Reader(name, options).read(EVENT)


class Enrich(unittest.TestCase):
    def test_values_are_found_by_their_path(self):
        self.assertEqual(read("utf8", "type"), "CreateEvent")
        self.assertEqual(read({"kind": "int64", "path": "actor.id"}), 665991)
        self.assertEqual(read({"kind": "utf8", "path": "payload.commits.0.sha"}), "6b089eb4")
        self.assertIs(read("boolean", "public"), True)

    def test_what_is_missing_is_null(self):
        for path in ("nothing", "actor.nothing.at.all", "payload.commits.7.sha", "type.0"):
            self.assertIsNone(read({"kind": "utf8", "path": path}), path)

    def test_an_object_as_text_is_its_json(self):
        self.assertEqual(read("utf8", "actor"), '{"id":665991,"login":"petroav"}')

    def test_moments_are_read_from_text_and_from_numbers(self):
        self.assertEqual(read("timestamp", "created_at"), 1420124400_000000)
        self.assertEqual(read("timestamp", "at"), 1420124400_500000)
        self.assertEqual(read({"kind": "timestamp", "path": "actor.id", "unit": "ms"}), 665991_000)

    def test_a_whole_number_may_be_written_with_a_point(self):
        self.assertEqual(read({"kind": "int32", "path": "payload.size"}), 2)

    def test_what_does_not_fit_is_told(self):
        for options in ({"kind": "int32", "path": "payload.ratio"}, {"kind": "int64", "path": "type"},
                        {"kind": "int32", "path": "public"}, {"kind": "boolean", "path": "id"},
                        {"kind": "vector", "path": "point", "dim": 2}, {"kind": "timestamp", "path": "type"}):
            with self.assertRaisesRegex(Mismatch, f"`{options['path']}` is .*, no {options['kind']}"):
                read(options)

    def test_a_number_out_of_range_does_not_fit(self):
        self.assertEqual(Reader("n", "int32").read({"n": 2**31 - 1}), 2**31 - 1)
        with self.assertRaises(Mismatch):
            Reader("n", "int32").read({"n": 2**31})
        with self.assertRaises(Mismatch):
            Reader("n", "int64").read(parse('{"n": Infinity}'))

    def test_a_vector_has_its_length(self):
        self.assertEqual(read({"kind": "vector", "path": "point", "dim": 3}), [1.0, 2.5, -3.0])

    def test_text_that_is_not_json_is_told(self):
        for text in ("{", "", "[" * 100_000):
            with self.assertRaisesRegex(Mismatch, "not JSON"):
                parse(text)

    def test_a_field_that_cannot_be_is_refused(self):
        for options in ("integer", {"kind": "vector"}, {"kind": "int32", "dim": 3}, {"kind": "utf8", "pth": "a"}, 3):
            with self.assertRaises(ValueError):
                Reader("x", options)


if __name__ == "__main__":
    unittest.main()
