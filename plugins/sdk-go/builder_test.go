package alluvium

import "testing"

// More than two bytes of validity; nulls in the first and the last row of a byte.
var nulls = map[int]bool{0: true, 7: true, 8: true, 16: true}

func TestWhatWasBuiltIsReadBack(t *testing.T) {
	texts, flags, longs := NewBuilder(Field{Kind: Utf8}), NewBuilder(Field{Kind: Boolean}), NewBuilder(Field{Kind: Int64})
	vectors := NewBuilder(Field{Kind: Vector, Dim: 2})
	for row := range 19 {
		if nulls[row] {
			for _, builder := range []*Builder{texts, flags, longs, vectors} {
				builder.Null()
			}
			continue
		}
		texts.Append("ü")
		texts.Append(string(rune('a' + row)))
		texts.EndRow()
		flags.Boolean(row%3 == 0)
		longs.Int64(-1 << row)
		vectors.Vector([]float32{float32(row), 0.5})
	}
	for row := range 19 {
		if texts.Column().IsNull(row) != nulls[row] || flags.Column().IsNull(row) != nulls[row] {
			t.Errorf("row %d: null", row)
		}
		if nulls[row] {
			continue
		}
		text, flag, long := texts.Column().Text(row), flags.Column().Boolean(row), longs.Column().Int64s()[row]
		vector := vectors.Column().Vector(row, 2)
		if text != "ü"+string(rune('a'+row)) || flag != (row%3 == 0) || long != -1<<row || vector[0] != float32(row) {
			t.Errorf("row %d: %q %v %d %v", row, text, flag, long, vector)
		}
	}
}

func TestARowIsCopiedWithItsNull(t *testing.T) {
	from, to := NewBuilder(Field{Kind: Binary}), NewBuilder(Field{Kind: Binary})
	from.Bytes([]byte{1, 2})
	from.Null()
	from.Bytes(nil)
	for _, row := range []int{2, 1, 0} {
		to.Row(from.Column(), row)
	}
	if made := to.Column(); !made.IsNull(1) || len(made.Bytes(0)) != 0 || len(made.Bytes(2)) != 2 || made.IsNull(0) {
		t.Errorf("%+v", made)
	}
}

func TestAColumnWithoutNullsHasNoBitmap(t *testing.T) {
	builder := NewBuilder(Field{Kind: Int32})
	builder.Int32(7)
	if builder.Column().validity != nil {
		t.Error("a bitmap")
	}
}
