package peering_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

func twinLabels(consumer string) map[string]string {
	return map[string]string{
		v1beta1.LabelRemoteClusterID: consumer, "pod-security.kubernetes.io/enforce": "baseline",
		"pod-security.kubernetes.io/enforce-version": "v1.35",
	}
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// with returns labels with one more.
func with(labels map[string]string, key, value string) map[string]string {
	labels[key] = value
	return labels
}

func marked(consumer string) map[string]string {
	return map[string]string{v1beta1.LabelOrigin: consumer}
}

func config(ns, name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}}
}

// secret asks, if it is of that type, for a token of the namespace's default account.
func secret(ns string, kind corev1.SecretType) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: "new", Labels: marked("a"),
			Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
		},
		Type: kind, Data: map[string][]byte{corev1.TLSCertKey: nil, corev1.TLSPrivateKeyKey: nil},
	}
}

// twinWith returns a new twin with one more label.
func twinWith(key, value string) *corev1.Namespace {
	return namespace("new-a", with(twinLabels("a"), key, value))
}

// annotated returns a new twin with some annotations.
func annotated(keys ...string) *corev1.Namespace {
	twin := twinWith(audit, "restricted")
	for _, key := range keys {
		metav1.SetMetaDataAnnotation(&twin.ObjectMeta, key, "x")
	}
	return twin
}

func service(ns, name string, external ...string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: marked("a")},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, ExternalIPs: external},
	}
}

// draw has a service draw the traffic for an address.
func draw(ns, name string) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		patch := mergePatch(map[string]any{"spec": map[string]any{"externalIPs": []string{"198.51.100.1"}}})
		return c.Patch(ctx, service(ns, name), patch, client.DryRunAll)
	}
}

func binding(ns, role string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "liqo-twin"}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
}

func identity(consumer string) rbacv1.Subject {
	return rbacv1.Subject{
		Kind: rbacv1.ServiceAccountKind, Namespace: v1beta1.TenantNamespace(consumer), Name: v1beta1.PeerServiceAccount,
	}
}

func remotePod(ns string, change func(*corev1.PodSpec)) *corev1.Pod {
	b := build.Pod("web").Namespace(ns).Label(v1beta1.LabelOrigin, "a").Spec(func(s *corev1.PodSpec) {
		s.AutomountServiceAccountToken = ptr.To(false)
	})
	if change != nil {
		b = b.Spec(change)
	}
	return b.Obj()
}

// request is something that somebody asks of the provider.
type request func(ctx context.Context, c client.Client, raw kubernetes.Interface) error

func create(object client.Object) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		return c.Create(ctx, object.DeepCopyObject().(client.Object), client.DryRunAll)
	}
}

func remove(object client.Object) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		return c.Delete(ctx, object, client.DryRunAll)
	}
}

// relabel sets a label of a namespace, through a subresource or the namespace itself.
func relabel(name, subresource, key string, value any) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		patch := mergePatch(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: value}}})
		if subresource == "" {
			return c.Patch(ctx, namespace(name, nil), patch, client.DryRunAll)
		}
		return c.SubResource(subresource).Patch(ctx, namespace(name, nil), patch, client.DryRunAll)
	}
}

// finalize puts a namespace with a changed label through the finalize subresource.
func finalize(name, key, value string) request {
	return func(ctx context.Context, _ client.Client, raw kubernetes.Interface) error {
		ns, err := raw.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		ns.Labels[key] = value
		_, err = raw.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
}

func token(ns, account string) request {
	return func(ctx context.Context, _ client.Client, raw kubernetes.Interface) error {
		_, err := raw.CoreV1().ServiceAccounts(ns).CreateToken(ctx, account, &authenticationv1.TokenRequest{},
			metav1.CreateOptions{})
		return err
	}
}

func exec(ns, pod string) request {
	return func(ctx context.Context, _ client.Client, raw kubernetes.Interface) error {
		return raw.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name(pod).SubResource("exec").
			Param("command", "id").Do(ctx).Error()
	}
}

// The requests of TestFence are made by an identity that RBAC would let do anything: what refuses is the fence alone.
// They are dry runs, in a provider that has the twin shop-a of consumer a, the twin shop-b of consumer b, and the
// provider's own namespace own.
func TestFence(t *testing.T) {
	away := env.Planes(t, 1)[0]
	if err := away.Apply(t.Context(), "provider"); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, away.Config())
	furnish(t, admin)
	peerA := impersonate(t, away.Config(), "liqo-tenant-a", v1beta1.PeerServiceAccount)
	inForce(t, peerA)

	const (
		fence, twins, adoption = "'liqo-fence'", "'liqo-twins'", "'liqo-adoption'"
		bindings, pods         = "'liqo-rolebindings'", "'liqo-pods'"
		secrets, services      = "'liqo-secrets'", "'liqo-services'"
		either                 = "ValidatingAdmissionPolicy" // several would, and any may come first
	)
	tests := map[string]attempt{
		"a twin of its own":              {create(namespace("new-a", twinLabels("a"))), ""},
		"a twin with a restricted level": {create(twinWith(psa, "restricted")), ""},
		"a namespace without label":      {create(namespace("new", nil)), twins},
		"a twin of another consumer":     {create(namespace("new-b", twinLabels("b"))), twins},
		"a twin without Pod Security":    {create(namespace("new-a", map[string]string{origin: "a"})), twins},
		"a privileged twin": {
			create(twinWith(psa, "privileged")), twins,
		},
		"a twin as our agent makes it": {create(annotated(
			v1beta1.AnnotationTwinOrigin, v1beta1.AnnotationTwinMap, v1beta1.AnnotationTwinHomeName,
			v1beta1.AnnotationTwinHomeUID)), ""},
		"a twin with an annotation of others":   {create(annotated("openshift.io/node-selector")), twins},
		"a twin with a label of others":         {create(twinWith("team", "x")), twins},
		"a twin that others' tools inject into": {create(twinWith("istio-injection", "enabled")), twins},
		"a twin of the latest Pod Security":     {create(twinWith(psa+"-version", "latest")), ""},
		"a twin of the first Pod Security":      {create(twinWith(psa+"-version", "v1.0")), twins},
		"a twin of an old Pod Security":         {create(twinWith(psa+"-version", "v1.29")), twins},
		"a tenant namespace":                    {create(twinWith(tenant, "true")), twins},
		"its twin's annotations":                {annotate("shop-a"), ""},
		"deleting its twin":                     {remove(namespace("shop-a", nil)), ""},
		"deleting another's twin":               {remove(namespace("shop-b", nil)), twins},
		"deleting the provider's namespace":     {remove(namespace("own", nil)), twins},
		"deleting its tenant namespace":         {remove(namespace("liqo-tenant-a", nil)), twins},
		"annotations of another's twin":         {annotate("shop-b"), twins},

		"adopting a namespace":                       {relabel("own", "", origin, "a"), either},
		"adopting through status":                    {relabel("own", "status", origin, "a"), either},
		"adopting through finalize":                  {finalize("own", origin, "a"), either},
		"giving its twin away":                       {relabel("shop-a", "", origin, "b"), adoption},
		"giving its twin away through status":        {relabel("shop-a", "status", origin, "b"), adoption},
		"giving its twin away through finalize":      {finalize("shop-a", origin, "b"), adoption},
		"dropping the label of its twin":             {relabel("shop-a", "", origin, nil), adoption},
		"taking another's twin":                      {relabel("shop-b", "", origin, "a"), either},
		"lowering Pod Security":                      {relabel("shop-a", "", psa, "privileged"), twins},
		"lowering Pod Security through status":       {relabel("shop-a", "status", psa, "privileged"), twins},
		"lowering Pod Security through finalize":     {finalize("shop-a", psa, "privileged"), twins},
		"dropping Pod Security":                      {relabel("shop-a", "", psa, nil), twins},
		"exempting a version":                        {relabel("shop-a", "", psa+"-version", "v1.0"), twins},
		"adding a Pod Security label":                {relabel("shop-a", "", audit, "baseline"), twins},
		"making its twin look like a tenant":         {relabel("shop-a", "", tenant, "true"), twins},
		"another label of its twin":                  {relabel("shop-a", "", "team", "x"), ""},
		"another label of another's twin, by status": {relabel("shop-b", "status", "team", "x"), twins},

		"a config map in its twin":             {create(config("shop-a", "new", marked("a"))), ""},
		"an unmarked config map in its twin":   {create(config("shop-a", "new", nil)), fence},
		"one marked as another's":              {create(config("shop-a", "new", marked("b"))), fence},
		"deleting its config map":              {remove(config("shop-a", "ours", nil)), ""},
		"deleting the provider's in its twin":  {remove(config("shop-a", "theirs", nil)), fence},
		"a config map in another's twin":       {create(config("shop-b", "new", marked("a"))), fence},
		"a config map of the provider":         {create(config("own", "new", marked("a"))), fence},
		"a config map in kube-system":          {create(config("kube-system", "new", marked("a"))), fence},
		"a config map in its tenant namespace": {create(config("liqo-tenant-a", "new", marked("a"))), fence},
		"a config map where it has a role":     {create(config("liqo-tenant-b", "new", marked("a"))), fence},
		"deleting the provider's config map":   {remove(config("own", "theirs", nil)), fence},
		"deleting all of another's":            {deleteAll("shop-b"), fence},
		"a secret in its twin":                 {create(secret("shop-a", corev1.SecretTypeTLS)), ""},
		"a secret without type in its twin":    {create(secret("shop-a", "")), ""},
		"a token of an account in its twin": {
			create(secret("shop-a", corev1.SecretTypeServiceAccountToken)), secrets,
		},
		"a service in its twin":              {create(service("shop-a", "new")), ""},
		"a service that draws an address":    {create(service("shop-a", "new", "198.51.100.1")), services},
		"making its service draw an address": {draw("shop-a", "ours"), services},
		"a cluster role": {
			create(&rbacv1.ClusterRole{ObjectMeta: meta("x", marked("a"))}), fence,
		},
		// Policies do not protect policies: that the identity has no such right is up to its roles.
		"deleting its own fence's binding": {remove(policyBinding("liqo-fence")), ""},
		"a node":                           {create(&corev1.Node{ObjectMeta: meta("x", marked("a"))}), fence},
		"deleting another consumer's rights": {
			remove(&rbacv1.ClusterRole{ObjectMeta: meta("liqo-twin", nil)}), fence,
		},
		"a role in its twin":                     {create(role("shop-a", marked("a"))), ""},
		"exec in the provider's namespace":       {exec("own", "web"), fence},
		"exec in another's twin":                 {exec("shop-b", "web"), fence},
		"its own token":                          {token("liqo-tenant-a", "liqo-consumer"), ""},
		"another account's token":                {token("liqo-tenant-a", "other"), fence},
		"another consumer's token":               {token("liqo-tenant-b", "liqo-consumer"), fence},
		"a token of the provider":                {token("kube-system", "admin"), fence},
		"its rights in its twin":                 {create(binding("shop-a", "liqo-twin", identity("a"))), ""},
		"its rights in another's twin":           {create(binding("shop-b", "liqo-twin", identity("a"))), fence},
		"its rights in the provider's namespace": {create(binding("own", "liqo-twin", identity("a"))), fence},
		"its rights in its tenant namespace":     {create(binding("liqo-tenant-a", "liqo-twin", identity("a"))), fence},
		"more rights in its twin":                {create(binding("shop-a", "cluster-admin", identity("a"))), bindings},
		"its twin for another":                   {create(binding("shop-a", "liqo-twin", identity("b"))), bindings},
		"its twin for another as well": {
			create(binding("shop-a", "liqo-twin", identity("a"), everybody)), bindings,
		},
		"its twin for everybody": {create(binding("shop-a", "liqo-twin", everybody)), bindings},
		"a binding for nobody":   {create(binding("shop-a", "liqo-twin")), bindings},
		"a binding of another name": {
			create(named(binding("shop-a", "liqo-twin", identity("a")), "x")), bindings,
		},
		"deleting the provider's binding": {remove(named(binding("shop-a", ""), "theirs")), bindings},

		"a pod in its twin":                   {create(remotePod("shop-a", nil)), ""},
		"a pod in another's twin":             {create(remotePod("shop-b", nil)), fence},
		"a pod with an account":               {create(remotePod("shop-a", account("admin"))), pods},
		"a pod with a token":                  {create(remotePod("shop-a", automount(true))), pods},
		"a pod with a token volume":           {create(remotePod("shop-a", projected)), pods},
		"a pod on a chosen node":              {create(remotePod("shop-a", onNode("master"))), pods},
		"a pod of system priority":            {create(remotePod("shop-a", priority("system-node-critical"))), pods},
		"a pod on the host's disk":            {create(remotePod("shop-a", hostPath)), "PodSecurity"},
		"a pod as an account that is lent":    {create(remotePod("lent-a", runAs("builder"))), ""},
		"a pod as one that is not":            {create(remotePod("lent-a", runAs("admin"))), pods},
		"a pod as the default one":            {create(remotePod("lent-a", runAs(""))), pods},
		"a pod as one where nobody lends any": {create(remotePod("shop-a", runAs("admin"))), pods},
		"lending itself an account":           {lend("shop-a", "", "admin"), twins},
		"the same through status":             {lend("shop-a", "status", "admin"), twins},
		"lending itself more accounts":        {lend("lent-a", "", "builder,admin"), twins},
		"a new twin that lends":               {create(annotated(v1beta1.AnnotationLentServiceAccounts)), twins},

		"a privileged pod": {create(remotePod("shop-a", privileged)), "PodSecurity"},
	}
	maps.Copy(tests, lures())
	raw := clientset(t, impersonation(away.Config(), "liqo-tenant-a", v1beta1.PeerServiceAccount))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { judge(t, tt.request(t.Context(), peerA, raw), tt.want) })
	}
	for _, name := range hostileNames {
		t.Run("a twin called "+name, func(t *testing.T) {
			err := create(namespace(name, twinLabels("a")))(t.Context(), peerA, raw)
			reserved := err != nil && strings.Contains(err.Error(), "is reserved on this cluster")
			if !reserved && !apierrors.IsInvalid(err) && !apierrors.IsAlreadyExists(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("everybody else", func(t *testing.T) { others(t, away, admin) })
}

var hostileNames = []string{
	"default", "kube-system", "kube-public", "kube-node-lease", "kube-", "kube-x", "kube--x", "kube-shop-a", "liqo",
	"liqo-system", "liqo-tenant-a", "liqo-tenant-b", "liqo-tenant-", "liqo-x",
	"cert-manager-system", "gatekeeper-system",
	"openshift", "openshift-config", "openshift-x", "../kube-system", "kube_system", "Default", "KUBE-SYSTEM",
	"kube-system ", "kube-system/x", "own", "shop-b", "", "-", strings.Repeat("a", 64),
}

// others: the provider's admins and controllers are free, but for the label that opens a namespace to a consumer. So is
// an agent of the provider itself, where it borrows from others.
func others(t *testing.T, away *env.Cluster, admin client.Client) {
	raw := clientset(t, away.Config())
	agent := impersonate(t, away.Config(), "liqo-tenant-a", v1beta1.AgentServiceAccount)
	for name, tt := range map[string]struct {
		who     client.Client
		request request
		want    string
	}{
		"an admin makes namespaces":               {admin, create(namespace("new", nil)), ""},
		"an admin prepares a twin":                {admin, create(namespace("new-a", twinLabels("a"))), ""},
		"an admin tightens Pod Security":          {admin, relabel("shop-a", "", psa, "restricted"), ""},
		"an admin deletes a twin":                 {admin, remove(namespace("shop-a", nil)), ""},
		"an admin writes in a twin":               {admin, create(config("shop-a", "new", nil)), ""},
		"nobody has a namespace adopted":          {admin, relabel("own", "", origin, "a"), "'liqo-adoption'"},
		"nobody has one adopted through status":   {admin, relabel("own", "status", origin, "a"), "'liqo-adoption'"},
		"nobody has one adopted through finalize": {admin, finalize("own", origin, "a"), "'liqo-adoption'"},
		"nobody hands a twin on":                  {admin, relabel("shop-a", "", origin, "b"), "'liqo-adoption'"},
		"an agent at home is not a consumer":      {agent, create(config("own", "new", nil)), ""},
	} {
		t.Run(name, func(t *testing.T) { judge(t, tt.request(t.Context(), tt.who, raw), tt.want) })
	}
}

func judge(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %s to refuse", err, want)
	}
}

func impersonation(c *rest.Config, ns, account string) *rest.Config {
	c = rest.CopyConfig(c)
	c.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + ns + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"},
	}
	return c
}

func impersonate(t *testing.T, c *rest.Config, ns, account string) client.Client {
	t.Helper()
	return connect(t, impersonation(c, ns, account))
}

func clientset(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	out, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
