package containers

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// O9: kubectl logs -f shows what the container prints while it prints it.
func TestLogsAreFollowedWhileTheContainerPrints(t *testing.T) {
	s := newScene(t, "follows")
	pod := s.starts(s.shell("counts", `n=0; while n=$((n+1)); do echo "line $n"; sleep 1; done`).Obj())
	lines := s.stream("logs", "-f", pod.Name)
	s.Eventually(lines).Should(Receive(Equal("line 1")), "from the beginning")

	// Whatever comes after the last line that there is now can only have been followed.
	out, code := s.says("", "logs", "--tail=1", pod.Name)
	s.Expect(code).To(Equal(0), out)
	now, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(out), "line "))
	s.Expect(err).NotTo(HaveOccurred(), out)
	for n := 2; n <= now+3; n++ {
		s.Eventually(lines).Should(Receive(Equal(fmt.Sprintf("line %d", n))), "every line, in order")
	}

	out, code = s.says("", "logs", "--timestamps", "--limit-bytes=60", pod.Name)
	s.Expect(code).To(Equal(0), out)
	s.Expect(out).To(MatchRegexp(`^\d{4}-\d\d-\d\dT[0-9:.]+\S+ line 1\n`))
}

// R1, O2: what a container gets from a Secret of home is what home's Secret says.
func TestTheEnvironmentComesFromAReflectedSecret(t *testing.T) {
	s := newScene(t, "keeps")
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: "password"},
		StringData: map[string]string{"word": "sesame"},
	})
	pod := s.starts(s.shell("opens", `echo "the word is $WORD, and in a file $(cat /secret/word)"; sleep 3600`).
		Spec(func(spec *corev1.PodSpec) {
			spec.Containers[0].Env = []corev1.EnvVar{{
				Name: "WORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "password"}, Key: "word",
				}},
			}}
			spec.Volumes = []corev1.Volume{{
				Name:         "secret",
				VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "password"}},
			}}
			spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "secret", MountPath: "/secret"}}
		}).Obj())
	s.Expect(s.away(pod).Spec.Containers[0].Env).
		To(ContainElement(And(HaveField("Name", "WORD"), HaveField("Value", ""))), "it travels as a reference")
	s.Eventually(func() string {
		out, _ := s.says("", "logs", pod.Name)
		return out
	}).Should(Equal("the word is sesame, and in a file sesame\n"))
}
