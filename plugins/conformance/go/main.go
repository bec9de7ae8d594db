// The conformance transform (../README.md), in both worlds.
package main

import (
	"alluvium"
	"errors"
	"fmt"
	"slices"
)

var modes = []string{"identity", "filter", "repeat", "fail", "error", "trap", "asset", "missing-asset", "log"}

func init() {
	alluvium.Batches(func(config []byte, schema []alluvium.Field) (alluvium.BatchTransform, alluvium.Plan, error) {
		t, plan, err := open(config, schema)
		return batches{t}, plan, err
	})
	alluvium.Records(func(config []byte, schema []alluvium.Field) (alluvium.RecordTransform, alluvium.Plan, error) {
		t, plan, err := open(config, schema)
		return records{t}, plan, err
	})
}

func main() {}

type transform struct {
	mode     string
	n        int // which input is `n`
	greeting string
}

func open(config []byte, schema []alluvium.Field) (transform, alluvium.Plan, error) {
	var options struct {
		Mode string `json:"mode"`
	}
	t, plan := transform{}, alluvium.Plan{Inputs: schema, Outputs: schema}
	if err := alluvium.ReadConfig(config, &options); err != nil {
		return t, plan, err
	}
	t.mode = options.Mode
	if !slices.Contains(modes, t.mode) {
		return t, plan, fmt.Errorf("mode `%s` is not known", t.mode)
	}
	n, err := alluvium.Find(schema, "n", alluvium.Int32)
	if err != nil {
		return t, plan, err
	}
	t.n = slices.Index(schema, n)
	switch t.mode {
	case "missing-asset":
		_, err = alluvium.Asset("parting")
	case "log":
		alluvium.Log(alluvium.Warn, "opened: %s", "é 深い 🦀")
	case "asset":
		var asset []byte
		asset, err = alluvium.Asset("greeting")
		t.n, t.greeting = 0, string(asset)
		plan.Inputs = []alluvium.Field{n}
		plan.Outputs = []alluvium.Field{{Name: "greeting", Kind: alluvium.Utf8}}
	}
	return t, plan, err
}

// How often a row goes out; the error costs the whole call.
func (t *transform) copies(n int32, isNull bool) (int, error) {
	switch {
	case t.mode == "error" && n == 13:
		return 0, errors.New("13 is unlucky")
	case t.mode == "trap" && n == 13:
		var nothing *transform
		return nothing.n, nil
	case t.mode == "filter" && (isNull || n%2 != 0):
		return 0, nil
	case t.mode == "repeat":
		return int(n), nil
	}
	return 1, nil
}

type batches struct{ transform }

func (t batches) Apply(batch *alluvium.Batch, output *alluvium.Output) error {
	if t.mode == "filter" || t.mode == "repeat" {
		output.BeginOrigin()
	}
	column := &batch.Columns[t.n]
	for row, n := range column.Int32s() {
		if column.IsNull(row) {
			n = 0
		}
		if t.mode == "fail" && n%2 != 0 {
			output.Fail(row, "n is %d", n)
		}
		copies, err := t.copies(n, column.IsNull(row))
		if err != nil {
			return err
		}
		for range copies {
			output.Origin(row)
			for i, made := range output.Columns {
				if t.mode == "asset" {
					made.Text(t.greeting)
				} else {
					made.Row(&batch.Columns[i], row)
				}
			}
		}
	}
	return nil
}

type records struct{ transform }

func (t records) Apply(record []any) ([][]any, error) {
	n, isPresent := record[t.n].(int32)
	if t.mode == "fail" && n%2 != 0 {
		return nil, fmt.Errorf("n is %d", n)
	}
	copies, err := t.copies(n, !isPresent)
	made := make([][]any, 0, max(copies, 0))
	for range copies {
		if t.mode == "asset" {
			record = []any{t.greeting}
		}
		made = append(made, record)
	}
	return made, err
}
