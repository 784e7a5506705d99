// Command payload seals and opens the secretbox envelope as a small Go program of January 2015
// would: one struct, encoding/gob and golang.org/x/crypto/nacl/secretbox, nothing else. The Go
// standard library, not our reading of it, says here what the bytes are.
//
//	payload seal DATAKEYHEX WRAPPEDKEYHEX [NONCEHEX]   plaintext on stdin, payload on stdout
//	payload open DATAKEYHEX                            payload on stdin, plaintext on stdout
//	payload wrapped                                    payload on stdin, wrapped key in hex on stdout
//	payload nonce                                      payload on stdin, nonce in hex on stdout
//
// It asks no key service: the caller turns the wrapped key into the data key between two runs.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/nacl/secretbox"
)

// payload is the envelope. Gob writes the names of the type and of its fields into the stream, and
// numbers types in the order in which a process first meets them: this must stay the only one.
type payload struct {
	Key     []byte // the data key, wrapped by the key service
	Nonce   [24]byte
	Message []byte // Poly1305 tag, then the XSalsa20 ciphertext
}

const usage = "usage: payload seal DATAKEYHEX WRAPPEDKEYHEX [NONCEHEX] | open DATAKEYHEX | wrapped | nonce"

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "payload:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	input, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	switch command, n := args[0], len(args); {
	case command == "seal" && (n == 3 || n == 4):
		return seal(args[1:], input, out)
	case command == "open" && n == 2:
		return open(args[1], input, out)
	case command == "wrapped" && n == 1:
		p, err := decode(input)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, hex.EncodeToString(p.Key))
		return err
	case command == "nonce" && n == 1:
		p, err := decode(input)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, hex.EncodeToString(p.Nonce[:]))
		return err
	}
	return errors.New(usage)
}

// seal takes DATAKEYHEX WRAPPEDKEYHEX [NONCEHEX]; without a nonce it draws one.
func seal(args []string, plaintext []byte, out io.Writer) error {
	key, err := dataKey(args[0])
	if err != nil {
		return err
	}
	var p payload
	if p.Key, err = hex.DecodeString(args[1]); err != nil {
		return fmt.Errorf("wrapped key: %w", err)
	}
	if len(args) == 3 {
		err = fixedHex(p.Nonce[:], args[2])
	} else {
		_, err = rand.Read(p.Nonce[:])
	}
	if err != nil {
		return fmt.Errorf("nonce: %w", err)
	}
	p.Message = secretbox.Seal(nil, plaintext, &p.Nonce, key)
	return gob.NewEncoder(out).Encode(&p)
}

func open(keyHex string, input []byte, out io.Writer) error {
	key, err := dataKey(keyHex)
	if err != nil {
		return err
	}
	p, err := decode(input)
	if err != nil {
		return err
	}
	plaintext, authentic := secretbox.Open(nil, p.Message, &p.Nonce, key)
	if !authentic {
		return errors.New("not authentic")
	}
	_, err = out.Write(plaintext)
	return err
}

func decode(input []byte) (*payload, error) {
	p := new(payload)
	if err := gob.NewDecoder(bytes.NewReader(input)).Decode(p); err != nil {
		return nil, fmt.Errorf("not a payload: %w", err)
	}
	return p, nil
}

func dataKey(keyHex string) (*[32]byte, error) {
	key := new([32]byte)
	if err := fixedHex(key[:], keyHex); err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return key, nil
}

// fixedHex fills into exactly.
func fixedHex(into []byte, text string) error {
	if len(text) != hex.EncodedLen(len(into)) {
		return fmt.Errorf("%d bytes wanted", len(into))
	}
	_, err := hex.Decode(into, []byte(text))
	return err
}
