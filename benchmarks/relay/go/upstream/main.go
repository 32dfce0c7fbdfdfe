// Command upstream is a server with OpenAI's chat completions that says tokens at an exact pace.
//
// The model is `paced-N` (N tokens: one after 50 ms, then one each 20 ms) or `burst-N` (N tokens as fast as they are read).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
)

const (
	firstToken    = 50 * time.Millisecond
	betweenTokens = 20 * time.Millisecond
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	http.HandleFunc("POST /v1/chat/completions", complete)
	fmt.Printf("ready %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func complete(writer http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	var asked struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || !asked.Stream {
		http.Error(writer, "want a JSON document with stream true", http.StatusBadRequest)
		return
	}
	paced, count, err := parseModel(asked.Model)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusNotFound)
		return
	}
	writer.Header().Set("Content-Type", "text/event-stream")
	speech := &speech{writer: writer, control: http.NewResponseController(writer), model: asked.Model, arrived: arrived}
	if err := speech.say(request.Context(), count, paced); err != nil && request.Context().Err() == nil {
		log.Printf("saying %s: %v", asked.Model, err)
	}
}

func parseModel(model string) (paced bool, count int, err error) {
	pace, number, _ := strings.Cut(model, "-")
	count, err = strconv.Atoi(number)
	if err != nil || count < 0 || count > 99_999 || (pace != "paced" && pace != "burst") {
		return false, 0, errors.New("the models are paced-N and burst-N")
	}
	return pace == "paced", count, nil
}

// speech is one answer as it is said.
type speech struct {
	writer  http.ResponseWriter
	control *http.ResponseController
	model   string
	arrived time.Time
}

func (s *speech) say(ctx context.Context, count int, paced bool) error {
	for number := range count {
		if paced {
			due := s.arrived.Add(firstToken + time.Duration(number)*betweenTokens)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(due)):
			}
		}
		choice := fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, token.Of(number, time.Now()))
		if err := s.event(choice, "null"); err != nil {
			return err
		}
		if paced {
			if err := s.control.Flush(); err != nil {
				return err
			}
		}
	}
	usage := fmt.Sprintf(`{"prompt_tokens":12,"completion_tokens":%d,"total_tokens":%d}`, count, count+12)
	if err := s.event(`{"index":0,"delta":{},"finish_reason":"stop"}`, "null"); err != nil {
		return err
	}
	if err := s.event("", usage); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.writer, "data: [DONE]\n\n")
	return err
}

func (s *speech) event(choice, usage string) error {
	_, err := fmt.Fprintf(s.writer,
		`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":%d,"model":%q,"choices":[%s],"usage":%s}`+"\n\n",
		s.arrived.Unix(), s.model, choice, usage)
	return err
}
