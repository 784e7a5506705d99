// Command kms is a client of a KMS by the AWS SDK for Go, version 1. It knows the endpoint, which
// that version takes from its caller, and has everything else from the environment.
//
//	kms encrypt KEY NAME=VALUE    plaintext on stdin, ciphertext blob on stdout
//	kms decrypt NAME=VALUE        ciphertext blob on stdin, plaintext on stdout
//	kms data-key KEY              prints the lengths of a data key and of its blob
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/kms"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kms:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: kms encrypt KEY NAME=VALUE | decrypt NAME=VALUE | data-key KEY")
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL_KMS")
	given, err := session.NewSession(&aws.Config{Endpoint: aws.String(endpoint)})
	if err != nil {
		return err
	}
	client := kms.New(given)
	last := arguments[len(arguments)-1]
	switch arguments[0] {
	case "encrypt":
		plaintext, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		answer, err := client.Encrypt(&kms.EncryptInput{
			KeyId: aws.String(arguments[1]), Plaintext: plaintext, EncryptionContext: context(last),
		})
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(answer.CiphertextBlob)
		return err
	case "decrypt":
		blob, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		answer, err := client.Decrypt(&kms.DecryptInput{
			CiphertextBlob: blob, EncryptionContext: context(last),
		})
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(answer.Plaintext)
		return err
	case "data-key":
		answer, err := client.GenerateDataKey(&kms.GenerateDataKeyInput{
			KeyId: aws.String(last), KeySpec: aws.String("AES_256"),
		})
		if err != nil {
			return err
		}
		fmt.Println(len(answer.Plaintext), len(answer.CiphertextBlob))
		return nil
	}
	return errors.New("no command " + arguments[0])
}

func context(pair string) map[string]*string {
	name, value, _ := strings.Cut(pair, "=")
	return map[string]*string{name: aws.String(value)}
}
