package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	configv1 "k8s.io/kubernetes/pkg/scheduler/apis/config/v1"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/profile"

	"github.com/twinspace/twinspace/manifests"
	"github.com/twinspace/twinspace/schedplugin"
)

// tick is how often a counter is looked at.
const tick = 2 * time.Millisecond

// schedulerRun is a scheduler that runs in this process, and what it has done so far.
type schedulerRun struct {
	stop func()
	gate sync.RWMutex // held for writing while the scheduler is held back

	seen, bound, away atomic.Int64 // pods
}

// start starts the scheduler of a side and returns when it knows the cluster.
func (c *schedulingCluster) start(ctx context.Context, s side) (*schedulerRun, error) {
	cfg, err := configuration(s.ours)
	if err != nil {
		return nil, err
	}
	client := c.home.Config() // without a limit on requests, which would be all that is measured
	client.ContentType, client.AcceptContentTypes = "application/vnd.kubernetes.protobuf", ""
	core, err := kubernetes.NewForConfig(client)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: core.EventsV1()})
	r := &schedulerRun{}
	var running sync.WaitGroup
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		broadcaster.Shutdown()
	})
	factory := scheduler.NewInformerFactory(core, 0)
	options := []scheduler.Option{scheduler.WithKubeConfig(client), scheduler.WithProfiles(cfg.Profiles...)}
	if s.ours {
		options = append(options, scheduler.WithFrameworkOutOfTreeRegistry(schedplugin.Plugins()))
	}
	sched, err := scheduler.New(ctx, core, factory, nil, profile.NewRecorderFactory(broadcaster), options...)
	if err == nil {
		err = broadcaster.StartRecordingToSinkWithContext(ctx)
	}
	if err == nil {
		err = r.follow(factory)
	}
	if err == nil {
		factory.Start(ctx.Done())
		factory.WaitForCacheSync(ctx.Done())
		err = sched.WaitForHandlersSync(ctx)
	}
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("start scheduler: %w", err)
	}
	next := sched.NextPod
	sched.NextPod = func(logger klog.Logger) (*framework.QueuedPodInfo, error) {
		pod, err := next(logger)
		r.gate.RLock()
		defer r.gate.RUnlock()
		return pod, err
	}
	running.Go(func() { sched.Run(ctx) })
	return r, nil
}

// configuration returns what we ship for the default scheduler, or the defaults of kube-scheduler.
func configuration(ours bool) (*config.KubeSchedulerConfiguration, error) {
	if !ours {
		return latest.Default()
	}
	registerArgs()
	data, err := manifests.Files.ReadFile("scheduler/replace-default.yaml")
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	obj, _, err := configscheme.Codecs.UniversalDecoder().Decode(data, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, ok := obj.(*config.KubeSchedulerConfiguration)
	if !ok {
		return nil, fmt.Errorf("read configuration: it is a %T", obj)
	}
	return cfg, nil
}

// registerArgs has kube-scheduler know the arguments of the plugin, as the command does.
var registerArgs = sync.OnceFunc(func() {
	schedplugin.AddToScheme(configscheme.Scheme, configv1.GetPluginArgConversionScheme())
})

// follow counts pods with the scheduler's own informer, so that counting costs it next to nothing.
func (r *schedulerRun) follow(factory informers.SharedInformerFactory) error {
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { r.seen.Add(1) },
		UpdateFunc: func(before, after any) {
			was, ok := before.(*corev1.Pod)
			if is, still := after.(*corev1.Pod); ok && still && was.Spec.NodeName == "" && is.Spec.NodeName != "" {
				if isVirtual(is.Spec.NodeName) {
					r.away.Add(1)
				}
				r.bound.Add(1)
			}
		},
	})
	return err
}

// hold keeps the scheduler from taking another pod until release is called.
func (r *schedulerRun) hold() (release func()) {
	r.gate.Lock()
	return sync.OnceFunc(r.gate.Unlock)
}

// wait returns when a counter has reached a number.
func (r *schedulerRun) wait(ctx context.Context, counter *atomic.Int64, want int) error {
	err := wait.PollUntilContextCancel(ctx, tick, true, func(context.Context) (bool, error) {
		return counter.Load() >= int64(want), nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d pods: %w", counter.Load(), want, err)
	}
	return nil
}
