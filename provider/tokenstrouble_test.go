package provider

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

func testTokenRepaired(s *tokenShop) {
	s.start()
	home := s.asking("web")
	s.run(s.remote(home))
	s.phase(home, corev1.PodRunning)
	was := s.delivered(home, nil)
	api := s.away.CoreV1().Secrets(s.twin)
	for _, story := range []struct {
		what string
		do   func() error
	}{
		{"deleted", func() error { return api.Delete(s.Context(), was.Name, metav1.DeleteOptions{}) }},
		{"emptied", func() error {
			_, err := api.Patch(s.Context(), was.Name, types.MergePatchType, []byte(`{"data":{"token-0":null}}`),
				metav1.PatchOptions{})
			return err
		}},
		{"frozen", func() error {
			_, err := api.Patch(s.Context(), was.Name, types.MergePatchType,
				[]byte(`{"immutable":true,"data":{"token-0":"eA=="}}`), metav1.PatchOptions{})
			return err
		}},
	} {
		if err := story.do(); err != nil {
			s.Fatalf("%s: %v", story.what, err)
		}
		before := was
		s.clock.Step(tokenRepairs) // not sooner, or a provider could make us ask home all the time
		was = s.delivered(home, func(got *corev1.Secret) error {
			if got.ResourceVersion == before.ResourceVersion || len(got.Data["token-0"]) < 100 {
				return fmt.Errorf("%s, and still so", story.what)
			}
			return nil
		})
		if !s.review(was.Data["token-0"]).Authenticated {
			s.Errorf("%s: the token is worth nothing", story.what)
		}
	}
}

func testTokenRestart(s *tokenShop) {
	s.start()
	steady, orphan := s.asking("steady"), s.asking("orphan")
	for _, home := range []*corev1.Pod{steady, orphan} {
		s.run(s.remote(home))
		s.phase(home, corev1.PodRunning)
	}
	was := s.delivered(steady, nil)
	s.delivered(orphan, nil)
	s.stop()
	s.deleteHome("orphan", ptr.To[int64](0))
	foreign := was.DeepCopy()
	foreign.ObjectMeta = metav1.ObjectMeta{Name: "theirs", Labels: map[string]string{
		v1beta1.LabelOrigin: "another-home", v1beta1.LabelTokenOf: string(orphan.UID)}}
	must(s.T, s.away.CoreV1().Secrets(s.twin).Create, foreign)

	s.start()
	s.dropped(orphan)
	if got, err := s.secret(steady); err != nil || got.ResourceVersion != was.ResourceVersion {
		s.Errorf("the steady pod's Secret was touched by the restart: %v", err)
	}
	if _, err := s.away.CoreV1().Secrets(s.twin).Get(s.Context(), "theirs", metav1.GetOptions{}); err != nil {
		s.Errorf("another consumer's Secret: %v", err)
	}
	// It is still renewed when it is time, although another process wrote it.
	s.clock.Step(48 * time.Minute)
	s.delivered(steady, func(got *corev1.Secret) error {
		if got.ResourceVersion == was.ResourceVersion {
			return errors.New("the token is the same")
		}
		return nil
	})
}

func testTokenForeign(s *tokenShop) {
	home := s.asking("web")
	theirs := must(s.T, s.away.CoreV1().Secrets(s.twin).Create, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: translate.TokenSecret(home.UID), Labels: map[string]string{v1beta1.LabelOrigin: "home"},
		},
	})
	s.start()
	s.eventually("home says why", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Reason != ReasonFailedCreate || !strings.Contains(got.Status.Message, "is not ours") {
			return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	if got, err := s.secret(home); err != nil || got.ResourceVersion != theirs.ResourceVersion {
		s.Errorf("it was touched: %v", err)
	}
	if _, err := s.awayPod("web"); !apierrors.IsNotFound(err) {
		s.Errorf("the pod was created without its token: %v", err)
	}
	if err := s.away.CoreV1().Secrets(s.twin).Delete(s.Context(), theirs.Name, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.remote(home)
}

func testTokenRefused(s *tokenShop) {
	s.start()
	home := s.asking("web")
	s.run(s.remote(home))
	s.phase(home, corev1.PodRunning)
	was := s.delivered(home, nil)
	err := s.home.CoreV1().ServiceAccounts(s.ns).Delete(s.Context(), "default", metav1.DeleteOptions{})
	if err != nil {
		s.Fatal(err)
	}
	s.clock.Step(48 * time.Minute)
	var told []string
	s.eventually("home's words are told", func() error {
		select {
		case e := <-s.events:
			if strings.Contains(e, ReasonTokenRefused) {
				told = append(told, e)
			}
		default:
		}
		if len(told) == 0 {
			return errors.New("no event")
		}
		return nil
	})
	if !strings.Contains(told[0], `serviceaccounts "default" not found`) {
		s.Errorf("it says %s", told[0])
	}
	must(s.T, s.home.CoreV1().ServiceAccounts(s.ns).Create,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	s.delivered(home, func(got *corev1.Secret) error {
		s.clock.Step(time.Second)
		if got.ResourceVersion == was.ResourceVersion {
			return errors.New("the token is the same")
		}
		return nil
	})
	for len(s.events) > 0 {
		if e := <-s.events; strings.Contains(e, ReasonTokenRefused) {
			told = append(told, e)
		}
	}
	if len(told) != 1 {
		s.Errorf("it was told %d times: %v", len(told), told)
	}
}

func testTokenTakenBack(s *tokenShop) {
	s.start()
	home := s.asking("web")
	s.run(s.remote(home))
	home = s.phase(home, corev1.PodRunning)
	s.delivered(home, nil)
	_, err := s.home.CoreV1().Pods(s.ns).Patch(s.Context(), "web", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"liqo.io/api-server-support":"disabled"}}}`), metav1.PatchOptions{})
	if err != nil {
		s.Fatal(err)
	}
	s.dropped(home)
}

// testDownward has a real API server accept what every field is turned into.
func testDownward(s *tokenShop) {
	s.start()
	home := build.Pod("told").Namespace(s.ns).Node(s.node()).Label("app", "web").Spec(func(spec *corev1.PodSpec) {
		var files []corev1.DownwardAPIVolumeFile
		c := &spec.Containers[0]
		for path := range translate.DownwardFields() {
			path = strings.ReplaceAll(path, "KEY", "app")
			ref := &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}
			name := fmt.Sprintf("V%d", len(c.Env)+len(files))
			if path == "resourceFieldRef" {
				c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
					ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}})
				continue
			}
			if path != "metadata.labels" && path != "metadata.annotations" {
				c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: ref}})
			}
			if strings.HasPrefix(path, "metadata.") {
				files = append(files, corev1.DownwardAPIVolumeFile{Path: name, FieldRef: ref.DeepCopy()})
			}
		}
		spec.Volumes = []corev1.Volume{{Name: "told", VolumeSource: corev1.VolumeSource{
			DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: files}}}}
	}).Obj()
	home = must(s.T, s.home.CoreV1().Pods(s.ns).Create, home)
	away := s.remote(home)
	fields := translate.DownwardFields()
	for i, v := range away.Spec.Containers[0].Env {
		had := home.Spec.Containers[0].Env[i]
		if had.ValueFrom.FieldRef == nil {
			continue
		}
		want := fields[had.ValueFrom.FieldRef.FieldPath].Path
		if want == "" {
			want = had.ValueFrom.FieldRef.FieldPath
		}
		if got := v.ValueFrom.FieldRef.FieldPath; got != want {
			s.Errorf("%s: want %s, got %s", had.ValueFrom.FieldRef.FieldPath, want, got)
		}
	}
	if len(away.Spec.Containers[0].Env) < 10 || len(away.Spec.Volumes[0].DownwardAPI.Items) < 7 {
		s.Errorf("only %d variables and %d files", len(away.Spec.Containers[0].Env),
			len(away.Spec.Volumes[0].DownwardAPI.Items))
	}
}
