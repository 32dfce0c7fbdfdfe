package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
)

// said is what one stream brought.
type said struct {
	wanted     load
	tag        string
	began      time.Time
	addedFirst time.Duration
	onFirst    func()
	latencies  []time.Duration // one for each token, from leaving the upstream
	messages   int
	text       []byte
	gaveUp     atomic.Int64 // when we broke it off, in microseconds since 1970
	closed     time.Duration
	err        error
	refusal    *refusal
}

// refusal is how a server says that it has too much to do.
type refusal struct {
	after  time.Duration
	hinted bool // it says when to try again, in the details and to gRPC
}

// add takes a piece of text, which begins and ends anywhere in a token.
func (s *said) add(text string) error {
	now := time.Now()
	if s.messages == 0 {
		s.addedFirst = now.Sub(s.began) - s.wanted.firstToken
	}
	s.messages++
	s.text = append(s.text, text...)
	for len(s.text) >= (len(s.latencies)+1)*token.Size {
		next := len(s.latencies)
		number, sent, err := token.Read(string(s.text[next*token.Size : (next+1)*token.Size]))
		if err != nil {
			return err
		}
		if number != next {
			return fmt.Errorf("token %d where %d was due", number, next)
		}
		s.latencies = append(s.latencies, now.Sub(sent))
	}
	if s.messages == 1 {
		s.onFirst()
	}
	return nil
}

// complete says what is missing of the text, or too much.
func (s *said) complete() error {
	if len(s.text) != s.wanted.tokens*token.Size {
		return fmt.Errorf("%d bytes of text instead of %d tokens", len(s.text), s.wanted.tokens)
	}
	return nil
}
