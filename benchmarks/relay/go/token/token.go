// Package token makes the tokens that the fake upstream says, and reads them back. A token says which one it is and when it left the
// upstream, so that whoever gets it at the other end knows that none is lost and how long it took.
package token

import (
	"fmt"
	"strconv"
	"time"
)

// Size is the length of a token in bytes: a space, as models put it before a word, five digits, and ten digits of base 36.
const Size = 16

// Of is the token with a number from 0 to 99,999, sent at a time.
func Of(number int, sent time.Time) string {
	return fmt.Sprintf(" %05d%010s", number, strconv.FormatInt(sent.UnixMicro(), 36))
}

// Read returns the number of a token, and when it was sent.
func Read(token string) (number int, sent time.Time, err error) {
	if len(token) != Size {
		return 0, time.Time{}, fmt.Errorf("a token of %d bytes: %q", len(token), token)
	}
	number, err = strconv.Atoi(token[1:6])
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("a token without a number: %q", token)
	}
	micros, err := strconv.ParseInt(token[6:], 36, 64)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("a token without a time: %q", token)
	}
	return number, time.UnixMicro(micros), nil
}
