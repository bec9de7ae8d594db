// Package alluvium writes an Alluvium transform in Go: call Batches or Records from an init function,
// leave main empty, and build as README.md says.
package alluvium

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Kind is the type of a column, in the order of the contract.
type Kind uint8

const (
	Boolean Kind = iota
	Int32
	Int64
	Float32
	Float64
	Utf8
	Binary
	Vector    // Dim float32 a row
	Timestamp // microseconds since 1970-01-01 UTC, an int64
)

var kindNames = [...]string{"boolean", "int32", "int64", "float32", "float64", "utf8", "binary", "vector", "timestamp"}

func (k Kind) String() string { return kindNames[k] }

// Field is a column's name and type.
type Field struct {
	Name     string
	Kind     Kind
	Nullable bool
	Dim      uint32 // the length of a vector, else 0
}

// Plan is what a transform reads, and what it makes of it.
type Plan struct {
	Inputs, Outputs []Field
}

// Find gives the field of a name, which must be of a kind; the error names what there is.
func Find(schema []Field, name string, kind Kind) (Field, error) {
	var there []string
	for _, field := range schema {
		if field.Name == name && field.Kind == kind {
			return field, nil
		}
		there = append(there, fmt.Sprintf("`%s` (%s)", field.Name, field.Kind))
	}
	return Field{}, fmt.Errorf("a %s column `%s` is needed; there are: %s", kind, name, strings.Join(there, ", "))
}

// ReadConfig reads a JSON configuration into a struct that holds the defaults. A key that the struct
// has not is refused: it may be misspelt.
func ReadConfig(config []byte, into any) error {
	if len(config) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the configuration is refused: %w", err)
	}
	return nil
}

// BatchTransform is a transform of batches of columns.
type BatchTransform interface {
	// Apply makes of a batch what the plan promised: a value for every row in every column of the
	// output, null where a row failed. The error fails the whole batch; report single records with
	// Output.Fail instead. The batch is gone when Apply returns.
	Apply(batch *Batch, output *Output) error
}

// RecordTransform is a transform of one record at a time.
type RecordTransform interface {
	// Apply makes none, one or many records of one; the error fails it. A record has a value for each
	// input, or output, of the plan: nil, bool, int32, int64 (also of a timestamp), float32, float64,
	// string, []byte or []float32. It is gone when Apply returns.
	Apply(record []any) ([][]any, error)
}

// Batch is the rows to transform.
type Batch struct {
	Rows    int
	Columns []Column // of the plan's inputs
}

// Output is what is made of a batch.
type Output struct {
	Columns  []*Builder // of the plan's outputs
	origin   []uint32
	failures []failure
	// Whether the rows are those that Origin named.
	hasOrigin bool
}

type failure struct {
	row     uint32
	message string
}

// NewOutput is an empty output, for a test.
func NewOutput(outputs []Field) *Output {
	output := &Output{Columns: make([]*Builder, len(outputs))}
	for i, field := range outputs {
		output.Columns[i] = NewBuilder(field)
	}
	return output
}

// BeginOrigin is called first by a transform that filters or repeats rows: from here on the output's
// rows are those that Origin names, none yet.
func (o *Output) BeginOrigin() { o.hasOrigin = true }

// Origin says, after BeginOrigin, that the next output row comes from the input row `row`; rows must
// not decrease.
func (o *Output) Origin(row int) {
	if o.hasOrigin {
		o.origin = append(o.origin, uint32(row))
	}
}

// Fail reports an input row as failed.
func (o *Output) Fail(row int, format string, arguments ...any) {
	o.failures = append(o.failures, failure{uint32(row), fmt.Sprintf(format, arguments...)})
}

// Failures are the messages of the rows that failed, for a test.
func (o *Output) Failures() map[int]string {
	failures := map[int]string{}
	for _, failure := range o.failures {
		failures[int(failure.row)] = failure.message
	}
	return failures
}

// Level is how much a line of the log matters.
type Level int32

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Log writes a line to the host's log.
func Log(level Level, format string, arguments ...any) {
	hostLog(level, strings.ToValidUTF8(fmt.Sprintf(format, arguments...), "\uFFFD"))
}

// Asset gives the bytes of an asset that was granted; the error names the assets that there are.
func Asset(name string) ([]byte, error) { return hostAsset(name) }
