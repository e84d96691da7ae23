// A server that is not ours, for our client: quic-go's HTTP/3.
//
// It serves the files of a folder, and answers POST /echo with what it received: the number of bytes and
// their SHA-256, as one JSON object. It prints its port and runs until its standard input ends.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/quic-go/quic-go/http3"
)

type echo struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func main() {
	root := flag.String("root", "", "the folder to serve")
	cert := flag.String("cert", "", "PEM file of the certificate")
	key := flag.String("key", "", "PEM file of its key")
	flag.Parse()

	if err := serve(*root, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(root, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(root)))
	mux.HandleFunc("POST /echo", received)
	server := &http3.Server{
		Handler:   mux,
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}),
	}
	fmt.Println(socket.LocalAddr().(*net.UDPAddr).Port)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socket) }()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		failed <- nil
	}()
	return <-failed
}

func received(answer http.ResponseWriter, request *http.Request) {
	digest := sha256.New()
	size, err := io.Copy(digest, request.Body)
	if err != nil {
		return // The client gave up.
	}
	_ = json.NewEncoder(answer).Encode(echo{Bytes: size, SHA256: hex.EncodeToString(digest.Sum(nil))})
}
