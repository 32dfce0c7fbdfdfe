package main

import (
	"slices"
	"time"
)

// summary is what a run is reported as. Times are in milliseconds.
type summary struct {
	Streams  int      `json:"streams"`
	Right    int      `json:"right"`
	Tokens   int      `json:"tokens"`
	Messages int      `json:"messages"`
	First50  float64  `json:"first_p50_ms"`
	First99  float64  `json:"first_p99_ms"`
	Token50  float64  `json:"token_p50_ms"`
	Token99  float64  `json:"token_p99_ms"`
	Refused  int      `json:"refused"`
	Hinted   int      `json:"hinted"`
	Soon     int      `json:"refused_soon"`
	Refuse50 float64  `json:"refuse_p50_ms"`
	Refuse99 float64  `json:"refuse_p99_ms"`
	GivenUp  int      `json:"given_up"`
	Closed   int      `json:"closed"`
	Close50  float64  `json:"close_p50_ms"`
	Close99  float64  `json:"close_p99_ms"`
	Problems []string `json:"problems"`
}

const shownProblems = 5

// soon is how quickly a caller is to be refused.
const soon = 10 * time.Millisecond

func summarize(results []*said) summary {
	total := summary{Streams: len(results), Problems: []string{}}
	var first, tokens, refusals, closings []time.Duration
	for _, said := range results {
		total.Tokens += len(said.latencies)
		total.Messages += said.messages
		tokens = append(tokens, said.latencies...)
		if said.gaveUp.Load() > 0 {
			total.GivenUp++
		}
		if said.closed > 0 {
			total.Closed++
			closings = append(closings, said.closed)
		}
		if said.err == nil {
			total.Right++
			first = append(first, said.addedFirst)
		} else if said.refusal != nil {
			total.Refused++
			refusals = append(refusals, said.refusal.after)
			if said.refusal.hinted {
				total.Hinted++
			}
			if said.refusal.after <= soon {
				total.Soon++
			}
		} else if len(total.Problems) < shownProblems {
			total.Problems = append(total.Problems, said.err.Error())
		}
	}
	total.First50, total.First99 = percentile(first, 50), percentile(first, 99)
	total.Token50, total.Token99 = percentile(tokens, 50), percentile(tokens, 99)
	total.Refuse50, total.Refuse99 = percentile(refusals, 50), percentile(refusals, 99)
	total.Close50, total.Close99 = percentile(closings, 50), percentile(closings, 99)
	return total
}

// percentile is the smallest value that at least so many in a hundred do not exceed; in milliseconds, 0 of nothing.
func percentile(values []time.Duration, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := (len(values)*percent + 99) / 100
	return float64(values[rank-1].Microseconds()) / 1000
}
