// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
)

// Evidence for a nonce, from a TPM simulator. On a machine with a TPM
// "device:/dev/tpmrm0" takes the place of "simulator:", and no opener is
// needed.
func Example() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()

	alg, err := attester.ParseKeyAlg("ecdsa-p256-sha256")
	if err != nil {
		log.Fatal(err)
	}
	ak, err := tpm.CreateAK(ctx, alg) // ak.KID() and ak.PEM() are to be provisioned
	if err != nil {
		log.Fatal(err)
	}
	tik, err := tpm.CreateTIK(ctx, alg)
	if err != nil {
		log.Fatal(err)
	}
	pcrs, err := attester.ParseSelection("sha256:0,1,7")
	if err != nil {
		log.Fatal(err)
	}
	a, err := attester.NewAttester(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: pcrs})
	if err != nil {
		log.Fatal(err) // what a verifier would refuse, too
	}

	nonce := make([]byte, 32) // the verifier's
	rand.Read(nonce)
	cmw, err := a.Attest(ctx, nonce)
	if err != nil {
		log.Fatal(err)
	}

	// What a verifier does first, with the AK that was provisioned.
	evidence, err := bundle.Unwrap(cmw)
	if err != nil {
		log.Fatal(err)
	}
	unverified, err := bundle.Parse(evidence)
	if err != nil {
		log.Fatal(err)
	}
	_, err = unverified.Verify(ak.Public(), nonce)
	fmt.Println(err)
	// Output: <nil>
}

// Keys are made once and kept: here in files, which OpenSSL's tpm2 provider
// and tpm2-tools read as well. A persistent handle such as 0x81010002 may take
// a path's place.
func ExampleTPM_SaveKey() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tik.pem")

	tik, err := tpm.LoadTIK(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("making a key")
		var alg attester.KeyAlg
		if alg, err = attester.ParseKeyAlg("ecdsa-p256-sha256"); err != nil {
			log.Fatal(err)
		}
		if tik, err = tpm.CreateTIK(ctx, alg); err != nil {
			log.Fatal(err)
		}
		err = tpm.SaveKey(ctx, tik.Key(), path)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(tpm.SaveKey(ctx, tik.Key(), path), fs.ErrExist)) // what is there stays
	again, err := tpm.LoadTIK(ctx, path)
	fmt.Println(err, again.SignatureSchemes())
	// Output:
	// making a key
	// true
	// <nil> [ECDSAWithP256AndSHA256]
}

// A TLS server's key that is in a TPM.
func ExampleTIK_Certificate() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	alg, err := attester.ParseKeyAlg("ecdsa-p256-sha256")
	if err != nil {
		log.Fatal(err)
	}
	tik, err := tpm.CreateTIK(ctx, alg)
	if err != nil {
		log.Fatal(err)
	}

	// A CA's work, as a rule: the TIK signs the request.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"machine.example"},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, tik.Public(), tik.Signer())
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := tik.Certificate(der)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Instead of Certificates, so that a handshake that is given up does
		// not wait for the TPM.
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := certificate
			c.PrivateKey = tik.Signer().WithContext(hello.Context())
			return &c, nil
		},
	}
	fmt.Println(config.GetCertificate != nil, certificate.Leaf.DNSNames)
	// Output: true [machine.example]
}
