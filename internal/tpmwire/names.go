// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"crypto"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// algNames are tpm2-tools' names of the algorithms that evidence can carry.
// Any other is written as its number.
var algNames = map[tpm2.TPMAlgID]string{
	tpm2.TPMAlgSHA1:      "sha1",
	tpm2.TPMAlgSHA256:    "sha256",
	tpm2.TPMAlgSHA384:    "sha384",
	tpm2.TPMAlgSHA512:    "sha512",
	tpm2.TPMAlgNull:      "null",
	tpm2.TPMAlgRSASSA:    "rsassa",
	tpm2.TPMAlgRSAPSS:    "rsapss",
	tpm2.TPMAlgRSAES:     "rsaes",
	tpm2.TPMAlgOAEP:      "oaep",
	tpm2.TPMAlgECDSA:     "ecdsa",
	tpm2.TPMAlgECDAA:     "ecdaa",
	tpm2.TPMAlgECDH:      "ecdh",
	tpm2.TPMAlgECSchnorr: "ecschnorr",
	tpm2.TPMAlgSM2:       "sm2",
}

// AlgName names an algorithm as tpm2-tools do, or by its number: 0x0027.
func AlgName(alg tpm2.TPMAlgID) string {
	if name, ok := algNames[alg]; ok {
		return name
	}
	return fmt.Sprintf("0x%04x", uint16(alg))
}

func parseAlg(name string) (tpm2.TPMAlgID, error) {
	for alg, n := range algNames {
		if n == name {
			return alg, nil
		}
	}
	if digits, ok := strings.CutPrefix(name, "0x"); ok && len(digits) == 4 {
		n, err := strconv.ParseUint(digits, 16, 16)
		// A named algorithm has no second spelling.
		if alg := tpm2.TPMAlgID(n); err == nil && AlgName(alg) == name {
			return alg, nil
		}
	}
	return 0, fmt.Errorf("unknown algorithm %.20q", name)
}

// HashName names an accepted hash: sha256.
func HashName(h crypto.Hash) string {
	alg, _ := HashAlg(h)
	return AlgName(alg)
}

// ParseHash reads what HashName writes.
func ParseHash(name string) (crypto.Hash, error) {
	alg, err := parseAlg(name)
	if err != nil {
		return 0, err
	}
	return Hash(alg)
}

// Scheme is a key's scheme and the hash that goes with it, zero for none.
type Scheme struct{ Alg, Hash tpm2.TPMAlgID }

// String names the scheme and its hash: ecdsa-sha256, or null.
func (s Scheme) String() string {
	if s.Hash == 0 {
		return AlgName(s.Alg)
	}
	return AlgName(s.Alg) + "-" + AlgName(s.Hash)
}

// ParseScheme reads what String writes.
func ParseScheme(s string) (Scheme, error) {
	name, hashName, hashed := strings.Cut(s, "-")
	alg, err := parseAlg(name)
	if err != nil {
		return Scheme{}, err
	}
	if !hashed {
		return Scheme{Alg: alg}, nil
	}
	hash, err := parseAlg(hashName)
	if err == nil && hash == 0 {
		err = fmt.Errorf("%.20q names no hash", s)
	}
	return Scheme{Alg: alg, Hash: hash}, err
}

// attributeNames are Part 2's (section 8.3.2), indexed by bit.
var attributeNames = [32]string{
	1: "fixedTPM", 2: "stClear", 4: "fixedParent", 5: "sensitiveDataOrigin",
	6: "userWithAuth", 7: "adminWithPolicy", 8: "firmwareLimited", 9: "svnLimited",
	10: "noDA", 11: "encryptedDuplication",
	16: "restricted", 17: "decrypt", 18: "sign", 19: "x509sign",
}

// String names the attributes that are set, as tpm2-tools do:
// fixedTPM|fixedParent|sign. A reserved one is shown by its bit.
func (a Attributes) String() string {
	buf := make([]byte, 0, 128)
	for bit := range 32 {
		if a&(1<<bit) == 0 {
			continue
		}
		if len(buf) > 0 {
			buf = append(buf, '|')
		}
		if name := attributeNames[bit]; name != "" {
			buf = append(buf, name...)
		} else {
			buf = fmt.Appendf(buf, "bit%d", bit)
		}
	}
	return string(buf)
}

// ParseAttributes reads what String writes, and nothing else.
func ParseAttributes(s string) (Attributes, error) {
	var a Attributes
	if s == "" {
		return 0, nil
	}
	for name := range strings.SplitSeq(s, "|") {
		bit := attributeBit(name)
		if bit < 0 || a>>bit != 0 {
			return 0, fmt.Errorf("unexpected attribute %.24q", name)
		}
		a |= 1 << bit
	}
	return a, nil
}

// attributeBit returns the bit of a name that String writes, or -1.
func attributeBit(name string) int {
	for bit, n := range attributeNames {
		if n != "" && n == name || n == "" && name == "bit"+strconv.Itoa(bit) {
			return bit
		}
	}
	return -1
}
