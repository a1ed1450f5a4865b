// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/provisioning"
)

// provisionFlags are what "atls provision" can be told.
type provisionFlags struct {
	service   serviceFlags
	verifier  verifierFlags
	dialect   string
	jobs      int
	keepGoing bool
	report    string
	noReport  bool
	resubmit  bool
	again     bool
	dryRun    bool
	json      bool
}

const maxJobs = 64

func (a *app) provisionCommand() *cobra.Command {
	f := new(provisionFlags)
	cmd := &cobra.Command{
		Use:   "provision FILE|DIR…",
		Short: "Hand endorsements to a Veraison deployment",
		Long: `Hand endorsements (CoRIMs, signed or not, in either dialect) to the provisioning
service of a Veraison deployment. Of a folder, its files *.cbor, *.corim and
*.cose are taken, and those of the folders in it.

Every file is read and checked before the first is sent: what is malformed,
expired or has two keys for one key identifier is not sent. Unsigned CoRIMs are
converted to the dialect that the deployment announces.

What was sent is written to a report, and what the deployment has accepted is
not sent again, in this run or a later one. A file whose sending was interrupted
before the answer came is in doubt: the deployment may have it. It is not sent
again, because some deployments keep what comes twice twice, unless --resubmit
asks for it. With --verifier, the deployment's verification service is asked
whether it knows the file's trust anchors, with evidence that is not valid; this
settles the doubt for CoRIMs that have nothing but trust anchors.

Without --keep-going the first failure ends the run; what is on its way then is
waited for. The command can be interrupted and run again at any time.`,
		Example: `  atls provision --url https://provisioning.example device.cbor
  atls provision --url https://provisioning.example --username operator \
      --password-file password.txt -j 8 --keep-going --report fleet.jsonl fleet/
  ATLS_CLIENT_SECRET=… atls provision --url https://provisioning.example \
      --oauth2-token-url https://keycloak.example/realms/veraison/protocol/openid-connect/token \
      --client-id provisioner fleet/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf("there is nothing to provision: name files or folders")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.provision(cmd.Context(), f, args) },
	}
	f.service.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.verifier.url, "verifier", "", "URL of the deployment's verification service, to ask about what is in doubt")
	fs.StringArrayVar(&f.verifier.keys, "verifier-key", nil, "the key that it signs results with: a JWK or a PEM public key (repeatable)")
	fs.BoolVar(&f.verifier.discover, "discover", false, "ask the verification service for its keys")
	fs.StringVar(&f.dialect, "dialect", "auto", "dialect to send unsigned CoRIMs in: auto, v1, v2-text or v2; auto cannot tell the last\n"+
		"two apart and takes v2, which Veraison from v0.0.2603 to v0.0.2608 does not")
	fs.IntVarP(&f.jobs, "jobs", "j", 4, fmt.Sprintf("how many files to send at a time, at most %d", maxJobs))
	fs.BoolVar(&f.keepGoing, "keep-going", false, "go on with the other files when one is bad or refused")
	fs.StringVar(&f.report, "report", "", "the report (default one for each deployment, in $XDG_STATE_HOME/atls)")
	fs.BoolVar(&f.noReport, "no-report", false, "keep no report: the next run sends everything again")
	fs.BoolVar(&f.resubmit, "resubmit", false, "send again what is in doubt; the deployment may then have it twice")
	fs.BoolVar(&f.again, "resubmit-accepted", false, "send again what was accepted: for a deployment that has lost it")
	fs.BoolVar(&f.dryRun, "dry-run", false, "check the files and say what would be sent; send nothing")
	cmd.MarkFlagsMutuallyExclusive("report", "no-report")
	jsonFlag(cmd, &f.json)
	return cmd
}

func (f *provisionFlags) check() error {
	if f.jobs < 1 || f.jobs > maxJobs {
		return usageErrorf("--jobs %d: want 1 to %d", f.jobs, maxJobs)
	}
	if f.verifier.url == "" && (f.verifier.discover || len(f.verifier.keys) > 0) {
		return usageErrorf("--verifier-key and --discover are for --verifier, which is not given")
	}
	switch f.dialect {
	case "auto", "v1", "v2-text", "v2":
		return nil
	}
	return usageErrorf("--dialect %q: want auto, v1, v2-text or v2", f.dialect)
}

// provision is the whole command.
func (a *app) provision(ctx context.Context, f *provisionFlags, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	client, err := a.provisioningClient(ctx, &f.service)
	if err != nil {
		return err
	}
	defer client.Close()
	probe, err := a.anchorProbe(f)
	if err != nil {
		return err
	}
	defer probe.close()
	paths, err := corimFiles(args)
	if err != nil {
		return err
	}
	run := &provisionRun{app: a, flags: f, client: client, probe: probe}
	// The files first: they are at hand, and may be bad.
	if err := run.read(ctx, paths); err != nil {
		return err
	}
	if err := run.stopAtFailure(); err != nil {
		return err
	}
	if err := run.negotiate(ctx); err != nil {
		return err
	}
	if err := run.openReport(); err != nil {
		return err
	}
	defer run.report.close()
	run.plan()
	run.warn()
	if err := run.stopAtFailure(); err != nil {
		return err
	}
	if !f.dryRun {
		if err := run.report.begin(); err != nil {
			return inputErrorf("the report %s: %w", run.report.path, err)
		}
		run.settle(ctx, false)
		run.send(ctx)
		run.settle(ctx, true)
	}
	if err := run.report.sync(); err != nil {
		return err
	}
	return run.conclude(ctx)
}

// negotiate finds the dialect and the media types that the deployment takes.
func (r *provisionRun) negotiate(ctx context.Context) error {
	capabilities, err := r.client.Capabilities(ctx)
	if err != nil {
		return serviceError(err)
	}
	r.capabilities = capabilities
	switch r.flags.dialect {
	case "v1":
		r.dialect = endorsements.DialectV1
	case "v2-text":
		r.dialect = endorsements.DialectV2Text
	case "v2":
		r.dialect = endorsements.DialectV2
	default:
		// Without one for unsigned CoRIMs the signed ones may still go.
		r.dialect, _ = capabilities.Dialect()
	}
	return nil
}

// serviceError is an error of the provisioning service with its exit code.
func serviceError(err error) error {
	ee := verifierErrorf("%w", err)
	if problem, ok := errors.AsType[*provisioning.ProblemError](err); ok {
		switch problem.Status {
		case 401, 403:
			return ee.withHint("give --username with a password, or --oauth2-token-url with a client's credentials")
		case 404:
			return ee.withHint("is this the provisioning service's URL?")
		}
	}
	return ee
}
