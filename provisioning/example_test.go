// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/provisioning"
)

// Hand a CoRIM to a deployment of any version.
func Example() {
	ctx := context.Background()
	client, err := provisioning.New("https://provisioning.example", provisioning.Config{
		Username: "operator", Password: os.Getenv("PASSWORD"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	data, err := os.ReadFile("device.cbor")
	if err != nil {
		log.Fatal(err)
	}

	capabilities, err := client.Capabilities(ctx)
	if err != nil {
		log.Fatal(err)
	}
	dialect, ok := capabilities.Dialect()
	if !ok {
		log.Fatalf("the deployment takes %v", capabilities.MediaTypes)
	}
	if data, err = endorsements.Convert(data, dialect); err != nil {
		log.Fatal(err)
	}
	mediaType, _ := capabilities.MediaType(dialect, false)
	receipt, err := client.Submit(ctx, mediaType, data)
	switch {
	case errors.Is(err, provisioning.ErrUnknownOutcome):
		log.Fatal("look into the deployment before sending it again: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("stored in", receipt.Took)
}
