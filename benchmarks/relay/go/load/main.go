// Command load opens streams at an AnswerService, checks every one of them to its end, and writes what it measured as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

// load is what to ask, and how.
type load struct {
	streams     int
	tokens      int
	sources     int
	connections int
	model       string
	spread      time.Duration
	firstToken  time.Duration
	seed        uint64
}

func main() {
	var wanted load
	target := flag.String("target", "", "the server, host:port")
	limit := flag.Duration("limit", 5*time.Minute, "when to give up")
	flag.IntVar(&wanted.streams, "streams", 64, "how many streams")
	flag.IntVar(&wanted.tokens, "tokens", 200, "how many tokens each must bring")
	flag.IntVar(&wanted.sources, "sources", 0, "how many sources to provide; 0 asks without grounding")
	flag.IntVar(&wanted.connections, "connections", 4, "over how many connections")
	flag.StringVar(&wanted.model, "model", "fake/paced-200", "the assistant, provider/model")
	flag.DurationVar(&wanted.spread, "spread", time.Second, "streams begin at random within this; 0 begins all at once")
	flag.DurationVar(&wanted.firstToken, "first-token", 50*time.Millisecond, "the upstream's own time to its first token")
	flag.Uint64Var(&wanted.seed, "seed", 0, "of the random beginnings")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	results, err := run(ctx, *target, wanted)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(summarize(results)); err != nil {
		log.Fatal(err)
	}
}

// run asks all streams, and returns when the last has ended.
func run(ctx context.Context, target string, wanted load) ([]result, error) {
	clients := make([]headwaterv1.AnswerServiceClient, wanted.connections)
	for index := range clients {
		connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, fmt.Errorf("connecting to %s: %w", target, err)
		}
		defer connection.Close()
		connection.Connect()
		clients[index] = headwaterv1.NewAnswerServiceClient(connection)
	}
	random := rand.New(rand.NewPCG(wanted.seed, 0))
	results := make([]result, wanted.streams)
	var group sync.WaitGroup
	begin := time.Now().Add(100 * time.Millisecond) // for the connections to stand
	for index := range results {
		var delay time.Duration
		if wanted.spread > 0 {
			delay = time.Duration(random.Int64N(int64(wanted.spread)))
		}
		group.Go(func() {
			time.Sleep(time.Until(begin.Add(delay)))
			results[index] = ask(ctx, clients[index%len(clients)], wanted)
		})
	}
	group.Wait()
	return results, nil
}

// request asks without grounding, or with sources of some 600 bytes each.
func request(wanted load) *headwaterv1.StreamAnswerRequest {
	asked := &headwaterv1.StreamAnswerRequest{
		Prompt:    "Say what there is to say.",
		Assistant: wanted.model,
		Grounding: &headwaterv1.StreamAnswerRequest_Ungrounded{Ungrounded: &headwaterv1.NoGrounding{}},
	}
	if wanted.sources > 0 {
		list := &headwaterv1.SourceList{}
		for number := range wanted.sources {
			list.Sources = append(list.Sources, &headwaterv1.Source{
				Document: fmt.Sprintf("document-%d", number+1),
				Title:    fmt.Sprintf("Document %d", number+1),
				Content:  strings.Repeat("A source says what it knows, and a little more. ", 12),
			})
		}
		asked.Grounding = &headwaterv1.StreamAnswerRequest_Provided{Provided: list}
	}
	return asked
}
