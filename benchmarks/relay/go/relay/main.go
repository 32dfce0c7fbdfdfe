// Command relay is the yardstick: the least that relays an OpenAI-compatible stream, or an AssistantService's, as
// headwater.v1.AnswerService/StreamAnswer, with net/http, encoding/json and grpc-go as they come. It follows the rules of the stream, and
// has nothing else of Headwater.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	upstream := flag.String("upstream", "", "the OpenAI-compatible server's URL, up to and with /v1")
	assistant := flag.String("assistant", "", "the AssistantService to relay in its place, host:port")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	source, err := newSource(*upstream, *assistant)
	if err != nil {
		log.Fatalf("reaching the assistant: %v", err)
	}
	server := grpc.NewServer()
	headwaterv1.RegisterAnswerServiceServer(server, &relay{source: source})
	fmt.Printf("ready %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}

// newSource is where answers come from: an AssistantService if there is an address of one, else an OpenAI-compatible server.
func newSource(upstream, assistant string) (source, error) {
	if assistant != "" {
		connection, err := grpc.NewClient(assistant, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		return &generated{client: headwaterv1.NewAssistantServiceClient(connection)}, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0 // no limit
	transport.MaxIdleConnsPerHost = 10_000
	return &completions{url: upstream, client: &http.Client{Transport: transport}}, nil
}
