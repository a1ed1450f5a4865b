// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/cmw"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// check is one case: a device, what is endorsed of it, and what it sends.
type check struct {
	// device is one that is right when it is nil.
	device func(t *testing.T, tpm *attester.TPM) *device
	// after changes the device once it is provisioned.
	after func(t *testing.T, d *device)
	// nonce is the verifier's choice when it is nil.
	nonce []byte
	// send is the device's right evidence when it is nil.
	send evidenceFunc
	// wrap makes another body and media type of the evidence.
	wrap func(t *testing.T, evidence []byte) (mediaType string, body []byte)
	// want is an affirming result when it is the zero value.
	want verdict
}

type evidenceFunc = func(t *testing.T, d *device, nonce []byte) []byte

// verdict is what must come of a case.
type verdict struct {
	// problem is the host's word for evidence that is bad; check, token and a
	// part of reason are the plugin's.
	problem string
	check   bundle.Check
	token   string
	reason  string

	// causes are why authentic evidence does not affirm.
	causes []cause
}

type cause struct {
	claim string
	err   error
}

func bad(problem string, check bundle.Check, token, reason string) verdict {
	return verdict{problem: problem, check: check, token: token, reason: reason}
}

// Malformed evidence does not get as far as a look-up of its key.
func malformed(token, reason string) verdict {
	return bad(badIdentity, bundle.Malformed, token, reason)
}

func unrecognised(err error) verdict { return verdict{causes: []cause{{"executables", err}}} }

func unprotected(err error) verdict { return verdict{causes: []cause{{"storage-opaque", err}}} }

// TestChecks makes each check of an appraisal, one defect in each case, with
// evidence of a simulated TPM and of an emulated one.
func TestChecks(t *testing.T) {
	d := start(t, ours(t), deployment.Memory)
	for name, open := range map[string]func(testing.TB) *attester.TPM{
		"simulator": tpmtest.Simulator,
		"swtpm":     tpmtest.SWTPM,
	} {
		t.Run(name, func(t *testing.T) {
			tpm := open(t)
			for _, group := range []struct {
				name   string
				checks map[string]check
			}{
				{"right", rightChecks},
				{"wire", wireChecks},
				{"structures", structureChecks},
				{"key", akChecks},
				{"fresh", freshChecks},
				{"tik", tikChecks},
				{"pcrs", pcrChecks},
			} {
				t.Run(group.name, func(t *testing.T) {
					for name, c := range group.checks {
						t.Run(name, func(t *testing.T) { c.run(t, d, tpm) })
					}
				})
			}
			// What a test leaves in a TPM, the next one lacks.
			handles, err := tpmtest.Handles(t.Context(), tpm)
			require.NoError(t, err)
			require.Empty(t, handles)
		})
	}
}

func (c check) run(t *testing.T, dep *deployment.Deployment, tpm *attester.TPM) {
	d := ecdsaDevice
	if c.device != nil {
		d = c.device
	}
	dev := d(t, tpm)
	dev.provision(t, dep)
	if c.after != nil {
		c.after(t, dev)
	}
	send, wrap := c.send, c.wrap
	if send == nil {
		send = func(t *testing.T, d *device, nonce []byte) []byte { return d.evidence(t, nonce) }
	}
	if wrap == nil {
		wrap = func(_ *testing.T, evidence []byte) (string, []byte) { return bundle.MediaType, evidence }
	}

	session, err := dep.Client().NewSession(t.Context(), c.nonce)
	require.NoError(t, err)
	evidence := send(t, dev, session.Nonce)
	offset := len(logOf(t, dep))
	mediaType, body := wrap(t, evidence)
	// Whatever the evidence, the host has an answer: an error, such as that of
	// HTTP 500, would be the verifier's.
	result, err := session.Submit(t.Context(), mediaType, body)
	require.NoError(t, err)
	require.NoError(t, session.Delete(t.Context()))
	got, err := checkedEAR(dep, &answer{session, evidence, result})
	require.NoError(t, err)

	switch want := c.want; {
	case want.problem == noAnchor:
		requireBad(t, got, want.problem)
		log := logged(t, dep, offset, "no trust anchor for [PARSEC_TPM://0/")
		require.Empty(t, refusals(t, log))
	case want.problem != "":
		requireBad(t, got, want.problem)
		all := refusals(t, logged(t, dep, offset, refusalText))
		require.Len(t, all, 1)
		require.Equal(t, string(want.check), all[0].Check, all[0].Reason)
		require.Equal(t, want.token, all[0].Token, all[0].Reason)
		require.Contains(t, all[0].Reason, want.reason)
	case len(want.causes) > 0:
		vector, key := affirming, dev.spki(t)
		for i, cause := range want.causes {
			switch cause.claim {
			case "executables":
				vector.Executables = ear.UnrecognizedRuntimeClaim
			case "storage-opaque":
				vector.StorageOpaque, key = ear.UnencryptedSecretsClaim, nil
			}
			reasons := strings.Split(problemOf(got), "; ")
			require.Len(t, reasons, len(want.causes))
			require.True(t, strings.HasPrefix(reasons[i], cause.claim+": "+cause.err.Error()), reasons[i])
		}
		requireAppraised(t, got, vector, evidence, key)
		log := logged(t, dep, offset, "evidence not affirmed")
		require.Contains(t, log, want.causes[0].err.Error())
	default:
		requireAffirmed(t, got, evidence, dev.spki(t))
	}
}

func ecdsaDevice(t *testing.T, tpm *attester.TPM) *device {
	return newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
}

func forger(t *testing.T, tpm *attester.TPM) *device { return newForger(t, tpm, ecdsa256) }

// attesting is a device with other algorithms or PCRs.
func attesting(ak, tik attester.KeyAlg, selection string) func(*testing.T, *attester.TPM) *device {
	return func(t *testing.T, tpm *attester.TPM) *device { return newDevice(t, tpm, ak, tik, selection) }
}

// endorsed is a device whose owner endorses other states.
func endorsed(selection string, states func(t *testing.T, d *device) []endorsements.ReferenceState) func(*testing.T, *attester.TPM) *device {
	return func(t *testing.T, tpm *attester.TPM) *device {
		d := newDevice(t, tpm, ecdsa256, ecdsa256, selection)
		d.states = states(t, d)
		return d
	}
}

func alg(s attester.Scheme, bits int, hash crypto.Hash) attester.KeyAlg {
	return attester.KeyAlg{Scheme: s, Bits: bits, Hash: hash}
}

// What is right is affirmed: without these, a verifier that refuses everything
// would pass.
var rightChecks = map[string]check{
	"ECDSA P-256 SHA-256":        {},
	"ECDSA P-384 SHA-384":        {device: attesting(ecdsa384, ecdsa384, "sha384:0,1,2")},
	"ECDSA P-521 SHA-512":        {device: attesting(alg(attester.ECDSA, 521, crypto.SHA512), ecdsa256, usualPCRs)},
	"hash other than bank":       {device: attesting(ecdsa384, ecdsa256, usualPCRs)},
	"bank longer than hash":      {device: attesting(ecdsa256, ecdsa256, "sha512:0,1,2")},
	"RSASSA 2048 SHA-256":        {device: attesting(alg(attester.RSASSA, 2048, crypto.SHA256), ecdsa256, usualPCRs)},
	"RSASSA 2048 SHA-512":        {device: attesting(alg(attester.RSASSA, 2048, crypto.SHA512), ecdsa256, usualPCRs)},
	"RSAPSS 2048 SHA-256":        {device: attesting(alg(attester.RSAPSS, 2048, crypto.SHA256), ecdsa256, usualPCRs)},
	"RSAPSS 2048 SHA-384":        {device: attesting(alg(attester.RSAPSS, 2048, crypto.SHA384), ecdsa256, usualPCRs)},
	"TIK of RSASSA 2048":         {device: attesting(ecdsa256, alg(attester.RSASSA, 2048, crypto.SHA256), usualPCRs)},
	"TIK of RSAPSS 2048":         {device: attesting(ecdsa256, alg(attester.RSAPSS, 2048, crypto.SHA256), usualPCRs)},
	"one PCR":                    {device: attesting(ecdsa256, ecdsa256, "sha256:23")},
	"two banks":                  {device: attesting(ecdsa256, ecdsa256, "sha256:0,1,7+sha384:0,7")},
	"three banks, another order": {device: attesting(ecdsa384, ecdsa256, "sha512:2+sha384:1,3+sha256:0")},
	"nonce of 8 bytes":           {nonce: bytes.Repeat([]byte{0xfb}, 8)},
	"nonce of 64 bytes":          {nonce: bytes.Repeat([]byte{0xff}, 64)},
	"a key and a CoRIM of its own": {device: func(t *testing.T, tpm *attester.TPM) *device {
		return newForger(t, tpm, ecdsa384) // a forger without a defect
	}},
	"second of two states": {device: endorsed(usualPCRs, func(t *testing.T, d *device) []endorsements.ReferenceState {
		return []endorsements.ReferenceState{d.state(t, d.anchor.Class, usualPCRs, otherPCR(0)), d.states[0]}
	})},
	"state with a bank that is not quoted": {device: endorsed(usualPCRs, func(t *testing.T, d *device) []endorsements.ReferenceState {
		return []endorsements.ReferenceState{d.state(t, d.anchor.Class, usualPCRs+"+sha384:0,1", nil)}
	})},
	"bank in two parts": {send: quoting(
		bankSelection(tpm2.TPMAlgSHA256, 4, 5, 6, 7), bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3))},
	"another bank named, and nothing of it quoted": {send: quoting(
		bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7), bankSelection(tpm2.TPMAlgSHA384))},
	"CMW in CBOR":                       {wrap: wrapped("application/cmw+cbor", (*cmw.CMW).MarshalCBOR)},
	"CMW in CBOR, Veraison's own type":  {wrap: wrapped("application/vnd.veraison.cmw+cbor", (*cmw.CMW).MarshalCBOR)},
	"CMW in JSON":                       {wrap: wrapped("application/cmw+json", (*cmw.CMW).MarshalJSON)},
	"CMW in JSON, Veraison's own type":  {wrap: wrapped("application/vnd.veraison.cmw+json", (*cmw.CMW).MarshalJSON)},
	"CMW with the indicator “evidence”": {wrap: wrapped("application/cmw+cbor", (*cmw.CMW).MarshalCBOR, cmw.Evidence)},
}

// otherPCR gives a PCR another value in a reference state.
func otherPCR(index int) func(*endorsements.PCRValue) {
	return func(v *endorsements.PCRValue) {
		if v.Index == index {
			v.Digest = bytes.Repeat([]byte{0x5a}, len(v.Digest))
		}
	}
}

// wrapped wraps evidence into a conceptual message wrapper.
func wrapped(mediaType string, marshal func(*cmw.CMW) ([]byte, error), ind ...cmw.Indicator) func(*testing.T, []byte) (string, []byte) {
	return func(t *testing.T, evidence []byte) (string, []byte) {
		w, err := cmw.NewMonad(bundle.MediaType, evidence, ind...)
		require.NoError(t, err)
		body, err := marshal(w)
		require.NoError(t, err)
		return mediaType, body
	}
}

// Evidence as bytes. Each is right evidence with one change of its CBOR, or no
// evidence at all.
var wireChecks = map[string]check{
	"nothing but zero": {send: raw(0), want: malformed("", "not a CBOR map")},
	"null":             {send: raw(0xf6), want: malformed("", "needs both tokens")},
	"empty map":        {send: raw(0xa0), want: malformed("", "needs both tokens")},
	"empty array":      {send: raw(0x80), want: malformed("", "not a CBOR map")},
	"text":             {send: raw([]byte("evidence")...), want: malformed("", "not a CBOR map")},
	"map of 4 billion": {send: raw(0xba, 0xff, 0xff, 0xff, 0xff), want: malformed("", "not a CBOR map")},
	"16 EiB of bytes":  {send: raw(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), want: malformed("", "not a CBOR map")},
	"nested deeply":    {send: raw(bytes.Repeat([]byte{0x81}, bundle.MaxSize)...), want: malformed("", "not a CBOR map")},
	"of the limit":     {send: random(bundle.MaxSize), want: malformed("", "not a CBOR map")},
	"beyond the limit": {send: random(bundle.MaxSize + 1), want: malformed("", "16385 bytes, at most 16384")},
	"1 MiB":            {send: random(1 << 20), want: malformed("", "at most 16384")},
	// The host's own limit is 4 MiB for the message that holds it.
	"almost 4 MiB": {send: random(4<<20 - 1024), want: malformed("", "at most 16384")},

	"bytes after the end": {send: rewired(func(b []byte) []byte { return append(b, 0) }), want: malformed("", "extraneous data")},
	"end is missing":      {send: rewired(func(b []byte) []byte { return b[:len(b)-1] }), want: malformed("", "unexpected EOF")},
	"two bundles":         {send: rewired(func(b []byte) []byte { return append(b, b...) }), want: malformed("", "extraneous data")},
	"padded to 1 MiB":     {send: rewired(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), want: malformed("", "at most 16384")},
	"tagged":              {send: rewired(func(b []byte) []byte { return append([]byte{0xd9, 0xd9, 0xf7}, b...) }), want: malformed("", "not a CBOR map")},
	"indefinite length":   {send: rewired(func(b []byte) []byte { return slices.Concat([]byte{0xbf}, b[1:], []byte{0xff}) }), want: malformed("", "indefinite-length")},
	"key twice":           {send: reparted(func(m cborMap) cborMap { return append(m, m[0]) }), want: malformed("", "duplicate")},
	"unknown key":         {send: reparted(func(m cborMap) cborMap { return append(m, part{"x", []byte{0xf6}}) }), want: malformed("", "unknown field")},
	"key in capitals":     {send: reparted(func(m cborMap) cborMap { m[0].key = "KAT"; return m }), want: malformed("", "unknown field")},
	"no PAT":              {send: reparted(func(m cborMap) cborMap { return m[:1] }), want: malformed("", "pat present false")},
	"no KAT":              {send: reparted(func(m cborMap) cborMap { return m[1:] }), want: malformed("", "kat present false")},
	"key twice in KAT":    {send: retokened("kat", func(m cborMap) cborMap { return append(m, m[0]) }), want: malformed("", "duplicate")},
	"key twice in PAT":    {send: retokened("pat", func(m cborMap) cborMap { return append(m, m[0]) }), want: malformed("", "duplicate")},
	"unknown key in KAT":  {send: retokened("kat", func(m cborMap) cborMap { return append(m, part{"x", []byte{0}}) }), want: malformed("", "unknown field")},
	"unknown key in PAT":  {send: retokened("pat", func(m cborMap) cborMap { return append(m, part{"x", []byte{0}}) }), want: malformed("", "unknown field")},
	"sig is an array":     {send: retokened("kat", func(m cborMap) cborMap { return m.set("sig", []byte{0x81, 0x18, 0x18}) }), want: malformed("", "not a CBOR byte string")},
	"sig is text":         {send: retokened("pat", func(m cborMap) cborMap { return m.set("sig", []byte{0x61, 'x'}) }), want: malformed("", "not a CBOR byte string")},
	"sig in pieces":       {send: retokened("pat", func(m cborMap) cborMap { return m.set("sig", []byte{0x5f, 0x41, 0, 0xff}) }), want: malformed("", "indefinite-length")},
	"KAT is PAT":          {send: reparted(func(m cborMap) cborMap { m[0].value = m[1].value; return m }), want: malformed("", "unknown field")},
}

// raw is not evidence.
func raw(b ...byte) evidenceFunc {
	return func(*testing.T, *device, []byte) []byte { return b }
}

func random(size int) evidenceFunc {
	return func(t *testing.T, _ *device, _ []byte) []byte {
		b := make([]byte, size)
		_, err := rand.Read(b)
		require.NoError(t, err)
		b[0] = 0x9f // an array without a length, so that no chance makes it a map
		return b
	}
}

func rewired(change func([]byte) []byte) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte { return change(d.evidence(t, nonce)) }
}

// cborMap is a CBOR map with text keys, which may be there twice.
type cborMap []part

type part struct {
	key   string
	value cbor.RawMessage
}

func (m cborMap) set(key string, value []byte) cborMap {
	for i := range m {
		if m[i].key == key {
			m[i].value = value
		}
	}
	return m
}

func (m cborMap) encode(t *testing.T) cbor.RawMessage {
	out := []byte{0xa0 | byte(len(m))}
	for _, p := range m {
		key, err := cbor.Marshal(p.key)
		require.NoError(t, err)
		out = slices.Concat(out, key, p.value)
	}
	return out
}

func decodeMap(t *testing.T, data []byte) cborMap {
	var parts map[string]cbor.RawMessage
	require.NoError(t, cbor.Unmarshal(data, &parts))
	var m cborMap
	for key, value := range parts {
		m = append(m, part{key, value})
	}
	slices.SortFunc(m, func(a, b part) int { return strings.Compare(a.key, b.key) })
	return m
}

// reparted changes the bundle's map: kat, then pat.
func reparted(change func(cborMap) cborMap) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		return change(decodeMap(t, d.evidence(t, nonce))).encode(t)
	}
}

// retokened changes a token's map.
func retokened(token string, change func(cborMap) cborMap) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		m := decodeMap(t, d.evidence(t, nonce))
		for i := range m {
			if m[i].key == token {
				m[i].value = change(decodeMap(t, m[i].value)).encode(t)
			}
		}
		return m.encode(t)
	}
}

// changed changes right tokens: what is not signed.
func changed(change func(t *testing.T, k *kat.Token, p *pat.Token)) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		change(t, &k, &p)
		return bundled(t)(k, p)
	}
}

// forged makes the evidence of a forger: signed, but by no TPM's leave.
func forged(f forgery) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte { return bundled(t)(d.forge(t, nonce, f)) }
}

// quoting quotes any selection.
func quoting(sel ...tpm2.TPMSPCRSelection) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		k, _ := d.tokens(t, nonce)
		return bundled(t)(k, d.quote(t, nonce, sel...))
	}
}

func extended(b []byte) []byte { return append(bytes.Clone(b), 0) }

func cut(b []byte) []byte { return b[:len(b)-1] }

// The structures in the tokens, to the last byte; and what they are.
var structureChecks = map[string]check{
	"kat.tpmVer 1.2": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.TPMVer = "1.2" }),
		want: bad(badIdentity, bundle.Version, "kat", `tpmVer is "1.2"`)},
	"pat.tpmVer 1.2": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.TPMVer = "1.2" }),
		want: bad(badIdentity, bundle.Version, "pat", `tpmVer is "1.2"`)},
	"kat.tpmVer empty": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.TPMVer = "" }),
		want: bad(badIdentity, bundle.Version, "kat", `tpmVer is ""`)},

	"byte after kat.sig": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig = extended(k.Sig) }),
		want: malformed("kat", "sig: TPMT_SIGNATURE: 1 bytes left over")},
	"byte after pat.sig": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.Sig = extended(p.Sig) }),
		want: malformed("pat", "sig: TPMT_SIGNATURE: 1 bytes left over")},
	"byte after certInfo": {device: forger, send: forged(forgery{certInfo: extended}),
		want: malformed("kat", "TPMS_ATTEST: 1 bytes left over")},
	"byte after attestInfo": {device: forger, send: forged(forgery{attestInfo: extended}),
		want: malformed("pat", "TPMS_ATTEST: 1 bytes left over")},
	"byte after pubArea": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.PubArea = extended(k.PubArea) }),
		want: malformed("kat", "pubArea: TPMT_PUBLIC: 1 bytes left over")},
	"kat.sig cut": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig = cut(k.Sig) }),
		want: malformed("kat", "sig: TPMT_SIGNATURE")},
	"certInfo cut": {device: forger, send: forged(forgery{certInfo: cut}),
		want: malformed("kat", "TPMS_ATTEST")},
	"attestInfo cut": {device: forger, send: forged(forgery{attestInfo: cut}),
		want: malformed("pat", "TPMS_ATTEST")},
	"pubArea cut": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.PubArea = cut(k.PubArea) }),
		want: malformed("kat", "pubArea: TPMT_PUBLIC")},
	"pat.sig missing": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.Sig = nil }),
		want: bad(badIdentity, bundle.Malformed, "", "not a CBOR byte string")},
	"pat.sig empty": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.Sig = []byte{} }),
		want: malformed("pat", "sig: TPMT_SIGNATURE")},

	"magic of certInfo": {device: forger, send: forged(forgery{certify: notGenerated}),
		want: bad(badIdentity, bundle.Magic, "kat", "TPM_GENERATED_VALUE")},
	"magic of attestInfo": {device: forger, send: forged(forgery{quote: notGenerated}),
		want: bad(badIdentity, bundle.Magic, "pat", "TPM_GENERATED_VALUE")},
	"a quote for certInfo": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		k.CertInfo, k.Sig = p.AttestInfo, p.Sig
		return bundled(t)(k, p)
	}, want: bad(badIdentity, bundle.Type, "kat", "attestation type is 0x8018, want 0x8017")},
	"a certification for attestInfo": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		p.AttestInfo, p.Sig = k.CertInfo, k.Sig
		return bundled(t)(k, p)
	}, want: bad(badIdentity, bundle.Type, "pat", "attestation type is 0x8017, want 0x8018")},
	"pubArea of another key": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		other, err := d.tpm.CreateTIK(t.Context(), ecdsa256)
		require.NoError(t, err)
		k.PubArea = other.PubArea()
		return bundled(t)(k, p)
	}, want: bad(badIntegrity, bundle.Name, "kat", "names differ")},
	"pubArea with better attributes": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		key, err := tpmtest.Duplicable(t.Context(), d.tpm, ecdsa256)
		require.NoError(t, err)
		k, err := d.tpm.Certify(t.Context(), d.ak, key, nonce)
		require.NoError(t, err)
		k.PubArea, err = tpmtest.WithAttributes(k.PubArea, func(a *tpm2.TPMAObject) { a.FixedTPM, a.FixedParent = true, true })
		require.NoError(t, err)
		_, p := d.tokens(t, nonce)
		return bundled(t)(k, p)
	}, want: bad(badIntegrity, bundle.Name, "kat", "names differ")},
}

func notGenerated(a *tpm2.TPMSAttest) { a.Magic = 0xff544346 }

// Who signed.
var akChecks = map[string]check{
	"unknown": {device: func(t *testing.T, tpm *attester.TPM) *device {
		d := ecdsaDevice(t, tpm)
		ak, err := tpm.CreateAK(t.Context(), ecdsa256)
		require.NoError(t, err)
		d.anchor, err = endorsements.NewTrustAnchor(d.anchor.Class, ak.KID(), ak.PEM())
		require.NoError(t, err)
		return d
	}, want: verdict{problem: noAnchor}},
	"kat.kid is not a UEID": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.KID = []byte{9, 9} }),
		want: bad(badIdentity, bundle.KeyID, "kat", "not a UEID")},
	"pat.kid is not a UEID": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.KID = []byte{} }),
		want: bad(badIdentity, bundle.KeyID, "pat", "not a UEID")},
	"kid of another key in pat": {send: twoAKs(func(k, _ *kat.Token, p, other *pat.Token) { p.KID = other.KID }),
		want: bad(badIdentity, bundle.KeyID, "", "different attestation keys")},
	"PAT of another key": {send: twoAKs(func(_, _ *kat.Token, p, other *pat.Token) { *p = *other }),
		want: bad(badIdentity, bundle.KeyID, "", "different attestation keys")},
	"KAT of another key, with this one's kid": {send: twoAKs(func(k, other *kat.Token, _, _ *pat.Token) { k.CertInfo, k.Sig = other.CertInfo, other.Sig }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"PAT of another key, with this one's kid": {send: twoAKs(func(_, _ *kat.Token, p, other *pat.Token) { p.AttestInfo, p.Sig = other.AttestInfo, other.Sig }),
		want: bad(badIntegrity, bundle.Signature, "pat", "does not verify")},
	"signatures of the other token": {send: changed(func(_ *testing.T, k *kat.Token, p *pat.Token) { k.Sig, p.Sig = p.Sig, k.Sig }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"bit of certInfo": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.CertInfo[len(k.CertInfo)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"bit of attestInfo": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.AttestInfo[len(p.AttestInfo)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "pat", "does not verify")},
	"bit of kat.sig": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig[len(k.Sig)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"bit of pat.sig": {send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.Sig[len(p.Sig)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "pat", "does not verify")},
	"bit of an RSASSA signature": {device: attesting(alg(attester.RSASSA, 2048, crypto.SHA256), ecdsa256, usualPCRs),
		send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig[len(k.Sig)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"bit of an RSAPSS signature": {device: attesting(alg(attester.RSAPSS, 2048, crypto.SHA256), ecdsa256, usualPCRs),
		send: changed(func(_ *testing.T, _ *kat.Token, p *pat.Token) { p.Sig[len(p.Sig)-1] ^= 1 }),
		want: bad(badIntegrity, bundle.Signature, "pat", "does not verify")},
	"r and s are zero": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) {
		k.Sig = slices.Concat(k.Sig[:4], []byte{0, 1, 0, 0, 1, 0})
	}), want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"said to be with SHA-384": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig[3] = 0x0c }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"RSASSA said to be RSAPSS": {device: attesting(alg(attester.RSASSA, 2048, crypto.SHA256), ecdsa256, usualPCRs),
		send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) { k.Sig[1] = 0x16 }),
		want: bad(badIntegrity, bundle.Signature, "kat", "does not verify")},
	"RSA signature of an ECDSA key": {send: signedBy(alg(attester.RSASSA, 2048, crypto.SHA256)),
		want: bad(badIntegrity, bundle.Algorithm, "kat", "rsassa-sha256 signature under an ECDSA key")},
	"ECDSA signature of an RSA key": {device: attesting(alg(attester.RSASSA, 2048, crypto.SHA256), ecdsa256, usualPCRs), send: signedBy(ecdsa256),
		want: bad(badIntegrity, bundle.Algorithm, "kat", "ecdsa-sha256 signature under an RSA key")},
	"P-384 signature of a P-256 key": {send: signedBy(ecdsa384),
		want: bad(badIntegrity, bundle.Algorithm, "kat", "under a P-256 key")},
	"KAT with SHA-1": {device: schemeless, send: withSHA1(true, false),
		want: bad(badIdentity, bundle.Algorithm, "kat", "sha1 is not accepted")},
	"PAT with SHA-1": {device: schemeless, send: withSHA1(false, true),
		want: bad(badIdentity, bundle.Algorithm, "pat", "sha1 is not accepted")},
	"neither with SHA-1": {device: schemeless, send: withSHA1(false, false)},
	"HMAC": {send: changed(func(_ *testing.T, k *kat.Token, _ *pat.Token) {
		k.Sig = slices.Concat([]byte{0, 0x05, 0, 0x0b}, make([]byte, 32))
	}), want: bad(badIdentity, bundle.Algorithm, "kat", "signature algorithm 0x0005 is not accepted")},
}

// twoAKs gives a change the tokens of another device of the same TPM, too, for
// the same nonce.
func twoAKs(change func(k, otherK *kat.Token, p, otherP *pat.Token)) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		otherK, otherP := ecdsaDevice(t, d.tpm).tokens(t, nonce)
		change(&k, &otherK, &p, &otherP)
		return bundled(t)(k, p)
	}
}

// signedBy has a key of another algorithm sign, under the device's kid.
func signedBy(alg attester.KeyAlg) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.tokens(t, nonce)
		ak, err := d.tpm.CreateAK(t.Context(), alg)
		require.NoError(t, err)
		k, err = d.tpm.Certify(t.Context(), ak.Key(), d.tik, nonce)
		require.NoError(t, err)
		k.KID = d.ak.KID()
		return bundled(t)(k, p)
	}
}

func schemeless(t *testing.T, tpm *attester.TPM) *device { return newSchemeless(t, tpm) }

func withSHA1(inKAT, inPAT bool) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		k, p := d.forge(t, nonce, forgery{sign: func(m []byte) []byte { return d.signWith(t, crypto.SHA256, m) }})
		if inKAT {
			k.Sig = d.signWith(t, crypto.SHA1, k.CertInfo)
		}
		if inPAT {
			p.Sig = d.signWith(t, crypto.SHA1, p.AttestInfo)
		}
		return bundled(t)(k, p)
	}
}

var oldNonce = bytes.Repeat([]byte{0x0d}, 32)

// When it was signed. Every case is authentic.
var freshChecks = map[string]check{
	"replay": {send: func(t *testing.T, d *device, _ []byte) []byte { return d.evidence(t, oldNonce) },
		want: stale("kat")},
	"fresh KAT, stale PAT": {send: mixedNonces(func(nonce []byte) ([]byte, []byte) { return nonce, oldNonce }),
		want: stale("pat")},
	"stale KAT, fresh PAT": {send: mixedNonces(func(nonce []byte) ([]byte, []byte) { return oldNonce, nonce }),
		want: stale("kat")},
	"start of the nonce": {send: mixedNonces(func(nonce []byte) ([]byte, []byte) { return nonce[:31], nonce[:31] }),
		want: stale("kat")},
	"nonce and more": {send: mixedNonces(func(nonce []byte) ([]byte, []byte) { return extended(nonce), extended(nonce) }),
		want: stale("kat")},
	"hash of the nonce": {send: mixedNonces(func(nonce []byte) ([]byte, []byte) {
		h := crypto.SHA256.New()
		h.Write(nonce)
		return h.Sum(nil), h.Sum(nil)
	}), want: stale("kat")},
	"PAT without a nonce": {device: forger, send: forged(forgery{quote: func(a *tpm2.TPMSAttest) { a.ExtraData = tpm2.TPM2BData{} }}),
		want: stale("pat")},
	"KAT without a nonce": {device: forger, send: forged(forgery{certify: func(a *tpm2.TPMSAttest) { a.ExtraData = tpm2.TPM2BData{} }}),
		want: stale("kat")},
}

func stale(token string) verdict {
	return bad(badIntegrity, bundle.Stale, token, "stale")
}

// mixedNonces has the TPM make the tokens for other nonces.
func mixedNonces(choose func(nonce []byte) (forKAT, forPAT []byte)) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		forKAT, forPAT := choose(nonce)
		k, err := d.tpm.Certify(t.Context(), d.ak, d.tik, forKAT)
		require.NoError(t, err)
		p, err := d.tpm.Quote(t.Context(), d.ak, d.sel, forPAT)
		require.NoError(t, err)
		return bundled(t)(k, p)
	}
}

// What the identity key is. Every case is authentic, and in every case the
// platform is in order.
var tikChecks = map[string]check{
	"not fixedTPM":                 {send: certifying(tpmtest.NotFixedTPM), want: unprotected(appraisal.ErrKeyAttributes)},
	"neither fixedTPM nor -Parent": {send: certifying(tpmtest.Duplicable), want: unprotected(appraisal.ErrKeyAttributes)},
	"not fixedParent":              {device: forger, send: withAttributes(func(a *tpm2.TPMAObject) { a.FixedParent = false }), want: unprotected(appraisal.ErrKeyAttributes)},
	"may not sign":                 {device: forger, send: withAttributes(func(a *tpm2.TPMAObject) { a.SignEncrypt = false }), want: unprotected(appraisal.ErrKeyAttributes)},
	"no attribute":                 {device: forger, send: withAttributes(func(a *tpm2.TPMAObject) { *a = tpm2.TPMAObject{} }), want: unprotected(appraisal.ErrKeyAttributes)},
	"restricted":                   {send: certifying(tpmtest.Restricted), want: unprotected(appraisal.ErrKeyAttributes)},
	"signs and decrypts":           {send: certifying(tpmtest.SignAndDecrypt), want: unprotected(appraisal.ErrKeyAttributes)},
	"decrypts":                     {send: certifying(tpmtest.DecryptOnly), want: unprotected(appraisal.ErrKeyAttributes)},
	"imported":                     {send: certifying(imported), want: unprotected(appraisal.ErrKeyAttributes)},
	"the AK itself": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		k, err := d.tpm.Certify(t.Context(), d.ak, d.ak, nonce)
		require.NoError(t, err)
		_, p := d.tokens(t, nonce)
		return bundled(t)(k, p)
	}, want: unprotected(appraisal.ErrKeyAttributes)},
	"not of the TPM's making": {send: func(t *testing.T, d *device, nonce []byte) []byte {
		k, err := tpmtest.CertifyDerived(t.Context(), d.tpm, d.ak, ecdsa256, nonce)
		require.NoError(t, err)
		_, p := d.tokens(t, nonce)
		return bundled(t)(k, p)
	}, want: unprotected(appraisal.ErrKeyAttributes)},
	"limited to SHA-1": {send: certifying(sha1Key), want: unprotected(appraisal.ErrKeyScheme)},
	"on a curve that is not accepted": {device: forger, send: withPublic(func(t *testing.T) tpm2.TPMTPublic {
		return evidencetest.ECPublic(t, &evidencetest.ECKey(t, elliptic.P224()).PublicKey)
	}), want: bad(badIdentity, bundle.Algorithm, "kat", "pubArea: ")},
	"symmetric": {device: forger, send: withPublic(func(*testing.T) tpm2.TPMTPublic {
		return tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: evidencetest.TIKAttributes,
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
				Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull},
			}),
			Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: make([]byte, 32)}),
		}
	}), want: bad(badIdentity, bundle.Algorithm, "kat", "pubArea: object type 0x0008 is not accepted")},
	"in an extended platform": {after: extendPCR, send: certifying(tpmtest.Duplicable), want: verdict{causes: []cause{
		{"executables", appraisal.ErrPCRDigest}, {"storage-opaque", appraisal.ErrKeyAttributes},
	}}},
}

// certifying certifies a key that is not a TIK.
func certifying(create func(context.Context, *attester.TPM, attester.KeyAlg) (*attester.Key, error)) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		key, err := create(t.Context(), d.tpm, ecdsa256)
		require.NoError(t, err)
		k, err := d.tpm.Certify(t.Context(), d.ak, key, nonce)
		require.NoError(t, err)
		_, p := d.tokens(t, nonce)
		return bundled(t)(k, p)
	}
}

func imported(ctx context.Context, tpm *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return tpmtest.Imported(ctx, tpm, alg, key)
}

func sha1Key(ctx context.Context, tpm *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	parameters, err := template.Parameters.ECCDetail()
	if err != nil {
		return nil, err
	}
	parameters.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA1})
	return tpm.CreateKey(ctx, nil, template)
}

// withAttributes and withPublic are for keys that no TPM makes, or package
// attester does not.
func withAttributes(change func(*tpm2.TPMAObject)) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		return forged(forgery{pubArea: func(b []byte) []byte {
			b, err := tpmtest.WithAttributes(b, change)
			require.NoError(t, err)
			return b
		}})(t, d, nonce)
	}
}

func withPublic(public func(t *testing.T) tpm2.TPMTPublic) evidenceFunc {
	return func(t *testing.T, d *device, nonce []byte) []byte {
		return forged(forgery{pubArea: func([]byte) []byte { return tpm2.Marshal(public(t)) }})(t, d, nonce)
	}
}

func extendPCR(t *testing.T, d *device) {
	require.NoError(t, tpmtest.ExtendPCR(t.Context(), d.tpm, crypto.SHA256, 7, bytes.Repeat([]byte{1}, 32)))
}

// What state the platform is in. Every case is authentic, and in every case the
// identity key is in order.
var pcrChecks = map[string]check{
	"extended": {after: extendPCR, want: unrecognised(appraisal.ErrPCRDigest)},
	"no state": {device: endorsed(usualPCRs, func(*testing.T, *device) []endorsements.ReferenceState { return nil }),
		want: unrecognised(appraisal.ErrNoReferenceState)},
	"state of another class": {device: endorsed(usualPCRs, func(t *testing.T, d *device) []endorsements.ReferenceState {
		return []endorsements.ReferenceState{d.state(t, newClass(t), usualPCRs, nil)}
	}), want: unrecognised(appraisal.ErrNoReferenceState)},
	"another value": {device: endorsed(usualPCRs, func(t *testing.T, d *device) []endorsements.ReferenceState {
		return []endorsements.ReferenceState{d.state(t, d.anchor.Class, usualPCRs, otherPCR(3))}
	}), want: unrecognised(appraisal.ErrPCRDigest)},
	"two states, mixed": {device: endorsed(usualPCRs, func(t *testing.T, d *device) []endorsements.ReferenceState {
		return []endorsements.ReferenceState{
			d.state(t, d.anchor.Class, usualPCRs, otherPCR(0)), d.state(t, d.anchor.Class, usualPCRs, otherPCR(1)),
		}
	}), want: unrecognised(appraisal.ErrPCRDigest)},
	"two banks of two states": {device: endorsed("sha256:0+sha384:0", func(t *testing.T, d *device) []endorsements.ReferenceState {
		wrong := func(bank crypto.Hash) endorsements.ReferenceState {
			return d.state(t, d.anchor.Class, "sha256:0+sha384:0", func(v *endorsements.PCRValue) {
				if v.Bank == bank {
					otherPCR(0)(v)
				}
			})
		}
		return []endorsements.ReferenceState{wrong(crypto.SHA256), wrong(crypto.SHA384)}
	}), want: unrecognised(appraisal.ErrPCRDigest)},

	"fewer PCRs": {send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0, 1)), want: unrecognised(appraisal.ErrPCRSelection)},
	"more PCRs":  {send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7, 8)), want: unrecognised(appraisal.ErrPCRSelection)},
	"other PCRs": {send: quoting(bankSelection(tpm2.TPMAlgSHA256, 8, 9, 10, 11, 12, 13, 14, 15)), want: unrecognised(appraisal.ErrPCRSelection)},
	"other bank": {send: quoting(bankSelection(tpm2.TPMAlgSHA384, 0, 1, 2, 3, 4, 5, 6, 7)), want: unrecognised(appraisal.ErrPCRSelection)},
	"a bank more, of which there is no state": {
		send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7), bankSelection(tpm2.TPMAlgSHA384, 0)),
		want: unrecognised(appraisal.ErrPCRSelection)},
	"a bank of the state, named and not quoted": {
		device: endorsed("sha256:0", func(t *testing.T, d *device) []endorsements.ReferenceState {
			return []endorsements.ReferenceState{d.state(t, d.anchor.Class, "sha256:0+sha384:0", nil)}
		}),
		send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0), bankSelection(tpm2.TPMAlgSHA384)),
		want: unrecognised(appraisal.ErrPCRSelection)},
	"SHA-1 bank": {send: quoting(bankSelection(tpm2.TPMAlgSHA1, 0, 1, 2, 3, 4, 5, 6, 7)), want: unrecognised(appraisal.ErrPCRSelection)},
	"SHA-1 bank beside the right one": {
		send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7), bankSelection(tpm2.TPMAlgSHA1, 0)),
		want: unrecognised(appraisal.ErrPCRSelection)},
	"bank twice": {
		send: quoting(bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7), bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7)),
		want: unrecognised(appraisal.ErrPCRSelection)},
	"no PCR":  {send: quoting(bankSelection(tpm2.TPMAlgSHA256)), want: unrecognised(appraisal.ErrPCRSelection)},
	"no bank": {send: quoting(), want: unrecognised(appraisal.ErrPCRSelection)},
	// A TPM with no PCR allocated makes such a quote: the digest of nothing.
	"no PCR, forged": {device: forger, send: forged(forgery{quote: func(a *tpm2.TPMSAttest) {
		h := crypto.SHA256.New()
		a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{PCRDigest: tpm2.TPM2BDigest{Buffer: h.Sum(nil)}})
	}}), want: unrecognised(appraisal.ErrPCRSelection)},
	"no digest": {device: forger, send: forged(forgery{quote: func(a *tpm2.TPMSAttest) {
		q, err := a.Attested.Quote()
		if err == nil {
			q.PCRDigest = tpm2.TPM2BDigest{}
		}
	}}), want: unrecognised(appraisal.ErrPCRDigest)},
	"digest by the hash of the bank": {device: func(t *testing.T, tpm *attester.TPM) *device { return newForger(t, tpm, ecdsa384) },
		send: func(t *testing.T, d *device, nonce []byte) []byte {
			// Veraison's own plugin takes the bank's hash for it; the TPM takes
			// that of the AK's scheme (Part 1, section 17.6).
			banks, err := d.tpm.ReadPCRs(t.Context(), d.sel)
			require.NoError(t, err)
			return bundled(t)(d.forge(t, nonce, forgery{quote: func(a *tpm2.TPMSAttest) {
				q, err := a.Attested.Quote()
				require.NoError(t, err)
				q.PCRDigest.Buffer = tpmtest.PCRDigest(crypto.SHA256, d.sel, banks)
			}}))
		}, want: unrecognised(appraisal.ErrPCRDigest)},
}
