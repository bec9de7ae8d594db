// An Alluvium transform that takes personal data out of text. See README.md.
package main

import (
	"fmt"
	"slices"
	"strings"

	"alluvium"
)

func init() { alluvium.Batches(open) }

func main() {}

type redact struct {
	scanner scanner
	masks   [kinds]string
}

func open(config []byte, schema []alluvium.Field) (alluvium.BatchTransform, alluvium.Plan, error) {
	options := struct {
		Kinds []string `json:"kinds"`
		Mask  string   `json:"mask"`
	}{Kinds: slices.Clone(kindNames[:]), Mask: "[{kind}]"}
	if err := alluvium.ReadConfig(config, &options); err != nil {
		return nil, alluvium.Plan{}, err
	}
	var r redact
	for _, name := range options.Kinds {
		kind, err := kindOf(name)
		if err != nil {
			return nil, alluvium.Plan{}, err
		}
		r.scanner.wanted[kind] = true
		r.masks[kind] = strings.ReplaceAll(options.Mask, "{kind}", strings.ToUpper(name))
	}
	text, err := alluvium.Find(schema, "text", alluvium.Utf8)
	plan := alluvium.Plan{
		Inputs:  []alluvium.Field{text},
		Outputs: []alluvium.Field{text, {Name: "redactions", Kind: alluvium.Int32, Nullable: text.Nullable}},
	}
	return &r, plan, err
}

func kindOf(name string) (kind, error) {
	for kind, known := range kindNames {
		if name == known {
			return kind, nil
		}
	}
	return 0, fmt.Errorf("kind `%s` is not known; there are: %s", name, strings.Join(kindNames[:], ", "))
}

// Apply masks what the scanner finds in every text, and counts it.
func (r *redact) Apply(batch *alluvium.Batch, output *alluvium.Output) error {
	texts, masked, counts := &batch.Columns[0], output.Columns[0], output.Columns[1]
	for row := range batch.Rows {
		if texts.IsNull(row) {
			masked.Null()
			counts.Null()
			continue
		}
		counts.Int32(r.mask(texts.Text(row), masked.Append))
		masked.EndRow()
	}
	return nil
}

// mask appends the text with everything that was found replaced, and counts that.
func (r *redact) mask(text string, appendText func(string)) int32 {
	var count int32
	copied := 0
	for found := range r.scanner.find(text) {
		appendText(text[copied:found.start])
		appendText(r.masks[found.kind])
		copied = found.end
		count++
	}
	appendText(text[copied:])
	return count
}
