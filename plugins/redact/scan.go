package main

import (
	"iter"
	"strings"
)

// What is looked for.
type kind = int

const (
	email kind = iota
	card
	phone
	kinds
)

var kindNames = [kinds]string{"email", "card", "phone"}

// A find is a part of a text.
type find struct {
	kind       kind
	start, end int
}

// A scanner finds what is wanted in one pass, from left to right.
type scanner struct {
	wanted [kinds]bool
}

func (s *scanner) find(text string) iter.Seq[find] {
	return func(yield func(find) bool) {
		start := 0 // what lies before was found, or is none
		for at := 0; at < len(text); {
			found, next := s.findAt(text, start, at)
			if found.end > 0 {
				if !yield(found) {
					return
				}
				start = found.end
			}
			at = next
		}
	}
}

// findAt looks at one byte, and says where to go on.
func (s *scanner) findAt(text string, start, at int) (find, int) {
	switch c := text[at]; {
	case c == '@' && s.wanted[email]:
		if from, to, ok := emailAround(text, start, at); ok {
			return find{email, from, to}, to
		}
	case (isDigit(c) || c == '+' || c == '(') && !insideWord(text, at):
		return s.findNumber(text, at)
	}
	return find{}, at + 1
}

// findNumber looks at a run of digits, and what stands between them, that begins at `at`.
func (s *scanner) findNumber(text string, at int) (find, int) {
	if s.wanted[phone] {
		if end, ok := phoneAt(text, at); ok {
			return find{phone, at, end}, end
		}
	}
	groups := digitGroups(text, at)
	if len(groups) == 0 {
		return find{}, at + 1
	}
	if s.wanted[card] {
		if end, ok := cardAt(text, groups); ok {
			return find{card, at, end}, end
		}
	}
	// A number may follow another: the next group may begin one.
	return find{}, groups[0].end
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|32 >= 'a' && c|32 <= 'z' || c >= 0x80 }

// insideWord says whether a number at `at` would continue a word or another number.
func insideWord(text string, at int) bool {
	return at > 0 && (isDigit(text[at-1]) || isLetter(text[at-1]) || text[at-1] == '_')
}

// emailAround is the address around the @ at `at`.
func emailAround(text string, start, at int) (from, to int, ok bool) {
	from, to = at, at+1
	for from > start && isLocal(text[from-1]) {
		from--
	}
	for to < len(text) && (isLetter(text[to]) || isDigit(text[to]) || text[to] == '-' || text[to] == '.') {
		to++
	}
	from += len(text[from:at]) - len(strings.TrimLeft(text[from:at], "."))
	// A sentence ends behind an address.
	domain := strings.TrimRight(text[at+1:to], ".-")
	dot := strings.LastIndexByte(domain, '.')
	if from == at || dot < 1 || len(domain)-dot-1 < 2 || strings.ContainsAny(domain[dot:], "0123456789") {
		return 0, 0, false
	}
	return from, at + 1 + len(domain), true
}

func isLocal(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte(".!#$%&'*+/=?^_`{|}~-", c) >= 0
}

// A span is a part of a text.
type span struct{ start, end int }

// digitGroups are runs of digits from `at` on with one space or hyphen between them.
func digitGroups(text string, at int) []span {
	var groups []span
	for at < len(text) && isDigit(text[at]) {
		end := at
		for end < len(text) && isDigit(text[end]) {
			end++
		}
		groups = append(groups, span{at, end})
		if end == len(text) || text[end] != ' ' && text[end] != '-' || len(groups) > 19 {
			break
		}
		at = end + 1
	}
	return groups
}

// cardAt says where the longest card number ends that the groups begin with: 13 to 19 digits, of a
// network that there is, with the right check digit.
func cardAt(text string, groups []span) (end int, ok bool) {
	digits := make([]byte, 0, 24)
	for _, group := range groups {
		if len(digits)+group.end-group.start > 19 || isLetterAt(text, group.end) {
			break
		}
		digits = append(digits, text[group.start:group.end]...)
		if len(digits) >= 13 && digits[0] >= '2' && digits[0] <= '6' && luhn(digits) {
			end, ok = group.end, true
		}
	}
	return end, ok
}

func isLetterAt(text string, at int) bool {
	return at < len(text) && (isLetter(text[at]) && text[at] < 0x80 || text[at] == '_')
}

// luhn checks the last digit: from the right, every second digit counts twice, its digits summed.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// phoneAt says where a phone number ends: +, a country code and up to 15 digits, or ten digits as North
// Americans write them, (415) 555-0132 or 415-555-0132 or 415.555.0132.
func phoneAt(text string, at int) (end int, ok bool) {
	if text[at] != '+' {
		return localPhoneAt(text, at)
	}
	digits := 0
	for i := at + 1; i < len(text); i++ {
		switch c := text[i]; {
		case isDigit(c):
			digits++
			end = i + 1
		case strings.IndexByte(" -./()", c) < 0 || i-end >= 2 && digits > 0:
			return end, digits >= 8 && digits <= 15
		}
	}
	return end, digits >= 8 && digits <= 15
}

func localPhoneAt(text string, at int) (int, bool) {
	for _, form := range [...]string{"(ddd) ddd-dddd", "(ddd)ddd-dddd", "ddd-ddd-dddd", "ddd.ddd.dddd"} {
		end := at + len(form)
		if end <= len(text) && hasForm(text[at:end], form) && (end == len(text) || !isDigit(text[end])) {
			return end, true
		}
	}
	return 0, false
}

// hasForm compares byte by byte; d stands for a digit.
func hasForm(text, form string) bool {
	for i := range len(form) {
		if form[i] == 'd' && !isDigit(text[i]) || form[i] != 'd' && form[i] != text[i] {
			return false
		}
	}
	return true
}
