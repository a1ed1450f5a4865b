// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
)

// All of these run the real services, with Veraison's own Parsec TPM plugin.

const (
	corimType    = `application/corim-unsigned+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	evidenceType = "application/vnd.parallaxsecond.key-attestation.tpm"
)

func binDir(t *testing.T) string {
	t.Helper()
	dir, err := FindBinDir()
	require.NoError(t, err)
	return dir
}

func parsecTPM(t *testing.T) string { return ParsecTPMPluginDir(binDir(t)) }

// parsecVector reads one of the test vectors of Veraison's Parsec TPM scheme.
func parsecVector(t *testing.T, path ...string) []byte {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/services").Output()
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(append([]string{strings.TrimSpace(string(module)), "scheme", "parsec-tpm", "test"}, path...)...))
	require.NoError(t, err)
	return data
}

func keyCorim(t *testing.T) []byte {
	return parsecVector(t, "corim", "unsignedCorimMiniComidParsecTpmKeyGood.cbor")
}

// allPIDs lists everything that a deployment runs, the keeper included.
func allPIDs(t *testing.T, d *Deployment) []int {
	t.Helper()
	pids, err := groupMembers(d.run.group.id())
	require.NoError(t, err)
	require.Len(t, pids, 7, "want the keeper, three services and three plugin processes")
	return pids
}

func requireGone(t *testing.T, pids []int) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, pid := range pids {
			info, err := readStat(pid)
			assert.True(c, gone(err) || info.zombie, "process %d is still there: %+v, %v", pid, info, err)
		}
	}, 10*time.Second, 20*time.Millisecond)
}

// requireNothingIn fails when something that a deployment in this folder has
// started still runs. Services, plugins and what those start have the folder
// for their working directory; the keeper is a child of this process.
func requireNothingIn(t *testing.T, dir string) {
	t.Helper()
	all, err := processes()
	require.NoError(t, err)
	for _, p := range all {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid)) // not of a zombie
		assert.False(t, cwd == dir, "process %d was left behind", p.pid)
	}
	own, err := children(os.Getpid())
	require.NoError(t, err)
	assert.Empty(t, own, "a child of the test was left behind")
}

func requireProblem(t *testing.T, err error, status int, detail string) {
	t.Helper()
	var problem *ProblemError
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, status, problem.StatusCode, err)
	assert.Contains(t, problem.Detail, detail)
}

func TestDeployment(t *testing.T) {
	ctx := t.Context()
	t.Setenv("VERAISON_PLUGIN", "the VTS must not see this: it would be its plugin section")
	d := StartForTest(t, Config{PluginDir: parsecTPM(t), LogLevel: "debug", Env: []string{"DEPLOYMENT_TEST=yes"}})
	client := d.Client()

	t.Run("answers", func(t *testing.T) {
		for _, url := range []string{
			d.ProvisioningURL() + "/.well-known/veraison/provisioning",
			d.VerificationURL() + "/.well-known/veraison/verification",
		} {
			resp, err := http.Get(url)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, http.StatusOK, resp.StatusCode, url)
		}
	})

	t.Run("processes", func(t *testing.T) {
		assert.Len(t, d.PIDs(), 3)
		plugins, err := d.PluginPIDs()
		require.NoError(t, err)
		assert.Len(t, plugins, 3)
		for _, pid := range plugins {
			size, err := ResidentSize(pid)
			require.NoError(t, err)
			assert.Greater(t, size, int64(1<<20))
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			require.NoError(t, err)
			assert.True(t, bytes.Contains(env, []byte("DEPLOYMENT_TEST=yes\x00")))
		}
		_, err = ResidentSize(-1)
		assert.Error(t, err)
	})

	t.Run("provision", func(t *testing.T) {
		require.NoError(t, client.Provision(ctx, corimType, keyCorim(t)))
		log, err := d.Logs(VTS)
		require.NoError(t, err)
		assert.Contains(t, log, "added trust anchor")
	})

	t.Run("provision garbage", func(t *testing.T) {
		err := client.Provision(ctx, corimType, []byte("garbage"))
		var refused *ProvisioningError
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Reason, "submit endorsements failed")
		assert.Contains(t, refused.Reason, "Parsec TPM profile")
	})

	t.Run("provision nothing", func(t *testing.T) {
		requireProblem(t, client.Provision(ctx, corimType, nil), http.StatusBadRequest, "empty body")
	})

	t.Run("provision unknown type", func(t *testing.T) {
		requireProblem(t, client.Provision(ctx, "application/corim-unsigned+cbor", keyCorim(t)),
			http.StatusUnsupportedMediaType, "no active plugin found")
	})

	t.Run("own nonce", func(t *testing.T) {
		// Its base64url has every character that standard base64 lacks.
		nonce := []byte{0xfb, 0xff, 0xbf, 0xfe, 0, 1, 2, 3, 4, 5}
		session, err := client.NewSession(ctx, nonce)
		require.NoError(t, err)
		assert.Equal(t, nonce, session.Nonce)
		assert.Contains(t, session.Accept, evidenceType)
		assert.WithinDuration(t, time.Now().Add(150*time.Second), session.Expiry, 30*time.Second)
		require.NoError(t, session.Delete(ctx))

		_, err = session.Submit(ctx, evidenceType, []byte{1})
		requireProblem(t, err, http.StatusNotFound, "session not found")
	})

	t.Run("short nonce", func(t *testing.T) {
		_, err := client.NewSession(ctx, []byte{1})
		requireProblem(t, err, http.StatusBadRequest, "between 8 and 64 bytes")
	})

	t.Run("verifier's nonce", func(t *testing.T) {
		first, err := client.NewSession(ctx, nil)
		require.NoError(t, err)
		second, err := client.NewSession(ctx, nil)
		require.NoError(t, err)
		assert.Len(t, first.Nonce, VerifierNonceSize)
		assert.NotEqual(t, first.Nonce, second.Nonce)
	})

	t.Run("evidence of an unknown device", func(t *testing.T) {
		session, err := client.NewSession(ctx, nil)
		require.NoError(t, err)
		result, err := session.Submit(ctx, evidenceType, parsecVector(t, "evidence", "evidence.cbor"))
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, result.StatusCode)

		verdict, err := VerifyEAR(result.EAR, d.PublicKey())
		require.NoError(t, err)
		require.Contains(t, verdict.Submods, "PARSEC_TPM")
		submod := verdict.Submods["PARSEC_TPM"]
		assert.Equal(t, ear.TrustTierContraindicated, *submod.Status)
		assert.Equal(t, ear.CryptoValidationFailedClaim, submod.TrustVector.Hardware)
		nonce, err := decodeNonce(*verdict.Nonce)
		require.NoError(t, err)
		assert.Equal(t, session.Nonce, nonce)
		require.NoError(t, session.Delete(ctx))

		other, err := newSigningKey(filepath.Join(t.TempDir(), "key"))
		require.NoError(t, err)
		_, err = VerifyEAR(result.EAR, &other.PublicKey)
		require.Error(t, err, "an EAR was accepted under another key")
	})

	t.Run("evidence of an unknown type", func(t *testing.T) {
		session, err := client.NewSession(ctx, nil)
		require.NoError(t, err)
		_, err = session.Submit(ctx, "application/octet-stream", []byte{1})
		requireProblem(t, err, http.StatusUnsupportedMediaType, "no active plugin found")
	})

	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := client.NewSession(ctx, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, client.Provision(ctx, corimType, []byte{1}), context.Canceled)
	})

	t.Run("no dump of memory", func(t *testing.T) {
		_, err := d.DumpTrustAnchors(ctx)
		require.ErrorContains(t, err, "memory")
	})

	// Last, as it ends the deployment.
	t.Run("stop", func(t *testing.T) {
		pids := allPIDs(t, d)
		scratch := d.run.scratch
		require.NoError(t, d.Stop())
		requireGone(t, pids)
		assert.NoDirExists(t, scratch)
		assert.Empty(t, d.PIDs())
		_, err := d.PluginPIDs()
		require.Error(t, err)
		require.NoError(t, d.Stop(), "stopping twice")
		log, err := d.Logs(VTS)
		require.NoError(t, err)
		assert.Contains(t, log, "bye!", "the VTS was not stopped but killed")
	})
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	d, err := Start(t.Context(), Config{BinDir: binDir(t), PluginDir: parsecTPM(t), Dir: t.TempDir()})
	require.NoError(t, err)
	_, err = d.Client().NewSession(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, d.Stop())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		// EventuallyWithT runs this in a goroutine of its own.
		assert.LessOrEqual(c, runtime.NumGoroutine(), before+1)
	}, 5*time.Second, 20*time.Millisecond)
}

func TestRestartKeepsSQLiteStores(t *testing.T) {
	ctx := t.Context()
	d := StartForTest(t, Config{PluginDir: parsecTPM(t), Store: SQLite})
	key := d.PublicKey()

	dump, err := d.DumpTrustAnchors(ctx)
	require.NoError(t, err)
	require.Empty(t, dump)

	require.NoError(t, d.Client().Provision(ctx, corimType, keyCorim(t)))
	require.NoError(t, d.Client().Provision(ctx, corimType,
		parsecVector(t, "corim", "unsignedCorimMiniComidParsecTpmPcrsGood.cbor")))
	anchors, err := d.DumpTrustAnchors(ctx)
	require.NoError(t, err)
	require.Contains(t, anchors, "PARSEC_TPM://0/")
	require.Contains(t, anchors, `"parsec-tpm.ak-pub"`)
	references, err := d.DumpEndorsements(ctx)
	require.NoError(t, err)
	require.Contains(t, references, `"parsec-tpm.pcr"`)

	// The same plugin, but from another folder: that is what a swap looks like.
	other := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(parsecTPM(t), "parsec-tpm.plugin"), filepath.Join(other, "other.plugin")))
	old, oldClient := allPIDs(t, d), d.Client()
	require.NoError(t, d.Restart(ctx, other))
	requireGone(t, old)
	assert.NotSame(t, oldClient, d.Client())
	log, err := d.Logs(VTS)
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(log, "listening for GRPC requests"), "the log of the first run is lost")

	assert.True(t, key.Equal(d.PublicKey()), "the signing key has changed")
	again, err := d.DumpTrustAnchors(ctx)
	require.NoError(t, err)
	assert.Equal(t, anchors, again)

	session, err := d.Client().NewSession(ctx, nil)
	require.NoError(t, err)
	result, err := session.Submit(ctx, evidenceType, parsecVector(t, "evidence", "evidence.cbor"))
	require.NoError(t, err)
	_, err = VerifyEAR(result.EAR, key)
	require.NoError(t, err)

	// A restart that fails leaves nothing running.
	old = allPIDs(t, d)
	require.ErrorContains(t, d.Restart(ctx, filepath.Join(other, "missing")), "plugins folder")
	requireGone(t, old)
	assert.Empty(t, d.PIDs())

	// And one afterwards works.
	require.NoError(t, d.Restart(ctx, other))
	allPIDs(t, d)
}

func TestStartRefusals(t *testing.T) {
	bin, plugins := binDir(t), parsecTPM(t)
	empty := t.TempDir()
	broken := t.TempDir()
	script := []byte("#!/bin/sh\necho this is no plugin\nexit 3\n")
	require.NoError(t, os.WriteFile(filepath.Join(broken, "broken.plugin"), script, 0o700))

	// A folder of plugins that cannot be loaded together: the VTS starts the
	// first, and gives up at the second.
	double := t.TempDir()
	for _, name := range []string{"a.plugin", "b.plugin"} {
		require.NoError(t, os.Symlink(filepath.Join(plugins, "parsec-tpm.plugin"), filepath.Join(double, name)))
	}
	// And one that never says that it is ready, with a child of its own.
	stuck := t.TempDir()
	script = []byte("#!/bin/sh\nsleep 1000 &\nexec sleep 1000\n")
	require.NoError(t, os.WriteFile(filepath.Join(stuck, "stuck.plugin"), script, 0o700))

	// Services that are not what they should be.
	noVTS, silent := t.TempDir(), t.TempDir()
	for _, dir := range []string{noVTS, silent} {
		for _, name := range []string{string(Provisioning), string(Verification), string(VTS), storeInit} {
			require.NoError(t, os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name)))
		}
	}
	require.NoError(t, os.Remove(filepath.Join(noVTS, string(VTS))))
	require.NoError(t, os.Remove(filepath.Join(silent, string(Provisioning))))
	script = []byte("#!/bin/sh\necho I am silent\nexec sleep 1000\n")
	require.NoError(t, os.WriteFile(filepath.Join(silent, string(Provisioning)), script, 0o700))

	for name, test := range map[string]struct {
		cfg  Config
		want []string
	}{
		"no binaries": {
			Config{BinDir: empty, PluginDir: plugins},
			[]string{"vts-service", "no such file", "make veraison"},
		},
		"no VTS": {
			Config{BinDir: noVTS, PluginDir: plugins},
			[]string{"vts-service", "no such file", "make veraison"},
		},
		"silent provisioning": {
			Config{BinDir: silent, PluginDir: plugins, StartTimeout: 2 * time.Second},
			[]string{"waiting for provisioning-service to listen", "time for starting is over", "I am silent"},
		},
		"no plugins folder": {
			Config{BinDir: bin, PluginDir: filepath.Join(empty, "missing")},
			[]string{"plugins folder", "no such file"},
		},
		"empty plugins folder": {
			Config{BinDir: bin, PluginDir: empty},
			[]string{"no *.plugin in " + empty},
		},
		"broken plugin": {
			Config{BinDir: bin, PluginDir: broken},
			[]string{"vts-service ended by itself: exit status 1", "broken.plugin"},
		},
		"two plugins for one scheme": {
			Config{BinDir: bin, PluginDir: double},
			[]string{"vts-service ended by itself: exit status 1", "provided by two sources"},
		},
		"stuck plugin": {
			Config{BinDir: bin, PluginDir: stuck, StartTimeout: time.Second},
			[]string{"waiting for vts-service to listen", "time for starting is over"},
		},
		"bad log level": {
			Config{BinDir: bin, PluginDir: plugins, LogLevel: "loud"},
			[]string{"vts-service ended by itself", `invalid logging level: "loud"`},
		},
		"no folder":     {Config{BinDir: bin}, []string{"PluginDir is not set"}},
		"unknown store": {Config{BinDir: bin, PluginDir: plugins, Store: 7}, []string{"Store(7)"}},
	} {
		t.Run(name, func(t *testing.T) {
			scratch := t.TempDir()
			t.Setenv("TMPDIR", scratch)
			test.cfg.Dir = filepath.Join(t.TempDir(), "state")
			d, err := Start(t.Context(), test.cfg)
			if err == nil {
				t.Error(d.Stop())
				t.Fatal("it started")
			}
			for _, want := range test.want {
				assert.ErrorContains(t, err, want)
			}
			requireNothingIn(t, test.cfg.Dir)
			left, err := os.ReadDir(scratch)
			require.NoError(t, err)
			assert.Empty(t, left, "folders for sockets were left behind")
		})
	}
}

func TestStartHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	dir := t.TempDir()
	_, err := Start(ctx, Config{BinDir: binDir(t), PluginDir: parsecTPM(t), Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	requireNothingIn(t, dir)
}

// A service that dies is news that Stop tells, and its plugins die with it.
func TestStopTellsOfACrash(t *testing.T) {
	d, err := Start(t.Context(), Config{BinDir: binDir(t), PluginDir: parsecTPM(t), Dir: t.TempDir()})
	require.NoError(t, err)
	pids := allPIDs(t, d)
	require.NoError(t, syscall.Kill(d.PIDs()[VTS], syscall.SIGKILL))
	requireGone(t, []int{d.PIDs()[VTS]})
	err = d.Stop()
	require.ErrorContains(t, err, "vts-service ended by itself: signal: killed")
	requireGone(t, pids)
}

// A port that somebody else takes first costs another attempt, and his listener
// is not taken for ours.
func TestLostPort(t *testing.T) {
	cfg, err := Config{BinDir: binDir(t), PluginDir: parsecTPM(t), Dir: t.TempDir()}.checked()
	require.NoError(t, err)
	_, err = signingKey(keyPath(cfg.Dir))
	require.NoError(t, err)

	var first ports
	running, err := startRun(t.Context(), cfg, func() (ports, error) {
		first, err = freePorts()
		return first, err
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, running.stop()) })

	for name, lost := range map[string]func(*ports){
		"vts":          func(p *ports) { p.vts = first.vts },
		"provisioning": func(p *ports) { p.provisioning = first.provisioning },
		"verification": func(p *ports) { p.verification = first.verification },
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			second, err := startRun(t.Context(), cfg, func() (ports, error) {
				on, err := freePorts()
				if attempts++; attempts <= 2 {
					lost(&on)
				}
				return on, err
			})
			require.NoError(t, err)
			assert.Equal(t, 3, attempts)
			require.NoError(t, second.stop())

			attempts = 0
			_, err = startRun(t.Context(), cfg, func() (ports, error) {
				attempts++
				on, err := freePorts()
				lost(&on)
				return on, err
			})
			require.ErrorContains(t, err, "address already in use")
			assert.Equal(t, portAttempts, attempts)
		})
	}

	// What the log says of earlier runs is not held against this one.
	attempts := 0
	broken := cfg
	broken.LogLevel = "loud"
	_, err = startRun(t.Context(), broken, func() (ports, error) {
		attempts++
		return freePorts()
	})
	require.ErrorContains(t, err, "invalid logging level")
	assert.Equal(t, 1, attempts)
	assert.True(t, running.processes[0].alive())
}

const childEnv = "DEPLOYMENT_TEST_CHILD_DIR"

// When the test process is killed, nothing that it started stays.
func TestNothingSurvivesTheTestProcess(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		runChild(t, dir)
		return
	}
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "terminated": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingSurvivesTheTestProcess$", "-test.timeout=1m")
			child.Env = append(os.Environ(), childEnv+"="+t.TempDir())
			var stderr bytes.Buffer
			child.Stderr = &stderr
			out, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())

			lines := bufio.NewScanner(out)
			pids := []int{}
			scratch := ""
			for lines.Scan() && lines.Text() != "ready" {
				if dir, ok := strings.CutPrefix(lines.Text(), "scratch "); ok {
					scratch = dir
				}
				if pid, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
					n, err := strconv.Atoi(pid)
					require.NoError(t, err)
					pids = append(pids, n)
				}
			}
			require.Len(t, pids, 7, "the child did not start its deployment: %s", &stderr)
			require.DirExists(t, scratch)

			require.NoError(t, child.Process.Signal(sig))
			require.Error(t, child.Wait())
			requireGone(t, pids)
			assert.NoDirExists(t, scratch)
		})
	}
}

// runChild starts a deployment, says what it runs, and waits to be killed.
func runChild(t *testing.T, dir string) {
	d := StartForTest(t, Config{PluginDir: parsecTPM(t), Dir: dir})
	for _, pid := range allPIDs(t, d) {
		fmt.Println("pid", pid)
	}
	fmt.Println("scratch", d.run.scratch)
	fmt.Println("ready")
	time.Sleep(30 * time.Second)
}

func TestFindBinDir(t *testing.T) {
	if os.Getenv(BinDirEnv) == "" {
		dir, err := FindBinDir()
		require.NoError(t, err)
		assert.True(t, strings.HasSuffix(dir, filepath.Join("bin", "veraison")), dir)
	}

	other := t.TempDir()
	t.Setenv(BinDirEnv, other)
	_, err := FindBinDir()
	require.ErrorContains(t, err, "run make veraison")

	for _, name := range []string{string(VTS), string(Provisioning), string(Verification), storeInit} {
		require.NoError(t, os.WriteFile(filepath.Join(other, name), nil, 0o700))
	}
	dir, err := FindBinDir()
	require.NoError(t, err)
	assert.Equal(t, other, dir)

	t.Setenv(BinDirEnv, "")
	t.Chdir(other)
	_, err = FindBinDir()
	require.ErrorContains(t, err, "is not in the repository")
}
