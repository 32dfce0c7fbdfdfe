// Command load opens streams at a server of answers, checks every one of them to its end, and writes what it measured as JSON.
//
// With -give-up-within it breaks each off instead, at random after its first token, and asks the upstream when it noticed. With -hold it
// keeps all open, says `holding` when each has its first token, and ends when its standard input does; with -stall it reads no more
// in the meantime.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"time"
)

// load is what to ask, and how.
type load struct {
	target      string
	form        string
	streams     int
	tokens      int
	sources     int
	connections int
	model       string
	spread      time.Duration
	firstToken  time.Duration
	giveUp      time.Duration
	upstream    string
	hold, stall bool
	seed        uint64
}

func main() {
	var wanted load
	limit := flag.Duration("limit", 5*time.Minute, "when to give up on all")
	flag.StringVar(&wanted.target, "target", "", "the server, host:port")
	flag.StringVar(&wanted.form, "form", "grpc", "what the server speaks: grpc, ragna or openai")
	flag.IntVar(&wanted.streams, "streams", 64, "how many streams")
	flag.IntVar(&wanted.tokens, "tokens", 200, "how many tokens each must bring")
	flag.IntVar(&wanted.sources, "sources", 0, "how many sources to provide; 0 asks without grounding")
	flag.IntVar(&wanted.connections, "connections", 4, "over how many connections; over HTTP/1.1 each stream has its own")
	flag.StringVar(&wanted.model, "model", "fake/paced-200", "the assistant, provider/model")
	flag.DurationVar(&wanted.spread, "spread", time.Second, "streams begin at random within this; 0 begins all at once")
	flag.DurationVar(&wanted.firstToken, "first-token", 50*time.Millisecond, "the upstream's own time to its first token")
	flag.DurationVar(&wanted.giveUp, "give-up-within", 0, "break each stream off at random within this after its first token")
	flag.StringVar(&wanted.upstream, "upstream", "", "with -give-up-within: the upstream, host:port, which knows when it was left")
	flag.BoolVar(&wanted.hold, "hold", false, "keep all open until the standard input ends")
	flag.BoolVar(&wanted.stall, "stall", false, "with -hold: read nothing after the first token")
	flag.Uint64Var(&wanted.seed, "seed", 0, "of the random beginnings")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	results, err := run(ctx, wanted)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(summarize(results)); err != nil {
		log.Fatal(err)
	}
}
