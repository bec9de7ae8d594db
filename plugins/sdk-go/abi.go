//go:build wasip1

package alluvium

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// The contract's structs as the canonical ABI lays them out: pointers have 32 bits there.

type list struct{ at, len uint32 }

type wireField struct {
	name     list
	kind     Kind
	nullable bool
	dim      uint32
}

type wireColumn struct {
	hasValidity             bool
	validity, offsets, data list
}

type wireFailure struct {
	row     uint32
	message list
}

type wireError struct {
	isError bool
	message list
}

type wirePlan struct {
	isError         bool
	inputs, outputs list
}

type wireOutput struct {
	isError                   bool
	rows                      uint32
	hasOrigin                 bool
	origin, columns, failures list
}

type wireRecords struct {
	isError bool
	records list
}

// What the host asked memory for, and what is handed to it: alive until the call is over. The garbage
// collector moves nothing, so an address stays good.
var (
	lent []([]uint64)
	kept []any
)

func init() {
	// Below the host's default limit: collect earlier rather than run out.
	debug.SetMemoryLimit(200 << 20)
}

func address[T any](first *T) uint32 { return uint32(uintptr(unsafe.Pointer(first))) }

// keep hands out a slice.
func keep[T any](slice []T) list {
	if len(slice) == 0 {
		return list{at: 8}
	}
	kept = append(kept, slice)
	return list{address(&slice[0]), uint32(len(slice))}
}

func keepText(text string) list { return keep(unsafe.Slice(unsafe.StringData(text), len(text))) }

// keepResult hands out a call's answer.
func keepResult[T any](result T) unsafe.Pointer {
	at := &result
	kept = append(kept, at)
	return unsafe.Pointer(at)
}

// slice is a view of what the host wrote.
func slice[T any](l list) []T {
	if l.len == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(l.at))), l.len)
}

func text(l list) string { return string(slice[byte](l)) }

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldBytes, align, bytes uint32) unsafe.Pointer {
	block := make([]uint64, (uint64(bytes)+15)/8)
	lent = append(lent, block)
	at := unsafe.Pointer(&block[0])
	if oldBytes > 0 {
		copy(unsafe.Slice((*byte)(at), bytes), unsafe.Slice((*byte)(old), oldBytes))
	}
	return at
}

func endCall() {
	clear(lent)
	clear(kept)
	lent, kept = lent[:0], kept[:0]
}

//go:wasmimport alluvium:transform/host@0.1.0 log
func importLog(level int32, at unsafe.Pointer, len uint32)

//go:wasmimport alluvium:transform/host@0.1.0 asset
func importAsset(at unsafe.Pointer, len uint32, result unsafe.Pointer)

func hostLog(level Level, message string) {
	importLog(int32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

func hostAsset(name string) ([]byte, error) {
	// On the heap, since the host calls back for memory: a goroutine's stack may move meanwhile.
	result := &wireError{}
	kept = append(kept, result)
	at := keepText(name)
	importAsset(unsafe.Pointer(uintptr(at.at)), at.len, unsafe.Pointer(result))
	if result.isError {
		return nil, errors.New(text(result.message))
	}
	// In memory that endCall lets go of, and that this slice keeps from then on.
	return slice[byte](result.message), nil
}

var (
	openBatches func([]byte, []Field) (BatchTransform, Plan, error)
	openRecords func([]byte, []Field) (RecordTransform, Plan, error)
	batches     BatchTransform
	records     RecordTransform
	plan        Plan
)

// Batches makes a transform of batches the plugin's one.
func Batches(open func(config []byte, schema []Field) (BatchTransform, Plan, error)) {
	openBatches = open
}

// Records makes a transform of records the plugin's one.
func Records(open func(config []byte, schema []Field) (RecordTransform, Plan, error)) {
	openRecords = open
}

// answer calls a transform. Its error, or its panic, becomes the contract's error.
func answer(call func() (unsafe.Pointer, error)) (result unsafe.Pointer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			Log(Error, "panic: %v\n%s", panicked, debug.Stack())
			result = keepResult(wireError{true, keepText(fmt.Sprintf("panic: %v", panicked))})
		}
	}()
	result, err := call()
	if err != nil {
		return keepResult(wireError{true, keepText(err.Error())})
	}
	return result
}

func open(config, schema list, with func([]byte, []Field) (Plan, error)) unsafe.Pointer {
	return answer(func() (unsafe.Pointer, error) {
		fields := make([]Field, 0, schema.len)
		for _, field := range slice[wireField](schema) {
			fields = append(fields, Field{text(field.name), field.kind, field.nullable, field.dim})
		}
		made, err := with(slice[byte](config), fields)
		if err != nil {
			return nil, err
		}
		plan = made
		return keepResult(wirePlan{inputs: keepFields(plan.Inputs), outputs: keepFields(plan.Outputs)}), nil
	})
}

func keepFields(fields []Field) list {
	wire := make([]wireField, 0, len(fields))
	for _, field := range fields {
		wire = append(wire, wireField{keepText(field.Name), field.Kind, field.Nullable, field.Dim})
	}
	return keep(wire)
}

//go:wasmexport alluvium:transform/batches@0.1.0#open
func exportOpenBatches(config unsafe.Pointer, length uint32, schema unsafe.Pointer, fields uint32) unsafe.Pointer {
	return open(listAt(config, length), listAt(schema, fields), func(config []byte, schema []Field) (plan Plan, err error) {
		batches, plan, err = openBatches(config, schema)
		return
	})
}

//go:wasmexport alluvium:transform/records@0.1.0#open
func exportOpenRecords(config unsafe.Pointer, length uint32, schema unsafe.Pointer, fields uint32) unsafe.Pointer {
	return open(listAt(config, length), listAt(schema, fields), func(config []byte, schema []Field) (plan Plan, err error) {
		records, plan, err = openRecords(config, schema)
		return
	})
}

//go:wasmexport cabi_post_alluvium:transform/batches@0.1.0#open
func endOpenBatches(unsafe.Pointer) { endCall() }

//go:wasmexport cabi_post_alluvium:transform/records@0.1.0#open
func endOpenRecords(unsafe.Pointer) { endCall() }

//go:wasmexport cabi_post_alluvium:transform/batches@0.1.0#apply
func endApplyBatches(unsafe.Pointer) { endCall() }

//go:wasmexport cabi_post_alluvium:transform/records@0.1.0#apply
func endApplyRecords(unsafe.Pointer) { endCall() }

func listAt(at unsafe.Pointer, len uint32) list { return list{uint32(uintptr(at)), len} }

//go:wasmexport alluvium:transform/batches@0.1.0#apply
func exportApplyBatches(rows uint32, at unsafe.Pointer, count uint32) unsafe.Pointer {
	return answer(func() (unsafe.Pointer, error) {
		batch := Batch{Rows: int(rows)}
		for _, wire := range slice[wireColumn](listAt(at, count)) {
			column := Column{offsets: slice[uint32](wire.offsets), data: slice[byte](wire.data)}
			if wire.hasValidity {
				column.validity = slice[byte](wire.validity)
			}
			batch.Columns = append(batch.Columns, column)
		}
		output := NewOutput(plan.Outputs)
		if err := batches.Apply(&batch, output); err != nil {
			return nil, err
		}
		return keepResult(output.wire(rows)), nil
	})
}

func (o *Output) wire(rows uint32) wireOutput {
	columns := make([]wireColumn, 0, len(o.Columns))
	for _, builder := range o.Columns {
		column := &builder.column
		columns = append(columns, wireColumn{column.validity != nil, keep(column.validity), keep(column.offsets), keep(column.data)})
	}
	failures := make([]wireFailure, 0, len(o.failures))
	for _, failure := range o.failures {
		failures = append(failures, wireFailure{failure.row, keepText(failure.message)})
	}
	if o.hasOrigin {
		rows = uint32(len(o.origin))
	}
	return wireOutput{rows: rows, hasOrigin: o.hasOrigin, origin: keep(o.origin), columns: keep(columns), failures: keep(failures)}
}

//go:wasmexport alluvium:transform/records@0.1.0#apply
func exportApplyRecords(at unsafe.Pointer, count uint32) unsafe.Pointer {
	return answer(func() (unsafe.Pointer, error) {
		record := make([]any, 0, count)
		for _, value := range slice[wireValue](listAt(at, count)) {
			record = append(record, value.value())
		}
		made, err := records.Apply(record)
		if err != nil {
			return nil, err
		}
		wire := make([]list, 0, len(made))
		for _, values := range made {
			wireValues, err := wireRecord(values)
			if err != nil {
				return nil, err
			}
			wire = append(wire, keep(wireValues))
		}
		return keepResult(wireRecords{records: keep(wire)}), nil
	})
}
