package main

import (
	"encoding/json"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
)

// closed is when the connections were closed of those streams that were given up, by their tags, in microseconds since 1970.
var closed = struct {
	sync.Mutex
	at map[string]int64
}{at: map[string]int64{}}

func noteClosed(body []byte, now time.Time) {
	tag := token.FindTag(body)
	if tag == "" {
		return
	}
	closed.Lock()
	defer closed.Unlock()
	closed.at[tag] = now.UnixMicro()
}

func tellClosed(writer http.ResponseWriter, _ *http.Request) {
	closed.Lock()
	defer closed.Unlock()
	if err := json.NewEncoder(writer).Encode(closed.at); err != nil {
		log.Printf("telling what was closed: %v", err)
	}
}
