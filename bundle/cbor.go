// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/veraison/attested-tls/internal/badevidence"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// wire is the CBOR map of a bundle.
type wire struct {
	KAT wireKAT `cbor:"kat"`
	PAT wirePAT `cbor:"pat"`
}

type wireKAT struct {
	TPMVer   string `cbor:"tpmVer"`
	KID      octets `cbor:"kid"`
	Sig      octets `cbor:"sig"`
	CertInfo octets `cbor:"certInfo"`
	PubArea  octets `cbor:"pubArea"`
}

type wirePAT struct {
	TPMVer     string `cbor:"tpmVer"`
	KID        octets `cbor:"kid"`
	Sig        octets `cbor:"sig"`
	AttestInfo octets `cbor:"attestInfo"`
}

// octets is a byte string and nothing else: the library also takes an array of
// numbers for a []byte. It refers to the input instead of copying it, which is
// sound because Decode hands the library the caller's whole input at once.
type octets []byte

func (o *octets) UnmarshalCBOR(data []byte) error {
	// RFC 8949, section 3: the library has checked that data is one well-formed
	// item with a definite length, so its length is what follows the head.
	const majorByteString = 2
	if len(data) == 0 || data[0]>>5 != majorByteString {
		return errors.New("a field that holds bytes is not a CBOR byte string")
	}
	head := 1
	if info := data[0] & 0x1f; info >= 24 {
		head += 1 << (info - 24)
	}
	if head > len(data) {
		return errors.New("a byte string ends within its head")
	}
	*o = data[head:len(data):len(data)]
	return nil
}

// size is the length of the bundle's encoding with every head in its shortest
// form, as Parsec's specification asks for it (CTAP canonical CBOR). What the
// decoder lets through can be longer by nothing but heads.
func (w *wire) size() int {
	text := func(s string) int { return headSize(len(s)) + len(s) }
	octets := func(name string, o octets) int { return text(name) + headSize(len(o)) + len(o) }
	k, p := &w.KAT, &w.PAT
	const maps = 3 // each with fewer than 24 pairs: a head of one byte
	return maps +
		text("kat") + text("tpmVer") + text(k.TPMVer) +
		octets("kid", k.KID) + octets("sig", k.Sig) + octets("certInfo", k.CertInfo) + octets("pubArea", k.PubArea) +
		text("pat") + text("tpmVer") + text(p.TPMVer) +
		octets("kid", p.KID) + octets("sig", p.Sig) + octets("attestInfo", p.AttestInfo)
}

// headSize is the length of the shortest head of a string (RFC 8949, section
// 3).
func headSize(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	default:
		return 3 // as long as a bundle can be
	}
}

// Encode makes the bundle of two tokens, deterministically (RFC 8949, section
// 4.2.1). It does not look inside them.
func Encode(k kat.Token, p pat.Token) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("setting up the CBOR encoder: %w", err)
	}
	return enc.Marshal(wire{
		KAT: wireKAT{TPMVer: k.TPMVer, KID: k.KID, Sig: k.Sig, CertInfo: k.CertInfo, PubArea: k.PubArea},
		PAT: wirePAT{TPMVer: p.TPMVer, KID: p.KID, Sig: p.Sig, AttestInfo: p.AttestInfo},
	})
}

// Decode splits a bundle into its tokens without looking inside them. They
// refer to data.
func Decode(data []byte) (kat.Token, pat.Token, error) {
	if len(data) > MaxSize {
		return kat.Token{}, pat.Token{}, badevidence.Errorf(Malformed, "",
			"evidence of %d bytes, at most %d are read", len(data), MaxSize)
	}
	dec, err := decoder()
	if err != nil {
		return kat.Token{}, pat.Token{}, fmt.Errorf("setting up the CBOR decoder: %w", err)
	}
	var w wire
	if err := dec.Unmarshal(data, &w); err != nil {
		return kat.Token{}, pat.Token{}, badevidence.Errorf(Malformed, "", "evidence is not a CBOR map of kat and pat: %w", inCBORsWords(err))
	}
	if n := w.size(); len(data) > n {
		return kat.Token{}, pat.Token{}, badevidence.Errorf(Malformed, "",
			"evidence is not in its shortest form: %d bytes where %d will do", len(data), n)
	}
	k, p := &w.KAT, &w.PAT
	hasKAT := k.TPMVer != "" || k.KID != nil || k.Sig != nil || k.CertInfo != nil || k.PubArea != nil
	hasPAT := p.TPMVer != "" || p.KID != nil || p.Sig != nil || p.AttestInfo != nil
	if !hasKAT || !hasPAT {
		return kat.Token{}, pat.Token{}, badevidence.Errorf(Malformed, "",
			"evidence needs both tokens: kat present %t, pat present %t", hasKAT, hasPAT)
	}
	return kat.Token{TPMVer: k.TPMVer, KID: k.KID, Sig: k.Sig, CertInfo: k.CertInfo, PubArea: k.PubArea},
		pat.Token{TPMVer: p.TPMVer, KID: p.KID, Sig: p.Sig, AttestInfo: p.AttestInfo}, nil
}

// inCBORsWords takes the Go types out of the library's message.
func inCBORsWords(err error) error {
	var mismatch *cbor.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("a CBOR %s stands where another type belongs", mismatch.CBORType)
	}
	return err
}

// encoder and decoder are made once and immutable from then on.
var (
	encoder = sync.OnceValues(cbor.CoreDetEncOptions().EncMode)
	decoder = sync.OnceValues(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   4,
		MaxMapPairs:       16,
		MaxArrayElements:  16,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode)
)
