// An Alluvium transform.
package main

import "alluvium"

func init() { alluvium.Records(open) }

func main() {}

type shout struct {
	// What follows each text.
	Suffix string `json:"suffix"`
}

func open(config []byte, schema []alluvium.Field) (alluvium.RecordTransform, alluvium.Plan, error) {
	s := shout{Suffix: "!"}
	if err := alluvium.ReadConfig(config, &s); err != nil {
		return nil, alluvium.Plan{}, err
	}
	text, err := alluvium.Find(schema, "text", alluvium.Utf8)
	made := alluvium.Field{Name: "shout", Kind: alluvium.Utf8, Nullable: true}
	return s, alluvium.Plan{Inputs: []alluvium.Field{text}, Outputs: []alluvium.Field{made}}, err
}

func (s shout) Apply(record []any) ([][]any, error) {
	text, isPresent := record[0].(string)
	if !isPresent {
		return [][]any{{nil}}, nil
	}
	return [][]any{{text + s.Suffix}}, nil
}
