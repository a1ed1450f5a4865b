// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/pluginhost"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
	"github.com/veraison/attested-tls/plugin/scheme"
)

// FuzzArguments: whatever a method of a handler is given, it answers. A panic
// in Veraison's own part of a call ends the process; one in this project's is
// caught, and counts as well.
func FuzzArguments(f *testing.F) {
	m := evidencetest.New(f)
	data := m.Bundle(f)
	token, err := json.Marshal(&proto.AttestationToken{Data: data, Nonce: m.Nonce})
	require.NoError(f, err)
	anchors, err := hex.DecodeString(pluginhost.RecordedTrustAnchors)
	require.NoError(f, err)
	values, err := hex.DecodeString(pluginhost.RecordedEndorsements)
	require.NoError(f, err)

	var alarm alarm
	receivers := alarm.receivers()
	claims, err := pluginhost.Scheme{Calls: pluginhost.Connect(f, receivers["scheme-handler"])}.ExtractClaims(
		&pluginhost.Evidence{Data: data, MediaType: bundle.MediaType}, nil)
	require.NoError(f, err)
	encoded, err := cbor.Marshal(claims)
	require.NoError(f, err)

	methods := pluginhost.Methods()
	for i, method := range methods {
		f.Add(byte(i), bundle.MediaType, data, m.Nonce, anchors)
		switch method.Name {
		case "GetReferenceValueIDs":
			f.Add(byte(i), "", anchors, encoded, []byte(nil))
		case "AppraiseClaims":
			f.Add(byte(i), "", encoded, values, []byte(nil))
		}
		if method.Handler != "scheme-handler" {
			f.Add(byte(i), "0", token, []byte("{}"), []byte("{}"))
		}
	}

	f.Fuzz(func(t *testing.T, which byte, text string, a, b, c []byte) {
		method := methods[int(which)%len(methods)]
		invoke(t, receivers[method.Handler], method.Name, method.Args(text, a, b, c))
		if text := alarm.text(); strings.Contains(text, "panicked") {
			t.Fatal(text)
		}
	})
}

// invoke makes a call as net/rpc does, with its encoding between, but without
// its goroutines: fuzzing learns nothing from what runs beside it. What comes
// of the call is for other tests to say.
func invoke(t *testing.T, receiver any, name string, args any) {
	t.Helper()
	method := reflect.ValueOf(receiver).MethodByName(name)
	require.True(t, method.IsValid(), "there is no method %s", name)
	var wire bytes.Buffer
	require.NoError(t, gob.NewEncoder(&wire).Encode(args))
	argType := method.Type().In(0)
	pointer := argType.Kind() == reflect.Pointer
	if pointer {
		argType = argType.Elem()
	}
	arg := reflect.New(argType)
	require.NoError(t, gob.NewDecoder(&wire).DecodeValue(arg))
	if !pointer {
		arg = arg.Elem()
	}
	method.Call([]reflect.Value{arg, reflect.New(method.Type().In(1).Elem())})
}

// alarm is a log that remembers.
type alarm struct {
	mu   sync.Mutex
	said strings.Builder
}

func (a *alarm) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said.Write(p)
}

// text returns what was said since the last time.
func (a *alarm) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.said.Reset()
	return a.said.String()
}

// receivers are those of all four handlers.
func (a *alarm) receivers() map[string]any {
	log := hclog.New(&hclog.LoggerOptions{Output: a})
	return map[string]any{
		"evidence-handler":    handler.EvidenceHandlerRPC.GetServer(evidence.NewHandler(log)),
		"store-handler":       handler.StoreHandlerRPC.GetServer(evidence.NewStoreHandler(log)),
		"endorsement-handler": handler.EndorsementHandlerRPC.GetServer(endorsement.NewHandler(log, nil)),
		"scheme-handler":      scheme.NewServer(scheme.NewHandler(log, nil)),
	}
}
