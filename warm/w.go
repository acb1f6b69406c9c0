package warm

import (
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/onsi/gomega"
	_ "github.com/virtual-kubelet/virtual-kubelet/node"
	_ "github.com/virtual-kubelet/virtual-kubelet/node/nodeutil"
	_ "github.com/virtual-kubelet/virtual-kubelet/node/api"
	_ "go.uber.org/goleak"
	_ "k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	_ "sigs.k8s.io/controller-runtime"
	_ "sigs.k8s.io/controller-runtime/pkg/client/fake"
	_ "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	_ "sigs.k8s.io/yaml"
	_ "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	_ "k8s.io/component-helpers/scheduling/corev1"
	_ "k8s.io/kube-scheduler/framework"
)

import (
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/spf13/pflag"
	_ "k8s.io/apiserver/pkg/apis/audit/v1"
	_ "k8s.io/component-helpers/apimachinery/lease"
	_ "k8s.io/client-go/kubernetes/fake"
	_ "k8s.io/utils/ptr"
	_ "k8s.io/utils/clock/testing"
	_ "github.com/go-logr/logr"
	_ "golang.org/x/term"
	_ "golang.org/x/sync/errgroup"
	_ "k8s.io/klog/v2"
	_ "sigs.k8s.io/controller-runtime/pkg/envtest/komega"
)
