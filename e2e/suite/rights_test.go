package suite

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// ours says whether a user is one of those that our components act as, at home and away.
func ours(user string) bool {
	return user == "system:serviceaccount:"+v1beta1.SystemNamespace+":controller-manager" ||
		strings.HasPrefix(user, "system:serviceaccount:"+v1beta1.TenantNamespacePrefix)
}

// SEC-04: each component runs with exactly its own rights, and they are enough: over the life of an application nothing
// of ours is refused for want of a right.
func TestOurComponentsHaveTheRightsThatTheyNeedAndAreNobodySpecial(t *testing.T) {
	audits := map[string]*env.Audit{}
	for _, c := range playground.Clusters() {
		audit, err := c.Audit()
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		audits[c.Name] = audit
	}

	w := newWorld(t, "rights")
	w.offload("--pod-offloading-strategy", "Remote")
	w.create(configMap(w.ns, "settings", "one"), secret(w.ns, "password", "one"))
	w.shop(4)
	pods := w.running(4)
	w.Eventually(func() (string, error) { return w.logs(pods[0].Name) }).ShouldNot(BeEmpty())
	w.scale(1)
	w.running(1)

	seen := map[string]bool{}
	for cluster, audit := range audits {
		events, err := audit.Events()
		w.Expect(err).NotTo(HaveOccurred())
		for _, event := range events {
			if !ours(event.User.Username) {
				continue
			}
			seen[cluster] = true
			w.Expect(event.User.Groups).NotTo(ContainElement("system:masters"))
			if event.ResponseStatus != nil && event.ResponseStatus.Code == http.StatusForbidden {
				t.Errorf("on %s: %s", cluster, describe(event))
			}
		}
	}
	w.Expect(seen).To(HaveLen(len(audits)), "our components were heard of on every cluster")
}

func describe(event auditv1.Event) string {
	return fmt.Sprintf("%s %s by %s: %s",
		event.Verb, event.RequestURI, event.User.Username, event.ResponseStatus.Message)
}
