package alluvium

import "fmt"

// Builder builds a column: one call a row, of the method for the column's kind, or of Null.
type Builder struct {
	Field  Field
	rows   int
	column Column
}

// NewBuilder is an empty column of a field.
func NewBuilder(field Field) *Builder {
	builder := &Builder{Field: field}
	if field.Kind == Utf8 || field.Kind == Binary {
		builder.column.offsets = append(builder.column.offsets, 0)
	}
	return builder
}

// Column is what was built, for a test.
func (b *Builder) Column() *Column { return &b.column }

// Rows is how many rows there are yet.
func (b *Builder) Rows() int { return b.rows }

// Null appends a null.
func (b *Builder) Null() {
	if b.Field.Kind == Boolean {
		b.column.data = pushBit(b.column.data, b.rows, false)
	}
	for range b.width() {
		b.column.data = append(b.column.data, 0)
	}
	if b.column.validity == nil {
		// The first null: all before it are present.
		for row := range b.rows {
			b.column.validity = pushBit(b.column.validity, row, true)
		}
	}
	b.column.validity = pushBit(b.column.validity, b.rows, false)
	b.endRow()
}

// Boolean appends a row.
func (b *Builder) Boolean(value bool) {
	b.column.data = pushBit(b.column.data, b.rows, value)
	b.present()
}

// Int32 appends a row.
func (b *Builder) Int32(value int32) {
	b.column.data = append(b.column.data, bytesOf([]int32{value})...)
	b.present()
}

// Int64 appends a row, also of a timestamp column.
func (b *Builder) Int64(value int64) {
	b.column.data = append(b.column.data, bytesOf([]int64{value})...)
	b.present()
}

// Float32 appends a row.
func (b *Builder) Float32(value float32) {
	b.column.data = append(b.column.data, bytesOf([]float32{value})...)
	b.present()
}

// Float64 appends a row.
func (b *Builder) Float64(value float64) {
	b.column.data = append(b.column.data, bytesOf([]float64{value})...)
	b.present()
}

// Vector appends a row of Field.Dim numbers.
func (b *Builder) Vector(value []float32) {
	if len(value) != int(b.Field.Dim) {
		panic(fmt.Sprintf("a vector of %d numbers in column `%s` of %d", len(value), b.Field.Name, b.Field.Dim))
	}
	b.column.data = append(b.column.data, bytesOf(value)...)
	b.present()
}

// Bytes appends a row to a binary column, or valid UTF-8 to a utf8 column.
func (b *Builder) Bytes(value []byte) {
	b.column.data = append(b.column.data, value...)
	b.present()
}

// Text appends a row to a utf8 column: valid UTF-8.
func (b *Builder) Text(value string) {
	b.column.data = append(b.column.data, value...)
	b.present()
}

// Append appends to a row of a utf8 or binary column that EndRow ends: saves a copy.
func (b *Builder) Append(part string) { b.column.data = append(b.column.data, part...) }

// EndRow ends the row of what was appended since the last one.
func (b *Builder) EndRow() { b.present() }

// Row appends a row of a column of the same kind and dimension.
func (b *Builder) Row(column *Column, row int) {
	switch kind := b.Field.Kind; {
	case column.IsNull(row):
		b.Null()
	case kind == Boolean:
		b.Boolean(column.Boolean(row))
	case kind == Utf8 || kind == Binary:
		b.Bytes(column.Bytes(row))
	default:
		width := b.width()
		b.Bytes(column.data[row*width : (row+1)*width])
	}
}

// Bytes of a row of a kind that has a fixed width.
func (b *Builder) width() int {
	switch b.Field.Kind {
	case Int32, Float32:
		return 4
	case Int64, Float64, Timestamp:
		return 8
	case Vector:
		return 4 * int(b.Field.Dim)
	default:
		return 0
	}
}

func (b *Builder) present() {
	if b.column.validity != nil {
		b.column.validity = pushBit(b.column.validity, b.rows, true)
	}
	b.endRow()
}

func (b *Builder) endRow() {
	if b.column.offsets != nil {
		end := len(b.column.data)
		if uint64(end) > 1<<32-1 {
			panic("a column's values take more than 4 GiB")
		}
		b.column.offsets = append(b.column.offsets, uint32(end))
	}
	b.rows++
}

func pushBit(bits []byte, row int, set bool) []byte {
	if row&7 == 0 {
		bits = append(bits, 0)
	}
	if set {
		bits[row>>3] |= 1 << (row & 7)
	}
	return bits
}
