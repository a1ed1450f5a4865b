// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/evidencetest"
)

// rpcHandler is a handler of the plugin as go-plugin knows it. Client makes the
// host's side of it, Veraison's own code.
type rpcHandler struct {
	plugin.NetRPCUnsupportedPlugin
	client func(*rpc.Client) any
}

func (h rpcHandler) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) { return h.client(c), nil }

// host runs the plugin as a VTS does, without the VTS: one process for each
// handler.
type host struct {
	evidence    handler.IEvidenceHandler
	store       handler.IStoreHandler
	endorsement handler.IEndorsementHandler
	pids        map[string]int
}

func newHost(t testing.TB, folder string, env ...string) *host {
	t.Helper()
	h := &host{pids: map[string]int{}}
	dispense := func(name string, client func(*rpc.Client) any) any {
		t.Helper()
		cmd := exec.Command(filepath.Join(folder, pluginName))
		cmd.Env = append(os.Environ(), env...)
		c := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "VERAISON_PLUGIN", MagicCookieValue: "VERAISON"},
			Plugins:         plugin.PluginSet{name: rpcHandler{client: client}},
			Cmd:             cmd,
			Logger:          hclog.NewNullLogger(),
		})
		t.Cleanup(c.Kill)
		protocol, err := c.Client()
		require.NoError(t, err)
		dispensed, err := protocol.Dispense(name)
		require.NoError(t, err)
		h.pids[name] = cmd.Process.Pid
		return dispensed
	}
	h.evidence = dispense("evidence-handler", handler.EvidenceHandlerRPC.GetClient).(handler.IEvidenceHandler)
	h.store = dispense("store-handler", handler.StoreHandlerRPC.GetClient).(handler.IStoreHandler)
	h.endorsement = dispense("endorsement-handler", handler.EndorsementHandlerRPC.GetClient).(handler.IEndorsementHandler)
	return h
}

// resident is how much memory each process holds.
func (h *host) resident(t testing.TB) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	for name, pid := range h.pids {
		size, err := deployment.ResidentSize(pid)
		require.NoError(t, err)
		sizes[name] = size
	}
	return sizes
}

// provision asks for what a store then holds.
func (h *host) provision(corim []byte) (anchors, states []string, err error) {
	rsp, err := h.endorsement.Decode(corim)
	if err != nil {
		return nil, nil, err
	}
	for _, part := range []struct {
		from []handler.Endorsement
		key  func(string, *handler.Endorsement) ([]string, error)
		to   *[]string
	}{
		{rsp.TrustAnchors, h.store.SynthKeysFromTrustAnchor, &anchors},
		{rsp.ReferenceValues, h.store.SynthKeysFromRefValue, &states},
	} {
		for i := range part.from {
			if _, err := part.key("0", &part.from[i]); err != nil {
				return nil, nil, err
			}
			text, err := json.Marshal(part.from[i])
			if err != nil {
				return nil, nil, err
			}
			*part.to = append(*part.to, string(text))
		}
	}
	return anchors, states, nil
}

// appraise makes the five calls in the order of Veraison's VTS.
func (h *host) appraise(token *proto.AttestationToken, anchors, states []string) (*ear.AttestationResult, error) {
	if _, err := h.store.GetTrustAnchorIDs(token); err != nil {
		return nil, err
	}
	claims, err := h.evidence.ExtractClaims(token, anchors)
	if err != nil {
		return nil, err
	}
	if _, err := h.store.GetRefValueIDs(token.TenantId, anchors, claims); err != nil {
		return nil, err
	}
	if err := h.evidence.ValidateEvidenceIntegrity(token, anchors, states); err != nil {
		return nil, err
	}
	fields, err := structpb.NewStruct(claims)
	if err != nil {
		return nil, err
	}
	return h.evidence.AppraiseEvidence(&proto.EvidenceContext{TenantId: token.TenantId, Evidence: fields}, states)
}

// endorse makes a CoRIM of a pretended TPM as it is.
func endorse(t testing.TB, m *evidencetest.TPM, class string) []byte {
	t.Helper()
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, m.KID, pem)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for _, b := range m.Quoted {
		bank, err := b.Alg.Hash()
		require.NoError(t, err)
		for _, i := range b.PCRs {
			values = append(values, endorsements.PCRValue{
				PCR: endorsements.PCR{Bank: bank, Index: i}, Digest: m.PCRs[evidencetest.PCR{Alg: b.Alg, Index: i}],
			})
		}
	}
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return encode(t, &endorsements.Corim{Anchors: []endorsements.TrustAnchor{a}, States: []endorsements.ReferenceState{s}})
}

// job is an appraisal and what must come of it.
type job struct {
	token  *proto.AttestationToken
	states []string
	bad    bool
	status ear.TrustTier
}

// jobs are appraisals of one device, good and bad.
func jobs(t testing.TB, m *evidencetest.TPM, anchor, states []string) []job {
	t.Helper()
	var all []job
	add := func(evidence, nonce []byte, states []string, bad bool, status ear.TrustTier) {
		all = append(all, job{&proto.AttestationToken{TenantId: "0", Data: evidence, Nonce: nonce}, states, bad, status})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		m.Nonce = make([]byte, 32)
		for i := range m.Nonce {
			m.Nonce[i] = byte(random.Uint32())
		}
		good := m.Bundle(t)
		flipped := bytes.Clone(good)
		flipped[random.IntN(len(flipped))] ^= 0x10
		garbage := make([]byte, 1<<random.IntN(18)) // bundle.MaxSize is 1<<14
		for i := range garbage {
			garbage[i] = byte(random.Uint32())
		}
		add(good, m.Nonce, states, false, ear.TrustTierAffirming)
		add(good, m.Nonce, states, false, ear.TrustTierAffirming)
		add(good, m.Nonce, nil, false, ear.TrustTierWarning)
		add(good, bytes.Repeat([]byte{1}, 32), states, true, 0) // stale
		add(flipped, m.Nonce, states, true, 0)
		add(garbage, m.Nonce, states, true, 0)

		m.TIK.ObjectAttributes.FixedTPM = false
		add(m.Bundle(t), m.Nonce, states, false, ear.TrustTierContraindicated)
		m.TIK.ObjectAttributes.FixedTPM = true
	}
	return all
}

func (j job) check(r *ear.AttestationResult, err error) error {
	if j.bad {
		if !errors.Is(err, handler.BadEvidenceError{}) {
			return fmt.Errorf("bad evidence gives %v, %w", r, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if status := *r.Submods[scheme].Status; status != j.status {
		return fmt.Errorf("status %v, want %v", status, j.status)
	}
	return nil
}

// TestMemoryFlat: nothing restarts a plugin, so it must not grow. This is the
// plugin as it is shipped, also under the race detector: that one's own memory
// grows.
func TestMemoryFlat(t *testing.T) {
	appraisals, warmUp := 20_000, 2_000
	if testing.Short() || raceDetector {
		appraisals = 6_000
	}
	folder, err := shippedPlugin()
	require.NoError(t, err)
	// With the plugin's own setting the garbage of these few appraisals never
	// fills the heap that it is allowed, which looks like growth. Collected
	// often, what grows is what is held.
	h := newHost(t, folder, "GOGC=100")
	m := evidencetest.New(t)
	m.SetBank(tpm2.TPMAlgSHA384, 0, 1)
	m.Quoted = append(m.Quoted, evidencetest.Bank{Alg: tpm2.TPMAlgSHA384, PCRs: []int{0, 1}})
	corim := endorse(t, m, newClass(t))
	anchors, states, err := h.provision(corim)
	require.NoError(t, err)
	all := jobs(t, m, anchors, states)
	badCoRIM := bytes.Repeat([]byte{0x81}, 1<<16)

	// Several callers at once, as a VTS has.
	const callers = 4
	run := func(n int) {
		t.Helper()
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := c; i < n && errs[c] == nil; i += callers {
					j := all[i%len(all)]
					errs[c] = j.check(h.appraise(j.token, anchors, j.states))
					switch {
					case i%20 == 0: // somebody provisions, too
						_, _, err := h.provision(corim)
						errs[c] = errors.Join(errs[c], err)
					case i%20 == 10:
						if _, _, err := h.provision(badCoRIM); err == nil {
							errs[c] = errors.Join(errs[c], errors.New("a bad CoRIM was accepted"))
						}
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
	}

	run(warmUp)
	// A process is as large as its garbage at the moment: one size says little,
	// the middle one of several does.
	const samples, of = 9, 36
	sizes := map[string][]int64{}
	for range of {
		run((appraisals - warmUp) / of)
		for name, size := range h.resident(t) {
			sizes[name] = append(sizes[name], size)
		}
	}
	// The garbage collector keeps the heap at a few MiB, of which these middles
	// show less than one, with 120,000 appraisals, too. A leak of 200 bytes an
	// appraisal is more than this.
	const tolerance = 3 << 20
	for name, s := range sizes {
		first, last := median(s[:samples]), median(s[of-samples:])
		t.Logf("resident size of the %s after %d appraisals: %.1f MiB, after %d: %.1f MiB",
			name, warmUp, mib(first), appraisals, mib(last))
		require.LessOrEqual(t, last, first+tolerance, "%s: %v", name, s)
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func median(sizes []int64) int64 {
	s := slices.Sorted(slices.Values(sizes))
	return s[len(s)/2]
}
