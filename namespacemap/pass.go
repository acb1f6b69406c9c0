package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// pass is one look at one home namespace: what is asked, what is there, and what went wrong on the way.
type pass struct {
	home string
	// off is nil when there is no NamespaceOffloading (any more).
	off *v1beta1.NamespaceOffloading
	// namespace is nil when it is gone.
	namespace *metav1.PartialObjectMetadata

	// maps are shared with others: read only.
	maps        map[string]*v1beta1.NamespaceMap
	candidates  []Candidate
	selected    sets.Set[string]
	selectorErr error
	// kept counts, per cluster, the pods that must leave before a twin that is no longer selected may go; -1 when they
	// could not be counted.
	kept map[string]int

	// twice says, per cluster id, of which other id's cluster it is the second.
	twice map[string]string

	// twin is what the namespace's twins are called, refused why they cannot be.
	twin    string
	refused error

	// admitted are the clusters whose maps keep room for the namespace until it is written.
	admitted []string

	// again is when to look again, because the status rests or a map may yet have room.
	again time.Duration

	// trouble is what kept this controller from doing its part, per cluster and, under no cluster, for all of them.
	trouble map[string]error
}

// leaving says that the namespace shall have no twins any more.
func (p *pass) leaving() bool {
	return p.off == nil || !p.off.DeletionTimestamp.IsZero() || p.namespaceLeaving()
}

func (p *pass) namespaceLeaving() bool {
	return p.namespace == nil || !p.namespace.DeletionTimestamp.IsZero()
}

// want returns the twin's name on a cluster, or nothing if it shall have none.
func (p *pass) want(clusterID string) string {
	if p.leaving() || p.refused != nil || p.twice[clusterID] != "" {
		return ""
	}
	if !p.selected.Has(clusterID) && p.kept[clusterID] == 0 {
		return ""
	}
	return p.twin
}

// occupied says that a cluster has, or may still come to have, a twin.
func (p *pass) occupied(clusterID string) bool {
	m := p.maps[clusterID]
	return m != nil && (m.Spec.DesiredMapping[p.home] != "" || entryOf(m, p.home) != nil)
}

// clusters returns the ids of all clusters that the namespace has to do with, sorted.
func (p *pass) clusters() []string {
	ids := sets.New[string]()
	for _, c := range p.candidates {
		ids.Insert(c.ClusterID)
	}
	for id := range p.maps {
		if p.occupied(id) {
			ids.Insert(id)
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// blame records what went wrong with one cluster, or with all under the empty id, and passes it on.
func (p *pass) blame(clusterID string, err error) error {
	if err == nil {
		return nil
	}
	if p.trouble == nil {
		p.trouble = map[string]error{}
	}
	p.trouble[clusterID] = errors.Join(p.trouble[clusterID], err)
	return err
}

// look reads everything that a pass depends on.
func (o *Offloadings) look(ctx context.Context, home string) (*pass, error) {
	o.room.forget(home)
	p := &pass{home: home, selected: sets.New[string]()}
	off := &v1beta1.NamespaceOffloading{}
	switch err := o.Home.Get(ctx, client.ObjectKey{Namespace: home, Name: v1beta1.OffloadingName}, off); {
	case err == nil:
		p.off = o.own.current(off)
	case apierrors.IsNotFound(err):
		o.rests.forget(home)
		o.own.forget(home)
	default:
		return nil, fmt.Errorf("get offloading of %s: %w", home, err)
	}
	namespace := namespaceMeta(home)
	switch err := o.Home.Get(ctx, client.ObjectKeyFromObject(namespace), namespace); {
	case err == nil:
		p.namespace = namespace
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("get namespace %s: %w", home, err)
	}
	var err error
	if p.maps, err = o.views.list(ctx, o.Home); err != nil {
		return nil, err
	}
	if p.leaving() {
		return p, nil
	}
	if err := o.choose(ctx, p); err != nil {
		return nil, err
	}
	if p.twice, err = o.duplicates(ctx, p.candidates); err != nil {
		return nil, err
	}
	p.twin, p.refused = naming.Twin(home, off.Spec, o.ClusterID)
	return p, nil
}

// choose finds the virtual nodes that a selector may pick, and those that it picks.
func (o *Offloadings) choose(ctx context.Context, p *pass) error {
	var virtual v1beta1.VirtualNodeList
	if err := o.Home.List(ctx, &virtual, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list virtual nodes: %w", err)
	}
	nodes := nodeMetaList()
	isVirtual := client.MatchingLabels{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}
	if err := o.Home.List(ctx, nodes, isVirtual, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	labels := make(map[string]map[string]string, len(nodes.Items))
	for i := range nodes.Items {
		labels[nodes.Items[i].Name] = nodes.Items[i].Labels
	}
	p.candidates = Candidates(virtual.Items, labels)
	p.selected, p.selectorErr = Select(p.off.Spec.ClusterSelector, p.candidates)
	p.retain(virtual.Items, labels)
	return nil
}

// namespaceMeta returns the metadata of a namespace, to get or to patch.
func namespaceMeta(name string) *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}

func nodeMeta(name string) *metav1.PartialObjectMetadata {
	node := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	node.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	return node
}

func nodeMetaList() *metav1.PartialObjectMetadataList {
	nodes := &metav1.PartialObjectMetadataList{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	return nodes
}
