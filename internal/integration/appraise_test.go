// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/deployment"
)

const scheme = "PARSEC_TPM"

// What Veraison's host says of evidence that the plugin calls bad, by the call
// that did. The plugin's own words are in the log.
const (
	badIdentity  = "could not establish identity from evidence"
	badIntegrity = "integrity validation failed"
	noAnchor     = "no trust anchor for evidence"
)

// answer is what came back for evidence.
type answer struct {
	session  *deployment.Session
	evidence []byte
	result   *deployment.Result
}

// submit opens a session, for a nonce or, if that is nil, for one of the
// verifier's, and answers it. A verdict against the evidence is no error.
func submit(ctx context.Context, c *deployment.Client, nonce []byte, mediaType string, attest func(nonce []byte) []byte) (*answer, error) {
	session, err := c.NewSession(ctx, nonce)
	if err != nil {
		return nil, err
	}
	a := &answer{session: session, evidence: attest(session.Nonce)}
	a.result, err = session.Submit(ctx, mediaType, a.evidence)
	return a, errors.Join(err, session.Delete(ctx))
}

// appraise submits evidence and returns what the verifier's signed result says
// of it.
func appraise(t testing.TB, d *deployment.Deployment, attest func(nonce []byte) []byte) (*answer, *ear.Appraisal) {
	t.Helper()
	a, err := submit(t.Context(), d.Client(), nil, bundle.MediaType, attest)
	require.NoError(t, err)
	r, err := checkedEAR(d, a)
	require.NoError(t, err)
	return a, r
}

// constant is evidence that does not care for the nonce.
func constant(evidence []byte) func([]byte) []byte {
	return func([]byte) []byte { return evidence }
}

// checkedEAR verifies a result and everything in it that is the same for every
// verdict.
func checkedEAR(d *deployment.Deployment, a *answer) (*ear.Appraisal, error) {
	version, err := servicesVersion()
	if err != nil {
		return nil, err
	}
	if a.result.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", a.result.StatusCode)
	}
	r, err := deployment.VerifyEAR(a.result.EAR, d.PublicKey())
	if err != nil {
		return nil, err
	}
	// The JWT's own claims, which the ear package reads leniently.
	_, payload, _ := strings.Cut(a.result.EAR, ".")
	payload, _, _ = strings.Cut(payload, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, err
	}
	var claims struct {
		Profile  string                     `json:"eat_profile"`
		IssuedAt int64                      `json:"iat"`
		Nonce    string                     `json:"eat_nonce"`
		Verifier map[string]string          `json:"ear.verifier-id"`
		Submods  map[string]json.RawMessage `json:"submods"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, err
	}
	nonce, err := base64.URLEncoding.DecodeString(claims.Nonce)
	if err != nil {
		return nil, fmt.Errorf("eat_nonce: %w", err)
	}
	submod := r.Submods[scheme]
	age := time.Since(time.Unix(claims.IssuedAt, 0))
	switch {
	case claims.Profile != ear.EatProfile:
		return nil, fmt.Errorf("eat_profile is %q", claims.Profile)
	case claims.Verifier["build"] != version || claims.Verifier["developer"] != "Veraison Project":
		return nil, fmt.Errorf("ear.verifier-id is %v, want the build %s", claims.Verifier, version)
	case age < -time.Second || age > time.Minute:
		return nil, fmt.Errorf("iat is %v ago", age)
	case string(nonce) != string(a.session.Nonce):
		return nil, fmt.Errorf("eat_nonce is %x, the session's nonce %x", nonce, a.session.Nonce)
	case len(claims.Submods) != 1 || submod == nil || submod.Status == nil || submod.TrustVector == nil:
		return nil, fmt.Errorf("submods are %s", text)
	case submod.AppraisalPolicyID == nil || *submod.AppraisalPolicyID != "policy:"+scheme:
		return nil, fmt.Errorf("ear.appraisal-policy-id: %s", text)
	}
	return submod, nil
}

// problemOf is the reason in a result; none when it affirms.
func problemOf(a *ear.Appraisal) string {
	if a.VeraisonPolicyClaims == nil {
		return ""
	}
	return fmt.Sprint((*a.VeraisonPolicyClaims)["problem"])
}

// affirming is the vector of a device that is right.
var affirming = ear.TrustVector{
	InstanceIdentity: ear.TrustworthyInstanceClaim,
	Executables:      ear.ApprovedRuntimeClaim,
	Hardware:         ear.GenuineHardwareClaim,
	StorageOpaque:    ear.HwKeysEncryptedSecretsClaim,
}

// requireAffirmed checks a whole appraisal. spki is the TLS identity key.
func requireAffirmed(t testing.TB, a *ear.Appraisal, evidence, spki []byte) {
	t.Helper()
	requireAppraised(t, a, affirming, evidence, spki)
	require.Nil(t, a.VeraisonPolicyClaims, "a reason for doubt")
}

// requireAppraised checks an appraisal of authentic evidence. Without spki it
// has no key attestation.
func requireAppraised(t testing.TB, a *ear.Appraisal, want ear.TrustVector, evidence, spki []byte) {
	t.Helper()
	status := ear.TrustTierAffirming
	for _, claim := range want.AsMap() {
		status = max(status, claim.GetTier())
	}
	require.Equal(t, want, *a.TrustVector, problemOf(a))
	require.Equal(t, status, *a.Status)
	require.NotNil(t, a.VeraisonAnnotatedEvidence)
	require.Equal(t, annotated(t, evidence), *a.VeraisonAnnotatedEvidence)
	if spki == nil {
		require.Nil(t, a.VeraisonKeyAttestation)
	} else {
		require.Equal(t, &map[string]any{"akpub": base64.RawURLEncoding.EncodeToString(spki)}, a.VeraisonKeyAttestation)
	}
}

// requireBad checks a whole appraisal of bad evidence: it says nothing of it
// but that.
func requireBad(t testing.TB, a *ear.Appraisal, problem string) {
	t.Helper()
	var all ear.TrustVector
	all.SetAll(ear.CryptoValidationFailedClaim)
	require.Equal(t, all, *a.TrustVector)
	require.Equal(t, ear.TrustTierContraindicated, *a.Status)
	require.Equal(t, &map[string]any{"problem": problem}, a.VeraisonPolicyClaims)
	require.Nil(t, a.VeraisonKeyAttestation)
	require.Nil(t, a.VeraisonAnnotatedEvidence)
}

// spki is a public key as an EAR attests it.
func (d *device) spki(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(d.tik.Public())
	require.NoError(t, err)
	return der
}

// annotated is what a relying party must be able to read of evidence, decoded
// by go-tpm and not by this project's own code.
func annotated(t testing.TB, evidence []byte) map[string]any {
	t.Helper()
	k, p, err := bundle.Decode(evidence)
	require.NoError(t, err)
	quoted, err := tpm2.Unmarshal[tpm2.TPMSAttest](p.AttestInfo)
	require.NoError(t, err)
	quote, err := quoted.Attested.Quote()
	require.NoError(t, err)
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](k.PubArea)
	require.NoError(t, err)
	name, err := tpm2.ObjectName(pub)
	require.NoError(t, err)
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](p.Sig)
	require.NoError(t, err)
	sigAlg, sigHash := signatureNames(t, sig)
	key, keyType, keyScheme := keyNames(t, pub)
	return map[string]any{
		"format":         "tag:github.com/veraison/attested-tls,2026:tpm-claims-1",
		"kid":            base64.StdEncoding.EncodeToString(k.KID),
		"key":            base64.RawURLEncoding.EncodeToString(key),
		"key-type":       keyType,
		"key-scheme":     keyScheme,
		"key-attributes": attributeNames(pub.ObjectAttributes),
		"key-name":       fmt.Sprintf("%x", name.Buffer),

		"pcrs":             selectionName(quote.PCRSelect),
		"pcr-digest":       fmt.Sprintf("%s:%x", sigHash, quote.PCRDigest.Buffer),
		"clock":            strconv.FormatUint(quoted.ClockInfo.Clock, 10),
		"clock-safe":       bool(quoted.ClockInfo.Safe),
		"reset-count":      float64(quoted.ClockInfo.ResetCount),
		"restart-count":    float64(quoted.ClockInfo.RestartCount),
		"firmware-version": fmt.Sprintf("%#x", quoted.FirmwareVersion),
		"signature":        sigAlg + "-" + sigHash,
	}
}

// The names that tpm2-tools have for what evidence carries.
var algNames = map[tpm2.TPMAlgID]string{
	tpm2.TPMAlgNull: "null",
	tpm2.TPMAlgSHA1: "sha1", tpm2.TPMAlgSHA256: "sha256", tpm2.TPMAlgSHA384: "sha384", tpm2.TPMAlgSHA512: "sha512",
	tpm2.TPMAlgECDSA: "ecdsa", tpm2.TPMAlgRSASSA: "rsassa", tpm2.TPMAlgRSAPSS: "rsapss",
}

func signatureNames(t testing.TB, sig *tpm2.TPMTSignature) (alg, hash string) {
	t.Helper()
	switch sig.SigAlg {
	case tpm2.TPMAlgECDSA:
		s, err := sig.Signature.ECDSA()
		require.NoError(t, err)
		return "ecdsa", algNames[s.Hash]
	case tpm2.TPMAlgRSASSA:
		s, err := sig.Signature.RSASSA()
		require.NoError(t, err)
		return "rsassa", algNames[s.Hash]
	default:
		s, err := sig.Signature.RSAPSS()
		require.NoError(t, err)
		return "rsapss", algNames[s.Hash]
	}
}

func keyNames(t testing.TB, pub *tpm2.TPMTPublic) (spki []byte, keyType, scheme string) {
	t.Helper()
	key, err := tpm2.Pub(*pub)
	require.NoError(t, err)
	spki, err = x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	var alg tpm2.TPMAlgID
	var details tpm2.TPMUAsymScheme
	if parameters, err := pub.Parameters.ECCDetail(); err == nil {
		keyType = map[tpm2.TPMECCCurve]string{
			tpm2.TPMECCNistP256: "ECDSA P-256", tpm2.TPMECCNistP384: "ECDSA P-384", tpm2.TPMECCNistP521: "ECDSA P-521",
		}[parameters.CurveID]
		alg, details = parameters.Scheme.Scheme, parameters.Scheme.Details
	} else {
		parameters, err := pub.Parameters.RSADetail()
		require.NoError(t, err)
		keyType = fmt.Sprintf("RSA %d", parameters.KeyBits)
		alg, details = parameters.Scheme.Scheme, parameters.Scheme.Details
	}
	var hash tpm2.TPMAlgID
	switch alg {
	case tpm2.TPMAlgNull:
		return spki, keyType, algNames[alg]
	case tpm2.TPMAlgECDSA:
		s, err := details.ECDSA()
		require.NoError(t, err)
		hash = s.HashAlg
	case tpm2.TPMAlgRSASSA:
		s, err := details.RSASSA()
		require.NoError(t, err)
		hash = s.HashAlg
	case tpm2.TPMAlgRSAPSS:
		s, err := details.RSAPSS()
		require.NoError(t, err)
		hash = s.HashAlg
	}
	return spki, keyType, algNames[alg] + "-" + algNames[hash]
}

func selectionName(sel tpm2.TPMLPCRSelection) string {
	var banks []string
	for _, b := range sel.PCRSelections {
		var pcrs []string
		for i := range 8 * len(b.PCRSelect) {
			if b.PCRSelect[i/8]&(1<<(i%8)) != 0 {
				pcrs = append(pcrs, strconv.Itoa(i))
			}
		}
		banks = append(banks, algNames[b.Hash]+":"+strings.Join(pcrs, ","))
	}
	return strings.Join(banks, "+")
}

func attributeNames(a tpm2.TPMAObject) string {
	var names []string
	for _, n := range []struct {
		name string
		set  bool
	}{
		{"fixedTPM", a.FixedTPM}, {"stClear", a.STClear}, {"fixedParent", a.FixedParent},
		{"sensitiveDataOrigin", a.SensitiveDataOrigin}, {"userWithAuth", a.UserWithAuth},
		{"adminWithPolicy", a.AdminWithPolicy}, {"noDA", a.NoDA}, {"encryptedDuplication", a.EncryptedDuplication},
		{"restricted", a.Restricted}, {"decrypt", a.Decrypt}, {"sign", a.SignEncrypt}, {"x509sign", a.X509Sign},
	} {
		if n.set {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "|")
}

// logged waits until the VTS's log holds a text behind an offset, and returns
// what is there. A plugin's words take their time to get there.
func logged(t testing.TB, d *deployment.Deployment, offset int, text string) string {
	t.Helper()
	var log string
	require.Eventually(t, func() bool {
		log = logOf(t, d)[offset:]
		return strings.Contains(log, text)
	}, 5*time.Second, 5*time.Millisecond, "the VTS's log does not say %q", text)
	return log
}

func logOf(t testing.TB, d *deployment.Deployment) string {
	t.Helper()
	log, err := d.Logs(deployment.VTS)
	assert.NoError(t, err)
	return log
}

// refusal is the plugin's line about bad evidence.
type refusal struct{ Check, Token, Reason string }

const refusalText = "evidence refused"

// refusals finds them in a log.
func refusals(t testing.TB, log string) []refusal {
	t.Helper()
	var all []refusal
	for line := range strings.Lines(log) {
		if _, fields, ok := strings.Cut(line, refusalText); ok {
			var r refusal
			require.NoError(t, json.Unmarshal([]byte(fields), &r), line)
			all = append(all, r)
		}
	}
	return all
}
