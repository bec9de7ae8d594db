package main

import (
	"strings"
	"testing"

	"alluvium"
)

func masked(t *testing.T, config, text string) (string, int32) {
	t.Helper()
	schema := []alluvium.Field{{Name: "text", Kind: alluvium.Utf8, Nullable: true}}
	transform, plan, err := open([]byte(config), schema)
	if err != nil {
		t.Fatal(err)
	}
	input := alluvium.NewBuilder(schema[0])
	input.Text(text)
	output := alluvium.NewOutput(plan.Outputs)
	batch := &alluvium.Batch{Rows: 1, Columns: []alluvium.Column{*input.Column()}}
	if err := transform.Apply(batch, output); err != nil {
		t.Fatal(err)
	}
	return output.Columns[0].Column().Text(0), output.Columns[1].Column().Int32s()[0]
}

func TestWhatIsPersonalIsMasked(t *testing.T) {
	for text, want := range map[string]string{
		"write to ada.lovelace+ml@mail.example.co.uk.": "write to [EMAIL].",
		"<jürgen@müller.de>, (bob@example.com)":        "<[EMAIL]>, ([EMAIL])",
		"paid with 4111 1111 1111 1111, thanks":        "paid with [CARD], thanks",
		"5500-0055-5555-5559":                          "[CARD]",
		"amex 378282246310005!":                        "amex [CARD]!",
		"order 12 4111 1111 1111 1111":                 "order 12 [CARD]",
		"4111 1111 1111 1111 12/27":                    "[CARD] 12/27",
		"call +49 (0)30 901820 or +1 415 555 0132 now": "call [PHONE] or [PHONE] now",
		"(415) 555-0132, 415-555-0132, 415.555.0132":   "[PHONE], [PHONE], [PHONE]",
		"深い a@b.io 4242424242424242 🦀":                 "深い [EMAIL] [CARD] 🦀",
	} {
		if got, _ := masked(t, "{}", text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}

func TestWhatIsNotPersonalStays(t *testing.T) {
	for _, text := range []string{
		"", "@", "a@", "@b.com", "a@b", "a@1.2", "x@@y",
		"4111 1111 1111 1112",        // the check digit is wrong
		"1234567890123",              // no network begins with 1
		"9999999999999995",           // nor with 9
		"0x4111111111111111",         // part of a word
		"41111111111111111111111",    // too long
		"2024-01-15 10:30:00.123456", // a moment
		"192.168.100.123",            // an address of a host
		"v1.22.333", "+1", "(12)", "room 415-55",
	} {
		if got, count := masked(t, "{}", text); got != text || count != 0 {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestOnlyTheKindsThatAreWantedAreMasked(t *testing.T) {
	got, count := masked(t, `{"kinds": ["card"], "mask": "<{kind}>"}`, "a@b.io, 4242424242424242, 415-555-0132")
	if want := "a@b.io, <CARD>, 415-555-0132"; got != want || count != 1 {
		t.Errorf("%q with %d", got, count)
	}
}

func TestAnOptionThatIsNotKnownIsRefused(t *testing.T) {
	schema := []alluvium.Field{{Name: "text", Kind: alluvium.Utf8}}
	for config, reason := range map[string]string{`{"kind": ["card"]}`: "kind", `{"kinds": ["name"]}`: "email, card, phone"} {
		if _, _, err := open([]byte(config), schema); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func FuzzFindsAreApartAndInOrder(f *testing.F) {
	f.Add("a@b.io 4242424242424242 +49 30 901820")
	var all scanner
	all.wanted = [kinds]bool{true, true, true}
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		for found := range all.find(text) {
			if found.start < end || found.end <= found.start || found.end > len(text) {
				t.Fatalf("%+v in %q, after %d", found, text, end)
			}
			end = found.end
		}
	})
}
