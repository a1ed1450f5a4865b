// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
)

// names are whom a certificate is for.
type names struct {
	subject          string
	dns, emails, uri []string
	ips              []net.IP
}

func (n *names) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&n.subject, "subject", "", `the subject, such as "CN=host.example,O=Example" (CN, O, OU, C, ST, L, SERIALNUMBER)`)
	cmd.Flags().StringArrayVar(&n.dns, "dns", nil, "a DNS name (repeatable)")
	cmd.Flags().IPSliceVar(&n.ips, "ip", nil, "an IP address (repeatable)")
	cmd.Flags().StringArrayVar(&n.uri, "uri", nil, "a URI (repeatable)")
	cmd.Flags().StringArrayVar(&n.emails, "email", nil, "an e-mail address (repeatable)")
}

func (a *app) keyCSRCommand() *cobra.Command {
	var (
		tpm        tpmFlags
		out        outputFlags
		who        names
		selfSigned bool
		days       int
	)
	cmd := &cobra.Command{
		Use:   "csr TIK (--subject NAME | --dns NAME…) -o FILE",
		Short: "Make a certificate request, or a certificate, for a TLS identity key",
		Long: `Make a certificate request (PKCS #10) that the TLS identity key signs in its TPM,
for a certification authority to issue the key's certificate. With --self-signed
make a certificate that the key signs itself, for deployments without a
certification authority.

TIK is a key file or a persistent handle.`,
		Example: `  atls key csr tik.pem --subject CN=host.example --dns host.example -o host.csr
  atls key csr 0x81010003 --dns host.example --self-signed --days 30 -o host.crt`,
		Args: cobra.ExactArgs(1),
	}
	tpm.register(cmd)
	who.register(cmd)
	cmd.Flags().BoolVar(&selfSigned, "self-signed", false, "make a certificate instead of a request")
	cmd.Flags().IntVar(&days, "days", 90, "how long the certificate of --self-signed is valid")
	out.register(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		template, err := who.template()
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("days") && !selfSigned {
			return usageErrorf("--days is for --self-signed: a certification authority decides by itself")
		}
		if days < 1 || days > 10000 {
			return usageErrorf("--days %d: want 1 to 10000", days)
		}
		if err := out.check(); err != nil {
			return err
		}
		return a.withTPM(ctx, tpm, func(t *attester.TPM) error {
			tik, err := a.loadTIK(ctx, t, args[0])
			if err != nil {
				return err
			}
			block, err := certify(tik, tik.Signer().WithContext(ctx), template, selfSigned, days)
			if err != nil {
				return tpmErrorf("%w", err)
			}
			return a.write(out, pem.EncodeToMemory(block), 0o644)
		})
	}
	return cmd
}

// template checks the names.
func (n *names) template() (*x509.CertificateRequest, error) {
	subject, err := parseSubject(n.subject)
	if err != nil {
		return nil, usageErrorf("--subject: %w", err)
	}
	r := &x509.CertificateRequest{Subject: subject, DNSNames: n.dns, EmailAddresses: n.emails, IPAddresses: n.ips}
	for _, d := range n.dns {
		if d == "" || strings.ContainsAny(d, " /:@") {
			return nil, usageErrorf("--dns: %q is no DNS name", d)
		}
	}
	for _, e := range n.emails {
		if !strings.Contains(e, "@") {
			return nil, usageErrorf("--email: %q is no e-mail address", e)
		}
	}
	for _, s := range n.uri {
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" {
			return nil, usageErrorf("--uri: %q is no URI", s)
		}
		r.URIs = append(r.URIs, u)
	}
	if len(subject.ToRDNSequence()) == 0 && len(r.DNSNames)+len(r.EmailAddresses)+len(r.IPAddresses)+len(r.URIs) == 0 {
		return nil, usageErrorf("a certificate needs a name").withHint("give --subject, --dns, --ip, --uri or --email")
	}
	return r, nil
}

// parseSubject reads a distinguished name, the parts of which commas separate;
// a comma or backslash in a part has a backslash before it (RFC 4514).
func parseSubject(s string) (pkix.Name, error) {
	var name pkix.Name
	for _, part := range splitEscaped(s) {
		key, value, ok := strings.Cut(part, "=")
		if value = strings.TrimSpace(value); !ok || value == "" {
			return pkix.Name{}, fmt.Errorf("%q is not NAME=VALUE", part)
		}
		switch strings.ToUpper(strings.TrimSpace(key)) {
		case "CN":
			if name.CommonName != "" {
				return pkix.Name{}, errors.New("CN is there twice")
			}
			name.CommonName = value
		case "SERIALNUMBER":
			if name.SerialNumber != "" {
				return pkix.Name{}, errors.New("SERIALNUMBER is there twice")
			}
			name.SerialNumber = value
		case "O":
			name.Organization = append(name.Organization, value)
		case "OU":
			name.OrganizationalUnit = append(name.OrganizationalUnit, value)
		case "C":
			name.Country = append(name.Country, value)
		case "ST":
			name.Province = append(name.Province, value)
		case "L":
			name.Locality = append(name.Locality, value)
		default:
			return pkix.Name{}, fmt.Errorf("%q is not known: want CN, O, OU, C, ST, L or SERIALNUMBER", key)
		}
	}
	return name, nil
}

func splitEscaped(s string) []string {
	if s == "" {
		return nil
	}
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			parts[len(parts)-1] += s[i : i+1]
		case s[i] == ',':
			parts = append(parts, "")
		default:
			parts[len(parts)-1] += s[i : i+1]
		}
	}
	return parts
}

// certify has the key sign the request or the certificate.
func certify(tik *attester.TIK, signer crypto.Signer, r *x509.CertificateRequest, selfSigned bool, days int) (*pem.Block, error) {
	alg, err := x509Algorithm(tik.SignatureSchemes())
	if err != nil {
		return nil, err
	}
	if !selfSigned {
		r.SignatureAlgorithm = alg
		der, err := x509.CreateCertificateRequest(rand.Reader, r, signer)
		if err != nil {
			return nil, fmt.Errorf("make the request: %w", err)
		}
		return &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}, nil
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	// Peers' clocks are not all right.
	begin := time.Now().Add(-5 * time.Minute).Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               r.Subject,
		DNSNames:              r.DNSNames,
		EmailAddresses:        r.EmailAddresses,
		IPAddresses:           r.IPAddresses,
		URIs:                  r.URIs,
		NotBefore:             begin,
		NotAfter:              begin.AddDate(0, 0, days),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		SignatureAlgorithm:    alg,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make the certificate: %w", err)
	}
	return &pem.Block{Type: "CERTIFICATE", Bytes: der}, nil
}

// x509Algorithm is the algorithm of certificates for what the key was seen to
// sign.
func x509Algorithm(schemes []tls.SignatureScheme) (x509.SignatureAlgorithm, error) {
	algs := map[tls.SignatureScheme]x509.SignatureAlgorithm{
		tls.ECDSAWithP256AndSHA256: x509.ECDSAWithSHA256,
		tls.ECDSAWithP384AndSHA384: x509.ECDSAWithSHA384,
		tls.ECDSAWithP521AndSHA512: x509.ECDSAWithSHA512,
		tls.PSSWithSHA256:          x509.SHA256WithRSAPSS,
		tls.PSSWithSHA384:          x509.SHA384WithRSAPSS,
		tls.PSSWithSHA512:          x509.SHA512WithRSAPSS,
		tls.PKCS1WithSHA256:        x509.SHA256WithRSA,
		tls.PKCS1WithSHA384:        x509.SHA384WithRSA,
		tls.PKCS1WithSHA512:        x509.SHA512WithRSA,
	}
	for _, s := range schemes {
		if alg, ok := algs[s]; ok {
			return alg, nil
		}
	}
	return 0, fmt.Errorf("the key signs %v, none of which is for certificates", schemes)
}
