// A second implementation to talk to: Go's net/http and crypto/tls, and quic-go.
//
// It makes one request over one protocol with the key exchange groups it is told to offer, and prints
// what was negotiated as one JSON object. It can upload first, or give up on a first download, and then
// uses the same connection. Any failure is one line on stderr and exit code 1.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

var groups = map[string]tls.CurveID{
	"X25519MLKEM768":     tls.X25519MLKEM768,
	"SecP256r1MLKEM768":  tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
	"X25519":             tls.X25519,
	"P-256":              tls.CurveP256,
	"P-384":              tls.CurveP384,
}

type report struct {
	Protocol string              `json:"protocol"`
	ALPN     string              `json:"alpn"`
	Group    uint16              `json:"group_code"`
	Status   int                 `json:"status"`
	Bytes    int64               `json:"bytes"`
	SHA256   string              `json:"sha256"`
	Fields   map[string][]string `json:"fields"`
	Upload   *upload             `json:"upload,omitempty"`
}

// What became of an upload.
type upload struct {
	Status int    `json:"status"`
	Taken  int64  `json:"taken"`
	Said   string `json:"said"`
}

const blockSize = 1 << 16

// A body of numbered blocks that knows how much of it was taken. It may be read while the answer is here already.
type blocks struct {
	size  int64
	taken atomic.Int64
	block [blockSize]byte
}

func newBlocks(size int64) *blocks {
	body := &blocks{size: size}
	for at := range body.block {
		body.block[at] = byte(at*7 + at>>8)
	}
	return body
}

func (body *blocks) Read(buffer []byte) (int, error) {
	at := body.taken.Load()
	if at == body.size {
		return 0, io.EOF
	}
	binary.BigEndian.PutUint64(body.block[:], uint64(at/blockSize))
	rest := body.block[at%blockSize:]
	size := copy(buffer, rest[:min(int64(len(rest)), body.size-at)])
	body.taken.Add(int64(size))
	return size, nil
}

func main() {
	url := flag.String("url", "", "what to get")
	alpn := flag.String("alpn", "h2", "velocity/1, h3, h2 or http/1.1")
	offer := flag.String("groups", "X25519MLKEM768", "key exchange groups to offer, comma-separated")
	roots := flag.String("cacert", "", "PEM file of the root to trust")
	size := flag.Int64("upload", 0, "bytes to POST to the same URL first")
	cancel := flag.Int64("cancel", 0, "of how many bytes a first download of the same URL is given up")
	times := flag.Int("times", 1, "how often to do that")
	flag.Parse()

	answer, err := conversation(*url, *alpn, *offer, *roots, *size, *cancel, *times)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func conversation(url, alpn, offer, roots string, size, cancel int64, times int) (*report, error) {
	client, err := newClient(alpn, offer, roots)
	if err != nil {
		return nil, err
	}
	var uploaded *upload
	for range times {
		if cancel > 0 {
			if err := giveUp(client, url, cancel); err != nil {
				return nil, fmt.Errorf("the download to be given up: %w", err)
			}
		}
		if size > 0 {
			if uploaded, err = post(client, url, size); err != nil {
				return nil, fmt.Errorf("the upload: %w", err)
			}
		}
	}
	answer, err := get(client, url)
	if err == nil {
		answer.Upload = uploaded
	}
	return answer, err
}

// Read so many bytes of an answer and want no more.
func giveUp(client *http.Client, url string, size int64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.CopyN(io.Discard, response.Body, size)
	return err
}

func post(client *http.Client, url string, size int64) (*upload, error) {
	body := newBlocks(size)
	request, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = size
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &upload{Status: response.StatusCode, Taken: body.taken.Load(), Said: string(said)}, nil
}

func newClient(alpn, offer, roots string) (*http.Client, error) {
	config, err := tlsConfig(offer, roots)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 5 * time.Minute}
	switch alpn {
	case "velocity/1", "h3":
		client.Transport = &http3.Transport{
			TLSClientConfig: config,
			Dial: func(ctx context.Context, address string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
				tlsConfig.NextProtos = []string{alpn}
				return quic.DialAddr(ctx, address, tlsConfig, config)
			},
		}
	case "h2", "http/1.1":
		protocols := new(http.Protocols)
		protocols.SetHTTP1(alpn == "http/1.1")
		protocols.SetHTTP2(alpn == "h2")
		client.Transport = &http.Transport{TLSClientConfig: config, Protocols: protocols}
	default:
		return nil, fmt.Errorf("unknown protocol %q", alpn)
	}
	return client, nil
}

func get(client *http.Client, url string) (*report, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, response.Body)
	if err != nil {
		return nil, err
	}
	return &report{
		Protocol: response.Proto,
		ALPN:     response.TLS.NegotiatedProtocol,
		Group:    uint16(response.TLS.CurveID),
		Status:   response.StatusCode,
		Bytes:    size,
		SHA256:   hex.EncodeToString(digest.Sum(nil)),
		Fields:   response.Header,
	}, nil
}

func tlsConfig(offer, roots string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	for name := range strings.SplitSeq(offer, ",") {
		group, known := groups[name]
		if !known {
			return nil, fmt.Errorf("unknown group %q", name)
		}
		config.CurvePreferences = append(config.CurvePreferences, group)
	}
	pem, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + roots)
	}
	return config, nil
}
