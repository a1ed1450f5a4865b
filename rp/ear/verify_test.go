// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

type object = rptest.Object

// Bytes whose encodings differ in every flavour of base64.
var nonce = []byte{0xfb, 0xff, 0xbf, 0xfe, 0, 1, 2, 3, 4, 5}

func forNonce() ear.Expectations { return ear.Expectations{Nonce: nonce} }

func TestVerify(t *testing.T) {
	key, attested := rptest.Key(t), rptest.Key(t)
	der, err := x509.MarshalPKIXPublicKey(&attested.PublicKey)
	require.NoError(t, err)
	akpub := object{"akpub": base64.RawURLEncoding.EncodeToString(der)}
	at := time.Now().Truncate(time.Second)
	claims := rptest.With(rptest.Claims(nonce), object{"iat": at.Unix(), "exp": at.Unix() + 600, "ear.raw-evidence": "AAAA"})

	dotted := rptest.WithSubmod(claims, object{
		"ear.veraison.key-attestation":    akpub,
		"ear.veraison.annotated-evidence": object{"kid": "AQ=="},
		"ear.veraison.policy-claims":      object{"problem": "none"},
		"something":                       "else",
	})
	underscored := object{
		"eat_profile":     "tag:ietf.org,2026:rats/ear#04",
		"eat_nonce":       []string{base64.RawURLEncoding.EncodeToString(nonce)},
		"iat":             at.Unix(),
		"exp":             at.Unix() + 600,
		"ear_verifier_id": object{"developer": "Veraison Project", "build": "v0.0.2501"},
		"ear_status":      "affirming",
		"submods": object{"PARSEC_TPM": object{
			"ear_status":                   "affirming",
			"ear_trustworthiness_vector":   object{"instance-identity": 2, "executables": 2, "hardware": 2, "storage-opaque": 2},
			"ear_appraisal_policy_ids":     []string{"policy:PARSEC_TPM"},
			"ear_veraison_key_attestation": akpub,
			"ear_attester_claims":          object{"kid": "AQ=="},
			"ear_verifier_claims":          object{"problem": "none"},
		}},
	}
	third := rptest.With(underscored, object{"eat_profile": "tag:ietf.org,2026:rats/ear#03"})
	third["submods"] = object{"PARSEC_TPM": rptest.With(underscored["submods"].(object)["PARSEC_TPM"].(object), object{
		"ear_attester_claims": nil, "ear_verifier_claims": nil,
		"ear_veraison_annotated_evidence": object{"kid": "AQ=="},
		"ear_veraison_policy_claims":      object{"problem": "none"},
	})}
	for name, claims := range map[string]object{
		"Veraison's profile":     dotted,
		"draft-ietf-rats-ear-01": rptest.With(dotted, object{"eat_profile": "tag:ietf.org,2025-07:ear"}),
		"draft-ietf-rats-ear-03": third,
		"draft-ietf-rats-ear-04": underscored,
	} {
		t.Run(name, func(t *testing.T) {
			token := rptest.Sign(t, key, claims)
			r, err := ear.Verify(t.Context(), token, ear.Pin(rptest.Public(t, key)), forNonce())
			require.NoError(t, err)
			assert.True(t, r.Verified())
			assert.Equal(t, token, r.Token)
			assert.Equal(t, claims["eat_profile"], r.Profile)
			assert.Equal(t, ear.VerifierID{Developer: "Veraison Project", Build: "v0.0.2501"}, r.Verifier)
			assert.Equal(t, at, r.IssuedAt)
			assert.Equal(t, at.Add(600*time.Second), r.Expiry)
			assert.Equal(t, nonce, r.Nonce)
			assert.Equal(t, ear.TierAffirming, r.Status)
			require.Len(t, r.Submods, 1)
			a := r.Submods["PARSEC_TPM"]
			assert.Equal(t, ear.TierAffirming, a.Status)
			assert.Equal(t, ear.TrustVector{ear.InstanceIdentity: 2, ear.Executables: 2, ear.Hardware: 2, ear.StorageOpaque: 2}, a.Vector)
			assert.Equal(t, []string{"policy:PARSEC_TPM"}, a.PolicyIDs)
			assert.True(t, attested.PublicKey.Equal(a.AttestedKey))
			assert.Equal(t, map[string]any{"kid": "AQ=="}, a.Evidence)
			assert.Equal(t, "none", a.Problem())
		})
	}
}

// Everything that is refused, each with one thing wrong.
func TestVerifyRefuses(t *testing.T) {
	key := rptest.Key(t)
	now := time.Now().Unix()
	type change struct {
		top, submod object
		want        ear.Expectations
		check       ear.Check
		text        string
	}
	twice := rptest.Submod()
	twice["ear_status"] = "affirming"
	for name, c := range map[string]change{
		"no profile":              {top: object{"eat_profile": nil}, check: ear.Profile},
		"another profile":         {top: object{"eat_profile": "tag:ietf.org,2026:rats/ear#05"}, check: ear.Profile},
		"profile not a string":    {top: object{"eat_profile": 1}, check: ear.Profile},
		"no iat":                  {top: object{"iat": nil}, check: ear.Malformed, text: "iat is missing"},
		"iat a float":             {top: object{"iat": json.RawMessage("1.7e9")}, check: ear.Malformed, text: "iat is not a time"},
		"iat a string":            {top: object{"iat": "1700000000"}, check: ear.Malformed},
		"iat negative":            {top: object{"iat": -1}, check: ear.Malformed},
		"iat too large":           {top: object{"iat": json.RawMessage("99999999999999999999")}, check: ear.Malformed},
		"exp a float":             {top: object{"exp": json.RawMessage("1e99")}, check: ear.Malformed, text: "exp is not a time"},
		"issued in the future":    {top: object{"iat": now + 600}, check: ear.Time},
		"not valid yet":           {top: object{"nbf": now + 600}, check: ear.Time},
		"expired":                 {top: object{"exp": now - 600}, check: ear.Expired},
		"before it was asked for": {top: object{"iat": now - 600}, want: ear.Expectations{Nonce: nonce, NotBefore: time.Now()}, check: ear.Time},
		"too old":                 {top: object{"iat": now - 600}, want: ear.Expectations{MaxAge: 5 * time.Minute}, check: ear.Expired},
		"no nonce":                {top: object{"eat_nonce": nil}, check: ear.Nonce},
		"another nonce":           {top: object{"eat_nonce": "AAAAAAAAAAAAAA=="}, check: ear.Nonce},
		"a longer nonce":          {top: object{"eat_nonce": base64.URLEncoding.EncodeToString(append(nonce[:10:10], 0))}, check: ear.Nonce},
		"nonce not base64":        {top: object{"eat_nonce": "????????????"}, check: ear.Malformed},
		"nonce in two alphabets":  {top: object{"eat_nonce": "-_+/AAAAAAAAAA=="}, check: ear.Malformed},
		"nonce too short":         {top: object{"eat_nonce": "AAAA"}, check: ear.Malformed},
		"nonce too long":          {top: object{"eat_nonce": strings.Repeat("A", 88)}, check: ear.Malformed},
		"two nonces":              {top: object{"eat_nonce": []string{"AAAAAAAAAAAAAA==", base64.URLEncoding.EncodeToString(nonce)}}, check: ear.Malformed},
		"nonce a number":          {top: object{"eat_nonce": 1}, check: ear.Malformed},
		"no verifier":             {top: object{"ear.verifier-id": nil}, check: ear.Malformed},
		"verifier without build":  {top: object{"ear.verifier-id": object{"developer": "x"}}, check: ear.Malformed},
		"another developer":       {want: ear.Expectations{Nonce: nonce, Verifier: ear.VerifierID{Developer: "x"}}, check: ear.Verifier},
		"another build":           {want: ear.Expectations{Nonce: nonce, Verifier: ear.VerifierID{Build: "x"}}, check: ear.Verifier},
		"verifier spelled twice":  {top: object{"ear_verifier_id": object{"developer": "x", "build": "y"}}, check: ear.Malformed, text: "both ear.verifier-id and ear_verifier_id"},
		"no submods":              {top: object{"submods": nil}, check: ear.Malformed},
		"empty submods":           {top: object{"submods": object{}}, check: ear.Malformed},
		"submod not an object":    {top: object{"submods": object{"x": 1}}, check: ear.Malformed},
		"overall status no tier":  {top: object{"ear.status": "good"}, check: ear.Malformed},
		"status spelled twice":    {submod: object{"ear_status": "affirming"}, check: ear.Malformed, text: "both ear.status and ear_status"},
		"no status":               {submod: object{"ear.status": nil}, check: ear.Malformed},
		"status no tier":          {submod: object{"ear.status": "good"}, check: ear.Malformed},
		"status a number":         {submod: object{"ear.status": 2}, check: ear.Malformed},
		"status too good":         {submod: object{"ear.trustworthiness-vector": object{"executables": 33}}, check: ear.Malformed, text: "ear.status is affirming, the trustworthiness vector warning"},
		"vector not an object":    {submod: object{"ear.trustworthiness-vector": []int{2}}, check: ear.Malformed},
		"claim too large":         {submod: object{"ear.trustworthiness-vector": object{"executables": 258}}, check: ear.Malformed},
		"claim a float":           {submod: object{"ear.trustworthiness-vector": object{"executables": 2.5}}, check: ear.Malformed},
		"vector spelled twice":    {submod: object{"ear_trustworthiness_vector": object{"executables": 2}}, check: ear.Malformed},
		"policy ID a number":      {submod: object{"ear.appraisal-policy-id": 1}, check: ear.Malformed},
		"akpub missing":           {submod: object{"ear.veraison.key-attestation": object{}}, check: ear.Malformed},
		"akpub not base64":        {submod: object{"ear.veraison.key-attestation": object{"akpub": "?"}}, check: ear.Malformed},
		"akpub not a key":         {submod: object{"ear.veraison.key-attestation": object{"akpub": "AAAA"}}, check: ear.Malformed},
		"key spelled twice":       {submod: object{"ear.veraison.key-attestation": object{}, "ear_veraison_key_attestation": object{}}, check: ear.Malformed},
		"evidence spelled twice":  {submod: object{"ear_veraison_annotated_evidence": object{}, "ear_attester_claims": object{}}, check: ear.Malformed},
		"remarks spelled twice":   {submod: object{"ear.veraison.policy-claims": object{}, "ear_verifier_claims": object{}}, check: ear.Malformed},
		"remarks not an object":   {submod: object{"ear.veraison.policy-claims": "x"}, check: ear.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.want
			if want.Nonce == nil && want.MaxAge == 0 {
				want = forNonce()
			}
			claims := rptest.With(rptest.WithSubmod(rptest.Claims(nonce), c.submod), c.top)
			r, err := ear.Verify(t.Context(), rptest.Sign(t, key, claims), ear.Pin(rptest.Public(t, key)), want)
			refused(t, r, err, c.check)
			assert.ErrorContains(t, err, c.text)
		})
	}
}

func refused(t *testing.T, r *ear.AttestationResult, err error, check ear.Check) {
	t.Helper()
	require.Nil(t, r)
	var bad *ear.Error
	require.ErrorAs(t, err, &bad)
	require.Equal(t, check, bad.Check, err)
}

// Within the skew that is allowed, and no further.
func TestSkew(t *testing.T) {
	key, now := rptest.Key(t), time.Now()
	for claim, edge := range map[string]time.Duration{"iat": 10 * time.Second, "nbf": 10 * time.Second, "exp": -9 * time.Second} {
		for _, beyond := range []bool{false, true} {
			at := now.Add(edge)
			if beyond && edge > 0 {
				at = at.Add(2 * time.Second)
			} else if beyond {
				at = at.Add(-2 * time.Second)
			}
			token := rptest.Sign(t, key, rptest.With(rptest.Claims(nonce), object{claim: at.Unix()}))
			_, err := ear.Verify(t.Context(), token, ear.Pin(rptest.Public(t, key)), ear.Expectations{Nonce: nonce, Now: now, Skew: 10 * time.Second})
			if beyond {
				assert.Error(t, err, claim)
			} else {
				assert.NoError(t, err, claim)
			}
		}
	}
}

func TestNonceFlavours(t *testing.T) {
	key := rptest.Key(t)
	for name, encoding := range map[string]*base64.Encoding{
		"standard, padded": base64.StdEncoding, "standard": base64.RawStdEncoding,
		"url, padded": base64.URLEncoding, "url": base64.RawURLEncoding,
	} {
		for _, array := range []bool{false, true} {
			var v any = encoding.EncodeToString(nonce)
			if array {
				v = []any{v}
			}
			token := rptest.Sign(t, key, rptest.With(rptest.Claims(nonce), object{"eat_nonce": v}))
			r, err := ear.Verify(t.Context(), token, ear.Pin(rptest.Public(t, key)), forNonce())
			require.NoError(t, err, "%s %v", name, array)
			assert.Equal(t, nonce, r.Nonce)
		}
	}
}

// The overall status is the worst that is said anywhere.
func TestOverallStatus(t *testing.T) {
	key := rptest.Key(t)
	bare := func(status string) object { return object{"ear.status": status} }
	for _, c := range []struct {
		claims object
		want   ear.Tier
	}{
		{object{"submods": object{"a": bare("affirming"), "b": bare("warning")}}, ear.TierWarning},
		{object{"submods": object{"a": bare("affirming"), "b": bare("none")}}, ear.TierNone},
		{object{"submods": object{"a": bare("warning"), "b": bare("none")}}, ear.TierWarning},
		{object{"submods": object{"a": bare("affirming")}, "ear.status": "contraindicated"}, ear.TierContraindicated},
		{object{"submods": object{"a": bare("warning")}, "ear_status": "affirming"}, ear.TierWarning},
	} {
		r, err := ear.Verify(t.Context(), rptest.Sign(t, key, rptest.With(rptest.Claims(nonce), c.claims)), ear.Pin(rptest.Public(t, key)), forNonce())
		require.NoError(t, err)
		assert.Equal(t, c.want, r.Status, "%v", c.claims)
	}
}

func TestTiers(t *testing.T) {
	for claim, want := range map[ear.Claim]ear.Tier{
		-128: ear.TierContraindicated, -97: ear.TierContraindicated, -96: ear.TierWarning, -33: ear.TierWarning,
		-32: ear.TierAffirming, -2: ear.TierAffirming, -1: ear.TierNone, 0: ear.TierNone, 1: ear.TierNone,
		2: ear.TierAffirming, 31: ear.TierAffirming, 32: ear.TierWarning, 95: ear.TierWarning,
		96: ear.TierContraindicated, 127: ear.TierContraindicated,
	} {
		assert.Equal(t, want, claim.Tier(), claim)
	}
	for _, none := range []ear.Tier{ear.TierNone, 1, -1, 33} {
		assert.False(t, none.AtLeast(ear.TierContraindicated))
		assert.False(t, ear.TierAffirming.AtLeast(none))
	}
	assert.True(t, ear.TierAffirming.AtLeast(ear.TierWarning))
	assert.False(t, ear.TierWarning.AtLeast(ear.TierAffirming))
}

// Signatures and headers.
func TestVerifyRefusesTokens(t *testing.T) {
	key, other := rptest.Key(t), rptest.Key(t)
	keys := ear.Pin(rptest.Public(t, key))
	payload, err := json.Marshal(rptest.Claims(nonce))
	require.NoError(t, err)
	good := rptest.SignRaw(t, key, `{"alg":"ES256"}`, payload)
	parts := strings.Split(good, ".")
	enc := base64.RawURLEncoding.EncodeToString
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	mac := func(secret []byte) string {
		input := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(payload)
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return input + "." + enc(h.Sum(nil))
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: &other.PublicKey})
	require.NoError(t, err)
	zero := make([]byte, 64)
	duplicate := []byte(strings.Replace(string(payload), `"iat"`, `"i\u0061t":1,"iat"`, 1))
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	asn1, err := ecdsa.SignASN1(rand.Reader, key, zero[:32])
	require.NoError(t, err)
	malleable := func(i int) string {
		p := strings.Split(good, ".")
		last := p[i][len(p[i])-1]
		p[i] = p[i][:len(p[i])-1] + string(last+1) // 64 bytes leave unused bits
		return strings.Join(p, ".")
	}

	for name, c := range map[string]struct {
		token string
		check ear.Check
	}{
		"another key":              {rptest.SignRaw(t, other, `{"alg":"ES256"}`, payload), ear.Signature},
		"another key, in jwk":      {rptest.SignRaw(t, other, `{"alg":"ES256","jwk":`+string(jwk)+`}`, payload), ear.Signature},
		"alg none":                 {enc([]byte(`{"alg":"none"}`)) + "." + enc(payload) + ".", ear.Algorithm},
		"alg none, signed":         {rptest.SignRaw(t, key, `{"alg":"none"}`, payload), ear.Algorithm},
		"alg None":                 {enc([]byte(`{"alg":"None"}`)) + "." + enc(payload) + ".", ear.Algorithm},
		"no alg":                   {rptest.SignRaw(t, key, `{}`, payload), ear.Algorithm},
		"HS256 with the DER key":   {mac(der), ear.Algorithm},
		"HS256 with the PEM key":   {mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), ear.Algorithm},
		"ES384 by a P-256 key":     {rptest.SignRaw(t, key, `{"alg":"ES384"}`, payload), ear.Algorithm},
		"alg a list":               {rptest.SignRaw(t, key, `{"alg":["ES256"]}`, payload), ear.Algorithm},
		"alg twice":                {rptest.SignRaw(t, key, `{"alg":"ES256","alg":"ES256"}`, payload), ear.Malformed},
		"crit":                     {rptest.SignRaw(t, key, `{"alg":"ES256","crit":["exp"],"exp":1}`, payload), ear.Malformed},
		"b64":                      {rptest.SignRaw(t, key, `{"alg":"ES256","b64":false}`, payload), ear.Malformed},
		"another typ":              {rptest.SignRaw(t, key, `{"alg":"ES256","typ":"at+jwt"}`, payload), ear.Malformed},
		"typ a number":             {rptest.SignRaw(t, key, `{"alg":"ES256","typ":1}`, payload), ear.Malformed},
		"header not JSON":          {rptest.SignRaw(t, key, `x`, payload), ear.Malformed},
		"header an array":          {rptest.SignRaw(t, key, `[]`, payload), ear.Malformed},
		"signature of zeros":       {parts[0] + "." + parts[1] + "." + enc(zero), ear.Signature},
		"signature empty":          {parts[0] + "." + parts[1] + ".", ear.Signature},
		"signature in ASN.1":       {parts[0] + "." + parts[1] + "." + enc(asn1), ear.Signature},
		"signature too long":       {good + enc([]byte{0, 0, 0}), ear.Signature},
		"s twice the order":        {parts[0] + "." + parts[1] + "." + enc(plusOrder(sig)), ear.Signature},
		"payload changed":          {parts[0] + "." + enc([]byte(strings.Replace(string(payload), "v0.0.2501", "v0.0.2502", 1))) + "." + parts[2], ear.Signature},
		"header changed":           {enc([]byte(`{"alg":"ES256" }`)) + "." + parts[1] + "." + parts[2], ear.Signature},
		"two parts":                {parts[0] + "." + parts[1], ear.Malformed},
		"four parts":               {good + ".", ear.Malformed},
		"JSON serialisation":       {fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]), ear.Malformed},
		"empty":                    {"", ear.Malformed},
		"padding":                  {good + "==", ear.Malformed},
		"line break":               {good[:20] + "\n" + good[20:], ear.Malformed},
		"space before":             {" " + good, ear.Malformed},
		"unused bits of signature": {malleable(2), ear.Malformed},
		"too large":                {good + strings.Repeat("A", ear.MaxSize), ear.Malformed},
		"payload not JSON":         {rptest.SignRaw(t, key, `{"alg":"ES256"}`, []byte("x")), ear.Malformed},
		"payload followed by":      {rptest.SignRaw(t, key, `{"alg":"ES256"}`, append(payload[:len(payload):len(payload)], "{}"...)), ear.Malformed},
		"payload cut short":        {rptest.SignRaw(t, key, `{"alg":"ES256"}`, payload[:len(payload)-1]), ear.Malformed},
		"payload an array":         {rptest.SignRaw(t, key, `{"alg":"ES256"}`, []byte("[]")), ear.Malformed},
		"payload null":             {rptest.SignRaw(t, key, `{"alg":"ES256"}`, []byte("null")), ear.Malformed},
		"payload not UTF-8":        {rptest.SignRaw(t, key, `{"alg":"ES256"}`, []byte("{\"x\":\"\xff\"}")), ear.Malformed},
		"payload nested":           {rptest.SignRaw(t, key, `{"alg":"ES256"}`, []byte(`{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`)), ear.Malformed},
		"duplicate claim":          {rptest.SignRaw(t, key, `{"alg":"ES256"}`, duplicate), ear.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ear.Verify(t.Context(), c.token, keys, forNonce())
			refused(t, r, err, c.check)
		})
	}
	for _, header := range []string{`{"alg":"ES256"}`, `{"alg":"ES256","typ":"JWT","kid":"x"}`, `{"typ":"application/eat+jwt; eat_profile=\"x\"","alg":"ES256","cty":"x"}`} {
		_, err := ear.Verify(t.Context(), rptest.SignRaw(t, key, header, payload), keys, forNonce())
		require.NoError(t, err, header)
	}
}

// plusOrder adds the group's order to s where it fits in 32 bytes: the same
// signature to a verifier that does not check the range.
func plusOrder(sig []byte) []byte {
	n := elliptic.P256().Params().N
	s := new(big.Int).SetBytes(sig[32:])
	if s.Add(s, n).BitLen() > 256 {
		s.Sub(n, big.NewInt(0)) // n itself: out of range as well
	}
	out := append([]byte(nil), sig...)
	s.FillBytes(out[32:])
	return out
}

// The algorithm is the key's, for every kind of key.
func TestAlgorithms(t *testing.T) {
	payload, err := json.Marshal(rptest.Claims(nonce))
	require.NoError(t, err)
	verify := func(token string, key ear.Key) error {
		_, err := ear.Verify(t.Context(), token, ear.Pin(key), forNonce())
		return err
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		key, err := ear.NewKey(private.Public())
		require.NoError(t, err)
		require.NoError(t, verify(rptest.SignRaw(t, private, fmt.Sprintf(`{"alg":%q}`, alg), payload), key), alg)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := ear.NewKey(public)
	require.NoError(t, err)
	require.NoError(t, verify(rptest.SignRaw(t, private, `{"alg":"EdDSA"}`, payload), key))

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, err = ear.NewKey(&rsaKey.PublicKey)
	require.ErrorContains(t, err, "several algorithms")
	jwk, err := json.Marshal(jose.JSONWebKey{Key: &rsaKey.PublicKey, Algorithm: "PS256"})
	require.NoError(t, err)
	key, err = ear.ParseKey(jwk)
	require.NoError(t, err)
	require.NoError(t, verify(rptest.SignRaw(t, rsaKey, `{"alg":"PS256"}`, payload), key))
	require.Error(t, verify(rptest.SignRaw(t, rsaKey, `{"alg":"RS256"}`, payload), key))
}

func TestParseKey(t *testing.T) {
	key := rptest.Key(t)
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	marshal := func(k jose.JSONWebKey) []byte {
		b, err := json.Marshal(k)
		require.NoError(t, err)
		return b
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, data := range map[string][]byte{
		"JWK": marshal(jose.JSONWebKey{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}),
		"PEM": spki,
	} {
		got, err := ear.ParseKey(data)
		require.NoError(t, err, name)
		assert.True(t, key.PublicKey.Equal(got.Public()), name)
	}
	for name, data := range map[string][]byte{
		"private":         marshal(jose.JSONWebKey{Key: key}),
		"symmetric":       marshal(jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef")}),
		"for encryption":  marshal(jose.JSONWebKey{Key: &key.PublicKey, Use: "enc"}),
		"key_ops":         []byte(strings.Replace(string(marshal(jose.JSONWebKey{Key: &key.PublicKey})), "{", `{"key_ops":["sign"],`, 1)),
		"another alg":     marshal(jose.JSONWebKey{Key: &key.PublicKey, Algorithm: "ES384"}),
		"HS256":           marshal(jose.JSONWebKey{Key: &key.PublicKey, Algorithm: "HS256"}),
		"none":            marshal(jose.JSONWebKey{Key: &key.PublicKey, Algorithm: "none"}),
		"RSA without alg": marshal(jose.JSONWebKey{Key: &small.PublicKey}),
		"off the curve":   []byte(`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`),
		"two PEM blocks":  append(append([]byte{}, spki...), spki...),
		"PEM of a key":    pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"empty":           nil,
		"null":            []byte("null"),
	} {
		_, err := ear.ParseKey(data)
		assert.Error(t, err, name)
	}
	for _, public := range []crypto.PublicKey{nil, key, (*ecdsa.PublicKey)(nil), &rsa.PublicKey{}, ed25519.PublicKey{1}, []byte("x")} {
		_, err := ear.NewKey(public)
		assert.Error(t, err, "%T", public)
	}
}

// What is not given refuses.
func TestZeroValuesRefuse(t *testing.T) {
	key := rptest.Key(t)
	token := rptest.Sign(t, key, rptest.Claims(nonce))
	keys := ear.Pin(rptest.Public(t, key))
	for name, c := range map[string]struct {
		keys ear.KeySource
		want ear.Expectations
	}{
		"no expectations":    {keys, ear.Expectations{}},
		"an empty nonce":     {keys, ear.Expectations{Nonce: []byte{}}},
		"a short nonce":      {keys, ear.Expectations{Nonce: []byte("1234567")}},
		"a negative skew":    {keys, ear.Expectations{Nonce: nonce, Skew: -1}},
		"no key source":      {nil, forNonce()},
		"no pinned key":      {ear.Pin(), forNonce()},
		"a zero key":         {ear.Pin(ear.Key{}), forNonce()},
		"a negative age":     {keys, ear.Expectations{Nonce: nonce, MaxAge: -1}},
		"keys not to be had": {failing{}, forNonce()},
	} {
		r, err := ear.Verify(t.Context(), token, c.keys, c.want)
		assert.Error(t, err, name)
		assert.Nil(t, r, name)
	}
	assert.False(t, (&ear.AttestationResult{Status: ear.TierAffirming}).Verified())
	assert.False(t, (*ear.AttestationResult)(nil).Verified())
}

type failing struct{}

var errNoKeys = errors.New("no keys today")

func (failing) Keys(context.Context) ([]ear.Key, error)    { return nil, errNoKeys }
func (failing) Refresh(context.Context) ([]ear.Key, error) { return nil, errNoKeys }

// rotating is a source whose keys change.
type rotating struct {
	old, newer []ear.Key
	err        error
	refreshed  int
}

func (s *rotating) Keys(context.Context) ([]ear.Key, error) { return s.old, nil }
func (s *rotating) Refresh(context.Context) ([]ear.Key, error) {
	s.refreshed++
	return s.newer, s.err
}

func TestKeyRotation(t *testing.T) {
	key, next := rptest.Key(t), rptest.Key(t)
	old, newer := []ear.Key{rptest.Public(t, key)}, []ear.Key{rptest.Public(t, next)}
	token := rptest.Sign(t, next, rptest.Claims(nonce))

	s := &rotating{old: old, newer: newer}
	_, err := ear.Verify(t.Context(), token, s, forNonce())
	require.NoError(t, err)
	assert.Equal(t, 1, s.refreshed)

	s = &rotating{old: old, newer: old}
	r, err := ear.Verify(t.Context(), token, s, forNonce())
	refused(t, r, err, ear.Signature)

	s = &rotating{old: old, err: errNoKeys}
	r, err = ear.Verify(t.Context(), token, s, forNonce())
	refused(t, r, err, ear.Signature)
	require.ErrorIs(t, err, errNoKeys)

	// What is malformed is not worth a look, nor is what verifies.
	s = &rotating{old: old, newer: newer}
	_, err = ear.Verify(t.Context(), "x", s, forNonce())
	require.Error(t, err)
	_, err = ear.Verify(t.Context(), rptest.Sign(t, key, rptest.Claims(nonce)), s, forNonce())
	require.NoError(t, err)
	assert.Zero(t, s.refreshed)
}

// What another implementation signs is verified, and the other way round, for
// every algorithm.
func TestAgainstGoJose(t *testing.T) {
	payload, err := json.Marshal(rptest.Claims(nonce))
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		return key
	}
	all := map[jose.SignatureAlgorithm]crypto.Signer{
		jose.ES256: ec(elliptic.P256()), jose.ES384: ec(elliptic.P384()), jose.ES512: ec(elliptic.P521()), jose.EdDSA: edKey,
		jose.RS256: rsaKey, jose.RS384: rsaKey, jose.RS512: rsaKey, jose.PS256: rsaKey, jose.PS384: rsaKey, jose.PS512: rsaKey,
	}
	for alg, private := range all {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, nil)
		require.NoError(t, err)
		jws, err := signer.Sign(payload)
		require.NoError(t, err)
		token, err := jws.CompactSerialize()
		require.NoError(t, err)
		for keyAlg, keyPrivate := range all {
			jwk, err := json.Marshal(jose.JSONWebKey{Key: keyPrivate.Public(), Algorithm: string(keyAlg), KeyID: "1"})
			require.NoError(t, err)
			key, err := ear.ParseKey(jwk)
			require.NoError(t, err)
			_, err = ear.Verify(t.Context(), token, ear.Pin(key), forNonce())
			if alg == keyAlg {
				require.NoError(t, err, alg)
			} else {
				var bad *ear.Error
				require.ErrorAs(t, err, &bad)
				require.Equal(t, ear.Algorithm, bad.Check, "%s by a key for %s", alg, keyAlg)
			}
		}
	}
}
