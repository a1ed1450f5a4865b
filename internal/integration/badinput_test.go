// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/corim"
	"github.com/veraison/ear"
	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestBadInput gives the verifier what nobody should, once with each store.
func TestBadInput(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	for _, store := range []deployment.Store{deployment.Memory, deployment.SQLite} {
		t.Run(store.String(), func(t *testing.T) {
			d := start(t, ours(t), store)
			if store == deployment.SQLite {
				// This one's content can be looked at.
				t.Run("CoRIMs", func(t *testing.T) { testBadCoRIMs(t, d, tpm) })
			} else {
				// This one takes thousands of anchors in a moment.
				t.Run("full CoRIM", func(t *testing.T) { testFullCoRIM(t, d, tpm) })
			}
			t.Run("provisioning twice", func(t *testing.T) { testProvisioningTwice(t, d, tpm) })
			t.Run("second key", func(t *testing.T) { testSecondKey(t, d, tpm) })
			t.Run("endorsements that lack", func(t *testing.T) { testLackingEndorsements(t, d, tpm) })
			t.Run("sessions", func(t *testing.T) { testSessions(t, d, tpm) })
			t.Run("what the host refuses", func(t *testing.T) { testHostRefuses(t, d, tpm) })
		})
	}
}

// refusedByPlugin is how the host introduces the plugin's reason.
const refusedByPlugin = `plugin "unsigned-corim (Parsec TPM profile)" returned error: `

// testBadCoRIMs: endorsements that are refused, each for a reason, and of which
// nothing is stored.
func testBadCoRIMs(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	good := dev.corim(t)
	now := time.Now().Truncate(time.Second)
	period := func(notBefore, notAfter time.Time) []byte {
		return encode(t, &endorsements.Corim{
			Anchors: []endorsements.TrustAnchor{dev.anchor}, States: dev.states, NotBefore: notBefore, NotAfter: notAfter,
		})
	}
	random := func(size int) []byte {
		b := make([]byte, size)
		_, err := rand.Read(b)
		require.NoError(t, err)
		b[0] = 0xa5 // a map of five, which random bytes do not fill
		return b
	}

	for name, tt := range map[string]struct {
		corim  []byte
		reason string
	}{
		"a byte":               {[]byte{0}, "expected a CoRIM map, found"},
		"text":                 {[]byte("not a CoRIM"), "not well-formed CBOR"},
		"JSON":                 {[]byte(`{"corim-id":"x"}`), "not well-formed CBOR"},
		"1 KiB of anything":    {random(1 << 10), refusedByPlugin},
		"the limit of it":      {random(endorsements.MaxCorimSize), refusedByPlugin},
		"beyond the limit":     {make([]byte, endorsements.MaxCorimSize+1), "1048577 bytes; expected at most 1048576"},
		"almost 4 MiB":         {make([]byte, 4<<20-1024), fmt.Sprintf("expected at most %d", endorsements.MaxSignedSize)},
		"more than gRPC takes": {make([]byte, 5<<20), "received message larger than max"}, // says the host

		"half of it":                     {good[:len(good)/2], "not well-formed CBOR"},
		"without the end":                {good[:len(good)-1], "not well-formed CBOR"},
		"and more":                       {append(bytes.Clone(good), 0), "extraneous data"},
		"twice in a row":                 {append(bytes.Clone(good), good...), "extraneous data"},
		"in the tag of the next dialect": {append([]byte{0xd9, 0x01, 0xf5}, good...), refusedByPlugin},

		"expired":       {period(time.Time{}, now.Add(-time.Minute)), "the CoRIM has expired"},
		"not yet valid": {period(now.Add(time.Hour), now.Add(2*time.Hour)), "the CoRIM is not valid yet"},

		// Everything is right but the last of many.
		"full, with a fault at the end": {corimOfKeys(t, many(dev, weakPEM(t))...), fmt.Sprintf("attester-verification-keys[%d]: verification-keys", manyAnchors)},
		"two keys under one kid":        {corimOfKeys(t, anchor(dev, newPEM(t)), anchor(dev, newPEM(t))), "two different keys"},
		"a key on P-224":                {corimOfKeys(t, anchor(dev, weakPEM(t))), "P-224"},
		"Veraison's vector of two keys": {veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmKeyManyKeys.cbor"), "exactly one key"},
		"Veraison's vector without a class": {veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmKeyNoClass.cbor"),
			"environment.class: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			anchors, references := anchorsOf(t, d), referencesOf(t, d)
			err := d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, tt.corim)
			var failed *deployment.ProvisioningError // HTTP 200, "failed"
			require.ErrorAs(t, err, &failed)
			require.Contains(t, failed.Reason, tt.reason)
			require.Equal(t, anchors, anchorsOf(t, d))
			require.Equal(t, references, referencesOf(t, d))
		})
	}

	// The device that all of them are about is still unknown, and the verifier
	// in order.
	_, r := appraise(t, d, dev.attests(t))
	requireBad(t, r, noAnchor)
	dev.provision(t, d)
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))
}

// unchecked is a trust anchor that need not be one.
type unchecked struct {
	class string
	kid   eat.UEID
	pem   string
}

func anchor(d *device, pem string) unchecked {
	return unchecked{d.anchor.Class, d.anchor.KID, pem}
}

const manyAnchors = 4100

// many are about as many trust anchors as fit into a CoRIM, all of the device's
// key but the last.
func many(d *device, last string) []unchecked {
	var all []unchecked
	for i := range manyAnchors {
		kid := slices.Concat([]byte{1}, binary.BigEndian.AppendUint32(make([]byte, 28), uint32(i)))
		all = append(all, unchecked{d.anchor.Class, kid, d.anchor.PEM})
	}
	return append(all, anchor(d, last))
}

// corimOfKeys makes a CoRIM with Veraison's tools, which take what this
// project's own refuse to write.
func corimOfKeys(t testing.TB, anchors ...unchecked) []byte {
	t.Helper()
	c := comid.NewComid().SetTagIdentity("keys", 0)
	require.NotNil(t, c)
	for _, a := range anchors {
		class, err := comid.ParseUUID(a.class)
		require.NoError(t, err)
		instance, err := comid.NewUEIDInstance(a.kid)
		require.NoError(t, err)
		key, err := comid.NewPKIXBase64Key(a.pem)
		require.NoError(t, err)
		require.NotNil(t, c.AddAttestVerifKey(comid.KeyTriple{
			Environment: comid.Environment{Class: comid.NewClassUUID(class), Instance: instance},
			VerifKeys:   comid.CryptoKeys{key},
		}))
	}
	uc := corim.NewUnsignedCorim().SetID("keys").SetProfile(endorsements.Profile)
	require.NotNil(t, uc)
	require.NotNil(t, uc.AddComid(*c))
	data, err := uc.ToCBOR()
	require.NoError(t, err)
	return data
}

func newPEM(t testing.TB) string {
	t.Helper()
	text, err := endorsements.MarshalKeyPEM(&evidencetest.ECKey(t, elliptic.P256()).PublicKey)
	require.NoError(t, err)
	return text
}

// weakPEM is a key that is not accepted.
func weakPEM(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&evidencetest.ECKey(t, elliptic.P224()).PublicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// testProvisioningTwice: an operator repeats what is already there.
func testProvisioningTwice(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	affirmed := func() {
		t.Helper()
		a, r := appraise(t, d, dev.attests(t))
		requireAffirmed(t, r, a.evidence, dev.spki(t))
	}
	// In parts, the states first; then as a whole, twice.
	for _, part := range []*endorsements.Corim{
		{States: dev.states}, {Anchors: []endorsements.TrustAnchor{dev.anchor}},
	} {
		require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, encode(t, part)))
	}
	affirmed()
	for range 2 {
		dev.provision(t, d)
		affirmed()
	}

	// The same key and the same values by another author, and with another
	// CoRIM's identity.
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, corimOfKeys(t, anchor(dev, dev.anchor.PEM))))
	affirmed()
}

// testFullCoRIM: a CoRIM of the largest size that is read is stored.
func testFullCoRIM(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	full := corimOfKeys(t, many(dev, dev.anchor.PEM)...)
	require.Greater(t, len(full), endorsements.MaxCorimSize*9/10)
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, full))
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, encode(t, &endorsements.Corim{States: dev.states})))
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))
}

// testSecondKey: two keys under one kid. None of them is to be trusted, as
// nobody knows which is meant.
//
// The endorsements come in two CoRIMs, of which each is right: the plugin
// cannot see both when they are stored, and when evidence comes, the host looks
// up its trust anchors and gives up before the plugin is asked ("found 2 trust
// anchors, want 1"). So this is HTTP 500, whatever the plugin does.
func testSecondKey(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	other := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	dev.provision(t, d)
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))

	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, corimOfKeys(t, anchor(dev, other.anchor.PEM))))
	const reason = "found 2 trust anchors, want 1"
	requireFault(t, d, dev.attests(t), reason)
	requireFault(t, d, func(nonce []byte) []byte {
		k, p := other.tokens(t, nonce)
		k.KID, p.KID = dev.ak.KID(), dev.ak.KID()
		return bundled(t)(k, p)
	}, reason)

	// So is one key in two classes.
	dev = newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	dev.provision(t, d)
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1,
		corimOfKeys(t, unchecked{newClass(t), dev.anchor.KID, dev.anchor.PEM})))
	requireFault(t, d, dev.attests(t), reason)

	// Another device has nothing to do with it.
	other.provision(t, d)
	a, r = appraise(t, d, other.attests(t))
	requireAffirmed(t, r, a.evidence, other.spki(t))
}

// testLackingEndorsements: a known key is not enough.
func testLackingEndorsements(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, "sha256:0,1+sha384:0,1")
	all := dev.states
	unrecognised := func(cause error) {
		t.Helper()
		vector := affirming
		vector.Executables = ear.UnrecognizedRuntimeClaim
		a, r := appraise(t, d, dev.attests(t))
		requireAppraised(t, r, vector, a.evidence, dev.spki(t))
		require.Contains(t, problemOf(r), cause.Error())
	}
	dev.states = nil
	dev.provision(t, d)
	unrecognised(appraisal.ErrNoReferenceState)

	// The quote is of two banks, the state of one; then of the other, too, but
	// not in one state.
	for _, selection := range []string{"sha256:0,1", "sha384:0,1"} {
		dev.states = []endorsements.ReferenceState{dev.state(t, dev.anchor.Class, selection, nil)}
		dev.provision(t, d)
		unrecognised(appraisal.ErrPCRSelection)
	}

	// One digest is missing.
	dev.states = []endorsements.ReferenceState{dev.state(t, dev.anchor.Class, "sha256:0,1+sha384:0", nil)}
	dev.provision(t, d)
	unrecognised(appraisal.ErrPCRSelection)

	dev.states = all
	dev.provision(t, d)
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))
}

// testSessions: evidence is good for one session.
func testSessions(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	dev.provision(t, d)
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))
	offset := len(logOf(t, d))
	_, r = appraise(t, d, constant(a.evidence))
	requireBad(t, r, badIntegrity)
	require.Contains(t, logged(t, d, offset, refusalText), "stale")

	// Two sessions at once, and each gets the evidence of the other.
	var sessions [2]*deployment.Session
	var evidence [2][]byte
	for i := range sessions {
		var err error
		sessions[i], err = d.Client().NewSession(t.Context(), nil)
		require.NoError(t, err)
		evidence[i] = dev.evidence(t, sessions[i].Nonce)
	}
	both := func(from [2]int) (results [2]*ear.Appraisal) {
		var wg sync.WaitGroup
		for i := range sessions {
			wg.Go(func() {
				result, err := sessions[i].Submit(t.Context(), bundle.MediaType, evidence[from[i]])
				if assert.NoError(t, err) {
					results[i], err = checkedEAR(d, &answer{sessions[i], evidence[from[i]], result})
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		return results
	}
	for _, r := range both([2]int{1, 0}) {
		require.NotNil(t, r)
		requireBad(t, r, badIntegrity)
	}
	// Their own was good: the swap was the only defect.
	for i, r := range both([2]int{0, 1}) {
		require.NotNil(t, r)
		requireAffirmed(t, r, evidence[i], dev.spki(t))
	}
}

// testHostRefuses: what does not get as far as the plugin has no verdict
// either. The statuses are the host's.
func testHostRefuses(t *testing.T, d *deployment.Deployment, tpm *attester.TPM) {
	dev := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	dev.provision(t, d)
	for name, tt := range map[string]struct {
		mediaType string
		evidence  []byte
		status    int
	}{
		"nothing":                {bundle.MediaType, nil, http.StatusBadRequest},
		"more than gRPC takes":   {bundle.MediaType, make([]byte, 5<<20), http.StatusInternalServerError},
		"another media type":     {"application/octet-stream", []byte{0}, http.StatusUnsupportedMediaType},
		"no media type":          {"", []byte{0}, http.StatusBadRequest},
		"no CMW":                 {"application/cmw+cbor", []byte{0}, http.StatusBadRequest},
		"CMW of something else":  {"application/cmw+cbor", slices.Concat([]byte{0x82, 0x63}, []byte("a/b"), []byte{0x41, 0}), http.StatusUnsupportedMediaType},
		"endorsements' own type": {endorsements.MediaTypeUnsignedV1, []byte{0}, http.StatusUnsupportedMediaType},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := submit(t.Context(), d.Client(), nil, tt.mediaType, constant(tt.evidence))
			var problem *deployment.ProblemError
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.status, problem.StatusCode, err)
		})
	}
	a, r := appraise(t, d, dev.attests(t))
	requireAffirmed(t, r, a.evidence, dev.spki(t))
}
