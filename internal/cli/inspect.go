// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/rp/ear"
)

// inspected is a file's content: what it is, and its printer. Its JSON is the
// content's, with "file" and "kind" before it.
type inspected struct {
	kind    string
	content any
	print   func(io.Writer, paint)
}

func (a *app) inspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect FILE…",
		Short: "Show what is in a file",
		Long: `Show what is in a file, whatever it is: a CoRIM of either dialect, signed or not;
evidence, as a bundle or in a conceptual message wrapper (CMW); an attestation
result (EAR); a verifier's session; a TSS2 key file; a TPM2B_PUBLIC; a public key,
certificate or certificate request in PEM; a verifier's key (JWK); PCR values as
tpm2_pcrread prints them. With --json an array is printed, an element for each file.

Nothing is verified: what is shown is what the file says, whoever wrote it.`,
		Example: `  atls inspect machine.cbor evidence.cbor
  atls inspect --json result.jwt`,
		Args: cobra.MinimumNArgs(1),
	}
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var all []map[string]any
		for i, path := range args {
			data, err := a.readFile(path)
			if err != nil {
				return err
			}
			found, err := inspect(cmd.Context(), data)
			if err != nil {
				return inputErrorf("%s: %w", path, err)
			}
			if asJSON {
				entry, err := found.json(path)
				if err != nil {
					return err
				}
				all = append(all, entry)
				continue
			}
			if i > 0 {
				fmt.Fprintln(&a.out)
			}
			fmt.Fprintf(&a.out, "%s: %s\n", path, found.kind)
			found.print(&a.out, a.colours(a.env.StdoutTTY))
		}
		if asJSON {
			return a.printJSON(all)
		}
		return nil
	}
	return cmd
}

func (f *inspected) json(path string) (map[string]any, error) {
	data, err := json.Marshal(f.content)
	if err != nil {
		return nil, fmt.Errorf("make JSON: %w", err)
	}
	entry := make(map[string]any)
	if err := json.Unmarshal(data, &entry); err != nil {
		return nil, fmt.Errorf("make JSON: %w", err)
	}
	entry["file"], entry["kind"] = path, f.kind
	return entry, nil
}

// inspect tells what data is by how it begins, and reads it as that.
func inspect(ctx context.Context, data []byte) (*inspected, error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, errors.New("it is empty")
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return inspectPEM(text)
	case looksLikeJWT(text):
		return inspectEAR(ctx, string(text))
	case text[0] == '{':
		return inspectJSON(ctx, text)
	case text[0] == '[':
		return inspectRecord(ctx, data)
	}
	if _, err := parseTPM2B(data); err == nil {
		return inspectPublic(data)
	}
	if looksLikePCRValues(text) {
		return inspectPCRValues(data)
	}
	return inspectCBOR(ctx, data)
}

// inspectCBOR tells the kinds of CBOR (RFC 8949) apart by their first bytes.
func inspectCBOR(ctx context.Context, data []byte) (*inspected, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xd9, 0x01, 0xf5}), // tag 501, an unsigned CoRIM
		bytes.HasPrefix(data, []byte{0xd9, 0x01, 0xf4}),    // tag 500, any CoRIM
		bytes.HasPrefix(data, []byte{0xd2}),                // tag 18, COSE_Sign1
		bytes.HasPrefix(data, []byte{0xd9, 0x01, 0xf6}),    // tag 502, a signed CoRIM
		data[0]>>5 == 5 && len(data) > 1 && data[1] < 0x18: // a map whose keys are numbers
		return inspectCorim(data)
	case data[0]>>5 == 5: // any other map
		return inspectEvidence(data)
	case data[0]>>5 == 4: // an array
		return inspectRecord(ctx, data)
	}
	return nil, errors.New("it is nothing that this program knows: no CoRIM, evidence, attestation result, session or key")
}

// inspectRecord reads a CMW record: around evidence or an attestation result.
func inspectRecord(ctx context.Context, data []byte) (*inspected, error) {
	r, err := cmw.Decode(data)
	if err != nil {
		return nil, err
	}
	if r.Type == bundle.MediaType || !looksLikeJWT(r.Value) {
		return inspectEvidence(data)
	}
	found, err := inspectEAR(ctx, string(r.Value))
	if err != nil {
		return nil, fmt.Errorf("CMW of type %.100q: %w", r.Type, err)
	}
	found.kind += " (CMW)"
	return found, nil
}

func inspectPEM(text []byte) (*inspected, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it begins as PEM and is none")
	}
	if block.Type == "CERTIFICATE REQUEST" {
		r, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate request: %w", err)
		}
		info, err := publicKeyInfo("certificate request of "+r.Subject.String(), r.PublicKey)
		if err != nil {
			return nil, err
		}
		return keyFound(info), nil
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != keyFilePEM {
		return nil, fmt.Errorf("it holds a %s in the open: this program does not show it", block.Type)
	}
	if block.Type == "CERTIFICATE" {
		return inspectCertificate(block)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("something follows the PEM block")
	}
	info, _, err := publicKeyPEM(block)
	if err != nil {
		return nil, err
	}
	return keyFound(info), nil
}

func inspectCertificate(block *pem.Block) (*inspected, error) {
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := publicKeyInfo("certificate", cert.PublicKey)
	if err != nil {
		return nil, err
	}
	content := struct {
		Subject   string    `json:"subject"`
		Issuer    string    `json:"issuer"`
		Names     []string  `json:"names,omitempty"`
		NotBefore time.Time `json:"not-before"`
		NotAfter  time.Time `json:"not-after"`
		Key       *keyInfo  `json:"key"`
	}{cert.Subject.String(), cert.Issuer.String(), certNames(cert), cert.NotBefore.UTC(), cert.NotAfter.UTC(), key}
	return &inspected{"certificate", content, func(w io.Writer, _ paint) {
		t := newTable()
		t.row("subject", content.Subject)
		t.row("issuer", content.Issuer)
		t.row("names", strings.Join(content.Names, ", "))
		t.row("valid", formatTime(content.NotBefore)+" to "+formatTime(content.NotAfter))
		t.row("algorithm", key.Algorithm)
		t.row("kid", key.KID)
		t.print(w)
	}}, nil
}

func certNames(cert *x509.Certificate) []string {
	names := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return append(names, cert.EmailAddresses...)
}

func keyFound(info *keyInfo) *inspected {
	return &inspected{info.Kind, info, func(w io.Writer, _ paint) { info.print(w, true) }}
}

func inspectPublic(data []byte) (*inspected, error) {
	info, _, err := parsePublicKey(data)
	if err != nil {
		return nil, err
	}
	return keyFound(info), nil
}

func inspectEAR(ctx context.Context, token string) (*inspected, error) {
	info, err := readUnverifiedEAR(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("attestation result: %w", err)
	}
	return &inspected{"attestation result (EAR), not verified", info, info.print}, nil
}

func inspectJSON(ctx context.Context, text []byte) (*inspected, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("it begins as JSON and is none: %w", err)
	}
	switch {
	case fields["kty"] != nil:
		key, err := ear.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("JWK: %w", err)
		}
		info, err := publicKeyInfo("public key (JWK)", key.Public())
		if err != nil {
			return nil, err
		}
		return keyFound(info), nil
	case fields["nonce"] != nil && fields["accept"] != nil:
		return inspectSession(ctx, text)
	}
	return nil, errors.New("it is JSON, and neither a verifier's session nor a JWK")
}

// sessionInfo is a challenge-response session, as Veraison writes it.
type sessionInfo struct {
	Status   string          `json:"status"`
	Nonce    string          `json:"nonce"`
	Expiry   time.Time       `json:"expiry"`
	Accept   []string        `json:"accept"`
	Evidence json.RawMessage `json:"evidence,omitempty"`
	Result   string          `json:"result,omitempty"`
}

func inspectSession(ctx context.Context, text []byte) (*inspected, error) {
	var s sessionInfo
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	nonce, err := parseBase64(s.Nonce)
	if err != nil {
		return nil, fmt.Errorf("session: nonce: %w", err)
	}
	content := map[string]any{"status": s.Status, "nonce": hex.EncodeToString(nonce), "expiry": s.Expiry, "accept": s.Accept}
	var result *resultInfo
	if s.Result != "" {
		if result, err = readUnverifiedEAR(ctx, s.Result); err != nil {
			return nil, fmt.Errorf("session: result: %w", err)
		}
		content["result"] = result
	}
	return &inspected{"verifier's session", content, func(w io.Writer, p paint) {
		t := newTable()
		t.row("status", s.Status)
		t.rowf("nonce", "%x (base64url %s)", nonce, base64.RawURLEncoding.EncodeToString(nonce))
		t.row("expires", formatTime(s.Expiry))
		for _, m := range s.Accept {
			t.row("accepts", m)
		}
		t.print(w)
		if result != nil {
			fmt.Fprintln(w, "\nresult, not verified:")
			result.print(w, p)
		}
	}}, nil
}

func looksLikePCRValues(text []byte) bool {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	name, ok := strings.CutSuffix(strings.TrimSpace(string(first)), ":")
	return ok && bankSize(name) > 0
}

func inspectPCRValues(data []byte) (*inspected, error) {
	p, err := parsePCRValues(data)
	if err != nil {
		return nil, fmt.Errorf("PCR values: %w", err)
	}
	values, err := p.take(nil)
	if err != nil {
		return nil, err
	}
	// Any class: a state sorts its values.
	state, err := endorsements.NewReferenceState("00000000-0000-0000-0000-000000000000", values)
	if err != nil {
		return nil, fmt.Errorf("PCR values: %w", err)
	}
	info := newStateInfo(state)
	return &inspected{"PCR values", info, func(w io.Writer, _ paint) { info.print(w) }}, nil
}
