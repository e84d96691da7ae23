// Go's net/http behind a proxy: a server that says what it has understood.
//
// It prints its port, then a JSON object for each request: which connection brought it and as which one there,
// method, target and body, and whether that was complete. What net/http refuses by itself is one with `refused`.
// It runs until its standard input ends.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

type seen struct {
	Connection int    `json:"connection"`
	Number     int    `json:"number"`
	Method     string `json:"method"`
	Target     string `json:"target"`
	Body       []byte `json:"body"`
	Complete   bool   `json:"complete"`
	Refused    string `json:"refused"`
}

var (
	writing sync.Mutex
	output  = json.NewEncoder(os.Stdout)
)

func say(what seen) {
	writing.Lock()
	defer writing.Unlock()
	_ = output.Encode(what)
}

// A connection that knows how many requests it has brought.
type connection struct {
	net.Conn
	id       int
	requests atomic.Int64
}

// The handler says nothing but 200; anything else is what net/http says to what it does not take.
func (c *connection) Write(data []byte) (int, error) {
	if bytes.HasPrefix(data, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(data, []byte("HTTP/1.1 200 ")) {
		line, _, _ := bytes.Cut(data, []byte("\r\n"))
		say(seen{Connection: c.id, Refused: string(line)})
	}
	return c.Conn.Write(data)
}

type listener struct {
	net.Listener
	connections int
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.connections++
	return &connection{Conn: raw, id: l.connections}, nil
}

type key struct{}

func answer(writer http.ResponseWriter, request *http.Request) {
	from := request.Context().Value(key{}).(*connection)
	number := int(from.requests.Add(1))
	body, err := io.ReadAll(request.Body)
	say(seen{
		Connection: from.id,
		Number:     number,
		Method:     request.Method,
		Target:     request.RequestURI,
		Body:       body,
		Complete:   err == nil,
	})
	writer.Header().Set("X-Behind", "go")
	_, _ = io.WriteString(writer, "ok")
}

func main() {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := &http.Server{
		Handler:                      http.HandlerFunc(answer),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c)
		},
	}
	fmt.Println(raw.Addr().(*net.TCPAddr).Port)
	go func() { _ = server.Serve(&listener{Listener: raw}) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}
