package alluvium

import "unsafe"

// Column is a column of a batch, flat. Its methods do not check the column's kind.
type Column struct {
	validity []byte // nil: every row is present
	offsets  []uint32
	data     []byte
}

// IsNull says whether a row is null; what its other methods give of such a row means nothing.
func (c *Column) IsNull(row int) bool {
	return c.validity != nil && c.validity[row>>3]>>(row&7)&1 == 0
}

// Boolean is a row of a boolean column.
func (c *Column) Boolean(row int) bool { return c.data[row>>3]>>(row&7)&1 == 1 }

// Int32s are all rows of an int32 column.
func (c *Column) Int32s() []int32 { return numbers[int32](c.data) }

// Int64s are all rows of an int64 or timestamp column.
func (c *Column) Int64s() []int64 { return numbers[int64](c.data) }

// Float32s are all rows of a float32 column, or all numbers of a vector column.
func (c *Column) Float32s() []float32 { return numbers[float32](c.data) }

// Float64s are all rows of a float64 column.
func (c *Column) Float64s() []float64 { return numbers[float64](c.data) }

// Vector is a row of a vector column.
func (c *Column) Vector(row int, dim uint32) []float32 {
	return c.Float32s()[row*int(dim) : (row+1)*int(dim)]
}

// Bytes is a row of a binary or utf8 column.
func (c *Column) Bytes(row int) []byte {
	return c.data[c.offsets[row]:c.offsets[row+1]:c.offsets[row+1]]
}

// Text is a row of a utf8 column. Clone what is to outlive the call.
func (c *Column) Text(row int) string {
	bytes := c.Bytes(row)
	return unsafe.String(unsafe.SliceData(bytes), len(bytes))
}

type number interface {
	int32 | int64 | float32 | float64
}

// The buffers are little-endian, as WebAssembly is, and aligned by cabi_realloc.
func numbers[T number](data []byte) []T {
	var one T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/int(unsafe.Sizeof(one)))
}

func bytesOf[T number | uint32](numbers []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(numbers))), len(numbers)*int(unsafe.Sizeof(one)))
}
