package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
)

func complete(writer http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	var asked struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	body, err := io.ReadAll(request.Body) // to its end, so that the server looks out for the connection's end from here on
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil || !asked.Stream {
		http.Error(writer, "want a JSON document with stream true", http.StatusBadRequest)
		return
	}
	manner, err := parseModel(asked.Model)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusNotFound)
		return
	}
	writer.Header().Set("Content-Type", "text/event-stream")
	speech := &speech{writer: writer, control: http.NewResponseController(writer), model: asked.Model, arrived: arrived}
	err = speech.say(request.Context(), manner)
	if request.Context().Err() != nil {
		noteClosed(body, time.Now())
	} else if err != nil {
		log.Printf("saying %s: %v", asked.Model, err)
	}
}

// speech is one answer as it is said.
type speech struct {
	writer  http.ResponseWriter
	control *http.ResponseController
	model   string
	arrived time.Time
}

func (s *speech) say(ctx context.Context, manner manner) error {
	for number := range manner.count {
		if err := manner.wait(ctx, s.arrived, number); err != nil {
			return err
		}
		choice := fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, token.Of(number, time.Now()))
		if err := s.event(choice, "null"); err != nil {
			return err
		}
		if manner.paced {
			if err := s.control.Flush(); err != nil {
				return err
			}
		}
	}
	if err := manner.hold(ctx); err != nil {
		return err
	}
	usage := fmt.Sprintf(`{"prompt_tokens":12,"completion_tokens":%d,"total_tokens":%d}`, manner.count, manner.count+12)
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
