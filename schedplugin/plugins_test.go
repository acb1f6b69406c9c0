package schedplugin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2/ktesting"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"

	"github.com/twinspace/twinspace/e2e/build"
)

func handle(t *testing.T, ctx context.Context, config *rest.Config) fwk.Handle { //nolint:revive // t first, in a test
	t.Helper()
	client := fake.NewClientset()
	h, err := frameworkruntime.NewFramework(ctx, nil, nil,
		frameworkruntime.WithClientSet(client), frameworkruntime.WithKubeConfig(config),
		frameworkruntime.WithInformerFactory(informers.NewSharedInformerFactory(client, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPluginsHaveTheirNames(t *testing.T) {
	_, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithCancel(ctx)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 404, metav1.StatusReasonNotFound)
	}))
	defer server.Close()
	defer cancel()
	h := handle(t, ctx, &rest.Config{Host: server.URL})
	plugins := Plugins()
	if len(plugins) != 2 {
		t.Errorf("%d plugins, want 2", len(plugins))
	}
	for name, factory := range plugins {
		plugin, err := factory(ctx, nil, h)
		if err != nil {
			t.Fatal(err)
		}
		if got := plugin.Name(); got != name {
			t.Errorf("plugin %q calls itself %q", name, got)
		}
	}
}

func TestProfilesShareWhatIsKnown(t *testing.T) {
	_, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := handle(t, ctx, &rest.Config{Host: "http://127.0.0.1:1"})
	plugins := Plugins()
	one, err := plugins[Name](ctx, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	two, err := plugins[Name](ctx, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	if one.(*Offloading).policies != two.(*Offloading).policies {
		t.Error("each profile watches for itself")
	}
	other, err := Plugins()[Name](ctx, nil, handle(t, ctx, &rest.Config{Host: "http://127.0.0.1:1"}))
	if err != nil {
		t.Fatal(err)
	}
	if one.(*Offloading).policies == other.(*Offloading).policies {
		t.Error("two schedulers of one process share a state that nobody passed to them")
	}
}

func TestPluginsNeedAClient(t *testing.T) {
	_, ctx := ktesting.NewTestContext(t)
	for name, factory := range Plugins() {
		if _, err := factory(ctx, nil, handle(t, ctx, nil)); err == nil {
			t.Errorf("%s started without a client configuration", name)
		}
	}
	for name, factory := range Plugins() {
		broken := &rest.Config{TLSClientConfig: rest.TLSClientConfig{CAFile: "/nonexistent"}}
		if _, err := factory(ctx, nil, handle(t, ctx, broken)); err == nil {
			t.Errorf("%s started with a client configuration that cannot work", name)
		}
	}
}

// TestBatchesStayOn builds the shipped profiles. Pods that are spread by the defaults of PodTopologySpread are not
// batched by anybody, so these are off.
func TestBatchesStayOn(t *testing.T) {
	for _, file := range []string{"replace-default.yaml", "side-by-side.yaml"} {
		t.Run(file, func(t *testing.T) {
			_, ctx := ktesting.NewTestContext(t)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			profile := shipped(t, file)
			for _, plugin := range profile.PluginConfig {
				if args, ok := plugin.Args.(*config.PodTopologySpreadArgs); ok {
					args.DefaultingType = config.ListDefaulting
				}
			}
			client := fake.NewClientset()
			s, err := scheduler.New(ctx, client, scheduler.NewInformerFactory(client, 0), nil,
				func(string) events.EventRecorder { return nil },
				scheduler.WithProfiles(profile), scheduler.WithFrameworkOutOfTreeRegistry(Plugins()),
				scheduler.WithKubeConfig(&rest.Config{Host: "http://127.0.0.1:1"}))
			if err != nil {
				t.Fatal(err)
			}
			for name, profile := range s.Profiles {
				if profile.SignPod(ctx, build.Pod("web").Obj(), false) == nil {
					t.Errorf("profile %s does not sign pods", name)
				}
			}
		})
	}
}
