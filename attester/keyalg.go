// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
)

// ErrUnsupportedAlgorithm says that the TPM lacks an algorithm, a curve, or a
// key size.
var ErrUnsupportedAlgorithm = errors.New("the TPM does not support the algorithm")

// Scheme is a signature scheme.
type Scheme uint8

// The signature schemes. None is the default.
const (
	_ Scheme = iota
	ECDSA
	RSASSA // PKCS #1 v1.5
	RSAPSS
	// RSA is both RSASSA and RSAPSS with any hash, as the signer is asked for
	// (TPM_ALG_NULL): for a TIK that serves TLS 1.3 and 1.2. Prefer RSAPSS,
	// which TLS 1.3 alone needs: one key for one scheme.
	RSA
)

// KeyAlg is a signing key's algorithm: everything that its signatures need,
// so that the TPM lets the key sign in no other way, unless Scheme is RSA. The
// zero value is refused.
type KeyAlg struct {
	Scheme Scheme
	// Bits is 256, 384 or 521 for ECDSA (the NIST curves), and 2048, 3072 or
	// 4096 for RSA.
	Bits int
	// Hash is SHA-256, SHA-384 or SHA-512, and 0 for RSA.
	Hash crypto.Hash
}

// ParseKeyAlg reads what String writes.
func ParseKeyAlg(s string) (KeyAlg, error) {
	scheme, rest, _ := strings.Cut(s, "-")
	size, hash, _ := strings.Cut(rest, "-")
	var alg KeyAlg
	for _, c := range []Scheme{ECDSA, RSASSA, RSAPSS, RSA} {
		if c.String() == scheme {
			alg.Scheme = c
		}
	}
	if alg.Scheme == ECDSA {
		size = strings.TrimPrefix(size, "p")
	}
	alg.Bits, _ = strconv.Atoi(size)
	alg.Hash = hashes[hash]
	// What was read must be what would be written: p0256 and 2048 for a curve
	// are not.
	if err := alg.check(); err != nil || alg.String() != s {
		return KeyAlg{}, fmt.Errorf("key algorithm %q: want one such as ecdsa-p256-sha256, rsapss-3072-sha384, rsassa-2048-sha256 or rsa-2048", s)
	}
	return alg, nil
}

// String writes the algorithm: ecdsa-p256-sha256, rsassa-2048-sha256, rsa-2048.
func (a KeyAlg) String() string {
	prefix := ""
	if a.Scheme == ECDSA {
		prefix = "p"
	}
	if a.Scheme == RSA && a.Hash == 0 {
		return fmt.Sprintf("%v-%d", a.Scheme, a.Bits)
	}
	return fmt.Sprintf("%v-%s%d-%s", a.Scheme, prefix, a.Bits, hashName(a.Hash))
}

func (s Scheme) String() string {
	switch s {
	case ECDSA:
		return "ecdsa"
	case RSASSA:
		return "rsassa"
	case RSAPSS:
		return "rsapss"
	case RSA:
		return "rsa"
	default:
		return fmt.Sprintf("scheme%d", uint8(s))
	}
}

func (a KeyAlg) check() error {
	if a == (KeyAlg{}) {
		return errors.New("no key algorithm given")
	}
	ok := false
	switch a.Scheme {
	case ECDSA:
		ok = a.Bits == 256 || a.Bits == 384 || a.Bits == 521
	case RSASSA, RSAPSS, RSA:
		ok = a.Bits == 2048 || a.Bits == 3072 || a.Bits == 4096
	}
	_, known := tpmwire.HashAlg(a.Hash)
	if a.Scheme == RSA {
		known = a.Hash == 0
	}
	if !ok || !known {
		return fmt.Errorf("key algorithm %v is not offered", a)
	}
	return nil
}

// parameters are the algorithm's in a TPM's terms (Part 2, section 12.2.3). a
// has been checked.
func (a KeyAlg) parameters() (tpm2.TPMAlgID, tpm2.TPMUPublicParms) {
	hash, _ := tpmwire.HashAlg(a.Hash)
	switch a.Scheme {
	case ECDSA:
		return tpm2.TPMAlgECC, tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash}),
			},
			CurveID: map[int]tpm2.TPMECCCurve{
				256: tpm2.TPMECCNistP256, 384: tpm2.TPMECCNistP384, 521: tpm2.TPMECCNistP521,
			}[a.Bits],
		})
	case RSASSA:
		return a.rsaParameters(tpm2.TPMAlgRSASSA,
			tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: hash}))
	case RSA:
		return a.rsaParameters(tpm2.TPMAlgNull, tpm2.TPMUAsymScheme{})
	default:
		return a.rsaParameters(tpm2.TPMAlgRSAPSS,
			tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSAPSS, &tpm2.TPMSSigSchemeRSAPSS{HashAlg: hash}))
	}
}

func (a KeyAlg) rsaParameters(scheme tpm2.TPMAlgID, details tpm2.TPMUAsymScheme) (tpm2.TPMAlgID, tpm2.TPMUPublicParms) {
	return tpm2.TPMAlgRSA, tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Scheme:  tpm2.TPMTRSAScheme{Scheme: scheme, Details: details},
		KeyBits: tpm2.TPMKeyBits(a.Bits),
	})
}

// supported asks the TPM whether it has the algorithm. TPM2_TestParms (Part 3)
// is the one command that knows about RSA key sizes.
func (a KeyAlg) supported(o *operation) error {
	typ, parameters := a.parameters()
	_, err := tpm2.TestParms{Parameters: tpm2.TPMTPublicParms{Type: typ, Parameters: parameters}}.Execute(o)
	switch {
	case err == nil, errors.Is(err, tpm2.TPMRCCommandCode):
		// A TPM without the command says it when the key is created.
		return nil
	case isResponse(err):
		return fmt.Errorf("%w: %v: TPM2_TestParms: %w", ErrUnsupportedAlgorithm, a, err)
	default:
		return err
	}
}
