// Command relay is the yardstick: the least that relays an OpenAI-compatible stream as headwater.v1.AnswerService/StreamAnswer, with
// net/http, encoding/json and grpc-go as they come. It follows the rules of the stream, and has nothing else of Headwater.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"google.golang.org/grpc"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	upstream := flag.String("upstream", "", "the OpenAI-compatible server's URL, up to and with /v1")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0 // no limit
	transport.MaxIdleConnsPerHost = 10_000
	server := grpc.NewServer()
	headwaterv1.RegisterAnswerServiceServer(server, &relay{url: *upstream, client: &http.Client{Transport: transport}})
	fmt.Printf("ready %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
