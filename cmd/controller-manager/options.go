package main

import (
	"fmt"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/internal/daemon"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// options are what the command line says.
type options struct {
	daemon.Options
	clusterID string
}

func defaults() *options { return &options{Options: daemon.DefaultOptions()} }

func (o *options) addFlags(fs *pflag.FlagSet) {
	o.AddFlags(fs, "namespace "+v1beta1.SystemNamespace)
	fs.StringVar(&o.clusterID, "cluster-id", o.clusterID,
		"Id of the home cluster, a DNS label. It is stored the first time and never changes; empty takes the "+
			"stored one, or the UID of namespace kube-system.")
}

// validate returns every mistake at once.
func (o *options) validate() error {
	errs := o.Validate()
	if o.clusterID != "" {
		if err := naming.CheckClusterID(o.clusterID); err != nil {
			errs = append(errs, fmt.Errorf("--cluster-id: %w", err))
		}
	}
	return utilerrors.NewAggregate(errs)
}
