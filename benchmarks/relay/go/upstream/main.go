// Command upstream is a model that says tokens at an exact pace, over OpenAI's chat completions or as an AssistantService.
//
// The model is `paced-N` (N tokens: one after 50 ms, then one each 20 ms), `burst-N` (N tokens as fast as they are read) or `held-N` (as
// paced-N, but it never ends).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

const (
	firstToken    = 50 * time.Millisecond
	betweenTokens = 20 * time.Millisecond
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	asAssistant := flag.Bool("assistant", false, "serve headwater.v1.AssistantService in place of HTTP")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	fmt.Printf("ready %s\n", listener.Addr())
	if *asAssistant {
		server := grpc.NewServer()
		headwaterv1.RegisterAssistantServiceServer(server, &assistant{})
		registerHealth(server)
		log.Fatal(server.Serve(listener))
	}
	http.HandleFunc("POST /v1/chat/completions", complete)
	http.HandleFunc("GET /closed", tellClosed)
	log.Fatal(http.Serve(listener, nil))
}

// manner is how a model speaks.
type manner struct {
	paced, held bool
	count       int
}

func parseModel(model string) (manner, error) {
	pace, number, _ := strings.Cut(model, "-")
	count, err := strconv.Atoi(number)
	if err != nil || count < 0 || count > 99_999 || (pace != "paced" && pace != "burst" && pace != "held") {
		return manner{}, errors.New("the models are paced-N, burst-N and held-N")
	}
	return manner{paced: pace != "burst", held: pace == "held", count: count}, nil
}

// wait returns when a token is due, counted from 0, of an answer that was asked for at a time.
func (m manner) wait(ctx context.Context, arrived time.Time, number int) error {
	if !m.paced {
		return nil
	}
	due := arrived.Add(firstToken + time.Duration(number)*betweenTokens)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}

// hold returns at once, unless the model never ends; then it waits until nobody listens.
func (m manner) hold(ctx context.Context) error {
	if !m.held {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}
