package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// object is one as an API server said it was last.
type object struct {
	metav1.ObjectMeta
	raw json.RawMessage
	// changed is when it was last heard of, asked when somebody last wanted it otherwise: what components say about it
	// in its status does not count.
	changed, asked time.Time
}

func (o *object) String() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

// decode fills in a typed object.
func (o *object) decode(into any) error {
	if err := json.Unmarshal(o.raw, into); err != nil {
		return fmt.Errorf("read %s: %w", o, err)
	}
	return nil
}

// cluster is everything that one API server has, by resource and by namespace/name.
type cluster struct {
	name    string
	objects map[string]map[string]*object
}

// all returns the objects of a resource in the order of their names.
func (c *cluster) all(resource string) []*object {
	byKey := c.objects[resource]
	out := make([]*object, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		out = append(out, byKey[key])
	}
	return out
}

// in returns those of one namespace.
func (c *cluster) in(namespace, resource string) []*object {
	return slices.DeleteFunc(c.all(resource), func(o *object) bool { return o.Namespace != namespace })
}

func (c *cluster) get(resource, key string) *object { return c.objects[resource][key] }

// world is what all API servers have.
type world struct {
	home string
	away []*cluster
	byID map[string]*cluster
	// living are the objects of home by their UIDs, and died is when others went.
	living map[types.UID]*object
	died   map[types.UID]time.Time
	// ended is when namespaces of home were last un-offloaded.
	ended map[string]time.Time
}

func newWorld(head Head) *world {
	w := &world{
		home: head.Home, byID: map[string]*cluster{}, living: map[types.UID]*object{}, died: map[types.UID]time.Time{},
		ended: map[string]time.Time{},
	}
	for _, name := range append([]string{head.Home}, head.Away...) {
		c := &cluster{name: name, objects: map[string]map[string]*object{}}
		w.byID[name] = c
		if name != head.Home {
			w.away = append(w.away, c)
		}
	}
	return w
}

// hear takes in what was said and returns the object, and what it was before; nil when it is new.
func (w *world) hear(e *Entry) (is, was *object, err error) {
	c := w.byID[e.Cluster]
	if c == nil {
		return nil, nil, fmt.Errorf("cluster %q is not one of the record's", e.Cluster)
	}
	var partial metav1.PartialObjectMetadata
	if err := json.Unmarshal(e.Object, &partial); err != nil {
		return nil, nil, fmt.Errorf("read object: %w", err)
	}
	is = &object{ObjectMeta: partial.ObjectMeta, raw: e.Object, changed: e.At, asked: e.At}
	byKey := c.objects[e.Source]
	if byKey == nil {
		byKey = map[string]*object{}
		c.objects[e.Source] = byKey
	}
	was = byKey[is.String()]
	if e.Type == watch.Deleted {
		delete(byKey, is.String())
	} else {
		byKey[is.String()] = is
	}
	if was != nil && was.UID == is.UID && !wanted(was, is) {
		is.asked = was.asked
	}
	if e.Cluster == w.home {
		w.live(e, is)
	}
	return is, was, nil
}

func (w *world) live(e *Entry, is *object) {
	if e.Type != watch.Deleted {
		w.living[is.UID] = is
		return
	}
	delete(w.living, is.UID)
	w.died[is.UID] = e.At
	if e.Source == resourceOffloadings {
		w.ended[is.Namespace] = e.At
	}
}

// wanted says whether more than the status of an object differs.
func wanted(was, is *object) bool {
	if was.Generation == 0 || is.Generation == 0 {
		return true
	}
	return was.Generation != is.Generation || !was.DeletionTimestamp.Equal(is.DeletionTimestamp) ||
		!maps.Equal(was.Labels, is.Labels) || !maps.Equal(was.Annotations, is.Annotations)
}

// ours says whether an object on a provider is a copy that was made for home.
func (w *world) ours(o *object) bool {
	return o.Labels[v1beta1.LabelOrigin] == w.home && o.Annotations[v1beta1.AnnotationHomeUID] != ""
}

// marked says whether an object carries any mark of ours: it may be a twin, what gives us rights there, or a token.
func (w *world) marked(o *object) bool {
	return o.Annotations[v1beta1.AnnotationHomeUID] != "" || o.Labels[v1beta1.LabelOrigin] != "" ||
		o.Labels[v1beta1.LabelRemoteClusterID] != "" || o.Labels[v1beta1.LabelTokenOf] != ""
}

// twin is a namespace on a provider that stands for one at home.
type twin struct {
	*object
	provider *cluster
	// home is the name of the namespace at home, uid its UID.
	home string
	uid  types.UID
}

// twins returns those of a provider.
func (w *world) twins(c *cluster) []twin {
	var out []twin
	for _, o := range c.all(resourceNamespaces) {
		name := o.Annotations[v1beta1.AnnotationTwinHomeName]
		if name != "" && o.Annotations[v1beta1.AnnotationTwinOrigin] == w.home {
			out = append(out, twin{o, c, name, types.UID(o.Annotations[v1beta1.AnnotationTwinHomeUID])})
		}
	}
	return out
}

// providerOf returns the id of the provider behind a node of home, or "" for an ordinary node.
func providerOf(node *object) string {
	if node.Labels[v1beta1.LabelNodeType] != v1beta1.NodeTypeVirtual {
		return ""
	}
	return node.Labels[v1beta1.LabelRemoteClusterID]
}

// Sources that the checker knows.
const (
	resourceNamespaces   = "namespaces"
	resourceNodes        = "nodes"
	resourceConfigMaps   = "configmaps"
	resourceSecrets      = "secrets"
	resourceServices     = "services"
	resourceSlices       = "endpointslices.discovery.k8s.io"
	resourceClaims       = "persistentvolumeclaims"
	resourceVolumes      = "persistentvolumes"
	resourceOffloadings  = "namespaceoffloadings.offloading.liqo.io"
	resourceMaps         = "namespacemaps.offloading.liqo.io"
	resourceVirtualNodes = "virtualnodes.offloading.liqo.io"
)
