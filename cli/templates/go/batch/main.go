// An Alluvium transform.
package main

import "alluvium"

func init() { alluvium.Batches(open) }

func main() {}

type shout struct {
	// What follows each text.
	Suffix string `json:"suffix"`
}

func open(config []byte, schema []alluvium.Field) (alluvium.BatchTransform, alluvium.Plan, error) {
	s := shout{Suffix: "!"}
	if err := alluvium.ReadConfig(config, &s); err != nil {
		return nil, alluvium.Plan{}, err
	}
	text, err := alluvium.Find(schema, "text", alluvium.Utf8)
	made := alluvium.Field{Name: "shout", Kind: alluvium.Utf8, Nullable: true}
	return s, alluvium.Plan{Inputs: []alluvium.Field{text}, Outputs: []alluvium.Field{made}}, err
}

func (s shout) Apply(batch *alluvium.Batch, output *alluvium.Output) error {
	texts, shouts := &batch.Columns[0], output.Columns[0]
	for row := range batch.Rows {
		if texts.IsNull(row) {
			shouts.Null()
		} else {
			shouts.Text(texts.Text(row) + s.Suffix)
		}
	}
	return nil
}
