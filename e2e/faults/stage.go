package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/faults/nemesis"
	"github.com/twinspace/twinspace/e2e/history"
)

// takes is the annotation that says how long the fake kubelet takes to end a pod.
const takes = "playground.twinspace/takes"

// stage returns what is always there for faults to happen to: a namespace whose pods all run on providers, and in which
// nobody but faults does anything.
func stage() []client.Object {
	ns := nemesis.StageNamespace
	labels := map[string]string{"app": "db"}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{takes: "2s"}},
		Spec:       build.Pod("db").Obj().Spec,
	}
	config := func(name, value string) client.Object {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{"value": value},
		}
	}
	return []client.Object{
		build.Namespace(ns).Obj(),
		build.Offloading(ns).Strategy(v1beta1.Remote).Obj(),
		build.Namespace(nemesis.BystanderNamespace).Obj(),
		build.Offloading(nemesis.BystanderNamespace).Obj(),
		config("settings", "1"), config("motd", "hello"),
		build.Service(ns, "web"),
		build.Deployment("web").Namespace(ns).Replicas(6).Obj(), //nolint:mnd // some on each provider
		&appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"},
			Spec: appsv1.StatefulSetSpec{
				Replicas: ptr.To[int32](4), Selector: &metav1.LabelSelector{MatchLabels: labels}, ServiceName: "db",
				PodManagementPolicy: appsv1.ParallelPodManagement, Template: template,
			},
		},
	}
}

// setStage makes the stage.
func setStage(ctx context.Context, e *env.Env) error {
	for _, obj := range stage() {
		if err := e.Consumer().Client().Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("set the stage: create %T %s: %w", obj, obj.GetName(), err)
		}
	}
	return nil
}

// settle waits until what is on the stage runs, and home and providers agree, before anything is broken.
func (l *lab) settle(ctx context.Context) error {
	const long = 5 * time.Minute
	var (
		complaints []nemesis.Complaint
		last       error
	)
	err := wait.PollUntilContextTimeout(ctx, time.Second, long, true, func(ctx context.Context) (bool, error) {
		if last = l.staged(ctx); last != nil {
			return false, nil
		}
		complaints, last = nemesis.Look(l.env)(ctx)
		return last == nil && len(complaints) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait until all is well before the first fault: %w: %w: %v", err, last, complaints)
	}
	return nil
}

// staged returns what of the stage does not run.
func (l *lab) staged(ctx context.Context) error {
	home := l.env.Consumer().Client()
	var web appsv1.Deployment
	if err := home.Get(ctx, client.ObjectKey{Namespace: nemesis.StageNamespace, Name: "web"}, &web); err != nil {
		return fmt.Errorf("look at the stage: %w", err)
	}
	var db appsv1.StatefulSet
	if err := home.Get(ctx, client.ObjectKey{Namespace: nemesis.StageNamespace, Name: "db"}, &db); err != nil {
		return fmt.Errorf("look at the stage: %w", err)
	}
	if web.Status.ReadyReplicas != *web.Spec.Replicas || db.Status.ReadyReplicas != *db.Spec.Replicas {
		return fmt.Errorf("%d pods of web and %d of db are ready", web.Status.ReadyReplicas, db.Status.ReadyReplicas)
	}
	return nil
}

// plant makes what is none of ours, beside and in twins: it must stay as it is (I6).
func (l *lab) plant(ctx context.Context) error {
	for _, c := range l.env.Providers() {
		for _, obj := range foreign() {
			l.book.Note(noteOf(history.Foreign, c.Name, obj)) // before it is done, as everything is
			if err := c.Client().Create(ctx, obj); err != nil {
				return fmt.Errorf("plant %T %s in %s: %w", obj, obj.GetName(), c.Name, err)
			}
		}
	}
	return nil
}

// release gives up what was planted in twins, before a fault deletes them.
func (l *lab) release() {
	for _, c := range l.env.Providers() {
		for _, obj := range foreign() {
			l.book.Note(noteOf(history.Released, c.Name, obj))
		}
	}
}

func noteOf(kind history.NoteKind, cluster string, obj client.Object) history.Note {
	resource := "configmaps"
	if obj.GetNamespace() == "" {
		resource = "namespaces"
	}
	return history.Note{
		Kind: kind, Cluster: cluster, Resource: resource,
		Object: strings.TrimPrefix(obj.GetNamespace()+"/"+obj.GetName(), "/"),
	}
}

// foreign is what a provider's own people made, beside twins and in one that no fault deletes.
func foreign() []client.Object {
	config := func(namespace, name string) client.Object {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"whose": "theirs"},
		}
	}
	return []client.Object{
		build.Namespace("theirs").Obj(), config("theirs", "settings"),
		config(nemesis.BystanderNamespace+"-"+env.Consumer, "theirs"),
	}
}
