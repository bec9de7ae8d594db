//go:build wasip1

package alluvium

import (
	"fmt"
	"math"
	"unsafe"
)

// A value of a record as the canonical ABI lays it out: 0 is null, else the tag is one more than the kind.
type wireValue struct {
	tag     uint8
	payload uint64
}

func (w *wireValue) list() list { return list{uint32(w.payload), uint32(w.payload >> 32)} }

func (w *wireValue) value() any {
	if w.tag == 0 {
		return nil
	}
	switch Kind(w.tag - 1) {
	case Boolean:
		return uint8(w.payload) != 0
	case Int32:
		return int32(w.payload)
	case Float32:
		return math.Float32frombits(uint32(w.payload))
	case Float64:
		return math.Float64frombits(w.payload)
	case Utf8:
		bytes := slice[byte](w.list())
		return unsafe.String(unsafe.SliceData(bytes), len(bytes))
	case Binary:
		return slice[byte](w.list())
	case Vector:
		return slice[float32](w.list())
	default:
		return int64(w.payload)
	}
}

func wireRecord(values []any) ([]wireValue, error) {
	if len(values) != len(plan.Outputs) {
		return nil, fmt.Errorf("a record of %d values, where the plan has %d outputs", len(values), len(plan.Outputs))
	}
	wire := make([]wireValue, len(values))
	for i, value := range values {
		if value == nil {
			continue
		}
		field := &plan.Outputs[i]
		payload, ok := payloadOf(field.Kind, value)
		if !ok {
			return nil, fmt.Errorf("a value of Go's type %T for column `%s` (%s)", value, field.Name, field.Kind)
		}
		wire[i] = wireValue{uint8(field.Kind) + 1, payload}
	}
	return wire, nil
}

// The payload of a value, if it is of Go's type for a kind.
func payloadOf(kind Kind, value any) (uint64, bool) {
	switch value := value.(type) {
	case bool:
		if value {
			return 1, kind == Boolean
		}
		return 0, kind == Boolean
	case int32:
		return uint64(uint32(value)), kind == Int32
	case int64:
		return uint64(value), kind == Int64 || kind == Timestamp
	case float32:
		return uint64(math.Float32bits(value)), kind == Float32
	case float64:
		return math.Float64bits(value), kind == Float64
	case string:
		return pack(keepText(value)), kind == Utf8
	case []byte:
		return pack(keep(value)), kind == Binary
	case []float32:
		return pack(keep(value)), kind == Vector
	default:
		return 0, false
	}
}

func pack(l list) uint64 { return uint64(l.at) | uint64(l.len)<<32 }
