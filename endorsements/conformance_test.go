// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/corim"
)

// veraisonVector reads one of the CoRIMs in Veraison's parsec-tpm scheme.
func veraisonVector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(veraisonVectors(t), "unsignedCorimMini"+name+".cbor"))
	require.NoError(t, err)
	return data
}

func veraisonVectors(t testing.TB) string {
	return filepath.Join(servicesDir(t), "scheme", "parsec-tpm", "test", "corim")
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

// veraisonKID is the key identifier in Veraison's vectors and in the
// templates of the proof of concept.
var veraisonKID = append([]byte{1}, make([]byte, 32)...)

// veraisonState is the state in both.
func veraisonState(t testing.TB) ReferenceState {
	return mustState(t, classA,
		PCRValue{PCR{crypto.SHA256, 0}, unbase64(t, "h0KPxSKAPTEGXnvOPPA/5HUJZjHl4Hu9eg/eYMTPJcc=")},
		PCRValue{PCR{crypto.SHA384, 0}, unbase64(t, "QoS1aUymwNLPR4mguVrIAlyBjeUjBDZL580pgbLS7caFsyInfsJYGZYkE9jJssH1")},
		PCRValue{PCR{crypto.SHA256, 1}, unbase64(t, "rqg3uI4yCrzUdvWDmVLV4aYSwOSiJcuSBdIAcebDd0U=")},
		PCRValue{PCR{crypto.SHA384, 1}, unbase64(t, "IQe752H8pS2VE2oTVNt6TdV7Gya+DT2nHZ6yOYazS6YVq/ZRTPNeWp6lWgMtBop4")},
	)
}

func TestVeraisonGood(t *testing.T) {
	c, err := Decode(veraisonVector(t, "ComidParsecTpmKeyGood"))
	require.NoError(t, err)
	assert.Equal(t, &Corim{
		ID:      "b3ec060e-2a5b-4bc2-8f71-1dab08ce5be9",
		Dialect: DialectV1,
		Anchors: []TrustAnchor{mustAnchor(t, classA, veraisonKID, pemA)},
	}, c)

	// Veraison's own plugin keeps the last digest of each PCR only.
	c, err = Decode(veraisonVector(t, "ComidParsecTpmPcrsGood"))
	require.NoError(t, err)
	assert.Equal(t, &Corim{
		ID:      "b3ec060e-2a5b-4bc2-8f71-1dab08ce5be9",
		Dialect: DialectV1,
		States:  []ReferenceState{veraisonState(t)},
	}, c)
}

func TestVeraisonBad(t *testing.T) {
	const (
		key = `comid[0]: attester-verification-keys[0]: `
		pcr = `comid[0]: reference-values[0]: `
	)
	tests := map[string]string{
		"ComidParsecTpmKeyNoInstance":          key + `environment.instance: missing; expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560)`,
		"ComidParsecTpmKeyUnknownInstanceType": key + `environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found tag 37`,
		"ComidParsecTpmKeyNoClass":             key + `environment.class: missing; expected a class with a UUID as its id`,
		"ComidParsecTpmKeyNoClassId":           key + `environment.class.id: missing; expected a UUID (tag 37)`,
		"ComidParsecTpmKeyUnknownClassIdType":  key + `environment.class.id: expected a UUID (tag 37), found tag 111`,
		"ComidParsecTpmKeyManyKeys":            key + `verification-keys: expected an array of exactly one key, found an array (2 elements)`,
		"ComidParsecTpmPcrsNoClass":            pcr + `environment.instance: not in the profile; a reference value is for a whole class`,
		"ComidParsecTpmPcrsNoPCR":              pcr + `measurements[0].key: missing; expected the index of a PCR, 0 to 31`,
		"ComidParsecTpmPcrsUnknownPCRType":     pcr + `measurements[0].key: expected the index of a PCR, 0 to 31, found tag 37`,
		"ComidParsecTpmPcrsNoDigests":          pcr + `measurements[0].value.serial-number: not in the profile; only digests are compared`,
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(veraisonVector(t, name))
			assert.EqualError(t, err, want)
		})
	}
	files, err := filepath.Glob(filepath.Join(veraisonVectors(t), "*.cbor"))
	require.NoError(t, err)
	assert.Len(t, files, len(tests)+2, "a vector is not tested")
}

// TestTemplates: what the proof of concept provisions can be read when it was
// made with Veraison's tools, and written without them.
func TestTemplates(t *testing.T) {
	template := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", "attested-tls-poc", name))
		require.NoError(t, err)
		return data
	}
	// corim.json is of an older format, with a list of profiles.
	var head struct {
		ID       string   `json:"corim-id"`
		Profiles []string `json:"profiles"`
	}
	require.NoError(t, json.Unmarshal(template("corim.json"), &head))
	require.Equal(t, []string{Profile}, head.Profiles)
	uc := corim.NewUnsignedCorim().SetID(head.ID).SetProfile(Profile)
	require.NotNil(t, uc)
	for _, name := range []string{"comid-key.json", "comid-pcr.json"} {
		var c comid.Comid
		require.NoError(t, c.FromJSON(template(name)))
		require.NotNil(t, uc.AddComid(c))
	}
	data, err := uc.ToCBOR()
	require.NoError(t, err)
	read, err := Decode(data)
	require.NoError(t, err)

	const wrapped = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETKRFE/RwSXooI8DdatPOYg/uiKm2\n" +
		"XrtT/uEMEvqQZrwJHHcfw0c3WVzGoqL3Y/Q6xkHFfdUVqS2WWkPdKO03uw==\n" +
		"-----END PUBLIC KEY-----"
	made := &Corim{
		ID:      "b3ec060e-2a5b-4bc2-8f71-1dab08ce5be9",
		Dialect: DialectV1,
		Anchors: []TrustAnchor{mustAnchor(t, classA, veraisonKID, wrapped)},
		States:  []ReferenceState{veraisonState(t)},
	}
	assert.Equal(t, made, read)
	data, err = made.Encode(DialectV1)
	require.NoError(t, err)
	theirs, err := asVeraisonReads(data)
	require.NoError(t, err)
	assert.Equal(t, asWeRead(read), theirs)
}
